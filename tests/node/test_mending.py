"""A disk or a process that fails under a write, and the writes that come after it without opening anything anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, Engine

from redkite.errors import MilvusException, StorageError
from redkite.node.shard import Shard
from redkite.segment.growing import GrowingSegment
from redkite.simulated import SimulatedDisk, simulated_env

VECTORS = np.eye(DIM, dtype=np.float32)


def engine_with_rows(disk: SimulatedDisk, shards: int = 1) -> Engine:
    engine = Engine("db", simulated_env(5, disk))
    engine.create(index="FLAT", shards=shards)
    engine.insert([1, 2, 3, 4], VECTORS[:4], [1, 2, 3, 4])
    engine.flush()
    engine.insert([4, 5, 6], VECTORS[:3], [44, 5, 6])
    return engine


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
@pytest.mark.parametrize("shards", [1, 2])
def test_whichever_operation_of_a_write_fails_the_next_write_works_without_reopening(kind: Any, shards: int) -> None:
    failed = 0
    for operation in range(1, 11):
        disk = SimulatedDisk(5)
        engine = engine_with_rows(disk, shards)
        expected = engine.numbers()
        disk.fail_at(disk.operations + operation, kind)
        try:
            engine.insert([4, 9], VECTORS[:2], [444, 9])
        except MilvusException:
            failed += 1
            assert set(expected.items()) - {(4, 44)} <= set(engine.numbers().items())
        else:
            continue  # nothing that counts has failed
        engine.insert([2, 7], VECTORS[:2], [22, 7])
        engine.delete("id == 1")
        found = engine.numbers()
        assert {k: n for k, n in found.items() if k not in (4, 9)} == {2: 22, 3: 3, 5: 5, 6: 6, 7: 7}
        assert found[4] in (44, 444)
        disk.restart()
        engine.env = simulated_env(6, disk)
        engine.open()
        assert engine.numbers() == found
    assert failed >= 2


def broken_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, half: bool) -> None:
    """The next call of a method fails, before it does anything or when it has done it."""
    works = getattr(owner, name)

    def fails(*args: Any) -> Any:
        monkeypatch.setattr(owner, name, works)
        if half:
            works(*args)
        raise MemoryError("no room for a row")

    monkeypatch.setattr(owner, name, fails)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("owner", "name"), [(Shard, "_insert_parts"), (Shard, "_applied"), (GrowingSegment, "append")])
def test_a_durable_write_that_was_not_applied_is_found_when_the_next_one_is_answered(
    owner: type, name: str, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimulatedDisk(5)
    engine = engine_with_rows(disk)
    before = engine.numbers()
    broken_once(monkeypatch, owner, name, half=half)
    with pytest.raises(MemoryError):
        engine.insert([1, 8], VECTORS[:2], [11, 8])
    if not half:
        assert engine.numbers() == before
    engine.insert([9], VECTORS[:1], [9])
    expected = {1: 11, 2: 2, 3: 3, 4: 44, 5: 5, 6: 6, 8: 8, 9: 9}
    assert engine.numbers() == expected
    assert engine.count() == len(expected)
    engine.flush()
    assert engine.numbers() == expected
    disk.restart()
    engine.env = simulated_env(6, disk)
    engine.open()
    assert engine.numbers() == expected


def test_while_a_log_cannot_be_applied_writes_are_refused_and_reads_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_with_rows(SimulatedDisk(5))
    before = engine.numbers()

    def fails(*args: Any) -> None:
        raise StorageError("the rows cannot be mapped")

    with monkeypatch.context() as broken:
        broken.setattr(Shard, "_insert_parts", fails)
        for key in (8, 9):
            with pytest.raises(StorageError, match="cannot be mapped"):
                engine.insert([key], VECTORS[:1], [key])
            assert engine.numbers() == before
    engine.insert([10], VECTORS[:1], [10])
    assert engine.numbers() == before | {8: 8, 10: 10}


def test_a_log_that_could_not_be_replayed_loses_nothing_at_the_next_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimulatedDisk(5)
    engine = engine_with_rows(disk)
    engine.delete("id == 1")
    before = engine.numbers()

    def fails(*args: Any) -> None:
        raise MemoryError("no room for a row")

    with monkeypatch.context() as broken:
        broken.setattr(Shard, "_insert_parts", fails)
        broken.setattr(Shard, "_replay", fails)
        for _ in range(2):  # one that is durable and not applied, and one before which that is tried again
            with pytest.raises(MemoryError):
                engine.insert([8], VECTORS[:1], [8])
    engine.flush()
    assert set(before.items()) <= set(engine.numbers().items())
    engine.insert([9], VECTORS[:1], [9])
    expected = before | {8: 8, 9: 9}
    assert engine.numbers() == expected
    disk.restart()
    engine.env = simulated_env(6, disk)
    engine.open()
    assert engine.numbers() == expected
