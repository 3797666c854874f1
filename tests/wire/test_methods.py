"""Every call in every direction: requests and results survive the wire, errors arrive as themselves."""

from __future__ import annotations

import inspect
import random
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus.client.prepare import Prepare
from pymilvus.client.utils import check_status
from pymilvus.exceptions import MilvusException as TheirException
from pymilvus.grpc_gen import common_pb2, feder_pb2, milvus_pb2
from tests.wire.access_samples import access_requests, access_results
from tests.wire.analysis_samples import analysis_requests, analysis_results
from tests.wire.change_samples import MODULES as CHANGES
from tests.wire.change_samples import change_requests, change_results
from tests.wire.import_samples import import_requests, import_results
from tests.wire.placement_samples import MODULES, placement_requests, placement_results
from tests.wire.samples import queries, requests_of_all_calls, results_of_all_calls, rows

from redkite import errors
from redkite.model import access, analysis, exchange, imports, inspection, requests, results
from redkite.model.types import ConsistencyLevel
from redkite.segment.growing import rows_only
from redkite.wire.messages import milvus, own_service, schema
from redkite.wire.methods import (
    METHODS,
    WITHOUT_A_STATUS,
    MethodUnimplemented,
    decode_reply,
    decode_request,
    encode_error,
    encode_pieces,
    encode_reply,
    encode_request,
)
from redkite.wire.methods import REQUESTS as CALLED

INSPECTION = {inspection.GetMetrics: inspection.SystemMetrics(answer="{}", component="proxy1")}
REQUESTS = [
    *requests_of_all_calls(), *access_requests(), *analysis_requests(), *placement_requests(),
    *import_requests(), *change_requests(),
    inspection.GetMetrics(question='{"a": 1}'),
]  # fmt: skip
RESULTS = (
    results_of_all_calls()
    | access_results()
    | analysis_results()
    | placement_results()
    | import_results()
    | INSPECTION
    | change_results()
)


WITHOUT_A_CALL = {inspection.ListBackupJobs}
"""Asked by the page of the metrics port alone, which is in the server's process."""


def name_of(value: Any) -> str:
    return type(value).__name__


def method_of(request: requests.Request) -> str:
    """The RPC that a request is sent by."""
    return encode_request(request)[0]


def same(left: Any, right: Any) -> bool:
    """Equality of structs that may hold arrays."""
    if isinstance(left, msgspec.Struct):
        fields = left.__struct_fields__
        return type(left) is type(right) and all(same(getattr(left, f), getattr(right, f)) for f in fields)
    if isinstance(left, np.ndarray):
        return np.array_equal(left, right)
    if isinstance(left, pa.RecordBatch):
        return bool(left.equals(right, check_metadata=True))
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def test_every_request_of_the_waist_has_a_call() -> None:
    modules = (requests, access, analysis, exchange, inspection, imports, *MODULES, *CHANGES)
    classes = [cls for module in modules for _, cls in inspect.getmembers(module, inspect.isclass)]
    built = {cls for cls in classes if issubclass(cls, requests.Request)}
    built -= WITHOUT_A_CALL
    assert built - {requests.Request} == CALLED
    assert {cls for _, _, cls in METHODS.values()} <= CALLED
    assert {type(request) for request in REQUESTS} == built - {requests.Request}


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_a_request_survives_the_wire(request_: requests.Request) -> None:
    method, data = encode_request(request_)
    assert same(decode_request(method, data, {}), request_)


