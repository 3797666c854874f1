"""A set of members asked about the values of columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter.json_column import DOUBLE, INT, STRING, JsonColumn
from redkite.filter.membership.bloom import BloomFilter
from redkite.filter.numbers import Mask, settled


def texts_in(members: BloomFilter, strings: pa.Array, negated: bool) -> Mask:
    """(rows,) of a column of strings, which may be by dictionary; False where the string is null."""
    found = _places(strings, members.has_texts)
    return settled(found, negated, _valid(strings))


def values_in(members: BloomFilter, column: JsonColumn, negated: bool) -> Mask:
    """(rows,) of what a path holds. Only whole numbers and strings are members, 5.0 is not 5; what is no number and no
    string is NULL."""
    mask = np.zeros(column.rows, np.bool_)
    if column.counts[INT]:
        rows = np.flatnonzero(column.kind == INT)
        mask[rows] = members.has_integers(column.ints[rows])
    if column.counts[STRING]:
        mask |= texts_in(members, column.strings, False)
    kind = column.kind
    return settled(mask, negated, (kind == INT) | (kind == DOUBLE) | (kind == STRING))


def _places(strings: pa.Array, test: Callable[[pa.Array], Mask]) -> Mask:
    """The answers of a test that takes no nulls; False for those."""
    if pa.types.is_dictionary(strings.type):
        answers = _places(strings.dictionary, test)
        if not len(answers):
            return np.zeros(len(strings), np.bool_)
        found: Mask = answers[pc.fill_null(strings.indices, 0).to_numpy()]
        return found
    return test(strings.fill_null("") if strings.null_count else strings)


def _valid(strings: pa.Array) -> Mask | None:
    if not strings.null_count:
        return None
    valid: Mask = pc.is_valid(strings).to_numpy(zero_copy_only=False)
    return valid
