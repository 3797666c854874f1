"""A whole Redkite of a few lines, for tests of what stands in front of one: brute force over lists of dicts."""

from __future__ import annotations

import itertools
import re
import threading
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from redkite.errors import (
    AliasNotFound,
    CollectionNotFound,
    CollectionNotLoaded,
    DatabaseNotFound,
    IndexNotFound,
    InvalidParameter,
    SchemaMismatch,
    Unimplemented,
)
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import arrow_to_vectors, arrow_type
from redkite.model.schema import META_FIELD, CollectionSchema
from redkite.model.types import DataType, IndexState, LoadState

_IN = re.compile(r"(\w+) in \[(.*)\]$")
_EQUALS = re.compile(r"(\w+) == (.+)$")


class _Collection:
    def __init__(self, request: rq.CreateCollection, number: int, timestamp: int) -> None:
        fields = [msgspec.structs.replace(f, field_id=100 + i) for i, f in enumerate(request.schema.fields)]
        self.schema: CollectionSchema = msgspec.structs.replace(request.schema, fields=tuple(fields))
        self.request = request
        self.number = number
        self.created = timestamp
        self.updated = timestamp
        self.rows: list[dict[str, Any]] = []
        self.indexes: list[rs.IndexInfo] = []
        self.partitions = ["_default"]
        self.loaded = False


