"""Where segments go: on every replica once, on no node twice, and moved no more than needed."""

from __future__ import annotations

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.placing import Piece, balanced, divided, placed
from redkite.model.placement import NodeInfo, ResourceGroupConfig
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.model.segments import ReplicaRecord
from redkite.storage.catalog import MemoryCatalog

DEFAULT = DEFAULT_RESOURCE_GROUP


def copies(*groups: str, nodes: tuple[tuple[int, ...], ...] = ()) -> list[ReplicaRecord]:
    given_nodes = nodes or ((),) * len(groups)
    pairs = zip(groups, given_nodes, strict=True)
    return [ReplicaRecord(replica_id=i + 1, group=g, nodes=n) for i, (g, n) in enumerate(pairs)]


# -- the nodes of a replica ---------------------------------------------------------------------
def test_a_lone_replica_has_all_nodes_of_its_group() -> None:
    assert divided(copies("a"), {"a": [3, 1]}) == {1: (1, 3)}


def test_two_replicas_share_the_nodes_of_their_group() -> None:
    found = divided(copies("a", "a"), {"a": [1, 2, 3]})
    assert sorted(found[1] + found[2]) == [1, 2, 3]
    assert {len(found[1]), len(found[2])} == {1, 2}
    assert divided(copies("a", "b"), {"a": [1], "b": [2]}) == {1: (1,), 2: (2,)}


def test_a_replica_keeps_its_nodes_when_others_come_and_go() -> None:
    had = copies("a", "a", nodes=((1, 4), (2, 3)))
    assert divided(had, {"a": [1, 2, 3, 4]}) == {1: (1, 4), 2: (2, 3)}
    assert divided(had, {"a": [1, 2, 3, 4, 5]}) == {1: (1, 4, 5), 2: (2, 3)}
    assert divided(had, {"a": [2, 3, 9]}) == {1: (9,), 2: (2, 3)}
    assert divided(had, {"a": [2, 3]}) == {1: (3,), 2: (2,)}
    assert divided(had, {"a": [2]}) == {1: (), 2: (2,)}


