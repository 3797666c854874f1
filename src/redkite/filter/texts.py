"""Comparison and membership over string columns; one by dictionary is tested once for each distinct string."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter.numbers import Mask, settled, unpack, valid_rows
from redkite.filter.syntax import Comparison

_FUNCTIONS: dict[Comparison, Callable[[pa.Array, pa.Array | pa.Scalar], pa.Array]] = {
    Comparison.EQ: pc.equal, Comparison.NE: pc.not_equal, Comparison.LT: pc.less, Comparison.LE: pc.less_equal,
    Comparison.GT: pc.greater, Comparison.GE: pc.greater_equal,
}  # fmt: skip

_FEW = 4
"""Up to this many members are compared one by one, which beats hashing every string."""


def compare(strings: pa.Array, operator: Comparison, constant: str, negated: bool) -> Mask:
    """`strings operator constant`, in the order of their UTF-8 bytes."""
    function, scalar = _FUNCTIONS[operator], pa.scalar(constant, pa.string())
    return match(strings, lambda s: function(s, scalar), negated)


def compare_columns(left: pa.Array, operator: Comparison, right: pa.Array, negated: bool) -> Mask:
    return unpack(_FUNCTIONS[operator](_plain(left), _plain(right)), negated)


def starts_with(left: pa.Array, right: pa.Array, negated: bool) -> Mask:
    """Whether each string begins with the one beside it; False where either is null."""
    whole, beginning = _plain(left).cast(pa.binary()), _plain(right).cast(pa.binary())
    valid = pc.and_(pc.is_valid(whole), pc.is_valid(beginning)).to_numpy(zero_copy_only=False)
    lengths = pc.fill_null(pc.binary_length(beginning), 0).to_numpy()
    mask = np.zeros(len(whole), np.bool_)
    # Arrow cuts all strings of a column at one place: so one pass for each length that occurs.
    for length in np.unique(lengths[valid]).tolist():
        rows = np.flatnonzero(valid & (lengths == length))
        chosen = pa.array(rows)
        if length == 0:
            mask[rows] = True
        else:
            mask[rows] = unpack(pc.equal(pc.binary_slice(whole.take(chosen), 0, length), beginning.take(chosen)))
    return settled(mask, negated, valid)


def between(strings: pa.Array, low: str, high: str, inclusive: tuple[bool, bool], negated: bool) -> Mask:
    above = _FUNCTIONS[Comparison.GE if inclusive[0] else Comparison.GT]
    below = _FUNCTIONS[Comparison.LE if inclusive[1] else Comparison.LT]
    bounds = pa.scalar(low, pa.string()), pa.scalar(high, pa.string())
    return match(strings, lambda s: pc.and_kleene(above(s, bounds[0]), below(s, bounds[1])), negated)


def is_in(strings: pa.Array, members: pa.Array, negated: bool) -> Mask:
    return match(strings, lambda s: _is_member(s, members), negated)


def match(strings: pa.Array, test: Callable[[pa.Array], pa.Array], negated: bool) -> Mask:
    """Run a test that answers null for null; False where the string is null."""
    if not pa.types.is_dictionary(strings.type):
        return unpack(test(strings), negated)
    answers = unpack(test(strings.dictionary), negated)
    places = strings.indices
    if not len(answers):
        return np.zeros(len(strings), np.bool_)
    mask: Mask = answers[pc.fill_null(places, 0).to_numpy()]
    if places.null_count:
        mask &= valid_rows(places)
    return mask


def _is_member(strings: pa.Array, members: pa.Array) -> pa.Array:
    if 0 < len(members) <= _FEW:
        return functools.reduce(pc.or_, (pc.equal(strings, member) for member in members))
    found = pc.is_in(strings, value_set=members)
    # It answers false for a null: put the nulls back.
    return pc.if_else(pc.is_valid(strings), found, pa.scalar(None, pa.bool_())) if strings.null_count else found


def _plain(strings: pa.Array) -> pa.Array:
    return strings.dictionary_decode() if pa.types.is_dictionary(strings.type) else strings
