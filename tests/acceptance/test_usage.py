"""What a database says of its memory and its disk, through every way of ours; by pymilvus it is a kind of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.acceptance.test_compaction import finish

DIM = 64
ROWS = 400


def create(client: Any, name: str) -> None:
    settled = {"collection.retention.seconds": "0", "collection.autocompaction.enabled": "false"}
    client.create_collection(name, dimension=DIM, metric_type="L2", properties=settled)


def insert(client: Any, name: str) -> None:
    vectors = np.random.default_rng(3).normal(size=(ROWS, DIM)).astype(np.float32)
    client.insert(name, [{"id": i, "vector": vectors[i]} for i in range(ROWS)])


def of(report: Any, name: str) -> Any:
    (found,) = [entry for entry in report.collections if entry.collection == name]
    return found


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_rows_move_from_private_memory_to_mapped_files_when_they_are_sealed(sdk: Sdk, client: Any, name: str) -> None:
    create(client, name)
    insert(client, name)
    raw = ROWS * DIM * 4
    growing = of(client.memory_report(), name)
    assert (growing.growing_rows, growing.mapped_rows, growing.mapped_bytes) == (ROWS, 0, 0)
    assert growing.growing_bytes >= raw
    client.flush(name)
    client.refresh_load(name)
    report = client.memory_report()
    sealed = of(report, name)
    assert (sealed.growing_rows, sealed.growing_bytes, sealed.mapped_rows) == (0, 0, ROWS)
    assert raw <= sealed.mapped_bytes < 3 * raw
    assert report.used == sum(report.holders.values())
    client.release_collection(name)
    assert name not in [entry.collection for entry in client.memory_report().collections]


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_what_can_be_reclaimed_is_told_and_gone_after_a_compaction(sdk: Sdk, client: Any, name: str) -> None:
    create(client, name)
    insert(client, name)
    client.flush(name)
    whole = of(client.storage_report(), name)
    assert (whole.segments, whole.rows, whole.deleted_rows, whole.reclaimable_bytes) == (1, ROWS, 0, 0)
    client.delete(name, filter="id % 4 != 0")
    client.flush(name)
    worn = of(client.storage_report(), name)
    assert worn.deleted_rows == ROWS * 3 // 4
    assert worn.reclaimable_bytes == pytest.approx(worn.column_bytes * 0.75, abs=1)
    assert worn.delete_bytes > 0
    finish(client, client.compact(name))
    after = of(client.storage_report(), name)
    assert (after.rows, after.deleted_rows, after.reclaimable_bytes) == (ROWS // 4, 0, 0)
    assert after.column_bytes < worn.column_bytes / 2
