"""Nodes do not know where they run: several of them answer as one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import CollectionNotLoaded, PathLocked
from redkite.model import requests as rq
from redkite.model.types import DataType
from redkite.simulated import simulated_env


def filled(engine: Engine, rows: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    engine.insert(range(rows), vectors, range(rows), [f"w{i % 7}" for i in range(rows)])
    return vectors


def nearest(vectors: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    distances = ((vectors - query) ** 2).sum(axis=1)
    return [int(i) for i in np.lexsort((np.arange(len(vectors)), distances))[:k]]


def test_one_search_spans_two_query_nodes_and_two_shards() -> None:
    engine = Engine("db", simulated_env(3), {"query_nodes": 2})
    engine.create(shards=2, index="FLAT")
    vectors = filled(engine, 400)
    engine.flush()
    more = np.random.default_rng(9).normal(size=(50, DIM)).astype(np.float32)
    engine.insert(range(400, 450), more, range(400, 450))
    every = np.concatenate([vectors, more])
    held = [len(node._segments) for node in engine.database.topology.querying]
    assert held == [1, 1], "each query node holds the segment of one shard"
    for number in range(20):
        hits = engine.search(every[number * 21], 10)
        assert hits.ids.to_pylist() == nearest(every, every[number * 21], 10)
    assert engine.count() == 450
    assert engine.query("number >= 395 and number < 405", fields=("id",))["id"] == list(range(395, 405))


def test_several_queries_over_two_shards_keep_their_own_hits() -> None:
    engine = Engine("db", simulated_env(4), {"query_nodes": 2})
    engine.create(shards=2, index="FLAT")
    vectors = filled(engine, 300)
    engine.flush()
    hits = engine.search(vectors[:30], 5, output_fields=("number", "word"))
    assert hits.topks.tolist() == [5] * 30
    assert hits.ids.to_pylist() == [i for q in range(30) for i in nearest(vectors, vectors[q], 5)]
    assert hits.rows.column("number").to_pylist() == hits.ids.to_pylist()
    assert hits.rows.column("word").to_pylist() == [f"w{i % 7}" for i in hits.ids.to_pylist()]


def test_two_streaming_nodes_own_different_channels_and_both_recover() -> None:
    env = simulated_env(5)
    engine = Engine("db", env, {"streaming_nodes": 2, "query_nodes": 2})
    engine.create(shards=4, index="FLAT")
    filled(engine, 200)
    owners = {engine.database.topology.owner(c).node_id for c in engine.database.topology.root.find("", NAME).channels}
    assert owners == {1, 2}
    engine.reopen()
    assert engine.numbers() == {i: i for i in range(200)}


def test_an_offset_skips_the_nearest_of_each_query(tmp_path: object) -> None:
    engine = Engine("db", simulated_env(6))
    engine.create(index="FLAT")
    vectors = filled(engine, 100)
    hits = engine.search(vectors[:3], 4, offset=2)
    assert hits.ids.to_pylist() == [i for q in range(3) for i in nearest(vectors, vectors[q], 6)[2:]]
    beyond = engine.search(vectors[0], 5, offset=98)
    assert beyond.topks.tolist() == [2]


def test_a_released_collection_refuses_reads_and_answers_again_when_loaded() -> None:
    engine = Engine("db", simulated_env(7))
    engine.create()
    vectors = filled(engine, 50)
    engine.flush()
    engine.call(rq.ReleaseCollection(collection=NAME))
    with pytest.raises(CollectionNotLoaded, match="collection not loaded"):
        engine.search(vectors[0], 3)
    engine.insert([5], vectors[:1], [555])
    engine.call(rq.LoadCollection(collection=NAME))
    assert engine.numbers()[5] == 555
    assert engine.count() == 50


def test_a_dropped_partition_is_gone_after_a_restart_and_the_others_stay() -> None:
    engine = Engine("db", simulated_env(8))
    engine.create()
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    vectors = np.eye(DIM, dtype=np.float32)
    engine.insert([1, 2], vectors[:2], [1, 2], partition="p")
    engine.insert([3, 2], vectors[2:4], [3, 22])
    assert engine.numbers() == {1: 1, 2: 22, 3: 3}
    engine.call(rq.ReleasePartitions(collection=NAME, partitions=("p",)))
    engine.call(rq.DropPartition(collection=NAME, partition="p"))
    engine.reopen()
    assert engine.numbers() == {2: 22, 3: 3}
    assert engine.call(rq.GetCollectionStatistics(collection=NAME)).rows == 2


def test_a_search_in_one_partition_sees_only_its_rows() -> None:
    engine = Engine("db", simulated_env(9))
    engine.create()
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    vectors = np.eye(DIM, dtype=np.float32)
    engine.insert([1, 2], vectors[:2], [1, 2], partition="p")
    engine.insert([3, 4], vectors[2:4], [3, 4])
    for _ in range(2):
        assert sorted(engine.search(vectors[3], 10, partitions=("p",)).ids.to_pylist()) == [1, 2]
        assert engine.query("id > 0", partitions=("_default",), fields=("id",))["id"] == [3, 4]
        engine.flush()


def test_a_dropped_collection_leaves_nothing_behind() -> None:
    env = simulated_env(10)
    engine = Engine("db", env)
    engine.create()
    filled(engine, 100)
    engine.flush()
    engine.call(rq.DropCollection(collection=NAME))
    assert engine.database.topology.store.list("segments/") == []
    assert env.files.list("db/log") in ([], [".dropped"])
    engine.create()
    assert engine.count() == 0


def test_a_second_writer_is_told_who_holds_the_path() -> None:
    env = simulated_env(11)
    engine = Engine("db", env)
    with pytest.raises(PathLocked, match="in use by this process"):
        Engine("db", env)
    engine.close()
    Engine("db", env).close()


def test_string_keys_route_find_and_order() -> None:
    engine = Engine("db", simulated_env(12), {"query_nodes": 2})
    engine.create(shards=2, key=DataType.VARCHAR, index="FLAT")
    vectors = np.random.default_rng(0).normal(size=(120, DIM)).astype(np.float32)
    keys = [f"k{i:03d}" for i in range(120)]
    order = np.random.default_rng(1).permutation(120)
    engine.insert([keys[i] for i in order], vectors[order], order)
    engine.flush()
    engine.insert(["k007"], vectors[:1], [7007])
    engine.delete("id in ['k001', 'nope']")
    stored = engine.numbers()
    assert list(stored) == [k for k in keys if k != "k001"]
    assert stored["k007"] == 7007
    engine.flush()
    engine.reopen()
    assert engine.numbers() == stored
    assert engine.query("id in ['k100', 'k007', 'k001']", fields=("number",))["number"] == [7007, 100]


def test_rows_go_to_the_partition_of_their_key() -> None:
    from redkite.model.schema import CollectionSchema, FieldSchema

    engine = Engine("db", simulated_env(13))
    fields = (
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "4"}),
        FieldSchema(name="tenant", data_type=DataType.VARCHAR, params={"max_length": "9"}, is_partition_key=True),
    )
    engine.call(rq.CreateCollection(schema=CollectionSchema(name=NAME, fields=fields), partitions=4, shards=2))
    engine.call(rq.CreateIndex(collection=NAME, field="vector", params={"index_type": "FLAT", "metric_type": "L2"}))
    engine.call(rq.LoadCollection(collection=NAME))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(800, np.float32)), 4)
    tenants = pa.array([f"t{i % 20}" for i in range(200)])
    rows = pa.RecordBatch.from_arrays([pa.array(range(200)), vectors, tenants], ["id", "vector", "tenant"])
    engine.call(rq.Insert(collection=NAME, rows=rows))
    assert engine.query("tenant == 't3'", fields=("id",))["id"] == list(range(3, 200, 20))
    shown = engine.call(rq.ShowPartitions(collection=NAME)).partitions
    sizes = [engine.call(rq.GetPartitionStatistics(collection=NAME, partition=p.name)).rows for p in shown]
    assert sum(sizes) == 200
    assert sum(size > 0 for size in sizes) > 1
