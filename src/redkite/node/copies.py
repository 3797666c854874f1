"""Sealed segments on nodes that may fail or be slow: each on as many as its collection has replicas.

A read asks one copy of every segment, of all nodes at once. Who does not answer in the time that most answers take is
not waited for alone: another copy is asked too, and the first answer counts. Who fails is replaced by the next copy.
Only where no copy is left it is an error, unless the policy lets rows be missing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Protocol, Self, runtime_checkable

import msgspec

from redkite.env import Env, away
from redkite.errors import MilvusException, SegmentGone, Timeout, Unavailable
from redkite.logs import get_logger
from redkite.model.reach import Reach
from redkite.model.segments import LoadEntry, SegmentMeta
from redkite.node.asked import Held, P
from redkite.node.latencies import Latencies
from redkite.node.peers import QueryPeer
from redkite.query.plan import QueryPlan, SearchPlan

log = get_logger(__name__)

MAX_ROUTES = 256
Ids = tuple[int, ...]


class NotServed(Unavailable):
    """No node answers for some segments as a view knows them. They are placed anew, and then the read is done again."""


class ReadPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a read does about nodes that are slow or gone."""

    seconds: float = 10.0
    """How long it looks for somebody who answers."""
    hedged: bool = True
    """Ask a second copy when the first is slower than usual."""
    required_ratio: float = 1.0
    """The part of the rows asked for that has to be answered for. Below 1 a read may leave out what no node serves, and
    says so in its answer, in the log and in a counter; at 1 that is an error."""

    def ratio_of(self, plan: SearchPlan | QueryPlan) -> float:
        """What it is for one read."""
        return 1.0 if isinstance(plan, QueryPlan) and plan.whole else self.required_ratio


@dataclass(frozen=True, slots=True)
class Placement:
    """Sealed segments held by one query node."""

    peer: QueryPeer | None
    """None: they are loaded, and could not be opened."""
    segments: tuple[tuple[int, int], ...]
    """(partition id, segment id)"""
    all_ids: Ids

    def within(self, partitions: frozenset[int] | None) -> Ids:
        if partitions is None:
            return self.all_ids
        return tuple(segment for partition, segment in self.segments if partition in partitions)


class Local(tuple[Placement, ...]):
    """All placements, on nodes of this process."""

    entry: LoadEntry | None
    """What was loaded when they were made."""

    def __new__(cls, entry: LoadEntry | None, placements: Iterable[Placement]) -> Self:
        made = super().__new__(cls, placements)
        made.entry = entry
        return made


NOWHERE: Final = Local(None, ())


@runtime_checkable
class DistantPeer(QueryPeer, Protocol):
    """A query node of another process."""

    is_failing: bool
    """It did not answer lately: others are asked first."""

    @property
    def outstanding(self) -> int:
        """Messages that it has not answered yet."""
        ...

    def ask_soon(self, held: Held[Any]) -> Future[Any]:
        """Ends with Unavailable when the node is known to be gone, whatever became of the call."""
        ...

    def ask(self, held: Held[Any], seconds: float) -> Any:
        """The same in this thread, which is quicker. Raises Unavailable also when no answer came in time."""
        ...


class Placed(Protocol):
    """A shard, as far as query nodes concern it."""

    def place(self) -> None: ...


class DistantPeers(Mapping[int, DistantPeer]):
    """The query nodes there are, and how reads use them. Safe from any thread."""

    def __init__(self, env: Env, policy: ReadPolicy) -> None:
        self.env = env
        self.policy = policy
        self.latencies = Latencies()
        self.hedged = self.partial = self.pruned = 0
        """Reads that asked a second copy, reads that left rows out, segments that no node was asked for."""

    @abstractmethod
    def has_failed(self, peer: DistantPeer, error: MilvusException) -> None:
        """A node did not answer: what it serves is placed anew, soon."""

    @abstractmethod
    def place_soon(self, shard: Placed) -> Future[None]:
        """Have a shard placed anew by another thread; once for all who ask meanwhile."""

    def pause(self, seconds: float) -> None:
        """Let some time pass for somebody who waits."""
        timer = self.env.tasks.future()
        with suppress(TimeoutError):
            timer.exception(seconds)

    @abstractmethod
    def has_lost(self, peer: DistantPeer) -> None:
        """A node does not hold what it was asked for."""


