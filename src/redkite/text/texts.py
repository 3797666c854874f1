"""Texts as one run of characters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Valid UTF-8 without nulls. `data` holds the texts one after another; text i is the bytes
    `bounds[i]:bounds[i + 1]`."""

    data: bytes
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def strings(self) -> list[str]:
        """Each text as a Python string. Raises InvalidParameter for invalid UTF-8."""
        bounds = self.bounds.tolist()
        try:
            return [self.data[begin:end].decode() for begin, end in itertools.pairwise(bounds)]
        except UnicodeDecodeError:
            self.check()
            raise

    def check(self) -> None:
        """Raises InvalidParameter unless each text is valid UTF-8."""
        import pyarrow as pa

        # Arrow is quicker than Python, and looks at each text by itself.
        buffers = [None, pa.py_buffer(self.bounds), pa.py_buffer(self.data)]
        try:
            pa.Array.from_buffers(pa.large_string(), len(self), buffers).validate(full=True)
        except pa.ArrowInvalid:
            pass
        else:
            return
        for text, (begin, end) in enumerate(itertools.pairwise(self.bounds.tolist())):
            try:
                self.data[begin:end].decode()
            except UnicodeDecodeError as error:
                raise InvalidParameter(f"text {text} is not valid UTF-8: {error.reason}") from None


def texts_of(texts: Any) -> Texts:
    """Strings of Python or an Arrow array of them; null is an empty text. Raises InvalidParameter for anything else."""
    import pyarrow as pa

    if not isinstance(texts, (pa.Array, pa.ChunkedArray)):
        return _of_strings(texts)
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if column.null_count:
        column = column.fill_null("")
    wide = pa.types.is_large_string(column.type)
    if not (wide or pa.types.is_string(column.type)):
        raise InvalidParameter(f"an analyzer takes texts, but got values of type {column.type}")
    kind = np.dtype(np.int64 if wide else np.int32)
    _, places, content = column.buffers()
    if not len(column) or places is None or content is None:
        return Texts(b"", np.zeros(len(column) + 1, np.int64))
    bounds = np.frombuffer(places, kind, len(column) + 1, column.offset * kind.itemsize).astype(np.int64)
    return Texts(content.slice(int(bounds[0]), int(bounds[-1] - bounds[0])).to_pybytes(), bounds - bounds[0])


def _of_strings(texts: Sequence[str | None]) -> Texts:
    pieces: list[bytes] = []
    for place, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise InvalidParameter(f"an analyzer takes texts, but got {type(text).__name__} at {place}")
        try:
            pieces.append((text or "").encode())
        except UnicodeEncodeError as error:
            raise InvalidParameter(f"text {place} is not valid Unicode: {error.reason} at {error.start}") from None
    bounds = np.array([0, *itertools.accumulate(map(len, pieces))], np.int64)
    return Texts(b"".join(pieces), bounds)
