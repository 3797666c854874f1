"""One request and one result of every call, filled so that a lost field shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from redkite.model import exchange, requests, results
from redkite.model.advice import IndexAdvice, IndexAdvices, RecallReport
from redkite.model.batch import arrow_field
from redkite.model.buckets import Bucket, BucketHit, KeyPart
from redkite.model.highlighting import Highlighted, Highlighter, HighlightKind, HighlightQuery
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema, StructFieldSchema
from redkite.model.scoring import ChainColumn, ChainExpr, ChainOp, FunctionChain, FunctionChainStage, FunctionScore
from redkite.model.types import ConsistencyLevel, DataType, FunctionType, IndexState, JobState, LoadPriority, LoadState
from redkite.model.upkeep import (
    CompactionKind,
    CompactionPlanInfo,
    CompactionState,
    PlanState,
    SegmentInfo,
    SegmentLevel,
    SegmentState,
)

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


_MARKS = Highlighter(
    queries=(
        HighlightQuery(kind=HighlightKind.WORDS, field="t", text="a ü"),
        HighlightQuery(kind=HighlightKind.PHRASE, field="u", text="b", slop=3),
    ),
    search_text=True, pre_tags=("<", "{"), post_tags=(">",), fragment_offset=2, fragment_size=9, fragments=0,
)  # fmt: skip
_AGGREGATION = requests.Aggregation(
    fields=("t", "u"),
    size=3,
    measures=(
        requests.Measure(alias="a", op="avg", field="n"), requests.Measure(alias="b", op="count", field="*"),
    ),
    order=(requests.Ordering(field="a", descending=True), requests.Ordering(field="_key", nulls_last=True)),
    top_hits=requests.TopHits(size=2, sort=(requests.Ordering(field="_score", descending=True, nulls_last=True),)),
    below=requests.Aggregation(fields=("w",), size=2, search_size=9),
)  # fmt: skip


_SCORE = FunctionScore(
    functions=(
        FunctionSchema(
            name="f", type=FunctionType.RERANK, description="d", input_field_names=("t",), output_field_names=("u",),
            params={"reranker": "boost", "weight": "2"},
        ),
    ),
    params={"boost_mode": "sum"},
)  # fmt: skip


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
        requests.AddCollectionField(
            **here, field=FieldSchema(name="pages", data_type=DataType.INT32, nullable=True, default_value=7)
        ),
        requests.AddCollectionStructField(
            **here,
            field=StructFieldSchema(
                name="clips", nullable=True, description="of a talk",
                fields=(
                    FieldSchema(
                        name="words", data_type=DataType.ARRAY, element_type=DataType.VARCHAR,
                        params={"max_length": "9", "max_capacity": "3"},
                    ),
                ),
            ),
        ),
        requests.DropCollectionField(**here, field="pages"),
        requests.DropCollectionField(**here, field_id=104),
        requests.AlterFunction(
            collection="books", name="embed", function=FunctionSchema(
                name="embed", type=FunctionType.TEXTEMBEDDING, input_field_names=("text",),
                output_field_names=("vector",), params={"provider": "tei", "endpoint": "http://localhost:8080"},
            ),
        ),
        requests.AddFunctionField(
            **here, index_name="w", index_params={"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"},
            field=FieldSchema(name="words", data_type=DataType.SPARSE_FLOAT_VECTOR, is_function_output=True),
            function=FunctionSchema(
                name="bm25", type=FunctionType.BM25, input_field_names=("title",), output_field_names=("words",)
            ),
        ),
        requests.DropFunctionField(**here, function="bm25"),
        requests.AlterCollectionField(**here, field="title", properties={"max_length": "9"}),
        requests.AlterCollectionField(**here, field="title", delete_keys=("mmap.enabled",)),
        requests.AlterCollection(**here, properties={"collection.ttl.seconds": "5"}),
        requests.AlterCollection(**here, delete_keys=("collection.ttl.seconds",)),
        requests.AlterDatabase(database="shop", properties={"timezone": "UTC"}),
        requests.AlterDatabase(database="shop", delete_keys=("timezone",)),
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
        requests.LoadCollection(collection="books", priority=LoadPriority.LOW),
        requests.LoadPartitions(collection="books", partitions=("p",), priority=LoadPriority.LOW),
        requests.ReleaseCollection(**here),
        requests.LoadPartitions(**parts, **load),
        requests.ReleasePartitions(**parts),
        requests.GetLoadingProgress(**parts),
        requests.GetLoadState(**parts),
        requests.CreateIndex(**here, field="v", index_name="i", params={"index_type": "HNSW", "M": "8"}),
        requests.DescribeIndex(**here, index_name="i", field="v"),
        requests.GetIndexState(**here, index_name="i", field="v"),
        requests.GetIndexBuildProgress(**here, index_name="i", field="v"),
        requests.GetIndexStatistics(**here, index_name="i"),
        requests.ListIndexedSegments(collection="books", index_name="i"),
        requests.AlterIndex(**here, index_name="i", properties={"mmap.enabled": "true"}),
        requests.AlterIndex(**here, index_name="i", delete_keys=("mmap.enabled", "warmup")),
        requests.DropIndex(**here, index_name="i", field="v"),
        requests.Compact(
            **here, collection_id=7, clustering=True, level0=True, partition_id=8, channel="c_0v0", segment_ids=(1, 2),
            target_megabytes=64,
        ),
        requests.GetCompactionState(job_id=9),
        requests.GetCompactionPlans(**here, job_id=9, collection_id=7),
        requests.ListPersistentSegments(**here, states=(2, 4)),
        requests.ListLoadedSegments(**here),
        requests.Insert(**part, rows=rows(), schema_timestamp=5),
        requests.Upsert(**part, rows=rows(), schema_timestamp=5, partial=True),
        requests.Delete(**part, filter="id in {ids}", filter_params={"ids": [1, 2]}),
        requests.Flush(database="shop", collections=("books", "tomes")),
        requests.GetFlushState(**here, segment_ids=(1, 2), flush_timestamp=9),
        requests.FlushAll(database="shop"),
        requests.GetFlushAllState(database="shop", timestamp=9),
        requests.CreateSnapshot(**here, name="s", description="d", compaction_protection_seconds=9),
        requests.DropSnapshot(**here, name="s"),
        requests.ListSnapshots(**here),
        requests.DescribeSnapshot(**here, name="s"),
        requests.RestoreSnapshot(
            **here, name="s", target_collection="tomes", target_database="attic", rewrite_data=True
        ),
        requests.GetRestoreSnapshotState(job_id=5),
        requests.ListRestoreSnapshotJobs(**here),
        exchange.ExportSnapshot(**here, name="s", target="/out", external_spec="{}"),
        exchange.GetExportSnapshotState(job_id=5),
        exchange.RestoreExternalSnapshot(
            database="shop", uri="/out/backups/s-5.backup", target_collection="tomes", external_spec="{}"
        ),
        requests.PinSnapshotData(**here, name="s", ttl_seconds=4),
        requests.UnpinSnapshotData(pin_id=6),
        requests.CreateBackup(
            database="shop", destination="/b", name="n", databases=("attic",), collections=("books", "attic.tomes")
        ),
        requests.RestoreBackup(
            database="shop", destination="/b", name="n", collections=("books",), renames={"books": "tomes"},
            suffix="_old", into_database="attic",
        ),
        requests.VerifyBackup(destination="/b", name="n"),
        requests.DeleteBackup(destination="/b", name="n"),
        requests.ListBackups(destination="/b"),
        requests.GetBackupJob(job_id=7),
        requests.MeasureRecall(collection="c", anns_field="v", limit=3, queries=7, params={"ef": 9}, database="d"),
        requests.AdviseIndex(collection="c", recall=0.9, sample=2000, limit=4),
        requests.Search(
            **here, queries=queries(), limit=5, anns_field="v", filter="a == {x}", filter_params={"x": 1.5},
            output_fields=("t",), partitions=("new",), offset=2, metric="IP", params={"ef": 10, "radius": 0.5},
            round_decimal=3, ignore_growing=True, consistency_level=ConsistencyLevel.Bounded, guarantee_timestamp=2,
        ),
        requests.Search(
            **here, limit=5, anns_field="clips[v]",
            queries=requests.Queries(data_type=DataType.INT8_VECTOR, raw=(b"1234", b"12"), are_lists=True),
        ),
        requests.Search(
            **here, queries=requests.Queries(data_type=DataType.NONE, ids=pa.array([1, 2])), limit=5, in_order=True,
            hints="iterative_filter", grouping=requests.Grouping(
                fields=("m",), size=3, strict=True, json_path="/a", json_type="Int64", strict_cast=True
            ), order_by=(
                requests.Ordering(field='m["a,b"]', descending=True), requests.Ordering(field="t", nulls_last=True)
            ),
        ),
        requests.Search(
            **here, queries=requests.Queries(data_type=DataType.NONE, ids=pa.array(["a", "b"])), limit=5,
            grouping=requests.Grouping(fields=("a", "b")), aggregation=_AGGREGATION,
        ),
        requests.Search(
            **here, queries=queries(), limit=5, function_score=_SCORE, highlighter=_MARKS,
            function_chains=(
                FunctionChain(
                    stage=FunctionChainStage.L2_RERANK, name="c", ops=(
                        ChainOp(op="map", outputs=("x",), expr=ChainExpr(
                            name="f", args=(ChainColumn("$score"), 2, "t", 0.5, True, b"b", [1, [2.5]]),
                            params={"a": {"b": [1, "x"]}, "c": False},
                        )),
                        ChainOp(op="sort", inputs=("x", "$id"), params={"desc": True}),
                    ),
                ),
            ),
        ),
        requests.HybridSearch(
            **here, searches=(
                requests.Search(**here, queries=queries(), limit=7, anns_field="v", filter="a == {x}",
                                filter_params={"x": 1}, metric="IP", params={"ef": 9}, round_decimal=2),
                requests.Search(**here, queries=queries(), limit=8, ignore_growing=True),
            ), limit=5, offset=2, strategy="weighted", rank_params={"weights": [0.5, 1], "norm_score": True},
            output_fields=("t",), partitions=("new",), round_decimal=3, highlighter=_MARKS,
            grouping=requests.Grouping(fields=("t",), size=2, strict=True), group_scorer="avg",
            consistency_level=ConsistencyLevel.Bounded, guarantee_timestamp=4, as_of=7 << 18, timezone="Asia/Tokyo",
            time_fields=("year",),
            function_chains=(
                FunctionChain(stage=FunctionChainStage.POST_PROCESS, ops=(ChainOp(op="limit", params={"limit": 3}),)),
            ),
        ),
        requests.HybridSearch(
            **here, searches=(requests.Search(**here, queries=queries(), limit=7),), limit=5, function_score=_SCORE,
        ),
        requests.Query(
            **here, output_fields=("t", "avg(n)"), limit=5, group_by=("t", "m"),
            order_by=(requests.Ordering(field="avg(n)", descending=True, nulls_last=True),),
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
        topks=np.array([2, 1]), keys=pa.array([1, 2, 3]), scores=np.array([0.5, 0.25, 1], np.float32), rows=rows(),
        output_fields=("v", "t", "h", "a"), primary_field="id", collection="books", session_timestamp=11,
        recalls=(1.0, 0.5), groups=_groups(), buckets=(_buckets(), ()), highlights=(
            Highlighted("t", pa.array([["<b>a</b>", "x"], [], ["ü"]], pa.list_(pa.string()))),
            Highlighted("u", pa.array([[], [], []], pa.list_(pa.string()))),
        ),
    )  # fmt: skip


def _groups() -> pa.RecordBatch:
    fields = [arrow_field("m", DataType.INT64, pa.int64()), arrow_field("t", DataType.VARCHAR, pa.string())]
    return pa.RecordBatch.from_arrays([pa.array([1, None, 3]), pa.array(["a", "b", "c"])], schema=pa.schema(fields))


def _buckets() -> tuple[Bucket, ...]:
    hit = BucketHit(key=1, score=0.5, fields={"t": "x", "n": 2, "d": 1.5, "b": True, "j": b"{}"}, field_ids={
        "t": 103, "n": 104, "d": 105, "b": 106, "j": 107,
    })  # fmt: skip
    key = (KeyPart(field="t", field_id=103, value="x"), KeyPart(field="n", field_id=104, value=None))
    below = Bucket(key=(KeyPart(field="b", field_id=106, value=True),), count=1, hits=(
        BucketHit(key="one", score=0.25),
    ))  # fmt: skip
    return (Bucket(key=key, count=2, measures={"a": 1.5, "b": 2, "c": None, "d": "z"}, hits=(hit,), groups=(below,)),)


def _segment(**more: Any) -> SegmentInfo:
    return SegmentInfo(
        segment_id=1, collection_id=7, partition_id=8, num_rows=9, state=SegmentState.FLUSHED, level=SegmentLevel.L2,
        is_sorted=True, storage_version=1, **more,
    )  # fmt: skip


_RESTORE = results.RestoreJobInfo(
    job_id=5, snapshot="s", database="attic", collection="tomes", state=JobState.EXECUTING, progress=40, reason="none",
    started_ms=6, took_ms=7,
)  # fmt: skip
_BACKUP = results.BackupInfo(
    name="n", created_ms=2, timestamp=1 << 60, objects=3, bytes=4, copied_objects=5, copied_bytes=6,
    collections=(results.BackupCollection(database="shop", name="books", rows=7, bytes=8),),
)  # fmt: skip


def bare_index(state: IndexState, **known: Any) -> results.IndexInfo:
    """An index of which little is known."""
    nothing = {"index_name": "", "index_id": 0, "field": "", "params": {}}
    rows = {"total_rows": 0, "indexed_rows": 0, "pending_rows": 0}
    return results.IndexInfo(**{**nothing, **rows, **known}, state=state)


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
        requests.GetIndexState: results.Indexes(indexes=(bare_index(IndexState.FAILED, fail_reason="no room"),)),
        requests.GetIndexBuildProgress: results.Indexes(
            indexes=(bare_index(IndexState.IN_PROGRESS, total_rows=10, indexed_rows=8, pending_rows=2),)
        ),
        requests.ListIndexedSegments: results.SegmentNumbers(segment_ids=(7, 9)),
        requests.GetIndexStatistics: results.Indexes(indexes=(bare_index(IndexState.FINISHED, index_name="i"),)),
        requests.DescribeIndex: results.Indexes(
            indexes=(
                results.IndexInfo(
                    index_name="i", index_id=3, field="v", params={"index_type": "HNSW", "M": "8"}, total_rows=10,
                    indexed_rows=8, pending_rows=2, state=IndexState.IN_PROGRESS, fail_reason="none",
                ),
            )
        ),
        requests.Compact: results.CompactionJob(job_id=9, plans=2),
        requests.GetCompactionState: results.CompactionProgress(
            state=CompactionState.Executing, executing=1, completed=2, failed=3
        ),
        requests.GetCompactionPlans: results.CompactionPlans(
            state=CompactionState.Completed,
            plans=(
                CompactionPlanInfo(
                    plan_id=10, job_id=9, kind=CompactionKind.CLUSTERING, state=PlanState.FAILED, collection_id=7,
                    partition_id=8, channel="c_0v0", sources=(1, 2), targets=(3, 4), failure_reason="disk",
                ),
            ),
        ),
        requests.ListPersistentSegments: results.Segments(segments=(_segment(insert_channel="c_0v0"),)),
        requests.ListLoadedSegments: results.Segments(
            segments=(_segment(index_name="i", index_id=3, node_ids=(1, 2), mem_size=1 << 40),)
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
        requests.ListSnapshots: results.Snapshots(names=("s", "t")),
        requests.DescribeSnapshot: results.SnapshotInfo(
            name="s", description="d", collection="books", partitions=("new",), created_ms=3, location="x/1",
            timestamp=1 << 60,
        ),
        requests.RestoreSnapshot: results.JobStarted(job_id=5),
        requests.GetRestoreSnapshotState: _RESTORE,
        requests.ListRestoreSnapshotJobs: results.RestoreJobInfos(jobs=(_RESTORE, _RESTORE)),
        exchange.ExportSnapshot: exchange.ExportStarted(job_id=5, uri="/out/backups/s-5.backup"),
        exchange.GetExportSnapshotState: exchange.ExportInfo(
            job_id=5, snapshot="s", collection="books", database="shop", state=JobState.EXECUTING, progress=40,
            reason="none", started_ms=7, took_ms=8, files=9, copied_files=3, bytes=1 << 40,
            uri="/out/backups/s-5.backup",
        ),
        exchange.RestoreExternalSnapshot: results.JobStarted(job_id=5),
        requests.PinSnapshotData: results.PinId(pin_id=6),
        requests.CreateBackup: results.JobStarted(job_id=7),
        requests.RestoreBackup: results.JobStarted(job_id=7),
        requests.VerifyBackup: results.JobStarted(job_id=7),
        requests.ListBackups: results.Backups(backups=(_BACKUP,)),
        requests.MeasureRecall: RecallReport(
            recall=0.9, low=0.8, high=0.95, queries=7, source="live", params={"ef": 9}
        ),
        requests.AdviseIndex: IndexAdvices(
            rows=9, queries=7, metric="L2",
            advices=(
                IndexAdvice(
                    index_type="HNSW", params={"M": 16}, search_params={"ef": 16}, recall=0.9, searches_per_second=7.5,
                    bytes_per_row=80.0, build_seconds=0.5, reaches=False,
                ),
            ),
        ),
        requests.GetBackupJob: results.BackupJobInfo(
            job_id=7, kind="create", state=JobState.FAILED, done_bytes=3, total_bytes=4, reason="none", code=1009,
            backup=_BACKUP, restored=("shop.books",),
        ),
        requests.Search: _hits(),
        requests.HybridSearch: _hits(),
        requests.Query: results.Rows(
            rows=rows(), output_fields=("id", "v"), primary_field="id", collection="books", session_timestamp=11
        ),
    }  # fmt: skip
