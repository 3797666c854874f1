"""What a cluster is among clusters: a primary that is followed, or a secondary that takes what the primary sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import msgspec

from redkite.coordinator.standing import State
from redkite.env import Executor, Timer, attach
from redkite.errors import CrossCluster, InvalidParameter, MilvusException
from redkite.logs import get_logger
from redkite.model import access as ac
from redkite.model import analysis as an
from redkite.model import external as ex
from redkite.model import imports as im
from redkite.model import legacy as lg
from redkite.model import replication as rp
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.exchange import RestoreExternalSnapshot
from redkite.model.replication import Checkpoint, ReplicateConfiguration
from redkite.node.topology import Topology
from redkite.proxy.feed import ChangeFeeds
from redkite.proxy.replication_applying import Applying
from redkite.proxy.replication_reading import read_page
from redkite.proxy.replication_rules import check_configuration
from redkite.proxy.replication_totals import totals

log = get_logger(__name__)

PRIMARY, SECONDARY = "primary", "secondary"
_HAND_OVER_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 60.0
Method = Callable[[Any], "rs.Result | Future[rs.Result]"]
_NOT_A_FOLLOWER: Final = 1900
CHANGES: Final = frozenset({
    rq.Insert, rq.Upsert, rq.Delete, rq.CreateDatabase, rq.DropDatabase, rq.AlterDatabase, rq.CreateCollection,
    rq.DropCollection, rq.RenameCollection, rq.TruncateCollection, rq.AddCollectionField, rq.AddCollectionStructField,
    rq.DropCollectionField, rq.AlterCollectionField, rq.AlterCollection, rq.AddFunctionField, rq.DropFunctionField,
    rq.AlterFunction, rq.CreatePartition, rq.DropPartition, rq.CreateAlias, rq.DropAlias, rq.AlterAlias,
    rq.LoadCollection, rq.LoadPartitions, rq.ReleaseCollection, rq.ReleasePartitions, rq.CreateIndex, rq.AlterIndex,
    rq.DropIndex, rq.RestoreSnapshot, rq.RestoreBackup, RestoreExternalSnapshot, im.Import, im.ImportFiles,
    im.CommitImport, im.AbortImport, ac.CreateUser, ac.UpdateUser, ac.DropUser, ac.CreateApiKey, ac.DropApiKey,
    ac.CreateRole, ac.AlterRole, ac.DropRole, ac.BindRole, ac.OperatePrivilege, ac.OperatePrivilegeV2,
    ac.CreatePrivilegeGroup, ac.DropPrivilegeGroup, ac.ChangePrivilegeGroup, ac.RestoreAccess, ac.CreateRowPolicy,
    ac.DropRowPolicy, an.AddFileResource, an.RemoveFileResource, lg.AddCollectionFunction, lg.DropCollectionFunction,
    ex.RefreshExternalCollection,
})  # fmt: skip
"""What a secondary refuses: everything that would make it differ from its primary."""


class Replication:
    """Safe from any thread."""

    def __init__(self, topology: Topology, feeds: ChangeFeeds, changed: Callable[[], None], cluster_id: str) -> None:
        self.cluster_id = cluster_id
        self._topology = topology
        self._feeds = feeds
        self._standing = topology.standing
        self._lock = threading.RLock()
        self._applying = Applying(topology, feeds, changed)
        self.when_changed: Callable[[], None] | None = None
        """Told after each change of the configuration or the role."""
        self._handing: Future[rs.Result] | None = None
        self._handing_ends: Timer | None = None
        self._wanted: ReplicateConfiguration | None = None

    @property
    def state(self) -> State:
        return self._standing.state

    def check_meant(self, cluster: str) -> None:
        """Raises CrossCluster for a request that another cluster is meant to answer."""
        if cluster != self.cluster_id:
            raise CrossCluster.between(cluster, self.cluster_id)

    def _tell(self) -> None:
        if self.when_changed is not None:
            self.when_changed()

    @property
    def role(self) -> str:
        return SECONDARY if self.state.source else PRIMARY

    def changing(self, method: Method, request: rq.Request) -> rs.Result | Future[rs.Result]:
        """Do what changes something. Raises StandbyMode where nothing may be changed. Whoever stops changes waits for
        those that have begun."""
        standing = self._standing
        standing.begin()
        try:
            result = method(request)
        except BaseException:
            standing.end()
            raise
        if isinstance(result, Future):
            attach(result, lambda _: standing.end())
        else:
            standing.end()
        return result

    def _settle(self) -> None:
        """Wait for the changes that have begun, in whichever process; no further ones do. They are in the feed then."""
        for meta in self._topology.root.all_collections():
            for shard in self._topology.open_shards(meta):
                shard.settle()
        self._standing.stand_still(_SETTLE_SECONDS)

    def table(self) -> dict[type[rq.Request], Callable[[Any], rs.Result | Future[rs.Result]]]:
        return {
            rp.UpdateReplicateConfiguration: self.update,
            rp.GetReplicateConfiguration: lambda _: rp.ReplicationSetUp(
                configuration=self.state.configuration.without_tokens()
            ),
            rp.GetReplicateInfo: self.info,
            rp.ReadReplication: lambda request: read_page(self._topology, self._feeds, request),
            rp.ApplyReplication: self.apply,
            rp.FreezeWrites: self.freeze,
            rp.CountEverything: lambda request: totals(self._topology, request.timestamp, checksums=request.checksums),
        }

    # -- the configuration ----------------------------------------------------------------------
    def update(self, request: rp.UpdateReplicateConfiguration) -> rs.Result | Future[rs.Result]:
        wanted, me = request.configuration, self.cluster_id
        check_configuration(wanted, me)
        with self._lock:
            state = self.state
            source = wanted.source_of(me)
            if request.force_promote:
                if source:
                    raise InvalidParameter(f"force_promote makes a primary of '{me}', and the topology a secondary")
                self._promote(wanted, by_force=bool(state.source))
            elif state.source and source != state.source:
                if source:
                    raise InvalidParameter(
                        f"'{me}' follows '{state.source}': it can become a primary, but not follow '{source}' at once"
                    )
                self._wanted = wanted
                if self._handing is None:
                    self._handing = self._topology.env.tasks.future()
                    self._later(self._handing)
                return self._handing
            elif source and not state.source:
                self._step_back(wanted, source)
            else:
                self._standing.save(configuration=wanted)
        self._tell()
        return rs.Done()

    def _later(self, handing: Future[rs.Result]) -> None:
        """A primary that does not hand over in time is told of, and this goes on following it."""

        def over() -> None:
            timer.cancel()
            with self._lock:
                if self._handing is not handing:
                    return
                self._handing = self._wanted = None
            handing.set_exception(
                InvalidParameter(
                    f"'{self.state.source}' has not handed over within {_HAND_OVER_SECONDS:g} s: tell it the same "
                    "configuration, or say force_promote, which loses what it has not sent"
                )
            )

        # Not in the thread of timers: what holds the lock may wait for a node that is gone.
        ends = self._topology.env.tasks.executor("hand-over", 1)
        timer = self._topology.env.tasks.every(_HAND_OVER_SECONDS, partial(_submit, ends, over), "hand-over")
        self._handing_ends = timer

    def _promote(self, wanted: ReplicateConfiguration, *, by_force: bool) -> None:
        state = self.state
        salvage = state.salvage
        if by_force:
            salvage = Checkpoint(
                cluster_id=state.source, pchannel="", message_id=state.position, timestamp=state.timestamp
            )
            log.warning("promoted by force: what '%s' wrote after %d is not here", state.source, state.timestamp)
        former = "" if by_force else state.source
        for target in wanted.targets_of(self.cluster_id):
            if target.cluster_id == former:
                # Before anything can be written here: the former primary needs all of it and nothing else.
                self._feeds.begin_everything(feed_name(former))
        self._standing.save(
            configuration=wanted, source="", position="", timestamp=0, salvage=salvage, handed_over_by=former,
            frozen="", stepped_back="",
        )  # fmt: skip

    def _step_back(self, wanted: ReplicateConfiguration, source: str) -> None:
        """Become a secondary. What is here must be what the source has. Whoever sends hears of it when no write is
        under way any more: only then is what it sends all there is."""
        targets = self.state.configuration.targets_of(self.cluster_id)
        was_primary_of_it = any(target.cluster_id == source for target in targets)
        if not was_primary_of_it:
            self._check_empty()
        with self._stopped(f"this cluster is about to follow '{source}'"):
            if not was_primary_of_it:
                self._check_empty()
            self._standing.save(
                configuration=wanted, source=source, position="", timestamp=0,
                stepped_back=source if was_primary_of_it else "",
            )  # fmt: skip

    @contextmanager
    def _stopped(self, reason: str) -> Iterator[None]:
        """While nothing is changed anywhere. Raises Unavailable when that cannot be had."""
        before = self.state.frozen
        self._standing.save(frozen=before or reason)
        try:
            self._settle()
            yield
        finally:
            self._standing.save(frozen=before)

    def _check_empty(self) -> None:
        found = [f"{meta.database}.{meta.name}" for meta in self._topology.root.all_collections()]
        if found:
            raise InvalidParameter(
                f"a cluster that is to follow another must be empty; this one has {', '.join(found[:5])}"
                + (" …" if len(found) > 5 else "")
            )

    # -- how far --------------------------------------------------------------------------------
    def info(self, request: rp.GetReplicateInfo) -> rp.ReplicateInfo:
        state = self.state
        found = None
        if state.source and state.source == request.source_cluster_id and state.position:
            found = Checkpoint(
                cluster_id=state.source, pchannel=request.target_pchannel, message_id=state.position,
                timestamp=state.timestamp,
            )  # fmt: skip
        salvage = state.salvage
        if salvage is not None:
            if salvage.cluster_id == request.source_cluster_id:
                salvage = msgspec.structs.replace(salvage, pchannel=request.target_pchannel)
            else:
                salvage = None
        return rp.ReplicateInfo(checkpoint=found, salvage=salvage)

    def freeze(self, request: rp.FreezeWrites) -> rs.Done:
        with self._lock:
            reason = request.reason or "writes have been stopped by the administrator"
            self._standing.save(frozen=reason if request.frozen else "")
        if request.frozen:
            try:
                self._settle()
            except BaseException:
                self._standing.save(frozen="")  # whoever asked is told that writes go on
                raise
        return rs.Done()

    # -- following ------------------------------------------------------------------------------
    def apply(self, request: rp.ApplyReplication) -> rp.Applied:
        with self._lock:
            state = self.state
            if not state.source and state.handed_over_by == request.source_cluster_id:
                if request.hand_over:  # the answer to it was lost, and it is asked again
                    return rp.Applied(position=state.position, timestamp=state.timestamp, role=PRIMARY)
                if request.begin:
                    raise InvalidParameter(
                        f"this database has taken over from '{request.source_cluster_id}' already, and takes writes"
                    )
            if request.begin and not state.source:
                if state.configuration.edges:
                    raise InvalidParameter("this cluster replicates already: it cannot follow another beside")
                self._check_empty()
                self._standing.save(source=request.source_cluster_id, position="", timestamp=0)
            state = self.state
            if state.source != request.source_cluster_id or state.stepped_back:
                if state.stepped_back == request.source_cluster_id and request.page.end:
                    # The former target is the primary now: what it sends follows what was sent to it.
                    self._standing.save(stepped_back="")
                elif state.source != request.source_cluster_id:
                    raise MilvusException(
                        "deny to use the replicate message in the normal instance: this cluster does not follow "
                        f"'{request.source_cluster_id}'",
                        _NOT_A_FOLLOWER,
                    )
            if request.after is not None and request.after != self.state.position:
                return rp.Applied(position=self.state.position, timestamp=self.state.timestamp, role=SECONDARY)
            if request.page.end:
                self._applying.apply(request.page)
                self._standing.save(position=request.page.end, timestamp=request.page.timestamp)
            answer = rp.Applied(position=self.state.position, timestamp=self.state.timestamp, role=SECONDARY)
            if request.hand_over:
                answer = self._handed_over(answer)
        self._tell()
        return answer

    def _handed_over(self, answer: rp.Applied) -> rp.Applied:
        wanted, handing = self._wanted, self._no_longer_handing()
        if wanted is None and self.state.configuration.edges:
            return answer  # nobody here was told yet: the source asks again
        self._promote(wanted or ReplicateConfiguration(), by_force=False)
        if handing is not None:
            handing.set_result(rs.Done())
        return msgspec.structs.replace(answer, role=PRIMARY)

    def _no_longer_handing(self) -> Future[rs.Result] | None:
        """Whoever waited for a hand-over, if somebody did; nobody does any more."""
        handing, self._handing, self._wanted = self._handing, None, None
        if self._handing_ends is not None:
            self._handing_ends.cancel()
            self._handing_ends = None
        return handing

    def finished_stepping_back(self) -> None:
        """The former target has everything, and is the primary."""
        with self._lock:
            self._standing.save(stepped_back="")

    def close(self) -> None:
        """Whoever waits for a hand-over hears that there is none."""
        with self._lock:
            handing = self._no_longer_handing()
        if handing is not None:
            handing.set_exception(MilvusException("the server is stopping", 10_000))


def _submit(worker: Executor, work: Callable[[], None]) -> None:
    worker.submit(work)


def feed_name(target: str) -> str:
    """The feed that keeps what a target has not taken yet."""
    return f"replica-{target}"
