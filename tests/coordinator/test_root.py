from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from redkite.coordinator.root import RootCoordinator
from redkite.errors import (
    AliasConflict,
    AliasExists,
    AliasNotFound,
    CollectionNotFound,
    Corruption,
    DatabaseNotFound,
    InvalidParameter,
    LimitReached,
    MilvusException,
    StorageError,
    Unimplemented,
)
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel, DataType
from redkite.storage.catalog import MemoryCatalog


class HandClock:
    def now_ms(self) -> int:
        return 1_800_000_000_000

    def now_us(self) -> int:
        return self.now_ms() * 1000

    def monotonic(self) -> float:
        return 0.0


@dataclass
class ClockOnly:
    """As much of an Env as the coordinator uses."""

    clock: HandClock


class FaultyCatalog(MemoryCatalog):
    """`fail` = "before" or "after": the next commit raises without or with its effect."""

    fail = ""

    def commit(self, *args: Any, **kwargs: Any) -> None:
        fail, self.fail = self.fail, ""
        if fail == "before":
            raise StorageError("disk gone")
        super().commit(*args, **kwargs)
        if fail == "after":
            raise StorageError("disk gone")


def make_root(catalog: MemoryCatalog, limits: Limits = LIMITS) -> RootCoordinator:
    return RootCoordinator(catalog, ClockOnly(HandClock()), limits)


@pytest.fixture
def catalog() -> FaultyCatalog:
    return FaultyCatalog()


@pytest.fixture
def root(catalog: FaultyCatalog) -> RootCoordinator:
    return make_root(catalog)


def make_schema(name: str = "docs", *, partition_key: bool = False, **more: Any) -> CollectionSchema:
    fields = [
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "8"}),
    ]
    if partition_key:
        fields.append(FieldSchema(name="tenant", data_type=DataType.INT64, is_partition_key=True))
    return CollectionSchema(name=name, fields=tuple(fields), **more)


def reopened(catalog: MemoryCatalog) -> RootCoordinator:
    return make_root(catalog)


# -- collections ----------------------------------------------------------------------------------
def test_a_new_collection_has_ids_channels_and_the_default_partition(root: RootCoordinator) -> None:
    meta = root.create_collection("", make_schema(enable_dynamic_field=True), shards=2)
    assert [(f.name, f.field_id) for f in meta.schema.fields] == [("id", 100), ("vector", 101), ("$meta", 102)]
    assert meta.schema.fields[-1].is_dynamic
    assert meta.channels == tuple(f"by-dev-rootcoord-dml_{i}_{meta.collection_id}v{i}" for i in range(2))
    assert meta.physical_channels == ("by-dev-rootcoord-dml_0", "by-dev-rootcoord-dml_1")
    assert [p.name for p in meta.partitions] == ["_default"]
    assert meta.partition_by_id(meta.partitions[0].partition_id) is meta.partition("_default")
    assert meta.database == "default"
    assert meta.created_timestamp == meta.update_timestamp > meta.collection_id


def test_everything_is_there_after_a_restart(root: RootCoordinator, catalog: MemoryCatalog) -> None:
    root.create_database("books")
    root.create_collection("books", make_schema("a", partition_key=True), partitions=3)
    root.create_collection("", make_schema("b"))
    root.create_partition("", "b", "p")
    root.create_alias("", "b", "latest")
    again = reopened(catalog)
    assert again.list_databases() == root.list_databases()
    assert again.all_collections() == root.all_collections()
    assert again.find("", "latest").name == "b"
    assert again.has_partition("", "latest", "p")


def test_ids_stay_unique_after_a_restart(root: RootCoordinator, catalog: MemoryCatalog) -> None:
    first = root.create_collection("", make_schema("a"))
    assert reopened(catalog).create_collection("", make_schema("b")).collection_id > first.created_timestamp


def test_an_identical_creation_returns_the_existing_collection(root: RootCoordinator) -> None:
    schema = make_schema(enable_dynamic_field=True, description="texts")
    meta = root.create_collection("", schema, shards=1)
    assert root.create_collection("default", schema) is meta


@pytest.mark.parametrize(
    "change",
    [
        {"schema": make_schema(description="other")},
        {"schema": make_schema(enable_dynamic_field=True)},
        {"schema": make_schema(), "shards": 2},
        {"schema": make_schema(), "consistency": ConsistencyLevel.Strong},
        {"schema": make_schema(), "properties": {"mmap.enabled": "true"}},
    ],
)
def test_a_different_creation_of_the_same_name_is_refused(root: RootCoordinator, change: dict[str, Any]) -> None:
    root.create_collection("", make_schema())
    with pytest.raises(InvalidParameter) as caught:
        root.create_collection("", **change)
    assert caught.value.message == (
        "create duplicate collection with different parameters, collection: docs: invalid parameter"
    )


