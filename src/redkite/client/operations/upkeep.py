"""Compaction, and which segments there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from redkite.client import arguments
from redkite.client.operations.loading import refresh_load
from redkite.client.session import Operation, Session, Wait, ask, backoff
from redkite.errors import IndexNotFound, ParamError, Unexpected
from redkite.model import requests, results
from redkite.model.decoding import from_json
from redkite.model.inspection import GetMetrics, SystemMetrics
from redkite.model.types import IndexState, LoadState
from redkite.model.upkeep import CompactionPlanInfo, CompactionState, PlanState, SegmentInfo
from redkite.model.usage import MEMORY_METRICS, STORAGE_METRICS, MemoryReport, StorageReport

_MEGABYTE = 1024 * 1024
_UNITS = {"b": 1, "kb": 1024, "mb": _MEGABYTE, "gb": 1024**3, "tb": 1024**4, "pb": 1024**5}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
AS_LARGE_AS_SENSIBLE = (1 << 63) - 1
"""The target, in megabytes, that leaves the size to the server."""


@dataclass(frozen=True, slots=True)
class CompactionPlans:
    """What a job, or a collection's jobs, merge into what."""

    compaction_id: int
    state: CompactionState
    plans: list[CompactionPlanInfo]
    collection_name: str = ""


@dataclass(frozen=True, slots=True)
class OptimizeResult:
    """What `optimize` did."""

    status: str
    collection_name: str
    compaction_id: int
    target_size: str | None
    progress: list[str]


# -- compaction ---------------------------------------------------------------------------------
def compact(
    session: Session,
    collection_name: str,
    is_clustering: bool,
    is_l0: bool,
    target_size: int | None,
    target_size_unit: str = "mb",
) -> Operation[int]:
    """Begin a compaction; its job id, -1 when there is nothing to do."""
    name = arguments.name("collection_name", collection_name)
    megabytes = 0 if target_size is None else _megabytes(target_size, target_size_unit)
    request = requests.Compact(
        database=session.database,
        collection=name,
        clustering=arguments.flag("is_clustering", is_clustering),
        level0=arguments.flag("is_l0", is_l0),
        target_megabytes=megabytes,
    )
    job = yield from ask(request, results.CompactionJob)
    return job.job_id


def _megabytes(target_size: int, unit: str) -> int:
    if type(target_size) is not int or target_size <= 0:
        raise ParamError(f"target_size must be a positive integer, but got {target_size!r}")
    factor = _UNITS.get(str(unit).lower())
    if factor is None:
        raise ParamError(f"target_size_unit must be one of {', '.join(_UNITS)}, but got {unit!r}")
    return _at_least_one(target_size * factor, f"{target_size} {unit}")


