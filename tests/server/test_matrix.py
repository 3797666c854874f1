"""Every RPC and every route, asked by every kind of caller who holds nothing: denied, unless a list here says why not.

Both lists of doors are the server's own, so that a new one is closed or fails here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import pytest
from google.protobuf.descriptor import FieldDescriptor
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2
from tests.server.guarded import ROOT, serve

import redkite
from redkite.model.replication import ReplicationPage
from redkite.server.rest.endpoints import ENDPOINTS
from redkite.server.rest.exchange import Endpoint
from redkite.server.rest.openapi import OPENAPI_PATH
from redkite.server.rest.v1 import V1
from redkite.server.webui.door import API, MARK
from redkite.server.webui.views import VIEWS
from redkite.wire.methods import METHODS, PATHS, STREAMED

_SELF = "about the caller itself"
_LISTS = "lists show only what a grant names"
_PUBLIC = "a privilege that everybody has by default, as Milvus's role `public` does"
_STATE = "says nothing of any collection"
_UNASKED = "Milvus asks for no privilege"
_GONE = "refused to everybody: Milvus does not serve it any more"
_NONE = "there are no external collections whose jobs could be shown"

OPEN_RPCS = {
    "Connect": _SELF, "GetVersion": _STATE, "CheckHealth": _STATE, "GetComponentStates": _STATE,
    "AllocTimestamp": _STATE, "GetMetrics": _STATE, "ListDatabases": _LISTS, "ShowCollections": _LISTS,
    "HasCollection": "Milvus tells anybody whether there is a collection", "GetFlushAllState": _STATE,
    "DescribeCollection": _PUBLIC, "ListAliases": _PUBLIC, "DescribeIndex": _PUBLIC, "GetIndexState": _PUBLIC,
    "GetIndexBuildProgress": _PUBLIC, "GetIndexStatistics": _PUBLIC, "ListIndexedSegment": _PUBLIC,
    "GetCompactionState": _STATE, "GetCompactionStateWithPlans": _STATE,
    "GetRestoreSnapshotState": _STATE, "RunAnalyzer": "works on the caller's own text",
    "ComputePhraseMatchSlop": "works on the caller's own text",
    "GetPersistentSegmentInfo": _UNASKED, "GetQuerySegmentInfo": _UNASKED, "GetReplicas": _UNASKED,
    "BatchDescribeCollection": _PUBLIC, "Dummy": _STATE, "RegisterLink": _STATE, "ReplicateMessage": _GONE,
    "CalcDistance": _GONE, "ListRefreshExternalCollectionJobs": _NONE, "GetRefreshExternalCollectionProgress": _NONE,
}  # fmt: skip
"""RPCs that answer a user who holds nothing."""

_V2 = "POST /v2/vectordb/"
OPEN_ROUTES: dict[str, str] = {
    _V2 + "collections/list": _LISTS, _V2 + "databases/list": _LISTS, "GET /v1/vector/collections": _LISTS,
    _V2 + "collections/has": "Milvus tells anybody whether there is a collection",
    _V2 + "collections/get_compaction_state": _STATE, _V2 + "indexes/list": _PUBLIC, _V2 + "indexes/describe": _PUBLIC,
    _V2 + "aliases/list": _PUBLIC, _V2 + "segments/describe": _UNASKED, _V2 + "quotacenter/describe": _STATE,
    _V2 + "jobs/snapshot/describe": _STATE, _V2 + "common/run_analyzer": "works on the caller's own text",
    _V2 + "jobs/external_collection/describe": _NONE, _V2 + "jobs/external_collection/list": _NONE,
    f"GET {OPENAPI_PATH}": "the same for every server",
}  # fmt: skip
"""Routes that do, by method and path."""


@dataclass(frozen=True)
class Callers:
    """Credentials by the kind of who shows them."""

    strangers: dict[str, str]
    powerless: dict[str, str]


@dataclass(frozen=True)
class House:
    uri: str
    metrics: str
    callers: Callers


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A guarded server with something to protect, and callers who may not have it."""
    folder: Path = tmp_path_factory.mktemp("matrix")
    with serve(folder, 'authorization = "on"') as server, redkite.MilvusClient(server.uri, token=ROOT) as root:
        root.create_collection("birds", dimension=4)
        root.insert("birds", [{"id": 1, "vector": [1, 2, 3, 4]}])
        root.create_collection("elsewhere", dimension=4)
        root.create_partition("birds", "north")
        root.create_alias("birds", "fowl")
        for name in ("bare", "guest"):
            root.create_user(name, "secret1")
        root.create_role("visitor")
        root.grant_role("guest", "visitor")
        root.grant_privilege_v2("visitor", "Query", "elsewhere")
        root.create_database("aside")
        for level, role, database in (("Collection", "keeper", "default"), ("Database", "steward", "aside")):
            root.create_user(role, "secret1")
            root.create_role(role)
            root.grant_role(role, role)
            name = "elsewhere" if level == "Collection" else "*"
            root.grant_privilege_v2(role, f"{level}Admin", name, database)
        root.grant_privilege_v2("steward", "CollectionAdmin", "*", "aside")
        key = root.create_api_key("door", "bare")
        callers = Callers(
            strangers={"wrong password": "root:wrong!", "unknown user": "nobody:Milvus", "unknown key": "no-such-key"},
            powerless={
                "without a role": "bare:secret1",
                "with an unrelated role": "guest:secret1",
                "API key": key,
                "who may do everything with another collection": root.create_api_key("keeper", "keeper"),
                "who may do everything in another database": root.create_api_key("steward", "steward"),
            },
        )
        yield House(server.uri, f"http://127.0.0.1:{server.metrics_port}", callers)
        # Whatever was tried, nothing came of it.
        assert set(root.list_collections()) == {"birds", "elsewhere"}
        assert root.query("birds", filter="", output_fields=["count(*)"]) == [{"count(*)": 1}]
        assert root.list_users() == ["bare", "guest", "keeper", "root", "steward"]
        assert set(root.list_roles()) >= {"visitor", "admin"}
        assert set(root.list_databases()) == {"default", "aside"}


