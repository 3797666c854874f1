"""One path of a JSON column as typed columns, so that a filter over JSON is as columnar as one over fields.

Reading the documents is the only Python pass over rows in this package: a segment reads a path once and keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

JsonPath = tuple[str | int, ...]
_Scalar = TypeVar("_Scalar", np.int64, np.float64, np.bool_)

NULL: Final = 0
BOOL: Final = 1
INT: Final = 2
DOUBLE: Final = 3
STRING: Final = 4
NESTED: Final = 5
"""What `JsonColumn.kind` says of a row; NULL stands for a missing key too."""

KINDS: Final = 6

_KIND_OF: dict[type, int] = {NoneType: NULL, bool: BOOL, int: INT, float: DOUBLE, str: STRING, list: NESTED,
                             dict: NESTED}  # fmt: skip
_SCALARS = frozenset({bool, int, float, str})
_CHUNK = 2_048
"""Documents held parsed at one time: few enough for the cache and the garbage collector."""


@dataclass(frozen=True, slots=True, eq=False)
class JsonLists:
    """The arrays among the values of a path, flattened."""

    is_list: npt.NDArray[np.bool_]
    """(rows,) True where the value is an array."""
    offsets: npt.NDArray[np.int64]
    """(rows + 1,) where each row's elements begin in `elements`."""
    elements: JsonColumn
    """The elements of all rows in a row; its own `lists` is None."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class BigIntegers:
    """Integers beyond int64, up to uint64, with nothing rounded."""

    rows: npt.NDArray[np.int64]
    """Where they are, ascending."""
    values: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class JsonColumn:
    """The values of every row at one path. All arrays have one entry per row and are not to be written."""

    present: npt.NDArray[np.bool_]
    """The key exists and its value is not null."""
    filled: npt.NDArray[np.bool_]
    """As `present`, and the value is not an object or array that holds nothing at any depth."""
    kind: npt.NDArray[np.uint8]
    counts: tuple[int, ...]
    """How many rows are of each kind."""
    ints: npt.NDArray[np.int64]
    """Exact integers; 0 where the kind is not INT."""
    numbers: npt.NDArray[np.float64]
    """Integers and doubles as doubles; 0 elsewhere. An integer beyond int64 is here, as a DOUBLE, and exactly in
    `bigs`."""
    bools: npt.NDArray[np.bool_]
    strings: pa.Array
    """string, or string by dictionary; null where the kind is not STRING."""
    raw: pa.Array
    """binary: the JSON text of arrays and objects, null elsewhere (and where one nests deeper than 250 levels)."""
    lists: JsonLists | None
    """None when no value is an array."""
    bigs: BigIntegers | None = None
    """None when no integer is beyond int64."""

    @property
    def rows(self) -> int:
        return len(self.kind)

    @property
    def nbytes(self) -> int:
        """Memory, about."""
        arrays = (self.kind, self.ints, self.numbers, self.bools)
        own = self.rows + sum(a.nbytes for a in arrays if a.strides != (0,))
        lists = 0 if self.lists is None else self.lists.offsets.nbytes + self.lists.elements.nbytes
        return own + lists + int(self.strings.nbytes)

    @staticmethod
    def from_rows(column: pa.Array, path: JsonPath) -> JsonColumn:
        """Read one path of a binary column of JSON texts. A null row, or one that is no JSON, has no value."""
        return shred(column, (path,))[path]

    @staticmethod
    def joined(parts: list[JsonColumn]) -> JsonColumn:
        """Columns one behind the other."""
        return _joined(parts, _joined_lists(parts))

    def head(self, rows: int) -> JsonColumn:
        """The first rows."""
        lists, bigs, kind = self.lists, self.bigs, self.kind[:rows]
        if lists is not None:
            # The elements of other rows are left where they are: no offset leads to them.
            lists = JsonLists(lists.is_list[:rows], lists.offsets[: rows + 1], lists.elements)
        if bigs is not None:
            count = int(np.searchsorted(bigs.rows, rows))
            bigs = BigIntegers(bigs.rows[:count], bigs.values[:count]) if count else None
        return JsonColumn(
            present=self.present[:rows],
            filled=self.filled[:rows],
            kind=kind,
            counts=tuple(np.bincount(kind, minlength=KINDS).tolist()),
            ints=self.ints[:rows],
            numbers=self.numbers[:rows],
            bools=self.bools[:rows],
            strings=self.strings.slice(0, rows),
            raw=self.raw.slice(0, rows),
            lists=lists,
            bigs=bigs,
        )

    @staticmethod
    def from_values(values: Sequence[Any], nested: bool = True) -> JsonColumn:
        """The column of Python values as `orjson.loads` gives them. With `nested` arrays are flattened too."""
        return _column([values], nested)


def shred(column: pa.Array, paths: Sequence[JsonPath]) -> dict[JsonPath, JsonColumn]:
    """Read several paths of a binary column of JSON texts, parsing each row once."""
    chunks: dict[JsonPath, list[list[Any]]] = {path: [] for path in paths}
    for start in range(0, len(column), _CHUNK):
        documents = documents_of(column.slice(start, _CHUNK))
        for path, found in chunks.items():
            found.append(follow(documents, path))
    return {path: _column(found, nested=True) for path, found in chunks.items()}


def is_filled(value: Any) -> bool:
    """True unless the value is null or nothing but empty objects and arrays."""
    if type(value) is list and value and type(value[0]) in _SCALARS:
        return True
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if type(current) is dict:
            waiting.extend(current.values())
        elif type(current) is list:
            waiting.extend(current)
        elif current is not None:
            return True
    return False


def documents_of(column: pa.Array) -> list[Any]:
    """A binary column of JSON texts, parsed; None for a null row and for one that is no JSON."""
    return _parse(column.to_pylist())


def _parse(texts: list[bytes | None]) -> list[Any]:
    # One call for the whole chunk is several times faster than one call a row.
    try:
        documents: list[Any] = orjson.loads(b"[" + b",".join([b"null" if t is None else t for t in texts]) + b"]")
    except orjson.JSONDecodeError:
        return [_parse_one(text) for text in texts]
    return documents if len(documents) == len(texts) else [_parse_one(text) for text in texts]


def _parse_one(text: bytes | None) -> Any:
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def follow(documents: list[Any], path: JsonPath) -> list[Any]:
    """What each document has at a path; None where it has nothing."""
    values = documents
    for key in path:
        if isinstance(key, str):
            values = [v.get(key) if type(v) is dict else None for v in values]
        else:
            values = [v[key] if type(v) is list and key < len(v) else None for v in values]
        if values.count(None) == len(values):
            break
    return values


def _column(chunks: Sequence[Sequence[Any]], nested: bool) -> JsonColumn:
    parts = [_chunk(values, nested) for values in chunks if values]
    if not parts:
        return _chunk([], nested)
    if len(parts) == 1:
        return parts[0]
    return _joined(parts, _joined_lists(parts))


def _joined_lists(parts: list[JsonColumn]) -> JsonLists | None:
    if all(p.lists is None for p in parts):
        return None
    lengths = [p.lists.lengths if p.lists else np.zeros(p.rows, np.int64) for p in parts]
    is_list = [p.lists.is_list if p.lists else np.zeros(p.rows, np.bool_) for p in parts]
    return JsonLists(
        is_list=np.concatenate(is_list),
        offsets=_offsets(np.concatenate(lengths)),
        elements=_joined([p.lists.elements for p in parts if p.lists], None),
    )


def _joined(parts: list[JsonColumn], lists: JsonLists | None) -> JsonColumn:
    return JsonColumn(
        present=np.concatenate([p.present for p in parts]),
        filled=np.concatenate([p.filled for p in parts]),
        kind=np.concatenate([p.kind for p in parts]),
        counts=tuple(int(n) for n in np.sum([p.counts for p in parts], axis=0)),
        ints=_concatenated([p.ints for p in parts], np.int64),
        numbers=_concatenated([p.numbers for p in parts], np.float64),
        bools=_concatenated([p.bools for p in parts], np.bool_),
        strings=pa.concat_arrays([p.strings for p in parts]),
        raw=pa.concat_arrays([p.raw for p in parts]),
        lists=lists,
        bigs=_joined_bigs(parts),
    )


def _joined_bigs(parts: list[JsonColumn]) -> BigIntegers | None:
    starts = np.cumsum([0, *(p.rows for p in parts)])
    found = [(p.bigs, start) for p, start in zip(parts, starts.tolist(), strict=False) if p.bigs is not None]
    if not found:
        return None
    return BigIntegers(
        rows=np.concatenate([bigs.rows + start for bigs, start in found]),
        values=np.concatenate([bigs.values for bigs, _ in found]),
    )


def _zeros(rows: int, dtype: type[_Scalar]) -> npt.NDArray[_Scalar]:
    """Zeros that take no memory: what a column has where no row is of a kind."""
    return np.broadcast_to(dtype(0), rows)


def _concatenated(parts: list[npt.NDArray[_Scalar]], dtype: type[_Scalar]) -> npt.NDArray[_Scalar]:
    if all(part.strides == (0,) for part in parts):
        return _zeros(sum(map(len, parts)), dtype)
    return np.concatenate(parts)


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _chunk(values: Sequence[Any], nested: bool) -> JsonColumn:
    rows = len(values)
    kind = np.fromiter(map(_KIND_OF.__getitem__, map(type, values)), np.uint8, rows)
    counts = np.bincount(kind, minlength=KINDS)
    ints, numbers, bools = _zeros(rows, np.int64), _zeros(rows, np.float64), _zeros(rows, np.bool_)
    bigs = None
    if counts[INT] or counts[DOUBLE]:
        numbers = np.zeros(rows, np.float64)
    if counts[INT]:
        ints = np.zeros(rows, np.int64)
        bigs = _read_integers(values, kind, ints, numbers)
        counts = np.bincount(kind, minlength=KINDS)
    if counts[DOUBLE]:
        where = np.flatnonzero(kind == DOUBLE)
        numbers[where] = [float(values[i]) for i in where.tolist()]
    if counts[BOOL]:
        bools = np.zeros(rows, np.bool_)
        where = np.flatnonzero(kind == BOOL)
        bools[where] = [values[i] for i in where.tolist()]
    if counts[STRING]:
        strings = pa.array([v if type(v) is str else None for v in values], pa.string())
    else:
        strings = pa.nulls(rows, pa.string())
    present = kind != NULL
    filled, raw, lists = present, pa.nulls(rows, pa.binary()), None
    if counts[NESTED]:
        where = np.flatnonzero(kind == NESTED)
        filled = present.copy()
        filled[where] = [is_filled(values[i]) for i in where.tolist()]
        raw = pa.array([_text(v) if type(v) in (list, dict) else None for v in values], pa.binary())
        lists = _flatten(values) if nested else None
    return JsonColumn(present, filled, kind, tuple(counts.tolist()), ints, numbers, bools, strings, raw, lists, bigs)


def _read_integers(
    values: Sequence[Any], kind: npt.NDArray[np.uint8], ints: npt.NDArray[np.int64], numbers: npt.NDArray[np.float64]
) -> BigIntegers | None:
    """Fill in the integers; returns those that int64 cannot hold, whose kind becomes DOUBLE."""
    where = np.flatnonzero(kind == INT)
    found = [values[i] for i in where.tolist()]
    bigs = None
    try:
        ints[where] = found
    except OverflowError:
        # JSON goes up to uint64: what int64 cannot hold is compared as a double.
        small = np.fromiter((-(2**63) <= v < 2**63 for v in found), np.bool_, len(found))
        kind[where[~small]] = DOUBLE
        large = [v for v, keep in zip(found, small.tolist(), strict=True) if not keep]
        bigs = BigIntegers(where[~small], np.array(large, np.uint64))
        where = where[small]
        ints[where] = [v for v, keep in zip(found, small.tolist(), strict=True) if keep]
    numbers[where] = ints[where]
    return bigs


def _flatten(values: Sequence[Any]) -> JsonLists | None:
    is_list = np.fromiter((type(v) is list for v in values), np.bool_, len(values))
    if not is_list.any():
        return None
    lengths = np.fromiter((len(v) if type(v) is list else 0 for v in values), np.int64, len(values))
    elements = [element for v in values if type(v) is list for element in v]
    return JsonLists(is_list, _offsets(lengths), _chunk(elements, nested=False))


def _text(value: Any) -> bytes | None:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None
