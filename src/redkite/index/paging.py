"""Vectors that are mapped from a file larger than memory: the rows a search will compare are asked for all at once.

Touched one after another each page that is not in memory is waited for, and the system reads a good deal around it
that nobody wants. Told beforehand, it reads the wanted pages only, side by side. Telling costs a call for each row,
which is wasted where everything is in memory: so it is done as long as reads are seen, and for a while after.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.index.base import RowNumbers

STAY_COLD = 256
"""Searches that ask beforehand after a read was seen; then one does not, to see whether there still are any."""
AT_ONCE = 128 << 10
"""Of one piece of advice the system follows no more than this, as many are set up."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if os.name == "posix" else 4096
_WILL_NEED = 3 if sys.platform in ("linux", "darwin") else None
"""The system's number of that advice; None where it takes none."""


class Paging:
    """Of the rows of one matrix, or of those that `held` lists, numbered as they are in it. Safe from any thread: what
    two of them overwrite is a guess anyway."""

    def __init__(self, matrix: npt.NDArray[Any], held: RowNumbers | None = None) -> None:
        self._matrix = matrix
        self._held = held
        self._cold = STAY_COLD
        self._seen = 0

    def expect(self, rows: RowNumbers) -> None:
        """These rows (any shape, negative ones are none) are compared next."""
        if self._cold > 0:
            self._cold -= 1
            rows = rows[rows >= 0]
            bring(self._matrix, rows if self._held is None else self._held[rows])
            return
        reads = _reads()
        if reads != self._seen:
            self._seen = reads
            self._cold = STAY_COLD


def bring(matrix: npt.NDArray[Any], rows: RowNumbers) -> None:
    """Have the system read the pages of these rows of a matrix, all at once, where they are not in
    memory. Returns before they are."""
    if _WILL_NEED is None or not matrix.flags.c_contiguous:
        return
    each = matrix.strides[0]
    wanted = np.unique(rows)
    firsts = (matrix.ctypes.data + wanted * each) // _PAGE
    ends = (matrix.ctypes.data + (wanted + 1) * each - 1) // _PAGE + 1
    apart = np.flatnonzero(firsts[1:] > ends[:-1])
    starts = firsts[np.concatenate([[0], apart + 1])] if len(firsts) else firsts
    stops = ends[np.concatenate([apart, [len(ends) - 1]])] if len(ends) else ends
    advise = _advise()
    for start, stop in zip((starts * _PAGE).tolist(), (stops * _PAGE).tolist(), strict=True):
        advise(start, stop - start, _WILL_NEED)


def bring_all(data: npt.NDArray[Any]) -> None:
    """Have the system read all of these bytes, and do not wait for it."""
    if _WILL_NEED is None:
        return
    advise, end = _advise(), data.ctypes.data + data.nbytes
    for start in range(data.ctypes.data // _PAGE * _PAGE, end, AT_ONCE):
        advise(start, min(AT_ONCE, end - start), _WILL_NEED)


def _advise() -> Any:
    global _advise_call
    if _advise_call is None:
        call = ctypes.CDLL(None).madvise
        call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        _advise_call = call
    return _advise_call


_advise_call: Any = None


def _reads() -> int:
    """Pages that this process has waited for so far."""
    if os.name != "posix":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
