"""Files become rows, the same as if they had been inserted, over every way to the engine."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pymilvus
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.formats.rows import all_types, random_rows

import redkite
from redkite import CollectionSchema, DataType, bulk_writer
from redkite.bulk_writer import BulkFileType, LocalBulkWriter
from redkite.errors import ImportFailed, MilvusException

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
NULL = "\\N"


@pytest.fixture
def folder(sdk: Sdk, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where files lie that may be imported."""
    if sdk.embedded:
        return tmp_path
    root = Path(f"{request.getfixturevalue('server').data}-imports") / tmp_path.name
    root.mkdir(parents=True)
    return root


@pytest.fixture
def other(client: Any, name: str) -> Iterator[str]:
    yield f"{name}_other"
    client.drop_collection(f"{name}_other")


def create(client: Any, name: str, schema: CollectionSchema, **more: Any) -> None:
    """A loaded collection, its vectors scanned."""
    indexes = client.prepare_index_params()
    whole = schema.to_model(name).with_parts
    for field in whole.vector_fields:
        kind = {DataType.BINARY_VECTOR: "HAMMING", DataType.SPARSE_FLOAT_VECTOR: "IP"}.get(field.data_type, "L2")
        if field.is_function_output:
            kind = "BM25"
        if field.struct_name:
            kind = "MAX_SIM_HAMMING" if field.element_type is DataType.BINARY_VECTOR else "MAX_SIM_L2"
        sparse = field.data_type is DataType.SPARSE_FLOAT_VECTOR
        indexes.add_index(
            field_name=field.name,
            index_type="SPARSE_INVERTED_INDEX" if sparse else "AUTOINDEX",
            metric_type=kind,
        )
    client.create_collection(name, schema=schema, index_params=indexes, **more)


def rows_of(client: Any, name: str, key: str = "id") -> list[Any]:
    found = client.query(name, filter="", output_fields=["*"], limit=1000)
    return sorted(found, key=lambda row: row[key])


def plain(*, dynamic: bool = False, nullable: bool = False, auto_id: bool = False) -> CollectionSchema:
    schema = redkite.MilvusClient.create_schema(enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True, auto_id=auto_id)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("word", DataType.VARCHAR, max_length=10, nullable=nullable)
    return schema


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


ROWS = [{"id": i, "v": [float(i), 0.5], "word": f"w{i}"} for i in range(4)]


# -- every type, every kind of file -------------------------------------------------------------
@pytest.mark.parametrize("kind", ["PARQUET", "JSON", "JSONL", "CSV"])
def test_imported_rows_are_the_inserted_ones(client: Any, name: str, other: str, folder: Path, kind: str) -> None:
    schema = all_types()
    create(client, name, schema)
    create(client, other, schema)
    rows = random_rows(schema, 60, seed=len(kind))
    client.insert(name, rows)
    with LocalBulkWriter(schema, folder, file_type=BulkFileType[kind], config={"sep": "|", "nullkey": NULL}) as writer:
        for row in rows[:30]:
            writer.append_row(row)
        writer.commit()
        writer.append_batch(rows[30:])
    assert len(writer.batch_files) == 2
    job = client.import_files(other, writer.batch_files, sep="|", nullkey=NULL)
    assert (job.state, job.progress, job.imported_rows) == ("Completed", 100, 60)
    assert rows_of(client, other) == rows_of(client, name)


def test_numpy_files_are_imported_together(client: Any, name: str, other: str, folder: Path) -> None:
    schema = all_types(flat=True, nullable=False)
    create(client, name, schema)
    create(client, other, schema)
    rows = random_rows(schema, 40, seed=9, nulls=0.0)
    client.insert(name, rows)
    with LocalBulkWriter(schema, folder, file_type=BulkFileType.NUMPY) as writer:
        writer.append_batch(rows)
    job = client.import_files(other, writer.batch_files)
    assert job.imported_rows == 40
    assert len(job.files) == 1
    assert rows_of(client, other) == rows_of(client, name)


