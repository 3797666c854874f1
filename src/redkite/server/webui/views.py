"""What the page asks that no endpoint of REST answers: many collections at once, segments, work in the background, slow
reads, live numbers, settings.

Rows and definitions are asked of the proxy in the user's name, which knows what may be seen. What the server knows
beside them (counters, slow reads, settings) is cut here to what the user's grants name.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from redkite.config import Settings, items
from redkite.coordinator.access import AccessCoordinator
from redkite.errors import CollectionNotFound, CollectionNotLoaded, IndexNotFound, InvalidParameter, PermissionDenied
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.inspection import BackupJobs, ListBackupJobs
from redkite.model.request import Request
from redkite.model.schema import DEFAULT_DATABASE
from redkite.model.timestamps import physical_ms
from redkite.model.types import IndexState, JobState
from redkite.model.upkeep import CompactionPlanInfo, PlanState, SegmentInfo, SegmentState
from redkite.node.topology import Topology
from redkite.server.gauges import collection_rows, resident_bytes
from redkite.server.metrics import EDGES, OK, Counted
from redkite.server.observation import Observation
from redkite.server.rest.bodies import Body, EmptyReq
from redkite.server.rest.exchange import Exchange, answer

R = TypeVar("R", bound=rs.Result)

PAGE: Final = "page"
"""What the questions of the page are counted and logged as."""
UNNOTED: Final = frozenset({"live", "session"})
"""Questions that the page repeats by itself."""
MOST_DETAILS: Final = 100
"""Collections that are described at once."""
MOST_WATCHED: Final = 200
"""Collections whose work in the background is looked at."""
_SHOWN_STATES: Final = (
    SegmentState.GROWING, SegmentState.SEALED, SegmentState.FLUSHED, SegmentState.FLUSHING, SegmentState.IMPORTING,
)  # fmt: skip
_READS: Final = frozenset({"Search", "HybridSearch", "Query"})
_WRITES: Final = frozenset({"Insert", "Upsert"})


class NamesReq(Body, frozen=True):
    names: tuple[str, ...] = ()


class NameReq(Body, frozen=True):
    required = ("name",)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Views:
    """What there is to look at besides the proxy."""

    settings: Settings
    observation: Observation
    topology: Topology | None
    access: AccessCoordinator | None
    """None where nobody need say who they are."""

    def is_admin(self, user: str) -> bool:
        """Whether a user may do everything."""
        return not user or self.access is None or self.access.permissions(user).everything

    def sees(self, user: str, database: str, collection: str) -> bool:
        """Whether a grant of the user's names a collection."""
        return self.is_admin(user) or (
            self.access is not None and self.access.permissions(user).sees(database or DEFAULT_DATABASE, collection)
        )

    # -- collections ----------------------------------------------------------------------------
    async def names(self, exchange: Exchange, _body: EmptyReq) -> bytes:
        """The collections of a database that the user may know of, and how far each is loaded."""
        found = await exchange.ask(rq.ShowCollections(database=exchange.database), rs.Collections)
        return answer([
            {"name": one.name, "id": str(one.collection_id), "created": physical_ms(one.created_timestamp),
             "loaded": one.loaded_percent}
            for one in sorted(found.collections, key=lambda one: one.name)
        ])  # fmt: skip

    async def details(self, exchange: Exchange, body: NamesReq) -> bytes:
        """Rows, indexes and sizes of some collections; null where the user may not know."""
        if len(body.names) > MOST_DETAILS:
            raise InvalidParameter(f"at most {MOST_DETAILS} collections are described at once, not {len(body.names)}")
        shown = await _shown(exchange)
        wanted = [name for name in body.names if name in shown]
        return answer({name: await self._detail(exchange, name) for name in wanted})

    async def _detail(self, exchange: Exchange, name: str) -> dict[str, Any]:
        database = exchange.database
        rows = await _allowed(exchange, rq.GetCollectionStatistics(database=database, collection=name), rs.RowCount)
        described = rq.DescribeCollection(database=database, collection=name)
        info = await _allowed(exchange, described, rs.CollectionInfo)
        indexes = await _indexes(exchange, name)
        return {
            "rows": None if rows is None else rows.rows,
            "fields": None if info is None else len(info.schema.user_fields) + len(info.schema.struct_fields),
            "partitions": None if info is None else info.partitions,
            "aliases": () if info is None else info.aliases,
            "description": "" if info is None else info.schema.description,
            "indexes": None if indexes is None else [_index(index) for index in indexes],
        }

    async def segments(self, exchange: Exchange, body: NameReq) -> bytes:
        """The segments of a collection, with the bytes and the index of those that are loaded."""
        await _check_shown(exchange, body.name)
        where = {"database": exchange.database, "collection": body.name}
        states = tuple(int(state) for state in _SHOWN_STATES)
        stored = await exchange.ask(rq.ListPersistentSegments(**where, states=states), rs.Segments)
        try:
            loaded = await exchange.ask(rq.ListLoadedSegments(**where), rs.Segments)
        except CollectionNotLoaded:
            loaded = rs.Segments(segments=())
        held = {segment.segment_id: segment for segment in loaded.segments}
        names = await _allowed(
            exchange, rq.ShowPartitions(database=exchange.database, collection=body.name), rs.Partitions
        )
        partitions = {} if names is None else {part.partition_id: part.name for part in names.partitions}
        return answer([
            _segment(held.get(segment.segment_id, segment), segment.segment_id in held, partitions)
            for segment in stored.segments
        ])  # fmt: skip

    # -- work in the background -----------------------------------------------------------------
    async def tasks(self, exchange: Exchange, _body: EmptyReq) -> bytes:
        """Index builds, compactions, restores and (for administrators) backups, of one database."""
        shown = sorted(await _shown(exchange))
        builds: list[dict[str, Any]] = []
        compactions: list[dict[str, Any]] = []
        for name in shown[:MOST_WATCHED]:
            builds += [{"collection": name, **_index(index)} for index in await _indexes(exchange, name) or ()]
            plans = await _allowed(
                exchange, rq.GetCompactionPlans(database=exchange.database, collection=name), rs.CompactionPlans
            )
            compactions += [_compaction(name, plan) for plan in (plans.plans if plans else ())]
        restores = await _allowed(exchange, rq.ListRestoreSnapshotJobs(database=exchange.database), rs.RestoreJobInfos)
        backups = await _allowed(exchange, ListBackupJobs(), BackupJobs)
        return answer({
            "collections": len(shown),
            "watched": min(len(shown), MOST_WATCHED),
            "builds": builds,
            "compactions": compactions,
            "restores": None if restores is None else [_restore(job) for job in restores.jobs],
            "backups": None if backups is None else [_backup(job) for job in backups.jobs],
        })  # fmt: skip

    # -- what the server knows ------------------------------------------------------------------
    async def slow(self, exchange: Exchange, _body: EmptyReq) -> bytes:
        """The last slow reads: an administrator sees all, others their own. Filters hold values of rows."""
        found = await self.observation.slow_queries()
        mine = [one for one in found if self.is_admin(exchange.user) or one.user == exchange.user]
        return answer({"seconds": self.settings.slow_query_seconds, "reads": msgspec.to_builtins(mine)})

    async def live(self, exchange: Exchange, _body: EmptyReq) -> bytes:
        """Counters since the start, of what the user may know of; the page makes rates of two of these."""
        counted = await self.observation.counted()
        rows = await exchange.calls.run(lambda: self._rows(exchange.user))
        return answer({
            "time": time.time(),
            "edges": EDGES,
            "rows": rows,
            "memory": resident_bytes(),
            **self._sums(exchange.user, counted),
        })  # fmt: skip

    def _sums(self, user: str, counted: Counted) -> dict[str, Any]:
        everything = self.is_admin(user)
        reads = [0] * (len(EDGES) + 1)
        searches = queries = written = deleted = errors = calls = 0
        for kind, counts in counted.calls:
            if kind.protocol == PAGE:
                continue
            if not everything and not (kind.collection and self.sees(user, kind.database, kind.collection)):
                continue
            calls += counts.total
            errors += counts.failed
            if kind.rpc in _READS:
                reads = [a + b for a, b in zip(reads, counts.bins, strict=True)]
                if kind.rpc == "Query":
                    queries += counts.ends[OK]
                else:
                    searches += counts.ends[OK]
            elif kind.rpc in _WRITES:
                written += counts.done
            elif kind.rpc == "Delete":
                deleted += counts.done
        return {"reads": reads, "searches": searches, "queries": queries, "written": written, "deleted": deleted,
                "errors": errors, "calls": calls}  # fmt: skip

    def _rows(self, user: str) -> int | None:
        if self.topology is None or not self.topology.streaming.are_here:
            return None  # they are at the owners of the shards, and to ask all of them every few seconds costs too much
        metas = [m for m in self.topology.root.all_collections() if self.sees(user, m.database, m.name)]
        return sum(collection_rows(self.topology, meta) for meta in metas)

    async def server(self, exchange: Exchange, _body: EmptyReq) -> bytes:
        """The settings, for administrators. Passwords and keys are never among them."""
        if not self.is_admin(exchange.user):
            raise PermissionDenied(f"the settings are shown to administrators, and {exchange.user} is none")
        defaults = dict(items(Settings()))
        return answer([
            {"key": key, "value": _plain(value), "default": key in defaults and defaults[key] == value}
            for key, value in items(self.settings)
        ])  # fmt: skip

    async def session(self, _exchange: Exchange, _body: EmptyReq) -> bytes:
        """Answered at the door."""
        return answer({})


