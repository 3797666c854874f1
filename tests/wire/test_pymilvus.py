"""The real pymilvus, over a socket, against the codecs and a service that only remembers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from pymilvus import Collection, DataType, MilvusClient, MilvusException, connections

from redkite.errors import CollectionNotFound
from redkite.model import requests, results
from redkite.model.types import ConsistencyLevel, IndexState, LoadState
from redkite.wire import Handler, MethodUnimplemented

INDEX = results.IndexInfo(
    index_name="v", index_id=1, field="v", params={"index_type": "AUTOINDEX", "metric_type": "L2"}, total_rows=0,
    indexed_rows=0, pending_rows=0, state=IndexState.FINISHED,
)  # fmt: skip


class Memory:
    """Remembers requests, knows the collections that were created and the last rows that were written."""

    def __init__(self) -> None:
        self.asked: list[requests.Request] = []
        self.created: dict[str, requests.CreateCollection] = {}
        self.rows = pa.RecordBatch.from_arrays([], names=[])
        self.fixed: dict[type[requests.Request], results.Result] = {
            requests.Connect: results.ServerInfo(version="v2.6.0", identifier=7),
            requests.GetVersion: results.Version(version="v2.6.0"),
            requests.AllocTimestamp: results.Timestamp(timestamp=123),
            requests.DescribeIndex: results.Indexes(indexes=(INDEX,)),
            requests.GetLoadingProgress: results.LoadProgress(percent=100),
            requests.GetLoadState: results.LoadStateInfo(state=LoadState.Loaded),
            requests.GetCollectionStatistics: results.RowCount(rows=11),
            requests.GetPartitionStatistics: results.RowCount(rows=12),
            requests.GetFlushState: results.Flag(value=True),
            requests.GetFlushAllState: results.Flag(value=True),
            requests.HasPartition: results.Flag(value=True),
            requests.FlushAll: results.Timestamp(timestamp=77),
            requests.ListDatabases: results.Databases(names=("default",), ids=(1,), created_timestamps=(1,)),
            requests.DescribeDatabase: results.DatabaseInfo(name="shop", database_id=2, created_timestamp=1),
            requests.DescribeAlias: results.AliasInfo(alias="a", collection="c", database="default"),
            requests.ListAliases: results.Aliases(aliases=("a",), collection="c", database="default"),
            requests.Delete: results.Mutation(ids=pa.array([], pa.int64()), count=2, timestamp=9),
        }

    def is_quick(self, request: requests.Request) -> bool:
        return True

    def last(self, kind: type[requests.Request]) -> Any:
        return next(request for request in reversed(self.asked) if type(request) is kind)

    def call(self, request: requests.Request) -> results.Result | futures.Future[results.Result]:
        self.asked.append(request)
        match request:
            case requests.CreateCollection():
                self.created[request.schema.name] = request
                return results.Done()
            case requests.DescribeCollection():
                return self.describe(request)
            case requests.ShowCollections():
                brief = {"collection_id": 1, "created_timestamp": 1, "shards": 1, "loaded_percent": 0}
                return results.Collections(
                    collections=tuple(results.CollectionBrief(name=name, **brief) for name in self.created)
                )
            case requests.ShowPartitions():
                return results.Partitions(
                    partitions=(results.PartitionBrief(name="_default", partition_id=1, created_timestamp=1),)
                )
            case requests.Flush():
                return results.Flushed(
                    collections=tuple(
                        results.FlushedCollection(
                            collection=name, segment_ids=(1,), flushed_ids=(), seal_time=1, flush_timestamp=2
                        )
                        for name in request.collections
                    )
                )
            case requests.Insert() | requests.Upsert():
                return self.write(request)
            case requests.Search():
                return self.search(request)
            case requests.Query():
                return results.Rows(
                    rows=self.rows, output_fields=tuple(self.rows.schema.names), primary_field="id",
                    collection=request.collection, session_timestamp=5,
                )  # fmt: skip
        return self.fixed.get(type(request), results.Done())

    def describe(self, request: requests.DescribeCollection) -> results.CollectionInfo:
        if request.collection not in self.created:
            raise CollectionNotFound.named("default", request.collection)
        created = self.created[request.collection]
        return results.CollectionInfo(
            schema=created.schema, collection_id=5, database="default", shards=1, partitions=1, aliases=(),
            consistency_level=created.consistency_level, created_timestamp=1 << 40, update_timestamp=1 << 41,
        )  # fmt: skip

    def write(self, request: requests.Insert | requests.Upsert) -> futures.Future[results.Result]:
        self.rows = request.rows if isinstance(request.rows, pa.RecordBatch) else request.rows.batch()
        done: futures.Future[results.Result] = futures.Future()
        ids = self.rows.column("id")
        done.set_result(results.Mutation(ids=ids, count=len(ids), timestamp=99))
        return done

    def search(self, request: requests.Search) -> results.Hits:
        nq, k = request.queries.nq, min(2, self.rows.num_rows)
        found = pa.concat_batches([self.rows.slice(0, k)] * nq)
        return results.Hits(
            topks=np.full(nq, k), keys=found.column("id"), scores=np.arange(nq * k, dtype=np.float32),
            rows=found.select([n for n in found.schema.names if request.output_fields and n != "id"]),
            output_fields=request.output_fields, primary_field="id", collection=request.collection, session_timestamp=5,
        )  # fmt: skip


class Server(grpc.GenericRpcHandler):
    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method.rsplit("/", 1)[1]

        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
            try:
                reply = self.handler.handle(method, data, metadata)
            except MethodUnimplemented as error:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, error.message)
            return reply.result() if isinstance(reply, futures.Future) else reply

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def uri(memory: Memory) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Server(Handler(memory)),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def client(uri: str) -> Iterator[MilvusClient]:
    client = MilvusClient(uri, dedicated=True)
    yield client
    client.close()


ROWS = [{"id": i, "v": [1.0, i], "color": "red", "size": i} for i in range(3)]


@pytest.fixture
def filled(client: MilvusClient) -> MilvusClient:
    client.create_collection("c", dimension=2, vector_field_name="v")
    answer = client.insert("c", ROWS)
    assert (answer["insert_count"], list(answer["ids"])) == (3, [0, 1, 2])
    return client


def test_a_quick_collection_is_created_indexed_and_loaded(client: MilvusClient, memory: Memory) -> None:
    client.create_collection("c", dimension=2, metric_type="L2", consistency_level="Strong")
    assert [type(request).__name__ for request in memory.asked] == [
        "Connect", "CreateCollection", "CreateIndex", "AllocTimestamp", "DescribeIndex", "LoadCollection",
        "GetLoadingProgress",
    ]  # fmt: skip
    created = memory.created["c"]
    assert created.schema.enable_dynamic_field and created.consistency_level is ConsistencyLevel.Strong
    assert memory.last(requests.CreateIndex).params == {"metric_type": "L2", "index_type": "AUTOINDEX"}


def test_rows_are_written_as_columns(filled: MilvusClient, memory: Memory) -> None:
    written = memory.last(requests.Insert)
    assert written.rows.to_pydict() == {
        "id": [0, 1, 2], "v": [[1, 0], [1, 1], [1, 2]],
        "$meta": [b'{"color":"red","size":0}', b'{"color":"red","size":1}', b'{"color":"red","size":2}'],
    }  # fmt: skip
    assert written.schema_timestamp == 1 << 41
    filled.upsert("c", ROWS[:1])
    assert memory.last(requests.Upsert).rows.num_rows == 1


def test_hits_carry_their_fields(filled: MilvusClient, memory: Memory) -> None:
    found = filled.search("c", data=[[1.0, 2.0]] * 2, limit=2, output_fields=["v", "color"], filter="size >= 0")
    assert [[hit.id for hit in hits] for hits in found] == [[0, 1], [0, 1]]
    assert [hit.distance for hit in found[1]] == [2.0, 3.0]
    assert found[1][1]["entity"] == {"v": [1.0, 1.0], "color": "red"}
    asked = memory.last(requests.Search)
    assert (asked.filter, asked.limit, asked.output_fields) == ("size >= 0", 2, ("v", "color"))
    assert asked.guarantee_timestamp == 99 and asked.consistency_level is None


def test_hits_without_fields_are_ids_and_distances(filled: MilvusClient) -> None:
    assert dict(filled.search("c", data=[[1.0, 2.0]])[0][0]) == {"id": 0, "distance": 0.0, "entity": {}}


def test_rows_come_back_as_dicts(filled: MilvusClient, memory: Memory) -> None:
    assert list(filled.query("c", filter="id >= 0", limit=5, offset=1, consistency_level="Eventually")) == ROWS
    asked = memory.last(requests.Query)
    assert (asked.limit, asked.offset, asked.output_fields) == (5, 1, ("*",))
    assert (asked.consistency_level, asked.guarantee_timestamp) == (ConsistencyLevel.Eventually, 1)
    assert list(filled.get("c", ids=[0, 1])) == ROWS
    assert memory.last(requests.Query).filter == "id in [0,1]"


def test_rows_are_deleted_by_id_and_by_filter(filled: MilvusClient, memory: Memory) -> None:
    assert filled.delete("c", ids=[0, 1])["delete_count"] == 2
    filled.delete("c", filter="color == {x}", filter_params={"x": "red"}, partition_name="p")
    assert memory.last(requests.Delete) == requests.Delete(
        collection="c", filter="color == {x}", filter_params={"x": "red"}, partition="p"
    )


def test_every_kind_of_column_survives_a_round_trip_with_nulls(client: MilvusClient, memory: Memory) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.FLOAT_VECTOR, dim=2, nullable=True)
    schema.add_field("h", DataType.FLOAT16_VECTOR, dim=2)
    schema.add_field("x", DataType.BINARY_VECTOR, dim=8)
    schema.add_field("i", DataType.INT8_VECTOR, dim=2)
    schema.add_field("s", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field("b", DataType.BOOL, nullable=True)
    schema.add_field("k", DataType.INT8, default_value=3)
    schema.add_field("d", DataType.DOUBLE, nullable=True)
    schema.add_field("t", DataType.VARCHAR, max_length=9, nullable=True)
    schema.add_field("j", DataType.JSON, nullable=True)
    schema.add_field("a", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4, max_length=4, nullable=True)
    client.create_collection("c", schema=schema)
    half, small = np.array([1, 2], np.float16), np.array([1, -2], np.int8)
    same = {"v": [1.0, 2.0], "h": half, "x": b"a", "i": small, "s": {3: 0.5, 9: 0.25}}
    full = {"n": [3.0, 4.0], "b": False, "k": 5, "d": 0.5, "t": "é", "j": {"a": [1]}, "a": ["x", "y"], "extra": 1}
    client.insert("c", [{"id": 1, **same, **full}, {"id": 2, **same}, {"id": 3, **same, **full}])
    written = memory.rows
    assert [written.column(name).null_count for name in "nbkdtja"] == [1] * 7
    rows = [{**row, "a": row["a"] and list(row["a"])} for row in client.query("c", filter="id > 0")]
    seen = {"v": [1.0, 2.0], "h": [half.tobytes()], "x": [b"a"], "i": [small.tobytes()], "s": {3: 0.5, 9: 0.25}}
    assert rows == [
        {"id": 1, **seen, **full},
        {"id": 2, **seen, **dict.fromkeys("nbkdtja")},
        {"id": 3, **seen, **full},
    ]
    hits = client.search("c", data=[[1.0, 2.0]], anns_field="v", output_fields=["*"])[0]
    assert [hit["entity"]["t"] for hit in hits] == ["é", None] and [hit["entity"]["n"] for hit in hits] == [
        [3, 4],
        None,
    ]


def test_the_rest_of_the_everyday_calls_are_understood(filled: MilvusClient, memory: Memory) -> None:
    assert filled.has_collection("c") and not filled.has_collection("d")
    assert filled.list_collections() == ["c"]
    assert filled.describe_collection("c")["enable_dynamic_field"] is True
    assert filled.get_collection_stats("c") == {"row_count": 11}
    assert str(filled.get_load_state("c")["state"]) == "Loaded"
    assert filled.list_partitions("c") == ["_default"] and filled.has_partition("c", "p")
    assert filled.get_partition_stats("c", "p") == {"row_count": 12}
    assert filled.list_indexes("c") == ["v"]
    assert filled.describe_index("c", "v")["state"] == "Finished"
    assert filled.describe_alias("a")["collection_name"] == "c" and filled.list_aliases("c")["aliases"] == ["a"]
    assert filled.list_databases() == ["default"] and filled.describe_database("shop") == {"name": "shop"}
    assert filled.get_server_version() == "v2.6.0"
    filled.flush("c")
    filled.flush_all()
    filled.refresh_load("c")
    assert memory.last(requests.LoadCollection).refresh
    filled.load_partitions("c", ["p"])
    filled.release_partitions("c", ["p"])
    filled.rename_collection("c", "d")
    filled.truncate_collection("c")
    filled.drop_index("c", "v")
    filled.use_database("shop")
    filled.drop_collection("c")
    assert memory.last(requests.DropCollection) == requests.DropCollection(database="shop", collection="c")


def test_errors_arrive_with_code_and_text(filled: MilvusClient) -> None:
    with pytest.raises(MilvusException, match=r"code=100, message=collection not found\[database=default\]"):
        filled.describe_collection("nope")
    with pytest.raises(grpc.RpcError, match="method DumpMessages not implemented"):
        list(filled.dump_messages("p", {"id": "1", "wal_name": "RocksMQ"}))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_older_interface_is_understood_too(uri: str, memory: Memory, filled: MilvusClient) -> None:
    connections.connect("old", uri=uri)
    try:
        collection = Collection("c", using="old")
        collection.insert([[7, 8], [[1.0, 2.0], [3.0, 4.0]]])
        assert memory.last(requests.Insert).rows.to_pydict() == {"id": [7, 8], "v": [[1, 2], [3, 4]]}
        found = collection.search([[1.0, 2.0]], "v", {"metric_type": "L2", "params": {"ef": 5}}, 2, expr="id > 1")
        assert found[0].ids == [7, 8]
        asked = memory.last(requests.Search)
        assert (asked.metric, asked.params, asked.filter) == ("L2", {"ef": 5}, "id > 1")
        assert [row["id"] for row in collection.query("id > 1", output_fields=["v"])] == [7, 8]
        collection.create_index("v", {"index_type": "HNSW", "metric_type": "L2", "params": {"M": 8}})
        assert memory.last(requests.CreateIndex).params == {"index_type": "HNSW", "metric_type": "L2", "M": "8"}
        collection.load()
        collection.flush()
        assert collection.num_entities == 11
    finally:
        connections.disconnect("old")