def test_a_partition_key_makes_numbered_partitions(root: RootCoordinator) -> None:
    meta = root.create_collection("", make_schema(partition_key=True))
    assert [p.name for p in meta.partitions] == [f"_default_{i}" for i in range(16)]
    with pytest.raises(InvalidParameter, match="different parameters"):
        root.create_collection("", make_schema(partition_key=True), partitions=4)


def test_a_schema_wide_auto_id_makes_the_key_automatic(root: RootCoordinator) -> None:
    assert root.create_collection("", make_schema(auto_id=True)).schema.primary.auto_id


def test_properties_are_kept_with_the_schema(root: RootCoordinator) -> None:
    meta = root.create_collection("", make_schema(), properties={"allow_insert_auto_id": "true"})
    assert meta.properties == meta.schema.properties == {"allow_insert_auto_id": "true"}


def test_a_missing_collection_or_database_is_named(root: RootCoordinator) -> None:
    with pytest.raises(CollectionNotFound) as collection:
        root.find("", "nothing")
    assert collection.value.message == "collection not found[database=default][collection=nothing]"
    with pytest.raises(DatabaseNotFound) as database:
        root.find("nowhere", "nothing")
    assert (database.value.code, database.value.message) == (800, "database not found[database=nowhere]")
    with pytest.raises(CollectionNotFound):
        root.find_by_id(5)
    with pytest.raises(DatabaseNotFound):
        root.exists("nowhere", "docs")


def test_a_dropped_collection_is_gone_and_dropping_again_is_success(
    root: RootCoordinator, catalog: MemoryCatalog
) -> None:
    meta = root.create_collection("", make_schema())
    assert root.drop_collection("", "docs") is meta
    assert root.drop_collection("", "docs") is None
    assert not root.exists("", "docs")
    assert reopened(catalog).all_collections() == ()


def test_a_collection_with_aliases_cannot_be_dropped(root: RootCoordinator) -> None:
    root.create_collection("", make_schema())
    root.create_alias("", "docs", "b")
    root.create_alias("", "docs", "a")
    with pytest.raises(InvalidParameter, match=r"because it has associated aliases \[a b\], please remove all"):
        root.drop_collection("", "docs")
    with pytest.raises(InvalidParameter, match="cannot drop the collection via alias = a"):
        root.drop_collection("", "a")


def test_a_snapshot_taken_before_a_change_stays_as_it_was(root: RootCoordinator) -> None:
    before = root.create_collection("", make_schema())
    root.create_partition("", "docs", "p")
    assert [p.name for p in before.partitions] == ["_default"]
    assert [p.name for p in root.find("", "docs").partitions] == ["_default", "p"]


def test_the_number_of_collections_and_the_general_capacity_are_limited() -> None:
    root = make_root(MemoryCatalog(), msgspec.structs.replace(LIMITS, max_collections=1))
    root.create_collection("", make_schema("a"))
    with pytest.raises(LimitReached) as count:
        root.create_collection("", make_schema("b"))
    assert (count.value.code, count.value.message) == (
        102, "exceeded the limit number of collections[dbName=default][limit=1]",
    )  # fmt: skip
    root = make_root(MemoryCatalog(), msgspec.structs.replace(LIMITS, max_general_capacity=4))
    root.create_collection("", make_schema("a"), shards=2)
    root.create_partition("", "a", "p")
    with pytest.raises(LimitReached) as capacity:
        root.create_collection("", make_schema("b"))
    assert (capacity.value.code, capacity.value.message) == (
        250, "general capacity exceeded[newGeneralSize=5][generalCapacity=4]",
    )  # fmt: skip
    with pytest.raises(LimitReached):
        root.create_partition("", "a", "q")


# -- rename ---------------------------------------------------------------------------------------
def test_a_renamed_collection_keeps_its_id_and_its_aliases(root: RootCoordinator, catalog: MemoryCatalog) -> None:
    meta = root.create_collection("", make_schema())
    root.create_alias("", "docs", "latest")
    root.rename_collection("", "docs", "texts")
    for one in (root, reopened(catalog)):
        assert not one.exists("", "docs")
        assert one.find("", "texts").collection_id == meta.collection_id
        assert one.find("", "latest").name == "texts"


