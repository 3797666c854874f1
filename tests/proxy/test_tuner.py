"""The effort that finds a wanted part of the neighbours."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from redkite.filter import compile_filter
from redkite.model import results as rs
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import IndexMeta, IndexSpec
from redkite.model.types import DataType, Metric
from redkite.proxy.tuner import LiveQueries, Tuner
from redkite.query.plan import SearchPlan

SCHEMA = CollectionSchema(
    name="c",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="v", data_type=DataType.FLOAT_VECTOR, params={"dim": "2"}),
    ),
)
INDEX = IndexMeta(
    index_id=1, collection_id=1, field_id=101, field="v", name="v", params={}, created_timestamp=1,
    spec=IndexSpec(index_type="HNSW", metric=Metric.L2, build={}),
)  # fmt: skip
PLAN = SearchPlan(
    collection_id=1, schema=SCHEMA, field="v", metric=Metric.L2, params={"ef": 16, "measured": "ef"}, exact=False,
    filter=None, partitions=None, limit=4, columns=("id",),
)  # fmt: skip


class Collection:
    """Finds everything from some effort on: more under a filter than without."""

    def __init__(self) -> None:
        self.asked: list[SearchPlan] = []

    def search(self, plan: SearchPlan, queries: Any) -> rs.Hits:
        self.asked.append(plan)
        needed = 16 if plan.filter is None else 64
        nq = len(queries)
        whole = plan.exact or int(plan.params["ef"]) >= needed
        scores = np.tile(np.arange(4, dtype=np.float32) if whole else np.arange(9, 13, dtype=np.float32), nq)
        return rs.Hits(
            topks=np.full(nq, 4), keys=pa.array(np.arange(4 * nq)), scores=scores, rows=pa.record_batch({}),
            output_fields=(), primary_field="id", collection="c", session_timestamp=1,
        )  # fmt: skip


@pytest.fixture
def collection() -> Collection:
    return Collection()


@pytest.fixture
def tuner() -> Tuner:
    return Tuner(LiveQueries())


def effort(tuner: Tuner, collection: Collection, plan: SearchPlan, rows: int = 100) -> Any:
    params = tuner.params(plan, INDEX, 0.9, rows, collection.search, lambda count: np.zeros((count, 2), np.float32))
    assert params is not None and "measured" not in params, "the index may not raise what was measured"
    return params["ef"]


def filtered(text: str, **params: Any) -> SearchPlan:
    return msgspec.structs.replace(PLAN, filter=compile_filter(text, SCHEMA, params))


def test_the_effort_is_measured_with_the_filter_of_the_search(tuner: Tuner, collection: Collection) -> None:
    assert effort(tuner, collection, PLAN) == 16
    assert effort(tuner, collection, filtered("id > 5")) == 64
    texts = {None if plan.filter is None else plan.filter.text for plan in collection.asked}
    assert texts == {None, "id > 5"}


def test_what_was_measured_is_kept_for_the_filter_and_its_other_values(tuner: Tuner, collection: Collection) -> None:
    effort(tuner, collection, filtered("id > {least}", least=5))
    asked = len(collection.asked)
    assert effort(tuner, collection, filtered("id > {least}", least=7)) == 64
    assert len(collection.asked) == asked
    effort(tuner, collection, filtered("id < {least}", least=7))
    assert len(collection.asked) > asked


def test_other_partitions_and_many_more_rows_are_measured_anew(tuner: Tuner, collection: Collection) -> None:
    effort(tuner, collection, PLAN)
    asked = len(collection.asked)
    effort(tuner, collection, msgspec.structs.replace(PLAN, partitions=frozenset({3})))
    assert len(collection.asked) > asked
    asked = len(collection.asked)
    effort(tuner, collection, PLAN, rows=140)
    assert len(collection.asked) == asked
    effort(tuner, collection, PLAN, rows=160)
    assert len(collection.asked) > asked
