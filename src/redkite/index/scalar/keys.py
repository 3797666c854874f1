"""The distinct values of a column in order, and the searches among them.

What a leaf of a filter says of values it says of keys: either it is answered by binary search, or it is evaluated over
the keys as over any column, and so means the same there.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import bound
from redkite.filter.columns import Columns
from redkite.filter.indexed import KeyColumns
from redkite.filter.like import Shape
from redkite.filter.numbers import NumberSet, against
from redkite.filter.syntax import Comparison
from redkite.index.scalar.layout import Array, Arrays, Stored
from redkite.index.scalar.spans import NOTHING, Spans, of_keys, one

MOST_SEARCHES = 256
"""So many strings are looked for one by one; more are found by hashing all keys."""


class Keys(Protocol):
    """Distinct keys, numbered in ascending order."""

    count: int

    def columns(self) -> Columns:
        """The keys as the rows of a column, under any name."""
        ...

    def find(self, leaf: bound.Leaf) -> Spans | None:
        """The keys for which a leaf is TRUE, when a search among them can tell."""
        ...

    def arrays(self) -> Arrays: ...


class NumberKeys:
    """Booleans, integers or floats; of several NaN one is kept, at the end."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.count = len(values)
        has_nan = self.count > 0 and values.dtype.kind == "f" and bool(np.isnan(values[-1]))
        self._ordered = values[:-1] if has_nan else values
        """Without NaN."""

    def columns(self) -> Columns:
        return KeyColumns(self.count, numbers=self.values)

    def find(self, leaf: bound.Leaf) -> Spans | None:
        if isinstance(leaf, bound.Compare) and _is_plain(leaf.operand):
            if isinstance(leaf.constant, str):
                return None
            found = self._compared(leaf.operator, leaf.constant)
        elif isinstance(leaf, bound.Between) and _is_plain(leaf.operand):
            found = self._between(leaf)
        elif isinstance(leaf, bound.In) and _is_plain(leaf.operand):
            found = self._members(leaf.members)
        else:
            return None
        return found.outside(self.count) if found is not None and leaf.negated else found

    def _compared(self, operator: Comparison, constant: bool | int | float) -> Spans | None:
        reduced = against(operator, constant, self.values.dtype)
        if isinstance(reduced, bool):
            return one(0, self.count) if reduced else NOTHING
        operator, scalar = reduced
        if scalar != scalar:
            return None
        left, right = (int(np.searchsorted(self._ordered, scalar, side)) for side in ("left", "right"))
        if operator is Comparison.LT:
            return one(0, left)
        if operator is Comparison.LE:
            return one(0, right)
        if operator is Comparison.GT:
            return one(right, len(self._ordered))
        if operator is Comparison.GE:
            return one(left, len(self._ordered))
        equal = one(left, right)
        return equal if operator is Comparison.EQ else equal.outside(self.count)

    def _between(self, leaf: bound.Between) -> Spans | None:
        if isinstance(leaf.low, str) or isinstance(leaf.high, str):
            return None
        above = self._compared(Comparison.GE if leaf.low_inclusive else Comparison.GT, leaf.low)
        below = self._compared(Comparison.LE if leaf.high_inclusive else Comparison.LT, leaf.high)
        if above is None or below is None:
            return None
        return _common(above, below)

    def _members(self, members: bound.Members) -> Spans | None:
        if isinstance(members, bound.JsonSet):
            chosen = members.ints if self.values.dtype.kind == "i" else members.doubles
            if chosen is None:
                return NOTHING
            members = chosen
        if not isinstance(members, NumberSet) or not len(self._ordered):
            return NOTHING if isinstance(members, NumberSet) else None
        wanted = members.values
        if wanted.dtype != self._ordered.dtype and wanted.dtype.kind == "i":
            limits = np.iinfo(self._ordered.dtype)
            wanted = wanted[(wanted >= limits.min) & (wanted <= limits.max)].astype(self._ordered.dtype)
        places = np.searchsorted(self._ordered, wanted)
        places[places == len(self._ordered)] = 0
        return of_keys(places[self._ordered[places] == wanted])

    def arrays(self) -> Arrays:
        return {"values": self.values.view(np.uint8) if self.values.dtype == np.bool_ else self.values}


def _common(left: Spans, right: Spans) -> Spans:
    """What is in both of two single runs."""
    if not len(left.starts) or not len(right.starts):
        return NOTHING
    return one(max(int(left.starts[0]), int(right.starts[0])), min(int(left.ends[0]), int(right.ends[0])))


def _is_plain(operand: bound.Operand) -> bool:
    return isinstance(operand, bound.Column | bound.Path)


