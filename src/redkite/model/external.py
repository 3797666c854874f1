"""Collections whose rows lie in files of somebody else: what is asked of them, and answered."""

from __future__ import annotations

import msgspec

from redkite.model.request import Request
from redkite.model.results import Result


class RefreshExternalCollection(Request, frozen=True):
    """-> RefreshJob"""

    collection: str
    source: str = ""
    spec: str = ""


class GetRefreshProgress(Request, frozen=True):
    """-> RefreshJobs, of one job."""

    job_id: int


class ListRefreshJobs(Request, frozen=True):
    """-> RefreshJobs. An empty `collection` means all."""

    collection: str = ""


class RefreshJobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`state`: 0 pending, 1 in progress, 2 completed, 3 failed. Times are milliseconds since 1970."""

    job_id: int
    collection: str
    state: int
    progress: int
    reason: str = ""
    source: str = ""
    spec: str = ""
    start_ms: int = 0
    end_ms: int = 0


class RefreshJob(Result, frozen=True):
    job_id: int


class RefreshJobs(Result, frozen=True):
    jobs: tuple[RefreshJobInfo, ...]
