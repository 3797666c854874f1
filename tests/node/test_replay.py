"""Rows that a crash left in the log alone: read where the log has them, and no different from others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.model import requests as rq
from redkite.model.tuning import Tuning
from redkite.segment import growing_vectors
from redkite.segment.growing_vectors import GrowingMatrix
from redkite.simulated import SimulatedDisk, simulated_env

VECTORS = np.random.default_rng(8).normal(size=(5_000, DIM)).astype(np.float32)


@pytest.fixture
def crashed(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """4,500 rows in batches of 1,500, one row of its own and some deletes, then the power goes."""
    monkeypatch.setattr(growing_vectors, "KEPT_BYTES", 1)
    disk = SimulatedDisk(3)
    engine = Engine("db", simulated_env(3, disk))
    engine.create(index="FLAT")
    for start in (0, 1_500, 3_000):
        ids = range(start, start + 1_500)
        engine.insert(ids, VECTORS[ids.start : ids.stop], ids)
    engine.insert([4_500], VECTORS[4_500:4_501], [4_500])
    engine.delete("id in [3, 1600, 4400]")
    disk.restart()
    engine.env = simulated_env(4, disk)
    engine.open()
    return engine


def kept(engine: Engine) -> list[int]:
    """Rows of each piece that was left where the log has it."""
    topology = engine.database.topology
    (shard,) = topology.shards(topology.root.find("", NAME))
    (growing,) = shard.view.growing
    matrix = growing._matrices["vector"]
    assert isinstance(matrix, GrowingMatrix)
    return [piece.rows for piece in matrix._kept]


def check(engine: Engine, ids: set[int]) -> None:
    assert set(engine.numbers()) == ids
    for row in sorted(ids)[::499]:
        hits = engine.search(VECTORS[row], 3, tuning=Tuning(exact=True))
        assert hits.ids.to_pylist()[0] == row
        true = np.argsort(((VECTORS[sorted(ids)] - VECTORS[row]) ** 2).sum(1), kind="stable")[:3]
        assert hits.ids.to_pylist() == [sorted(ids)[at] for at in true]
        assert engine.query(f"id == {row}", fields=("vector",))["vector"] == [VECTORS[row].tolist()]
    some = engine.search(VECTORS[10], 5, filter="number % 50 == 7")
    assert all(i % 50 == 7 for i in some.ids.to_pylist())


def test_rows_are_searched_where_the_log_has_them_and_sealed_as_ever(crashed: Engine) -> None:
    ids = set(range(4_501)) - {3, 1_600, 4_400}
    assert kept(crashed) == [1_500] * 3
    check(crashed, ids)
    crashed.insert(range(4_600, 4_900), VECTORS[4_600:4_900], range(4_600, 4_900))
    crashed.delete("id == 20")
    ids = (ids | set(range(4_600, 4_900))) - {20}
    check(crashed, ids)
    crashed.flush()
    check(crashed, ids)
    crashed.reopen()
    check(crashed, ids)


def test_a_field_that_comes_later_finds_rows_that_are_still_in_the_log(crashed: Engine) -> None:
    from redkite.model.schema import FieldSchema
    from redkite.model.types import DataType

    field = FieldSchema(name="more", data_type=DataType.INT64, nullable=True)
    crashed.call(rq.AddCollectionField(collection=NAME, field=field))
    assert crashed.query("id == 9", fields=("more", "vector")) == {
        "id": [9], "more": [None], "vector": [VECTORS[9].tolist()],
    }  # fmt: skip


@pytest.mark.parametrize("header", [(1, ()), (1 << 60, ((1 << 50, 3), (7, 1 << 20)))])
def test_the_body_of_a_record_begins_where_numbers_can_be_read_as_they_lie(header: Any) -> None:
    from redkite.node import records

    written = records.RecordHeader(records.DELETE, header[0], 5, header[1])
    head, _ = records.with_header(written, [b"body"])
    assert len(head) % 8 == 0
    keys = records.encode_keys(pa.array([1, 2]))
    read, batch = records.decode_record(b"".join(map(bytes, records.with_header(written, keys))))
    assert (read.kind, read.timestamp, read.collection_id, read.parts) == (records.DELETE, header[0], 5, header[1])
    assert batch.column(0).to_pylist() == [1, 2]
