"""What the kill loop and the sweeps once found, each as small as it can be shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.proof.doors import Simulated

import redkite
from redkite.client.transports import engines
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
