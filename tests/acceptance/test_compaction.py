"""Compaction through every SDK and REST: segments get fewer, deleted rows leave the disk, answers stay the same."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.acceptance.test_collections import flat_index
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

DIM = 4
BATCH = 50


def create(sdk: Sdk, client: Any, name: str, **properties: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("group", types.INT64, is_clustering_key=True)
    settled = {"collection.retention.seconds": "0", "collection.autocompaction.enabled": "false"} | {
        key.replace("_", "."): value for key, value in properties.items()
    }
    client.create_collection(name, schema=schema, index_params=flat_index(client), properties=settled)


def fill(client: Any, name: str, batches: int = 3) -> None:
    vectors = np.random.default_rng(5).normal(size=(batches * BATCH, DIM)).astype(np.float32)
    for batch in range(batches):
        ids = range(batch * BATCH, (batch + 1) * BATCH)
        client.insert(name, [{"id": i, "vector": vectors[i].tolist(), "group": i % 7} for i in ids])
        client.flush(name)


def finish(client: Any, job: int) -> None:
    deadline = time.monotonic() + 120
    while client.get_compaction_state(job) != "Completed":
        assert time.monotonic() < deadline, client.get_compaction_state(job)
        time.sleep(0.01)


def everything(client: Any, name: str) -> list[Any]:
    rows = client.query(name, filter="id >= 0", output_fields=["id", "group"], limit=10_000)
    hits = client.search(name, data=[[1.0, 0.0, 0.5, -1.0]], limit=20, output_fields=["group"])
    return [list(map(dict, rows)), [(hit["id"], hit["distance"]) for hit in hits[0]]]


def test_compaction_merges_segments_drops_deleted_rows_and_changes_no_answer(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    fill(client, name)
    client.delete(name, filter="id % 3 == 0")
    before = everything(client, name)
    segments = client.list_persistent_segments(name)
    assert [s.num_rows for s in segments] == [BATCH] * 3
    job = client.compact(name)
    assert job > 0
    finish(client, job)
    (merged,) = client.list_persistent_segments(name)
    assert merged.num_rows == 100
    assert everything(client, name) == before
    (plan,) = client.get_compaction_plans(job).plans
    assert set(plan.sources) == {s.segment_id for s in segments}
    assert list(plan.targets) == [merged.segment_id]
    assert [p.plan_id for p in client.list_compaction_tasks(name).plans] == [plan.plan_id]


def test_with_nothing_to_do_the_job_is_minus_one_and_counts_as_completed(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    fill(client, name, batches=1)
    assert client.compact(name) == -1
    assert client.get_compaction_state(-1) == "Completed"
    assert client.get_compaction_state(12345) == "UndefiedState"


def test_deleted_rows_stay_as_long_as_they_can_be_read(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name, collection_retention_seconds="3600")
    fill(client, name, batches=2)
    client.delete(name, filter="id < 60")
    finish(client, client.compact(name))
    (merged,) = client.list_persistent_segments(name)
    assert merged.num_rows == 100
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 40


def test_clustering_compaction_needs_a_clustering_key(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema, index_params=flat_index(client))
    with pytest.raises(sdk.module.MilvusException, match="collection not support clustering compaction") as raised:
        client.compact(name, is_clustering=True)
    assert raised.value.code == 2304


def test_clustering_compaction_makes_segments_of_level_two(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    fill(client, name)
    before = everything(client, name)
    finish(client, client.compact(name, is_clustering=True))
    assert {int(s.level) for s in client.list_persistent_segments(name)} == {3}
    assert everything(client, name) == before
    assert client.compact(name, is_clustering=True) == -1


def test_level_zero_compaction_only_touches_segments_with_deletes(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    fill(client, name)
    first = sorted(s.segment_id for s in client.list_persistent_segments(name))
    client.delete(name, filter="id < 30")
    finish(client, client.compact(name, is_l0=True))
    left = client.list_persistent_segments(name)
    assert sorted(s.num_rows for s in left) == [20, 50, 50]
    assert {s.segment_id for s in left} >= set(first[1:])


def test_optimize_leaves_one_segment(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    fill(client, name)
    before = everything(client, name)
    assert client.optimize(name, target_size="64MB").status == "success"
    assert len(client.list_persistent_segments(name)) == 1
    assert everything(client, name) == before
    assert client.optimize(name).compaction_id == -1


def test_loaded_segments_are_listed_with_their_node(sdk: Sdk, client: Any, name: str) -> None:
    create(sdk, client, name)
    fill(client, name, batches=2)
    client.insert(name, [{"id": 1000, "vector": [0.0] * DIM, "group": 1}])
    listed = client.list_loaded_segments(name)
    assert sorted(s.num_rows for s in listed) == [1, BATCH, BATCH]
    nodes = {tuple(s.node_ids) for s in listed if s.num_rows > 1}
    assert nodes == {(1,)} or "CLUSTER" in os.environ
    assert all(s.mem_size > 0 for s in listed)
    client.release_collection(name)
    with pytest.raises(sdk.module.MilvusException, match="not loaded"):
        client.list_loaded_segments(name)


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_a_target_size_below_a_megabyte_is_refused(sdk: Sdk, client: Any, name: str) -> None:
    with pytest.raises(sdk.module.ParamError, match="at least 1 MB"):
        client.compact(name, target_size=3, target_size_unit="kb")
    with pytest.raises(sdk.module.ParamError, match="must be one of"):
        client.compact(name, target_size=3, target_size_unit="lines")


@pytest.mark.parametrize("sdk", ["redkite"], indirect=True, scope="session")
def test_rest_compacts_and_tells_the_state(server: ProcessServer, sdk: Sdk, client: Any, name: str) -> None:
    rest = Rest(server.uri)
    create(sdk, client, name)
    fill(client, name)
    job = rest.ok("collections/compact", {"collectionName": name})["compactionID"]
    deadline = time.monotonic() + 120
    while (state := rest.ok("collections/get_compaction_state", {"jobID": job}))["state"] != "Completed":
        assert time.monotonic() < deadline, state
    assert state == {
        "compactionID": job, "state": "Completed", "executingPlanNumber": 0, "timeoutPlanNumber": 0,
        "completedPlanNumber": 1,
    }  # fmt: skip
    assert rest.error("collections/compact", {"collectionName": "nowhere"})[0] == 100
