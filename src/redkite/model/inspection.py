"""What a server tells of itself to tools: a request and its result."""

from __future__ import annotations

from redkite.model.request import Request
from redkite.model.results import BackupJobInfo, Result

QUOTA_METRICS = "quota_metrics"
"""A kind of metrics that Redkite adds: what is limited, and by whom."""
QUOTA_QUESTION = '{"metric_type": "quota_metrics"}'


class GetMetrics(Request, frozen=True):
    """-> SystemMetrics"""

    question: str
    """JSON, `{"metric_type": "system_info"}`, `"quota_metrics"`, or a kind of `usage`."""


class SystemMetrics(Result, frozen=True):
    answer: str
    """JSON."""
    component: str
    """Who answers."""


class ListBackupJobs(Request, frozen=True):
    """-> BackupJobs: those that are remembered, the oldest first."""


class BackupJobs(Result, frozen=True):
    jobs: tuple[BackupJobInfo, ...]
