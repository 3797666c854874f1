"""Files of a bulk writer in a store of objects, and imports from there, against a server that plays S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymilvus
import pytest
from tests.objects import PlayedStore, played_store

from redkite import DataType, MilvusClient
from redkite.bulk_writer import BulkFileType, RemoteBulkWriter
from redkite.cluster.local import open_database
from redkite.errors import ImportFailed, ParamError, StorageError
from redkite.model import requests as rq
from redkite.model.imports import DescribeImport, ImportFiles, ImportState

ROWS = [{"id": i, "vector": [float(i), 0.5], "word": f"w{i}"} for i in range(50)]


@pytest.fixture(scope="module")
def store() -> Iterator[PlayedStore]:
    with played_store() as played:
        yield played


@pytest.fixture(scope="module")
def host(store: PlayedStore) -> str:
    return f"{store.host}:{store.port}"


@pytest.fixture
def bucket(store: PlayedStore, monkeypatch: pytest.MonkeyPatch) -> str:
    return store.bucket_of(monkeypatch)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MilvusClient]:
    made = MilvusClient(str(tmp_path / "s3.db"))
    index = made.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    made.create_collection("c", schema=schema(), index_params=index)
    yield made
    made.close()


def schema() -> Any:
    made = MilvusClient.create_schema()
    made.add_field("id", DataType.INT64, is_primary=True)
    made.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    made.add_field("word", DataType.VARCHAR, max_length=20)
    return made


def place(host: str, bucket: str) -> str:
    return f"s3://{bucket}?endpoint=http://{host}&region=us-east-1"


@pytest.mark.parametrize("kind", list(BulkFileType), ids=lambda kind: kind.name)
def test_files_go_to_the_bucket_and_are_imported_from_there(
    client: MilvusClient, host: str, bucket: str, tmp_path: Path, kind: BulkFileType
) -> None:
    param = RemoteBulkWriter.S3ConnectParam(bucket, endpoint=host, access_key="key", secret_key="secret")
    with RemoteBulkWriter(schema(), "some/data", param, file_type=kind, local_path=tmp_path / "here") as writer:
        for row in ROWS[:30]:
            writer.append_row(row)
        writer.commit()
        writer.append_batch(ROWS[30:])
    files = writer.batch_files
    assert len(files) == 2
    assert all(name.startswith(f"some/data/{writer.uuid}/") for group in files for name in group)
    assert str(writer.data_path) == f"/some/data/{writer.uuid}"
    assert not list((tmp_path / "here").iterdir()), "what is in the bucket is not here any more"
    base, _, settings = place(host, bucket).partition("?")
    urls = [[f"{base}/{name}?{settings}" for name in group] for group in files]
    assert client.import_files("c", urls).imported_rows == 50
    assert len(client.query("c", "id >= 0", limit=100)) == 50


def test_a_server_reads_its_bucket_and_nothing_else(host: str, bucket: str, tmp_path: Path) -> None:
    import pymilvus.bulk_writer as theirs  # with the SDKs of three clouds, which takes half a second

    types = pymilvus.DataType
    fields = pymilvus.MilvusClient.create_schema()
    fields.add_field("id", types.INT64, is_primary=True)
    fields.add_field("vector", types.FLOAT_VECTOR, dim=2)
    fields.add_field("word", types.VARCHAR, max_length=20)
    param = theirs.RemoteBulkWriter.S3ConnectParam(
        bucket_name=bucket, endpoint=host, access_key="key", secret_key="secret", region="us-east-1"
    )
    writer = theirs.RemoteBulkWriter(
        fields, "data", param, file_type=theirs.BulkFileType.PARQUET, local_path=str(tmp_path / "their")
    )
    for row in ROWS:
        writer.append_row(dict(row))
    writer.commit()
    database = open_database(str(tmp_path / "served"), imports=(str(tmp_path / "folder"), place(host, bucket)))
    try:
        call: Any = database.service.call
        call(rq.CreateCollection(schema=schema().to_model("c")))
        job = call(ImportFiles(collection="c", groups=tuple(map(tuple, writer.batch_files)))).job_id
        while not (info := call(DescribeImport(job_id=job))).state.is_over:
            pass
        assert (info.state, info.rows) == (ImportState.COMPLETED, 50), info.reason
        for name in (f"s3://other/{writer.batch_files[0][0]}", "../data/rows.json", "s3://bucket2/../rows.json"):
            with pytest.raises(ImportFailed, match="may not be read"):
                call(ImportFiles(collection="c", groups=((name,),)))
        job = call(ImportFiles(collection="c", groups=(("data/missing.json",),))).job_id
        while not (info := call(DescribeImport(job_id=job))).state.is_over:
            pass
        assert "file 'data/missing.json' does not exist" in info.reason
    finally:
        database.close()


def test_connection_parameters_hide_their_keys_and_are_checked(host: str) -> None:
    param = RemoteBulkWriter.S3ConnectParam("b", endpoint=host, access_key="key", secret_key="secret")
    assert "secret" not in repr(param)
    assert "key" not in repr(param)
    assert "hush" not in repr(RemoteBulkWriter.AzureConnectParam("c", "AccountName=a;AccountKey=hush"))
    with pytest.raises(ParamError, match="minio"):
        RemoteBulkWriter(schema(), "x", RemoteBulkWriter.S3ConnectParam("b", http_client=object()))
    with pytest.raises(ParamError, match="connect_param"):
        RemoteBulkWriter(schema(), "x", None)  # type: ignore[arg-type]
    with pytest.raises(ParamError, match="no account"):
        RemoteBulkWriter(schema(), "x", RemoteBulkWriter.AzureConnectParam("c", ""))
    gone = RemoteBulkWriter.S3ConnectParam("no-such-bucket-here", endpoint=host, access_key="k", secret_key="s")
    writer = RemoteBulkWriter(schema(), "x", gone)
    writer.append_row(ROWS[0])
    with pytest.raises(StorageError):
        writer.commit()
    writer.close()
