"""Rows that come one by one stand where they would stand had they come in batches."""

from __future__ import annotations

from copy import copy
from threading import Thread

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import DIM, schema

from redkite.model.batch import vectors_to_arrow
from redkite.model.one_row import OneRow, RowLayout
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.segment import growing
from redkite.segment.growing import LOOSE_ROWS, GrowingSegment

LAYOUT = RowLayout.of(schema(), 1)


def one(number: int) -> OneRow:
    assert LAYOUT is not None
    row = LAYOUT.row({"id": number, "vector": [float(number)] * DIM, "number": number * 10, "word": f"w{number}"})
    assert row is not None
    return row


def several(first: int, count: int) -> pa.RecordBatch:
    numbers = np.arange(first, first + count)
    vectors = np.repeat(numbers[:, None], DIM, axis=1).astype(np.float32)
    columns = [
        pa.array(numbers),
        vectors_to_arrow(vectors),
        pa.array(numbers * 10),
        pa.array([f"w{n}" for n in numbers]),
    ]
    return pa.RecordBatch.from_arrays(columns, ["id", "vector", "number", "word"])


def check(segment: GrowingSegment, rows: int) -> None:
    assert segment.batch(rows).to_pylist() == several(0, rows).to_pylist()
    last = np.array([rows - 1])
    assert (
        segment.take(last, ("word", "vector")).to_pylist()
        == several(rows - 1, 1).select(["word", "vector"]).to_pylist()
    )
    assert segment.keys(last).to_pylist() == [rows - 1]
    assert segment.find([rows - 1], rows).tolist() == [rows - 1]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12))
def test_single_rows_and_batches_keep_their_order(steps: list[tuple[int, bool]]) -> None:
    segment, total = GrowingSegment(1, 2, schema(), 0), 0
    for count, look in steps:
        if count:
            segment.append(several(total, count), list(range(total, total + count)), total + 1)
            total += count
        segment.append(one(total), [total], total + 1)
        total += 1
        if look:
            check(segment, total)
    check(segment, total)


def test_many_single_rows_are_brought_together_on_the_way() -> None:
    segment = GrowingSegment(1, 2, schema(), 0)
    for number in range(3 * LOOSE_ROWS + 7):
        segment.append(one(number), [number], number + 1)
    assert segment.rows == 3 * LOOSE_ROWS + 7
    assert segment.size >= segment.rows * (8 + 4 * DIM + 8)
    assert segment.memory() >= segment.size
    check(segment, segment.rows)


def test_a_single_row_replaces_the_older_one_of_its_key() -> None:
    segment = GrowingSegment(1, 2, schema(), 0)
    segment.append(one(1), [1], 5)
    segment.append(one(2), [2], 6)
    segment.append(one(1), [1], 7)
    assert segment.deletes.count == 1
    assert segment.find([1], 7).tolist() == [2]


def test_readers_beside_a_writer_of_single_rows_see_whole_rows() -> None:
    segment, wrong = GrowingSegment(1, 2, schema(), 0), []

    def read() -> None:
        while segment.rows < 3_000:
            rows = segment.rows
            if rows and segment.batch(rows).column("id").to_pylist() != list(range(rows)):
                wrong.append(rows)

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(3_000):
        segment.append(one(number), [number], number + 1)
    for reader in readers:
        reader.join()
    assert not wrong


def test_a_row_that_comes_while_a_reader_takes_a_later_schema_is_whole_there_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = tuple(msgspec.structs.replace(f, field_id=100 + at) for at, f in enumerate(schema().fields))
    odd = FieldSchema(name="odd", data_type=DataType.INT64, field_id=999, default_value=5)
    present = msgspec.structs.replace(schema(), fields=fields)
    later = msgspec.structs.replace(present, fields=(*fields, odd), version=present.version + 1)
    segment = GrowingSegment(1, 2, present, 0)
    segment.append(one(0), [0], 1)
    writer = Thread(target=segment.append, args=(one(1), [1], 2))

    def copied(thing: GrowingSegment) -> GrowingSegment:
        writer.start()
        writer.join(0.2)  # it waits for the reader, or comes in between
        return copy(thing)

    monkeypatch.setattr(growing, "copy", copied)
    seen = segment.under(later)
    writer.join()
    assert seen.batch(seen.rows).num_rows == seen.rows