# -- gRPC ---------------------------------------------------------------------------------------
_TEXTS = {
    "collection": "birds", "alias": "fowl", "newName": "stolen", "db": "", "partition": "north", "field": "vector",
    "index": "vector", "expr": "id >= 0", "dsl": "id >= 0", "user": "root", "role": "admin", "group": "mine",
    "assword": base64.b64encode(b"secret2").decode(), "privilege": "Query", "request": "{}",
}  # fmt: skip


def _filled(message: Any, depth: int = 4) -> Any:
    """A message in which everything is said that its fields have a name for."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and message.WhichOneof(field.containing_oneof.name):
            continue
        many = field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if many or depth == 0 or field.name == "base":
                continue
            _filled(getattr(message, field.name), depth - 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            text = next((value for part, value in _TEXTS.items() if part.lower() in field.name.lower()), None)
            if text is not None:
                getattr(message, field.name).append(text) if many else setattr(message, field.name, text)
    return message


def _special() -> dict[str, bytes]:
    """Requests whose parts have to fit together to be one at all."""
    made = schema_pb2.CollectionSchema(name="stolen")
    made.fields.add(name="id", data_type=5, is_primary_key=True)
    made.fields.add(name="vector", data_type=101).type_params.add(key="dim", value="4")
    later = schema_pb2.FieldSchema(name="later", data_type=5, nullable=True)
    vectors = common_pb2.PlaceholderGroup()
    vectors.placeholders.add(tag="$0", type=101, values=[b"\0" * 16])
    insert = milvus_pb2.InsertRequest(collection_name="birds", num_rows=1)
    insert.fields_data.add(type=5, field_name="id").scalars.long_data.data.append(7)
    floats = insert.fields_data.add(type=101, field_name="vector").vectors
    floats.dim = 4
    floats.float_vector.data.extend([1, 2, 3, 4])
    search = milvus_pb2.SearchRequest(
        collection_name="birds", dsl_type=1, nq=1, placeholder_group=vectors.SerializeToString()
    )
    for key, value in {"anns_field": "vector", "topk": "1", "params": "{}"}.items():
        search.search_params.add(key=key, value=value)
    hybrid = milvus_pb2.HybridSearchRequest(collection_name="birds", requests=[search])
    for key, value in {"strategy": "rrf", "params": "{}", "limit": "1"}.items():
        hybrid.rank_params.add(key=key, value=value)
    drop = milvus_pb2.AlterCollectionSchemaRequest(collection_name="birds")
    drop.action.drop_request.field_name = "vector"
    messages: dict[str, Any] = {
        "CreateCollection": milvus_pb2.CreateCollectionRequest(
            collection_name="stolen", schema=made.SerializeToString()
        ),
        "AddCollectionField": milvus_pb2.AddCollectionFieldRequest(
            collection_name="birds", schema=later.SerializeToString()
        ),
        "Insert": insert,
        "Upsert": milvus_pb2.UpsertRequest.FromString(insert.SerializeToString()),
        "Search": search,
        "HybridSearch": hybrid,
        "AlterCollectionSchema": drop,
    }
    return {name: message.SerializeToString() for name, message in messages.items()}


def _requests() -> dict[str, bytes]:
    applied = METHODS["ApplyReplication"][0](page=msgspec.msgpack.encode([ReplicationPage(), False, False]))
    dumped = milvus_pb2.DumpMessagesRequest(pchannel="by-dev-rootcoord-dml_0")
    special = _special() | {"ApplyReplication": applied.SerializeToString()}
    return {STREAMED: dumped.SerializeToString()} | {
        method: special[method] if method in special else _filled(message()).SerializeToString()
        for method, (message, _, _) in METHODS.items()
    }


def _every_path() -> dict[str, str]:
    """Each RPC of each of Milvus's services, served or not, and our own."""
    found = dict(PATHS)
    for service in milvus_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            found.setdefault(method.name, f"/{service.full_name}/{method.name}")
    return found