@pytest.mark.parametrize("kind", ["parquet", "json", "jsonl", "csv"])
def test_what_is_exported_can_be_imported_again(client: Any, name: str, other: str, folder: Path, kind: str) -> None:
    schema = all_types()
    create(client, name, schema)
    create(client, other, schema)
    client.insert(name, random_rows(schema, 50, seed=3))
    files = client.export_files(name, folder / "out", kind, chunk_size=4_000, sep=";", nullkey=NULL)
    assert len(files) == 1  # a page is never split
    client.import_files(other, files, sep=";", nullkey=NULL)
    assert rows_of(client, other) == rows_of(client, name)
    some = client.export_files(name, folder / "some", kind, filter="id > 0", output_fields=["id", "f_int8"])
    assert len(some) == 1


# -- Milvus's own writer ------------------------------------------------------------------------
def their_schema() -> Any:
    types = pymilvus.DataType
    schema = pymilvus.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=4)
    schema.add_field("half", types.FLOAT16_VECTOR, dim=4)
    schema.add_field("brain", types.BFLOAT16_VECTOR, dim=4)
    schema.add_field("bits", types.BINARY_VECTOR, dim=16)
    schema.add_field("small", types.INT8_VECTOR, dim=4)
    schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
    schema.add_field("flag", types.BOOL)
    schema.add_field("number", types.DOUBLE)
    schema.add_field("word", types.VARCHAR, max_length=20, nullable=True)
    schema.add_field("doc", types.JSON)
    schema.add_field("tags", types.ARRAY, element_type=types.VARCHAR, max_capacity=5, max_length=10)
    schema.add_field("at", types.TIMESTAMPTZ)
    return schema


def our_copy(schema: Any) -> CollectionSchema:
    made = redkite.MilvusClient.create_schema(enable_dynamic_field=schema.enable_dynamic_field)
    for field in schema.fields:
        given = field.to_dict()
        more = {**given.get("params", {}), "nullable": given.get("nullable", False)}
        if "element_type" in given:
            more["element_type"] = DataType(int(given["element_type"]))
        made.add_field(field.name, DataType(int(field.dtype)), is_primary=field.is_primary, **more)
    return made


