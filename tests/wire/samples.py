"""One request and one result of every call, filled so that a lost field shows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from redkite.model import requests, results
from redkite.model.batch import arrow_field
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel, DataType, IndexState, LoadState

SCHEMA = CollectionSchema(
    name="books",
    enable_dynamic_field=True,
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="v", data_type=DataType.FLOAT_VECTOR, params={"dim": "2"}),
    ),
)


def rows() -> pa.RecordBatch:
    """Three rows of five kinds, with nulls."""
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2)
    fields = [
        arrow_field("id", DataType.INT64, pa.int64(), nullable=False),
        arrow_field("v", DataType.FLOAT_VECTOR, vectors.type, nullable=False),
        arrow_field("t", DataType.VARCHAR, pa.string()),
        arrow_field("h", DataType.FLOAT16_VECTOR, pa.binary(4)),
        arrow_field("$meta", DataType.JSON, pa.binary(), nullable=False),
    ]
    columns = [
        pa.array([1, 2, 3]), vectors, pa.array(["a", None, "c"]), pa.array([None, b"1234", b"5678"], pa.binary(4)),
        pa.array([b"{}", b'{"a":1}', b"{}"]),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def queries() -> requests.Queries:
    return requests.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.arange(4, dtype=np.float32).reshape(2, 2))


def requests_of_all_calls() -> list[requests.Request]:
    here = {"database": "shop", "collection": "books"}
    part = {**here, "partition": "new"}
    parts = {**here, "partitions": ("new", "old")}
    load = {
        "replicas": 2,
        "refresh": True,
        "load_fields": ("id",),
        "skip_dynamic_field": True,
        "resource_groups": ("g",),
    }
    return [
        requests.Connect(client={"sdk_type": "Python", "host": "h", "reserved.option": "x"}),
        requests.GetVersion(),
        requests.CheckHealth(),
        requests.GetComponentStates(),
        requests.AllocTimestamp(),
        requests.CreateDatabase(database="shop", properties={"a": "b"}),
        requests.DropDatabase(database="shop"),
        requests.ListDatabases(),
        requests.DescribeDatabase(database="shop"),
        requests.CreateCollection(
            database="shop", schema=SCHEMA, shards=2, partitions=3, consistency_level=ConsistencyLevel.Session,
            properties={"collection.ttl.seconds": "5"},
        ),
        requests.DropCollection(**here),
        requests.HasCollection(**here),
        requests.DescribeCollection(**here, collection_id=7),
        requests.ShowCollections(database="shop", loaded_only=True),
        requests.RenameCollection(**here, new_name="tomes", new_database="attic"),
        requests.TruncateCollection(**here),
        requests.GetCollectionStatistics(**here),
        requests.CreatePartition(**part),
        requests.DropPartition(**part),
        requests.HasPartition(**part),
        requests.ShowPartitions(**here),
        requests.GetPartitionStatistics(**part),
        requests.CreateAlias(**here, alias="b"),
        requests.DropAlias(database="shop", alias="b"),
        requests.AlterAlias(**here, alias="b"),
        requests.DescribeAlias(database="shop", alias="b"),
        requests.ListAliases(**here),
        requests.LoadCollection(**here, **load),
        requests.ReleaseCollection(**here),
        requests.LoadPartitions(**parts, **load),
        requests.ReleasePartitions(**parts),
        requests.GetLoadingProgress(**parts),
        requests.GetLoadState(**parts),
        requests.CreateIndex(**here, field="v", index_name="i", params={"index_type": "HNSW", "M": "8"}),
        requests.DescribeIndex(**here, index_name="i", field="v"),
        requests.DropIndex(**here, index_name="i", field="v"),
        requests.Insert(**part, rows=rows(), schema_timestamp=5),
        requests.Upsert(**part, rows=rows(), schema_timestamp=5, partial=True),
        requests.Delete(**part, filter="id in {ids}", filter_params={"ids": [1, 2]}),
        requests.Flush(database="shop", collections=("books", "tomes")),
        requests.GetFlushState(**here, segment_ids=(1, 2), flush_timestamp=9),
        requests.FlushAll(database="shop"),
        requests.GetFlushAllState(database="shop", timestamp=9),
        requests.Search(
            **here, queries=queries(), limit=5, anns_field="v", filter="a == {x}", filter_params={"x": 1.5},
            output_fields=("t",), partitions=("new",), offset=2, metric="IP", params={"ef": 10, "radius": 0.5},
            round_decimal=3, ignore_growing=True, consistency_level=ConsistencyLevel.Bounded, guarantee_timestamp=2,
        ),
        requests.Query(
            **here, filter="a == {x}", filter_params={"x": "y"}, output_fields=("id", "t"), partitions=("new",),
            limit=5, offset=2, ignore_growing=True, consistency_level=ConsistencyLevel.Eventually,
            guarantee_timestamp=1,
        ),
    ]  # fmt: skip


def _brief(name: str, number: int, percent: int) -> results.CollectionBrief:
    return results.CollectionBrief(
        name=name, collection_id=number, created_timestamp=9 + number, shards=2, loaded_percent=percent
    )


def _hits() -> results.Hits:
    return results.Hits(
        topks=np.array([2, 1]), ids=pa.array([1, 2, 3]), scores=np.array([0.5, 0.25, 1], np.float32), rows=rows(),
        output_fields=("v", "t", "h", "a"), primary_field="id", collection="books", session_timestamp=11,
        recalls=(1.0, 0.5),
    )  # fmt: skip


def results_of_all_calls() -> dict[type[requests.Request], results.Result]:
    """Calls that are not listed answer `Done`."""
    flag, count = results.Flag(value=True), results.RowCount(rows=12)
    written = results.Mutation(ids=pa.array(["a", "b"]), count=2, timestamp=3)
    return {
        requests.Connect: results.ServerInfo(
            version="v2.6.0", identifier=2**62, build_time="now", git_commit="abc", deploy_mode="STANDALONE"
        ),
        requests.GetVersion: results.Version(version="v2.6.0"),
        requests.CheckHealth: results.Health(healthy=False, reasons=("disk",)),
        requests.GetComponentStates: results.Health(healthy=False, reasons=("disk",)),
        requests.AllocTimestamp: results.Timestamp(timestamp=2**63),
        requests.ListDatabases: results.Databases(names=("default", "shop"), ids=(1, 2), created_timestamps=(3, 4)),
        requests.DescribeDatabase: results.DatabaseInfo(
            name="shop", database_id=2, created_timestamp=4, properties={"a": "b"}
        ),
        requests.HasCollection: flag,
        requests.DescribeCollection: results.CollectionInfo(
            schema=SCHEMA, collection_id=7, database="shop", shards=2, partitions=3, aliases=("b",),
            consistency_level=ConsistencyLevel.Session, created_timestamp=1 << 60, update_timestamp=1 << 61,
            properties={"a": "b"}, virtual_channels=("c_0v0",), physical_channels=("c_0",),
        ),
        requests.ShowCollections: results.Collections(collections=(_brief("books", 7, 100), _brief("tomes", 8, 0))),
        requests.GetCollectionStatistics: count,
        requests.HasPartition: flag,
        requests.ShowPartitions: results.Partitions(
            partitions=(results.PartitionBrief(name="new", partition_id=1, created_timestamp=2, loaded_percent=50),)
        ),
        requests.GetPartitionStatistics: count,
        requests.DescribeAlias: results.AliasInfo(alias="b", collection="books", database="shop"),
        requests.ListAliases: results.Aliases(aliases=("a", "b"), collection="books", database="shop"),
        requests.GetLoadingProgress: results.LoadProgress(percent=40, refresh_percent=30),
        requests.GetLoadState: results.LoadStateInfo(state=LoadState.Loading),
        requests.DescribeIndex: results.Indexes(
            indexes=(
                results.IndexInfo(
                    index_name="i", index_id=3, field="v", params={"index_type": "HNSW", "M": "8"}, total_rows=10,
                    indexed_rows=8, pending_rows=2, state=IndexState.IN_PROGRESS, fail_reason="none",
                ),
            )
        ),
        requests.Insert: written,
        requests.Upsert: written,
        requests.Delete: results.Mutation(ids=pa.array([], pa.int64()), count=2, timestamp=3),
        requests.Flush: results.Flushed(
            collections=(
                results.FlushedCollection(
                    collection="books", segment_ids=(1, 2), flushed_ids=(3,), seal_time=4, flush_timestamp=5
                ),
            )
        ),
        requests.GetFlushState: flag,
        requests.FlushAll: results.Timestamp(timestamp=6),
        requests.GetFlushAllState: flag,
        requests.Search: _hits(),
        requests.Query: results.Rows(
            rows=rows(), output_fields=("id", "v"), primary_field="id", collection="books", session_timestamp=11
        ),
    }  # fmt: skip
