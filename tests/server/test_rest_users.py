"""Users, roles and groups of privileges over REST, and endpoints that are refused."""

from __future__ import annotations

import time
import uuid

import pytest
from tests.server.rest_client import Rest


@pytest.fixture
def who() -> str:
    return f"u{uuid.uuid4().hex[:12]}"


def test_a_user_gets_a_role_and_loses_it(rest: Rest, who: str) -> None:
    role = f"r{who}"
    rest.ok("users/create", {"userName": who, "password": "secret1", "description": "a bird"})
    rest.ok("roles/create", {"roleName": role, "description": "sings"})
    assert role in rest.ok("roles/list")
    rest.ok("users/grant_role", {"userName": who, "roleName": role})
    assert rest.ok("users/describe", {"userName": who}) == [role]
    rest.ok("users/revoke_role", {"userName": who, "roleName": role})
    assert rest.ok("users/describe", {"userName": who}) == []
    rest.ok("roles/alter", {"roleName": role, "description": "flies"})
    assert rest.whole("roles/describe", {"roleName": role})["description"] == "flies"
    rest.ok("users/drop", {"userName": who})
    assert who not in rest.ok("users/list")
    rest.ok("roles/drop", {"roleName": role})
    assert role not in rest.ok("roles/list")


def test_a_role_is_granted_privileges_in_both_ways(rest: Rest, who: str) -> None:
    rest.ok("roles/create", {"roleName": who})
    old = {"roleName": who, "objectType": "Collection", "objectName": "birds", "privilege": "Search"}
    new = {"roleName": who, "privilege": "Query", "collectionName": "birds", "dbName": "default"}
    rest.ok("roles/grant_privilege", old)
    rest.ok("roles/grant_privilege_v2", new)
    granted = {(g["objectName"], g["privilege"]) for g in rest.ok("roles/describe", {"roleName": who})}
    assert granted == {("birds", "Search"), ("birds", "Query")}
    rest.ok("roles/revoke_privilege", old)
    rest.ok("roles/revoke_privilege_v2", new)
    assert rest.ok("roles/describe", {"roleName": who}) == []
    rest.ok("roles/drop", {"roleName": who})


def test_a_group_of_privileges_is_filled_and_emptied(rest: Rest, who: str) -> None:
    group = {"privilegeGroupName": who}
    rest.ok("privilege_groups/create", group)
    rest.ok("privilege_groups/add_privileges_to_group", {**group, "privileges": ["Search", "Query"]})
    assert set(_members(rest, who)) == {"Search", "Query"}
    rest.ok("privilege_groups/remove_privileges_from_group", {**group, "privileges": ["Search"]})
    assert _members(rest, who) == ["Query"]
    rest.ok("privilege_groups/drop", group)
    assert who not in [g["privilegeGroupName"] for g in rest.ok("privilege_groups/list")["privilegeGroups"]]


def _members(rest: Rest, group: str) -> list[str]:
    groups = rest.ok("privilege_groups/list")["privilegeGroups"]
    (found,) = (g["privileges"] for g in groups if g["privilegeGroupName"] == group)
    return str(found).split(",")


def test_functions_are_neither_added_nor_dropped_by_themselves(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 4})
    function = {"name": "f", "type": "BM25", "inputFieldNames": ["a"], "outputFieldNames": ["b"]}
    added = rest.error("collections/add_function", {"collectionName": name, "function": function})
    dropped = rest.error("collections/drop_function", {"collectionName": name, "FunctionName": "f"})
    assert (added[0], dropped[0]) == (1100, 1100)
    rest.ok("collections/refresh_load", {"collectionName": name})


def test_no_collection_lies_in_files_of_somebody_else(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 4})
    code, text = rest.error("jobs/external_collection/refresh", {"collectionName": name, "externalSource": "s3://x"})
    assert (code, f"collection {name} is not an external collection" in text) == (1100, True)
    assert rest.error("jobs/external_collection/describe", {"jobId": 5})[0] == 1100
    assert rest.ok("jobs/external_collection/list", {"collectionName": name}) == {"records": []}
    assert rest.error("jobs/external_collection/refresh", {"collectionName": "nobody"})[0] == 100


def test_imports_that_nobody_asked_for_are_not_listed(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 4})
    assert rest.ok("jobs/import/list", {"collectionName": name})["records"] == []
    code, text = rest.error("jobs/import/get_progress", {"jobId": "7"})
    assert (code, "import job does not exist, jobID=7" in text) == (2100, True)


def test_a_snapshot_leaves_and_comes_back(rest: Rest, name: str) -> None:
    rest.ok("collections/create", {"collectionName": name, "dimension": 2})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1, "vector": [1.0, 2.0]}]})
    named = {"collectionName": name, "snapshotName": "s"}
    rest.ok("snapshots/create", named)
    left = rest.ok("jobs/snapshot/export", {**named, "targetS3Path": f"out-{uuid.uuid4().hex[:8]}"})
    assert _ended(rest, left["jobId"])["state"].endswith("Completed")
    back = {"targetCollectionName": f"{name}_2", "snapshotMetadataURI": left["snapshotMetadataURI"]}
    job = rest.ok("jobs/snapshot/restore_external", back)
    assert _ended(rest, job["jobId"])["state"].endswith("Completed")
    assert rest.ok("collections/has", {"collectionName": f"{name}_2"}) == {"has": True}


def _ended(rest: Rest, job: str) -> dict[str, str]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found: dict[str, str] = rest.ok("jobs/snapshot/describe", {"jobId": job})
        if found["state"].endswith(("Completed", "Failed")):
            return found
        time.sleep(0.02)
    raise AssertionError(f"job {job} does not end")