def test_the_vectors_of_an_insert_are_sent_from_where_they_lie() -> None:
    numbers = np.arange(4_000, dtype=np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 40)
    batch = pa.RecordBatch.from_arrays([vectors, pa.array(range(100))], ["vector", "id"])
    request = requests.Insert(collection="c", rows=batch)
    method, pieces = encode_pieces(request)
    assert any(np.shares_memory(np.frombuffer(piece, np.uint8), numbers) for piece in pieces)
    assert b"".join(pieces) == encode_request(request)[1]
    read = decode_request(method, b"".join(pieces), {}).rows
    assert read.column("vector").equals(vectors)
    assert read.column("id").equals(batch.column("id"))


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_a_result_survives_the_wire(request_: requests.Request) -> None:
    result = RESULTS.get(type(request_), results.Done())
    assert same(decode_reply(request_, encode_reply(method_of(request_), result)), result)


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
def test_pymilvus_reads_what_is_sent_and_answered(request_: requests.Request) -> None:
    method, data = encode_request(request_)
    if method in own_service.methods_by_name:
        pytest.skip("a call of Redkite's own")
    descriptor = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods_by_name[method]
    sent, answered = (
        next(getattr(m, message.name) for m in (milvus_pb2, common_pb2, feder_pb2) if hasattr(m, message.name))
        for message in (descriptor.input_type, descriptor.output_type)
    )
    ours = METHODS[method][0].FromString(data).SerializeToString(deterministic=True)
    assert sent.FromString(data).SerializeToString(deterministic=True) == ours
    reply = answered.FromString(encode_reply(method, RESULTS.get(type(request_), results.Done())))
    if method not in {"Dummy", *WITHOUT_A_STATUS}:
        check_status(getattr(reply, "alter_status", None) or getattr(reply, "status", reply))


@pytest.mark.parametrize("method", [method for method in METHODS if method not in {"Dummy", *WITHOUT_A_STATUS}])
def test_an_error_arrives_as_itself_in_every_reply(method: str) -> None:
    data = encode_error(method, errors.CollectionNotLoaded("collection not loaded[collection=7]"))
    request = next(request for request in REQUESTS if method_of(request) == method)
    with pytest.raises(errors.CollectionNotLoaded) as caught:
        decode_reply(request, data)
    assert (caught.value.code, caught.value.message) == (101, "collection not loaded[collection=7]")


@pytest.mark.parametrize(
    ("error", "retriable", "legacy", "input_error"),
    [
        (errors.InvalidParameter("x"), False, 5, True),
        (errors.RateLimited("slow down"), True, 49, False),
        (errors.SchemaMismatch.named("c"), False, 62, True),
        (errors.Unexpected("oops"), False, 1, False),
    ],
)
def test_a_status_says_whose_fault_it_is_and_whether_to_retry(
    error: errors.MilvusException, retriable: bool, legacy: int, input_error: bool
) -> None:
    status = milvus_pb2.MutationResult.FromString(encode_error("Insert", error)).status
    assert (status.code, status.error_code, status.reason, status.detail) == (
        error.code, legacy, error.message, error.message,
    )  # fmt: skip
    assert status.retriable is retriable
    assert dict(status.extra_info) == ({"is_input_error": "true"} if input_error else {})
    with pytest.raises(TheirException):
        check_status(status)


def test_an_error_can_answer_a_call_that_is_not_built() -> None:
    status = common_pb2.Status.FromString(encode_error("CreateRole", errors.Unimplemented("no")))
    assert status.code == 10
    altered = milvus_pb2.AlterCollectionSchemaResponse.FromString(
        encode_error("AlterCollectionSchema", errors.Unimplemented("no"))
    )
    assert altered.alter_status.code == 10


def test_old_servers_say_their_errors_in_old_numbers() -> None:
    reply = milvus_pb2.BoolResponse(status=common_pb2.Status(error_code=4, reason="gone")).SerializeToString()
    with pytest.raises(errors.CollectionNotFound, match="gone"):
        decode_reply(requests.HasCollection(collection="c"), reply)


@pytest.mark.parametrize("method", ["AddUserTags", "Nonsense", ""])
def test_a_call_that_is_not_built_says_so(method: str) -> None:
    with pytest.raises(MethodUnimplemented, match=f"method {method} not implemented"):
        decode_request(method, b"", {})


# -- where names are looked up ------------------------------------------------------------------
def test_the_database_of_the_message_wins_over_that_of_the_metadata() -> None:
    named = milvus.DropCollectionRequest(db_name="shop", collection_name="c").SerializeToString()
    plain = milvus.DropCollectionRequest(collection_name="c").SerializeToString()
    assert decode_request("DropCollection", named, {"dbname": "attic"}).database == "shop"
    assert decode_request("DropCollection", plain, {"dbname": "attic"}).database == "attic"
    assert decode_request("DropCollection", plain, {}).database == ""


