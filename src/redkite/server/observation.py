"""Everything by which a running server is watched: counters, gauges, slow queries, the audit log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from redkite.cluster.figures import Figure
from redkite.config import Settings
from redkite.errors import MilvusException
from redkite.model.requests import CheckHealth, GetCollectionStatistics, ListDatabases, ShowCollections
from redkite.model.results import Collections, Databases, Health, RowCount
from redkite.model.service import Service
from redkite.node.topology import Topology
from redkite.proxy.reads import Reads
from redkite.proxy.service import Proxy
from redkite.server import tracing
from redkite.server.audit import AuditLog
from redkite.server.calls import Calls
from redkite.server.exposition import Sample, exposition
from redkite.server.gauges import engine_samples, process_samples, read_figures
from redkite.server.limits import limit_samples, queue_samples, state_samples
from redkite.server.metrics import Counted, Metrics
from redkite.server.observer import Observer
from redkite.server.sharing import Gathered, Told, told
from redkite.server.slow import SlowLog, SlowQuery

if TYPE_CHECKING:
    from redkite.server.replicating import Replicator


class Observation:
    """Of one process. Belongs to its event loop's thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._slow = SlowLog(settings.slow_query_seconds) if settings.slow_query_seconds else None
        self.observer = Observer(self._metrics, self._slow)
        self.workers: Gathered | None = None
        """The other processes of this server, where there are any and this is the first."""
        self._calls: Calls | None = None
        self._service: Service | None = None
        self._topology: Topology | None = None
        self._figures: Callable[[], Iterable[Figure]] | None = None
        self._reads: Reads | None = None
        self.replicator: Replicator | None = None
        """What sends to other clusters, where there is one."""
        self._listening: asyncio.Server | None = None
        self._tracing: tracing.Tracing | None = None

    @property
    def has_audit_log(self) -> bool:
        return bool(self._settings.audit_log)

    def begin(self) -> None:
        """Open the audit log. Raises InvalidParameter when it cannot be written."""
        settings = self._settings
        self._tracing = tracing.begin(settings.trace)
        if settings.audit_log:
            self.observer.audit = AuditLog(settings.audit_log, settings.audit_log_bytes, settings.audit_log_files)

    def opened(
        self,
        calls: Calls,
        service: Service,
        topology: Topology | None,
        figures: Callable[[], Iterable[Figure]] | None = None,
        reads: Reads | None = None,
    ) -> None:
        """There is a database now; of one that has no topology, gauges are asked for by requests. `figures`: what a
        node of a cluster says of itself. `reads`: what answers searches and queries in this process."""
        self._figures = figures
        self._reads = service.reads if isinstance(service, Proxy) else reads
        self._calls, self._service, self._topology = calls, service, topology
        if self._slow is not None:
            self._slow.explain_with(calls, service)

    def reopen(self) -> None:
        """The audit log was moved away."""
        if self.observer.audit is not None:
            self.observer.audit.reopen()

    def close(self) -> None:
        """Write what is still to be written."""
        if self._listening is not None:
            self._listening.close()
        if self.observer.audit is not None:
            self.observer.audit.close()
            self.observer.audit = None
        if self._tracing is not None:
            self._tracing.close()
            self._tracing = None

    # -- what was counted -----------------------------------------------------------------------
    async def counted(self) -> Counted:
        """What all processes of this server have counted."""
        counted = self._counted()
        if self.workers is not None:
            await self.workers.ask()
            self.workers.add_to(counted)
        return counted

    async def text(self) -> str:
        """All metrics of all processes of this server, as Prometheus reads them."""
        counted = await self.counted()
        samples = [*process_samples(), *await self._samples()]
        if self.workers is not None:
            samples += self.workers.samples()
        if self._calls is None:
            return exposition(counted, samples)
        return await self._calls.run(lambda: exposition(counted, samples))

    async def slow_queries(self) -> list[SlowQuery]:
        """The last slow reads of all processes, the newest first; no more than a hundred."""
        mine = [] if self._slow is None else self._slow.last()
        if self.workers is None:
            return mine
        await self.workers.ask()
        return self.workers.slow(mine)

    def _counted(self) -> Counted:
        counted = self._metrics.counted()
        if self.observer.audit is not None:
            counted.audit_lost = self.observer.audit.lost
        if self._reads is not None:
            counted.engine = list(read_figures(self._reads))
        return counted

    async def _samples(self) -> list[Sample]:
        topology = self._topology
        if self._calls is None:
            return []
        here = [*limit_samples(self._settings.quotas), *await _states(self._calls)]
        if topology is not None:
            more = [] if self.replicator is None else list(self.replicator.samples(topology.env.clock.now_ms()))
            return [*await self._calls.run(lambda: [*engine_samples(topology), *self._of_node()]), *more, *here]
        return [*await _asked(self._calls), *here]

    def _of_node(self) -> list[Sample]:
        return [] if self._figures is None else [Sample(*figure) for figure in self._figures()]

    # -- for the first of several processes -----------------------------------------------------
    async def tell(self, path: str) -> None:
        """Say what this process has counted to whoever connects to a local socket."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a process before this one

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(msgspec.msgpack.encode(self._told()))
            await writer.drain()
            writer.close()

        self._listening = await asyncio.start_unix_server(answer, path)

    def _told(self) -> Told:
        return told(self._counted(), [] if self._slow is None else self._slow.last())


async def _states(calls: Calls) -> list[Sample]:
    """What waits for a thread, and what an administrator denies."""

    def as_is(result: object) -> object:
        return result

    health = await calls.call(CheckHealth(), as_is)
    assert isinstance(health, Health)
    return [*queue_samples(calls), *state_samples(health.quota_states)]


async def _asked(calls: Calls) -> list[Sample]:
    """The little that requests tell of a database elsewhere."""

    def as_is(result: object) -> object:
        return result

    databases = await calls.call(ListDatabases(), as_is)
    assert isinstance(databases, Databases)
    collections, rows = 0, 0
    for database in databases.names:
        shown = await calls.call(ShowCollections(database=database), as_is)
        assert isinstance(shown, Collections)
        collections += len(shown.collections)
        for brief in shown.collections:
            try:
                count = await calls.call(GetCollectionStatistics(database=database, collection=brief.name), as_is)
            except MilvusException:
                continue  # dropped since it was listed
            assert isinstance(count, RowCount)
            rows += count.rows
    values: Mapping[str, tuple[str, int]] = {
        "redkite_databases": ("Databases.", len(databases.names)),
        "redkite_collections": ("Collections of all databases.", collections),
        "redkite_rows": ("Rows of all collections.", rows),
    }
    return [Sample(name, text, value) for name, (text, value) in values.items()]
