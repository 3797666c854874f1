"""Named snapshots and backups through every SDK and REST."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

import redkite
from redkite.errors import MilvusException, SnapshotNotFound, SnapshotPinned

DIM = 4


def fill(client: Any, name: str, ids: range) -> None:
    if not client.has_collection(name):
        client.create_collection(name, dimension=DIM, consistency_level="Strong")
    client.upsert(name, [{"id": i, "vector": [i, 1.0, 2.0, 3.0], "n": i} for i in ids])


def ids_of(client: Any, name: str) -> set[int]:
    return {row["id"] for row in client.query(name, filter="id >= 0", output_fields=["id"])}


def finish(client: Any, job: int) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = client.get_restore_snapshot_state(job)
        if found.state in ("RestoreSnapshotCompleted", "RestoreSnapshotFailed"):
            return found
        time.sleep(0.01)
    raise AssertionError("the restore does not end")


def test_a_snapshot_is_made_described_restored_and_dropped(sdk: Sdk, client: Any, name: str) -> None:
    fill(client, name, range(50))
    client.create_snapshot("before", name, description="as it was", compaction_protection_seconds=5)
    client.delete(name, filter="id < 40")
    assert list(client.list_snapshots(name)) == ["before"]
    found = client.describe_snapshot("before", name)
    assert (found.name, found.description, found.collection_name) == ("before", "as it was", name)
    assert list(found.partition_names) == ["_default"]
    assert abs(found.create_ts / 1000 - time.time()) < 60
    job = client.restore_snapshot("before", name, f"{name}_again")
    ended = finish(client, job)
    assert (ended.state, ended.progress, ended.collection_name) == ("RestoreSnapshotCompleted", 100, f"{name}_again")
    assert job in [j.job_id for j in client.list_restore_snapshot_jobs(f"{name}_again")]
    client.load_collection(f"{name}_again")
    assert ids_of(client, f"{name}_again") == set(range(50))
    hits = client.search(f"{name}_again", data=[[7, 1.0, 2.0, 3.0]], limit=1, search_params={"metric_type": "COSINE"})
    assert hits[0][0]["id"] == 7
    assert ids_of(client, name) == set(range(40, 50))
    client.drop_snapshot("before", name)
    client.drop_snapshot("before", name)
    assert list(client.list_snapshots(name)) == []


def test_pins_and_errors_have_their_codes(sdk: Sdk, client: Any, name: str) -> None:
    fill(client, name, range(5))
    client.create_snapshot("one", name)
    pin = client.pin_snapshot_data("one", name, ttl_seconds=100)
    with pytest.raises((MilvusException, sdk.module.MilvusException)) as pinned:
        client.drop_snapshot("one", name)
    assert pinned.value.code == 2601
    client.unpin_snapshot_data(pin)
    client.drop_snapshot("one", name)
    with pytest.raises((MilvusException, sdk.module.MilvusException)) as missing:
        client.describe_snapshot("one", name)
    assert missing.value.code == 2600
    assert "snapshot not found[snapshot=one]" in missing.value.message


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
async def test_the_asynchronous_client_does_the_same(sdk: Sdk, name: str, tmp_path: Path) -> None:
    destination = str(tmp_path) if sdk.embedded else f"async_{name}"
    async with sdk.connect_async() as client:
        await client.create_collection(name, dimension=DIM)
        await client.insert(name, [{"id": i, "vector": [i, 1.0, 2.0, 3.0]} for i in range(5)])
        await client.create_snapshot("one", name)
        assert (await client.describe_snapshot("one", name)).timestamp > 0
        pin = await client.pin_snapshot_data("one", name)
        with pytest.raises(SnapshotPinned):
            await client.drop_snapshot("one", name)
        await client.unpin_snapshot_data(pin)
        await client.drop_snapshot("one", name)
        with pytest.raises(SnapshotNotFound):
            await client.describe_snapshot("one", name)
        made = await client.create_backup(destination, "b", collections=name)
        assert [c.rows for c in made.collections] == [5]
        assert await client.restore_backup(destination, "b", suffix="_back") == [f"default.{name}_back"]
        await client.verify_backup(destination, "b")
        await client.delete_backup(destination, "b")
        assert await client.list_backups(destination) == []


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_a_backup_is_made_listed_verified_restored_and_deleted(
    sdk: Sdk, client: Any, name: str, tmp_path: Path
) -> None:
    destination = str(tmp_path / "b") if sdk.embedded else f"place_{name}"
    fill(client, name, range(30))
    drawn: list[tuple[int, int]] = []
    made = client.create_backup(destination, "monday", collections=[name], progress=lambda *p: drawn.append(p))
    assert drawn[-1] == (made.bytes, made.bytes)
    fill(client, name, range(30, 40))
    assert client.create_backup(destination, collections=name).name.startswith("backup-")
    assert next(b.name for b in client.list_backups(destination)) == "monday"
    assert client.verify_backup(destination, "monday") == made
    assert client.restore_backup(destination, "monday", renames={name: f"{name}_old"}) == [f"default.{name}_old"]
    client.load_collection(f"{name}_old")
    assert ids_of(client, f"{name}_old") == set(range(30))
    assert ids_of(client, name) == set(range(40))
    client.delete_backup(destination, "monday")
    with pytest.raises(redkite.errors.BackupNotFound):
        client.verify_backup(destination, "monday")


def test_a_server_writes_backups_only_below_its_setting(server: ProcessServer, tmp_path: Path) -> None:
    client = redkite.MilvusClient(server.uri)
    home = f"{server.data}-backups"
    for place in (str(tmp_path), "../elsewhere", f"{home}/../x", "s3://bucket/x"):
        with pytest.raises(redkite.errors.InvalidParameter, match="destinations of this server lie below"):
            client.create_backup(place)
    assert client.list_backups(f"{home}/nothing") == []
    client.close()


def test_rest_has_snapshots_and_backups(server: ProcessServer) -> None:
    rest = Rest(server.uri)
    rest.ok("collections/create", {"collectionName": "kept", "dimension": DIM})
    rest.ok("entities/insert", {"collectionName": "kept", "data": [{"id": 1, "vector": [1, 2, 3, 4]}]})
    named = {"collectionName": "kept", "snapshotName": "one"}
    rest.ok("snapshots/create", {**named, "description": "d"})
    assert rest.ok("snapshots/list", {"collectionName": "kept"}) == ["one"]
    assert rest.ok("snapshots/describe", named)["partitionNames"] == ["_default"]
    pin = rest.ok("snapshots/pin", named)["pinId"]
    assert rest.error("snapshots/drop", named)[0] == 2601
    rest.ok("snapshots/unpin", {"pinId": pin})
    job = rest.ok("snapshots/restore", {**named, "targetCollectionName": "kept_again"})["jobId"]
    assert ended(rest, "jobs/snapshot/describe", job)["state"] == "Completed"
    assert [r["jobId"] for r in rest.ok("jobs/snapshot/list", {"collectionName": "kept_again"})["records"]] == [job]
    rest.ok("snapshots/drop", named)
    assert rest.error("snapshots/describe", named)[0] == 2600
    backup = {"destination": "rest", "backupName": "b"}
    job = rest.ok("backups/create", {**backup, "collectionNames": ["kept"]})["jobId"]
    assert ended(rest, "jobs/backup/describe", job)["backup"]["collections"][0]["rows"] == 1
    assert [b["backupName"] for b in rest.ok("backups/list", {"destination": "rest"})] == ["b"]
    job = rest.ok("backups/verify", backup)["jobId"]
    assert ended(rest, "jobs/backup/describe", job)["state"] == "Completed"
    job = rest.ok("backups/restore", {**backup, "suffix": "_back"})["jobId"]
    assert ended(rest, "jobs/backup/describe", job)["restored"] == ["default.kept_back"]
    rest.ok("backups/delete", backup)
    assert rest.error("backups/delete", backup)[0] == 2701


def ended(rest: Rest, path: str, job: str) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = rest.ok(path, {"jobId": job})
        if found["state"] in ("Completed", "Failed"):
            return found
        time.sleep(0.01)
    raise AssertionError("the job does not end")