def their_rows(count: int) -> list[dict[str, Any]]:
    chance = np.random.default_rng(4)
    return [
        {
            "id": i,
            "v": chance.random(4).astype(np.float32).tolist(),
            "half": chance.random(4).astype(np.float16),
            "brain": chance.random(4).astype(ml_dtypes.bfloat16),
            "bits": chance.integers(0, 2, 16).tolist(),
            "small": chance.integers(-128, 127, 4).astype(np.int8),
            "sparse": {int(k): float(np.float32(chance.random())) for k in chance.choice(1000, 3, replace=False)},
            "flag": bool(i % 2),
            "number": float(chance.random()),
            "word": None if i % 3 == 0 else f'w"{i},',
            "doc": {"a": [i, None], "b": {"c": "x"}},
            "tags": [f"t{j}" for j in range(i % 4)],
            "at": f"2025-01-01T00:00:{i:02}Z",
            "loose": i * 2,
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("kind", ["PARQUET", "JSON", "JSONL", "CSV"])
def test_files_of_milvus_s_writer_and_of_ours_mean_the_same(
    client: Any, name: str, other: str, folder: Path, kind: str
) -> None:
    import pymilvus.bulk_writer as theirs  # with the SDKs of three clouds, which takes half a second

    schema = their_schema()
    ours = our_copy(schema)
    create(client, name, ours)
    create(client, other, ours)
    writer = theirs.LocalBulkWriter(schema, str(folder), file_type=theirs.BulkFileType[kind], config={"nullkey": NULL})
    for row in their_rows(20):
        writer.append_row(dict(row))
    writer.commit()
    with LocalBulkWriter(ours, folder, file_type=BulkFileType[kind], config={"nullkey": NULL}) as mine:
        for row in their_rows(20):
            mine.append_row(row)
    client.import_files(name, [[str(Path(f).resolve()) for f in group] for group in writer.batch_files], nullkey=NULL)
    client.import_files(other, mine.batch_files, nullkey=NULL)
    found = rows_of(client, name)
    assert len(found) == 20
    assert found == rows_of(client, other)


def test_milvus_s_functions_import_through_rest(client: Any, sdk: Sdk, name: str, folder: Path) -> None:
    import pymilvus.bulk_writer as theirs

    if sdk.embedded:
        pytest.skip("a file has no REST")
    create(client, name, plain())
    file = write(folder / "rows.json", json.dumps({"rows": ROWS}))
    for module in (theirs, bulk_writer):
        started = module.bulk_import(sdk.uri, name, files=[[file]]).json()["data"]["jobId"]
        while (job := module.get_import_progress(sdk.uri, started).json()["data"])["state"] != "Completed":
            assert job["state"] in ("Pending", "Importing"), job
            time.sleep(0.01)
        assert (job["importedRows"], job["totalRows"], job["progress"]) == (4, 4, 100)
        assert job["details"][0]["fileName"] == file
        jobs = module.list_import_jobs(sdk.uri, name).json()["data"]["records"]
        assert started in [record["jobId"] for record in jobs]
    with pytest.raises(pymilvus.MilvusException, match="import job does not exist, jobID=7"):
        theirs.get_import_progress(sdk.uri, "7")
    with pytest.raises(MilvusException, match="cloud"):
        bulk_writer.rest._post(sdk.uri, "create", {"collectionName": name, "clusterId": "x"}, "", "", 10)
    assert [row["id"] for row in rows_of(client, name)] == [0, 1, 2, 3]


@pytest.mark.filterwarnings("ignore:.*ORM-style")
def test_milvus_s_older_functions_import(client: Any, sdk: Sdk, name: str, folder: Path) -> None:
    if sdk.embedded:
        pytest.skip("pymilvus speaks to servers only")
    create(client, name, plain())
    file = write(folder / "rows.json", json.dumps(ROWS))
    for module in (pymilvus, redkite):
        module.connections.connect(uri=sdk.uri)
        try:
            utility = module.utility
            task = utility.do_bulk_insert(name, [file])
            while (state := utility.get_bulk_insert_state(task)).state_name in ("Pending", "Started"):
                time.sleep(0.01)
            assert (state.state_name, state.row_count, state.progress) == ("Completed", 4, 100)
            assert state.files == file or file in str(state.infos)
            assert task in [each.task_id for each in utility.list_bulk_insert_tasks(collection_name=name)]
            bad = utility.do_bulk_insert(name, [write(folder / "bad.json", "[{}]")])
            while (state := utility.get_bulk_insert_state(bad)).state_name in ("Pending", "Started"):
                time.sleep(0.01)
            assert state.state_name == "Failed"
            assert "row 0: value of field 'id' is missed" in state.failed_reason
        finally:
            module.connections.disconnect("default")


# -- what an import does to a collection --------------------------------------------------------
def test_rows_of_equal_keys_are_replaced_and_the_last_of_a_file_stays(client: Any, name: str, folder: Path) -> None:
    create(client, name, plain(), num_shards=2)
    client.insert(name, [{"id": i, "v": [0, 0], "word": "old"} for i in range(3)])
    client.flush(name)
    client.insert(name, [{"id": i, "v": [0, 0], "word": "newer"} for i in range(3, 6)])
    again = [{"id": i, "v": [1, 1], "word": word} for i in (1, 4, 9) for word in ("first", "last")]
    client.import_files(name, write(folder / "rows.jsonl", "\n".join(map(json.dumps, again))))
    found = {row["id"]: row["word"] for row in rows_of(client, name)}
    assert found == {0: "old", 1: "last", 2: "old", 3: "newer", 4: "last", 5: "newer", 9: "last"}
    hits = client.search(name, [[1.0, 1.0]], limit=3, output_fields=["word"], search_params={"metric_type": "L2"})[0]
    assert sorted(hit["id"] for hit in hits) == [1, 4, 9]


def test_rows_are_seen_all_at_once(client: Any, sdk: Sdk, name: str, folder: Path) -> None:
    schema = redkite.MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    create(client, name, schema, num_shards=2)
    count = 30_000
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * count, np.float32)), 2)
    pq.write_table(pa.table({"id": pa.array(np.arange(count)), "v": vectors}), folder / "rows.parquet")
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            counted = client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")
            seen.add(counted[0]["count(*)"])

    looking = threading.Thread(target=look)
    looking.start()
    client.import_files(name, folder / "rows.parquet")
    over.set()
    looking.join()
    assert seen <= {0, count}
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == count