def _at_least_one(size: float, given: str) -> int:
    megabytes = int(size // _MEGABYTE)
    if megabytes < 1:
        raise ParamError(f"target_size {given} is too small, it must be at least 1 MB")
    return min(megabytes, AS_LARGE_AS_SENSIBLE)


def get_compaction_state(session: Session, job_id: int) -> Operation[str]:
    """`"Executing"`, `"Completed"`, or `"UndefiedState"` for a job that is not known."""
    request = requests.GetCompactionState(database=session.database, job_id=arguments.integer("job_id", job_id))
    progress = yield from ask(request, results.CompactionProgress)
    return progress.state.name


def get_compaction_plans(session: Session, job_id: int) -> Operation[CompactionPlans]:
    number = arguments.integer("job_id", job_id)
    found = yield from ask(
        requests.GetCompactionPlans(database=session.database, job_id=number), results.CompactionPlans
    )
    return CompactionPlans(number, found.state, list(found.plans))


def list_compaction_tasks(session: Session, collection_name: str) -> Operation[CompactionPlans]:
    """The plans of a collection that the server still remembers."""
    name = arguments.name("collection_name", collection_name)
    found = yield from ask(
        requests.GetCompactionPlans(database=session.database, collection=name), results.CompactionPlans
    )
    return CompactionPlans(0, found.state, list(found.plans), name)


def optimize(
    session: Session, collection_name: str, target_size: str | None, progress: list[str]
) -> Operation[OptimizeResult]:
    """Make few large segments of a collection, and come back when they are indexed and loaded. Each stage is added to
    `progress` when it begins."""
    name = arguments.name("collection_name", collection_name)
    megabytes = AS_LARGE_AS_SENSIBLE if target_size is None else parse_size(target_size)
    progress.append("waiting for indexes")
    yield from _until_indexed(session, name)
    progress.append("compacting")
    request = requests.Compact(database=session.database, collection=name, target_megabytes=megabytes)
    job = yield from ask(request, results.CompactionJob)
    progress.append("waiting for compaction")
    yield from _until_compacted(session, job.job_id)
    progress.append("waiting for index rebuild")
    yield from _until_indexed(session, name)
    loaded = yield from ask(requests.GetLoadState(database=session.database, collection=name), results.LoadStateInfo)
    if loaded.state is LoadState.Loaded:
        progress.append("refreshing load")
        yield from refresh_load(session, name)
    return OptimizeResult("success", name, job.job_id, target_size, list(progress))


def check_optimize(collection_name: str, target_size: str | None) -> None:
    """Raises ParamError for what `optimize` would refuse, before anything goes on beside the caller."""
    arguments.name("collection_name", collection_name)
    if target_size is not None:
        parse_size(target_size)


def parse_size(text: str) -> int:
    """`"512MB"`, `"1.5 gb"`, or bytes without a unit, in megabytes."""
    match = _SIZE.fullmatch(str(text).strip().lower())
    unit = (match.group(2) or "b") if match is not None else ""
    if match is None or unit not in _UNITS:
        raise ParamError(f"target_size must be like '512MB' or '1.5GB', but got {text!r}")
    return _at_least_one(float(match.group(1)) * _UNITS[unit], text)


def _until_indexed(session: Session, name: str) -> Operation[None]:
    for delay in backoff():
        try:
            found = yield from ask(requests.DescribeIndex(database=session.database, collection=name), results.Indexes)
        except IndexNotFound:
            return
        if all(i.state is not IndexState.IN_PROGRESS for i in found.indexes):
            return
        yield Wait(delay)


def _until_compacted(session: Session, job_id: int) -> Operation[None]:
    for delay in backoff():
        plans = yield from get_compaction_plans(session, job_id)
        if plans.state is not CompactionState.Executing:
            break
        yield Wait(delay)
    failed = [p.failure_reason for p in plans.plans if p.state is PlanState.FAILED]
    if failed:
        raise Unexpected(f"compaction {job_id} failed: {failed[0]}")


# -- segments -----------------------------------------------------------------------------------
def list_persistent_segments(
    session: Session, collection_name: str, states: Sequence[int] | None
) -> Operation[list[SegmentInfo]]:
    """Segments on disk; with `states`, those in one of them."""
    name = arguments.name("collection_name", collection_name)
    wanted = () if states is None else tuple(arguments.integer("states", s) for s in states)
    request = requests.ListPersistentSegments(database=session.database, collection=name, states=wanted)
    found = yield from ask(request, results.Segments)
    return [msgspec.structs.replace(segment, collection_name=name) for segment in found.segments]


def list_loaded_segments(session: Session, collection_name: str) -> Operation[list[SegmentInfo]]:
    """Segments that searches look at, with their indexes and nodes."""
    name = arguments.name("collection_name", collection_name)
    found = yield from ask(requests.ListLoadedSegments(database=session.database, collection=name), results.Segments)
    return [msgspec.structs.replace(segment, collection_name=name) for segment in found.segments]


def memory_report(session: Session) -> Operation[MemoryReport]:
    return from_json((yield from _metrics(session, MEMORY_METRICS)), MemoryReport)


def storage_report(session: Session) -> Operation[StorageReport]:
    return from_json((yield from _metrics(session, STORAGE_METRICS)), StorageReport)


def _metrics(session: Session, kind: str) -> Operation[str]:
    question = msgspec.json.encode({"metric_type": kind}).decode()
    return (yield from ask(GetMetrics(database=session.database, question=question), SystemMetrics)).answer
