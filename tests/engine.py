"""An engine under test, driven through its service, beside a plain model of what it should hold."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.cluster.local import Database, open_database
from redkite.env import Env
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType

DIM = 8
NAME = "things"


def schema(key: DataType = DataType.INT64, dim: int = DIM) -> CollectionSchema:
    key_params = {"max_length": "64"} if key is DataType.VARCHAR else {}
    return CollectionSchema(
        name=NAME,
        fields=(
            FieldSchema(name="id", data_type=key, is_primary=True, params=key_params),
            FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(dim)}),
            FieldSchema(name="number", data_type=DataType.INT64),
            FieldSchema(name="word", data_type=DataType.VARCHAR, params={"max_length": "64"}, nullable=True),
        ),
    )


def result(answer: Any) -> Any:
    return answer.result() if isinstance(answer, Future) else answer


@dataclass
class Engine:
    """One collection of `schema()` in one database."""

    path: str
    env: Env | None = None
    options: dict[str, Any] = field(default_factory=dict)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        options = {"garbage_seconds": 0.0} | self.options
        self.database = open_database(self.path, env=self.env, **options)

    def close(self) -> None:
        self.database.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def call(self, request: rq.Request) -> Any:
        return result(self.database.service.call(request))

    def create(
        self,
        *,
        metric: str = "L2",
        index: str = "HNSW",
        shards: int = 1,
        key: DataType = DataType.INT64,
        dim: int = DIM,
        **build: int,
    ) -> None:
        self.call(rq.CreateCollection(schema=schema(key, dim), shards=shards))
        params = {"index_type": index, "metric_type": metric} | {k: str(v) for k, v in build.items()}
        self.call(rq.CreateIndex(collection=NAME, field="vector", params=params))
        self.call(rq.LoadCollection(collection=NAME))

    def batch(self, ids: Any, vectors: np.ndarray, numbers: Any, words: Any = None) -> pa.RecordBatch:
        key = pa.string() if len(ids) and isinstance(ids[0], str) else pa.int64()
        columns = [
            pa.array(list(ids), key),
            vectors_to_arrow(np.asarray(vectors, np.float32)),
            pa.array([int(n) for n in numbers], pa.int64()),
            pa.array([None] * len(ids) if words is None else list(words), pa.string()),
        ]
        return pa.RecordBatch.from_arrays(columns, ["id", "vector", "number", "word"])

    def insert(
        self, ids: Any, vectors: np.ndarray, numbers: Any, words: Any = None, partition: str = ""
    ) -> rs.Mutation:
        rows = self.batch(ids, vectors, numbers, words)
        mutation: rs.Mutation = self.call(rq.Insert(collection=NAME, rows=rows, partition=partition))
        return mutation

    def delete(self, filter: str) -> rs.Mutation:
        mutation: rs.Mutation = self.call(rq.Delete(collection=NAME, filter=filter))
        return mutation

    def flush(self) -> rs.Flushed:
        flushed: rs.Flushed = self.call(rq.Flush(collections=(NAME,)))
        return flushed

    def search(self, queries: np.ndarray, limit: int, filter: str = "", **more: Any) -> rs.Hits:
        asked = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.atleast_2d(queries).astype(np.float32))
        hits: rs.Hits = self.call(rq.Search(collection=NAME, queries=asked, limit=limit, filter=filter, **more))
        return hits

    def query(self, filter: str = "", limit: int | None = None, fields: tuple[str, ...] = ("*",), **more: Any) -> Any:
        request = rq.Query(collection=NAME, filter=filter, limit=limit, output_fields=fields, **more)
        return self.call(request).rows.to_pydict()

    def count(self, filter: str = "") -> int:
        return int(self.query(filter, fields=("count(*)",))["count(*)"][0])

    def numbers(self) -> dict[Any, int]:
        """What is stored: `number` by key."""
        rows = self.query("number >= -9000000000000000000", fields=("id", "number"))
        return dict(zip(rows["id"], rows["number"], strict=True))

    def indexed(self) -> bool:
        return bool(self.call(rq.DescribeIndex(collection=NAME)).indexes[0].state == 3)
