"""The distinct values of a JSON path, kind after kind: booleans, integers, integers beyond int64, doubles, strings."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import bound
from redkite.filter.columns import Columns
from redkite.filter.indexed import KeyColumns
from redkite.filter.json_column import BOOL, DOUBLE, INT, NESTED, STRING, BigIntegers, JsonColumn
from redkite.index.scalar.keys import NumberKeys, TextKeys, number_keys, open_number_keys, open_text_keys, text_keys
from redkite.index.scalar.layout import Array, Arrays, Stored, prefixed
from redkite.index.scalar.spans import Spans, joined

Numbers = npt.NDArray[np.int64]


class JsonKeys:
    """Keys of every kind, numbered one kind after the other."""

    def __init__(
        self, bools: NumberKeys, ints: NumberKeys, bigs: NumberKeys, doubles: NumberKeys, texts: TextKeys
    ) -> None:
        self._bools = bools
        self._ints = ints
        self._bigs = bigs
        self._doubles = doubles
        self._texts = texts
        counts = [part.count for part in (bools, ints, bigs, doubles, texts)]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        self.count = int(self._starts[-1])

    def columns(self) -> Columns:
        return KeyColumns(self.count, json=self._column)

    @cached_property
    def _column(self) -> JsonColumn:
        """The keys as the values of a path."""
        bools, ints, bigs, doubles, texts, end = self._starts
        kind = np.empty(end, np.uint8)
        for start, stop, code in (
            (bools, ints, BOOL), (ints, bigs, INT), (bigs, texts, DOUBLE), (texts, end, STRING),
        ):  # fmt: skip
            kind[start:stop] = code
        whole, numbers, truths = np.zeros(end, np.int64), np.zeros(end, np.float64), np.zeros(end, np.bool_)
        truths[bools:ints] = self._bools.values
        whole[ints:bigs] = self._ints.values
        numbers[ints:bigs] = self._ints.values
        numbers[bigs:doubles] = self._bigs.values
        numbers[doubles:texts] = self._doubles.values
        present = np.ones(end, np.bool_)
        return JsonColumn(
            present=present,
            filled=present,
            kind=kind,
            counts=tuple(np.bincount(kind, minlength=NESTED + 1).tolist()),
            ints=whole,
            numbers=numbers,
            bools=truths,
            strings=pa.concat_arrays([pa.nulls(texts, pa.string()), self._texts.texts]),
            raw=pa.nulls(end, pa.binary()),
            lists=None,
            bigs=BigIntegers(np.arange(bigs, doubles), self._bigs.values) if self._bigs.count else None,
        )

    def find(self, leaf: bound.Leaf) -> Spans | None:
        """By search for one value or a range, of numbers or of strings; everything else is evaluated over the keys."""
        if isinstance(leaf, bound.Compare):
            constant = leaf.constant
        elif isinstance(leaf, bound.Between):
            constant = leaf.low
        elif isinstance(leaf, bound.Like):
            constant = ""
        else:
            return None
        if isinstance(constant, bool):
            return None
        parts = (4,) if isinstance(constant, str) else (1, 2, 3)
        found = []
        for part in parts:
            spans = (self._bools, self._ints, self._bigs, self._doubles, self._texts)[part].find(leaf)
            if spans is None:
                return None
            found.append(spans.moved(self._starts[part]))
        return joined(found)

    def arrays(self) -> Arrays:
        arrays: dict[str, Array] = {}
        for name, part in (
            ("bools", self._bools), ("ints", self._ints), ("bigs", self._bigs), ("doubles", self._doubles),
            ("texts", self._texts),
        ):  # fmt: skip
            arrays |= prefixed(name, part.arrays())
        return arrays


def json_keys(column: JsonColumn, kinds: frozenset[int]) -> tuple[JsonKeys, Numbers]:
    """The keys of the values of these kinds, and for each row the number of its key; -1 where it has none."""
    is_big = np.zeros(column.rows, np.bool_)
    big_values = np.zeros(0, np.uint64)
    if column.bigs is not None:
        is_big[column.bigs.rows] = True
        big_values = column.bigs.values
    numbers = np.full(column.rows, -1, np.int64)
    at = 0

    def numbered(values: Array, chosen: npt.NDArray[np.bool_]) -> NumberKeys:
        nonlocal at
        keys, places = number_keys(values, None)
        numbers[chosen] = places + at
        at += keys.count
        return keys

    def of_kind(kind: int) -> npt.NDArray[np.bool_]:
        chosen: npt.NDArray[np.bool_] = column.kind == kind
        return chosen if kind in kinds else np.zeros(column.rows, np.bool_)

    chosen = of_kind(BOOL)
    bools = numbered(column.bools[chosen], chosen)
    chosen = of_kind(INT)
    ints = numbered(column.ints[chosen], chosen)
    bigs = numbered(big_values if DOUBLE in kinds else big_values[:0], is_big if DOUBLE in kinds else is_big & False)
    chosen = of_kind(DOUBLE) & ~is_big
    doubles = numbered(column.numbers[chosen], chosen)
    chosen = of_kind(STRING)
    texts, places = text_keys(column.strings.filter(pa.array(chosen)))
    numbers[chosen] = places + at
    return JsonKeys(bools, ints, bigs, doubles, texts), numbers


def open_json_keys(stored: Stored) -> JsonKeys:
    return JsonKeys(
        open_number_keys(stored.part("bools"), booleans=True),
        open_number_keys(stored.part("ints")),
        open_number_keys(stored.part("bigs")),
        open_number_keys(stored.part("doubles")),
        open_text_keys(stored.part("texts")),
    )
