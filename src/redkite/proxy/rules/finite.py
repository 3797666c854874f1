"""NaN and infinity have no place in vectors or numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter
from redkite.index.threads import native

_FEW = 4096
"""Numbers of which the inner product is the quickest look, and for which no other thread is woken."""
_USUAL = np.dtype(np.float32)
_SINGLE = 4
"""Bytes of a number that the inner product is quick for."""
_pointer, _square = native("swig_ptr"), native("fvec_norm_L2sqr")


def check_finite(values: npt.NDArray[np.floating]) -> None:
    """Raise InvalidParameter naming the first value that is not a finite number."""
    usual = values.dtype is _USUAL and values.flags.c_contiguous
    if usual and math.isfinite(_square(_pointer(values), values.size)):  # it may overflow, and then says nothing
        return
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
