"""Vectors of a growing segment are what was written, however reads and writes take turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vectors import KINDS

from redkite.client.vectors import vector_column
from redkite.index.dense import DenseColumn
from redkite.index.sparse import SparseColumn
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.segment.growing_vectors import growing_vectors
from redkite.segment.vectors import Vectored, absent_vectors, stored_vectors


def field(case: str) -> FieldSchema:
    kind = KINDS[case]
    params = {key: str(value) for key, value in kind.settings.items()}
    return FieldSchema(name="v", data_type=DataType[kind.data_type], params=params, nullable=True)


def column(case: str, seed: int, rows: int, gaps: bool) -> pa.Array:
    vectors: list[Any] = KINDS[case].draw(np.random.default_rng(seed), rows)
    return vector_column(field(case), [None if gaps and i % 3 == 1 else v for i, v in enumerate(vectors)])


def content(case: str, found: Vectored) -> list[bytes | None]:
    """Each row's bytes; None where there is no vector."""
    some = found.column
    if isinstance(some, SparseColumn):
        rows = [some.vectors[at : at + 1].to_arrow()[0].as_py() for at in range(len(some))]
    else:
        rows = [row.tobytes() for row in some.matrix]  # type: ignore[attr-defined]
    return (
        rows if found.valid is None else [row if there else None for row, there in zip(rows, found.valid, strict=True)]
    )


def shown(case: str, arrow: pa.Array) -> list[bytes | None]:
    arrow.validate(full=True)
    return content(case, stored_vectors(field(case), arrow))


@pytest.mark.parametrize("case", KINDS)
@settings(max_examples=15)
@given(steps=st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_what_was_added_is_read_whatever_was_read_before(case: str, steps: list[tuple[int, bool, bool]]) -> None:
    growing = growing_vectors(field(case))
    wanted: list[bytes | None] = []
    seen: list[tuple[int, Vectored]] = []
    for seed, (count, gaps, look) in enumerate(steps):
        some = column(case, seed, count, gaps)
        growing.add(some)
        wanted += shown(case, some)
        if look:
            rows = len(wanted)
            found = growing.read(rows)
            assert len(found.column) == rows
            assert content(case, found) == wanted
            seen.append((rows, found))
            half = growing.read(rows // 2)
            assert content(case, half) == wanted[: rows // 2]
            if rows:
                picked = np.array([rows - 1, 0, rows // 2])
                assert shown(case, growing.take(picked)) == [wanted[at] for at in picked]
    assert shown(case, growing.arrow(len(wanted))) == wanted
    assert growing.memory() > 0 or not wanted
    for rows, found in seen:
        assert content(case, found) == wanted[:rows]


@pytest.mark.parametrize("case", ["float", "float16", "int8"])
def test_lengths_are_those_of_the_rows_that_are_read(case: str) -> None:
    growing = growing_vectors(field(case))
    for seed in range(3):
        growing.add(column(case, seed, 20, gaps=False))
        found = growing.read(20 * seed + 10).column
        assert isinstance(found, DenseColumn)
        np.testing.assert_allclose(found.lengths, np.linalg.norm(found.floats(slice(None)), axis=1), rtol=1e-5)


@pytest.mark.parametrize("case", KINDS)
def test_a_field_that_is_not_stored_has_no_vectors_and_takes_no_room(case: str) -> None:
    found = absent_vectors(field(case), 1_000_000)
    assert len(found.column) == 1_000_000
    assert found.valid is not None
    assert not found.valid.any()
    assert len(found.head(5).column) == 5
    held = found.held()
    assert (held is None) == (case == "sparse")
    assert held is None or len(held) == 0


@pytest.mark.parametrize("case", KINDS)
def test_a_slice_of_a_stored_column_is_read_from_where_it_begins(case: str) -> None:
    whole = column(case, 5, 30, gaps=True)
    wanted = shown(case, whole)
    assert shown(case, whole.slice(7, 11)) == wanted[7:18]
    rows = pa.array([29, 1, 0, 4])
    assert shown(case, whole.take(rows)) == [wanted[at] for at in rows.to_pylist()]
    assert shown(case, pa.concat_arrays([whole.slice(3, 4), whole.slice(20)])) == [*wanted[3:7], *wanted[20:]]
    assert shown(case, pa.nulls(4, whole.type)) == [None] * 4