def test_a_collection_can_move_to_another_database(root: RootCoordinator) -> None:
    root.create_collection("", make_schema())
    root.create_database("books")
    root.rename_collection("", "docs", "docs", "books")
    assert root.find("books", "docs").database == "books"
    assert not root.exists("", "docs")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("docs", "docs"), InvalidParameter, "collection name or database name should be different"),
        (("docs", "other"), InvalidParameter, "duplicated new collection name default:other with other collection"),
        (("docs", "latest"), InvalidParameter, "duplicated new collection name default:latest"),
        (("latest", "new"), InvalidParameter, "unsupported use an alias to rename collection, alias:latest"),
        (("docs", "docs", "books"), InvalidParameter, "must drop all aliases of this collection before rename"),
        (("docs", "new", "nowhere"), DatabaseNotFound, "nowhere"),
        (("nothing", "new"), CollectionNotFound, "nothing"),
        (("docs", "1x"), InvalidParameter, "first character of a collection name"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(
    root: RootCoordinator, arguments: tuple[str, ...], error: type[MilvusException], text: str
) -> None:
    root.create_database("books")
    root.create_collection("", make_schema())
    root.create_collection("", make_schema("other"))
    root.create_alias("", "docs", "latest")
    with pytest.raises(error) as caught:
        root.rename_collection("", *arguments)
    assert text in caught.value.message


# -- databases ------------------------------------------------------------------------------------
def test_the_default_database_is_always_there(root: RootCoordinator) -> None:
    assert [d.name for d in root.list_databases()] == ["default"]
    assert root.describe_database("").name == "default"
    with pytest.raises(InvalidParameter, match="can not drop default database"):
        root.drop_database("default")


def test_a_name_means_another_collection_in_another_database(root: RootCoordinator) -> None:
    root.create_database("books")
    here, there = root.create_collection("", make_schema()), root.create_collection("books", make_schema())
    assert root.find("", "docs") is here
    assert root.find("books", "docs") is there
    assert root.list_collections("books") == (there,)


def test_a_database_is_dropped_once_it_is_empty(root: RootCoordinator, catalog: MemoryCatalog) -> None:
    root.create_database("books")
    root.create_collection("books", make_schema())
    with pytest.raises(InvalidParameter, match="database:books not empty, must drop all collections before drop"):
        root.drop_database("books")
    root.drop_collection("books", "docs")
    root.drop_database("books")
    assert root.drop_database("books") is None
    assert [d.name for d in reopened(catalog).list_databases()] == ["default"]


def test_a_database_cannot_be_created_twice_nor_beyond_the_limit() -> None:
    root = make_root(MemoryCatalog(), msgspec.structs.replace(LIMITS, max_databases=2))
    root.create_database("books")
    with pytest.raises(InvalidParameter, match="database already exist: books"):
        root.create_database("books")
    with pytest.raises(LimitReached) as caught:
        root.create_database("films")
    assert (caught.value.code, caught.value.message) == (801, "exceeded the limit number of database[limit=2]")
    with pytest.raises(Unimplemented, match=r"cipher\.enabled"):
        root.create_database("films", {"cipher.enabled": "true"})
    with pytest.raises(InvalidParameter, match=r"database\.replica\.number must be a positive integer"):
        root.create_database("films", {"database.replica.number": "0"})


def test_the_time_zone_of_a_collection_is_its_own_else_that_of_its_database_else_utc() -> None:
    root = make_root(MemoryCatalog())
    root.create_database("books", {"timezone": "Asia/Shanghai"})
    zones = [
        str(root.zone_of(root.create_collection(database, make_schema(), properties=properties)))
        for database, properties in (("", {}), ("books", {}))
    ]
    own = root.create_collection("books", make_schema("other"), properties={"timezone": "Europe/Berlin"})
    assert [*zones, str(root.zone_of(own))] == ["UTC", "Asia/Shanghai", "Europe/Berlin"]
    with pytest.raises(InvalidParameter, match="unknown or invalid IANA Time Zone ID: Mars/Base"):
        root.create_database("films", {"timezone": "Mars/Base"})


def test_a_default_time_without_an_offset_means_the_time_zone_of_its_creation() -> None:
    root = make_root(MemoryCatalog())
    schema = make_schema()
    field = FieldSchema(name="born", data_type=DataType.TIMESTAMPTZ, default_value="2025-01-01 08:00:00")
    schema = msgspec.structs.replace(schema, fields=(*schema.fields, field))
    first = root.create_collection("", schema, properties={"timezone": "Asia/Shanghai"})
    kept = first.schema.field("born")
    assert kept is not None
    assert kept.default_value == "2025-01-01T00:00:00Z"
    assert root.create_collection("", schema, properties={"timezone": "Asia/Shanghai"}) is first


# -- partitions -----------------------------------------------------------------------------------
def test_partitions_are_created_and_dropped_by_name(root: RootCoordinator) -> None:
    root.create_collection("", make_schema())
    partition = root.create_partition("", "docs", " new ")
    assert partition.name == "new"
    assert root.create_partition("", "docs", "new") is partition
    assert root.has_partition("", "docs", "new")
    assert root.drop_partition("", "docs", "new") is partition
    assert root.drop_partition("", "docs", "new") is None
    assert not root.has_partition("", "docs", "new")
    with pytest.raises(InvalidParameter, match="default partition cannot be deleted"):
        root.drop_partition("", "docs", "_default")


def test_partitions_of_a_partition_key_are_not_the_users(root: RootCoordinator) -> None:
    root.create_collection("", make_schema(partition_key=True))
    with pytest.raises(InvalidParameter, match="disable create partition if partition key mode is used"):
        root.create_partition("", "docs", "p")
    with pytest.raises(InvalidParameter, match="disable drop partition if partition key mode is used"):
        root.drop_partition("", "docs", "_default_0")


def test_the_number_of_partitions_is_limited() -> None:
    root = make_root(MemoryCatalog(), msgspec.structs.replace(LIMITS, max_partitions=1))
    root.create_collection("", make_schema())
    with pytest.raises(InvalidParameter) as caught:
        root.create_partition("", "docs", "p")
    assert caught.value.message.startswith("partition number (1) exceeds max configuration (1), collection: docs")


# -- aliases --------------------------------------------------------------------------------------
def test_an_alias_finds_its_collection_and_can_be_pointed_elsewhere(
    root: RootCoordinator, catalog: MemoryCatalog
) -> None:
    root.create_collection("", make_schema("a"))
    root.create_collection("", make_schema("b"))
    root.create_alias("", "a", "latest")
    root.create_alias("", "a", "latest")
    assert root.describe_alias("", "latest").collection == "a"
    root.alter_alias("", "b", "latest")
    for one in (root, reopened(catalog)):
        assert one.find("", "latest").name == "b"
        assert one.list_aliases("", "a") == ()
        assert one.list_aliases("", "b") == one.list_aliases("") == ("latest",)
    root.alter_alias("", "b", "latest")
    root.drop_alias("", "latest")
    root.drop_alias("", "latest")
    with pytest.raises(AliasNotFound) as caught:
        root.describe_alias("", "latest")
    assert (caught.value.code, caught.value.message) == (1600, "alias not found[database=default][alias=latest]")


def test_names_and_aliases_never_collide(root: RootCoordinator) -> None:
    root.create_collection("", make_schema("a"))
    root.create_collection("", make_schema("b"))
    root.create_alias("", "a", "latest")
    with pytest.raises(AliasExists) as taken:
        root.create_alias("", "b", "latest")
    assert taken.value.message == (
        "latest is already alias to another collection: a: alias already exist[database=default][alias=latest]"
    )
    for call in (root.create_alias, root.alter_alias):
        with pytest.raises(AliasConflict) as conflict:
            call("", "a", "b")
        assert conflict.value.message == "alias and collection name conflict[database=default][alias=b]"
    with pytest.raises(AliasConflict, match=r"please choose a unique name: alias and collection name conflict"):
        root.create_collection("", make_schema("latest"))
    with pytest.raises(AliasNotFound):
        root.alter_alias("", "a", "new")
    with pytest.raises(CollectionNotFound):
        root.create_alias("", "latest", "alias_of_alias")
    with pytest.raises(AliasNotFound):
        root.describe_alias("", "a")
    root.drop_alias("", "a")
    assert root.exists("", "a")


# -- the catalog ----------------------------------------------------------------------------------
def test_a_commit_that_failed_without_effect_leaves_nothing_behind(
    root: RootCoordinator, catalog: FaultyCatalog
) -> None:
    catalog.fail = "before"
    with pytest.raises(StorageError):
        root.create_collection("", make_schema())
    assert not root.exists("", "docs")


def test_a_commit_that_failed_after_its_effect_is_seen_at_once(root: RootCoordinator, catalog: FaultyCatalog) -> None:
    catalog.fail = "after"
    with pytest.raises(StorageError):
        root.create_collection("", make_schema())
    assert root.create_collection("", make_schema()) == reopened(catalog).find("", "docs")


def test_a_damaged_entry_is_reported(root: RootCoordinator, catalog: MemoryCatalog) -> None:
    meta = root.create_collection("", make_schema())
    catalog.commit({f"root/collection/{meta.collection_id}": b"\xc1"})
    with pytest.raises(Corruption):
        reopened(catalog)


def test_entries_of_a_newer_writer_are_read(root: RootCoordinator, catalog: MemoryCatalog) -> None:
    meta = root.create_collection("", make_schema())
    key = f"root/collection/{meta.collection_id}"
    entry = msgspec.msgpack.decode(catalog.get(key)) | {"something_new": 1}
    catalog.commit({key: msgspec.msgpack.encode(entry)})
    assert reopened(catalog).find("", "docs") == meta