@pytest.mark.parametrize("method", ["CreateDatabase", "DropDatabase", "DescribeDatabase", "FlushAll"])
def test_a_call_about_a_database_does_not_fall_back_to_the_current_one(method: str) -> None:
    assert decode_request(method, b"", {"dbname": "attic"}).database == ""


def test_the_database_of_connect_is_in_the_metadata() -> None:
    assert decode_request("Connect", b"", {"dbname": "attic"}).database == "attic"


# -- what pymilvus sends ------------------------------------------------------------------------
def search_from_pymilvus(**more: Any) -> requests.Search:
    message = Prepare.search_requests_with_expr(
        "c", "v", {"metric_type": "L2", "params": {"ef": 9}}, 4, data=[[1.0, 2.0]], **more
    )
    request = decode_request("Search", message.SerializeToString(), {})
    assert isinstance(request, requests.Search)
    return request


@pytest.mark.parametrize(
    ("more", "level", "timestamp"),
    [
        ({}, None, 0),
        ({"guarantee_timestamp": 77}, None, 77),
        ({"use_default_consistency": False, "consistency_level": 0}, ConsistencyLevel.Strong, 0),
        (
            {"use_default_consistency": False, "consistency_level": 2, "guarantee_timestamp": 2},
            ConsistencyLevel.Bounded,
            2,
        ),
        ({"use_default_consistency": False, "guarantee_timestamp": 1}, ConsistencyLevel.Eventually, 1),
        ({"use_default_consistency": False, "guarantee_timestamp": 2}, ConsistencyLevel.Bounded, 2),
        ({"use_default_consistency": False, "guarantee_timestamp": 1 << 40}, ConsistencyLevel.Customized, 1 << 40),
    ],
)
def test_the_consistency_a_client_asks_for_is_read(
    more: dict[str, Any], level: ConsistencyLevel | None, timestamp: int
) -> None:
    request = search_from_pymilvus(**more)
    assert (request.consistency_level, request.guarantee_timestamp) == (level, timestamp)


def test_a_level_nobody_knows_is_refused() -> None:
    message = milvus.QueryRequest(consistency_level=9)
    with pytest.raises(errors.InvalidParameter, match="Invalid consistency level: 9"):
        decode_request("Query", message.SerializeToString(), {})


def test_a_search_of_pymilvus_is_read_whole() -> None:
    request = search_from_pymilvus(
        expr="a > {x}", expr_params={"x": 1}, output_fields=["t"], partition_names=["p"], offset=3, round_decimal=2
    )
    expected = requests.Search(
        collection="c", queries=queries(), limit=4, anns_field="v", filter="a > {x}", filter_params={"x": 1},
        output_fields=("t",), partitions=("p",), offset=3, metric="L2", params={"ef": 9}, round_decimal=2,
    )  # fmt: skip
    assert same(msgspec.structs.replace(request, queries=expected.queries), expected)


SEARCH = {"search_params": [{"key": "topk", "value": "1"}], "placeholder_group": b"\x0a\x0b\x10\x65\x1a\x041234"}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"search_by_primary_keys": True}, "search_by_primary_keys"),
        ({"sub_reqs": [{"nq": 1}]}, "sub_reqs"),
    ],
)
def test_a_part_of_a_search_that_is_not_served_is_refused_by_name(content: dict[str, Any], name: str) -> None:
    message = milvus.SearchRequest(**{**SEARCH, **content})
    with pytest.raises(errors.Unimplemented, match=f"{name} of a search is not supported in this version"):
        decode_request("Search", message.SerializeToString(), {})


