"""One NumPy file, read a few rows at a time. Nothing that would be unpickled is ever read."""

from __future__ import annotations

import tokenize
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib import format as npy_format

from redkite.formats.faults import BadFile


class NpyFile:
    """The array of a file, of one dimension (a value in each row) or two (a vector in each row)."""

    def __init__(self, handle: BinaryIO) -> None:
        """Raises BadFile for what is no such file."""
        try:
            version = npy_format.read_magic(handle)
            header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, is_fortran, dtype = header(handle)
        except (ValueError, SyntaxError, OSError, UnicodeDecodeError, tokenize.TokenError, RecursionError) as error:
            raise BadFile(f"it is no NumPy file: {str(error)[:200]}") from error
        if dtype.hasobject:
            raise BadFile("it holds Python objects, which are not read: save texts as numpy.str_, nulls not at all")
        if len(shape) not in (1, 2) or (is_fortran and len(shape) == 2 and shape[1] > 1):
            raise BadFile(f"its array has the shape {shape}: it takes a value, or a vector, in each row, in C order")
        self._handle = handle
        self._dtype: np.dtype[Any] = dtype
        self._width = shape[1] if len(shape) == 2 else 0
        self.rows = shape[0]
        self.row_bytes = dtype.itemsize * max(1, self._width)

    def read(self, count: int) -> pa.Array:
        """The next rows. Raises BadFile when the file ends before."""
        data = self._handle.read(count * self.row_bytes)
        if len(data) != count * self.row_bytes:
            raise BadFile("it ends before its last row")
        values = np.frombuffer(data, self._dtype)
        try:
            return _vectors(values, self._width) if self._width else _scalars(values)
        except pa.ArrowNotImplementedError as error:  # numbers of 128 bits, times in years
            raise BadFile(f"values of {self._dtype} are not known") from error


def _vectors(values: npt.NDArray[Any], width: int) -> pa.Array:
    values = _native(values)
    if values.dtype.kind == "V" and values.dtype.itemsize == 2:  # bfloat16, which numpy does not know
        return pa.Array.from_buffers(pa.binary(2 * width), len(values) // width, [None, pa.py_buffer(values)])
    if values.dtype.kind not in "fiu":
        raise BadFile(f"vectors are made of numbers, not of {values.dtype}")
    flat = pa.array(values)
    return pa.FixedSizeListArray.from_arrays(flat, width)


def _scalars(values: npt.NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "S":
        return pa.array(values.tolist(), pa.binary()).cast(pa.string())
    if values.dtype.kind == "U":
        return pa.array(values.tolist(), pa.string())
    if values.dtype.kind not in "bfiuM":
        raise BadFile(f"values of {values.dtype} are not known")
    return pa.array(_native(values))


def _native(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In this machine's byte order."""
    if values.dtype.isnative:
        return values
    return values.astype(values.dtype.newbyteorder("="))
