"""Snapshots that leave a database and come back as collections: by our SDK in both shells, and by Milvus's RPCs."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.servers import ProcessServer

from redkite.errors import MilvusException

VECTORS = np.random.default_rng(5).random((300, 8), dtype=np.float32)


def filled(client: Any) -> str:
    """A collection with a snapshot `s` of 300 rows, and other rows since."""
    name = f"c{uuid.uuid4().hex[:12]}"
    client.create_collection(name, dimension=8, metric_type="L2")
    client.insert(name, [{"id": i, "vector": row.tolist(), "tag": f"t{i % 7}"} for i, row in enumerate(VECTORS)])
    client.delete(name, ids=[3, 4])
    client.create_snapshot("s", name)
    client.delete(name, filter="id < 100")
    return name


def finished(ask: Any, job: int) -> Any:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = ask(job)
        if found.state.endswith(("Completed", "Failed")):
            return found
        time.sleep(0.02)
    raise AssertionError(f"job {job} does not end")


@pytest.fixture
def place(sdk: Sdk, tmp_path: Path) -> str:
    """A server writes below its own folder only; a file's user writes anywhere."""
    return str(tmp_path / "out") if sdk.embedded else f"out-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_an_exported_snapshot_becomes_a_collection_when_the_first_one_is_gone(client: Any, place: str) -> None:
    name = filled(client)
    job = client.export_snapshot("s", name, place)
    done = finished(client.get_export_snapshot_state, job)
    assert done.state == "ExportSnapshotCompleted", done.reason
    assert (done.snapshot_name, done.collection_name, done.progress) == ("s", name, 100)
    assert done.copied_files == done.total_files > 0
    assert done.total_bytes > 0
    assert done.snapshot_metadata_uri.endswith(f"/backups/s-{job}.backup")
    client.drop_snapshot("s", name)
    client.drop_collection(name)

    again = f"{name}_again"
    job = client.restore_external_snapshot(done.snapshot_metadata_uri, again)
    restored = finished(client.get_restore_snapshot_state, job)
    assert restored.state == "RestoreSnapshotCompleted", restored.reason
    assert (restored.collection_name, restored.progress) == (again, 100)
    client.load_collection(again)
    assert client.query(again, output_fields=["count(*)"])[0]["count(*)"] == 298
    (hits,) = client.search(again, [VECTORS[50].tolist()], limit=1, output_fields=["tag"])
    assert (hits[0]["id"], hits[0]["entity"]["tag"]) == (50, "t1")
    client.drop_collection(again)


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_what_cannot_be_exported_or_brought_is_refused(client: Any, place: str) -> None:
    name = filled(client)
    with pytest.raises(MilvusException, match="nothing"):
        client.export_snapshot("nothing", name, place)
    with pytest.raises(MilvusException, match="export job 12345 does not exist"):
        client.get_export_snapshot_state(12345)
    for uri in ("somewhere", "/backups/s.backup", f"{place}/backups/../s.backup"):
        with pytest.raises(MilvusException):
            client.restore_external_snapshot(uri, f"{name}_other")
    done = finished(client.get_export_snapshot_state, client.export_snapshot("s", name, place))
    with pytest.raises(MilvusException, match=name):
        client.restore_external_snapshot(done.snapshot_metadata_uri, name)
    client.drop_snapshot("s", name)
    client.drop_collection(name)


@pytest.mark.parametrize("sdk", ["embedded"], indirect=True, scope="session")
def test_a_damaged_export_makes_no_collection(client: Any, tmp_path: Path) -> None:
    name = filled(client)
    done = finished(client.get_export_snapshot_state, client.export_snapshot("s", name, str(tmp_path / "out")))
    largest = max((tmp_path / "out" / "objects").rglob("rows.arrow*"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    job = client.restore_external_snapshot(done.snapshot_metadata_uri, f"{name}_again")
    restored = finished(client.get_restore_snapshot_state, job)
    assert restored.state == "RestoreSnapshotFailed"
    assert "damaged" in restored.reason
    assert not client.has_collection(f"{name}_again")


def test_milvus_clients_export_and_restore_by_their_rpcs(server: ProcessServer) -> None:
    import redkite

    client = redkite.MilvusClient(server.uri)
    name = filled(client)
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        request = milvus_pb2.ExportSnapshotRequest(name="s", collection_name=name, target_s3_path="rpc")
        started = stub.ExportSnapshot(request)
        assert started.status.code == 0, started.status.reason
        assert started.snapshot_metadata_uri
        spec = milvus_pb2.ExportSnapshotRequest(
            name="s", collection_name=name, target_s3_path="rpc", external_spec='{"key": 1}'
        )
        assert "external_spec is not supported" in stub.ExportSnapshot(spec).status.reason
        for _ in range(2_000):
            state = stub.GetExportSnapshotState(milvus_pb2.GetExportSnapshotStateRequest(job_id=started.job_id))
            if state.info.state >= 3:
                break
            time.sleep(0.02)
        assert state.info.state == 3, state.info.reason
        assert state.info.snapshot_metadata_uri == started.snapshot_metadata_uri
        brought = stub.RestoreExternalSnapshot(
            milvus_pb2.RestoreExternalSnapshotRequest(
                target_collection_name=f"{name}_rpc", snapshot_metadata_uri=started.snapshot_metadata_uri
            )
        )
        assert brought.status.code == 0, brought.status.reason
    assert finished(client.get_restore_snapshot_state, brought.job_id).state == "RestoreSnapshotCompleted"
    client.load_collection(f"{name}_rpc")
    assert client.query(f"{name}_rpc", output_fields=["count(*)"])[0]["count(*)"] == 298
    client.close()