@pytest.mark.parametrize(
    ("method", "message", "error", "text"),
    [
        ("Search", milvus.SearchRequest(**SEARCH, dsl="a"), errors.InvalidParameter, "dsl_type BoolExprV1"),
        ("Insert", milvus.InsertRequest(), errors.InvalidParameter, "num_rows should be greater than 0: invalid "
         r"parameter\[expected=invalid num_rows\]\[actual=0\]"),
        ("Insert", milvus.InsertRequest(num_rows=1), errors.InvalidParameter, "no field data has been passed in"),
        ("Insert", milvus.InsertRequest(num_rows=1, namespace="n"), errors.Unimplemented, "namespace"),
        ("Delete", milvus.DeleteRequest(namespace="n"), errors.Unimplemented, "namespace"),
        ("Query", milvus.QueryRequest(namespace="n"), errors.Unimplemented, "namespace 'n' is not supported"),
        ("Search", milvus.SearchRequest(**SEARCH, namespace="n"), errors.Unimplemented, "namespace 'n' is not"),
        ("CreateCollection", milvus.CreateCollectionRequest(schema=b"\xff"), errors.WireError, "CollectionSchema"),
        ("CreateCollection", milvus.CreateCollectionRequest(
            collection_name="a", schema=schema.CollectionSchema(name="b").SerializeToString()),
         errors.InvalidParameter, "collection name a does not match the schema's name b"),
        ("LoadCollection", milvus.LoadCollectionRequest(load_params={"load_priority": "soon"}), errors.InvalidParameter,
         "load priority soon is not one of HIGH, LOW"),
        ("LoadCollection", milvus.LoadCollectionRequest(load_params={"x": "1"}), errors.Unimplemented,
         "load parameter x"),
        ("BatchDescribeCollection", milvus.BatchDescribeCollectionRequest(collection_name=["a"], collectionID=[1]),
         errors.InvalidParameter, "either names or ids"),
        ("FlushAll", milvus.FlushAllRequest(flush_targets=[{"db_name": "d"}]), errors.Unimplemented, "flush_targets"),
        ("GetFlushAllState", milvus.GetFlushAllStateRequest(flush_all_tss={"c": 1}), errors.Unimplemented,
         "flush_all_tss"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_served_as_sent_is_refused(
    method: str, message: Any, error: type[errors.MilvusException], text: str
) -> None:
    with pytest.raises(error, match=text):
        decode_request(method, message.SerializeToString(), {})


def test_the_number_of_replicas_is_left_open_when_not_given() -> None:
    assert decode_request("LoadCollection", b"", {}).replicas == 0


# -- replies ------------------------------------------------------------------------------------
def test_a_write_succeeded_for_every_row() -> None:
    result = results.Mutation(ids=pa.array(range(300)), count=300, timestamp=5)
    reply = milvus_pb2.MutationResult.FromString(encode_reply("Insert", result))
    assert list(reply.succ_index) == list(range(300))
    assert list(reply.IDs.int_id.data) == list(range(300))
    assert (reply.insert_cnt, reply.upsert_cnt, reply.timestamp, reply.acknowledged) == (300, 0, 5, False)


def test_a_search_without_hits_still_says_how_many_queries_there_were() -> None:
    nothing = pa.RecordBatch.from_arrays([], names=[])
    result = results.Hits(
        topks=np.zeros(2, np.int64), keys=pa.array([], pa.int64()), scores=np.empty(0, np.float32), rows=nothing,
        output_fields=(), primary_field="id", collection="c", session_timestamp=1,
    )  # fmt: skip
    reply = milvus_pb2.SearchResults.FromString(encode_reply("Search", result))
    assert (reply.results.num_queries, reply.results.top_k, list(reply.results.topks)) == (2, 0, [0, 0])
    assert same(
        decode_reply(requests.Search(collection="c", queries=queries(), limit=1), encode_reply("Search", result)),
        result,
    )


def test_keys_go_out_alike_whether_they_are_bare_numbers_or_a_column() -> None:
    column = results.Hits(
        topks=np.array([3]), keys=pa.array([5, -3, 1 << 40]), scores=np.zeros(3, np.float32), rows=rows_only(3),
        output_fields=(), primary_field="id", collection="c", session_timestamp=1,
    )  # fmt: skip
    bare = msgspec.structs.replace(column, keys=np.array([5, -3, 1 << 40]))
    assert encode_reply("Search", bare) == encode_reply("Search", column)


def test_a_query_without_rows_still_has_its_columns() -> None:
    result = results.Rows(
        rows=rows().slice(0, 0), output_fields=("id",), primary_field="id", collection="c", session_timestamp=1
    )
    reply = milvus_pb2.QueryResults.FromString(encode_reply("Query", result))
    assert [field.field_name for field in reply.fields_data] == ["id", "v", "t", "h", "$meta"]


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (requests.ShowCollections(), milvus.ShowCollectionsResponse(collection_names=["a"], collection_ids=[1, 2])),
        (requests.ShowPartitions(collection="c"),
         milvus.ShowPartitionsResponse(partition_names=["a"], partitionIDs=[1, 2])),
        (requests.GetLoadState(collection="c"), milvus.GetLoadStateResponse(state=77)),
        (requests.DescribeIndex(collection="c"), milvus.DescribeIndexResponse(index_descriptions=[{"state": 77}])),
        (requests.GetCollectionStatistics(collection="c"),
         milvus.GetCollectionStatisticsResponse(stats=[{"key": "row_count", "value": "x"}])),
        (requests.Search(collection="c", queries=queries(), limit=1),
         milvus.SearchResults(results={"topks": [2**62] * 4, "num_queries": 4})),
        (requests.Search(collection="c", queries=queries(), limit=1),
         milvus.SearchResults(results={"topks": [1], "scores": [1.0]})),
    ],
    ids=name_of,
)  # fmt: skip
def test_a_reply_that_contradicts_itself_is_a_typed_error(request_: requests.Request, reply: Any) -> None:
    with pytest.raises((errors.WireError, errors.InvalidParameter)):
        decode_reply(request_, reply.SerializeToString())


# -- hostile bytes ------------------------------------------------------------------------------
FEWER = settings(max_examples=max(10, settings.default.max_examples // 3))  # of each of some 45 calls


SEEDS = st.integers(0, 2**64 - 1)
"""Of the damage: hypothesis would take longer to draw each byte of it than it takes to read what is damaged."""


def mutated(data: bytes, seed: int) -> bytes:
    """A message with some bytes overwritten, inserted, repeated or cut off."""
    chance = random.Random(seed)
    out = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        if not out:
            break
        at = chance.randrange(len(out))
        action = chance.choice(["set", "insert", "cut", "repeat", "tail"])
        if action == "set":
            out[at] = chance.randrange(256)
        elif action == "insert":
            out[at:at] = chance.randbytes(chance.randint(1, 8))
        elif action == "cut":
            del out[at : at + chance.randint(1, 8)]
        elif action == "repeat":
            out[at:at] = out[at : at + 16]
        else:
            del out[at:]
    return bytes(out)


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
@FEWER
@given(seed=SEEDS)
def test_a_damaged_request_is_read_or_refused_with_a_typed_error(request_: requests.Request, seed: int) -> None:
    method, sound = encode_request(request_)
    try:
        decode_request(method, mutated(sound, seed), {})
    except errors.MilvusException as error:
        assert method in WITHOUT_A_STATUS or encode_error(method, error)


@pytest.mark.parametrize("request_", REQUESTS, ids=name_of)
@FEWER
@given(seed=SEEDS)
def test_a_damaged_reply_is_read_or_refused_with_a_typed_error(request_: requests.Request, seed: int) -> None:
    sound = encode_reply(method_of(request_), RESULTS.get(type(request_), results.Done()))
    try:
        decode_reply(request_, mutated(sound, seed))
    except errors.MilvusException as error:
        assert str(error)


@pytest.mark.parametrize("method", METHODS)
@FEWER
@given(data=st.binary(max_size=120))
def test_garbage_is_read_or_refused_with_a_typed_error(method: str, data: bytes) -> None:
    try:
        decode_request(method, data, {})
    except errors.MilvusException as error:
        assert error.code
