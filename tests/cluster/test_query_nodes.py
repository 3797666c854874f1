"""Sealed segments on query nodes of other machines: placed, read, copied, moved, lost and found again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.cluster.query_nodes import QueryCluster, until
from tests.engine import DIM, NAME

from redkite.cluster import peers
from redkite.cluster.held import Marks, OpenSegment
from redkite.errors import NodesNotEnough, SegmentGone, Unavailable
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.node.asked import QueryHeld
from redkite.node.copies import ReadPolicy
from redkite.node.holdings import Holdings
from redkite.query.plan import QueryPlan


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., QueryCluster]]:
    made: list[QueryCluster] = []

    def make(**options: Any) -> QueryCluster:
        made.append(QueryCluster(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def everywhere_right(cluster: QueryCluster, vectors: np.ndarray) -> None:
    """Every row is found, by itself and by all."""
    engine = cluster.engine
    assert engine.count() == len(vectors)
    for key in (0, len(vectors) // 2, len(vectors) - 1):
        hits = engine.search(vectors[key], 3)
        assert hits.ids[0].as_py() == key


def test_segments_are_spread_over_the_nodes_and_every_row_is_found(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    held = two.held()
    assert sorted(len(segments) for segments in held.values()) == [3, 3]
    assert {number: set(role.held) for number, role in two.roles.items()} == held
    everywhere_right(two, vectors)
    assert two.engine.query("number in [3, 299]", fields=("number",))["number"] == [3, 299]


def test_a_delete_is_seen_by_the_next_read_and_known_to_the_node_afterwards(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    two.engine.delete("number % 3 == 0")
    assert two.engine.count() == 200
    two.engine.insert([1], vectors[:1], [1000])
    assert two.engine.query("id == 1", fields=("number",))["number"] == [1000]
    until(lambda: not any(peer._marks for peer in two.nodes.peers))
    nodes = {number: role.node._segments for number, role in two.roles.items()}
    assert sum(s.deletes.count for segments in nodes.values() for s in segments.values()) == 101


def test_two_replicas_are_on_different_nodes_and_one_node_may_die(cluster: Any) -> None:
    three = cluster(nodes=3)
    vectors = three.filled()
    engine = three.engine
    engine.call(rq.LoadCollection(collection=NAME, replicas=2))
    segments = set.union(*three.held().values())
    assert all(sum(i in held for held in three.held().values()) == 2 for i in segments)
    replicas = engine.call(pl.GetReplicas(collection=NAME)).replicas
    assert len(replicas) == 2
    assert not set(replicas[0].node_ids) & set(replicas[1].node_ids)
    assert sorted([*replicas[0].node_ids, *replicas[1].node_ids]) == [10, 11, 12]
    everywhere_right(three, vectors)
    three.kill(10)
    everywhere_right(three, vectors)
    until(lambda: all(sum(i in held for held in three.held().values()) == 2 for i in segments))
    assert 10 not in three.held()


def test_an_old_view_asks_no_node_that_may_not_know_the_deletes_any_more(cluster: Any) -> None:
    one = cluster(nodes=1)
    one.filled()
    (peer,) = one.nodes.peers
    (shard,) = one.shards()
    one.engine.delete("number == 7")
    meta = shard.collection
    plan = QueryPlan(
        collection_id=meta.collection_id, schema=meta.schema, filter=None, partitions=None, limit=None, columns=(),
        count=True,
    )  # fmt: skip
    asked = QueryHeld(tuple(peer._held), plan, shard.view.timestamp)
    peer.cut("for a moment")  # with the deletes that it has not been told yet
    for ask in (lambda: peer.ask(asked, 5.0), lambda: peer.ask_soon(asked).result(30)):
        with pytest.raises(SegmentGone, match="not counted on"):
            ask()
    one.nodes.place_all()
    assert one.engine.count() == 299


def test_more_replicas_than_nodes_are_refused(cluster: Any) -> None:
    two = cluster(nodes=2)
    two.filled(segments=1)
    with pytest.raises(NodesNotEnough, match=r"currentNodeNum=2.*expectedNodeNum=3"):
        two.engine.call(rq.LoadCollection(collection=NAME, replicas=3))


def test_the_only_copy_is_placed_anew_when_its_node_dies(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    two.engine.delete("number == 7")
    two.kill(11)
    assert two.engine.count() == len(vectors) - 1
    assert set(two.held()) == {10}


def test_a_node_that_went_and_came_again_while_a_shard_was_opened_is_asked_as_the_one_it_is_now(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cluster(nodes=1, policy=ReadPolicy(seconds=5.0))
    vectors = one.filled(2)
    with monkeypatch.context() as opening:
        opening.setattr(one.nodes, "_shards", list)  # no shard is open yet that could be told
        one.nodes.see([])
        one.see()
    everywhere_right(one, vectors)
    assert {number: set(role.held) for number, role in one.roles.items()} == one.held()


def test_no_read_is_sent_to_a_node_that_went_while_a_segment_was_opened_on_it(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has opened is not counted on when the answer comes, and the other node opens it."""
    two = cluster(nodes=2)
    vectors = two.filled(2)
    two.engine.call(rq.ReleaseCollection(collection=NAME))
    opened = Holdings.open

    def gone_then(self: Holdings, *given: Any) -> Any:
        failed = opened(self, *given)
        monkeypatch.undo()
        two.nodes.see([record for record in two.member.nodes("query") if record.node_id != 11])
        return failed

    monkeypatch.setattr(Holdings, "open", gone_then)
    two.engine.call(rq.LoadCollection(collection=NAME))
    assert 11 not in two.held()
    until(lambda: len(two.held().get(10, ())) == 2)
    everywhere_right(two, vectors)


