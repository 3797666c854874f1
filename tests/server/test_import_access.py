"""Who may import, and follow an import; and that it makes no difference which process of a server is asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.guarded import serve
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

import redkite
from redkite.errors import ImportFailed, MilvusException


@pytest.fixture
def file(guarded: ProcessServer) -> str:
    return rows(Path(f"{guarded.data}-imports"))


def rows(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / "birds.json"
    path.write_text(json.dumps([{"id": i, "vector": [i, 1, 2, 3]} for i in range(5)]))
    return path.name


@pytest.fixture
def birds(root: redkite.MilvusClient) -> Iterator[str]:
    root.create_collection("birds", dimension=4)
    yield "birds"
    root.drop_collection("birds")


@pytest.fixture
def bob(guarded: ProcessServer, root: redkite.MilvusClient) -> Iterator[redkite.MilvusClient]:
    root.create_user("bob", "password")
    root.create_role("importer")
    root.grant_role("bob", "importer")
    client = redkite.MilvusClient(guarded.uri, token="bob:password")
    yield client
    client.close()
    root.drop_role("importer", force_drop=True)
    root.drop_user("bob")


def refused(call: Any, *arguments: Any) -> None:
    with pytest.raises(MilvusException, match="permission deny"):
        call(*arguments)


def test_every_call_about_imports_takes_its_privilege(
    root: redkite.MilvusClient, bob: redkite.MilvusClient, birds: str, file: str
) -> None:
    job = root.import_files(birds, file, auto_commit=False)
    for call in (bob.describe_import, bob.commit_import, bob.abort_import):
        refused(call, job.job_id)
        refused(call, 12345)
    refused(bob.start_import, birds, file)
    refused(bob.list_imports, birds)
    refused(bob.list_imports)
    root.grant_privilege_v2("importer", "GetImportProgress", birds)
    assert bob.describe_import(job.job_id).state == "Uncommitted"
    refused(bob.describe_import, 12345)
    refused(bob.commit_import, job.job_id)
    root.grant_privilege_v2("importer", "Import", birds)
    bob.commit_import(job.job_id)
    assert bob.import_files(birds, file).imported_rows == 5
    refused(bob.list_imports, birds)
    root.grant_privilege_v2("importer", "ListImport", birds)
    assert job.job_id in [each.job_id for each in bob.list_imports(birds)]
    refused(bob.list_imports)
    root.create_collection("stones", dimension=4)
    refused(bob.start_import, "stones", file)
    other = root.import_files("stones", file)
    refused(bob.describe_import, other.job_id)
    root.drop_collection("stones")


def test_row_policies_keep_files_out(
    root: redkite.MilvusClient, bob: redkite.MilvusClient, birds: str, file: str
) -> None:
    root.grant_privilege_v2("importer", "CollectionAdmin", birds)
    root.create_row_policy(birds, "few", ["query"], "id < 3")
    refused(bob.start_import, birds, file)
    assert root.import_files(birds, file).imported_rows == 5


def test_any_process_of_a_server_takes_imports_and_shows_their_rows(tmp_path: Path) -> None:
    with serve(tmp_path, 'authorization = "off"', workers=3) as server:
        file = rows(Path(f"{server.data}-imports"))
        clients = [redkite.MilvusClient(server.uri) for _ in range(6)]
        clients[0].create_collection("birds", dimension=4)
        clients[0].insert("birds", [{"id": 0, "vector": [9, 9, 9, 9]}, {"id": 7, "vector": [1, 1, 1, 1]}])
        clients[0].flush("birds")
        assert clients[1].import_files("birds", file).imported_rows == 5
        for client in clients:
            found = client.query("birds", "id >= 0", output_fields=["id", "vector"])
            assert [row["id"] for row in found] == [0, 1, 2, 3, 4, 7]
            assert found[0]["vector"][0] == 0.0
        rest = Rest(server.uri)
        started = rest.post("jobs/import/create", {"collectionName": "birds", "files": [[file]]}).json()["data"][
            "jobId"
        ]
        while (job := rest.post("jobs/import/describe", {"jobId": started}).json()["data"])["progress"] < 100:
            assert job["state"] != "Failed"
            time.sleep(0.01)
        waiting = rest.post(
            "jobs/import/create", {"collectionName": "birds", "files": [[file]], "options": {"auto_commit": "false"}}
        ).json()["data"]["jobId"]
        while rest.post("jobs/import/describe", {"jobId": waiting}).json()["data"]["state"] != "Uncommitted":
            time.sleep(0.01)
        assert rest.post("jobs/import/commit", {"jobId": waiting}).json()["code"] == 0
        assert rest.post("jobs/import/abort", {"jobId": waiting}).json()["code"] == ImportFailed.default_code
        for client in clients:
            client.close()
