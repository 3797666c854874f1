"""The straight way answers what the general one does, and is gone where anything stands in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tests.engine import NAME, Engine
from tests.query.test_execute import wait_for_index

from redkite.errors import CollectionNotLoaded, InvalidParameter
from redkite.index.alone import Alone
from redkite.index.hnsw import HnswIndex
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import FieldSchema
from redkite.model.tuning import Tuning
from redkite.model.types import DataType
from redkite.node.querying import QueryNode
from redkite.node.view import ShardView
from redkite.query.straight import Straight

ROWS, DIM = 3000, 16


def ready(engine: Engine) -> None:
    """Wait until the index is not only stored, but asked."""
    wait_for_index(engine)
    topology = engine.database.topology
    (shard,) = topology.shards(topology.root.find("", NAME))
    end = time.monotonic() + 120
    while shard.unindexed_rows():
        assert time.monotonic() < end, "the index was not opened"
        time.sleep(0.01)


def filled(path: Path, metric: str = "L2", key: DataType = DataType.INT64, **more: Any) -> tuple[Engine, np.ndarray]:
    vectors = np.random.default_rng(2).standard_normal((ROWS, DIM)).astype(np.float32)
    engine = Engine(str(path / "db"))
    engine.create(metric=metric, key=key, dim=DIM, M=16, efConstruction=100, **more)
    ids = [f"k{i:05}" for i in range(ROWS)] if key is DataType.VARCHAR else range(ROWS)
    engine.insert(ids, vectors, np.arange(ROWS) % 10, [f"w{i % 3}" for i in range(ROWS)])
    engine.flush()
    ready(engine)
    return engine, vectors


@pytest.fixture
def built(tmp_path: Path) -> Iterator[tuple[Engine, np.ndarray]]:
    engine, vectors = filled(tmp_path)
    yield engine, vectors
    engine.close()


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each search that tried the straight way: whether it answered."""
    seen: list[bool] = []
    real = Straight.search

    def watched(self: Straight, queries: Any, timestamp: int) -> Any:
        found = real(self, queries, timestamp)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(Straight, "search", watched)
    return seen


def same(one: rs.Hits, other: rs.Hits) -> None:
    assert one.topks.tolist() == other.topks.tolist()
    assert one.ids.to_pylist() == other.ids.to_pylist()
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.rows.to_pydict() == other.rows.to_pydict()
    assert one.rows.num_rows == other.rows.num_rows
    assert one.output_fields == other.output_fields