class _Routes:
    """The segments that one plan concerns, and who may be asked for them."""

    __slots__ = ("copied", "missing", "plan", "rows", "total", "ways")

    def __init__(self, plan: SearchPlan | QueryPlan, metas: Sequence[SegmentMeta], nodes: Mapping[int, Peers]) -> None:
        self.plan = plan
        self.rows = {m.segment_id: m.rows for m in metas}
        self.total = sum(self.rows.values())
        self.missing = tuple(i for i in self.rows if not nodes[i])
        most = max((len(nodes[i]) for i in self.rows), default=0)
        self.copied = most > 1
        """Whether there is anybody else to ask for any of them."""
        served = [i for i in self.rows if nodes[i]]
        self.ways = [_grouped((i, nodes[i][way % len(nodes[i])]) for i in served) for way in range(most)]
        """One for each replica: nodes, and what each is asked for."""


Peers = tuple[DistantPeer, ...]
Way = list[tuple[DistantPeer, Ids]]


def _grouped(pairs: Iterator[tuple[int, DistantPeer]] | Sequence[tuple[int, DistantPeer]]) -> Way:
    by_node: dict[int, tuple[DistantPeer, list[int]]] = {}
    for segment_id, peer in pairs:
        by_node.setdefault(peer.node_id, (peer, []))[1].append(segment_id)
    return [(peer, tuple(ids)) for peer, ids in by_node.values()]


class Copies:
    """What serves the sealed segments of one shard, at one moment. Iterates over nodes, with all that each serves."""

    __slots__ = ("_metas", "_nodes", "_peers", "_routes", "_turn", "entry")

    def __init__(
        self,
        peers: DistantPeers,
        entry: LoadEntry | None,
        served: Sequence[tuple[SegmentMeta, Sequence[QueryPeer]]],
    ) -> None:
        """`served` is what `entry` says is loaded, and who serves it."""
        self.entry = entry
        self._peers = peers
        self._metas = [meta for meta, _ in served]
        self._nodes: dict[int, Peers] = {
            meta.segment_id: tuple(p for p in nodes if isinstance(p, DistantPeer)) for meta, nodes in served
        }
        self._routes: dict[int, _Routes] = {}
        """By the identity of their plans, which they hold."""
        self._turn = 0

    def __iter__(self) -> Iterator[Placement]:
        partition_of = {meta.segment_id: meta.partition_id for meta in self._metas}
        pairs = [(i, peer) for i, nodes in self._nodes.items() for peer in nodes]
        for peer, ids in _grouped(pairs):
            yield Placement(peer, tuple((partition_of[i], i) for i in ids), ids)

    def begin(self, plan: SearchPlan | QueryPlan, ask: Callable[[Ids], Held[P]], *, at_once: bool = True) -> Begun[P]:
        """Ask the nodes for the segments that a plan concerns. Not `at_once`: the caller goes on to `answers` right
        away, and its thread may ask one of them by itself."""
        routes = self._routes.get(id(plan))
        if routes is None:
            routes = self._routed(plan)
        return Begun(self._peers, self._nodes, routes, self._way(routes), ask, at_once=at_once)

    def _routed(self, plan: SearchPlan | QueryPlan) -> _Routes:
        within = plan.partitions
        here = [m for m in self._metas if within is None or m.partition_id in within]
        kept = _possible(here, plan)
        self._peers.pruned += len(here) - len(kept)
        routes = _Routes(plan, kept, self._nodes)
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[id(plan)] = routes
        return routes

    def _way(self, routes: _Routes) -> Way:
        """Of the replicas the one that has least to do, in turns; round nodes that fail."""
        if not routes.ways:
            return []
        self._turn += 1
        start, count = self._turn % len(routes.ways), len(routes.ways)
        order = [*routes.ways[start:], *routes.ways[:start]] if count > 1 else routes.ways
        way = min(order, key=lambda w: max((peer.outstanding for peer, _ in w), default=0)) if count > 1 else order[0]
        if count == 1 or not any(peer.is_failing for peer, _ in way):
            return way
        return _grouped([(i, _standing(self._nodes[i], peer)) for peer, ids in way for i in ids])


