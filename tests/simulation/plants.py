"""Faults that are put into the code on purpose: a simulation that does not find them is worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Plant(NamedTuple):
    scenario: str
    """Where it must be found."""
    put: Callable[[], None]
    """Breaks the code, for the rest of this process."""


def _refresh_without_asking() -> None:
    from redkite.storage.followed import FollowedCatalog

    followed: Any = FollowedCatalog
    followed.refresh = lambda self: self.revision


def _expectations_unchecked() -> None:
    from redkite.storage import shared_memory

    module: Any = shared_memory
    module.check_expected = lambda *_: None


def _checkpoint_too_far() -> None:
    """Recovery begins behind records that are in no segment yet."""
    from redkite.node.shard import Shard

    shard: Any = Shard
    recover = shard._replay_log

    def skipping(self: Any, newest: int, room: float) -> int:
        topic, self._topic = self._topic, _Shorter(self._topic)
        try:
            return int(recover(self, newest, room))
        finally:
            self._topic = topic

    shard._replay_log = skipping


class _Shorter:
    """A topic that gives all its records but the last."""

    def __init__(self, topic: Any) -> None:
        self._topic = topic

    def read(self, position: int = 0) -> Any:
        return iter(list(self._topic.read(position))[:-1])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topic, name)


def _deletes_forgotten() -> None:
    """Deletes of rows in sealed segments are not replayed: rows come back."""
    from redkite.node.shard import Shard

    shard: Any = Shard
    shard._delete_everywhere = lambda *_, **__: None


def _clocks_unheard() -> None:
    """Strong reads trust the clock of the proxy that they are asked of."""
    from redkite.proxy import plans

    module: Any = plans
    module.time_of_all = lambda _, now: now()
    module.moment_of_all = lambda _, now, least: max(now(), least)


def _moments_before_answers() -> None:
    """Strong reads of several shards go before what is under way on one of them, whatever the others have answered."""
    from redkite.cluster import searching
    from redkite.node import face

    def unaware(heard: Any, now: int, least: int) -> int:
        open_since = [one.under_way for one in heard if one.under_way is not None]
        return max(min(open_since) - 1, least) if open_since else max(now, least)

    modules: tuple[Any, ...] = face, searching
    for module in modules:
        module.moment_after = unaware


def _fences_unchecked() -> None:
    """Who was taken for dead goes on committing, also about what is another's by now: each of the two checks would hold
    that off alone."""
    from redkite.storage.shared_memory import DATA, SharedMemory

    memory: Any = SharedMemory
    change = memory.change

    def unfenced(self: Any, puts: Any, deletes: Any, expect: Any, fence: Any, lease: int = 0) -> Any:
        left = {key: value for key, value in expect.items() if not key.startswith(DATA + "pchannel/")}
        return change(self, puts, deletes, left if fence is not None else expect, None, lease)

    memory.change = unfenced


def _reads_of_the_dead() -> None:
    """A node answers for its channels although its lease is over."""
    from redkite.cluster.membership import Membership

    member: Any = Membership
    member.is_alive = True


def _reads_unproven() -> None:
    """Who goes on without a lease tells what it has read, whoever may own the channel by then."""
    from redkite.cluster.roles.streaming import StreamingRole

    role: Any = StreamingRole
    role.prove = lambda self, channel: None


def _written_twice() -> None:
    """A write that is tried again is done again."""
    from redkite.node.written import Written

    written: Any = Written
    written.once = lambda self, tasks, write_id, sent, now, write, told, *, doubtful: write()


def _terms_unchecked() -> None:
    """A node commits about channels that it may have lost, whatever others have committed about them: each of the two
    checks would hold that off alone."""
    from redkite.cluster.owned_catalog import OwnedCatalog
    from redkite.storage.followed import FollowedCatalog

    owned: Any = OwnedCatalog
    owned.commit = lambda self, puts, deletes=(), _=None: FollowedCatalog.commit(self, puts, deletes)


def _sessions_unjudged() -> None:
    """What a superseded writer of a log sends counts."""
    from redkite.storage import shared_format

    judge: Any = shared_format.Judge
    counts = judge.counts
    judge.counts = lambda self, header: counts(self, header) or header.kind != shared_format.BEGIN


def _read_and_not_looked_again() -> None:
    """Whoever has read does not look whether the channel is still his; and who lets go of one empties its shard, which
    since keeps what it has for those who are reading. Each of the two would hold that off alone."""
    from redkite.cluster.shards import reading_service
    from redkite.node.streaming import StreamingNode

    service: Any = reading_service.ReadingService
    service._owned = lambda self, read: reading_service.owned(read)
    node: Any = StreamingNode
    leave = node._leave

    def emptied(self: Any, shard: Any) -> None:
        leave(self, shard)
        shard.forget()

    node._leave = emptied


def _views_without_rows() -> None:
    """A query node answers from what it has, whatever it is asked for."""
    from redkite.node.querying import QueryNode

    node: Any = QueryNode
    node._held = lambda self, ids, schema: [self._segments[i] for i in ids if i in self._segments]


def _deletes_not_carried() -> None:
    """Query nodes hear of no deletes."""
    from redkite.cluster.peers import RemotePeer

    peer: Any = RemotePeer
    peer.apply_deletes = lambda *_: None


def _timestamps_unobserved() -> None:
    """A channel's new owner goes by its own clock, whatever was written before."""
    from redkite.node.streaming import StreamingNode

    node: Any = StreamingNode
    begin = node.__init__

    def without(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self._observe = None

    node.__init__ = without


def _writes_unknown_after_replay() -> None:
    """A channel's new owner does not know the writes of its log by their ids, and believes that it does."""
    from redkite.node.written import Written

    def forgotten(self: Any, header: Any, _: int) -> None:
        self._since = header.timestamp - 1 if self._since is None else self._since

    written: Any = Written
    written.replayed = forgotten


def _changes_not_resumed() -> None:
    """Nobody finishes what the coordinator before had decided."""
    from redkite.coordinator.broadcast import Broadcaster

    broadcaster: Any = Broadcaster
    broadcaster.resume = lambda self, collection_id=None: 0


def _changes_made_again() -> None:
    """A change that was decided when it was asked for before is decided anew."""
    from redkite.cluster.deciding import Deciding

    deciding: Any = Deciding
    call = deciding.call
    deciding.call = lambda self, request, number=0: call(self, request, 0)


def _deposed_leader_denies() -> None:
    """A coordinator whose lease is over answers from what it knows."""
    from redkite.cluster.roles.coordinator import CoordinatorRole

    role: Any = CoordinatorRole
    role._leads = lambda self: True


def _old_views_answered() -> None:
    """An owner that was cut off answers Bounded reads for as long as it is."""
    from redkite.proxy import lapses

    module: Any = lapses
    module.BOUND_SECONDS = float("inf")


def _strong_reads_of_the_past() -> None:
    """An owner that was cut off answers every read."""
    from redkite.cluster import searching
    from redkite.proxy import lapses

    modules: tuple[Any, ...] = lapses, searching
    for module in modules:
        module.lapse_of = lambda *_: float("inf")


def _garbage_in_use() -> None:
    """What a node still reads is deleted."""
    from redkite.coordinator import shared_garbage

    module: Any = shared_garbage
    module.Collector._let_go_by_all = lambda self: frozenset(module._notes(self._catalog))


def _orders_waited_for() -> None:
    """Whoever has ordered a segment to be opened waits for an answer that was lost."""
    from redkite.cluster import peers

    module: Any = peers
    module.LOST_SECONDS = float("inf")


def _past_brought_back() -> None:
    """A watch that is behind undoes what was read since."""
    from redkite.storage.followed import Copy

    copy: Any = Copy
    arrived = copy._arrived

    def unaware(self: Any, revision: int, changes: Any) -> None:
        if revision <= self._applied:
            with self._lock:
                self._apply(changes)
        arrived(self, revision, changes)

    copy._arrived = unaware


def _tries_under_one_name() -> None:
    """A segment that one data node has written is taken although another, whose try was given up, has its names: what
    that one removes as its own is then the segment's."""
    import msgspec

    from redkite.cluster.data_work import SharedDataNode
    from redkite.cluster.work_messages import WriteSegment

    node: Any = SharedDataNode
    done = node._done_elsewhere

    def under_one_name(self: Any, message: Any, *arguments: Any) -> Any:
        numbers: list[int] = []

        def named() -> Any:
            work = message()
            if isinstance(work, WriteSegment):
                numbers.append(work.work_id)
                work = msgspec.structs.replace(work, work_id=numbers[0])
            return work

        return done(self, named, *arguments)

    node._done_elsewhere = under_one_name


def _imports_undecided() -> None:
    """An owner shows the rows of an import when it has promised them, whether that is committed or not."""
    from redkite.cluster.shards.admitting_service import AdmittingService

    service: Any = AdmittingService
    service._settled = lambda *_: True


def _imports_not_noted() -> None:
    """That an import is complete is not committed with its rows: the next coordinator does it anew."""
    from redkite.coordinator.imports import ImportJobs

    jobs: Any = ImportJobs
    completed = jobs.completed
    jobs.completed = lambda self, job_id: (completed(self, job_id)[0], {})


def _numbered_anew() -> None:
    """An owner forgets what it has said to a query node that was gone for a while, which does not."""
    import itertools

    from redkite.cluster.peers import RemotePeer

    peer: Any = RemotePeer
    made = peer.__init__
    peer.__init__ = lambda self, *given: made(self, *given[:-1], itertools.count(0))


PLANTS = {
    "refresh-without-asking": Plant("catalog", _refresh_without_asking),
    "expectations-unchecked": Plant("catalog", _expectations_unchecked),
    "past-brought-back": Plant("catalog", _past_brought_back),
    "checkpoint-too-far": Plant("standalone", _checkpoint_too_far),
    "deletes-forgotten": Plant("standalone", _deletes_forgotten),
    "clocks-unheard": Plant("cluster", _clocks_unheard),
    "moments-before-answers": Plant("cluster", _moments_before_answers),
    "fences-unchecked": Plant("cluster", _fences_unchecked),
    "terms-unchecked": Plant("cluster", _terms_unchecked),
    "sessions-unjudged": Plant("cluster", _sessions_unjudged),
    "reads-of-the-dead": Plant("cluster", _reads_of_the_dead),
    "reads-unproven": Plant("cluster", _reads_unproven),
    "read-and-not-looked-again": Plant("cluster", _read_and_not_looked_again),
    "views-without-rows": Plant("cluster", _views_without_rows),
    "deletes-not-carried": Plant("cluster", _deletes_not_carried),
    "timestamps-unobserved": Plant("cluster", _timestamps_unobserved),
    "written-twice": Plant("cluster", _written_twice),
    "writes-unknown-after-replay": Plant("cluster", _writes_unknown_after_replay),
    "changes-not-resumed": Plant("cluster", _changes_not_resumed),
    "changes-made-again": Plant("cluster", _changes_made_again),
    "deposed-leader-denies": Plant("cluster", _deposed_leader_denies),
    "old-views-answered": Plant("cluster", _old_views_answered),
    "strong-reads-of-the-past": Plant("cluster", _strong_reads_of_the_past),
    "garbage-in-use": Plant("cluster", _garbage_in_use),
    "orders-waited-for": Plant("cluster", _orders_waited_for),
    "tries-under-one-name": Plant("cluster", _tries_under_one_name),
    "imports-undecided": Plant("cluster", _imports_undecided),
    "imports-not-noted": Plant("cluster", _imports_not_noted),
    "numbered-anew": Plant("cluster", _numbered_anew),
}


def plant(name: str) -> None:
    if name not in PLANTS:
        raise SystemExit(f"unknown fault '{name}': {', '.join(PLANTS)}")
    PLANTS[name].put()