class View(NamedTuple):
    body: type[Body]
    handle: Callable[[Views, Exchange, Any], Awaitable[bytes]]


VIEWS: Final = {
    "names": View(EmptyReq, Views.names),
    "details": View(NamesReq, Views.details),
    "segments": View(NameReq, Views.segments),
    "tasks": View(EmptyReq, Views.tasks),
    "slow": View(EmptyReq, Views.slow),
    "live": View(EmptyReq, Views.live),
    "server": View(EmptyReq, Views.server),
    "session": View(EmptyReq, Views.session),
}
"""By the path below `/webui/api/`."""


# -- asking -------------------------------------------------------------------------------------
async def _shown(exchange: Exchange) -> set[str]:
    """Names of the collections that the user may know of."""
    found = await exchange.ask(rq.ShowCollections(database=exchange.database), rs.Collections)
    return {one.name for one in found.collections}


async def _check_shown(exchange: Exchange, name: str) -> None:
    if name not in await _shown(exchange):
        raise CollectionNotFound.named(exchange.database, name)


async def _allowed(exchange: Exchange, request: Request, kind: type[R]) -> R | None:
    """An answer; None where the user may not ask, or what is asked about is gone meanwhile."""
    try:
        return await exchange.ask(request, kind)
    except (PermissionDenied, CollectionNotFound):
        return None


