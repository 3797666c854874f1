"""A whole cluster in one process: what a client does through its proxies, and what happens when nodes go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME
from tests.patience import until

from redkite.cluster.config import ROLES
from redkite.cluster.shards import calling
from redkite.errors import CollectionNotFound, CollectionNotLoaded, InvalidParameter, Unavailable
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.types import ConsistencyLevel
from redkite.storage.memory_broker import MemoryBroker


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), proxies=2)
    yield made
    made.close()


def vectors(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((count, DIM), dtype=np.float32)


def fill(engine: ClusterEngine, count: int = 200, shards: int = 2) -> np.ndarray:
    engine.create(shards=shards)
    made = vectors(count)
    engine.insert(range(count), made, range(count))
    return made


def test_rows_are_found_by_every_proxy_as_soon_as_they_are_written(engine: ClusterEngine) -> None:
    made = fill(engine)
    for proxy in (0, 1):
        engine.proxy = proxy
        assert engine.count() == 200
        hits = engine.search(made[[7, 60]], 3)
        assert hits.ids.to_pylist()[0] == 7
        assert hits.ids.to_pylist()[3] == 60


def test_deletes_by_key_and_by_filter_reach_all_shards(engine: ClusterEngine) -> None:
    fill(engine)
    assert engine.delete("id in [1, 2, 3]").count == 3
    assert engine.delete("number >= 100 and number < 150").count == 50
    assert engine.count() == 147


def test_an_upsert_replaces_and_a_partial_one_keeps_the_other_fields(engine: ClusterEngine) -> None:
    made = fill(engine)
    rows = engine.batch([5, 500], made[:2], [55, 56], ["new", "new"])
    engine.call(rq.Upsert(collection=NAME, rows=rows))
    part = pa.RecordBatch.from_arrays([pa.array([5]), pa.array([77])], ["id", "number"])
    engine.call(rq.Upsert(collection=NAME, rows=part, partial=True))
    found = engine.query("id == 5", fields=("id", "number", "word"))
    assert found["number"] == [77]
    assert found["word"] == ["new"]
    assert engine.count() == 201


def test_what_is_flushed_is_sealed_indexed_and_found(engine: ClusterEngine) -> None:
    made = fill(engine)
    engine.flush()
    segments = engine.call(rq.ListPersistentSegments(collection=NAME)).segments
    assert sum(segment.num_rows for segment in segments) == 200
    assert engine.search(made[[9]], 1).ids.to_pylist() == [9]
    assert engine.call(rq.GetCollectionStatistics(collection=NAME)).rows == 200


def test_a_change_is_known_to_all_proxies_when_it_is_acknowledged(engine: ClusterEngine) -> None:
    fill(engine)
    engine.call(rq.ReleaseCollection(collection=NAME))
    for proxy in (0, 1):
        engine.proxy = proxy
        with pytest.raises(CollectionNotLoaded):
            engine.count()
    engine.call(rq.LoadCollection(collection=NAME))
    engine.proxy = 0
    assert engine.count() == 200
    engine.call(rq.DropCollection(collection=NAME))
    for proxy in (0, 1):
        engine.proxy = proxy
        with pytest.raises(CollectionNotFound):
            engine.count()


def test_a_proxy_that_is_cut_off_denies_nothing_that_others_may_have_made(engine: ClusterEngine) -> None:
    cut = engine.cluster.nodes("proxy")[1].backends
    cut.cut()
    fill(engine, 3, 1)
    with pytest.raises(Unavailable, match="as far as this proxy knows"):
        engine.ask(1, rq.Delete(collection=NAME, filter="id == 1"))
    cut.mend()
    assert engine.count() == 3


@pytest.mark.parametrize("level", [ConsistencyLevel.Strong, ConsistencyLevel.Session])
def test_searches_of_several_shards_go_on_while_writes_wait_for_the_log(
    engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch, level: ConsistencyLevel
) -> None:
    made = fill(engine)
    send, held = MemoryBroker.send, []
    monkeypatch.setattr(MemoryBroker, "send", lambda *call: held.append(call))
    with ThreadPoolExecutor(1) as client:
        write = client.submit(engine.insert, range(200, 300), made[:100] + 9, range(100))
        until(lambda: len(held) >= 2)  # a message of each shard
        for proxy in (0, 1):
            engine.proxy = proxy
            found = engine.search(made[[11, 60]], 1, consistency_level=level)
            assert found.ids.to_pylist() == [11, 60]
            query = rq.Query(collection=NAME, output_fields=("count(*)",), consistency_level=level)
            assert engine.call(query).rows.column(0).to_pylist() == [200]
        assert not write.done(), "the log was waited for"
        monkeypatch.undo()
        for call in held:
            send(*call)
        write.result(60)
    for proxy in (0, 1):
        engine.proxy = proxy
        assert engine.count() == 300


def test_a_strong_search_has_what_was_answered_although_an_earlier_write_of_another_shard_waits(
    engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fill(engine)
    send, held = MemoryBroker.send, []

    def hold_one_topic(*call: Any) -> None:
        if not held or held[0][1] == call[1]:
            held.append(call)
        else:
            send(*call)

    monkeypatch.setattr(MemoryBroker, "send", hold_one_topic)
    keys = range(200, 216)
    with ThreadPoolExecutor(len(keys) + 1) as clients:
        writes = {key: clients.submit(engine.insert, [key], made[[key - 200]] + 9, [key]) for key in keys}
        until(lambda: held and any(write.done() for write in writes.values()))
        key = next(key for key, write in writes.items() if write.done())
        search = clients.submit(engine.search, made[[key - 200]] + 9, 1, consistency_level=ConsistencyLevel.Strong)
        wait([search], 0.3)
        monkeypatch.undo()
        for call in held:
            send(*call)
        assert search.result(60).ids.to_pylist() == [key]
    assert engine.count() == 200 + len(keys)


def test_rows_survive_the_kill_of_the_streaming_nodes_that_took_them(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=2, lease_seconds=1.0)
    try:
        made = fill(engine)
        engine.delete("id in [3]")
        for running in engine.cluster.nodes("streaming"):
            engine.cluster.restart(running)
        engine.cluster.wait_ready()
        assert engine.count() == 199
        assert engine.search(made[[11]], 1).ids.to_pylist() == [11]
        engine.insert([1000], vectors(1), [1])
        assert engine.count() == 200
    finally:
        engine.close()


def test_reads_go_on_when_a_query_node_is_killed(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), query=2, lease_seconds=1.0)
    try:
        made = fill(engine)
        engine.flush()
        engine.cluster.kill(engine.cluster.nodes("query")[0])
        assert engine.count() == 200
        assert engine.search(made[[11]], 1).ids.to_pylist() == [11]
    finally:
        engine.close()


def test_another_coordinator_leads_when_the_first_is_killed(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), coordinators=2, lease_seconds=1.0)
    try:
        made = fill(engine)
        leading = next(n for n in engine.cluster.nodes("coordinator") if n.node.leading is not None)  # type: ignore[attr-defined]
        engine.cluster.kill(leading)
        assert engine.search(made[[11]], 1).ids.to_pylist() == [11]  # nobody has to lead for that
        engine.call(rq.CreatePartition(collection=NAME, partition="later"))
        shown: rs.Partitions = engine.call(rq.ShowPartitions(collection=NAME))
        assert {p.name for p in shown.partitions} == {"_default", "later"}
    finally:
        engine.close()


def test_reads_that_need_no_owner_go_on_while_nobody_can_say_who_owns_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "FIND_SECONDS", 100.0)
    engine = ClusterEngine(str(tmp_path / "objects"), lease_seconds=2.0)  # a node that is slower is taken for gone
    try:
        made = fill(engine)
        engine.flush()
        engine.insert([500], made[:1] + 9, [500])
        everybody = [running.backends for role in ROLES for running in engine.cluster.nodes(role)]
        for backends in everybody:
            backends.cut()
        owners = [running.node for running in engine.cluster.nodes("streaming")]
        until(lambda: not any(owner.members.is_alive for owner in owners))
        for level in (ConsistencyLevel.Eventually, ConsistencyLevel.Bounded):
            began = time.monotonic()
            assert engine.search(made[[11]], 1, consistency_level=level).ids.to_pylist() == [11]
            query = rq.Query(collection=NAME, output_fields=("count(*)",), consistency_level=level)
            assert engine.call(query).rows.column(0).to_pylist() == [201]
            assert time.monotonic() - began < 50, "an owner was waited for"
        for backends in everybody:
            backends.mend()
        engine.insert([501], made[:1] + 9, [501])
        assert engine.count() == 202
    finally:
        engine.close()


def test_python_code_of_a_client_is_refused_with_a_reason(engine: ClusterEngine) -> None:
    with pytest.raises(InvalidParameter, match="its nodes run no Python code of their clients"):
        engine.call(RegisterEmbedding(name="mine", documents=lambda _: [], queries=lambda _: []))
