"""NaN and infinity have no place in vectors or numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter


def check_finite(values: npt.NDArray[np.floating]) -> None:
    """Raise InvalidParameter naming the first value that is not a finite number."""
    # One pass without a mask. Large doubles may overflow the sum, and infinities make it NaN: then look closer.
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum(dtype=np.float64)
    if math.isfinite(total):
        return
    finite = np.isfinite(values)
    if not finite.all():
        raise InvalidParameter(f"value '{_spelled(float(values[~finite][0]))}' is not a number or infinity")


def _spelled(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"