async def _indexes(exchange: Exchange, collection: str) -> tuple[rs.IndexInfo, ...] | None:
    """The indexes of a collection; None where the user may not know."""
    request = rq.DescribeIndex(database=exchange.database, collection=collection)
    try:
        return (await exchange.ask(request, rs.Indexes)).indexes
    except IndexNotFound:
        return ()
    except (PermissionDenied, CollectionNotFound):
        return None


# -- as JSON ------------------------------------------------------------------------------------
def _index(index: rs.IndexInfo) -> dict[str, Any]:
    return {
        "name": index.index_name,
        "field": index.field,
        "type": index.params.get("index_type", ""),
        "metric": index.params.get("metric_type", ""),
        "params": index.params,
        "state": _INDEX_STATES[index.state],
        "total": index.total_rows,
        "indexed": index.indexed_rows,
        "pending": index.pending_rows,
        "reason": index.fail_reason,
    }


_INDEX_STATES: Final = {
    IndexState.NONE: "none", IndexState.UNISSUED: "waiting", IndexState.IN_PROGRESS: "building",
    IndexState.FINISHED: "finished", IndexState.FAILED: "failed", IndexState.RETRY: "waiting",
}  # fmt: skip
_JOB_STATES: Final = {
    JobState.NONE: "none", JobState.PENDING: "waiting", JobState.EXECUTING: "running",
    JobState.COMPLETED: "finished", JobState.FAILED: "failed",
}  # fmt: skip


_PLAN_STATES: Final = {
    PlanState.UNKNOWN: "none", PlanState.EXECUTING: "running", PlanState.COMPLETED: "finished",
    PlanState.FAILED: "failed",
}  # fmt: skip


def _segment(segment: SegmentInfo, is_loaded: bool, partitions: dict[int, str]) -> dict[str, Any]:
    return {
        "id": str(segment.segment_id),
        "partition": partitions.get(segment.partition_id, str(segment.partition_id)),
        "state": segment.state.name.lower(),
        "level": segment.level.name,
        "rows": segment.num_rows,
        "bytes": segment.mem_size if is_loaded or segment.mem_size else None,
        "index": segment.index_name,
        "sorted": segment.is_sorted,
        "loaded": is_loaded,
        "nodes": segment.node_ids,
        "channel": segment.insert_channel,
    }


def _compaction(collection: str, plan: CompactionPlanInfo) -> dict[str, Any]:
    return {
        "collection": collection,
        "id": str(plan.plan_id),
        "kind": plan.kind.name.lower(),
        "state": _PLAN_STATES[plan.state],
        "sources": len(plan.sources),
        "targets": len(plan.targets),
        "reason": plan.failure_reason,
    }


def _restore(job: rs.RestoreJobInfo) -> dict[str, Any]:
    return {
        "id": str(job.job_id), "snapshot": job.snapshot, "collection": job.collection,
        "state": _JOB_STATES[job.state], "percent": job.progress, "reason": job.reason, "started": job.started_ms,
        "took": job.took_ms,
    }  # fmt: skip


def _backup(job: rs.BackupJobInfo) -> dict[str, Any]:
    done = job.state is JobState.COMPLETED
    percent = 100 if done else int(100 * job.done_bytes / job.total_bytes) if job.total_bytes else 0
    name = job.backup.name if job.backup else job.export.snapshot if job.export else ""
    return {
        "id": str(job.job_id), "kind": job.kind, "name": name, "state": _JOB_STATES[job.state], "percent": percent,
        "bytes": job.done_bytes, "reason": job.reason, "started": job.started_ms, "took": job.took_ms,
    }  # fmt: skip


def _plain(value: object) -> object:
    """As JSON has it; a number stays one."""
    return value if isinstance(value, bool | int | float | str) else str(value)
