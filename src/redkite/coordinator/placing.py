"""Which query node serves which sealed segment: rules without effects.

A replica is one whole copy of what is loaded of a collection. It lives on nodes of its resource group that no other
replica of the collection has, so that a node that fails takes one copy of a segment with it, never two. What is placed
stays where it is as long as its node is there. The rest goes where most room is, the largest first. `balanced` says
what to move when nodes have come or segments have gone: few and large ones, and nothing for a small difference.

A segment costs its bytes and something for each of its rows, so that neither memory nor the number of rows that a
filter has to look at is much larger on one node than on another.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from redkite.model.segments import ReplicaRecord, SegmentMeta

ROW_BYTES: Final = 128
"""What a row costs beside its bytes: its part of masks, of keys, and of the time that a filter takes."""
TOLERANCE: Final = 0.1
"""Nodes whose loads differ by less than this part of the mean are left as they are."""

ALIKE: Final[Mapping[int, float]] = {}
"""All nodes are of one size."""

Nodes = tuple[int, ...]


def cost_of(meta: SegmentMeta) -> int:
    """What a segment weighs on the node that serves it: bytes of its files, and something for each row."""
    return meta.size + sum(file.size for file in meta.indexes) + meta.rows * ROW_BYTES


# -- which nodes a replica has ------------------------------------------------------------------
def divided(copies: Sequence[ReplicaRecord], members: Mapping[str, Collection[int]]) -> dict[int, Nodes]:
    """The nodes of each replica, by its id, sorted. `members`: the nodes of each group that new segments may go to.

    A replica keeps the nodes that it has. Those that nobody has go to the replica with the fewest, and while one has
    two more than another of its group it gives one away. A replica whose group has too few nodes has none.
    """
    found: dict[int, Nodes] = {}
    for group in dict.fromkeys(copy.group for copy in copies):
        here = [copy for copy in copies if copy.group == group]
        found |= _shared_out(here, sorted(members.get(group, ())))
    return found


def _shared_out(copies: Sequence[ReplicaRecord], nodes: Sequence[int]) -> dict[int, Nodes]:
    if len(copies) == 1:
        return {copies[0].replica_id: tuple(nodes)}
    taken: set[int] = set()
    have: dict[int, list[int]] = {}
    for copy in copies:
        have[copy.replica_id] = [n for n in nodes if n in copy.nodes and n not in taken]
        taken.update(have[copy.replica_id])
    order = [copy.replica_id for copy in copies]
    for node in nodes:
        if node not in taken:
            have[min(order, key=lambda r: len(have[r]))].append(node)
    while True:
        least, most = min(order, key=lambda r: len(have[r])), max(order, key=lambda r: len(have[r]))
        if len(have[most]) - len(have[least]) < 2:
            return {replica: tuple(sorted(held)) for replica, held in have.items()}
        have[least].append(have[most].pop())


# -- where segments go --------------------------------------------------------------------------
class Piece(NamedTuple):
    """A segment that is to be served by one node of each replica."""

    segment_id: int
    cost: int
    on: Mapping[int, int] = {}
    """Replica -> the node that serves it now."""


class Fill(NamedTuple):
    """How full nodes are. `weights` may change meanwhile."""

    weights: Mapping[int, int]
    sizes: Mapping[int, float]

    def of(self, node: int) -> float:
        return self.weights.get(node, 0) / self.sizes.get(node, 1.0)

    def evening(self, source: int, target: int) -> float:
        """The cost which, moved from one node to the other, makes both equally full."""
        gap = self.of(source) - self.of(target)
        return gap / (1 / self.sizes.get(source, 1.0) + 1 / self.sizes.get(target, 1.0))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    opened: dict[int, dict[int, int]] = field(default_factory=dict)
    """Segment -> replica -> the node that is to serve it from now on."""
    closed: dict[int, dict[int, int]] = field(default_factory=dict)
    """Segment -> replica -> the node that is to let it go, once it is served where it is opened."""
    short: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Segment -> replicas that no node can serve it for."""

    @property
    def is_empty(self) -> bool:
        return not (self.opened or self.closed)


def placed(
    pieces: Iterable[Piece],
    replicas: Mapping[int, Sequence[int]],
    load: Mapping[int, int],
    sizes: Mapping[int, float] = ALIKE,
) -> Plan:
    """Where pieces are to be: on one node of each replica, and on no node twice.

    `replicas`: the nodes of each replica that may serve new segments. `load`: the cost of what each node serves, these
    pieces where they are included; a node that is not listed serves nothing. `sizes`: how much larger a node is than
    others; one that is not listed is of size 1.
    """
    plan = Plan()
    missing: list[tuple[Piece, list[int], set[int]]] = []
    able = {replica: frozenset(nodes) for replica, nodes in replicas.items()}
    weights = dict(load)
    for piece in pieces:
        kept: set[int] = set()
        wanting = [replica for replica in replicas if not _stays(piece, replica, able[replica], kept)]
        gone = {r: n for r, n in piece.on.items() if r not in able or r in wanting}
        if gone:
            plan.closed[piece.segment_id] = gone
            for left in gone.values():
                weights[left] = weights.get(left, 0) - piece.cost
        if wanting:
            missing.append((piece, wanting, kept))
    fill = Fill(weights, sizes)
    heaps = {r: [(fill.of(n), n) for n in sorted(nodes)] for r, nodes in able.items()}
    for heap in heaps.values():
        heapq.heapify(heap)
    for piece, wanting, used in sorted(missing, key=lambda entry: (-entry[0].cost, entry[0].segment_id)):
        for replica in wanting:
            node = _lightest(heaps[replica], fill, used)
            if node is None:
                plan.short[piece.segment_id] = (*plan.short.get(piece.segment_id, ()), replica)
                continue
            used.add(node)
            weights[node] = weights.get(node, 0) + piece.cost
            heapq.heappush(heaps[replica], (fill.of(node), node))
            plan.opened.setdefault(piece.segment_id, {})[replica] = node
    return _without_short(plan)


