"""What is said about traces when a server is set up."""

from __future__ import annotations

from typing import Literal

import msgspec

TraceExporter = Literal["noop", "stdout", "otlp"]
TraceMethod = Literal["grpc", "http"]


class TraceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Traces for OpenTelemetry (the extra `tracing`)."""

    exporter: TraceExporter = "noop"
    """Where spans go: `otlp`, to a collector; `stdout`, as JSON to standard output; `noop`, nowhere: none are made.
    Milvus: `trace.exporter`."""
    sample_fraction: float = 0.0
    """The part of the requests that is traced, 0 to 1, of those that do not bring a trace of their own.
    Milvus: `trace.sampleFraction`."""
    otlp_endpoint: str = "localhost:4317"
    """Where the collector is: `host:port`, or a URL. Milvus: `trace.otlp.endpoint`."""
    otlp_method: TraceMethod = "grpc"
    """How it is spoken to: `grpc` or `http`. Milvus: `trace.otlp.method`."""
    otlp_secure: bool = True
    """Whether the connection to `host:port` is encrypted. Milvus: `trace.otlp.secure`."""
    otlp_headers: str = ""
    """What is sent along, such as a key: `name=value`, several separated by commas. Never shown.
    Milvus: `trace.otlp.headers`."""
