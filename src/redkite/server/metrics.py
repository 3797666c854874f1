"""Counters of a running server and their Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""


class MethodMetrics:
    """Counts of one method. Only the event loop's thread writes them."""

    __slots__ = ("buckets", "failed", "seconds", "total")

    def __init__(self) -> None:
        self.total = 0
        self.failed = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS) + 1)

    def observe(self, seconds: float, failed: bool) -> None:
        self.total += 1
        self.failed += failed
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS, seconds)] += 1


class Metrics:
    """All counters of one server."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, str], MethodMetrics] = {}
        self.rows_written = 0

    def of(self, protocol: str, method: str) -> MethodMetrics:
        """The counters of a method of `grpc` or `rest`, made on first use."""
        found = self._methods.get((protocol, method))
        if found is None:
            found = self._methods[protocol, method] = MethodMetrics()
        return found

    def text(self, gauges: Iterable[tuple[str, str, float]] = ()) -> str:
        """Everything as Prometheus text (version 0.0.4). `gauges`: (name, help, value)."""
        lines = [
            "# HELP redkite_requests_total Requests answered.",
            "# TYPE redkite_requests_total counter",
        ]
        lines += [f"redkite_requests_total{{{_labels(key)}}} {m.total}" for key, m in self._methods.items()]
        lines += [
            "# HELP redkite_request_errors_total Requests answered with an error.",
            "# TYPE redkite_request_errors_total counter",
        ]
        lines += [f"redkite_request_errors_total{{{_labels(key)}}} {m.failed}" for key, m in self._methods.items()]
        lines += [
            "# HELP redkite_request_seconds Time from the whole request to its answer.",
            "# TYPE redkite_request_seconds histogram",
        ]
        for key, method in self._methods.items():
            lines += _histogram(_labels(key), method)
        lines += [
            "# HELP redkite_rows_written_total Rows of inserts and upserts that were asked for.",
            "# TYPE redkite_rows_written_total counter",
            f"redkite_rows_written_total {self.rows_written}",
        ]
        for name, text, value in gauges:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _labels(key: tuple[str, str]) -> str:
    return f'protocol="{key[0]}",method="{key[1]}"'


def _histogram(labels: str, method: MethodMetrics) -> list[str]:
    lines = []
    total = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), method.buckets, strict=True):
        total += count
        lines.append(f'redkite_request_seconds_bucket{{{labels},le="{bound}"}} {total}')
    lines.append(f"redkite_request_seconds_sum{{{labels}}} {method.seconds:.6f}")
    lines.append(f"redkite_request_seconds_count{{{labels}}} {method.total}")
    return lines
