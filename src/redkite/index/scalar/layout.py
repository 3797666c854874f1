"""Named arrays in one object, each where it can be mapped and read in place.

8 bytes          `RKSCALAR`
8 bytes          length of the header, little endian
header           JSON: the kind of index, how many rows it covers, facts, and the arrays by name
arrays           one after another, each beginning at a multiple of 64 bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.env import Buffer
from redkite.errors import Corruption
from redkite.model.decoding import from_json

ALIGNMENT = 64
_MAGIC = b"RKSCALAR"
_PREFIX = len(_MAGIC) + 8

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Facts = dict[str, int | str | bool]


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where an array lies, in bytes behind the end of the padded header, and what is in it."""

    dtype: str
    shape: tuple[int, ...]
    at: int


class _Header(msgspec.Struct, frozen=True):
    kind: str
    rows: int
    facts: Facts
    arrays: dict[str, _Place]


class Stored(msgspec.Struct, frozen=True):
    """An index as it is stored. The arrays are views of the stored bytes, and read-only."""

    kind: str
    rows: int
    facts: Facts
    arrays: dict[str, Any]

    def array(self, name: str) -> Array:
        found = self.arrays.get(name)
        if found is None:
            raise Corruption(f"a stored {self.kind} index has no array '{name}'")
        values: Array = found
        return values

    def part(self, prefix: str) -> Stored:
        """The arrays and facts whose names begin with `prefix.`, under the rest of their names."""
        start = f"{prefix}."
        return Stored(
            self.kind,
            self.rows,
            {k.removeprefix(start): v for k, v in self.facts.items() if k.startswith(start)},
            {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)},
        )


def prefixed(prefix: str, arrays: Arrays) -> dict[str, Array]:
    """What `Stored.part` takes apart."""
    return {f"{prefix}.{name}": values for name, values in arrays.items()}


def pack(kind: str, rows: int, facts: Facts, arrays: Arrays) -> list[Buffer]:
    """The bytes of an index, as buffers to be written one after another. The arrays are not copied."""
    places: dict[str, _Place] = {}
    parts: list[Buffer] = []
    at = 0
    for name, given in arrays.items():
        values = np.ascontiguousarray(given)
        gap = -at % ALIGNMENT
        if gap:
            parts.append(bytes(gap))
        at += gap
        places[name] = _Place(values.dtype.str, values.shape, at)
        if values.nbytes:
            parts.append(values.reshape(-1).view(np.uint8).data)
        at += values.nbytes
    header = msgspec.json.encode(_Header(kind, rows, facts, places))
    head = _MAGIC + len(header).to_bytes(8, "little") + header
    return [head + bytes(-len(head) % ALIGNMENT), *parts]


def unpack(data: memoryview) -> Stored:
    """Raises Corruption for bytes that `pack` did not make."""
    if bytes(data[: len(_MAGIC)]) != _MAGIC:
        raise Corruption("this is no scalar index: it does not begin as one does")
    end = _PREFIX + int.from_bytes(data[len(_MAGIC) : _PREFIX], "little")
    try:
        header = from_json(data[_PREFIX:end], _Header)
    except msgspec.DecodeError as error:
        raise Corruption(f"the header of a scalar index cannot be read: {error}") from error
    base = end + -end % ALIGNMENT
    arrays = {name: _view(data, base, name, place) for name, place in header.arrays.items()}
    return Stored(header.kind, header.rows, header.facts, arrays)


def _view(data: memoryview, base: int, name: str, place: _Place) -> Array:
    try:
        dtype = np.dtype(place.dtype)
        count = int(np.prod(place.shape, dtype=np.int64))
        values: Array = np.frombuffer(data, dtype, count, base + place.at) if count else np.zeros(0, dtype)
        return values.reshape(place.shape)
    except (ValueError, TypeError) as error:
        raise Corruption(f"array '{name}' of a scalar index cannot be read: {error}") from error
