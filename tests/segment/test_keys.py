"""Rows are found by key, in growing and in sealed segments."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from redkite.segment.keys import GrowingKeys, SealedKeys, key_order

integers = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60)
texts = st.lists(st.text(max_size=4), max_size=60)


def sealed(keys: list) -> SealedKeys:
    column = pa.array(keys, pa.int64() if keys and isinstance(keys[0], int) else pa.string())
    order = key_order(column)
    ordered = sorted(keys)
    return SealedKeys(column, order, ordered[0], ordered[-1])


@given(keys=st.one_of(integers, texts), data=st.data())
def test_a_sealed_segment_finds_every_row_of_a_key(keys: list, data: st.DataObject) -> None:
    if not keys:
        return
    wanted = data.draw(st.lists(st.sampled_from(keys), max_size=10))
    wanted += data.draw(integers if isinstance(keys[0], int) else texts)
    found = sorted(sealed(keys).find(wanted).tolist())
    assert found == [row for row, key in enumerate(keys) if key in set(wanted)]


@given(keys=st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=200))
def test_many_string_keys_are_found_as_few_are(keys: list[str]) -> None:
    many = [f"{k}{i}" for i in range(100) for k in keys[:2]] + keys
    assert sorted(sealed(keys).find(many).tolist()) == list(range(len(keys)))


@given(batches=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=15), max_size=8))
def test_a_growing_segment_names_the_rows_that_new_ones_replace(batches: list[list[int]]) -> None:
    keys = GrowingKeys()
    newest: dict[int, int] = {}
    row = 0
    for batch in batches:
        gone = []
        for at, key in enumerate(batch, row):
            if key in newest:
                gone.append(newest[key])
            newest[key] = at
        assert sorted(set(keys.add(batch, row).tolist())) == sorted(gone)
        row += len(batch)
    assert sorted(keys.find(list(range(-3, 25))).tolist()) == sorted(newest.values())


@given(
    steps=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    stray=st.none() | st.integers(0, 30),
    asked=st.lists(st.integers(-2, 60), max_size=40),
    to_change=st.booleans(),
)
def test_keys_that_come_in_order_are_found_like_all_others(
    steps: list[int], stray: int | None, asked: list[int], to_change: bool
) -> None:
    keys, rows, row, key = GrowingKeys(), dict[int, int](), 0, 0
    for step in steps:
        batch = list(range(key, key + 2 * step + 1, 2))
        key = batch[-1] + 1
        assert len(keys.add(batch, row)) == 0
        rows |= {k: at for at, k in enumerate(batch, row)}
        row += len(batch)
        find = keys.find_to_change if to_change else keys.find
        assert sorted(find(asked).tolist()) == sorted({rows[k] for k in asked if k in rows})
    if stray is not None:
        replaced = keys.add([stray], row)
        assert replaced.tolist() == [rows[key] for key in [stray] if key in rows]
        rows[stray] = row
    assert sorted(keys.find(asked).tolist()) == sorted({rows[k] for k in asked if k in rows})


def test_rows_in_key_order_need_no_order() -> None:
    assert key_order(pa.array([1, 2, 2, 9])) is None
    assert key_order(pa.array(["a", "b", "é"])) is None
    assert key_order(pa.array([3, 1, 2])).tolist() == [1, 2, 0]
    assert key_order(pa.array([], pa.int64())) is None
    np.testing.assert_array_equal(sealed([3, 1, 2]).find([2, 3]), [2, 0])
