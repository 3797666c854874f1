"""bfloat16 made of float32 and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.model.halves import from_bfloat16, to_bfloat16


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30))
def test_bfloat16_is_the_nearest_one_with_ties_to_even(numbers: list[float]) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    floats = np.array(numbers, np.float32)
    with np.errstate(over="ignore"):
        wanted = floats.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(to_bfloat16(floats), wanted.view(np.uint16))
    np.testing.assert_array_equal(from_bfloat16(wanted.view(np.uint16)), wanted.astype(np.float32))


def test_what_is_no_number_stays_none_as_bfloat16() -> None:
    assert math.isnan(from_bfloat16(to_bfloat16(np.array([np.nan], np.float32)))[0])
