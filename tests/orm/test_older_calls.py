"""What the older classes do beside reads and writes: the same calls through pymilvus's and through ours."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pymilvus
import pytest
from pymilvus.client.types import ResourceGroupConfig as TheirConfig
from tests.servers import ProcessServer

import redkite

DIM = 4
DEFAULT = "__default_resource_group"
INDEX = {"index_type": "FLAT", "metric_type": "L2", "params": {}}


class Way(NamedTuple):
    """A module with the classes, and the name of a connection."""

    module: ModuleType
    using: str

    @property
    def utility(self) -> Any:
        return self.module.utility

    def config(self, requests: int, limits: int) -> Any:
        kind = TheirConfig if self.module is pymilvus else redkite.ResourceGroupConfig
        return kind(requests={"node_num": requests}, limits={"node_num": limits})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("older") / "data") as process:
        yield process


@pytest.fixture(scope="module", params=["pymilvus", "wire", "embedded"])
def way(
    request: pytest.FixtureRequest, server: ProcessServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Way]:
    using = f"older-{request.param}"
    module = pymilvus if request.param == "pymilvus" else redkite
    uri = str(tmp_path_factory.mktemp("older-file") / "older.db") if request.param == "embedded" else server.uri
    module.connections.connect(using, uri=uri)
    yield Way(module, using)
    module.connections.disconnect(using)


@pytest.fixture
def name() -> str:
    return f"c_{uuid.uuid4().hex}"


@pytest.fixture
def collection(way: Way, name: str) -> Iterator[Any]:
    module = way.module
    fields = [
        module.FieldSchema("id", module.DataType.INT64, is_primary=True),
        module.FieldSchema("v", module.DataType.FLOAT_VECTOR, dim=DIM),
    ]
    made = module.Collection(name, module.CollectionSchema(fields), using=way.using)
    made.insert([[1, 2], [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]])
    made.create_index("v", INDEX)
    yield made
    for alias in way.utility.list_aliases(name, using=way.using):
        way.utility.drop_alias(alias, using=way.using)
    way.utility.drop_collection(name, using=way.using)


def test_a_collection_tells_its_properties_and_aliases(way: Way, collection: Any, name: str) -> None:
    collection.set_properties({"collection.ttl.seconds": 1000})
    assert collection.describe()["properties"]["collection.ttl.seconds"] == "1000"
    way.utility.create_alias(name, f"a_{name}", using=way.using)
    assert list(collection.aliases) == [f"a_{name}"]
    way.utility.alter_alias(name, f"a_{name}", using=way.using)


def test_partitions_and_rows_go_one_by_one_or_all_at_once(way: Way, collection: Any, name: str) -> None:
    collection.create_partition("spare")
    collection.drop_partition("spare")
    assert not collection.has_partition("spare")
    collection.truncate()
    way.utility.truncate_collection(name, using=way.using)
    collection.load()
    assert collection.query("id >= 0", output_fields=["id"], consistency_level="Strong") == []
    collection.release()


def test_an_index_is_described_and_altered(way: Way, collection: Any) -> None:
    index = collection.index()
    assert index.to_dict()["index_param"]["index_type"] == "FLAT"
    collection.alter_index("v", {"mmap.enabled": True})
    collection.flush()
    assert way.utility.index_building_progress(collection.name, using=way.using)["total_rows"] == 2


def test_replicas_and_loaded_segments_are_told(way: Way, collection: Any, name: str) -> None:
    collection.load()
    (group,) = collection.get_replicas().groups
    assert (tuple(group.group_nodes), group.resource_group) == ((1,), DEFAULT)
    (again,) = collection.partition("_default").get_replicas().groups
    assert again.id == group.id
    assert [s.num_rows for s in way.utility.get_query_segment_info(name, using=way.using)] == [2]
    way.utility.load_balance(name, 1, using=way.using)
    collection.compact()
    assert collection.get_compaction_plans() is not None
    collection.release()


def test_resource_groups_are_made_and_nodes_transferred(way: Way) -> None:
    group, using = f"g_{uuid.uuid4().hex}", way.using
    way.utility.create_resource_group(group, using=using, config=way.config(0, 1))
    assert {DEFAULT, group} <= set(way.utility.list_resource_groups(using=using))
    way.utility.transfer_node(DEFAULT, group, 1, using=using)
    assert way.utility.describe_resource_group(group, using=using).num_available_node == 1
    way.utility.transfer_node(group, DEFAULT, 1, using=using)
    with pytest.raises(Exception, match="only found"):
        way.utility.transfer_replica(DEFAULT, group, _empty(way), 1, using=using)
    way.utility.update_resource_groups({group: way.config(0, 0)}, using=using)
    way.utility.drop_resource_group(group, using=using)
    assert group not in way.utility.list_resource_groups(using=using)


def _empty(way: Way) -> str:
    """A collection that is not loaded."""
    module = way.module
    fields = [
        module.FieldSchema("id", module.DataType.INT64, is_primary=True),
        module.FieldSchema("v", module.DataType.FLOAT_VECTOR, dim=DIM),
    ]
    return str(module.Collection("empty", module.CollectionSchema(fields), using=way.using).name)


def test_a_role_is_given_privileges_and_groups_of_them(way: Way, name: str) -> None:
    role = way.module.Role(name, using=way.using)
    role.create()
    role.create_privilege_group(f"p_{name}")
    role.add_privileges_to_group(f"p_{name}", ["Search", "Query"])
    role.remove_privileges_from_group(f"p_{name}", ["Query"])
    groups = {g.privilege_group: g.privileges for g in role.list_privilege_groups().groups} if (
        way.module is pymilvus
    ) else {g["privilege_group"]: g["privileges"] for g in role.list_privilege_groups()}  # fmt: skip
    assert list(groups[f"p_{name}"]) == ["Search"]
    role.grant_v2("Search", "*", db_name="default")
    assert role.list_grants() is not None
    role.revoke_v2("Search", "*", db_name="default")
    role.grant("Collection", "birds", "Search")
    assert role.list_grant("Collection", "birds") is not None
    role.revoke("Collection", "birds", "Search")
    role.drop_privilege_group(f"p_{name}")
    role.drop()


def test_users_are_listed_and_their_passwords_changed(way: Way) -> None:
    user, using, utility = f"u{uuid.uuid4().hex[:8]}", way.using, way.utility
    utility.create_user(user, "secret1", using=using)
    utility.update_password(user, "secret1", "secret2", using=using)
    utility.reset_password(user, "secret2", "secret3", using=using)
    assert user in utility.list_usernames(using=using)
    assert utility.list_users(True, using=using) is not None
    assert utility.list_user(user, True, using=using) is not None
    assert utility.list_roles(True, using=using) is not None
    utility.delete_user(user, using=using)


def test_a_database_is_described_and_everything_flushed(way: Way) -> None:
    assert way.module.db.describe_database("default", using=way.using)["name"] == "default"
    way.utility.flush_all(using=way.using)
