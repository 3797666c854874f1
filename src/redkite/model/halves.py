"""bfloat16, which numpy does not have: the upper half of a float32, its bits kept as uint16."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def to_bfloat16(numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, ties to even; NaN stays NaN."""
    with np.errstate(over="ignore"):  # what is too large becomes infinity, which no vector may hold
        floats = np.ascontiguousarray(numbers, np.float32)
    bits = floats.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(floats), bits >> 16 | 0x40, rounded).astype(np.uint16)


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The numbers that the bits stand for."""
    floats = np.empty(bits.shape, np.float32)
    widen_bfloat16(bits, floats)
    return floats


def widen_bfloat16(bits: npt.NDArray[np.uint16], out: npt.NDArray[np.float32]) -> None:
    """`from_bfloat16` into memory that is there, which saves more than the work itself."""
    words = out.view(np.uint32)
    np.copyto(words, bits)
    words <<= 16
