"""Collections of texts under test, and what BM25 says about them, written out."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from tests.engine import Engine

from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType, FunctionType
from redkite.model.upkeep import CompactionState
from redkite.text.specs import analyzer_of

NAME = "texts"
Texts = Mapping[int, str | None]


def text_schema(*more: FieldSchema, nullable: bool = False, **params: str) -> CollectionSchema:
    """`id`, `body`, and its `words`."""
    body = {"max_length": "65535", "enable_analyzer": "true", **params}
    return CollectionSchema(
        name=NAME,
        fields=(
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
            FieldSchema(name="body", data_type=DataType.VARCHAR, nullable=nullable, params=body),
            FieldSchema(name="words", data_type=DataType.SPARSE_FLOAT_VECTOR),
            *more,
        ),
        functions=(
            FunctionSchema(
                name="bm25", type=FunctionType.BM25, input_field_names=("body",), output_field_names=("words",)
            ),
        ),
    )


def words_of(text: str | None) -> list[str]:
    return analyzer_of(None).analyze([text]).words(0)


def plain_scores(texts: Texts, query: str, k1: float = 1.2, b: float = 0.75) -> dict[int, float]:
    """The positive scores of all texts, term by term in double precision."""
    held = {key: Counter(words_of(text)) for key, text in texts.items() if text is not None}
    rows = len(held)
    lengths = {key: sum(counts.values()) for key, counts in held.items()}
    average = sum(lengths.values()) / rows if rows else 0.0
    scores: Counter[int] = Counter()
    for word, asked in Counter(words_of(query)).items():
        having = [key for key, counts in held.items() if word in counts]
        rarity = math.log(1 + (rows - len(having) + 0.5) / (len(having) + 0.5))
        for key in having:
            tf = held[key][word]
            below = tf + k1 * (1 - b + b * lengths[key] / average)
            scores[key] += asked * rarity * tf * (k1 + 1) / below
    return dict(scores)


class TextEngine(Engine):
    """An engine with one collection of texts."""

    def create_texts(self, schema: CollectionSchema | None = None, *, shards: int = 1, **index: str) -> None:
        self.call(rq.CreateCollection(schema=schema or text_schema(), shards=shards))
        params = {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"} | index
        self.call(rq.CreateIndex(collection=NAME, field="words", params=params))
        self.call(rq.LoadCollection(collection=NAME))

    def rows(self, texts: Texts, **more: Sequence[Any]) -> pa.RecordBatch:
        columns = {"id": pa.array(list(texts), pa.int64()), "body": pa.array(list(texts.values()), pa.string())}
        return pa.RecordBatch.from_pydict(columns | {name: pa.array(list(values)) for name, values in more.items()})

    def put(self, texts: Texts, partition: str = "", **more: Sequence[Any]) -> rs.Mutation:
        written: rs.Mutation = self.call(rq.Upsert(collection=NAME, rows=self.rows(texts, **more), partition=partition))
        return written

    def remove(self, filter: str) -> None:
        self.call(rq.Delete(collection=NAME, filter=filter))

    def seal(self) -> None:
        self.call(rq.Flush(collections=(NAME,)))

    def compact(self) -> None:
        job = self.call(rq.Compact(collection=NAME)).job_id
        while job >= 0 and self.call(rq.GetCompactionState(job_id=job)).state is not CompactionState.Completed:
            time.sleep(0.01)

    def ask(self, *queries: str, limit: int = 1000, **more: Any) -> list[dict[int, float]]:
        """Keys and scores, the best first, of each query."""
        asked = rq.Queries(data_type=DataType.VARCHAR, raw=tuple(query.encode() for query in queries))
        hits: rs.Hits = self.call(rq.Search(collection=NAME, queries=asked, limit=limit, **more))
        ids, scores = hits.ids.to_pylist(), hits.scores.tolist()
        found, at = [], 0
        for count in hits.topks.tolist():
            found.append(dict(zip(ids[at : at + count], scores[at : at + count], strict=True)))
            at += count
        return found