class FakeService:
    """Answers every request that clients send. `calls` remembers them; `polls` is how often progress says no."""

    def __init__(self, polls: int = 0, threaded: bool = True) -> None:
        self.quick = True
        self.calls: list[rq.Request] = []
        self.polls = polls
        self.collections: dict[str, _Collection] = {}
        self.aliases: dict[str, str] = {}
        self.databases = ["default"]
        self.commits: list[int] = []
        self.commit_seconds = 0.005
        self.closed = False
        self._clock = itertools.count(1000)
        self._threaded = threaded
        self._pending: list[tuple[Future[rs.Result], rs.Result]] = []
        self._lock = threading.Lock()

    # -- the service ------------------------------------------------------------------------
    def call(self, request: rq.Request) -> rs.Result | Future[rs.Result]:
        self.calls.append(request)
        method = getattr(self, "_" + type(request).__name__, None)
        if method is None:
            raise Unimplemented(f"{type(request).__name__} is not built in this version")
        if request.database and request.database not in self.databases and not isinstance(request, rq.CreateDatabase):
            raise DatabaseNotFound.named(request.database)
        result: rs.Result = method(request)
        if isinstance(request, rq.Insert | rq.Upsert | rq.Delete):
            return self._commit(result)
        return result

    def is_quick(self, request: rq.Request) -> bool:
        return self.quick

    def close(self) -> None:
        self.closed = True

    @property
    def service(self) -> FakeService:
        return self

    def sent(self, kind: type[rq.Request]) -> list[Any]:
        return [call for call in self.calls if isinstance(call, kind)]

    def _commit(self, result: rs.Result) -> Future[rs.Result]:
        """All writes of a short while become durable together, in another thread."""
        future: Future[rs.Result] = Future()
        if not self._threaded:
            future.set_result(result)
            return future
        with self._lock:
            self._pending.append((future, result))
            first = len(self._pending) == 1
        if first:
            threading.Timer(self.commit_seconds, self._settle).start()
        return future

    def _settle(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        self.commits.append(len(pending))
        for future, result in pending:
            future.set_result(result)

    def _find(self, name: str) -> _Collection:
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise CollectionNotFound.named("default", name)
        return found

    # -- session and databases --------------------------------------------------------------
    def _Connect(self, request: rq.Connect) -> rs.ServerInfo:
        return rs.ServerInfo(version="v2.6.0", identifier=42, build_time="today", git_commit="abc")

    def _GetVersion(self, request: rq.GetVersion) -> rs.Version:
        return rs.Version(version="v2.6.0")

    def _AllocTimestamp(self, request: rq.AllocTimestamp) -> rs.Timestamp:
        return rs.Timestamp(timestamp=next(self._clock))

    def _CreateDatabase(self, request: rq.CreateDatabase) -> rs.Done:
        self.databases.append(request.database)
        return rs.Done()

    def _DropDatabase(self, request: rq.DropDatabase) -> rs.Done:
        self.databases.remove(request.database)
        return rs.Done()

    def _ListDatabases(self, request: rq.ListDatabases) -> rs.Databases:
        count = len(self.databases)
        return rs.Databases(
            names=tuple(self.databases), ids=tuple(range(count)), created_timestamps=tuple(range(count))
        )

    def _DescribeDatabase(self, request: rq.DescribeDatabase) -> rs.DatabaseInfo:
        return rs.DatabaseInfo(name=request.database or "default", database_id=1, created_timestamp=1)

    # -- collections ------------------------------------------------------------------------
    def _CreateCollection(self, request: rq.CreateCollection) -> rs.Done:
        made = _Collection(request, 1 + len(self.collections), next(self._clock))
        self.collections[request.schema.name] = made
        return rs.Done()

    def _DropCollection(self, request: rq.DropCollection) -> rs.Done:
        self.collections.pop(request.collection, None)
        return rs.Done()

    def _HasCollection(self, request: rq.HasCollection) -> rs.Flag:
        return rs.Flag(value=self.aliases.get(request.collection, request.collection) in self.collections)

    def _RenameCollection(self, request: rq.RenameCollection) -> rs.Done:
        self.collections[request.new_name] = self.collections.pop(request.collection)
        return rs.Done()

    def _TruncateCollection(self, request: rq.TruncateCollection) -> rs.Done:
        self._find(request.collection).rows.clear()
        return rs.Done()

    def _ShowCollections(self, request: rq.ShowCollections) -> rs.Collections:
        briefs = [
            rs.CollectionBrief(name=name, collection_id=c.number, created_timestamp=1, shards=1, loaded_percent=100)
            for name, c in self.collections.items()
        ]
        return rs.Collections(collections=tuple(briefs))

    def _DescribeCollection(self, request: rq.DescribeCollection) -> rs.CollectionInfo:
        found = self._find(request.collection)
        return rs.CollectionInfo(
            schema=found.schema, collection_id=found.number, database="default", shards=found.request.shards or 1,
            partitions=1, aliases=tuple(a for a, c in self.aliases.items() if c == found.schema.name),
            consistency_level=found.request.consistency_level, created_timestamp=found.created,
            update_timestamp=found.updated, properties=found.request.properties,
        )  # fmt: skip

    def _GetCollectionStatistics(self, request: rq.GetCollectionStatistics) -> rs.RowCount:
        return rs.RowCount(rows=len(self._find(request.collection).rows))

    # -- partitions, aliases ----------------------------------------------------------------
    def _CreatePartition(self, request: rq.CreatePartition) -> rs.Done:
        self._find(request.collection).partitions.append(request.partition)
        return rs.Done()

    def _DropPartition(self, request: rq.DropPartition) -> rs.Done:
        self._find(request.collection).partitions.remove(request.partition)
        return rs.Done()

    def _HasPartition(self, request: rq.HasPartition) -> rs.Flag:
        return rs.Flag(value=request.partition in self._find(request.collection).partitions)

    def _ShowPartitions(self, request: rq.ShowPartitions) -> rs.Partitions:
        names = self._find(request.collection).partitions
        return rs.Partitions(
            partitions=tuple(
                rs.PartitionBrief(name=n, partition_id=i, created_timestamp=1) for i, n in enumerate(names)
            )
        )

    def _GetPartitionStatistics(self, request: rq.GetPartitionStatistics) -> rs.RowCount:
        return rs.RowCount(rows=len(self._find(request.collection).rows))

    def _CreateAlias(self, request: rq.CreateAlias) -> rs.Done:
        self.aliases[request.alias] = request.collection
        return rs.Done()

    def _AlterAlias(self, request: rq.AlterAlias) -> rs.Done:
        self.aliases[request.alias] = request.collection
        return rs.Done()

    def _DropAlias(self, request: rq.DropAlias) -> rs.Done:
        self.aliases.pop(request.alias, None)
        return rs.Done()

    def _DescribeAlias(self, request: rq.DescribeAlias) -> rs.AliasInfo:
        if request.alias not in self.aliases:
            raise AliasNotFound.named("default", request.alias)
        return rs.AliasInfo(alias=request.alias, collection=self.aliases[request.alias], database="default")

    def _ListAliases(self, request: rq.ListAliases) -> rs.Aliases:
        names = [a for a, c in self.aliases.items() if request.collection in ("", c)]
        return rs.Aliases(aliases=tuple(names), collection=request.collection, database="default")

    # -- loading, indexes, flushing ---------------------------------------------------------
    def _poll(self) -> bool:
        self.polls -= 1
        return self.polls < 0

    def _LoadCollection(self, request: rq.LoadCollection) -> rs.Done:
        found = self._find(request.collection)
        if not found.indexes:
            raise IndexNotFound.of_collection(request.collection)
        found.loaded = True
        return rs.Done()

    def _LoadPartitions(self, request: rq.LoadPartitions) -> rs.Done:
        self._find(request.collection).loaded = True
        return rs.Done()

    def _ReleaseCollection(self, request: rq.ReleaseCollection) -> rs.Done:
        self._find(request.collection).loaded = False
        return rs.Done()

    def _ReleasePartitions(self, request: rq.ReleasePartitions) -> rs.Done:
        self._find(request.collection).loaded = False
        return rs.Done()

    def _GetLoadingProgress(self, request: rq.GetLoadingProgress) -> rs.LoadProgress:
        if not self._find(request.collection).loaded:
            raise CollectionNotLoaded.named(request.collection)
        return rs.LoadProgress(percent=100 if self._poll() else 50)

    def _GetLoadState(self, request: rq.GetLoadState) -> rs.LoadStateInfo:
        if request.collection not in self.collections:
            return rs.LoadStateInfo(state=LoadState.NotExist)
        loaded = self.collections[request.collection].loaded
        if loaded and self.polls > 0:
            return rs.LoadStateInfo(state=LoadState.Loading)
        return rs.LoadStateInfo(state=LoadState.Loaded if loaded else LoadState.NotLoad)

    def _CreateIndex(self, request: rq.CreateIndex) -> rs.Done:
        found = self._find(request.collection)
        found.indexes.append(
            rs.IndexInfo(
                index_name=request.index_name or request.field, index_id=1, field=request.field, params=request.params,
                total_rows=0, indexed_rows=0, pending_rows=0, state=IndexState.FINISHED,
            )
        )  # fmt: skip
        return rs.Done()

    def _DescribeIndex(self, request: rq.DescribeIndex) -> rs.Indexes:
        indexes = [
            msgspec.structs.replace(i, state=IndexState.FINISHED if self._poll() else IndexState.IN_PROGRESS)
            for i in self._find(request.collection).indexes
            if request.index_name in ("", i.index_name) and request.field in ("", i.field)
        ]
        if not indexes:
            raise IndexNotFound.named(request.index_name)
        return rs.Indexes(indexes=tuple(indexes))

    def _DropIndex(self, request: rq.DropIndex) -> rs.Done:
        found = self._find(request.collection)
        found.indexes = [i for i in found.indexes if i.index_name != request.index_name]
        return rs.Done()

    def _Flush(self, request: rq.Flush) -> rs.Flushed:
        names = request.collections
        return rs.Flushed(
            collections=tuple(
                rs.FlushedCollection(
                    collection=name, segment_ids=(7,), flushed_ids=(), seal_time=1, flush_timestamp=next(self._clock)
                )
                for name in names
            )
        )

    def _GetFlushState(self, request: rq.GetFlushState) -> rs.Flag:
        return rs.Flag(value=self._poll())

    def _FlushAll(self, request: rq.FlushAll) -> rs.Timestamp:
        return rs.Timestamp(timestamp=next(self._clock))

    def _GetFlushAllState(self, request: rq.GetFlushAllState) -> rs.Flag:
        return rs.Flag(value=self._poll())

    # -- rows -------------------------------------------------------------------------------
    def _Insert(self, request: rq.Insert) -> rs.Mutation:
        found = self._find(request.collection)
        if 0 < request.schema_timestamp < found.updated:
            raise SchemaMismatch.named(request.collection)
        rows = request.rows if isinstance(request.rows, pa.RecordBatch) else request.rows.batch()
        names = rows.schema.names
        for field in found.schema.fields:
            if field.name in names and rows.schema.field(field.name).type != arrow_type(field):
                raise InvalidParameter(f"column {field.name} has type {rows.schema.field(field.name).type}")
        primary = found.schema.primary
        keys = (
            pa.array([next(self._clock) for _ in range(rows.num_rows)], arrow_type(primary))
            if primary.auto_id
            else rows.column(primary.name)
        )
        for row, key in zip(rows.to_pylist(), keys.to_pylist(), strict=True):
            found.rows.append({**row, primary.name: key})
        return rs.Mutation(ids=keys, count=rows.num_rows, timestamp=next(self._clock))

    def _Upsert(self, request: rq.Upsert) -> rs.Mutation:
        found = self._find(request.collection)
        if 0 < request.schema_timestamp < found.updated:
            raise SchemaMismatch.named(request.collection)
        primary = found.schema.primary.name
        old = {row[primary]: row for row in found.rows}
        rows = request.rows if isinstance(request.rows, pa.RecordBatch) else request.rows.batch()
        for row in rows.to_pylist():
            old[row[primary]] = {**(old.get(row[primary], {}) if request.partial else {}), **row}
        found.rows = list(old.values())
        return rs.Mutation(ids=rows.column(primary), count=rows.num_rows, timestamp=next(self._clock))

    def _Delete(self, request: rq.Delete) -> rs.Mutation:
        found = self._find(request.collection)
        gone = self._matching(found, request.filter)
        found.rows = [row for row in found.rows if not any(row is other for other in gone)]
        return rs.Mutation(ids=pa.array([], pa.int64()), count=len(gone), timestamp=next(self._clock))

    def _matching(self, found: _Collection, text: str) -> list[dict[str, Any]]:
        if not text:
            return found.rows
        if one := _IN.match(text):
            wanted = msgspec.json.decode(f"[{one[2]}]")
            return [row for row in found.rows if row.get(one[1]) in wanted]
        if one := _EQUALS.match(text):
            value = msgspec.json.decode(one[2].replace("'", '"'))
            return [row for row in found.rows if _value(row, one[1]) == value]
        raise InvalidParameter(f"failed to create query plan: cannot parse expression: {text}")

    def _columns(self, found: _Collection, rows: list[dict[str, Any]], output: tuple[str, ...]) -> pa.RecordBatch:
        arrays, names = [], []
        dynamic = False
        for name in output:
            field = found.schema.field(name)
            if field is None:
                dynamic = True
                continue
            names.append(name)
            arrays.append(pa.array([row.get(name) for row in rows], arrow_type(field)))
        if dynamic:
            names.append(META_FIELD)
            arrays.append(pa.array([row.get(META_FIELD) or b"{}" for row in rows], pa.binary()))
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def _expanded(self, found: _Collection, output: tuple[str, ...]) -> tuple[str, ...]:
        if "*" not in output:
            return output
        extra = (META_FIELD,) if found.schema.enable_dynamic_field else ()
        return (*(f.name for f in found.schema.fields), *extra)

    def _Query(self, request: rq.Query) -> rs.Rows:
        found = self._find(request.collection)
        if not found.loaded:
            raise CollectionNotLoaded.named(request.collection)
        rows = self._matching(found, request.filter)
        stop = None if request.limit is None else request.offset + request.limit
        rows = rows[request.offset : stop]
        primary = found.schema.primary.name
        if request.output_fields == ("count(*)",):
            batch, output = pa.RecordBatch.from_arrays([pa.array([len(rows)])], names=["count(*)"]), ("count(*)",)
        else:
            output = self._expanded(found, request.output_fields)
            output = output if primary in output else (primary, *output)
            batch = self._columns(found, rows, output)
        return rs.Rows(
            rows=batch, output_fields=output, primary_field=primary, collection=found.schema.name, session_timestamp=5
        )

    def _Search(self, request: rq.Search) -> rs.Hits:
        found = self._find(request.collection)
        if not found.loaded:
            raise CollectionNotLoaded.named(request.collection)
        assert request.queries.vectors is not None
        field = found.schema.vector_fields[0]
        rows = self._matching(found, request.filter)
        primary = found.schema.primary
        vectors = arrow_to_vectors(pa.array([r[field.name] for r in rows], arrow_type(field)))
        vectors = vectors if len(rows) else np.zeros((0, field.dim), np.float32)
        best, scores, topks = [], [], []
        for query in request.queries.vectors:
            distances = ((vectors - query) ** 2).sum(axis=1).astype(np.float32)
            order = np.argsort(distances, kind="stable")[request.offset : request.offset + request.limit]
            best += [rows[i] for i in order]
            scores.append(distances[order])
            topks.append(len(order))
        output = self._expanded(found, request.output_fields)
        return rs.Hits(
            topks=np.array(topks, np.int64), keys=pa.array([r[primary.name] for r in best], arrow_type(primary)),
            scores=np.concatenate(scores) if scores else np.array([], np.float32),
            rows=self._columns(found, best, output), output_fields=output, primary_field=primary.name,
            collection=found.schema.name, session_timestamp=5,
        )  # fmt: skip


def _value(row: dict[str, Any], name: str) -> Any:
    if name in row:
        return row[name]
    return msgspec.json.decode(row.get(META_FIELD) or b"{}").get(name)


VECTOR = DataType.FLOAT_VECTOR
