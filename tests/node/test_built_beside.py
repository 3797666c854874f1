"""Light indexes are made while the rows that they are over are written, and are in the same commit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.texts import NAME, TextEngine, plain_scores

from redkite.coordinator.compaction import CompactionPolicy
from redkite.errors import MemoryLimitExceeded, MilvusException, StorageError
from redkite.model import requests as rq
from redkite.model.limits import LIMITS
from redkite.model.segments import SegmentMeta
from redkite.node import data as data_node
from redkite.node.memory import MemoryBudget
from redkite.node.querying import QueryNode
from redkite.segment.files import write_rows
from redkite.simulated import SimulatedEnv, simulated_env

TEXTS = {key: f"word{key % 7} word{key % 3} all" for key in range(40)}
LEAST = 4


def engine_of() -> tuple[TextEngine, SimulatedEnv]:
    env = simulated_env(5)
    limits = msgspec.structs.replace(LIMITS, min_rows_to_index=LEAST)
    engine = TextEngine("db", env, {"limits": limits, "compaction": CompactionPolicy(automatic=False)})
    engine.create_texts()
    return engine, env


def segments(engine: TextEngine) -> tuple[SegmentMeta, ...]:
    (meta,) = engine.database.topology.root.all_collections()
    return engine.database.topology.data.segments(meta.collection_id)


def pending(engine: TextEngine) -> int:
    return int(engine.call(rq.DescribeIndex(collection=NAME)).indexes[0].pending_rows)


def check(engine: TextEngine) -> None:
    """What is found is right, and the store holds what the catalog names and nothing else."""
    (found,) = engine.ask("word1 word2")
    assert found == pytest.approx(plain_scores(TEXTS, "word1 word2"), rel=1e-5)
    topology = engine.database.topology
    assert {*topology.store.list()} == topology.data.object_names()


def raising(error: Exception) -> Any:
    def raises(*_: Any, **__: Any) -> Any:
        raise error

    return raises


def test_an_inverted_index_is_there_as_soon_as_its_rows_are_sealed() -> None:
    engine, _ = engine_of()
    engine.put(TEXTS)
    engine.seal()  # no work in the background is done here
    assert pending(engine) == 0
    assert [len(meta.indexes) for meta in segments(engine)] == [1]
    check(engine)
    engine.reopen()
    assert pending(engine) == 0
    check(engine)
    engine.close()


def test_few_rows_are_sealed_without_an_index() -> None:
    engine, env = engine_of()
    engine.put({key: TEXTS[key] for key in range(LEAST - 1)})
    engine.seal()
    env.run_until_idle()
    assert [meta.indexes for meta in segments(engine)] == [()]
    engine.close()


@pytest.mark.parametrize("why", ["build", "memory"])
def test_rows_are_sealed_although_their_index_cannot_be_made_and_it_is_made_later(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, env = engine_of()
    engine.put(TEXTS)
    with monkeypatch.context() as patch:
        if why == "build":
            patch.setattr(data_node, "build", raising(RuntimeError("the library gave up")))
        else:
            patch.setattr(MemoryBudget, "room", raising(MemoryLimitExceeded("no room at once")))
        engine.seal()
    assert [(meta.rows, meta.indexes) for meta in segments(engine)] == [(len(TEXTS), ())]
    assert pending(engine) == len(TEXTS)
    check(engine)
    env.run_until_idle()
    assert pending(engine) == 0
    check(engine)
    engine.close()


def test_an_index_that_is_dropped_while_its_rows_are_written_is_left_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = engine_of()
    engine.put(TEXTS)
    topology = engine.database.topology
    (meta,) = topology.root.all_collections()
    (shard,) = topology.own_shards(meta)
    (index,) = topology.data.made_indexes(meta.collection_id)

    def dropping(*given: Any) -> SegmentMeta:
        topology.data.drop_index(index)
        shard.drop_index(index)
        return write_rows(*given)

    monkeypatch.setattr(data_node, "write_rows", dropping)
    engine.seal()
    (segment,) = segments(engine)
    assert segment.indexes == ()
    (node,) = topology.querying
    assert isinstance(node, QueryNode)
    assert node.holds(segment.segment_id, 0)
    assert not node.covers(segment.segment_id, "words")
    assert {*topology.store.list()} == topology.data.object_names()
    engine.close()


def test_rows_that_cannot_be_written_leave_no_index_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = engine_of()
    engine.put(TEXTS)
    with monkeypatch.context() as patch:
        patch.setattr(data_node, "write_rows", raising(StorageError("the disk is full")))
        with pytest.raises(MilvusException, match="the disk is full"):
            engine.seal()
    assert engine.database.topology.store.list() == []
    engine.seal()
    assert [len(meta.indexes) for meta in segments(engine)] == [1]
    check(engine)
    engine.close()


def test_after_a_commit_that_failed_the_next_one_takes_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = engine_of()
    engine.put(TEXTS)
    topology = engine.database.topology
    with monkeypatch.context() as patch:
        patch.setattr(type(topology.data), "commit_flush", raising(StorageError("the catalog is away")))
        with pytest.raises(MilvusException, match="the catalog is away"):
            engine.seal()
    engine.seal()
    assert [len(meta.indexes) for meta in segments(engine)] == [1]
    check(engine)
    engine.close()
