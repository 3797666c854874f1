"""What a server tells of itself to tools: a request and its result."""

from __future__ import annotations

from redkite.model.request import Request
from redkite.model.results import Result


class GetMetrics(Request, frozen=True):
    """-> SystemMetrics"""

    question: str
    """JSON, `{"metric_type": "system_info"}`."""


class SystemMetrics(Result, frozen=True):
    answer: str
    """JSON."""
    component: str
    """Who answers."""
