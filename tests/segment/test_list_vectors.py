"""Arrays of vectors in segments: while they grow, once they are stored, and one element at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.list_vectors import model, random_queries, starts_of

from redkite.coordinator.creation import engine_schema
from redkite.index.lists import ListColumn, VectorLists
from redkite.model.batch import arrow_type
from redkite.model.schema import OFFSET_FIELD, CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import DataType, Metric
from redkite.segment.deletes import Deletes
from redkite.segment.elements import ElementView
from redkite.segment.files import write_segment
from redkite.segment.growing import GrowingSegment
from redkite.segment.sealed import SealedSegment
from redkite.simulated import simulated_env
from redkite.storage.objects import FolderObjects

DIM = 4
SCHEMA = engine_schema(
    CollectionSchema(
        name="c",
        fields=(FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),),
        struct_fields=(
            StructFieldSchema(
                name="s",
                nullable=True,
                fields=(
                    FieldSchema(
                        name="n", data_type=DataType.ARRAY, element_type=DataType.INT64, params={"max_capacity": "9"}
                    ),
                    FieldSchema(
                        name="v", data_type=DataType._ARRAY_OF_VECTOR, element_type=DataType.FLOAT_VECTOR,
                        params={"max_capacity": "9", "dim": str(DIM)},
                    ),
                ),
            ),
        ),
    )
)  # fmt: skip
FIELD = SCHEMA.field("s[v]")


def rows_of(lengths: list[int | None], first: int = 0) -> tuple[pa.RecordBatch, list[np.ndarray]]:
    """Rows with so many elements; None: null."""
    rng = np.random.default_rng(first)
    lists = [rng.normal(size=(n or 0, DIM)).astype(np.float32) for n in lengths]
    columns = [
        pa.array(range(first, first + len(lengths)), pa.int64()),
        pa.array([None if n is None else list(range(n)) for n in lengths], pa.list_(pa.int64())),
        pa.array([None if n is None else v.tolist() for n, v in zip(lengths, lists, strict=True)], arrow_type(FIELD)),
    ]
    return pa.RecordBatch.from_arrays(columns, ["id", "s[n]", "s[v]"]), lists


def growing(*batches: pa.RecordBatch) -> GrowingSegment:
    segment = GrowingSegment(1, 2, SCHEMA, 0)
    for stamp, batch in enumerate(batches, 1):
        segment.append(batch, batch.column("id").to_pylist(), 10 * stamp)
    return segment


def sealed(segment: GrowingSegment, folder: Any) -> SealedSegment:
    store = FolderObjects(simulated_env(0).files, str(folder))
    return SealedSegment(store, write_segment(store, 5, "channel", segment), SCHEMA, Deletes())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=4))
def test_lists_that_come_bit_by_bit_are_one_column(pieces: list[list[int | None]]) -> None:
    batches, lists, first = [], [], 0
    for lengths in pieces:
        batch, some = rows_of(lengths, first)
        batches.append(batch)
        lists += some
        first += len(lengths)
    segment = growing(*batches)
    for rows in (first, max(1, first // 2), first):
        column, valid = segment.vectors("s[v]", rows)
        assert isinstance(column, ListColumn)
        assert np.diff(column.starts).tolist() == [len(some) for some in lists[:rows]]
        filled = [len(some) > 0 for some in lists[:rows]]
        assert (valid is None and all(filled)) or (valid is not None and valid.tolist() == filled)
    whole = pa.Table.from_batches(batches).combine_chunks()
    assert segment.take(np.arange(first), ("s[v]",)).column(0).to_pylist() == whole.column("s[v]").to_pylist()
    back = np.arange(first)[::-1].copy()
    assert segment.take(back, ("s[v]",)).column(0).to_pylist() == whole.column("s[v]").to_pylist()[::-1]


def test_a_sealed_segment_searches_what_the_growing_one_did(tmp_path: Any) -> None:
    lengths = [3, None, 0, 1, 2] * 20
    batch, lists = rows_of(lengths)
    segment, queries = growing(batch), random_queries(3, DIM, 4)
    stored = sealed(segment, tmp_path)
    wanted = model(queries, lists, Metric.MAX_SIM_L2)
    for each in (segment, stored):
        column, valid = each.vectors("s[v]", len(lengths))
        assert valid is not None
        assert valid.tolist() == [bool(n) for n in lengths]
        scores, rows = column.search(queries, 5, Metric.MAX_SIM_L2, None)
        np.testing.assert_allclose(scores, np.sort(wanted, axis=1)[:, :5], rtol=1e-4)
        np.testing.assert_allclose(scores, np.take_along_axis(wanted, rows, axis=1), rtol=1e-4)
    mapped = stored.vectors("s[v]", len(lengths)).column.flat.matrix
    assert not mapped.flags.owndata and not mapped.flags.writeable, "vectors stay where they are mapped"


def test_an_added_array_of_vectors_has_none_in_older_rows(tmp_path: Any) -> None:
    older = CollectionSchema(name="c", fields=SCHEMA.fields[:1])
    segment = GrowingSegment(1, 2, older, 0)
    segment.append(pa.RecordBatch.from_arrays([pa.array([1, 2])], ["id"]), [1, 2], 10)
    newer = msgspec.structs.replace(SCHEMA, version=1)
    store = FolderObjects(simulated_env(0).files, str(tmp_path))
    stored = SealedSegment(store, write_segment(store, 5, "channel", segment), older, Deletes())
    for each in (segment.under(newer), stored.under(newer)):
        column, valid = each.vectors("s[v]", 2)
        assert valid is not None and not valid.any()
        assert isinstance(column, ListColumn) and column.elements == 0
        assert each.take(np.array([1]), ("s[n]", "s[v]")).to_pylist() == [{"s[n]": None, "s[v]": None}]


@pytest.mark.parametrize("is_sealed", [False, True])
def test_elements_are_the_rows_of_a_view(is_sealed: bool, tmp_path: Any) -> None:
    lengths = [2, None, 0, 3, 1]
    batch, lists = rows_of(lengths, 50)
    base = sealed(growing(batch), tmp_path) if is_sealed else growing(batch)
    view = ElementView(base, "s[v]")
    assert (view.rows_at(5), view.rows_at(10)) == (0, 6)
    places = np.array([5, 0, 1, 4])
    assert view.rows_of(places).tolist() == [4, 0, 0, 3]
    assert view.keys(places).to_pylist() == [54, 50, 50, 53]
    taken = view.take(places, ("id", OFFSET_FIELD, "s[n]"))
    assert taken.column(OFFSET_FIELD).to_pylist() == [0, 0, 1, 2]
    assert taken.column("id").to_pylist() == [54, 50, 50, 53]
    assert view.timestamps(6).tolist() == [10] * 6
    column, valid = view.vectors("s[v]", 6)
    assert valid is None
    np.testing.assert_array_equal(column.matrix, np.concatenate(lists))
    assert view.columns(6).stored("id").to_pylist() == [50, 50, 53, 53, 53, 54]
    found = view.find([53], 10)
    assert found is not None and found.tolist() == [2, 3, 4]


def test_one_list_is_a_query_like_another() -> None:
    lists = VectorLists(starts_of([1, 2]), np.zeros((3, DIM), np.float32))
    assert len(lists) == 2
    assert lists.tobytes() != lists[np.array([1])].tobytes()
