"""A shard that is read over the network answers as the shard itself does."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import NAME, Engine, result

from redkite.cluster.local_network import LocalHub
from redkite.cluster.network import Remote
from redkite.cluster.shards import calling
from redkite.cluster.shards.calling import Caller
from redkite.cluster.shards.reading import CountShard, SearchShard
from redkite.cluster.shards.reading_service import ReadingService, reduced_counts
from redkite.cluster.shards.remote import RemoteOwners
from redkite.coordinator.node_oracle import NodeOracle
from redkite.errors import CollectionNotLoaded, NotOwner, TopicClosed
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.tuning import Tuning
from redkite.model.types import ConsistencyLevel, DataType
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.proxy.lapses import BOUND_SECONDS, lapse_of
from redkite.proxy.service import Proxy
from redkite.query.plan import TextCounts
from redkite.storage.catalog import MemoryCatalog

ROWS = 300


class Owner:
    """A node that owns every channel of an engine."""

    def __init__(self, engine: Engine, oracle: NodeOracle) -> None:
        own = engine.database.topology
        self._own = own
        self.topology: Any = SimpleNamespace(loads=own.loads, root=SimpleNamespace(oracle=oracle))
        self.refusals = 0
        """How often it says, before it answers, that it is not the owner."""
        self.unproven = 0
        """How often it finds out, after it has read, that somebody else may be."""
        self.lapsed: float | None = None
        """Seconds since its lease was over; None: it is held."""

    def own_shard(self, channel: str, *, by_log: bool = False) -> Shard:
        if self.refusals or self.lapsed is not None:
            self.refusals -= 1
            raise NotOwner.of(channel)
        return self._shard(channel)

    def prove(self, channel: str) -> None:
        if self.unproven:
            self.unproven -= 1
            raise NotOwner.of(channel)

    def former_shard(self, channel: str, lapse: float) -> Shard | None:
        return None if self.lapsed is None or self.lapsed > lapse else self._shard(channel)

    def _shard(self, channel: str) -> Shard:
        collection = next(meta for meta in self._own.root.all_collections() if channel in meta.channels)
        shard = next(shard for shard in self._own.shards(collection) if shard.channel == channel)
        assert isinstance(shard, Shard)
        return shard


class Routes:
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def route(self, channel: str) -> Remote:
        return self._remote

    def last(self, channel: str) -> Remote | None:
        return None

    def news(self) -> Future[None]:
        return Future()


class Pair:
    """An engine, and a proxy that reads it as if it were on another machine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        own = engine.database.topology
        self.oracle = NodeOracle(MemoryCatalog(), own.env.clock, own.env.tasks)  # type: ignore[arg-type]
        self.owner = Owner(engine, self.oracle)
        hub = LocalHub(own.env)
        self.networks = hub.network(1), hub.network(2)
        serving = self.networks[0].serve("127.0.0.1:0", ReadingService(self.owner).handlers())
        self.remote = self.networks[1].connect(serving.address)
        caller = Caller(own.env, Routes(self.remote), self.oracle, SimpleNamespace())  # type: ignore[arg-type]
        self.far: Topology = dataclasses.replace(own, streaming=RemoteOwners(caller, lambda: 1))
        self.proxy = Proxy(self.far, writes=False)

    def both(self, request: rq.Request) -> tuple[Any, Any]:
        return result(self.engine.call(request)), result(self.proxy.call(request))