@given(
    st.lists(st.frozensets(st.integers(1, 12), max_size=12), min_size=1, max_size=8),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_nodes_of_replicas_are_disjoint_whole_and_even(steps: list[frozenset[int]], count: int) -> None:
    had = copies(*["a"] * count)
    for nodes in steps:
        found = divided(had, {"a": nodes})
        every = [n for held in found.values() for n in held]
        assert sorted(every) == sorted(nodes)
        sizes = [len(held) for held in found.values()]
        assert max(sizes) - min(sizes) <= 1 or count == 1
        assert divided(copies(*["a"] * count, nodes=tuple(found.values())), {"a": nodes}) == found, "it stands"
        had = copies(*["a"] * count, nodes=tuple(found.values()))


# -- where segments go --------------------------------------------------------------------------
def apply(on: dict[int, dict[int, int]], opened: dict[int, dict[int, int]], closed: dict[int, dict[int, int]]) -> None:
    for segment, gone in closed.items():
        for replica in gone:
            on[segment].pop(replica)
    for segment, fresh in opened.items():
        on[segment].update(fresh)


def weights_of(on: dict[int, dict[int, int]], costs: dict[int, int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for segment, nodes in on.items():
        for node in nodes.values():
            found[node] = found.get(node, 0) + costs[segment]
    return found


def test_segments_go_where_most_room_is() -> None:
    plan = placed([Piece(1, 10), Piece(2, 6), Piece(3, 5)], {7: (1, 2)}, {})
    assert plan.opened == {1: {7: 1}, 2: {7: 2}, 3: {7: 2}}
    plan = placed([Piece(1, 10)], {7: (1, 2)}, {1: 5, 2: 6})
    assert plan.opened == {1: {7: 1}}


def test_what_is_placed_stays_where_it_is() -> None:
    plan = placed([Piece(1, 10, {7: 1}), Piece(2, 10, {7: 1})], {7: (1, 2)}, {1: 20})
    assert plan.is_empty


def test_a_segment_whose_node_is_no_longer_able_goes_elsewhere_and_is_closed_after() -> None:
    plan = placed([Piece(1, 10, {7: 1})], {7: (2,)}, {1: 10})
    assert (plan.opened, plan.closed) == ({1: {7: 2}}, {1: {7: 1}})
    nowhere = placed([Piece(1, 10, {7: 1})], {7: ()}, {1: 10})
    assert (nowhere.opened, nowhere.closed, nowhere.short) == ({}, {}, {1: (7,)}), "better there than nowhere"


def test_two_replicas_never_share_a_node_even_where_their_nodes_are_the_same() -> None:
    plan = placed([Piece(i, 1) for i in range(20)], {7: (1, 2), 8: (1, 2)}, {})
    assert all(nodes[7] != nodes[8] for nodes in plan.opened.values())
    one = placed([Piece(1, 1)], {7: (1,), 8: (1,)}, {})
    assert (one.opened, one.short) == ({1: {7: 1}}, {1: (8,)})


EVENT = st.tuples(st.sampled_from(["come", "go", "drain", "open", "close", "replicas"]), st.integers(0, 1 << 30))


@given(st.lists(EVENT, min_size=1, max_size=25))
@settings(max_examples=80, deadline=None)
def test_whatever_happens_every_segment_is_served_for_every_replica_and_little_moves(
    events: list[tuple[str, int]],
) -> None:
    loads = QueryCoordinator(MemoryCatalog(), [1, 2])
    nodes, leaving, following = {1, 2}, set[int](), 3
    on: dict[int, dict[int, int]] = {}
    costs: dict[int, int] = {}
    loads.load(5, None, [DEFAULT])
    for what, number in events:
        before = {segment: dict(held) for segment, held in on.items()}
        able_before = {r: set(n) for r, n in loads.replicas_for(5).items()}
        if what == "come":
            nodes.add(following)
            following += 1
        elif what == "go" and len(nodes) > 1:
            gone = sorted(nodes)[number % len(nodes)]
            nodes.discard(gone)
            leaving.discard(gone)
            for held in on.values():
                for replica in [r for r, n in held.items() if n == gone]:
                    del held[replica]
        elif what == "drain" and len(nodes - leaving) > 1:
            leaving.add(min(nodes - leaving))
        elif what == "open":
            segment = len(costs) + 1
            costs[segment], on[segment] = number % 1000 + 1, {}
        elif what == "close" and on:
            del on[sorted(on)[number % len(on)]]
        elif what == "replicas":
            loads.load(5, None, [DEFAULT] * (number % 3 + 1))
        loads.see([NodeInfo(node_id=n) for n in nodes], leaving)
        loads.settle()
        replicas = loads.replicas_for(5)
        pieces = [Piece(segment, costs[segment], dict(held)) for segment, held in on.items()]
        plan = placed(pieces, replicas, weights_of(on, costs))
        apply(on, plan.opened, plan.closed)
        assert {n for held in replicas.values() for n in held} == nodes - leaving
        for segment, held in on.items():
            assert len(set(held.values())) == len(held), "two replicas on one node"
            for replica, able in replicas.items():
                if able:
                    assert held[replica] in able
                else:
                    assert replica in plan.short.get(segment, ()), "nobody says why it is not served"
        for segment, held in before.items():
            for replica, node in held.items():
                stays = node in nodes and node in replicas.get(replica, ()) and node in able_before.get(replica, ())
                assert not stays or segment not in on or on[segment][replica] == node, "moved without need"
        again = placed([Piece(s, costs[s], dict(held)) for s, held in on.items()], replicas, weights_of(on, costs))
        assert again.is_empty, "it does not come to rest"


# -- balance ------------------------------------------------------------------------------------
@given(st.lists(st.integers(1, 1000), max_size=60), st.integers(2, 6), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_balance_evens_out_comes_to_rest_and_never_makes_it_worse(
    sizes: list[int], count: int, chance: random.Random
) -> None:
    nodes = tuple(range(1, count + 1))
    costs = dict(enumerate(sizes))
    on = {segment: {7: chance.choice(nodes)} for segment in costs}
    before = weights_of(on, costs)
    moves = balanced([Piece(s, costs[s], on[s]) for s in on], {7: nodes}, before)
    assert len({move.segment_id for move in moves}) == len(moves), "moved twice"
    for move in moves:
        assert on[move.segment_id][7] == move.source
        on[move.segment_id][7] = move.target
    after = weights_of(on, costs)
    worst = [max(w.get(n, 0) for n in nodes) for w in (before, after)]
    assert worst[1] <= worst[0]
    largest = max(sizes, default=0)
    gap = max(after.get(n, 0) for n in nodes) - min(after.get(n, 0) for n in nodes)
    assert gap <= max(4 / 3 * largest, 0.1 * sum(sizes) / count)
    assert balanced([Piece(s, costs[s], on[s]) for s in on], {7: nodes}, after) == []


def test_small_differences_are_left_alone() -> None:
    pieces = [Piece(i, 100, {7: 1 + i % 2}) for i in range(41)]
    assert balanced(pieces, {7: (1, 2)}, {1: 2100, 2: 2000}) == []


def test_a_copy_is_not_moved_to_a_node_that_has_the_other_one() -> None:
    pieces = [Piece(i, 10, {7: 1, 8: 2}) for i in range(10)]
    moves = balanced(pieces, {7: (1, 2), 8: (2, 1)}, {1: 100, 2: 100})
    assert moves == []
    assert balanced(pieces, {7: (1, 2)}, {1: 100, 2: 0}) == []


def test_ten_thousand_segments_over_a_hundred_nodes_take_less_than_a_second() -> None:
    chance = random.Random(1)
    nodes = tuple(range(1, 101))
    pieces = [Piece(i, chance.randint(1, 1 << 20)) for i in range(10_000)]
    began = time.process_time()
    plan = placed(pieces, {7: nodes[:50], 8: nodes[50:]}, {})
    on = [Piece(p.segment_id, p.cost, plan.opened[p.segment_id]) for p in pieces]
    load: dict[int, int] = {}
    for piece in on:
        for node in piece.on.values():
            load[node] = load.get(node, 0) + piece.cost
    assert balanced(on, {7: nodes[:50], 8: nodes[50:]}, load) == []
    assert time.process_time() - began < 1.0
    assert max(load.values()) < 1.01 * min(load.values())


# -- what the coordinator keeps -----------------------------------------------------------------
def test_the_nodes_of_replicas_survive_a_restart_and_follow_those_that_come_and_go() -> None:
    catalog = MemoryCatalog()
    loads = QueryCoordinator(catalog, [1, 2, 3, 4])
    loads.load(5, None, [DEFAULT, DEFAULT])
    before = loads.replicas_for(5)
    assert sorted(n for nodes in before.values() for n in nodes) == [1, 2, 3, 4]
    other = QueryCoordinator(catalog, [1, 2, 3, 4])
    assert other.replicas_for(5) == before
    lost = next(iter(before.values()))[0]
    other.see([NodeInfo(node_id=n) for n in (1, 2, 3, 4, 9) if n != lost])
    other.settle()
    after = QueryCoordinator(catalog, [n for n in (1, 2, 3, 4, 9) if n != lost]).replicas_for(5)
    assert after == other.replicas_for(5)
    assert all(set(before[r]) - {lost} <= set(after[r]) for r in before)


def test_a_group_that_loses_a_node_is_given_another() -> None:
    loads = QueryCoordinator(MemoryCatalog(), [1, 2, 3])
    loads.groups.create("mine", ResourceGroupConfig(requests=1, limits=1))
    (mine,) = loads.groups.need("mine").nodes
    loads.load(5, None, ["mine"])
    assert loads.nodes_for(5) == (mine,)
    loads.see([NodeInfo(node_id=n) for n in (1, 2, 3) if n != mine])
    (other,) = loads.groups.need("mine").nodes
    assert loads.nodes_for(5) == (other,)
    assert other != mine


def test_a_node_that_is_leaving_is_given_nothing_new() -> None:
    loads = QueryCoordinator(MemoryCatalog(), [1, 2])
    loads.load(5, None, [DEFAULT])
    loads.see([NodeInfo(node_id=1), NodeInfo(node_id=2)], leaving=[2])
    assert loads.nodes_for(5) == (1,)
    loads.see([NodeInfo(node_id=2)], leaving=[2])
    assert loads.nodes_for(5) == ()


def test_a_node_that_is_twice_as_large_is_given_twice_as_much() -> None:
    pieces = [Piece(i, 10) for i in range(30)]
    plan = placed(pieces, {7: (1, 2)}, {}, {1: 2.0, 2: 1.0})
    assert sum(nodes[7] == 1 for nodes in plan.opened.values()) == 20
    on = [Piece(i, 10, {7: 2}) for i in range(30)]
    moves = balanced(on, {7: (1, 2)}, {2: 300}, {1: 2.0, 2: 1.0})
    assert 18 <= len(moves) <= 20
    loads = QueryCoordinator(MemoryCatalog(), [])
    loads.see([NodeInfo(node_id=1), NodeInfo(node_id=2)], (), {1: 3 << 30, 2: 1 << 30})
    assert loads.sizes == {1: 1.5, 2: 0.5}
    loads.see([NodeInfo(node_id=1), NodeInfo(node_id=2)], (), {1: 3 << 30})
    assert loads.sizes == {}
