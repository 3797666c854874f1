"""The older interface: the same calls through pymilvus's classes against the server, and through ours, in process and
against the server."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pymilvus
import pytest
from tests.servers import ProcessServer

import redkite
import redkite.orm
from redkite.errors import (
    ConnectionConfigException,
    ConnectionNotExistException,
    PartitionNotFound,
    SchemaNotReadyException,
)
from redkite.orm import connections, db, utility

DIM = 4
INDEX = {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8, "efConstruction": 64}}
SEARCH = {"metric_type": "L2", "params": {"ef": 32}}


class Way(NamedTuple):
    """A module with the classes of the interface, and the name of a connection."""

    module: ModuleType
    using: str

    def collection(self, name: str, schema: Any = None, **options: Any) -> Any:
        return self.module.Collection(name, schema, using=self.using, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("orm") / "data") as process:
        yield process


@pytest.fixture(scope="module", params=["pymilvus", "wire", "embedded"])
def way(
    request: pytest.FixtureRequest, server: ProcessServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Way]:
    using = f"orm-{request.param}"
    module = pymilvus if request.param == "pymilvus" else redkite
    uri = str(tmp_path_factory.mktemp("orm-file") / "orm.db") if request.param == "embedded" else server.uri
    module.connections.connect(using, uri=uri)
    yield Way(module, using)
    module.connections.disconnect(using)


def schema(way: Way) -> Any:
    kinds, field = way.module.DataType, way.module.FieldSchema
    fields = [
        field("id", kinds.INT64, is_primary=True),
        field("word", kinds.VARCHAR, max_length=64),
        field("vector", kinds.FLOAT_VECTOR, dim=DIM),
    ]
    return way.module.CollectionSchema(fields, "things that have a word")


@pytest.fixture
def things(way: Way) -> Iterator[Any]:
    """Ten rows, indexed and loaded."""
    collection = way.collection(f"things_{uuid.uuid4().hex}", schema(way))
    vectors = [[float(n)] * DIM for n in range(10)]
    collection.insert([list(range(10)), [f"w{n}" for n in range(10)], vectors])
    collection.create_index("vector", INDEX)
    collection.load()
    yield collection
    collection.drop()


def test_a_collection_is_made_described_and_found_again(way: Way, things: Any) -> None:
    again = way.collection(things.name)
    assert again.description == "things that have a word"
    assert [f.name for f in again.schema.fields] == ["id", "word", "vector"]
    assert again.primary_field.name == "id"
    assert again.num_shards == 1
    assert way.collection(things.name, schema(way)).name == things.name
    assert again.schema == things.schema


def test_a_collection_of_another_schema_is_not_taken_for_it(way: Way, things: Any) -> None:
    other = schema(way)
    other.add_field("more", way.module.DataType.INT64)
    with pytest.raises(Exception, match="the schema is not the same as the schema passed in"):
        way.collection(things.name, other)
    with pytest.raises(Exception, match="not exist, or you can pass in schema to create one"):
        way.collection("nothing")


def test_rows_are_written_read_searched_and_deleted(things: Any) -> None:
    told = things.upsert([[3], ["drei"], [[3.0] * DIM]])
    assert (told.upsert_count, told.primary_keys, told.succ_count) == (1, [3], 1)
    assert told.timestamp > 0
    assert things.query("id == 3", output_fields=["word"])[0]["word"] == "drei"
    hits = things.search([[7.1] * DIM], "vector", SEARCH, limit=2, output_fields=["word"], expr="id != 7")[0]
    assert list(hits.ids) == [8, 6]
    assert hits[0].entity.get("word") == "w8"
    assert hits.distances[0] == pytest.approx(4 * 0.9**2, rel=1e-5)
    assert things.delete("id in [1, 2]").delete_count == 2
    assert things.query("id >= 0", output_fields=["count(*)"])[0]["count(*)"] == 8


def test_rows_come_as_dicts_and_as_a_data_frame_too(things: Any) -> None:
    things.insert([{"id": 20, "word": "a", "vector": [1.0] * DIM}])
    frame = pd.DataFrame({"id": [21, 22], "word": ["b", "c"], "vector": [[1.0] * DIM, [2.0] * DIM]})
    assert things.insert(frame).insert_count == 2
    assert [row["word"] for row in things.query("id >= 20", output_fields=["word"])] == ["a", "b", "c"]


def test_hybrid_search_and_iterators(way: Way, things: Any) -> None:
    request = way.module.AnnSearchRequest([[5.0] * DIM], "vector", SEARCH, limit=3)
    found = things.hybrid_search([request, request], way.module.RRFRanker(), limit=2)
    assert len(found[0]) == 2 and found[0].ids[0] == 5
    pages = things.query_iterator(batch_size=4, expr="id >= 0", output_fields=["id"])
    sizes = []
    while page := pages.next():
        sizes.append(len(page))
    pages.close()
    assert sizes == [4, 4, 2]
    hits = things.search_iterator([[0.0] * DIM], "vector", SEARCH, batch_size=4, limit=6)
    page = hits.next()
    assert list(page.ids()) == [0, 1, 2, 3] and list(page.distances())[1] == 4
    assert list(hits.next().ids()) == [4, 5]
    hits.close()


def test_partitions_are_objects(way: Way, things: Any) -> None:
    part = things.create_partition("odd")
    part.insert([[101], ["x"], [[1.0] * DIM]])
    assert things.has_partition("odd")
    assert sorted(p.name for p in things.partitions) == ["_default", "odd"]
    assert [row["id"] for row in things.partition("odd").query("id > 0", output_fields=["id"])] == [101]
    assert list(part.search([[1.0] * DIM], "vector", SEARCH, limit=5)[0].ids) == [101]
    assert part.delete("id == 101").delete_count == 1
    part.release()
    part.drop()
    assert not things.has_partition("odd")
    if way.module is redkite:
        with pytest.raises(PartitionNotFound):
            things.partition("odd")


def test_indexes_are_objects(things: Any) -> None:
    (index,) = things.indexes
    assert (index.field_name, index.index_name, index.collection_name) == ("vector", "vector", things.name)
    assert (index.params["index_type"], index.params["metric_type"]) == ("HNSW", "L2")
    settings = index.params.get("params", index.params)
    assert (str(settings["M"]), str(settings["efConstruction"])) == ("8", "64")
    assert things.has_index() and things.index().index_name == "vector"
    things.release()
    things.drop_index()
    assert not things.has_index()


def test_calls_may_go_on_in_the_background(things: Any) -> None:
    seen: list[Any] = []
    pending = things.insert([[50], ["later"], [[1.0] * DIM]], _async=True)
    assert pending.result().insert_count == 1
    future = things.search([[50.0] * DIM], "vector", SEARCH, limit=1, _async=True, _callback=seen.append)
    assert len(future.result()[0]) == 1
    future.done()


def test_functions_over_a_connection(way: Way, things: Any) -> None:
    tool, name = way.module.utility, things.name
    assert tool.has_collection(name, using=way.using) and name in tool.list_collections(using=way.using)
    assert tool.loading_progress(name, using=way.using) == {"loading_progress": "100%"}
    assert tool.load_state(name, using=way.using).name == "Loaded"
    tool.wait_for_loading_complete(name, using=way.using, timeout=60)
    tool.wait_for_index_building_complete(name, using=way.using, timeout=60)
    assert tool.index_building_progress(name, using=way.using)["total_rows"] >= 0
    assert tool.list_indexes(name, using=way.using) == ["vector"]
    tool.create_alias(name, f"{name}_a", using=way.using)
    assert list(tool.list_aliases(name, using=way.using)) == [f"{name}_a"]
    tool.drop_alias(f"{name}_a", using=way.using)
    tool.rename_collection(name, f"{name}_n", using=way.using)
    assert not tool.has_collection(name, using=way.using)
    tool.rename_collection(f"{name}_n", name, using=way.using)
    assert tool.get_server_type(using=way.using) == "milvus"
    assert tool.get_server_version(using=way.using)
    things.flush()
    assert things.num_entities == 10 and not things.is_empty


def test_databases_of_a_connection(way: Way) -> None:
    tool = way.module.db
    tool.create_database("elsewhere", using=way.using)
    assert sorted(tool.list_database(using=way.using)) == ["default", "elsewhere"]
    tool.using_database("elsewhere", using=way.using)
    assert way.module.utility.list_collections(using=way.using) == []
    tool.using_database("default", using=way.using)
    tool.drop_database("elsewhere", using=way.using)


def test_roles_are_objects(way: Way) -> None:
    role = way.module.Role("keeper", using=way.using)
    assert not role.is_exist()
    role.create()
    assert role.is_exist()
    way.module.utility.create_user("kim", "secret1", using=way.using)
    role.add_user("kim")
    assert list(role.get_users()) == ["kim"]
    role.grant("Collection", "*", "Query")
    (grant,) = role.list_grants().groups
    assert (grant.object, grant.object_name, grant.privilege, grant.role_name) == ("Collection", "*", "Query", "keeper")
    users = way.module.utility.list_users(True, using=way.using).groups
    assert {one.username: tuple(one.roles) for one in users}["kim"] == ("keeper",)
    assert "keeper" in {one.role_name for one in way.module.utility.list_roles(False, using=way.using).groups}
    if way.module is redkite:
        assert [g["privilege"] for g in role.list_grants()] == ["Query"]
    role.revoke("Collection", "*", "Query")
    role.remove_user("kim")
    way.module.utility.delete_user("kim", using=way.using)
    role.drop()


def test_a_collection_is_made_of_a_data_frame(way: Way) -> None:
    name = f"frame_{uuid.uuid4().hex}"
    frame = pd.DataFrame({"key": [1, 2], "score": [0.5, 1.5], "word": ["a", "b"], "v": [[1.0, 2.0], [3.0, 4.0]]})
    made, told = way.module.Collection.construct_from_dataframe(name, frame, primary_field="key", using=way.using)
    assert told.insert_count == 2
    assert [(f.name, f.dtype.name) for f in made.schema.fields] == [
        ("key", "INT64"), ("score", "DOUBLE"), ("word", "VARCHAR"), ("v", "FLOAT_VECTOR"),
    ]  # fmt: skip
    made.drop()


def test_a_compaction_is_waited_for(things: Any) -> None:
    things.flush()
    things.compact()
    things.wait_for_compaction_completed(timeout=30)


def test_each_kind_of_compaction_is_asked_for_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections.connect("kinds", uri=str(tmp_path / "kinds.db"))
    kinds = redkite.DataType
    key, vector = (
        redkite.FieldSchema("id", kinds.INT64, is_primary=True),
        redkite.FieldSchema("v", kinds.FLOAT_VECTOR, dim=2),
    )
    made = redkite.Collection("kinds", redkite.CollectionSchema([key, vector]), using="kinds")
    client = connections.client("kinds")
    monkeypatch.setattr(client, "compact", lambda _name, clustering, timeout: 20 + clustering)
    monkeypatch.setattr(client, "get_compaction_state", lambda job, _timeout: f"job {job}")
    assert made.get_compaction_state() == "Completed"
    made.compact()
    made.compact(is_clustering=True)
    assert (made.get_compaction_state(), made.get_compaction_state(is_clustering=True)) == ("job 20", "job 21")
    connections.remove_connection("kinds")


# -- ours alone ---------------------------------------------------------------------------------
def test_a_name_that_is_not_connected_is_told() -> None:
    with pytest.raises(ConnectionNotExistException, match="should create connection first"):
        redkite.Collection("birds", using="nowhere")


def test_a_name_leads_to_one_place(tmp_path: Path) -> None:
    path = str(tmp_path / "one.db")
    connections.connect("one", uri=path)
    connections.connect("one", uri=path)
    with pytest.raises(ConnectionConfigException, match="already creating connections"):
        connections.connect("one", uri=str(tmp_path / "two.db"))
    assert connections.has_connection("one")
    assert connections.get_connection_addr("one")["uri"] == path
    connections.disconnect("one")
    assert not connections.has_connection("one")
    connections.connect("one")
    assert connections.has_connection("one")
    connections.remove_connection("one")
    assert "one" not in [alias for alias, _ in connections.list_connections()]


@pytest.mark.parametrize("place", [{"address": "nonsense"}, {"host": "h", "port": "x"}, {"host": "h", "port": "99999"}])
def test_a_place_that_cannot_be_read_is_refused(place: dict[str, str]) -> None:
    with pytest.raises(ConnectionConfigException, match="Illegal"):
        connections.add_connection(odd=place)


def test_a_schema_has_to_be_one(way: Way) -> None:
    with pytest.raises(Exception, match="Schema type must be"):
        way.collection("odd", {"fields": []})


def test_a_frame_without_a_key_makes_no_collection(tmp_path: Path) -> None:
    connections.connect("frames", uri=str(tmp_path / "frames.db"))
    with pytest.raises(SchemaNotReadyException, match="must have a primary key field"):
        redkite.Collection.construct_from_dataframe("x", pd.DataFrame({"a": [1]}), using="frames")
    with pytest.raises(SchemaNotReadyException, match=r"not pandas\.DataFrame"):
        redkite.Collection.construct_from_dataframe("x", [1], primary_field="a", using="frames")
    connections.remove_connection("frames")


def test_hybrid_timestamps_are_those_of_pymilvus() -> None:
    stamp = 470_623_526_072_340_970
    theirs = pymilvus.utility
    delta = dt.timedelta(seconds=3)
    assert utility.hybridts_to_unixtime(stamp) == theirs.hybridts_to_unixtime(stamp)
    assert utility.hybridts_to_datetime(stamp) == theirs.hybridts_to_datetime(stamp)
    assert utility.hybridts_to_datetime(stamp, dt.UTC) == theirs.hybridts_to_datetime(stamp, dt.UTC)
    assert utility.mkts_from_unixtime(1.5, 20.0) == theirs.mkts_from_unixtime(1.5, 20.0)
    assert utility.mkts_from_hybridts(stamp, 20.0) == theirs.mkts_from_hybridts(stamp, 20.0)
    # Theirs forgets the seconds of a delta.
    assert utility.mkts_from_unixtime(1.5, delta=delta) == utility.mkts_from_unixtime(4.5)
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert utility.mkts_from_datetime(moment) == theirs.mkts_from_datetime(moment)


def test_every_name_of_the_older_interface_is_there() -> None:
    for kind in ("Collection", "Partition", "Index", "Role"):
        theirs = {name for name in dir(getattr(pymilvus, kind)) if not name.startswith("_")}
        missing = theirs - set(dir(getattr(redkite, kind)))
        assert not missing, (kind, missing)
    import inspect

    from pymilvus.orm import utility as old

    public = {n for n, f in inspect.getmembers(old, inspect.isfunction) if f.__module__ == old.__name__ and n[0] != "_"}
    assert public <= set(dir(utility))
    assert {"create_database", "drop_database", "list_database", "using_database"} <= set(dir(db))


def test_numpy_columns_go_in_as_they_are(tmp_path: Path) -> None:
    connections.connect("numbers", uri=str(tmp_path / "numbers.db"))
    kinds = redkite.DataType
    fields = [
        redkite.FieldSchema("id", kinds.INT64, is_primary=True),
        redkite.FieldSchema("v", kinds.FLOAT_VECTOR, dim=2),
    ]
    made = redkite.Collection("numbers", redkite.CollectionSchema(fields), using="numbers")
    told = made.insert([np.arange(1000), np.ones((1000, 2), np.float32)])
    assert isinstance(told, redkite.orm.MutationResult)
    assert told.insert_count == 1000
    connections.remove_connection("numbers")
