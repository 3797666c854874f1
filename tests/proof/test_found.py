"""What the kill loop and the sweeps once found, each as small as it can be shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.proof.doors import Simulated

import redkite
from redkite.client.transports import engines
from redkite.errors import StorageError
from redkite.node.querying import QueryNode
from redkite.simulated import SimulatedCrash

NAME = "things"


@pytest.fixture
def door() -> Iterator[Simulated]:
    opened = Simulated(3)
    schema = opened.client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=2)
    index = opened.client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    opened.client.create_collection(NAME, schema=schema, index_params=index)
    yield opened
    opened.close()


def rows(keys: range) -> list[dict[str, Any]]:
    return [{"id": key, "vector": [key, 0.0]} for key in keys]


def stored(door: Simulated) -> list[int]:
    return [row["id"] for row in door.client.query(NAME, "id >= 0", output_fields=["id"])]


def data_of(door: Simulated) -> Any:
    (engine,) = (engine for engine in engines._OPEN.values() if engine.path == door._path)
    database: Any = engine._handle
    return database.topology.data


def test_rows_deleted_while_they_are_being_sealed_stay_deleted(
    door: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.client.insert(NAME, rows(range(10)))
    data = data_of(door)
    commit = data.commit_flush

    def commit_late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        door.client.delete(NAME, ids=list(range(4)))
        return commit(*arguments, **options)

    monkeypatch.setattr(data, "commit_flush", commit_late)
    door.client.flush(NAME)
    door.client.insert(NAME, rows(range(20, 21)))
    door.client.flush(NAME)  # the log is cut here, so these deletes must have been written down
    door.restart()
    assert stored(door) == [*range(4, 10), 20]


def test_a_truncation_that_is_cut_short_happens_whole_or_not_at_all(door: Simulated) -> None:
    operation = 0
    while True:
        operation += 1
        door.client.truncate_collection(NAME)
        door.client.upsert(NAME, rows(range(10)))
        door.client.flush(NAME)
        door.client.upsert(NAME, rows(range(10, 20)))
        door.disk.crash_at(door.disk.operations + operation)
        try:
            door.client.truncate_collection(NAME)
        except SimulatedCrash:
            door.revive()
            assert stored(door) in ([], list(range(20)))
        else:
            break
    assert operation > 5


def test_a_truncation_that_failed_is_none_for_those_who_read_on(door: Simulated) -> None:
    """The sweep of faults, seed 1044: the rows were gone from memory, and from what later deletes saw, but not from the
    disk."""
    operation = 0
    while True:
        operation += 1
        door.client.truncate_collection(NAME)
        door.client.upsert(NAME, rows(range(10)))
        door.client.flush(NAME)
        door.client.upsert(NAME, rows(range(10, 20)))
        last = door.disk.operations + operation
        door.disk.fail_at(last, "eio")
        try:
            door.client.truncate_collection(NAME)
        except redkite.MilvusException:
            door.open_if_closed()
            found = stored(door)
            assert found in ([], list(range(20)))
            door.client.delete(NAME, filter="id < 5")
            door.restart()
            assert stored(door) == [key for key in found if key >= 5]
        if door.disk.operations < last:
            door.crash()  # the fault that did not come does not come later
            break
    assert operation > 4


@pytest.mark.parametrize("what", ["flush", "compact"])
def test_a_segment_that_cannot_be_opened_is_not_there_twice_when_it_is_written_again(
    door: Simulated, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The sweep of faults, seed 1005: it was in the catalog by then, and its rows were still to be written."""
    door.client.insert(NAME, rows(range(5)))
    if what == "compact":
        door.client.flush(NAME)
        door.client.insert(NAME, rows(range(3, 8)))
        door.client.flush(NAME)
    load = QueryNode.load_segment

    def refused(*_: Any) -> Any:
        monkeypatch.setattr(QueryNode, "load_segment", load)
        raise StorageError("input/output error")

    monkeypatch.setattr(QueryNode, "load_segment", refused)
    if what == "compact":
        job = door.client.compact(NAME)
        door.env.run_until_idle()
        assert door.client.get_compaction_state(job) == "Completed"
    else:
        with pytest.raises(redkite.MilvusException, match="input/output error"):
            door.client.flush(NAME)
    assert QueryNode.load_segment is load
    for _ in range(2):
        (hits,) = door.client.search(NAME, [[0.0, 0.0]], limit=100)
        assert sorted(hits.ids) == stored(door) == list(range(5 if what == "flush" else 8))
        door.client.delete(NAME, ids=[0])
        door.client.insert(NAME, rows(range(1)))
        door.client.flush(NAME)
        door.client.compact(NAME)
        door.env.run_until_idle()
        door.restart()


def test_a_segment_that_cannot_be_opened_is_no_segment_without_rows(
    door: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep of faults, seed 1011: reads, and deletes by filter, went on without it."""
    door.client.insert(NAME, rows(range(5)))
    door.client.flush(NAME)
    door.client.release_collection(NAME)

    def refused(*_: Any) -> Any:
        raise StorageError("input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(QueryNode, "load_segment", refused)
        with pytest.raises(redkite.MilvusException, match="input/output error"):
            door.client.load_collection(NAME)
        for ask in (
            lambda: stored(door),
            lambda: door.client.search(NAME, [[0.0, 0.0]], limit=100),
            lambda: door.client.delete(NAME, filter="id >= 0"),
        ):
            with pytest.raises(redkite.MilvusException, match="input/output error"):
                ask()
    (hits,) = door.client.search(NAME, [[0.0, 0.0]], limit=100)
    assert sorted(hits.ids) == stored(door) == list(range(5))