class TextKeys:
    """Strings in the order of their UTF-8 bytes: `data[offsets[k]:offsets[k + 1]]` is key k."""

    def __init__(self, offsets: npt.NDArray[np.int32], data: npt.NDArray[np.uint8]) -> None:
        self._offsets = offsets
        self._data = data
        self._bytes = data.data
        self.count = len(offsets) - 1
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
        self.texts: pa.Array = pa.Array.from_buffers(pa.string(), self.count, buffers)

    def columns(self) -> Columns:
        return KeyColumns(self.count, strings=self.texts)

    def first_at_least(self, text: bytes) -> int:
        """The number of keys below a string."""
        low, high = 0, self.count
        offsets, data = self._offsets, self._bytes
        while low < high:
            middle = (low + high) // 2
            if bytes(data[offsets[middle] : offsets[middle + 1]]) < text:
                low = middle + 1
            else:
                high = middle
        return low

    def equal(self, text: str) -> Spans:
        wanted = text.encode()
        place = self.first_at_least(wanted)
        if place == self.count:
            return NOTHING
        found = bytes(self._bytes[self._offsets[place] : self._offsets[place + 1]])
        return one(place, place + 1) if found == wanted else NOTHING

    def prefixed(self, text: str) -> Spans:
        """Keys that begin with a string."""
        start = text.encode()
        if not start:
            return one(0, self.count)
        # No byte of UTF-8 is 0xff, so the last byte can always be counted up.
        return one(self.first_at_least(start), self.first_at_least(start[:-1] + bytes([start[-1] + 1])))

    def find(self, leaf: bound.Leaf) -> Spans | None:
        found: Spans | None = None
        if isinstance(leaf, bound.Compare) and _is_plain(leaf.operand) and isinstance(leaf.constant, str):
            found = self._compared(leaf.operator, leaf.constant)
        elif isinstance(leaf, bound.Between) and isinstance(leaf.low, str) and isinstance(leaf.high, str):
            found = _common(
                self._compared(Comparison.GE if leaf.low_inclusive else Comparison.GT, leaf.low),
                self._compared(Comparison.LE if leaf.high_inclusive else Comparison.LT, leaf.high),
            )
        elif isinstance(leaf, bound.In) and _is_plain(leaf.operand):
            found = self._members(leaf.members)
        elif isinstance(leaf, bound.Like) and _is_plain(leaf.operand):
            found = self._like(leaf)
        return found.outside(self.count) if found is not None and leaf.negated else found

    def _compared(self, operator: Comparison, constant: str) -> Spans:
        if operator.is_equality:
            equal = self.equal(constant)
            return equal if operator is Comparison.EQ else equal.outside(self.count)
        wanted = constant.encode()
        if operator in (Comparison.LE, Comparison.GT):
            # The least string above: the constant with a zero byte behind it.
            wanted += b"\0"
        place = self.first_at_least(wanted)
        return one(0, place) if operator in (Comparison.LT, Comparison.LE) else one(place, self.count)

    def _members(self, members: bound.Members) -> Spans | None:
        if isinstance(members, bound.JsonSet):
            if members.strings is None:
                return NOTHING
            wanted = members.strings
        elif isinstance(members, bound.TextSet):
            wanted = members.members
        else:
            return None
        if len(wanted) <= MOST_SEARCHES:
            places = [int(s.starts[0]) for text in wanted.to_pylist() if (s := self.equal(text)).keys]
            return of_keys(np.array(sorted(places), np.int64))
        found = pc.index_in(wanted, value_set=self.texts)
        return of_keys(np.sort(found.drop_null().to_numpy()))

    def _like(self, leaf: bound.Like) -> Spans | None:
        shape, text = leaf.pattern.shape, leaf.pattern.text
        if shape is Shape.EXACT:
            return self.equal(text)
        if shape is Shape.PREFIX:
            return self.prefixed(text)
        return one(0, self.count) if shape is Shape.ANY else None

    def arrays(self) -> Arrays:
        return {"offsets": self._offsets, "data": self._data}


# -- making and opening -------------------------------------------------------------------------
def number_keys(values: Array, valid: npt.NDArray[np.bool_] | None) -> tuple[NumberKeys, npt.NDArray[np.int64]]:
    """The keys of a column, and for each row the number of its key (-1 where it is null)."""
    known = values if valid is None else values[valid]
    distinct, numbers = np.unique(known, return_inverse=True)
    if valid is None:
        return NumberKeys(distinct), numbers.astype(np.int64, copy=False)
    places = np.full(len(values), -1, np.int64)
    places[valid] = numbers
    return NumberKeys(distinct), places


def text_keys(strings: pa.Array) -> tuple[TextKeys, npt.NDArray[np.int64]]:
    """The same of strings, plain or by dictionary."""
    coded = strings if pa.types.is_dictionary(strings.type) else strings.dictionary_encode()
    indices = coded.indices
    places = indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    dictionary = coded.dictionary
    if pa.types.is_dictionary(strings.type):
        # It may hold strings twice, or some that no row has.
        used = np.unique(places[places >= 0])
        again = dictionary.take(pa.array(used)).dictionary_encode()
        moved = np.full(len(dictionary) + 1, -1, np.int64)
        moved[used] = again.indices.to_numpy()
        places, dictionary = moved[places], again.dictionary
    order = pc.sort_indices(dictionary).to_numpy().astype(np.int64)
    ranks = np.full(len(order) + 1, -1, np.int64)
    ranks[order] = np.arange(len(order))
    return _stored_texts(dictionary.take(pa.array(order))), ranks[places]


def _stored_texts(texts: pa.Array) -> TextKeys:
    _, offsets, data = texts.buffers()
    if not len(texts):
        return TextKeys(np.zeros(1, np.int32), np.zeros(0, np.uint8))
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    held = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return TextKeys(ends - ends[0], held[ends[0] : ends[-1]])


def open_number_keys(stored: Stored, *, booleans: bool = False) -> NumberKeys:
    values = stored.array("values")
    return NumberKeys(values.view(np.bool_) if booleans else values)


def open_text_keys(stored: Stored) -> TextKeys:
    offsets: Any = stored.array("offsets")
    return TextKeys(offsets, stored.array("data"))