def test_nothing_is_opened_any_more_for_a_shard_that_was_left(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = cluster(nodes=1)
    one.filled(2)
    (former,) = one.shards()
    one.streaming.reopen(former)
    one.engine.insert([1], np.zeros((1, DIM), np.float32), [1])  # opens it anew
    assert one.shards() != [former]
    former.lose(10)  # as when its node went, and it was to be placed anew just then
    opened: list[int] = []
    monkeypatch.setattr(peers.RemotePeer, "load_soon", lambda _, meta, *__: opened.append(meta.segment_id))
    former.place()
    assert opened == []
    former.let_go(())
    assert not former.segment_ids()


def opened_by_former(cluster: QueryCluster, stamp: int = 0, **asked: Any) -> None:
    """Have the only query node open its only segment as an owner would who knows of nothing that was deleted."""
    (role,), (shard,) = cluster.roles.values(), cluster.shards()
    ((segment_id, segment),) = role.node._segments.items()
    meta = segment.meta
    schema = msgspec.structs.replace(shard.collection.schema, **asked)
    none = Marks(segment_id, np.empty(0, np.int64), np.empty(0, np.uint64))
    order = OpenSegment(
        node_id=role.node_id, by=9, at=1, meta=meta.stamped(stamp) if stamp else meta, schema=schema, marks=none,
        indexes=(),
    )  # fmt: skip
    assert role._service.open(order).result(10) == []


@pytest.mark.parametrize("known_before", [True, False])
def test_what_is_deleted_stays_deleted_when_a_former_owner_has_a_segment_opened_anew(
    cluster: Any, known_before: bool
) -> None:
    one = cluster(nodes=1)
    vectors = one.filled(1, 3_000, index="HNSW")
    (role,) = one.roles.values()
    until(lambda: all(segment.index("vector") for segment in role.node._segments.values()))
    assert one.engine.search(vectors[7], 1).ids[0].as_py() == 7
    assert role._service._ways
    if known_before:
        one.engine.delete("id == 7")
        assert one.engine.count() == len(vectors) - 1
        until(lambda: not any(peer._marks for peer in one.nodes.peers))
    opened_by_former(one, version=-1)  # a schema of long ago: what is there cannot be read by it
    if not known_before:
        one.engine.delete("id == 7")
    assert one.engine.search(vectors[7], 1).ids[0].as_py() != 7
    assert one.engine.count() == len(vectors) - 1


def test_an_admission_that_was_given_up_takes_no_place_of_a_later_one(cluster: Any) -> None:
    one = cluster(nodes=1)
    one.filled(1)
    (node,) = [role.node for role in one.roles.values()]
    opened_by_former(one, stamp=1_000)
    opened_by_former(one, stamp=1_001)
    with pytest.raises(SegmentGone, match="was admitted at 1001, not at 1000"):
        opened_by_former(one, stamp=1_000)
    assert [segment.meta.stamp for segment in node._segments.values()] == [1_001]


def test_a_node_that_hangs_is_left_within_its_lease(cluster: Any) -> None:
    two = cluster(nodes=2, policy=ReadPolicy(seconds=100.0))
    vectors = two.filled()
    two.hub.pause(two.roles[11].address)
    began = time.monotonic()
    assert two.engine.count() == len(vectors)
    assert time.monotonic() - began < 50
    two.hub.resume(two.roles[11].address)
    until(lambda: not two.nodes._down)
    assert two.engine.count() == len(vectors)


def test_a_slow_copy_is_not_waited_for(cluster: Any) -> None:
    two = cluster(nodes=2, lease=60.0, policy=ReadPolicy(seconds=100.0))
    vectors = two.filled()
    two.engine.call(rq.LoadCollection(collection=NAME, replicas=2))
    for _ in range(40):
        two.engine.count()
    two.hub.pause(two.roles[10].address)
    slowest = 0.0
    for _ in range(4):
        began = time.monotonic()
        assert two.engine.count() == len(vectors)
        slowest = max(slowest, time.monotonic() - began)
    assert two.nodes.hedged > 0
    assert slowest < 30, "both copies were waited for"
    two.hub.resume(two.roles[10].address)


def test_without_any_node_a_read_is_an_error_and_no_silent_gap(cluster: Any) -> None:
    one = cluster(nodes=1, policy=ReadPolicy(seconds=1.0))
    one.filled(segments=2)
    one.kill(10)
    with pytest.raises(Unavailable, match="served by no node"):
        one.engine.count()
    one.start()
    until(lambda: bool(one.held()))
    assert one.engine.count() == 100


def test_rows_may_be_missing_where_the_policy_says_so(cluster: Any) -> None:
    two = cluster(nodes=2, policy=ReadPolicy(seconds=1.0, required_ratio=0.4))
    two.filled()
    two.nodes.see = lambda _: None  # nobody notices
    two.nodes._take_down = lambda peer, why: None
    two.kill(11)
    assert two.engine.count() == 150
    assert two.nodes.partial == 1


def test_a_drained_node_is_emptied_without_a_failed_read(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    errors: list[BaseException] = []
    stop = False

    def read() -> None:
        while not stop:
            try:
                assert two.engine.count() == len(vectors)
            except BaseException as error:  # noqa: BLE001  whatever it is
                errors.append(error)

    reader = two.env.tasks.executor("reader", 2)
    reading = [reader.submit(read), reader.submit(read)]
    role = two.roles.pop(10)
    role.drain(20)
    role.close()
    time.sleep(0.2)
    stop = True
    for one in reading:
        one.result()
    assert not errors
    assert set(two.held()) == {11}


def test_a_node_that_went_and_came_again_lets_go_of_what_was_opened_before(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    records = two.member.nodes("query")
    two.nodes.see([record for record in records if record.node_id != 10])
    until(lambda: len(two.held().get(11, ())) == 6)
    two.nodes.see(records)
    until(lambda: not two.roles[10].held)
    two.nodes.balance()
    until(lambda: len(two.held().get(10, ())) == 3)
    everywhere_right(two, vectors)
    role = two.roles.pop(10)
    role.drain(10)
    role.close()
    everywhere_right(two, vectors)


def test_a_new_node_takes_its_share(cluster: Any) -> None:
    two = cluster(nodes=1)
    vectors = two.filled(segments=8)
    two.start()
    until(lambda: len(two.loads.weights) == 2)
    assert two.nodes.balance() == 4
    assert sorted(len(segments) for segments in two.held().values()) == [4, 4]
    assert two.nodes.balance() == 0
    everywhere_right(two, vectors)


def test_segments_are_moved_by_hand(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    one = min(two.held()[10])
    two.engine.call(pl.LoadBalance(collection=NAME, source=10, targets=(11,), segments=(one,)))
    assert one in two.held()[11]
    two.engine.call(pl.LoadBalance(collection=NAME, source=10))
    assert set(two.held()) == {11}
    until(lambda: not two.roles[10].held)
    everywhere_right(two, vectors)


def test_nodes_are_transferred_between_groups_and_segments_follow(cluster: Any) -> None:
    three = cluster(nodes=3)
    vectors = three.filled()
    engine = three.engine
    engine.call(pl.CreateResourceGroup(name="mine", config=pl.ResourceGroupConfig(requests=0, limits=0)))
    engine.call(pl.TransferNode(source=DEFAULT_RESOURCE_GROUP, target="mine", nodes=1))
    (mine,) = (node.node_id for node in engine.call(pl.DescribeResourceGroup(name="mine")).nodes)
    assert mine not in three.held()
    engine.call(pl.TransferReplica(source=DEFAULT_RESOURCE_GROUP, target="mine", collection=NAME, replicas=1))
    assert set(three.held()) == {mine}
    everywhere_right(three, vectors)


def test_no_node_is_asked_about_segments_that_cannot_match(cluster: Any) -> None:
    two = cluster(nodes=2)
    two.filled()
    before = two.nodes.pruned
    assert two.engine.query("number == 120", fields=("id",))["id"] == [120]
    assert two.nodes.pruned - before == 5


def test_what_is_released_leaves_the_nodes(cluster: Any) -> None:
    two = cluster(nodes=2)
    two.filled()
    two.engine.call(rq.ReleaseCollection(collection=NAME))
    until(lambda: not any(role.held for role in two.roles.values()))


@pytest.mark.parametrize("reaches", [True, False], ids=["answer", "order"])
def test_who_waits_for_a_segment_to_be_opened_waits_on_for_no_message_that_was_lost(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, reaches: bool
) -> None:
    monkeypatch.setattr(peers, "LOST_SECONDS", 0.2)
    one = cluster(nodes=1)
    (peer,) = one.nodes.peers
    ask, lost = peer._remote.ask_soon, []

    def losing(message: Any, seconds: float) -> Any:
        if not isinstance(message, OpenSegment) or lost:
            return ask(message, seconds)
        lost.append(ask(message, seconds) if reaches else None)
        return one.env.tasks.future()

    monkeypatch.setattr(peer._remote, "ask_soon", losing)
    vectors = one.filled(segments=1)
    assert lost
    everywhere_right(one, vectors)


def test_segments_that_take_long_to_open_keep_those_of_other_shards_from_no_node(
    cluster: Any, gate: threading.Event
) -> None:
    """A large collection is loaded, and balanced, while a query node dies: what that one served is placed meanwhile."""

    class Slow:
        def place(self) -> None:
            gate.wait()

    class Quick:
        def place(self) -> None:
            """It has nothing to open."""

    one = cluster(nodes=1)
    slow = [Slow() for _ in range(6)]
    for shard in slow:
        one.nodes.place_soon(shard)
    one.nodes.place_soon(Quick()).result(20)


def test_segments_are_moved_in_one_round_of_balance_at_a_time(
    cluster: Any, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cluster(nodes=1)
    rounds: list[int] = []

    def slow() -> None:
        rounds.append(1)
        gate.wait()

    monkeypatch.setattr(one.nodes, "balance", slow)
    for _ in range(5 * peers.BALANCE_BEATS):
        one.nodes._beat()
    until(lambda: bool(rounds))
    assert len(rounds) == 1
    gate.set()


def test_what_has_just_been_loaded_is_read_whole_or_not_at_all(cluster: Any) -> None:
    two = cluster(nodes=2)
    vectors = two.filled()
    (shard,) = two.shards()
    number = shard.collection.collection_id
    two.engine.call(rq.ReleaseCollection(collection=NAME))
    two.loads.load(number, None)  # the owner has not heard of it yet
    assert two.engine.count() == len(vectors)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_nodes_do_no_row_is_lost_and_every_replica_is_whole_again(cluster: Any, seed: int) -> None:
    three = cluster(nodes=3)
    vectors = three.filled(segments=4)
    engine, chance = three.engine, random.Random(seed)
    rows = len(vectors)
    for turn in range(12):
        what = chance.choice(["start", "kill", "drain", "write", "delete", "replicas", "balance"])
        if what == "start" and len(three.roles) < 5:
            three.start()
        elif what == "kill" and len(three.roles) > 2:
            three.kill(chance.choice(sorted(three.roles)))
        elif what == "drain" and len(three.roles) > 2:
            role = three.roles.pop(chance.choice(sorted(three.roles)))
            role.drain(20)
            role.close()
        elif what == "write":
            engine.insert(range(1000 * turn + 1000, 1000 * turn + 1010), vectors[:10], range(10))
            rows += 10
            engine.flush()
        elif what == "delete":
            rows -= engine.delete(f"id == {chance.randrange(len(vectors))}").count
        elif what == "replicas":
            until(lambda: len(three.loads.groups.able) == len(three.roles))
            engine.call(rq.LoadCollection(collection=NAME, replicas=chance.randint(1, 2)))
        elif what == "balance":
            three.nodes.balance()
        assert engine.count() == rows, what
    wanted = len(three.loads.entries()[0].copies)
    alive = set(three.roles)

    def is_whole() -> bool:
        segments = {meta.segment_id for shard in three.shards() for meta in shard.segments()}
        held = three.held()
        return set(held) <= alive and all(sum(i in on for on in held.values()) == wanted for i in segments)

    until(is_whole)
    until(lambda: {n: set(role.held) for n, role in three.roles.items() if role.held} == three.held())
    assert engine.count() == rows