def test_a_job_waits_to_be_committed_or_given_up(client: Any, name: str, folder: Path) -> None:
    create(client, name, plain())
    file = write(folder / "rows.json", json.dumps(ROWS))
    job = client.import_files(name, file, auto_commit=False)
    assert (job.state, job.progress) == ("Uncommitted", 99)
    assert rows_of(client, name) == []
    client.commit_import(job.job_id)
    assert client.describe_import(job.job_id).state == "Completed"
    assert len(rows_of(client, name)) == 4
    given_up = client.import_files(name, file, auto_commit=False)
    client.abort_import(given_up.job_id)
    assert client.describe_import(given_up.job_id).state == "Failed"
    assert "aborted" in client.describe_import(given_up.job_id).reason
    with pytest.raises(ImportFailed, match=r"cannot commit job .* in state Failed"):
        client.commit_import(given_up.job_id)
    with pytest.raises(ImportFailed, match="auto_commit=false"):
        client.commit_import(client.start_import(name, file))
    assert [each.job_id for each in client.list_imports(name)][:2] == [job.job_id, given_up.job_id]


def test_a_job_whose_partition_or_collection_is_gone_fails_when_it_is_committed(
    client: Any, name: str, other: str, folder: Path
) -> None:
    file = write(folder / "rows.json", json.dumps(ROWS))
    create(client, name, plain())
    client.create_partition(name, "gone")
    of_partition = client.import_files(name, file, "gone", auto_commit=False)
    create(client, other, plain())
    of_collection = client.import_files(other, file, auto_commit=False)
    client.release_partitions(name, ["gone"])
    client.drop_partition(name, "gone")
    client.drop_collection(other)
    for job in (of_partition, of_collection):
        with pytest.raises(MilvusException, match=r"has been dropped|not found"):
            client.commit_import(job.job_id)
        told = client.describe_import(job.job_id)
        assert (told.state, bool(told.reason)) == ("Failed", True)
    assert rows_of(client, name) == []


def test_keys_partitions_defaults_and_words_are_as_inserts_have_them(client: Any, name: str, folder: Path) -> None:
    schema = redkite.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True, auto_id=True)
    schema.add_field("tenant", DataType.VARCHAR, max_length=10, is_partition_key=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100, enable_analyzer=True)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("stars", DataType.INT8, default_value=3)
    schema.add_function(
        redkite.Function("bm25", redkite.FunctionType.BM25, input_field_names="text", output_field_names="words")
    )
    create(client, name, schema, num_partitions=4)
    rows = [
        {"tenant": f"t{i % 3}", "text": f"word{i} shared", "loose": i, "$meta": {"deep": {"x": i}}} for i in range(9)
    ]
    rows[4]["stars"] = None
    rows[5]["stars"] = 5
    client.import_files(name, write(folder / "rows.jsonl", "\n".join(map(json.dumps, rows))))
    found = client.query(name, filter='tenant == "t1"', output_fields=["tenant", "stars", "loose", "deep"])
    assert sorted((row["loose"], row["stars"], row["deep"]["x"]) for row in found) == [(1, 3, 1), (4, 3, 4), (7, 3, 7)]
    hits = client.search(name, ["word5"], limit=5, anns_field="words", output_fields=["stars"])[0]
    assert [hit["entity"]["stars"] for hit in hits] == [5]
    with pytest.raises(ImportFailed, match="partition key"):
        client.import_files(name, folder / "rows.jsonl", partition_name="_default_1")