def _grpc_token(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", base64.b64encode(token.encode()).decode()),) if token else ()


def test_no_rpc_lets_a_stranger_in(house: House) -> None:
    requests = _requests()
    strangers = {"nobody": "", **house.callers.strangers}
    with grpc.insecure_channel(house.uri.removeprefix("http://")) as channel:
        for number, (method, path) in enumerate(_every_path().items()):
            # Passwords are slow to compare on purpose: those take turns, nobody and an unknown key try every door.
            names = ["nobody", "unknown key", ("wrong password", "unknown user")[number % 2]]
            for name in names if number % 10 == 0 else names[:2]:
                with pytest.raises(grpc.RpcError) as caught:
                    channel.unary_unary(path)(requests.get(method, b""), metadata=_grpc_token(strangers[name]))
                is_served = method in PATHS or method == STREAMED
                expected = grpc.StatusCode.UNAUTHENTICATED if is_served else grpc.StatusCode.UNIMPLEMENTED
                assert caught.value.code() is expected, (method, name, caught.value.details())


def test_no_rpc_does_anything_for_users_who_hold_nothing(house: House) -> None:
    requests = _requests()
    wrong: list[str] = []
    with grpc.insecure_channel(house.uri.removeprefix("http://")) as channel:
        for kind, token in house.callers.powerless.items():
            for method, path in {**PATHS, STREAMED: _every_path()[STREAMED]}.items():
                try:
                    reply = channel.unary_unary(path)(requests[method], metadata=_grpc_token(token))
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.PERMISSION_DENIED:
                        wrong.append(f"{method} for a user {kind}: {error.code()} {error.details()}")
                    elif method in OPEN_RPCS:
                        wrong.append(f"{method} is listed as open, and is not: {error.details()}")
                else:
                    if method not in OPEN_RPCS:
                        told = METHODS[method][1].FromString(reply)
                        wrong.append(f"{method} answers a user {kind}: {str(told)[:200]}")
    assert not wrong, "\n".join(wrong)


_STEPS: dict[str, tuple[str, str, str]] = {
    "Collection": (
        "AcknowledgeChanges AdviseIndex DescribeAlias DescribeImport DescribeSnapshot DropChangeFeed "
        "GetCollectionStatistics GetFlushState GetImportState GetLoadState GetLoadingProgress GetPartitionStatistics "
        "HasPartition HybridSearch ListChangeFeeds ListImportTasks ListImports ListSnapshots MeasureRecall Query "
        "ReadChanges Search ShowPartitions",
        "AbortImport AddCollectionField AddCollectionStructField AlterCollectionSchema AlterIndex CommitImport "
        "CreateIndex CreatePartition CreateSnapshot Delete DropIndex DropPartition DropSnapshot Flush Import "
        "ImportFiles Insert LoadBalance LoadCollection LoadPartitions ManualCompaction RefreshExternalCollection "
        "ReleaseCollection ReleasePartitions Upsert",
        "AlterAlias CreateAlias DropAlias ListRestoreSnapshotJobs RestoreSnapshot",
    ),
    "Database": (
        "DescribeDatabase",
        "AlterDatabase",
        "AddCollectionFunction AlterCollection AlterCollectionField AlterCollectionFunction CreateCollection "
        "DropCollection DropCollectionFunction RenameCollection TruncateCollection",
    ),
    "Cluster": (
        "DescribeResourceGroup GetReplicateConfiguration GetReplicateInfo ListCredUsers ListFileResources "
        "ListPrivilegeGroups ListResourceGroups SelectGrant SelectRole SelectUser",
        "AddFileResource FlushAll PinSnapshotData RemoveFileResource TransferNode TransferReplica UnpinSnapshotData "
        "UpdateResourceGroups",
        "AlterRole ApplyReplication BackupRBAC CountEverything CreateCredential CreateDatabase CreatePrivilegeGroup "
        "CreateResourceGroup CreateRole DeleteCredential DropDatabase DropPrivilegeGroup DropResourceGroup DropRole "
        "DumpMessages ExportSnapshot FreezeWrites GetExportSnapshotState OperatePrivilege OperatePrivilegeGroup "
        "OperatePrivilegeV2 OperateUserRole ReadReplication RestoreExternalSnapshot RestoreRBAC UpdateCredential "
        "UpdateReplicateConfiguration",
    ),
}
"""RPCs of the built-in groups by their level, of ReadOnly, further ones of ReadWrite, and of Admin."""
GROUP_RPCS = {
    level + name: frozenset(" ".join(steps[: number + 1]).split())
    for level, steps in _STEPS.items()
    for number, name in enumerate(("ReadOnly", "ReadWrite", "Admin"))
}


@pytest.mark.parametrize("group", GROUP_RPCS)
def test_whoever_holds_a_built_in_group_over_everything_may_do_nothing_beyond_it(house: House, group: str) -> None:
    requests = _requests()
    with redkite.MilvusClient(house.uri, token=ROOT) as root:
        root.create_role(group)
        root.create_user(group, "secret1")
        root.grant_role(group, group)
        root.grant_privilege_v2(group, group, "*", "*")
        key = root.create_api_key(group, group)
    doors = {**PATHS, STREAMED: _every_path()[STREAMED]}
    assert GROUP_RPCS[group] < doors.keys()
    answered = []
    with grpc.insecure_channel(house.uri.removeprefix("http://")) as channel:
        for method in doors.keys() - GROUP_RPCS[group] - OPEN_RPCS.keys():
            try:
                channel.unary_unary(doors[method])(requests[method], metadata=_grpc_token(key))
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                    continue
            answered.append(method)
    with redkite.MilvusClient(house.uri, token=ROOT) as root:
        root.drop_user(group)
        root.revoke_privilege_v2(group, group, "*", "*")
        root.drop_role(group)
    assert not answered


# -- REST ---------------------------------------------------------------------------------------
_VALUES = {
    "collection_name": "birds", "new_collection_name": "stolen", "partition_name": "north", "alias_name": "fowl",
    "partition_names": ["north"], "field_name": "vector", "index_name": "vector", "filter": "id >= 0", "dimension": 4,
    "user_name": "root", "password": "secret2", "new_password": "secret3", "role_name": "admin", "privilege": "Query",
    "object_type": "Collection", "object_name": "*", "id": [1], "data": [[1, 2, 3, 4]], "anns_field": "vector",
    "index_params": [{"fieldName": "vector", "metricType": "COSINE"}], "properties": {"collection.ttl.seconds": 9},
    "property_keys": ["collection.ttl.seconds"], "privilege_group_name": "mine", "privileges": ["Query"],
    "text": ["a"], "files": [["f.json"]], "job_id": "1", "vector": [1, 2, 3, 4],
    "search": [{"data": [[1, 2, 3, 4]], "annsField": "vector", "limit": 1}],
    "schema": {"fieldName": "later", "dataType": "Int64", "nullable": True},
}  # fmt: skip

_HELPFUL = {"collection_name", "data", "filter", "id", "field_name", "privileges"}
"""Keys that say what is meant where no single one of them is required."""
_FUNCTION = {"name": "mine", "type": "BM25", "inputFieldNames": ["text"], "outputFieldNames": ["sparse"]}
_WHOLE: dict[str, dict[str, Any]] = {
    "collections/struct_fields/add": {"schema": {
        "fieldName": "later", "fields": [{"fieldName": "n", "dataType": "Array", "elementDataType": "Int64",
                                          "elementTypeParams": {"max_capacity": 4}}]}},
    "collections/add_function_field": {
        "function": _FUNCTION, "outputField": {"fieldName": "sparse", "dataType": "SparseFloatVector"},
        "indexParams": {"fieldName": "sparse", "metricType": "BM25"}},
    "collections/fields/add": {"schema": {"fieldName": "later", "dataType": "Int64", "nullable": True}},
    "collections/add_function": {"function": _FUNCTION},
    "collections/alter_function": {"function": _FUNCTION, "functionName": "mine"},
    "collections/fields/alter_properties": {"fieldParams": {"mmap.enabled": True}},
    "snapshots/unpin": {"pinId": 1},
    "resource_groups/alter": {"resource_groups": {"mine": {"requests": {"node_num": 1}}}},
    "resource_groups/transfer_replica": {"replicaNum": 1},
    "jobs/external_collection/describe": {"jobId": 1},
}  # fmt: skip
"""What some endpoints take to be read at all."""


def _body(path: str, endpoint: Endpoint) -> dict[str, Any]:
    """A body with whatever the endpoint wants."""
    body: dict[str, Any] = {}
    for field in msgspec.structs.fields(endpoint.body):
        wanted = field.name in endpoint.body.required
        if field.name in _VALUES and (wanted or field.name in _HELPFUL):
            body[field.encode_name] = _VALUES[field.name]
        elif wanted:
            body[field.encode_name] = "mine" if field.type is str else {}
    if path.endswith(("entities/insert", "entities/upsert", "vector/insert", "vector/upsert")):
        body["data"] = [{"id": 7, "vector": [1, 2, 3, 4]}]
    if path.endswith("collections/create"):
        body.update(collectionName="stolen", dimension=4)
    return body | _WHOLE.get(path.removeprefix("/v2/vectordb/"), {})


def _routes() -> dict[tuple[str, str], dict[str, Any]]:
    found = {("POST", path): _body(path, endpoint) for path, endpoint in ENDPOINTS.items()}
    found |= {(verb, path): _body(path, endpoint) for (verb, path), endpoint in V1.items()}
    return {**found, ("GET", OPENAPI_PATH): {}}


def _asked(client: httpx.Client, verb: str, url: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    if verb == "GET":
        texts = {key: str(value) for key, value in body.items()}
        return client.get(url, params=texts, headers=headers)
    return client.request(verb, url, json=body, headers=headers)


def test_no_route_lets_a_stranger_in(house: House) -> None:
    with httpx.Client(timeout=30) as client:
        for verb, path in _routes():
            for header in ({}, {"Authorization": "Bearer no-such-key"}):
                for body in ({}, _routes()[verb, path]):
                    answer = _asked(client, verb, house.uri + path, body, **header)
                    assert answer.status_code == 401, (verb, path, answer.text)
                    assert answer.json() == {"code": 1800, "message": "user hasn't authenticated"}


def test_no_route_does_anything_for_users_who_hold_nothing(house: House) -> None:
    wrong: list[str] = []
    with httpx.Client(timeout=30) as client:
        for kind, token in house.callers.powerless.items():
            for (verb, path), body in _routes().items():
                answer = _asked(client, verb, house.uri + path, body, Authorization=f"Bearer {token}")
                name = f"{verb} {path}"
                closed = answer.status_code == 403 and "PermissionDenied" in answer.text
                if closed == (name in OPEN_ROUTES):
                    wrong.append(f"{name} for a user {kind}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)


# -- the metrics port ---------------------------------------------------------------------------
def test_the_metrics_port_tells_strangers_only_that_the_server_lives(house: House) -> None:
    open_paths = {"/healthz", "/livez"}
    paths = [*open_paths, "/metrics", "/metrics_default", "/log/level", "/api/v1/health", "/nothing"]
    for path in paths:
        for headers in ({}, {"Authorization": "Bearer no-such-key"}):
            answer = httpx.get(house.metrics + path, headers=headers)
            assert answer.status_code == (200 if path in open_paths else 401), path


def test_the_page_answers_no_question_of_a_stranger(house: House) -> None:
    mark = {MARK.decode(): "1"}
    rest = [path for path in ENDPOINTS if path.startswith("/v2/vectordb/")]
    paths = [API + name for name in VIEWS] + [f"{API}rest/" + path.removeprefix("/v2/vectordb/") for path in rest]
    with httpx.Client(timeout=30) as client:
        for path in paths:
            answer = client.post(house.metrics + path, json={}, headers=mark)
            if path == f"{API}session":  # what the page has to know to ask for a login
                assert answer.json()["data"] == {"guarded": True, "user": None, "admin": False}
            else:
                assert answer.status_code in (401, 404), (path, answer.text)
            assert client.post(house.metrics + path, json={}).status_code == 403, path
        for login in ({"user": "root", "password": "wrong!"}, {"key": "no-such-key"}, {}):
            assert client.post(f"{house.metrics}{API}login", json=login, headers=mark).status_code == 401


OPEN_VIEWS = {
    "names": _LISTS, "details": _LISTS, "tasks": _LISTS, "slow": _LISTS, "live": _STATE, "session": _SELF,
}  # fmt: skip
"""Questions of the page that answer a user who holds nothing."""


def test_the_page_tells_users_who_hold_nothing_no_more_than_rest_does(house: House) -> None:
    mark = {MARK.decode(): "1"}
    wrong: list[str] = []
    for kind, token in house.callers.powerless.items():
        headers = {**mark, "Authorization": f"Bearer {token}"}
        with httpx.Client(timeout=30, headers=headers) as client:
            for name in VIEWS:
                answer = client.post(house.metrics + API + name, json={"name": "birds"} if name == "segments" else {})
                told = answer.json()
                if "birds" in str(told.get("data")) or (told["code"] == 0) != (name in OPEN_VIEWS):
                    wrong.append(f"{name} for a user {kind}: {answer.status_code} {answer.text[:200]}")
            hidden = client.post(f"{house.metrics}{API}rest/collections/list", json={})
            assert "birds" not in hidden.text, kind
            denied = client.post(f"{house.metrics}{API}rest/users/list", json={})
            assert denied.status_code == 403, kind
    assert not wrong, "\n".join(wrong)
