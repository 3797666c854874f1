"""NaN and infinity have no place in vectors or numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter


def check_finite(values: npt.NDArray[np.floating]) -> None:
    """Raise InvalidParameter naming the first value that is not a finite number."""
    # One pass without a mask; a sum of float32 does not overflow a double.
    if math.isfinite(values.sum(dtype=np.float64)):
        return
    finite = np.isfinite(values)
    if not finite.all():
        raise InvalidParameter(f"value '{_spelled(float(values[~finite][0]))}' is not a number or infinity")


def _spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
