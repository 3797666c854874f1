"""Resource groups, replicas and load states, through every client."""

from __future__ import annotations

import json
import os
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymilvus
import pytest
from pymilvus.client.types import ResourceGroupConfig as TheirConfig
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.servers import ProcessServer

import redkite
from redkite.errors import MilvusException

pytestmark = pytest.mark.skipif(
    "query=1" not in os.environ.get("CLUSTER", "query=1"), reason="what is told here is of one query node"
)
DEFAULT = "__default_resource_group"
DIM = 4
ERRORS = (MilvusException, pymilvus.MilvusException)


def config(sdk: Sdk, requests: int, limits: int | None = None, **more: Any) -> Any:
    kind = redkite.ResourceGroupConfig if sdk.ours else TheirConfig
    return kind(
        requests={"node_num": requests}, limits={"node_num": requests if limits is None else limits}, **more
    )  # fmt: skip


@pytest.fixture
def group(client: Any, sdk: Sdk) -> Iterator[str]:
    """A name that no resource group has yet; the one node is in the default group again afterwards."""
    chosen = f"rg_{uuid.uuid4().hex}"
    yield chosen
    if chosen in client.list_resource_groups():
        client.update_resource_groups({chosen: config(sdk, 0)})
        client.drop_resource_group(chosen)
    assert len(client.describe_resource_group(DEFAULT).nodes) == 1


@pytest.fixture
def loaded(client: Any, name: str) -> str:
    """A loaded collection with a sealed segment and some growing rows."""
    client.create_collection(name, dimension=DIM)
    rows = [{"id": i, "vector": [float(i), 1.0, 0.0, 0.0]} for i in range(20)]
    client.insert(name, rows[:10])
    client.flush(name)
    client.insert(name, rows[10:])
    return name