def ids(engine: Engine, query: np.ndarray, limit: int = 5, **more: Any) -> list[int]:
    found: list[int] = engine.search(query, limit, **more).ids.to_pylist()
    return found


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize("key", [DataType.INT64, DataType.VARCHAR])
def test_both_ways_give_the_same_answer(
    metric: str, key: DataType, tmp_path: Path, went: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, vectors = filled(tmp_path, metric, key)
    asked: list[tuple[np.ndarray, dict[str, Any]]] = [
        (vectors[:1], {}),
        (vectors[7:12] + np.float32(0.1), {"params": {"ef": 40}}),
        (vectors[20:21], {"output_fields": ("number", "word", "vector")}),
        (vectors[30:31], {"round_decimal": 2}),
        (vectors[40:41], {"partitions": ("_default",), "ignore_growing": True}),
    ]
    straight = [engine.search(queries, 10, **more) for queries, more in asked]
    assert went == [True] * len(asked)
    assert isinstance(straight[0].keys, np.ndarray) is (key is DataType.INT64)  # a column costs more than the search
    monkeypatch.setattr(ShardView, "straight", lambda *_: None)
    for (queries, more), hits in zip(asked, straight, strict=True):
        same(hits, engine.search(queries, 10, **more))
    assert len(went) == len(asked)
    engine.close()


def test_rows_of_equal_vectors_come_in_the_order_of_their_keys(
    tmp_path: Path, went: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(str(tmp_path / "db"))
    engine.create(metric="L2", dim=DIM, M=16, efConstruction=100)
    vectors = np.random.default_rng(2).standard_normal((ROWS, DIM)).astype(np.float32)
    vectors[2500:2505] = vectors[500]
    engine.insert(range(ROWS, 0, -1), vectors, np.arange(ROWS))  # the later the row, the smaller its key
    engine.flush()
    ready(engine)
    straight = engine.search(vectors[500:501], 6, params={"ef": 100})
    assert went == [True]
    assert straight.ids.to_pylist() == sorted(straight.ids.to_pylist()) == [*range(496, 501), 2500]
    monkeypatch.setattr(ShardView, "straight", lambda *_: None)
    same(straight, engine.search(vectors[500:501], 6, params={"ef": 100}))
    engine.close()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("metric", ["L2", "COSINE"])
def test_several_segments_are_searched_straight_and_merged(
    metric: str, shared: bool, tmp_path: Path, went: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them rows of equal vectors, whose order is that of their keys."""
    monkeypatch.setattr("redkite.query.sharing.WORTH_A_THREAD", 0 if shared else 1 << 60)
    engine = Engine(str(tmp_path / "db"))
    engine.create(metric=metric, dim=DIM, M=16, efConstruction=100)
    vectors = np.random.default_rng(2).standard_normal((ROWS, DIM)).astype(np.float32)
    vectors[2500:2510] = vectors[500:510]
    for at in (1500, 0):  # fewer rows would get no index
        engine.insert(range(at, at + 1500), vectors[at : at + 1500], np.arange(1500))
        engine.flush()
    ready(engine)
    asked: list[tuple[np.ndarray, dict[str, Any]]] = [
        (vectors[:1] + np.float32(0.01), {}),
        (vectors[500:501], {}),
        (vectors[495:515], {"output_fields": ("number",)}),
        (vectors[700:701], {"output_fields": ("number", "word")}),
    ]
    straight = [engine.search(queries, 10, params={"ef": 200}, **more) for queries, more in asked]
    assert went == [True] * len(asked)
    assert straight[1].ids.to_pylist()[:2] == [500, 2500]
    monkeypatch.setattr(ShardView, "straight", lambda *_: None)
    for (queries, more), hits in zip(asked, straight, strict=True):
        same(hits, engine.search(queries, 10, params={"ef": 200}, **more))
        same(hits, engine.search(queries, 10, tuning=Tuning(exact=True), **more))
    engine.delete("id == 500")
    assert 500 not in ids(engine, vectors[500], params={"ef": 200})
    engine.close()


def test_what_is_more_than_plain_does_not_go_straight(built: tuple[Engine, np.ndarray], went: list[bool]) -> None:
    engine, vectors = built
    for more in ({"filter": "number < 5"}, {"offset": 1}, {"in_order": True}, {"params": {"radius": 9.0}}):
        assert engine.search(vectors[:1], 5, **more).topks.tolist() == [5] or "params" in more
    assert went == []


def test_a_deleted_row_is_gone_at_once_and_others_stay(built: tuple[Engine, np.ndarray], went: list[bool]) -> None:
    engine, vectors = built
    before = ids(engine, vectors[5])
    assert before[0] == 5
    engine.delete("id == 5")
    assert ids(engine, vectors[5])[:4] == before[1:]
    assert went == [True]


def test_a_row_that_was_just_written_is_found(built: tuple[Engine, np.ndarray], went: list[bool]) -> None:
    engine, vectors = built
    assert ids(engine, vectors[5], 1) == [5]
    engine.insert([ROWS], vectors[5:6], [1])
    assert ids(engine, vectors[5], 2) == [5, ROWS]
    assert ids(engine, vectors[5], 2, ignore_growing=True)[0] == 5
    assert went == [True, True]


def test_a_row_that_was_replaced_is_found_where_it_is_now(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert ids(engine, vectors[5], 1) == [5]
    rows = engine.batch([5], vectors[6:7] + np.float32(0.01), [1])
    engine.call(rq.Upsert(collection=NAME, rows=rows))
    assert ids(engine, vectors[5], 1) != [5]
    assert ids(engine, vectors[6], 2) == [6, 5]


def test_an_earlier_moment_is_read_as_it_was(built: tuple[Engine, np.ndarray], went: list[bool]) -> None:
    engine, vectors = built
    moment = engine.search(vectors[5], 1).session_timestamp
    engine.delete("id == 5")
    engine.call(rq.TruncateCollection(collection=NAME))
    assert ids(engine, vectors[5]) == []
    engine.insert([5], vectors[5:6], [1])
    with pytest.raises(InvalidParameter, match="no longer kept"):
        engine.search(vectors[5], 1, as_of=moment)
    assert went == [True]


def test_more_rows_than_there_are_give_all_of_them(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    hits = engine.search(vectors[:2], ROWS + 10)
    assert hits.topks.tolist() == [ROWS, ROWS]
    assert sorted(hits.ids.to_pylist()[:ROWS]) == list(range(ROWS))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_query_that_is_no_vector_is_refused(bad: float, built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    engine.search(vectors[:1], 3)
    query = vectors[:1].copy()
    query[0, 3] = bad
    with pytest.raises(InvalidParameter, match="is not a number or infinity"):
        engine.search(query, 3)
    with pytest.raises(InvalidParameter, match="dimension mismatch"):
        engine.search(vectors[:1, :8], 3)


def test_a_guarantee_from_the_future_is_refused(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    now = engine.search(vectors[:1], 3).session_timestamp
    assert ids(engine, vectors[0], 1, guarantee_timestamp=now) == [0]
    with pytest.raises(InvalidParameter, match="future"):
        engine.search(vectors[:1], 3, guarantee_timestamp=now + (10**9 << 18))


def test_a_released_or_another_collection_of_the_name_is_not_answered_from_the_old_one(
    built: tuple[Engine, np.ndarray],
) -> None:
    engine, vectors = built
    engine.search(vectors[:1], 3)
    engine.call(rq.ReleaseCollection(collection=NAME))
    with pytest.raises(CollectionNotLoaded):
        engine.search(vectors[:1], 3)
    engine.call(rq.LoadCollection(collection=NAME))
    assert ids(engine, vectors[0], 1) == [0]
    engine.call(rq.DropCollection(collection=NAME))
    engine.create(dim=DIM)
    engine.insert([77], vectors[:1], [1])
    assert ids(engine, vectors[0]) == [77]


def test_a_field_that_was_added_later_shows_in_the_hits(built: tuple[Engine, np.ndarray], went: list[bool]) -> None:
    engine, vectors = built
    engine.search(vectors[:1], 3, output_fields=("number",))
    field = FieldSchema(name="more", data_type=DataType.INT64, nullable=True)
    engine.call(rq.AddCollectionField(collection=NAME, field=field))
    hits = engine.search(vectors[:1], 3, output_fields=("number", "more"))
    assert hits.rows.column("more").to_pylist() == [None] * 3
    assert went == [True, True]


def test_another_index_is_asked_as_soon_as_it_is_there(built: tuple[Engine, np.ndarray], went: list[bool]) -> None:
    engine, vectors = built
    engine.search(vectors[:1], 3)
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.DropIndex(collection=NAME, field="vector"))
    params = {"index_type": "IVF_FLAT", "metric_type": "IP", "nlist": "8"}
    engine.call(rq.CreateIndex(collection=NAME, field="vector", params=params))
    engine.call(rq.LoadCollection(collection=NAME))
    ready(engine)
    hits = engine.search(vectors[:1], 3, params={"nprobe": 8})
    assert went == [True, True]
    assert hits.scores[0] == pytest.approx(float(np.max(vectors @ vectors[0])), rel=1e-5)


def test_searches_beside_a_writer_see_every_write_that_was_answered_before(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    gone: list[int] = []
    faults: list[int] = []
    ended: list[bool] = []

    def read() -> None:
        while not ended:
            answered = len(gone)
            found = set(engine.search(vectors[:20], 10).ids.to_pylist())
            faults.extend(found & set(gone[:answered]))

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for key in range(0, 20, 2):
            engine.delete(f"id == {key}")
            gone.append(key)
    finally:
        ended.append(True)
        for reader in readers:
            reader.join()
    assert not faults


def test_a_search_whose_index_finds_too_few_is_done_again_whole_and_counted(
    built: tuple[Engine, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, vectors = built
    (node,) = engine.database.topology.querying
    assert isinstance(node, QueryNode)
    wanted = ids(engine, vectors[:2])
    assert (node.times.straight.total, node.times.segments.total, node.times.reductions.total) == (1, 1, 1)
    assert (node.times.searches.total, node.times.redone) == (0, 0)
    real = HnswIndex.search

    def few(self: HnswIndex, *asked: Any) -> Any:
        scores, rows = real(self, *asked)
        rows[:, -1] = -1
        return scores, rows

    monkeypatch.setattr(HnswIndex, "search", few)
    monkeypatch.setattr(Alone, "search", lambda *_: None)  # which asks the same index by a call that it prepared
    assert ids(engine, vectors[:2]) == wanted
    assert node.times.redone == 2, "the straight way, and the index in the general one"
    assert (node.times.straight.total, node.times.searches.total) == (1, 1)
