"""Collections of other systems, carried over and looked at again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.servers import ProcessServer

from redkite import CollectionNotFound, DataType, Function, FunctionType, MilvusClient, ParamError
from redkite.migration.opening import kind_of
from redkite.migration.plan import Portion, Wishes
from redkite.migration.run import Report, migrate
from redkite.migration.server import ServerSource


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State files go here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("migration") / "data") as process:
        yield process


def rows_of(path: str, name: str, **options: Any) -> list[dict[str, Any]]:
    with MilvusClient(path) as client:
        return [dict(row) for page in client.query_iterator(name, **options) for row in page]


# -- Redkite ------------------------------------------------------------------------------------
def make_everything(client: MilvusClient) -> None:
    schema = client.create_schema(enable_dynamic_field=True, description="of all kinds")
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=30)
    schema.add_field("title", DataType.VARCHAR, max_length=100, enable_analyzer=True)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=4)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    schema.add_field("half", DataType.BFLOAT16_VECTOR, dim=2, nullable=True)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=5, max_length=20)
    schema.add_field("about", DataType.JSON, nullable=True)
    schema.add_field("stars", DataType.INT16, default_value=3)
    schema.add_field("when", DataType.TIMESTAMPTZ, nullable=True)
    part = client.create_struct_field_schema()
    part.add_field("text", DataType.VARCHAR, max_length=50)
    part.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("chunks", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=part, max_capacity=4)
    schema.add_function(Function("bm25", FunctionType.BM25, ["title"], ["words"]))
    index = client.prepare_index_params()
    index.add_index("dense", "HNSW", metric_type="L2", params={"M": 8, "efConstruction": 40})
    index.add_index("words", "SPARSE_INVERTED_INDEX", metric_type="BM25")
    index.add_index("bits", "BIN_FLAT", metric_type="HAMMING")
    index.add_index("half", "FLAT", metric_type="IP")
    index.add_index("title", "INVERTED")
    index.add_index("chunks[vector]", "AUTOINDEX", metric_type="MAX_SIM")
    client.create_collection("everything", schema=schema, index_params=index, num_shards=2)
    client.create_partition("everything", "old")
    client.create_alias("everything", "all_of_it")
    for part_name, start in (("_default", 0), ("old", 100)):
        client.insert("everything", [row_of_everything(start + n) for n in range(30)], partition_name=part_name)


def row_of_everything(n: int) -> dict[str, Any]:
    return {
        "key": f"k{n:03}", "title": f"kite number {n}", "dense": [n, 1, 2, 3], "bits": bytes([n % 256, 1]),
        "half": None if n % 2 else np.array([n, 0.5], np.float32), "tags": ["a"] * (n % 3),
        "about": {"n": [n]} if n % 4 else None, "stars": n % 5, "when": "2024-01-02T03:04:05Z",
        "chunks": [{"text": f"c{n}", "vector": [n, 1]}], "loose": n, "more": {"deep": n},
    }  # fmt: skip


def test_a_collection_of_every_kind_of_field_arrives_as_it_was(here: Path) -> None:
    with MilvusClient("./from.db") as client:
        make_everything(client)
    report = migrate("from.db", "to.db", batch=7)
    (outcome,) = report.outcomes
    assert (outcome.rows, outcome.stored, outcome.differing) == (60, 60, ())
    assert outcome.compared > 30
    assert report.is_whole
    with MilvusClient("./from.db") as old, MilvusClient("./to.db") as new:
        mine, theirs = (client.describe_collection("all_of_it") for client in (old, new))
        for about in (mine, theirs):
            for key in ("collection_id", "created_timestamp", "update_timestamp", "num_partitions"):
                del about[key]
            for each in about["functions"]:
                del each["id"]
        assert theirs == mine
        assert new.list_partitions("everything") == old.list_partitions("everything")
        for partition in ("_default", "old"):
            assert new.get_partition_stats("everything", partition) == old.get_partition_stats("everything", partition)
        for index in old.list_indexes("everything"):
            described = [client.describe_index("everything", index) for client in (old, new)]
            settings = [
                {k: v for k, v in each.items() if "rows" not in k and k != "state"} for each in described if each
            ]
            assert settings[0] == settings[1]
        assert new.search("everything", ["kite 7"], anns_field="words", limit=1)[0][0]["distance"] > 0
        assert new.search("everything", [[7, 1, 2, 3]], anns_field="dense", limit=1)[0][0].id == "k007"
    assert rows_of("./to.db", "everything") == rows_of("./from.db", "everything")
    assert not list(here.glob("redkite-migration-*"))


def test_keys_that_the_server_made_stay_as_they_are(here: Path) -> None:
    with MilvusClient("./from.db") as client:
        client.create_collection("auto", dimension=2, auto_id=True)
        ids = client.insert("auto", [{"vector": [n, 1], "n": n} for n in range(5)])["ids"]
    assert migrate("from.db", "to.db").is_whole
    with MilvusClient("./to.db") as client:
        assert [row["id"] for row in client.query("auto", limit=9)] == sorted(ids)
        assert client.describe_collection("auto")["auto_id"] is True
        assert "allow_insert_auto_id" not in client.describe_collection("auto")["properties"]
        client.insert("auto", [{"vector": [1, 2]}])


def test_rows_go_from_a_file_to_a_server_and_back(here: Path, server: ProcessServer) -> None:
    with MilvusClient("./from.db") as client:
        make_everything(client)
    assert migrate("from.db", server.uri, rename={"everything": "there"}).is_whole
    assert migrate(server.uri, "back.db", collections=["there"]).is_whole is True
    assert rows_of("./back.db", "there") == rows_of("./from.db", "everything")
    with MilvusClient(server.uri) as client:
        client.release_collection("there")
        assert migrate(server.uri, "again.db", collections=["there"]).is_whole
        assert client.get_load_state("there")["state"].name == "NotLoad"
        client.drop_alias("all_of_it")
        client.drop_collection("there")


def test_a_partition_key_keeps_its_partitions_and_a_database_is_made(here: Path) -> None:
    with MilvusClient("./from.db") as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("tenant", DataType.VARCHAR, max_length=10, is_partition_key=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
        index = client.prepare_index_params("vector", metric_type="IP")
        client.create_collection("shared", schema=schema, index_params=index, num_partitions=5)
        client.insert("shared", [{"id": n, "tenant": f"t{n % 3}", "vector": [n, 1]} for n in range(9)])
    assert migrate("from.db", "to.db", target_database="other").is_whole
    with MilvusClient("./to.db", db_name="other") as client:
        assert client.describe_collection("shared")["num_partitions"] == 5
        assert len(client.query("shared", "tenant == 't1'")) == 3


def test_a_dry_run_says_what_would_be_and_writes_nothing(here: Path) -> None:
    with MilvusClient("./from.db") as client:
        client.create_collection("birds", dimension=2)
        client.create_database("second")
    seen: list[Report] = []
    report = migrate("from.db", "to.db", dry_run=True, on_plan=seen.append)
    assert seen == [report]
    assert [(found.name, found.rows) for found in report.plan] == [("birds", 0)]
    assert any("other databases stay behind: second" in note for note in report.notes)
    assert sorted(path.name for path in here.iterdir()) == ["from.db"]


def test_properties_that_have_no_effect_here_are_named_and_left_out(here: Path) -> None:
    with MilvusClient("./from.db") as client:
        client.create_collection("birds", dimension=2, properties={"collection.ttl.seconds": 9000})
    source = ServerSource(MilvusClient("./from.db", read_only=True), "redkite", may_load=False)
    described = source._client.describe_collection("birds")
    described["properties"]["lazyload.enabled"] = "true"
    described["fields"][0]["params"]["strange"] = 1
    source._client.describe_collection = lambda _: described  # type: ignore[method-assign]
    (found,) = source.found(Wishes())
    assert found.properties == {"collection.ttl.seconds": "9000"}
    assert found.notes == (
        "rows are new at the target, and live 9000 s from then on",
        "the property lazyload.enabled=true stays behind: it has no effect here",
        "strange=1 of field id stays behind: it has no effect here",
    )
    source.close()


class Cut(Exception):
    """The power went off."""


def cut_after(monkeypatch: pytest.MonkeyPatch, portions: int, *, noted: bool) -> None:
    """The next migration stops behind so many writes, the last of them noted or not."""
    from redkite.migration.state import State

    note, counted = State.note, [0]

    def failing(self: State, name: str, place: dict[str, Any], rows: int, *, done: bool = False) -> None:
        counted[0] += bool(place)
        if counted[0] < portions or noted:
            note(self, name, place, rows, done=done)
        if counted[0] == portions:
            raise Cut

    monkeypatch.setattr(State, "note", failing)


@pytest.mark.parametrize("noted", [True, False])
def test_a_migration_that_was_cut_off_goes_on_where_it_stopped(
    here: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    with MilvusClient("./from.db") as client:
        client.create_collection("birds", dimension=2)
        client.insert("birds", [{"id": n, "vector": [n, 1], "n": n} for n in range(50)])
    with monkeypatch.context() as patched:
        cut_after(patched, 3, noted=noted)
        with pytest.raises(Cut):
            migrate("from.db", "to.db", batch=10)
    (state,) = here.glob("redkite-migration-*")
    assert json.loads(state.read_text())["collections"]["birds"]["rows"] == (30 if noted else 20)
    first: list[int] = []
    report = migrate("from.db", "to.db", batch=10, progress=lambda name, done, total: first.append(done))
    assert first[0] == (40 if noted else 30)
    assert report.outcomes[0].stored == 50
    assert report.is_whole
    assert rows_of("./to.db", "birds") == rows_of("./from.db", "birds")


def test_a_name_that_is_taken_is_refused_before_anything_is_written(here: Path) -> None:
    for path in ("./from.db", "./to.db"):
        with MilvusClient(path) as client:
            client.create_collection("birds", dimension=2)
    with pytest.raises(ParamError, match="the target has birds already, and not from this migration"):
        migrate("from.db", "to.db")
    assert migrate("from.db", "to.db", rename={"birds": "birds2"}).is_whole
    with pytest.raises(CollectionNotFound, match="the source has no collection fish; it has birds"):
        migrate("from.db", "to.db", collections=["fish"])


def test_what_arrives_otherwise_than_it_was_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MilvusClient("./from.db") as client:
        client.create_collection("birds", dimension=2)
        client.insert("birds", [{"id": n, "vector": [n, 1], "n": n} for n in range(5)])
    insert = MilvusClient.insert

    def spoiled(self: MilvusClient, name: str, data: pa.Table, **more: Any) -> Any:
        return insert(self, name, data.slice(1), **more)

    monkeypatch.setattr(MilvusClient, "insert", spoiled)
    report = migrate("from.db", "to.db")
    assert not report.is_whole
    assert report.outcomes[0].differing[0] == "5 rows were written, and 4 are there: a key came more than once"
    assert "1 of 5 rows of the sample are not there, such as 0" in report.outcomes[0].differing[1]


def test_no_more_than_one_portion_is_asked_for_at_a_time(here: Path) -> None:
    with MilvusClient("./from.db") as client:
        client.create_collection("birds", dimension=2)
        client.insert("birds", [{"id": n, "vector": [n, 1]} for n in range(25)])
    source = ServerSource(MilvusClient("./from.db", read_only=True), "redkite", may_load=False)
    (found,) = source.found(Wishes())
    portions = source.portions(found, {}, 10)
    first = next(portions)
    assert isinstance(first, Portion)
    assert (first.count, first.place) == (10, {"partition": "", "after": 9})
    assert [portion.count for portion in portions] == [10, 5]
    source.close()


# -- Parquet ------------------------------------------------------------------------------------
def write_parquet(folder: Path, rows: int = 30) -> None:
    folder.mkdir(parents=True)
    for part in range(2):
        numbers = range(part * rows, (part + 1) * rows)
        table = pa.table({
            "id": pa.array(numbers, pa.int64()),
            "embedding": pa.array([[float(n), 1.0, 2.0] for n in numbers], pa.list_(pa.float32())),
            "half": pa.array([np.array([n, 1], np.float16) for n in numbers], pa.list_(pa.float16(), 2)),
            "tags": pa.array([["a"] * (n % 3) for n in numbers]),
            "meta": pa.array([{"n": n, "s": "x"} for n in numbers]),
            "name": pa.array([f"n{n}" for n in numbers]).dictionary_encode(),
            "when": pa.array([n * 1_000_000 for n in numbers], pa.timestamp("us", "UTC")),
            "small": pa.array([None if n % 2 else n % 100 for n in numbers], pa.uint8()),
            "blob": pa.array([b"x"] * rows, pa.binary()),
        })  # fmt: skip
        pq.write_table(table, folder / f"part-{part}.parquet", row_group_size=8)


def test_a_folder_of_parquet_files_is_a_collection(here: Path) -> None:
    write_parquet(here / "my-birds")
    report = migrate("my-birds", "to.db", batch=7, metric="L2")
    assert report.is_whole
    (found,) = report.plan
    assert (found.name, found.key, found.rows) == ("my_birds", "id", 60)
    assert "column blob stays behind: there is no field for binary" in found.notes
    (row,) = rows_of("./to.db", "my_birds", filter="id == 45")
    assert row["embedding"] == [45.0, 1.0, 2.0]
    assert np.frombuffer(row["half"][0], np.float16).tolist() == [45, 1]
    assert (row["tags"], row["meta"], row["name"], row["small"]) == ([], {"n": 45, "s": "x"}, "n45", None)
    assert row["when"] == "1970-01-01T00:00:45Z"


@pytest.mark.parametrize("portions", [3, 6], ids=["in the middle", "behind the last row"])
def test_rows_without_a_key_get_keys_and_are_not_doubled_when_a_migration_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    write_parquet(here / "birds")
    for path in (here / "birds").iterdir():
        pq.write_table(pq.read_table(path).drop_columns(["id"]), path)
    with monkeypatch.context() as patched:
        cut_after(patched, portions, noted=False)
        with pytest.raises(Cut):
            migrate("birds", "to.db", batch=10)
    report = migrate("birds", "to.db", batch=10)
    assert report.outcomes[0].rows == report.outcomes[0].stored == 60
    assert report.is_whole
    assert sorted(row["name"] for row in rows_of("./to.db", "birds")) == sorted(f"n{n}" for n in range(60))


def test_folders_of_folders_are_several_collections(here: Path) -> None:
    write_parquet(here / "all" / "one")
    write_parquet(here / "all" / "two", rows=3)
    report = migrate("all", "to.db")
    assert {outcome.name: outcome.stored for outcome in report.outcomes} == {"one": 60, "two": 6}


def test_columns_that_cannot_be_a_collection_say_why(here: Path) -> None:
    (here / "flat").mkdir()
    pq.write_table(pa.table({"id": [1], "name": ["a"]}), here / "flat" / "a.parquet")
    with pytest.raises(ParamError, match="has no column of vectors; name one with --vector"):
        migrate("flat", "to.db")
    with pytest.raises(ParamError, match="has no column nothing of integers"):
        migrate("flat", "to.db", key="nothing")


# -- Qdrant -------------------------------------------------------------------------------------
def make_qdrant(path: str) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    models = qdrant.models
    client = qdrant.QdrantClient(path=path)
    client.create_collection(
        "named-vectors",
        vectors_config={
            "image": models.VectorParams(size=4, distance=models.Distance.COSINE),
            "text": models.VectorParams(size=2, distance=models.Distance.DOT),
        },
        sparse_vectors_config={"words": models.SparseVectorParams()},
    )
    client.upsert(
        "named-vectors",
        [
            models.PointStruct(
                id=n,
                vector={
                    "image": [n, 1, 2, 3],
                    **({"text": [n, 1]} if n % 2 else {}),
                    "words": models.SparseVector(indices=[1, n + 2], values=[0.5, 1.0]),
                },
                payload={"name": f"n{n}", "id": "mine", "stars": n, "deep": {"a": [n]}, "mixed": n if n % 2 else "s"},
            )
            for n in range(1, 41)
        ],
    )
    client.create_collection("one", vectors_config=models.VectorParams(size=2, distance=models.Distance.EUCLID))
    client.upsert(
        "one",
        [
            models.PointStruct(id="5c56c793-69f3-4fbf-87e6-c4bf54c28c26", vector=[1, 2], payload={"k": 1}),
            models.PointStruct(id=7, vector=[3, 4]),
        ],
    )
    alias = models.CreateAlias(collection_name="one", alias_name="the_one")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    client.close()


def test_points_of_qdrant_become_rows_with_their_named_vectors_and_payload(here: Path) -> None:
    make_qdrant("points")
    report = migrate("points", "to.db", batch=9)
    assert report.kind == "qdrant"
    assert report.is_whole
    assert {outcome.name: outcome.stored for outcome in report.outcomes} == {"named_vectors": 40, "one": 2}
    with MilvusClient("./to.db") as client:
        (row,) = client.query("named_vectors", "id == 6")
        assert (row["name"], row["id_"], row["deep"], row["text"]) == ("n6", "mine", {"a": [6]}, None)
        assert row["words"] == {1: 0.5, 8: 1.0}
        index = client.describe_index("named_vectors", "image")
        assert index is not None
        assert (index["index_type"], index["metric_type"], index["M"]) == ("HNSW", "COSINE", "16")
        assert client.query("the_one", "k == 1")[0]["id"] == "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"
        assert client.get("one", "7")[0]["vector"] == [3.0, 4.0]
        found = client.search("named_vectors", [[5.0, 1.0]], anns_field="text", limit=40)
        assert len(found[0]) == 20


def test_payload_becomes_columns_where_its_types_agree(here: Path) -> None:
    make_qdrant("points")
    assert migrate("points", "to.db", collections=["named-vectors"], typed=True).is_whole
    with MilvusClient("./to.db") as client:
        fields = {f["name"]: f["type"] for f in client.describe_collection("named_vectors")["fields"]}
        assert (fields["name"], fields["stars"]) == (DataType.VARCHAR, DataType.INT64)
        assert "deep" not in fields
        assert "mixed" not in fields
        assert len(client.query("named_vectors", "mixed == 's'")) == 20


# -- Chroma and LanceDB -------------------------------------------------------------------------
def test_records_of_chroma_become_rows_with_document_and_metadata(here: Path) -> None:
    chroma = pytest.importorskip("chromadb", reason="chromadb is not installed")
    client = chroma.PersistentClient("records")
    collection = client.create_collection("my-docs", metadata={"hnsw:space": "cosine", "owner": "me"})
    collection.add(
        ids=[f"k{n}" for n in range(50)],
        embeddings=[[n, 1.0, 2.0] for n in range(50)],
        documents=[f"text {n}" for n in range(50)],
        metadatas=[{"n": n, "id": "mine", "mixed": n if n % 2 else "s"} for n in range(50)],
    )
    chroma.api.shared_system_client.SharedSystemClient.clear_system_cache()  # else it stays open in this process
    report = migrate("records", "to.db", batch=12)
    assert report.kind == "chroma"
    assert report.is_whole
    assert "metadata of the collection itself stays behind: owner" in report.plan[0].notes
    with MilvusClient("./to.db") as there:
        (row,) = there.query("my_docs", "id == 'k7'")
        assert (row["document"], row["n"], row["id_"]) == ("text 7", 7, "mine")
        assert row["embedding"] == pytest.approx([7.0, 1.0, 2.0])
        index = there.describe_index("my_docs", "embedding")
        assert index is not None
        assert index["metric_type"] == "COSINE"
    assert migrate("records", "typed.db", typed=True).is_whole
    with MilvusClient("./typed.db") as there:
        fields = {f["name"] for f in there.describe_collection("my_docs")["fields"]}
        assert fields == {"id", "embedding", "document", "uri", "n"}


def test_tables_of_lancedb_become_collections(here: Path) -> None:
    lancedb = pytest.importorskip("lancedb", reason="lancedb is not installed")
    connection = lancedb.connect("tables")
    rows = [{"id": n, "vector": [float(n), 1.0], "text": f"t{n}", "tags": ["a"], "meta": {"n": n}} for n in range(300)]
    table = connection.create_table("docs", rows)
    table.create_index(metric="cosine", vector_column_name="vector", num_partitions=1, num_sub_vectors=1)
    connection.create_table("keyless", [{"vector": [float(n), 1.0], "n": n} for n in range(7)])
    report = migrate("tables", "to.db", batch=64)
    assert report.kind == "lancedb"
    assert report.is_whole
    assert {outcome.name: outcome.stored for outcome in report.outcomes} == {"docs": 300, "keyless": 7}
    (row,) = rows_of("./to.db", "docs", filter="id == 123")
    assert row == {"id": 123, "vector": [123.0, 1.0], "text": "t123", "tags": ["a"], "meta": {"n": 123}}
    with MilvusClient("./to.db") as there:
        metrics = [there.describe_index(name, "vector") for name in ("docs", "keyless")]
        assert [index and index["metric_type"] for index in metrics] == ["COSINE", "L2"]


# -- what is there? -----------------------------------------------------------------------------
def test_what_is_at_a_path_is_told_by_its_files(here: Path) -> None:
    for name, inside in (("a", "catalog"), ("b", "chroma.sqlite3"), ("c", "t.lance"), ("d", "x.parquet")):
        (here / name).mkdir()
        (here / name / inside).touch()
    (here / "e.db").touch()
    (here / "f").mkdir()
    assert [kind_of(name) for name in ("a", "b", "c", "d", "e.db", "tcp://host")] == [
        "redkite", "chroma", "lancedb", "parquet", "milvus-lite", "milvus"
    ]  # fmt: skip
    with pytest.raises(ParamError, match="nothing is known about the folder f"):
        kind_of("f")
    with pytest.raises(ParamError, match="there is nothing at nowhere"):
        migrate("nowhere", "to.db")
    with pytest.raises(ParamError, match="there is no kind of source called pinecone"):
        migrate("a", "to.db", kind="pinecone")


def test_a_library_that_is_missing_is_named_with_its_extra(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (here / "records").mkdir()
    (here / "records" / "chroma.sqlite3").touch()
    monkeypatch.setitem(sys.modules, "chromadb", None)
    with pytest.raises(ParamError, match=r"reading chroma needs the library chromadb: pip install 'redkite\[chroma\]'"):
        migrate("records", "to.db")


def test_a_file_that_is_of_no_migration_is_not_overwritten(here: Path) -> None:
    write_parquet(here / "birds")
    (here / "notes.json").write_text('{"mine": 1}')
    with pytest.raises(ParamError, match=r"notes.json is not the file of a migration"):
        migrate("birds", "to.db", state="notes.json")
    assert (here / "notes.json").read_text() == '{"mine": 1}'