def count(client: Any, name: str) -> int:
    found = client.query(name, filter="id >= 0", output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def the_node(client: Any) -> int:
    """The number of the one query node, whichever group it is in."""
    groups = [client.describe_resource_group(name) for name in client.list_resource_groups()]
    (node,) = [node.node_id for group in groups for node in group.nodes]
    return int(node)


def code_of(call: Any) -> tuple[int, str]:
    with pytest.raises(ERRORS) as caught:
        call()
    return caught.value.code, caught.value.message


def test_the_default_group_is_always_there_and_holds_the_node(client: Any) -> None:
    assert DEFAULT in client.list_resource_groups()
    found = client.describe_resource_group(DEFAULT)
    assert (found.name, found.capacity, found.num_available_node) == (DEFAULT, 1_000_000, 1)
    assert [node.node_id for node in found.nodes] == [the_node(client)]
    assert found.nodes[0].hostname
    assert (found.config.requests.node_num, found.config.limits.node_num) == (0, 1_000_000)
    code, text = code_of(lambda: client.drop_resource_group(DEFAULT))
    assert code == 1100
    assert "default resource group is not deletable" in text


def test_a_group_is_made_described_changed_and_dropped(client: Any, sdk: Sdk, group: str) -> None:
    client.create_resource_group(group, config=config(sdk, 0, 2, transfer_from=[{"resource_group": DEFAULT}]))
    client.create_resource_group(group, config=config(sdk, 0, 2, transfer_from=[{"resource_group": DEFAULT}]))
    assert group in client.list_resource_groups()
    found = client.describe_resource_group(group)
    assert (found.capacity, found.num_available_node, list(found.nodes)) == (0, 0, [])
    assert found.config.limits.node_num == 2
    assert [t.resource_group for t in found.config.transfer_from] == [DEFAULT]
    assert code_of(lambda: client.create_resource_group(group))[0] == 301
    assert code_of(lambda: client.create_resource_group("1st"))[0] == 1100
    _, text = code_of(lambda: client.drop_resource_group(group))
    assert "limits node num is not 0" in text
    client.update_resource_groups({group: config(sdk, 0)})
    client.drop_resource_group(group)
    client.drop_resource_group(group)
    assert code_of(lambda: client.describe_resource_group(group)) == (300, f"resource group not found[rg={group}]")


def test_a_replica_says_where_a_collection_lives(client: Any, loaded: str) -> None:
    (replica,) = client.describe_replica(loaded)
    node = the_node(client)
    assert tuple(replica.group_nodes) == (node,)
    assert replica.resource_group == DEFAULT
    assert dict(replica.num_outbound_node) == {}
    (shard,) = replica.shards
    assert set(shard.shard_nodes) == {node}
    if "CLUSTER" in os.environ:  # there the leader is the node that owns the channel
        assert shard.shard_leader not in {0, node}
    else:
        assert shard.shard_leader == node
    assert client.describe_resource_group(DEFAULT).num_loaded_replica[loaded] == 1
    client.release_collection(loaded)
    assert list(client.describe_replica(loaded)) == []


def test_reads_go_on_when_the_node_changes_its_group(client: Any, sdk: Sdk, loaded: str, group: str) -> None:
    client.create_resource_group(group, config=config(sdk, 1))
    assert [node.node_id for node in client.describe_resource_group(group).nodes] == [the_node(client)]
    (replica,) = client.describe_replica(loaded)
    assert replica.resource_group == DEFAULT
    assert dict(replica.num_outbound_node) == {group: 1}
    assert client.describe_resource_group(DEFAULT).num_outgoing_node[loaded] == 1
    assert client.describe_resource_group(group).num_incoming_node[loaded] == 1
    assert count(client, loaded) == 20

    client.transfer_replica(DEFAULT, group, loaded, 1)
    (replica,) = client.describe_replica(loaded)
    assert (replica.resource_group, dict(replica.num_outbound_node)) == (group, {})
    assert client.describe_resource_group(group).num_loaded_replica[loaded] == 1
    assert count(client, loaded) == 20
    assert len(client.search(loaded, [[1.0, 0.0, 0.0, 0.0]], limit=20)[0]) == 20
    client.update_resource_groups({group: config(sdk, 0)})
    code, text = code_of(lambda: client.drop_resource_group(group))
    assert code == 1100
    assert "some replicas still loaded" in text
    client.release_collection(loaded)


def test_a_collection_is_loaded_into_the_group_that_is_named(client: Any, sdk: Sdk, loaded: str, group: str) -> None:
    client.release_collection(loaded)
    client.create_resource_group(group, config=config(sdk, 1))
    code, text = code_of(lambda: client.load_collection(loaded))
    assert code == 304
    assert text == f"resource group node not enough[rg={DEFAULT}][currentNodeNum=0][expectedNodeNum=1]"
    client.load_collection(loaded, resource_groups=[group])
    assert [r.resource_group for r in client.describe_replica(loaded)] == [group]
    client.load_collection(loaded)
    client.load_collection(loaded, replica_number=1)
    assert [r.resource_group for r in client.describe_replica(loaded)] == [group], "nobody said otherwise"
    assert count(client, loaded) == 20
    client.release_collection(loaded)


def test_only_what_is_loaded_is_refreshed(client: Any, loaded: str) -> None:
    client.refresh_load(loaded)
    client.release_collection(loaded)
    assert code_of(lambda: client.refresh_load(loaded)) == (101, f"collection not loaded[collection={loaded}]")
    assert client.get_load_state(loaded)["state"].name == "NotLoad"


def test_what_one_node_cannot_give_is_refused(client: Any, loaded: str) -> None:
    refused = f"resource group node not enough[rg={DEFAULT}][currentNodeNum=1][expectedNodeNum=2]"
    assert code_of(lambda: client.load_collection(loaded, replica_number=2)) == (304, refused)
    assert code_of(lambda: client.load_collection(loaded, resource_groups=["nobody"]))[0] == 300
    code, text = code_of(lambda: client.load_collection(loaded, resource_groups=[DEFAULT, DEFAULT], replica_number=3))
    assert (code, "can only be 0, 1 or same as replica number" in text) == (1100, True)
    assert code_of(lambda: client.load_collection(loaded, load_fields=["vector"])) == (
        1100, "load field list [vector] does not contain primary key field id: invalid parameter",
    )  # fmt: skip
    assert code_of(lambda: client.load_collection(loaded, load_fields=["id"])) == (
        1100, "load field list [id] does not contain vector field: invalid parameter",
    )  # fmt: skip
    client.load_collection(loaded, replica_number=1, load_fields=["id", "vector"], priority="HIGH")
    assert count(client, loaded) == 20


def test_only_the_fields_that_are_loaded_are_read(client: Any, sdk: Sdk, name: str) -> None:
    kinds = sdk.module.DataType
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("number", kinds.INT64)
    schema.add_field("word", kinds.VARCHAR, max_length=20)
    schema.add_field("v", kinds.FLOAT_VECTOR, dim=2)
    schema.add_field("w", kinds.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    for field in ("v", "w"):
        index.add_index(field, index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema)
    client.create_index(name, index)
    rows = [{"id": i, "number": i, "word": "w", "v": [float(i), 0.0], "w": [0.0, 1.0], "key": i} for i in range(8)]
    client.insert(name, rows[:4])
    client.flush(name)
    client.insert(name, rows[4:])

    client.load_collection(name, load_fields=["id", "number", "v"], skip_load_dynamic_field=True)
    client.refresh_load(name)
    strong: dict[str, Any] = {"consistency_level": "Strong"}
    found = client.query(name, filter="number >= 3", output_fields=["*"], **strong)
    assert sorted(row["id"] for row in found) == [3, 4, 5, 6, 7]
    assert set(found[0]) == {"id", "number", "v"}
    (hits,) = client.search(name, [[0.0, 0.0]], anns_field="v", limit=3, output_fields=["*"], **strong)
    assert [hit["id"] for hit in hits] == [0, 1, 2]
    assert "word" not in hits[0]["entity"]
    for call, field in (
        (lambda: client.query(name, filter='word == "w"', **strong), "word"),
        (lambda: client.query(name, filter="id >= 0", output_fields=["word"], **strong), "word"),
        (lambda: client.search(name, [[0.0, 0.0]], anns_field="w", limit=3), "w"),
        (lambda: client.search(name, [[0.0, 0.0]], limit=3, anns_field="v", group_by_field="word"), "word"),
    ):
        assert code_of(call) == (1100, f"field {field} is not loaded: invalid parameter")
    code, text = code_of(lambda: client.query(name, filter="key > 3", **strong))
    assert (code, text) == (1100, "field key is dynamic but dynamic field is not loaded: invalid parameter")

    client.upsert(name, [{**rows[0], "number": 100}])
    client.load_collection(name)
    (row,) = client.query(name, filter='id == 0 and word == "w" and key == 0', output_fields=["*"], **strong)
    assert (row["number"], row["key"]) == (100, 0)


def test_properties_say_where_a_collection_is_loaded(client: Any, sdk: Sdk, loaded: str, group: str) -> None:
    client.release_collection(loaded)
    client.alter_collection_properties(loaded, {"collection.replica.number": "2"})
    assert code_of(lambda: client.load_collection(loaded))[0] == 304
    client.load_collection(loaded, replica_number=1)
    client.release_collection(loaded)
    client.alter_collection_properties(
        loaded, {"collection.replica.number": "1", "collection.resource_groups": group}
    )  # fmt: skip
    assert code_of(lambda: client.load_collection(loaded))[0] == 300
    client.create_resource_group(group, config=config(sdk, 1))
    client.load_collection(loaded)
    assert [r.resource_group for r in client.describe_replica(loaded)] == [group]
    client.release_collection(loaded)
    client.drop_collection_properties(loaded, ["collection.replica.number", "collection.resource_groups"])
    bad = {"collection.replica.number": "some"}
    assert code_of(lambda: client.alter_collection_properties(loaded, bad))[0] == 1100


def test_a_database_says_it_for_its_collections(client: Any, sdk: Sdk) -> None:
    database = f"d_{uuid.uuid4().hex}"
    client.create_database(database, properties={"database.replica.number": "2"})
    other = sdk.connect(db_name=database)
    try:
        assert client.describe_database(database)["database.replica.number"] == "2"
        schema = other.create_schema()
        schema.add_field("id", sdk.module.DataType.INT64, is_primary=True)
        schema.add_field("vector", sdk.module.DataType.FLOAT_VECTOR, dim=DIM)
        index = other.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        other.create_collection("things", schema=schema)
        other.create_index("things", index)
        assert code_of(lambda: other.load_collection("things"))[0] == 304
        other.alter_collection_properties("things", {"collection.replica.number": "1"})
        other.load_collection("things")
        assert len(other.describe_replica("things")) == 1
    finally:
        other.drop_collection("things")
        other.close()
        client.drop_database(database)


def test_nodes_and_segments_are_moved_only_where_they_can_be(client: Any, sdk: Sdk, loaded: str, group: str) -> None:
    if not sdk.ours:
        pytest.skip("pymilvus has these calls in its older classes only")
    client.create_resource_group(group)
    assert code_of(lambda: client.transfer_node(group, DEFAULT, 1))[0] == 304
    client.transfer_node(DEFAULT, group, 1)
    assert client.describe_resource_group(group).config.requests.node_num == 1
    client.transfer_node(group, DEFAULT, 1)
    assert client.describe_resource_group(group).num_available_node == 0
    node = the_node(client)
    client.load_balance(loaded, node)
    assert "source node not found" in code_of(lambda: client.load_balance(loaded, 700))[1]
    assert "destination node not found" in code_of(lambda: client.load_balance(loaded, node, [700]))[1]
    assert code_of(lambda: client.load_balance(loaded, node, sealed_segment_ids=[5]))[0] == 600
    client.release_collection(loaded)
    assert code_of(lambda: client.load_balance(loaded, node))[0] == 101


def test_loaded_and_stored_segments_say_what_they_are(client: Any, sdk: Sdk, loaded: str) -> None:
    states = redkite.SegmentState if sdk.ours else pymilvus.SegmentState
    (stored,) = client.list_persistent_segments(loaded)
    assert (stored.num_rows, stored.collection_name, stored.state) == (10, loaded, states.Flushed)
    segments = client.list_loaded_segments(loaded)
    assert sorted(s.num_rows for s in segments) == [10, 10]
    held = next(s for s in segments if s.segment_id == stored.segment_id)
    assert (list(held.node_ids), held.collection_name) == ([the_node(client)], loaded)


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_a_config_may_be_a_dict_or_the_message_of_the_protocol(client: Any, group: str) -> None:
    client.create_resource_group(group, config={"requests": {"node_num": 0}, "limits": {"node_num": 1}})
    there = TheirConfig(requests={"node_num": 0}, limits={"node_num": 1})
    client.create_resource_group(group, config=there)
    client.update_resource_groups({group: there})
    for bad in ({"request": {}}, {"requests": 1}, 7, {"requests": {"node_num": "1"}}):
        with pytest.raises(redkite.ParamError):
            client.update_resource_groups({group: bad})
    code, text = code_of(lambda: client.update_resource_groups({group: {"requests": {"node_num": 1}}}))
    assert (code, "requests or limits is required" in text) == (303, True)
    with pytest.raises(redkite.ParamError):
        client.update_resource_groups({})


def test_groups_and_what_is_loaded_in_them_survive_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "groups.db")
    with redkite.MilvusClient(path) as client:
        client.create_resource_group("mine", config={"requests": {"node_num": 1}, "limits": {"node_num": 1}})
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("word", redkite.DataType.VARCHAR, max_length=8)
        client.create_collection("c", schema=schema)
        params = client.prepare_index_params("v", index_type="FLAT", metric_type="L2")
        client.create_index("c", params)
        client.insert("c", [{"id": 1, "v": np.zeros(DIM), "word": "w"}])
        client.load_collection("c", resource_groups=["mine"], load_fields=["id", "v"])
        (before,) = client.describe_replica("c")
    with redkite.MilvusClient(path) as client:
        assert client.list_resource_groups() == [DEFAULT, "mine"]
        assert client.describe_replica("c") == [before]
        assert before.resource_group == "mine"
        assert client.describe_resource_group("mine").num_loaded_replica == {"c": 1}
        assert client.get_load_state("c") == {"state": redkite.LoadState.Loaded}
        assert set(client.get("c", [1])[0]) == {"id", "v"}


# -- REST ---------------------------------------------------------------------------------------
def post(server: ProcessServer, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{server.uri}/v2/vectordb/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_rest_has_the_same_groups(server: ProcessServer) -> None:
    name = f"rg_{uuid.uuid4().hex}"
    wanted = {
        "requests": {"node_num": 0}, "limits": {"node_num": 2}, "transfer_from": [{"resource_group": DEFAULT}],
        "transfer_to": [], "node_filter": {"node_labels": [{"key": "place", "value": "near"}]},
    }  # fmt: skip
    assert post(server, "resource_groups/create", {"name": name, "config": wanted}) == {"code": 0, "data": {}}
    assert name in post(server, "resource_groups/list", {})["data"]
    found = post(server, "resource_groups/describe", {"name": name})["data"]
    assert (found["name"], found["config"], found["nodes"]) == (name, wanted, [])
    none = {"requests": {"node_num": 0}, "limits": {"node_num": 0}}
    assert post(server, "resource_groups/alter", {"resource_groups": {name: none}})["code"] == 0
    assert post(server, "resource_groups/drop", {"name": name})["code"] == 0
    assert post(server, "resource_groups/describe", {"name": name})["code"] == 300
    assert post(server, "resource_groups/describe", {})["code"] == 1802
    moved = {"sourceRgName": DEFAULT, "targetRgName": "nobody", "collectionName": "none", "replicaNum": 1}
    assert post(server, "resource_groups/transfer_replica", moved)["code"] == 100


def test_rest_moves_replicas_and_describes_segments(server: ProcessServer) -> None:
    name, group = f"c_{uuid.uuid4().hex}", f"rg_{uuid.uuid4().hex}"
    with redkite.MilvusClient(server.uri) as client:
        client.create_collection(name, dimension=DIM)
        client.insert(name, [{"id": 1, "vector": [1.0, 0.0, 0.0, 0.0]}])
        client.flush(name)
        one = {"requests": {"node_num": 1}, "limits": {"node_num": 1}}
        assert post(server, "resource_groups/create", {"name": group, "config": one})["code"] == 0
        moved = {"sourceRgName": DEFAULT, "targetRgName": group, "collectionName": name, "replicaNum": 1}
        assert post(server, "resource_groups/transfer_replica", moved) == {"code": 0, "data": {}}
        assert post(server, "resource_groups/describe", {"name": group})["data"]["num_loaded_replica"] == {name: 1}
        number = client.describe_collection(name)["collection_id"]
        (segment,) = post(server, "segments/describe", {"collectionID": number})["data"]["segmentInfos"]
        assert (segment["numRows"], segment["state"], segment["insertLogs"]) == (1, "Flushed", [])
        only = {"collectionID": number, "segmentIDs": [1]}
        assert post(server, "segments/describe", only)["data"]["segmentInfos"] == []
        client.drop_collection(name)
        client.update_resource_groups({group: {"requests": {"node_num": 0}, "limits": {"node_num": 0}}})
        client.drop_resource_group(group)


def test_groups_are_counted_for_who_scrapes(server: ProcessServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as answer:
        text = answer.read().decode()
    with redkite.MilvusClient(server.uri) as client:
        node = the_node(client)
    assert f'milvus_querycoord_resource_group_info{{rg="{DEFAULT}",node_id="{node}"}} 1' in text
    assert f'milvus_querycoord_resource_group_replica_total{{rg="{DEFAULT}"}}' in text