@pytest.fixture(scope="module", params=[1, 3], ids=["one shard", "three shards"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Rows in several sealed segments and in memory, some deleted."""
    engine = Engine(str(tmp_path_factory.mktemp("far")))
    engine.create(shards=request.param, index="HNSW", M=8, efConstruction=32)
    rng = np.random.default_rng(5)
    vectors = rng.random((ROWS, 8), dtype=np.float32)
    for at in range(0, ROWS, 100):
        some = range(at, at + 100)
        words = [None if key % 7 == 0 else f"w{key % 5}" for key in some]
        engine.insert(some, vectors[at : at + 100], [key % 10 for key in some], words)
        if at < 200:
            engine.flush()
    engine.delete("id in [3, 104, 205]")
    yield Pair(engine)
    engine.close()


def same(ours: Any, theirs: Any) -> None:
    """Equal but for the moment of the read."""
    if isinstance(ours, rs.Hits):
        assert ours.topks.tolist() == theirs.topks.tolist()
        assert ours.ids.to_pylist() == theirs.ids.to_pylist()
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        assert ours.buckets == theirs.buckets
        assert (ours.groups is None) == (theirs.groups is None)
        if ours.groups is not None:
            assert ours.groups.equals(theirs.groups)
    assert ours.rows.equals(theirs.rows)
    assert ours.output_fields == theirs.output_fields


def search_of(seed: int = 1, nq: int = 2, **more: Any) -> rq.Search:
    vectors = np.random.default_rng(seed).random((nq, 8), dtype=np.float32)
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
    return rq.Search(**{"collection": NAME, "queries": queries, "limit": 7, "output_fields": ("*",), **more})


SEARCHES = [
    {}, {"nq": 1, "limit": 1}, {"filter": "number > 3"}, {"filter": "word == 'w1' and id < 250"},
    {"filter": "number in {some}", "filter_params": {"some": [1, 2]}}, {"offset": 3}, {"output_fields": ()},
    {"params": {"radius": 2.0}}, {"in_order": True}, {"grouping": rq.Grouping(fields=("number",), size=2)},
    {"grouping": rq.Grouping(fields=("number",), size=2, strict=True), "filter": "id > 20"},
    {"order_by": (rq.Ordering(field="number", descending=True),)}, {"ignore_growing": True}, {"round_decimal": 2},
    {"consistency_level": ConsistencyLevel.Strong}, {"consistency_level": ConsistencyLevel.Eventually},
    {"aggregation": rq.Aggregation(fields=("number",), size=4,
                                   measures=(rq.Measure(alias="n", op="count", field="*"),))},
    {"partitions": ("_default",)}, {"tuning": Tuning(exact=True)}, {"filter": "id == 100000"},
]  # fmt: skip


@pytest.mark.parametrize("more", SEARCHES, ids=lambda more: "-".join(f"{key}" for key in more) or "plain")
def test_searches_of_every_kind_answer_alike(pair: Pair, more: dict[str, Any]) -> None:
    for seed in range(3):
        same(*pair.both(search_of(seed, **more)))


def test_a_search_by_stored_vectors_answers_alike(pair: Pair) -> None:
    import pyarrow as pa

    queries = rq.Queries(data_type=DataType.NONE, ids=pa.array([5, 250]))
    same(*pair.both(rq.Search(collection=NAME, queries=queries, limit=4)))


QUERIES = [
    {"filter": "id < 20"}, {"filter": "number == 4", "limit": 9, "offset": 2}, {"filter": "id in [3, 4, 5]"},
    {"filter": "", "output_fields": ("count(*)",)}, {"filter": "word is null", "output_fields": ("count(*)",)},
    {"filter": "id >= 0", "order_by": (rq.Ordering(field="word"), rq.Ordering(field="id")), "limit": 9},
    {"filter": "id >= 0", "output_fields": ("number", "count(*)", "avg(id)"), "group_by": ("number",)},
    {"filter": "id < 0"},
]  # fmt: skip


@pytest.mark.parametrize("more", QUERIES, ids=lambda more: "-".join(f"{key}" for key in more))
def test_queries_of_every_kind_answer_alike(pair: Pair, more: dict[str, Any]) -> None:
    ours, theirs = pair.both(rq.Query(**{"collection": NAME, "output_fields": ("id", "number"), **more}))
    if more.get("group_by"):
        assert sorted(ours.rows.to_pylist(), key=str) == sorted(theirs.rows.to_pylist(), key=str)
    else:
        same(ours, theirs)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 20), st.integers(1, 40), st.integers(1, 4), st.sampled_from(["", "number < 5", "id > 150"]))
def test_any_search_answers_alike(pair: Pair, seed: int, limit: int, nq: int, condition: str) -> None:
    same(*pair.both(search_of(seed, nq, limit=limit, filter=condition)))


def test_reports_of_all_segments_come_along(pair: Pair) -> None:
    ours, theirs = pair.both(search_of(tuning=Tuning(explain="plan")))
    told = [{report.segment_id for report in found.explanation.segments} for found in (ours, theirs)]
    assert told[0] == told[1] and len(told[0]) > 1


def test_counts_of_a_far_shard_are_its_own(pair: Pair) -> None:
    meta = pair.far.root.all_collections()[0]
    for near, far in zip(pair.engine.database.topology.shards(meta), pair.far.shards(meta), strict=True):
        assert far.rows() == near.rows()
        assert far.row_slots == near.row_slots
        assert far.unindexed_rows() == near.unindexed_rows()
        assert far.growing_rows == near.growing_rows
        assert far.readable_from == near.readable_from
        assert (far.is_settled, far.newest, far.settles_reads) == (False, None, True)


def test_a_plan_is_one_object_at_the_owner(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for shard in pair.engine.database.topology.shards(pair.far.root.all_collections()[0]):
        assert isinstance(shard, Shard)
        plain = shard.search
        monkeypatch.setattr(
            shard, "search", lambda plan, queries, at, plain=plain: seen.append(plan) or plain(plan, queries, at)
        )
    for seed in range(3):
        pair.proxy.call(search_of(seed, filter="number > 2"))
    assert len({id(plan) for plan in seen}) == 1


# -- the owner's part ---------------------------------------------------------------------------
@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Pair]:
    engine = Engine(str(tmp_path / "lone"))
    engine.create()
    engine.insert(range(20), np.random.default_rng(1).random((20, 8)), range(20))
    yield Pair(engine)
    engine.close()


def test_a_read_goes_after_the_owner(lone: Pair) -> None:
    lone.owner.refusals = 2
    assert lone.proxy.call(search_of()).topks.tolist() == [7, 7]
    assert lone.owner.refusals == 0


@pytest.mark.parametrize("level", [ConsistencyLevel.Strong, ConsistencyLevel.Eventually])
def test_what_was_read_is_told_when_it_is_certain_that_nobody_else_was_the_owner(
    lone: Pair, level: ConsistencyLevel
) -> None:
    lone.owner.unproven = 2
    found = lone.proxy.call(msgspec.structs.replace(search_of(), consistency_level=level))
    assert found.topks.tolist() == [7, 7]
    assert lone.owner.unproven == 0


@pytest.mark.parametrize(
    ("level", "since", "answered"),
    [
        (ConsistencyLevel.Eventually, 3600.0, True),
        (ConsistencyLevel.Bounded, BOUND_SECONDS - 0.5, True),
        (ConsistencyLevel.Bounded, BOUND_SECONDS + 0.5, False),
        (ConsistencyLevel.Session, 0.0, False),
        (ConsistencyLevel.Strong, 0.0, False),
    ],
)
def test_who_was_the_owner_answers_for_as_long_as_the_level_allows(
    lone: Pair, monkeypatch: pytest.MonkeyPatch, level: ConsistencyLevel, since: float, answered: bool
) -> None:
    monkeypatch.setattr(calling, "FIND_SECONDS", 0.1)
    lone.owner.lapsed = since
    query = rq.Query(collection=NAME, filter="id < 3", output_fields=("id",), consistency_level=level)
    for request in (msgspec.structs.replace(search_of(), consistency_level=level), query):
        if answered:
            lone.proxy.call(request)
        else:
            with pytest.raises(NotOwner):
                lone.proxy.call(request)
    lone.owner.lapsed, lone.owner.refusals = None, 0


@pytest.mark.parametrize("named", [{"as_of": 1 << 60}, {"guarantee_timestamp": 1 << 60}])
def test_a_read_that_names_a_moment_is_for_the_owner_alone(lone: Pair, named: dict[str, int]) -> None:
    meta = lone.far.root.all_collections()[0]
    request = rq.Query(collection=NAME, consistency_level=ConsistencyLevel.Eventually)
    assert lapse_of(meta, request) == inf
    assert lapse_of(meta, msgspec.structs.replace(request, **named)) is None


def test_a_read_whose_log_is_closed_while_its_shard_is_opened_goes_after_the_owner(
    lone: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_shard, closed = lone.owner.own_shard, [True, True]

    def opened(channel: str, *, by_log: bool) -> Shard:
        if closed:
            closed.pop()
            raise TopicClosed(f"the log's topic '{channel}' is closed")
        return own_shard(channel)

    monkeypatch.setattr(lone.owner, "own_shard", opened)
    assert lone.proxy.call(search_of()).topks.tolist() == [7, 7]
    assert not closed


def test_a_read_of_a_collection_that_is_not_loaded_there_says_so(lone: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = lone.proxy.call(search_of())
    assert planned.topks.tolist() == [7, 7]
    lone.owner.topology.loads = SimpleNamespace(entry=lambda _: None)
    service = ReadingService(lone.owner)
    channel = lone.far.root.all_collections()[0].channels[0]
    plan = SimpleNamespace(partitions=None)
    with pytest.raises(CollectionNotLoaded):
        service.handlers()[SearchShard](SimpleNamespace(channel=channel, plan=plan, timestamp=None, lapse=None))


def test_a_read_at_a_timestamp_keeps_later_writes_above_it(lone: Pair) -> None:
    far_ahead = lone.oracle.now() + (1 << 40)
    meta = lone.far.root.all_collections()[0]
    shard = lone.far.shards(meta)[0]
    plan = lone.proxy.call(rq.Query(collection=NAME, filter="id < 3", output_fields=("id",)))
    assert plan.rows.num_rows == 3
    stamp, _ = shard.query(_query_plan(lone), far_ahead)
    assert stamp == far_ahead
    assert lone.oracle.last >= far_ahead


def _query_plan(pair: Pair) -> Any:
    from redkite.filter import compile_filter
    from redkite.query.plan import QueryPlan

    meta = pair.far.root.all_collections()[0]
    condition = compile_filter("id >= 0", meta.schema)
    return QueryPlan(
        collection_id=meta.collection_id, schema=meta.schema, filter=condition, partitions=None, limit=None,
        columns=("id",),
    )  # fmt: skip


def test_a_read_at_a_timestamp_waits_for_the_writes_before_it(lone: Pair) -> None:
    meta = lone.far.root.all_collections()[0]
    own = lone.engine.database.topology.shards(meta)[0]
    assert isinstance(own, Shard)
    logged: Future[int] = Future()
    before = lone.oracle.now()
    own._under_way.log(lone.oracle.allocate(), lambda: logged)  # and is not applied yet
    far = lone.far.shards(meta)[0]
    found: list[int] = []
    reader = threading.Thread(target=lambda: found.append(far.query(_query_plan(lone), lone.oracle.now())[0]))
    reader.start()
    time.sleep(0.1)
    assert not found
    assert far.query(_query_plan(lone))[1][0].count == 20, "a read of what there is does not wait"
    assert far.query(_query_plan(lone), before)[1][0].count == 20, "nor one of a moment before"
    logged.set_result(1)
    reader.join(60)
    assert len(found) == 1


def test_word_counts_of_several_nodes_are_added_up() -> None:
    counts = [TextCounts(2, 5.0, np.array([1, 0])), TextCounts(3, 7.0, np.array([2, 2]))]
    (total,) = reduced_counts(counts)
    assert (total.rows, total.tokens, total.having.tolist()) == (5, 12.0, [3, 2])
    assert reduced_counts([]) == []


def test_messages_say_that_they_may_be_repeated() -> None:
    assert SearchShard.idempotent and CountShard.idempotent
