"""A growing segment shows each reader the rows it may see, with the values they were written with."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from tests.engine import DIM, schema

from redkite.index.dense import FloatColumn
from redkite.model.batch import vectors_to_arrow
from redkite.segment.growing import GrowingSegment


def rows(first: int, count: int) -> pa.RecordBatch:
    numbers = np.arange(first, first + count)
    vectors = np.repeat(numbers[:, None], DIM, axis=1).astype(np.float32)
    columns = [
        pa.array(numbers),
        vectors_to_arrow(vectors),
        pa.array(numbers * 10),
        pa.array([f"w{n}" for n in numbers]),
    ]
    return pa.RecordBatch.from_arrays(columns, ["id", "vector", "number", "word"])


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12))
def test_reads_between_writes_see_every_row_so_far(steps: list[tuple[int, bool]]) -> None:
    segment = GrowingSegment(1, 2, schema(), 0)
    total = 0
    for timestamp, (count, look) in enumerate(steps, 1):
        segment.append(rows(total, count), list(range(total, total + count)), timestamp)
        total += count
        if look or timestamp == len(steps):
            column, valid = segment.vectors("vector", total)
            assert isinstance(column, FloatColumn)
            vectors = column.matrix
            assert valid is None
            np.testing.assert_array_equal(vectors[:, 0], np.arange(total))
            np.testing.assert_array_equal(column.lengths[1:], np.linalg.norm(vectors, axis=1)[1:])
            some = np.array([total - 1, 0])
            taken = segment.take(some, ("vector", "number", "word"))
            assert taken.column("number").to_pylist() == [(total - 1) * 10, 0]
            assert taken.column("vector").to_pylist()[0] == [float(total - 1)] * DIM
            assert segment.keys(some).to_pylist() == [total - 1, 0]


def test_a_reader_sees_the_rows_up_to_its_timestamp() -> None:
    segment = GrowingSegment(1, 2, schema(), 0)
    for timestamp, first in ((5, 0), (9, 3), (9, 6)):
        segment.append(rows(first, 3), list(range(first, first + 3)), timestamp)
    assert [segment.rows_at(t) for t in (4, 5, 8, 9, 10)] == [0, 3, 3, 9, 9]
    numbers, _ = segment.columns(3).numbers("number")
    assert numbers.tolist() == [0, 10, 20]
    assert segment.find([1, 7], 5) is None, "the newest row of a key is too new: a scan is needed"
    assert sorted(segment.find([1, 7], 9).tolist()) == [1, 7]
