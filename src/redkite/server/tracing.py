"""Where the spans of a server go: an exporter of OpenTelemetry, as the settings say. Loaded only when one is wanted."""

from __future__ import annotations

import os
import platform
from threading import Thread
from typing import TYPE_CHECKING, Final

from redkite import __version__, spans
from redkite.errors import InvalidParameter
from redkite.model.tracing import TraceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_TRACES: Final = "/v1/traces"
LAST_SECONDS: Final = 3.0
"""How long a server that stops waits for its collector."""


class Tracing:
    """The spans of one process, from `begin` on."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        spans.install(provider.get_tracer("redkite", __version__))

    def close(self) -> None:
        """Send what was not sent yet, as far as the collector takes it in time."""
        spans.install(None)
        sending = Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(LAST_SECONDS)


def begin(settings: TraceSettings) -> Tracing | None:
    """Make spans as these settings say; None where they say none. Raises InvalidParameter without the extra."""
    if settings.exporter == "noop":
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        exporter = _exporter(settings)
    except ImportError as error:
        raise InvalidParameter(
            f"trace.exporter = {settings.exporter} takes the extra: pip install 'redkite[tracing]' ({error})"
        ) from None
    about = {
        "service.name": "redkite",
        "service.version": __version__,
        "service.instance.id": f"{platform.node()}-{os.getpid()}",
    }
    sampler = ParentBased(TraceIdRatioBased(settings.sample_fraction))
    provider = TracerProvider(resource=Resource.create(about), sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


def _exporter(settings: TraceSettings) -> SpanExporter:
    if settings.exporter == "stdout":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
    headers = _headers(settings.otlp_headers)
    endpoint = settings.otlp_endpoint
    is_url = "://" in endpoint
    if settings.otlp_method == "http":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        scheme = "https" if settings.otlp_secure else "http"
        url = endpoint if is_url else f"{scheme}://{endpoint}"
        return OverHttp(endpoint=url if url.endswith(_TRACES) else url.rstrip("/") + _TRACES, headers=headers)
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

    insecure = endpoint.startswith("http://") if is_url else not settings.otlp_secure
    return OverGrpc(endpoint=endpoint, insecure=insecure, headers=headers)


def _headers(text: str) -> dict[str, str]:
    """Raises InvalidParameter, which quotes nothing: there are keys among them."""
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise InvalidParameter("trace.otlp_headers must be name=value, several separated by commas")
        found[name.strip().lower()] = value.strip()
    return found
