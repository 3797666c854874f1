"""What the page is told, and that it is no more than its user may know."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.server.guarded import ROOT
from tests.servers import ProcessServer
from tests.webui.conftest import HOSTILE, ROWS
from tests.webui.page import Page

import redkite


@pytest.fixture
def root(page: Page) -> Page:
    return page.log_in("root", "Milvus")


@pytest.fixture
def bob(guarded: ProcessServer) -> Iterator[Page]:
    """May read two of the collections, one of them narrowed by a policy."""
    with Page(guarded.metrics_port) as visitor:
        yield visitor.log_in("bob", "bob secret")


@pytest.fixture
def nobody(guarded: ProcessServer) -> Iterator[Page]:
    """A user with no grants."""
    with Page(guarded.metrics_port) as visitor:
        yield visitor.log_in("nobody", "nobody secret")


def test_an_administrator_sees_every_collection_with_rows_indexes_and_aliases(root: Page) -> None:
    names = [one["name"] for one in root.ask("names")]
    assert names == ["books", "notes", "other"]
    books = root.ask("details", {"names": ["books", "missing"]})
    assert books.keys() == {"books"}
    assert (books["books"]["rows"], books["books"]["aliases"]) == (ROWS, ["novels"])
    (index,) = books["books"]["indexes"]
    assert (index["field"], index["type"], index["metric"]) == ("embedding", "HNSW", "COSINE")
    assert index["params"].keys() >= {"index_type", "metric_type"}


def test_segments_say_what_they_hold(root: Page) -> None:
    segments = root.ask("segments", {"name": "books"})
    assert sum(one["rows"] for one in segments) == ROWS
    assert {one["state"] for one in segments} <= {"growing", "flushed"}
    assert all(one["bytes"] for one in segments if one["loaded"])
    growing = root.ask("segments", {"name": "notes"})
    assert [(one["state"], one["rows"]) for one in growing] == [("growing", 9)]


def test_work_in_the_background_is_listed(root: Page) -> None:
    tasks = root.ask("tasks")
    assert (tasks["collections"], tasks["watched"]) == (3, 3)
    assert {one["collection"] for one in tasks["builds"]} == {"books", "notes", "other"}
    assert tasks["backups"] == []
    assert tasks["restores"] == []


def test_a_backup_and_a_restore_are_among_the_tasks(root: Page, guarded: ProcessServer) -> None:
    with redkite.MilvusClient(guarded.uri, token=ROOT) as client:
        client.create_snapshot("kept", "other")
        client.restore_snapshot("kept", source_collection_name="other", target_collection_name="brought")
        client.create_backup("here", "first", "other")
        tasks = root.ask("tasks")
        client.drop_collection("brought")
        client.drop_snapshot("kept", "other")
    assert [one["name"] for one in tasks["backups"]] == ["first"]
    assert [one["collection"] for one in tasks["restores"]] == ["brought"]
    assert tasks["backups"][0]["state"] in ("waiting", "running", "finished")


def test_live_numbers_count_what_was_done(root: Page) -> None:
    before = root.ask("live")
    vector = [0.1] * 16
    for _ in range(3):
        told = root.post("rest/entities/search", {"collectionName": "books", "data": [vector], "limit": 2}).json()
        assert told["code"] == 0, told
    root.post("rest/entities/query", {"collectionName": "books", "filter": "year >= 0", "limit": 1})
    after = root.ask("live")
    assert after["searches"] - before["searches"] == 3
    assert after["queries"] - before["queries"] == 1
    assert sum(after["reads"]) - sum(before["reads"]) == 4
    assert len(after["reads"]) == len(after["edges"]) + 1
    assert (after["rows"], after["memory"] > 0) == (before["rows"], True)


def test_slow_reads_are_told_with_their_plan(root: Page) -> None:
    told = root.ask("slow")
    assert told["seconds"] == pytest.approx(0.000001)
    found = next(one for one in told["reads"] if one["filter"] == "year > 1950")
    assert (found["collection"], found["kind"], found["nq"]) == ("books", "search", 1)
    assert found["plan"]


def test_settings_are_for_administrators_and_never_hold_a_secret(root: Page, bob: Page) -> None:
    shown = {one["key"]: one for one in root.ask("server")}
    assert shown["authorization"] == {"key": "authorization", "value": "on", "default": False}
    assert shown["credential.mine"]["value"] == "(hidden)"
    assert "the secret of a model" not in str(shown)
    answer = bob.post("server")
    assert answer.status_code == 403
    assert "data" not in answer.json()


# -- what others may know -----------------------------------------------------------------------
def test_a_user_without_grants_sees_nothing(nobody: Page) -> None:
    assert nobody.ask("names") == []
    assert nobody.ask("details", {"names": ["books", "notes", "other"]}) == {}
    assert nobody.post("segments", {"name": "books"}).json()["code"] == 100
    tasks = nobody.ask("tasks")
    assert (tasks["collections"], tasks["builds"], tasks["compactions"], tasks["backups"]) == (0, [], [], None)
    assert nobody.ask("slow")["reads"] == []
    live = nobody.ask("live")
    assert (live["rows"], live["searches"], live["written"], sum(live["reads"])) == (0, 0, 0, 0)
    assert nobody.post("server").status_code == 403
    assert nobody.ask("rest/collections/list") == []
    for path, body in (
        ("entities/query", {"collectionName": "books", "limit": 1}),
        ("entities/search", {"collectionName": "books", "data": [[0.1] * 16]}),
        ("collections/get_stats", {"collectionName": "books"}),
        ("partitions/list", {"collectionName": "books"}),
        ("users/list", {}),
        ("roles/describe", {"roleName": "reader"}),
        ("users/create", {"userName": "mallory", "password": "long enough"}),
        ("roles/grant_privilege_v2", {"roleName": "public", "privilege": "ClusterAdmin", "collectionName": "*"}),
    ):
        assert nobody.post(f"rest/{path}", body).status_code == 403, path


def test_a_user_sees_what_was_granted_and_no_more(bob: Page) -> None:
    assert [one["name"] for one in bob.ask("names")] == ["books", "notes"]
    assert bob.ask("details", {"names": ["books", "other"]}).keys() == {"books"}
    assert bob.post("segments", {"name": "other"}).json()["code"] == 100
    assert {one["collection"] for one in bob.ask("tasks")["builds"]} == {"books", "notes"}
    assert bob.ask("tasks")["backups"] is None
    assert bob.ask("live")["rows"] == ROWS + 9


def test_a_user_sees_only_slow_reads_of_its_own(bob: Page) -> None:
    bob.post("rest/entities/query", {"collectionName": "notes", "filter": "id < 5", "limit": 3})
    assert {one["user"] for one in bob.ask("slow")["reads"]} <= {"bob"}


def test_policies_about_rows_hold_on_the_page(bob: Page, root: Page) -> None:
    asked = {"collectionName": "notes", "filter": "id >= 0", "outputFields": ["id", "owner"], "limit": 100}
    assert {row["owner"] for row in bob.post("rest/entities/query", asked).json()["data"]} == {"bob"}
    assert len(root.post("rest/entities/query", asked).json()["data"]) == 9


def test_the_caret_of_a_bad_filter_comes_through(root: Page) -> None:
    told = root.post("rest/entities/query", {"collectionName": "books", "filter": "year = = 3"}).json()
    assert told["code"] == 1100
    assert "\n" in told["message"]
    assert "^" in told["message"].splitlines()[2]


def test_hostile_texts_are_told_as_they_are(root: Page) -> None:
    (row,) = root.post("rest/entities/query", {"collectionName": "books", "filter": "id == 1"}).json()["data"]
    assert (row["title"], row[HOSTILE]) == (HOSTILE, HOSTILE)
    assert root.ask("details", {"names": ["books"]})["books"]["description"] == HOSTILE


def test_imports_are_listed_with_how_far_they_are(root: Page, nobody: Page, guarded: ProcessServer) -> None:
    folder = Path(f"{guarded.data}-imports")
    folder.mkdir(exist_ok=True)
    (folder / "rows.json").write_text('[{"id": 77, "vector": [1, 2, 3, 4]}]')
    asked = {"collectionName": "brought", "files": [["rows.json"]]}
    with redkite.MilvusClient(guarded.uri, token=ROOT) as client:
        client.create_collection("brought", dimension=4)
        base, headers = f"{guarded.uri}/v2/vectordb/jobs/import/create", {"Authorization": f"Bearer {ROOT}"}
        job = httpx.post(base, json=asked, headers=headers).json()["data"]["jobId"]
        deadline = time.monotonic() + 120
        listed: dict[str, dict[str, object]] = {}
        while listed.get(job, {}).get("state") != "Completed" and time.monotonic() < deadline:
            listed = {one["jobId"]: one for one in root.ask("rest/jobs/import/list")["records"]}
            time.sleep(0.05)
        client.drop_collection("brought")
    assert (listed[job]["collectionName"], listed[job]["state"], listed[job]["progress"]) == (
        "brought",
        "Completed",
        100,
    )
    hidden = nobody.post("rest/jobs/import/list")
    assert hidden.status_code == 403 or hidden.json()["data"]["records"] == []