def test_a_partition_is_named(client: Any, name: str, folder: Path) -> None:
    create(client, name, plain())
    client.create_partition(name, "other")
    client.import_files(name, write(folder / "rows.json", json.dumps(ROWS)), "other")
    assert len(client.query(name, filter="id >= 0", partition_names=["other"])) == 4
    assert client.query(name, filter="id >= 0", partition_names=["_default"]) == []
    with pytest.raises(MilvusException, match="partition not found"):
        client.import_files(name, folder / "rows.json", "missing")


def test_an_asynchronous_client_imports_and_exports(sdk: Sdk, client: Any, name: str, folder: Path) -> None:
    create(client, name, plain())
    file = write(folder / "rows.json", json.dumps(ROWS))

    async def run() -> None:
        told: list[int] = []
        async with sdk.connect_async() as other:
            job = await other.import_files(name, [file], progress=lambda info: told.append(info.progress))
            assert job.imported_rows == 4
            started = await other.start_import(name, file)
            assert (await other.wait_for_import(started)).state == "Completed"
            assert len(await other.list_imports(name)) == 2
            waiting = await other.import_files(name, file, auto_commit=False)
            await other.commit_import(waiting.job_id)
            assert (await other.describe_import(waiting.job_id)).state == "Completed"
            again = await other.import_files(name, file, auto_commit=False)
            await other.abort_import(again.job_id)
            files = await other.export_files(name, folder / "out", "csv")
            assert Path(files[0][0]).read_text().splitlines()[1].startswith('"0","[0.0,0.5]"')
        assert told[-1] == 100

    asyncio.run(run())


# -- what is refused ----------------------------------------------------------------------------
ONE = '{"id": 1, "v": [1, 2], "word": "a"}\n'
BAD: dict[str, tuple[str, str, str]] = {
    # what: (file name, its content, what the error says)
    "no rows key": ("a.json", '{"row": []}', "root key should be 'rows', but get 'row'"),
    "not JSON": ("a.json", "[{", "the array of rows does not end"),
    "no object": ("a.json", "[1]", "a row is an object"),
    "a broken row": ("a.jsonl", ONE + '{"id": x}\n', "a.jsonl', row 1: invalid JSON"),
    "a missing key": ("a.jsonl", ONE + '{"id": 2}', "row 1: value of field 'v' is missed"),
    "a long text": (
        "a.jsonl", ONE + '{"id": 2, "v": [1, 2], "word": "01234567890"}',
        "a.jsonl', row 1: length of varchar field word exceeds max length, row number: 1, length: 11",
    ),
    "another dimension": ("a.json", '[{"id": 1, "v": [1, 2, 3], "word": "a"}]', "column 'v', row 0: the vector has 3"),
    "a text for a number": ("a.json", '[{"id": "1", "v": [1, 2], "word": "a"}]', "'id', row 0: '\"1\"': Expected"),
    "a null": ("a.json", '[{"id": 1, "v": [1, 2], "word": null}]', "the field(word) does not support null, but row 0"),
    "an unknown field": ("a.json", '[{"id": 1, "v": [1, 2], "word": "", "x": 1}]', "'x' is not defined in schema"),
    "a large number": ("a.csv", 'id,v,word\n1,"[1,2]",a\n99999999999999999999,"[1,2]",b\n', "column 'id', row 1"),
    "an uneven row": ("a.csv", 'id,v,word\n1,"[1,2]",a\n2,"[1,2]"\n', "number of fields in the row is not equal"),
    "a column twice": ("a.csv", "id,id,v,word\n", "duplicated columns: ['id']"),
    "no header": ("a.csv", "\n", "no header"),
    "not Parquet": ("a.parquet", "PAR1 and so on", "a.parquet': "),
    "not NumPy": ("id.npy", "nothing", "it is no NumPy file"),
    "nothing": ("a.json", "", "is empty"),
}  # fmt: skip


