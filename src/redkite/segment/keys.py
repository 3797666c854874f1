"""Finding rows by primary key: a dict while a segment grows, a sorted order once it is sealed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from itertools import islice
from operator import lt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.model.batch import arrow_to_numbers
from redkite.segment.deletes import RowNumbers

Key = int | str
NO_ROWS: RowNumbers = np.empty(0, np.int64)
FEW_KEYS = 16
"""So many are looked for one by one."""


class GrowingKeys:
    """Newest row of every key of a growing segment. One writer; readers may look meanwhile.

    Keys that come in order, as those of a counter do, are kept as a list, whose places are their rows: that costs a
    tenth of the time of a dict and a quarter of its memory. The first one that is out of order, and a write that may
    concern many of them, make a dict of it.
    """

    __slots__ = ("_ordered", "_rows")

    def __init__(self) -> None:
        self._ordered: list[Any] | None = []
        self._rows: dict[Key, int] = {}

    def add(self, keys: Sequence[Key], first_row: int) -> RowNumbers:
        """Record keys at consecutive rows, which follow those of the keys before; returns the older rows they replace,
        also those of the batch itself."""
        ordered = self._ordered
        if ordered is not None:
            if _ascends(ordered, keys):
                ordered += keys
                return NO_ROWS
            self._look_up(ordered)
        rows = self._rows
        if len(keys) == 1:
            older = rows.get(keys[0])
            rows[keys[0]] = first_row
            return NO_ROWS if older is None else np.array([older], np.int64)
        before = len(rows)
        known: set[Any] = set(map(rows.get, keys)) if before else set()
        known.discard(None)
        rows.update(zip(keys, range(first_row, first_row + len(keys)), strict=True))
        replaced = np.fromiter(known, np.int64, len(known)) if known else NO_ROWS
        if len(rows) - before + len(known) == len(keys):  # no key came twice
            return replaced
        last = np.fromiter(map(rows.__getitem__, set(keys)), np.int64)
        own = np.setdiff1d(np.arange(first_row, first_row + len(keys)), last, assume_unique=True)
        return np.concatenate([replaced, own])

    def find(self, keys: Sequence[Key]) -> RowNumbers:
        """Rows of those of `keys` that are here, in any order."""
        ordered = self._ordered
        if ordered is None:
            return self._find_in(set(keys))
        end = len(ordered)
        places = [(key, bisect_left(ordered, key, 0, end)) for key in set(keys)] if end else ()
        found = [at for key, at in places if at < end and ordered[at] == key]
        return np.array(found, np.int64) if found else NO_ROWS

    def find_to_change(self, keys: Sequence[Key]) -> RowNumbers:
        """The same for the writer, who may have to look for many keys again and again."""
        ordered = self._ordered
        if ordered and len(keys) > FEW_KEYS:
            wanted: Sequence[Any] = keys
            if max(wanted) < ordered[0] or min(wanted) > ordered[-1]:
                return NO_ROWS
            self._look_up(ordered)
        return self.find(keys)

    def _look_up(self, ordered: list[Any]) -> None:
        """From now on keys are found in a dict. A reader has the list or the dict, and both are right."""
        self._rows = dict(zip(ordered, range(len(ordered)), strict=True))
        self._ordered = None

    def _find_in(self, keys: Set[Key]) -> RowNumbers:
        """Rows of those of `keys` that are in the dict."""
        here = self._rows.keys() & keys
        return np.fromiter(map(self._rows.__getitem__, here), np.int64, len(here)) if here else NO_ROWS


def _ascends(ordered: list[Any], keys: Sequence[Any]) -> bool:
    """Are all these keys larger than those before, each than the last?"""
    return (not ordered or ordered[-1] < keys[0]) and all(map(lt, keys, islice(keys, 1, None)))


class SealedKeys:
    """Keys of a sealed segment, found by binary search. `order` is None when the rows are in key order.

    A key may stand in several rows (older ones are deleted): all are found.
    """

    __slots__ = ("__weakref__", "_keys", "_order", "_sorted", "max_key", "min_key")

    def __init__(self, keys: pa.Array, order: npt.NDArray[np.uint32] | None, min_key: Key, max_key: Key) -> None:
        self._keys = keys
        self._order = order
        self.min_key, self.max_key = min_key, max_key
        self._sorted: npt.NDArray[np.int64] | None = None

    def find(self, keys: Sequence[Key]) -> RowNumbers:
        if not keys or len(self._keys) == 0:
            return NO_ROWS
        least, most = self.min_key, self.max_key
        if isinstance(least, int) and isinstance(most, int):
            if len(keys) == 1 and not least <= int(keys[0]) <= most:
                return NO_ROWS
            wanted = np.asarray(keys, np.int64)
            wanted = wanted[(wanted >= least) & (wanted <= most)]
            return self._find_integers(np.unique(wanted)) if len(wanted) else NO_ROWS
        least, most = str(least), str(most)
        inside = sorted({k for k in map(str, keys) if least <= k <= most})
        return self._find_strings(inside) if inside else NO_ROWS

    def column(self) -> pa.Array:
        """The keys in the order of the rows."""
        return self._keys

    def repeated(self) -> RowNumbers:
        """Rows whose key a later row has too."""
        rows = len(self._keys)
        if rows < 2:
            return NO_ROWS
        order = np.arange(rows) if self._order is None else self._order.astype(np.int64)
        ordered = self._keys if self._order is None else self._keys.take(pa.array(order))
        same = pc.equal(ordered.slice(0, rows - 1), ordered.slice(1)).to_numpy(zero_copy_only=False)
        return np.sort(order[:-1][same])

    def _find_integers(self, wanted: npt.NDArray[np.int64]) -> RowNumbers:
        ordered = self._ordered_integers()
        left = np.searchsorted(ordered, wanted, "left")
        right = np.searchsorted(ordered, wanted, "right")
        return self._rows_of(left, right)

    def _ordered_integers(self) -> npt.NDArray[np.int64]:
        if self._order is None:
            values: npt.NDArray[np.int64] = arrow_to_numbers(self._keys)
            return values
        if self._sorted is None:
            self._sorted = arrow_to_numbers(self._keys)[self._order]
        return self._sorted

    def _find_strings(self, wanted: list[str]) -> RowNumbers:
        if len(wanted) > 64:
            rows = pc.is_in(self._keys, pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)
            return np.flatnonzero(rows)
        ordered = _OrderedStrings(self._keys, self._order)
        left = np.array([bisect_left(ordered, k) for k in wanted])
        right = np.array([_upper(ordered, k, int(at)) for k, at in zip(wanted, left, strict=True)])
        return self._rows_of(left, right)

    def _rows_of(self, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> RowNumbers:
        counts = right - left
        total = int(counts.sum())
        if total == 0:
            return NO_ROWS
        ends = np.cumsum(counts)
        places: RowNumbers = np.arange(total) + np.repeat(left - (ends - counts), counts)
        return places if self._order is None else self._order[places].astype(np.int64)


def _upper(ordered: _OrderedStrings, key: str, at: int) -> int:
    while at < len(ordered) and ordered[at] == key:
        at += 1
    return at


class _OrderedStrings(Sequence[str]):
    """A string column seen in key order, for bisect."""

    def __init__(self, keys: pa.Array, order: npt.NDArray[np.uint32] | None) -> None:
        self._keys, self._order = keys, order

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, at: int) -> str:  # type: ignore[override]  # bisect asks for no slices
        value: str = self._keys[int(at if self._order is None else self._order[at])].as_py()
        return value


def key_order(keys: pa.Array) -> npt.NDArray[np.uint32] | None:
    """Row numbers in key order, or None when they are in order already."""
    if pa.types.is_integer(keys.type):
        values = arrow_to_numbers(keys)
        if len(values) < 2 or bool((values[1:] >= values[:-1]).all()):
            return None
        return np.argsort(values, kind="stable").astype(np.uint32)
    # Python compares strings by code point, which is the order of their UTF-8 bytes, which is Arrow's.
    order: npt.NDArray[np.uint32] = arrow_to_numbers(pc.sort_indices(keys)).astype(np.uint32)
    return None if bool((order == np.arange(len(order), dtype=np.uint32)).all()) else order
