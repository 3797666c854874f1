"""Rows that were written under one schema are read under another, growing and sealed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.engine import DIM, schema
from tests.segment.test_growing import rows

from redkite.index.dense import FloatColumn
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.segment.base import Segment
from redkite.segment.deletes import Deletes
from redkite.segment.evolution import SchemaMoved, conform, identified
from redkite.segment.files import open_rows, write_segment
from redkite.segment.growing import GrowingSegment
from redkite.segment.sealed import SealedSegment
from redkite.simulated import simulated_env
from redkite.storage.objects import FolderObjects

FIRST = msgspec.structs.replace(
    schema(),
    fields=tuple(msgspec.structs.replace(f, field_id=100 + at) for at, f in enumerate(schema().fields)),
)
"""id 100, vector 101, number 102, word 103"""


def changed(version: int, *added: FieldSchema, without: tuple[str, ...] = ()) -> CollectionSchema:
    kept = tuple(f for f in FIRST.fields if f.name not in without)
    return msgspec.structs.replace(FIRST, fields=(*kept, *added), version=version)


PRICE = FieldSchema(name="price", data_type=DataType.INT64, field_id=104, default_value=7)
NOTE = FieldSchema(name="note", data_type=DataType.VARCHAR, field_id=105, nullable=True, params={"max_length": "9"})
WORD_AGAIN = FieldSchema(name="word", data_type=DataType.DOUBLE, field_id=106, nullable=True)
SECOND = changed(1, PRICE, NOTE, without=("number",))
THIRD = changed(2, PRICE, WORD_AGAIN, without=("word", "number"))


def growing(count: int = 6) -> GrowingSegment:
    segment = GrowingSegment(1, 2, FIRST, 0)
    for at in range(0, count, 2):
        segment.append(rows(at, 2), [at, at + 1], 10 + at)
    return segment


def sealed(count: int = 6) -> SealedSegment:
    store = FolderObjects(simulated_env(1).files, "db/objects")
    meta = write_segment(store, 5, "channel", growing(count))
    return SealedSegment(store, meta, FIRST, Deletes())


def floats(segment: Segment, rows: int) -> FloatColumn:
    column, valid = segment.vectors("vector", rows)
    assert isinstance(column, FloatColumn)
    assert valid is None
    return column


@pytest.fixture(params=[growing, sealed])
def segment(request: pytest.FixtureRequest) -> Any:
    return request.param()


def values(segment: Segment, *names: str) -> dict[str, list[Any]]:
    taken: dict[str, list[Any]] = segment.take(np.array([4, 1]), names).to_pydict()
    return taken


def test_an_added_field_is_its_default_or_null_in_old_rows(segment: Segment) -> None:
    seen = segment.under(SECOND)
    assert values(seen, "price", "note", "word") == {"price": [7, 7], "note": [None, None], "word": ["w4", "w1"]}
    numbers, valid = seen.columns(4).numbers("price")
    assert (numbers.tolist(), valid) == ([7] * 4, None)
    valid = seen.columns(6).is_valid("note")
    assert valid is not None
    assert not valid.any()


def test_a_field_made_anew_under_an_old_name_does_not_show_old_values(segment: Segment) -> None:
    assert values(segment, "word") == {"word": ["w4", "w1"]}
    assert values(segment.under(THIRD), "word") == {"word": [None, None]}
    assert values(segment.under(SECOND).under(THIRD), "word") == {"word": [None, None]}


def test_a_dropped_field_cannot_be_read(segment: Segment) -> None:
    with pytest.raises(KeyError):
        values(segment.under(SECOND), "number")


def test_readers_of_the_old_schema_are_not_disturbed(segment: Segment) -> None:
    segment.under(THIRD)
    assert values(segment, "number", "word") == {"number": [40, 10], "word": ["w4", "w1"]}
    assert segment.under(FIRST) is segment


def test_a_segment_is_not_read_by_a_schema_older_than_its_own(segment: Segment) -> None:
    with pytest.raises(SchemaMoved, match="collection schema mismatch"):
        segment.under(SECOND).under(FIRST)


def test_vectors_keys_deletes_and_times_are_the_same_under_every_schema(segment: Segment) -> None:
    seen = segment.under(SECOND)
    np.testing.assert_array_equal(floats(seen, 6).matrix, floats(segment, 6).matrix)
    np.testing.assert_array_equal(floats(seen, 6).lengths, floats(segment, 6).lengths)
    segment.deletes.mark(np.array([2]), 50, 6)
    assert seen.deletes is segment.deletes
    assert seen.timestamps(6).tolist() == segment.timestamps(6).tolist() == [10, 10, 12, 12, 14, 14]
    assert [seen.rows_at(t) for t in (9, 10, 13, 14)] == [0, 2, 4, 6]
    found = seen.find([3, 77], 99)
    assert found is not None
    assert found.tolist() == [3]
    assert seen.keys(np.array([5, 0])).to_pylist() == [5, 0]


def test_an_index_that_comes_later_serves_every_schema() -> None:
    segment = sealed()
    seen = segment.under(SECOND)
    index: Any = object()
    segment.attach_index("vector", index)
    assert seen.index("vector") is index
    segment.detach_index("vector")
    assert seen.index("vector") is None


def test_the_successor_of_a_growing_segment_takes_writes_and_keeps_its_keys() -> None:
    old = growing()
    new = old.evolved(SECOND)
    vectors = pa.array([[0.5] * DIM] * 2, pa.list_(pa.float32(), DIM))
    fresh = pa.RecordBatch.from_arrays(
        [pa.array([3, 60]), vectors, pa.array(["x", "y"]), pa.array([1, 2]), pa.array(["a", None], pa.string())],
        ["id", "vector", "word", "price", "note"],
    )
    new.append(fresh, [3, 60], 90)
    assert new.rows == 8
    assert new.batch(8).column("price").to_pylist() == [7] * 6 + [1, 2]
    assert new.batch(8).column("note").to_pylist() == [None] * 6 + ["a", None]
    assert floats(new, 8).matrix[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 0.5, 0.5]
    alive = new.deletes.alive(8, 90)
    assert alive is not None
    assert np.flatnonzero(~alive).tolist() == [3], "the older row of key 3 is replaced"
    assert (old.rows, old.batch(6).column("number").to_pylist()) == (6, [0, 10, 20, 30, 40, 50])
    assert old.find([60], 89) is None or not len(old.find([60], 89) or [])


def test_a_segment_that_goes_on_growing_is_seen_whole_through_a_later_schema() -> None:
    segment = growing(2)
    assert segment.under(SECOND).rows == 2
    segment.append(rows(2, 3), [2, 3, 4], 40)
    assert segment.under(SECOND).batch(5).column("price").to_pylist() == [7] * 5


def test_rows_of_the_log_conform_by_field_id() -> None:
    batch = identified(rows(0, 2), FIRST)
    assert batch.schema.names == ["100", "101", "102", "103"]
    assert conform(batch, FIRST).equals(rows(0, 2))
    later = conform(batch, THIRD)
    assert later.schema.names == ["id", "vector", "price", "word"]
    assert later.column("price").to_pylist() == [7, 7]
    assert later.column("word").to_pylist() == [None, None]
    assert later.column("word").type == pa.float64()


def test_rows_on_disk_are_opened_under_the_schema_asked_for() -> None:
    store = FolderObjects(simulated_env(1).files, "db/objects")
    meta = write_segment(store, 5, "channel", growing().evolved(SECOND))
    batch, stamps = open_rows(store, meta, THIRD)
    assert batch.schema.names == ["id", "vector", "price", "word"]
    assert (batch.column("word").null_count, len(stamps)) == (6, 6)


def test_the_dynamic_field_of_rows_that_were_written_before_it_is_empty() -> None:
    meta = FieldSchema(name="$meta", data_type=DataType.JSON, field_id=107, is_dynamic=True)
    seen = sealed().under(changed(1, meta))
    assert values(seen, "$meta") == {"$meta": [b"{}", b"{}"]}
