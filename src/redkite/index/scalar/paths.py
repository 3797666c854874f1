"""An index over one path of a JSON field: its values by kind, the elements of its arrays, and where it exists."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from redkite.filter import bound, texts
from redkite.filter.columns import Columns
from redkite.filter.indexed import FieldLeaf, IndexedLeaf, ValueLeaf, look_cost, source_of
from redkite.filter.json_column import BOOL, DOUBLE, INT, NULL, STRING, JsonColumn, JsonPath
from redkite.filter.numbers import Mask, settled
from redkite.filter.syntax import Comparison
from redkite.index.scalar.column import ValueIndex, rows_containing
from redkite.index.scalar.json_keys import json_keys, open_json_keys
from redkite.index.scalar.layout import Array, Stored, prefixed
from redkite.index.scalar.postings import build_postings, open_postings, packed, unpacked


class Cast(StrEnum):
    """Which values of a path an index holds: `json_cast_type`."""

    BOOL = "BOOL"
    DOUBLE = "DOUBLE"
    VARCHAR = "VARCHAR"
    ARRAY_BOOL = "ARRAY_BOOL"
    ARRAY_DOUBLE = "ARRAY_DOUBLE"
    ARRAY_VARCHAR = "ARRAY_VARCHAR"
    JSON = "JSON"

    @property
    def is_array(self) -> bool:
        return self.name.startswith("ARRAY_")

    @property
    def kinds(self) -> frozenset[int]:
        """The kinds of JSON values it holds."""
        return _KINDS[self.name.removeprefix("ARRAY_")]


_KINDS = {
    "BOOL": frozenset({BOOL}),
    "DOUBLE": frozenset({INT, DOUBLE}),
    "VARCHAR": frozenset({STRING}),
    "JSON": frozenset({BOOL, INT, DOUBLE, STRING}),
}


class PathIndex:
    """`scalars` are the values that are no arrays nor objects, `elements` what stands in arrays; only kinds that the
    cast names are held, and only what is compared with those kinds is answered."""

    def __init__(
        self,
        path: JsonPath,
        kinds: frozenset[int],
        numerals: bool,
        filled: npt.NDArray[np.uint8],
        scalars: ValueIndex | None,
        elements: ValueIndex | None,
        is_list: npt.NDArray[np.uint8] | None,
        rows: int,
    ) -> None:
        self.path = path
        self.rows = rows
        self.answers = 0
        self._kinds = kinds
        self._numerals = numerals
        self._filled = filled
        self._scalars = scalars
        self._elements = elements
        self._is_list = is_list

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:  # noqa: ARG002
        """See `FieldIndex.answer`."""
        source = None if isinstance(leaf, FieldLeaf) else source_of(leaf)
        if isinstance(leaf, FieldLeaf) or not isinstance(source, bound.Path) or source.path != self.path:
            return None
        if isinstance(leaf, bound.Exists):
            filled = unpacked(self._filled, self.rows)
            return np.logical_not(filled, out=filled) if leaf.negated else filled
        if not (_kinds_of(leaf) <= self._kinds or (self._numerals and _wants_numerals(leaf))):
            return None
        if isinstance(leaf, bound.Contains):
            return self._containing(leaf, source, limit)
        return None if self._scalars is None else self._scalars.mask(leaf, look_cost(leaf), limit)

    def _containing(self, leaf: bound.Contains, source: bound.Path, limit: float) -> Mask | None:
        if self._elements is None or self._is_list is None:
            return None
        mask = rows_containing(leaf, source, self._elements, limit)
        return None if mask is None else settled(mask, leaf.negated, unpacked(self._is_list, self.rows))


NUMERAL = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
"""Strings that spell a number."""
_EVERY = frozenset({BOOL, INT, DOUBLE, STRING, -1})
"""More than any index holds."""
_NUMBERS = frozenset({INT, DOUBLE})


def _kinds_of(leaf: ValueLeaf) -> frozenset[int]:
    """The kinds of values for which a leaf can be TRUE."""
    if isinstance(leaf, bound.Compare):
        return _kind_of(leaf.constant)
    if isinstance(leaf, bound.Between):
        return _kind_of(leaf.low) | _kind_of(leaf.high)
    if isinstance(leaf, bound.Like):
        return frozenset({STRING})
    if isinstance(leaf, bound.In):
        # `not in []` keeps every value there is, also arrays and objects.
        return _kinds_of_values(leaf.listed) if leaf.listed else _EVERY
    if isinstance(leaf, bound.Contains):
        return _kinds_of_values(leaf.values)
    return _EVERY


def _wants_numerals(leaf: ValueLeaf) -> bool:
    """Whether a leaf is TRUE for nothing but numbers and strings that spell one."""
    if isinstance(leaf, bound.Compare):
        return leaf.operator is Comparison.EQ and not leaf.negated and _is_numeral(leaf.constant)
    return isinstance(leaf, bound.In) and bool(leaf.listed) and not leaf.negated and all(map(_is_numeral, leaf.listed))


def _is_numeral(constant: bound.JsonScalar) -> bool:
    if isinstance(constant, str):
        return re.fullmatch(NUMERAL, constant) is not None
    return not isinstance(constant, bool)


def _kinds_of_values(values: tuple[bound.JsonValue, ...]) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for value in values:
        found |= _EVERY if isinstance(value, list) else _kind_of(value)
    return found


def _kind_of(constant: bound.JsonScalar) -> frozenset[int]:
    if isinstance(constant, bool):
        return frozenset({BOOL})
    return frozenset({STRING}) if isinstance(constant, str) else _NUMBERS


# -- making and opening -------------------------------------------------------------------------
def path_arrays(column: JsonColumn, cast: Cast, most_bitmaps: int, *, numerals: bool = False) -> dict[str, Array]:
    """The arrays of an index over one path. With `numerals` strings that spell a number are held beside numbers."""
    arrays: dict[str, Array] = {"filled": packed(column.filled)}
    if not cast.is_array:
        if numerals:
            column = _with_numerals(column)
        keys, numbers = json_keys(column, cast.kinds | {STRING} if numerals else cast.kinds)
        postings = build_postings(numbers, None, keys.count, column.rows, most_bitmaps)
        arrays |= prefixed("scalars", {**keys.arrays(), **prefixed("rows", postings.arrays())})
    if cast.is_array or cast is Cast.JSON:
        lists = column.lists
        elements = JsonColumn.from_values([]) if lists is None else lists.elements
        lengths = np.zeros(column.rows, np.int64) if lists is None else lists.lengths
        keys, numbers = json_keys(elements, cast.kinds)
        if lists is not None:
            numbers = numbers[lists.offsets[0] : lists.offsets[-1]]
        owners = np.repeat(np.arange(column.rows), lengths)
        postings = build_postings(numbers, owners, keys.count, column.rows, most_bitmaps)
        arrays |= prefixed("elements", {**keys.arrays(), **prefixed("rows", postings.arrays())})
        arrays["is_list"] = packed(np.zeros(column.rows, np.bool_) if lists is None else lists.is_list)
    return arrays


def _with_numerals(column: JsonColumn) -> JsonColumn:
    """Without the strings that spell no number."""
    pattern = rf"\A(?:{NUMERAL})\z"
    spelled = texts.match(column.strings, lambda strings: pc.match_substring_regex(strings, pattern), negated=False)
    kind = np.where((column.kind == STRING) & ~spelled, NULL, column.kind).astype(np.uint8)
    return replace(column, kind=kind)


def open_path(stored: Stored, path: JsonPath, cast: Cast, keeps: bool, *, numerals: bool = False) -> PathIndex:
    """`keeps`: see `Bitmaps`; `numerals`: see `path_arrays`."""
    return PathIndex(
        path,
        cast.kinds,
        numerals,
        stored.array("filled"),
        None if cast.is_array else _open_values(stored.part("scalars"), keeps, single=True),
        _open_values(stored.part("elements"), keeps, single=False) if "is_list" in stored.arrays else None,
        stored.array("is_list") if "is_list" in stored.arrays else None,
        stored.rows,
    )


def _open_values(stored: Stored, keeps: bool, *, single: bool) -> ValueIndex:
    return ValueIndex(open_json_keys(stored), open_postings(stored.part("rows"), keeps), single=single)
