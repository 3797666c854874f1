"""An index over the values of one column, or over the elements of its arrays: keys, and which rows hold them."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from redkite.filter import bound
from redkite.filter.columns import Columns
from redkite.filter.evaluate import evaluate
from redkite.filter.indexed import FieldLeaf, IndexedLeaf, look_cost, source_of
from redkite.filter.numbers import Mask, settled
from redkite.filter.syntax import Comparison
from redkite.index.scalar.keys import Keys
from redkite.index.scalar.postings import Postings, unpacked
from redkite.index.scalar.spans import Spans, of_keys

SEARCH_NS = 30_000.0
"""Looking a leaf up among the keys, from its first instruction to its last."""


class ValueIndex:
    """Keys and postings: which rows have a value for which a leaf is TRUE. `single`: no row has two keys."""

    def __init__(self, keys: Keys, postings: Postings, *, single: bool) -> None:
        self.keys = keys
        self.postings = postings
        self._every_row_has_one = single and postings.entries == postings.rows

    def mask(self, leaf: bound.Leaf, cost: float, limit: float) -> Mask | None:
        """(rows,) rows for which a leaf that reads the keys' column is TRUE, in at most `limit` nanoseconds; `cost` is
        what looking at one value takes."""
        spans = self.keys.find(leaf)
        spent = SEARCH_NS
        if spans is None:
            spent += self.keys.count * cost
            if spent >= limit:
                return None
            spans = of_keys(np.flatnonzero(evaluate(leaf, self.keys.columns())))
        return self._of(spans, spent, limit)

    def _of(self, spans: Spans, spent: float, limit: float) -> Mask | None:
        cost = self.postings.cost(spans)
        others = spans.outside(self.keys.count) if self._every_row_has_one and spent + cost >= limit else None
        if others is not None and spent + self.postings.cost(others) < limit:
            mask = self.postings.mask(others)
            return np.logical_not(mask, out=mask)
        return None if spent + cost >= limit else self.postings.mask(spans)


class ColumnIndex:
    """Over a field of numbers, booleans, times or strings."""

    def __init__(self, values: ValueIndex) -> None:
        self._values = values
        self.rows = values.postings.rows
        self.answers = 0

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:  # noqa: ARG002
        """See `FieldIndex.answer`. The rows themselves are not looked at."""
        if isinstance(leaf, FieldLeaf) or not isinstance(source_of(leaf), bound.Column):
            return None
        return self._values.mask(leaf, look_cost(leaf), limit)


class ListIndex:
    """Over the elements of an ARRAY field."""

    def __init__(self, elements: ValueIndex, valid: npt.NDArray[np.uint8] | None) -> None:
        """`valid`: rows that are not null, packed; None: all."""
        self._elements = elements
        self._valid = valid
        self.rows = elements.postings.rows
        self.answers = 0

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:  # noqa: ARG002
        """See `FieldIndex.answer`: of `array_contains` and its kin."""
        if not isinstance(leaf, bound.Contains) or not isinstance(leaf.operand, bound.List):
            return None
        element = bound.Column(leaf.operand.field, leaf.operand.element_type)
        mask = rows_containing(leaf, element, self._elements, limit)
        if mask is None:
            return None
        valid = None if self._valid is None else unpacked(self._valid, self.rows)
        return settled(mask, leaf.negated, valid)


def rows_containing(
    leaf: bound.Contains, element: bound.Column | bound.Path, elements: ValueIndex, limit: float
) -> Mask | None:
    """Rows whose list holds one of the values (or each of them), whatever is negated."""
    scalars = tuple(v for v in leaf.values if not isinstance(v, list))
    if len(scalars) < len(leaf.values):
        return None
    if not leaf.every:
        chosen = bound.In(element, leaf.members, scalars)
        return elements.mask(chosen, look_cost(chosen), limit)
    masks: list[Mask] = []
    for value in dict.fromkeys((type(v), v) for v in scalars):
        equal = bound.Compare(element, Comparison.EQ, value[1])
        mask = elements.mask(equal, look_cost(equal), limit / len(scalars))
        if mask is None:
            return None
        masks.append(mask)
    if not masks:
        return np.ones(elements.postings.rows, np.bool_)
    return functools.reduce(np.logical_and, masks)
