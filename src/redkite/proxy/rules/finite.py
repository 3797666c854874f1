"""NaN and infinity have no place in vectors or numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter

_FEW = 4096
"""Numbers of which the inner product is the quickest look, and for which no other thread is woken."""
_SINGLE = 4
"""Bytes of a number that the inner product is quick for."""


def check_finite(values: npt.NDArray[np.floating]) -> None:
    """Raise InvalidParameter naming the first value that is not a finite number."""
    few = values.size <= _FEW and values.dtype.itemsize >= _SINGLE
    if few and math.isfinite(np.vdot(values, values)):  # it may overflow, and unlike other products says nothing
        return
    finite = np.isfinite(values)
    if not finite.all():
        raise InvalidParameter(f"value '{_spelled(float(values[~finite][0]))}' is not a number or infinity")


def _spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
