"""float16 made float32: numpy converts one number at a time, the compiler several at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import types, uint16, uint32

from redkite.native import array, kernel

BLOCK = 4096
_SCALE = np.float32(2.0**112)
"""Between the exponents of the two."""


@kernel(types.void(array(uint16), array(uint32, written=True)))
def widen_halves(halves: npt.NDArray[np.uint16], out: npt.NDArray[np.uint32]) -> None:
    """The bits of finite float16 numbers -> the bits of the same numbers as float32."""
    for first in range(0, len(halves), BLOCK):
        # Loops from 0 over pieces: others are not compiled to several numbers at once.
        some, words = halves[first : first + BLOCK], out[first : first + BLOCK]
        floats = words.view(np.float32)
        for at in range(len(some)):
            words[at] = np.uint32(some[at] & np.uint16(0x7FFF)) << np.uint32(13)
        for at in range(len(some)):
            floats[at] *= _SCALE
        for at in range(len(some)):
            words[at] |= np.uint32(some[at] & np.uint16(0x8000)) << np.uint32(16)