def _standing(nodes: Peers, chosen: DistantPeer) -> DistantPeer:
    """One that does not fail, if there is one."""
    return next((peer for peer in (chosen, *nodes) if not peer.is_failing), chosen)


def _possible(metas: Sequence[SegmentMeta], plan: SearchPlan | QueryPlan) -> Sequence[SegmentMeta]:
    """Those that the ranges of their fields do not rule out."""
    condition = plan.filter
    if condition is None or not condition.can_prune:
        return metas
    names = {f.field_id: f.name for f in plan.schema.fields if f.name in condition.fields}
    return [
        meta for meta in metas
        if condition.may_match({names[r.field_id]: (r.low, r.high) for r in meta.ranges if r.field_id in names})
    ]  # fmt: skip


class _Part(Generic[P]):
    """Some segments, and who was asked for them."""

    __slots__ = ("futures", "ids", "tried")

    def __init__(self, ids: Ids, tried: frozenset[int]) -> None:
        self.ids = ids
        self.tried = tried
        """Nodes that have failed for them."""
        self.futures: list[tuple[DistantPeer, Future[P], float]] = []


class Begun(Generic[P]):
    """A read under way."""

    def __init__(
        self,
        peers: DistantPeers,
        nodes: Mapping[int, Peers],
        routes: _Routes,
        way: Way,
        ask: Callable[[Ids], Held[P]],
        *,
        at_once: bool,
    ) -> None:
        self._peers = peers
        self._nodes = nodes
        self._routes = routes
        self._ask: Callable[[Ids], Held[P]] = ask
        self._clock = peers.env.clock.monotonic
        self._until = self._clock() + peers.policy.seconds
        self._lost: list[int] = list(routes.missing)
        self._kind = "search" if isinstance(routes.plan, SearchPlan) else "query"
        self._parts: list[_Part[P]] = []
        self._mine: DistantPeer | None = None
        """Whom this thread asks by itself, for the first part."""
        if way and not at_once and not routes.copied:
            (self._mine, ids), *way = way
            self._parts.append(_Part(ids, frozenset()))
        for peer, ids in way:
            self._send(ids, peer, frozenset())

    def _send(self, ids: Ids, peer: DistantPeer, tried: frozenset[int]) -> None:
        part: _Part[P] = _Part(ids, tried)
        self._also(part, peer)
        self._parts.append(part)

    def _also(self, part: _Part[P], peer: DistantPeer) -> None:
        part.futures.append((peer, peer.ask_soon(self._ask(part.ids)), self._clock()))

    def answers(self) -> list[P]:
        """What the nodes found. Raises NotServed when nobody answers for some segments, and what a node raised."""
        found: list[P] = []
        at = 0
        with away():
            while at < len(self._parts):  # those that fail put others behind
                answer = self._answer(self._parts[at])
                if answer is not None:
                    found.append(answer)
                at += 1
        if self._lost:
            self._check_ratio()
        return found

    def _answer(self, part: _Part[P]) -> P | None:
        """The answer for a part; None when others were asked instead, or nobody is left."""
        mine, self._mine = self._mine, None
        if mine is not None:
            held, since = self._ask(part.ids), self._clock()
            answer: P | None = self._heard(part, mine, since, partial(mine.ask, held, max(0.0, self._until - since)))
            if answer is None:
                self._elsewhere(part)
            return answer
        if self._peers.policy.hedged:
            usual = self._peers.latencies.usual(self._kind)
            if usual is not None and not self._done_by(part, part.futures[0][2] + usual):
                self._hedge()
        while part.futures:
            entry = self._first_done(part)
            if entry is None:
                break
            part.futures.remove(entry)
            peer, future, since = entry
            answer = self._heard(part, peer, since, partial(future.result, 0))
            if answer is not None:
                return answer
        self._elsewhere(part)
        return None

    def _heard(self, part: _Part[P], peer: DistantPeer, since: float, answer: Callable[[], P]) -> P | None:
        """What a node answers; None when it fails. Raises its other errors."""
        try:
            found = answer()
        except (Unavailable, Timeout) as error:
            self._peers.has_failed(peer, error)
        except SegmentGone:
            self._peers.has_lost(peer)
        else:
            self._peers.latencies.note(self._kind, self._clock() - since)
            return found
        part.tried |= {peer.node_id}
        return None

    def _done_by(self, part: _Part[P], moment: float) -> bool:
        """Wait until then for the first answer."""
        future = part.futures[0][1]
        if not future.done():
            try:
                future.exception(max(0.0, moment - self._clock()))
            except TimeoutError:
                return False
        return True

    def _hedge(self) -> None:
        """Ask another copy of every part that nobody has answered yet, as long as that happens seldom."""
        for part in self._parts:
            if len(part.futures) != 1 or part.futures[0][1].done():
                continue
            used = {peer.node_id for peer, _, _ in part.futures} | part.tried
            others = [p for p in self._common(part.ids) if p.node_id not in used and not p.is_failing]
            if others and self._peers.latencies.may_hedge():
                self._peers.hedged += 1
                self._also(part, min(others, key=lambda peer: peer.outstanding))

    def _common(self, ids: Ids) -> list[DistantPeer]:
        """Nodes that hold all of these segments."""
        common = set(self._nodes[ids[0]]) if ids else set()
        for segment_id in ids[1:]:
            common &= set(self._nodes[segment_id])
        return sorted(common, key=lambda peer: peer.node_id)

    def _first_done(self, part: _Part[P]) -> tuple[DistantPeer, Future[P], float] | None:
        """The first that ends of those asked; None when none does in time."""
        left = max(0.0, self._until - self._clock())
        try:
            if len(part.futures) == 1:
                part.futures[0][1].exception(left)
            else:
                _any_of([future for _, future, _ in part.futures], self._peers.env).exception(left)
        except TimeoutError:
            for peer, _, _ in part.futures:
                self._peers.has_failed(peer, Timeout(f"no answer within {self._peers.policy.seconds:g} s"))
            return None
        return next(entry for entry in part.futures if entry[1].done())

    def _elsewhere(self, part: _Part[P]) -> None:
        """Ask for the segments of a part that failed where else they are."""
        pairs = []
        for segment_id in part.ids:
            left = [p for p in self._nodes[segment_id] if p.node_id not in part.tried]
            if left and self._clock() < self._until:
                pairs.append((segment_id, _standing(tuple(left), left[0])))
            else:
                self._lost.append(segment_id)
        for peer, ids in _grouped(pairs):
            self._send(ids, peer, part.tried)

    @property
    def reach(self) -> Reach | None:
        """What the answers are of, when there are all of them; None where nothing may be left out."""
        if self._peers.policy.ratio_of(self._routes.plan) >= 1:
            return None
        return Reach(self._routes.total, sum(self._routes.rows[i] for i in self._lost), len(self._lost))

    def _check_ratio(self) -> None:
        rows = self._routes.rows
        every, lost = self._routes.total, sum(rows[i] for i in self._lost)
        ratio = self._peers.policy.ratio_of(self._routes.plan)
        if ratio >= 1 or (every - lost) < ratio * every:
            raise NotServed(f"{len(self._lost)} of {len(rows)} segments are served by no node just now")
        self._peers.partial += 1
        log.warning("a read goes without %d of %d rows, which no node serves just now", lost, every)


def _any_of(futures: Sequence[Future[Any]], env: Env) -> Future[Any]:
    """Ends when the first of them does."""
    first = env.tasks.future()

    def tell(_: Future[Any]) -> None:
        if not first.done():
            with suppress(InvalidStateError):  # another thread was first, which is as good
                first.set_result(None)

    for future in futures:
        future.add_done_callback(tell)
    return first