def test_texts_of_a_file_that_are_not_utf8_are_named_and_leave_nothing(client: Any, name: str, folder: Path) -> None:
    create(client, name, plain())
    words = pa.array([b"ok", b"a\xff"], pa.binary()).view(pa.string())
    vectors = pa.array([[1, 2], [3, 4]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": [1, 2], "v": vectors, "word": words}), folder / "a.parquet")
    with pytest.raises(ImportFailed, match=r"a\.parquet', row 1: a text of field word is not valid UTF-8"):
        client.import_files(name, str(folder / "a.parquet"))
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 0


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_named_with_column_and_row_and_leaves_nothing(
    client: Any, name: str, folder: Path, what: str
) -> None:
    create(client, name, plain())
    good = write(folder / "good.json", json.dumps(ROWS))
    file, content, message = BAD[what]
    bad = write(folder / file, content)
    with pytest.raises(ImportFailed) as caught:
        client.import_files(name, [[good], [bad]])
    assert message in str(caught.value)
    assert caught.value.code == 2100
    assert client.query(name, filter="", output_fields=["count(*)"])[0]["count(*)"] == 0
    job = client.list_imports(name)[-1]
    assert (job.state, job.progress) == ("Failed", 0)
    assert job.reason == caught.value.message


def test_what_cannot_be_asked_for_is_refused_at_once(client: Any, name: str, folder: Path) -> None:
    create(client, name, plain())
    file = write(folder / "rows.json", json.dumps(ROWS))
    for files, message in (
        ([], "no file to import"),
        (["rows.txt"], "unexpected file type, files=[rows.txt]"),
        ([[file, f"{file}x.csv"]], "inconsistency in file types"),
        ([[file, file]], "for JSON import, accepts only one file"),
        ([[f"{i}.json"] for i in range(1025)], "should not exceed 1024, but got 1025"),
    ):
        with pytest.raises(ImportFailed, match=message.replace("[", r"\[").replace("]", r"\]")):
            client.start_import(name, files)
    with pytest.raises(ImportFailed, match="unsupported csv separator: ab"):
        client.start_import(name, file, sep="ab")
    with pytest.raises(ImportFailed, match="does not exist"):
        client.import_files(name, folder / "missing.json")
    with pytest.raises(MilvusException, match=r"can't find collection|collection not found"):
        client.start_import(f"{name}_missing", file)
    with pytest.raises(ImportFailed, match="jobID=5"):
        client.describe_import(5)
    assert client.import_files(name, file, job_timeout=600).state == "Completed"
    with pytest.raises(ImportFailed, match="timeout"):
        client.import_files(name, file, job_timeout=0.0001)


def test_no_file_outside_the_import_folder_is_read(
    client: Any, sdk: Sdk, name: str, folder: Path, tmp_path: Path
) -> None:
    if sdk.embedded:
        pytest.skip("in its own process a program may read what it likes")
    create(client, name, plain())
    outside = write(tmp_path / "rows.json", json.dumps(ROWS))
    (folder / "link.json").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    relative = folder.name
    for path in (
        outside, f"{relative}/../../{tmp_path.name}/rows.json", "../rows.json", f"{folder}/../../rows.json",
        f"file://{outside}", str(folder / "link.json"), f"{relative}/up/rows.json", "s3://bucket/rows.json",
        f"http://localhost/{outside}.json",
    ):  # fmt: skip
        with pytest.raises(ImportFailed, match="may not be read"):
            client.start_import(name, path)
    inside = write(folder / "rows.json", json.dumps(ROWS))
    assert client.import_files(name, f"{relative}/rows.json").imported_rows == 4
    assert client.import_files(name, inside).imported_rows == 4