def _stays(piece: Piece, replica: int, able: frozenset[int], kept: set[int]) -> bool:
    node = piece.on.get(replica)
    if node is None or node not in able or node in kept:
        return False
    kept.add(node)
    return True


def _lightest(heap: list[tuple[float, int]], fill: Fill, used: Collection[int]) -> int | None:
    """Take the node with the least load from a heap in which loads may be out of date; it is for the caller to push it
    back."""
    passed = []
    found = None
    while heap:
        known, node = heapq.heappop(heap)
        now = fill.of(node)
        if known != now:
            heapq.heappush(heap, (now, node))
            continue
        if node not in used:
            found = node
            break
        passed.append((known, node))
    for entry in passed:
        heapq.heappush(heap, entry)
    return found


def _without_short(plan: Plan) -> Plan:
    """A copy that nothing takes the place of stays where it is, if its node lets it: better late than not at all."""
    for segment, replicas in plan.short.items():
        left = {r: n for r, n in plan.closed.get(segment, {}).items() if r not in replicas}
        if left:
            plan.closed[segment] = left
        else:
            plan.closed.pop(segment, None)
    return plan


# -- what is moved so that nodes are alike ------------------------------------------------------
class Move(NamedTuple):
    """A segment that another node of the same replica is to serve."""

    segment_id: int
    replica: int
    source: int
    target: int


def balanced(
    pieces: Iterable[Piece],
    replicas: Mapping[int, Sequence[int]],
    load: Mapping[int, int],
    sizes: Mapping[int, float] = ALIKE,
    *,
    tolerance: float = TOLERANCE,
    most: int | None = None,
) -> list[Move]:
    """Moves after which no node of a replica is much fuller than another; none while the difference is below
    `tolerance` of the mean. `load` and `sizes` as `placed` takes them. `most`: as many moves as one round may have
    (None: any number)."""
    known = {piece.segment_id: piece for piece in pieces}
    where = {piece.segment_id: dict(piece.on) for piece in known.values()}
    weights = dict(load)
    moves: list[Move] = []
    for replica, nodes in replicas.items():
        if len(nodes) > 1:
            moves += _evened(replica, nodes, known, where, weights, Fill(weights, sizes), tolerance)
    return moves if most is None else moves[:most]


def _evened(
    replica: int,
    nodes: Sequence[int],
    known: Mapping[int, Piece],
    where: dict[int, dict[int, int]],
    weights: dict[int, int],
    fill: Fill,
    tolerance: float,
) -> list[Move]:
    on: dict[int, list[tuple[int, int]]] = {node: [] for node in nodes}
    for segment_id, places in where.items():
        node = places.get(replica)
        if node in on:
            on[node].append((known[segment_id].cost, segment_id))
    for held in on.values():
        held.sort()
    allowed = tolerance * sum(map(fill.of, nodes)) / len(nodes)
    moves = []
    heavy = [(-fill.of(node), node) for node in nodes]
    light = [(fill.of(node), node) for node in nodes]
    heapq.heapify(heavy)
    heapq.heapify(light)
    while heavy:
        source, target = _top(heavy, fill, -1), _top(light, fill, 1)
        if fill.of(source) - fill.of(target) <= allowed:
            break
        at = _best_piece(on[source], fill.evening(source, target), target, where)
        if at is None:
            heapq.heappop(heavy)  # nothing of it can be moved to anybody's profit
            continue
        cost, segment_id = on[source].pop(at)
        insort(on[target], (cost, segment_id))
        where[segment_id][replica] = target
        weights[source] = weights.get(source, 0) - cost
        weights[target] = weights.get(target, 0) + cost
        for node in (source, target):
            heapq.heappush(heavy, (-fill.of(node), node))
            heapq.heappush(light, (fill.of(node), node))
        moves.append(Move(segment_id, replica, source, target))
    return _shortened(moves)


def _top(heap: list[tuple[float, int]], fill: Fill, sign: int) -> int:
    """The node at the top of a heap, entries that are out of date aside."""
    while len(heap) > 1 and heap[0][0] != sign * fill.of(heap[0][1]):
        heapq.heappop(heap)
    return heap[0][1]


def _best_piece(
    held: list[tuple[int, int]], evening: float, target: int, where: Mapping[int, Mapping[int, int]]
) -> int | None:
    """The largest piece that evens the gap without turning it around, else the smallest that at least halves it; one
    that the target does not serve already."""
    middle = bisect_right(held, (int(evening), 1 << 63))
    for at in range(middle - 1, -1, -1):
        if held[at][0] and target not in where[held[at][1]].values():
            return at
    for at in range(middle, len(held)):
        if held[at][0] > 1.5 * evening:
            return None
        if target not in where[held[at][1]].values():
            return at
    return None


def _shortened(moves: list[Move]) -> list[Move]:
    """Without detours: what is moved twice is moved once, from its first place to its last."""
    last: dict[int, Move] = {}
    for move in moves:
        before = last.pop(move.segment_id, None)
        made = move if before is None else Move(move.segment_id, move.replica, before.source, move.target)
        if made.source != made.target:
            last[move.segment_id] = made
    return list(last.values())
