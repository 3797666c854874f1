"""The loops behind sparse vectors: building inverted lists, and the algorithms that read them.

Lists: `dims` ascending; the list of dims[t] is `docs[starts[t]:starts[t + 1]]`, row numbers ascending, and the `values`
there; `bounds[t]` is the largest of them, `block_bounds[block_starts[t] + b]` the largest of its block b of BLOCK.

A search keeps its best rows as a heap (`best.py`) and may go on with what another one left. Only positive scores
count. `lengths` makes a search one for BM25: a value v of row r then counts as v / (v + base + slope · lengths[r]);
without (no items) it counts as it is. `allowed` (no items: all) is a bitmap over the rows; `first` is added to row
numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import float32, float64, int64, types, uint8, uint32

from redkite.index.best import BEST, least_of, offer
from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
BLOCK = 64
"""Items of a list that share an upper bound."""
WINDOW = 16_384
"""Rows whose sums are held at a time: they stay in the second cache."""
SWEEP = 32
"""Sums compared with the worst of the best at a time."""
LOOKUP = 12
"""Finding a row in a list costs as much as reading so many of its items."""
_END = np.int64(1) << 40
"""Behind every row."""
_SAFE = 1.000_01
"""Upper bounds are raised by this, so that rounding never makes one too small."""


class Lists(NamedTuple):
    """Inverted lists, as the module's text says."""

    dims: Array
    starts: Array
    docs: Array
    values: Array
    bounds: Array
    block_starts: Array
    block_bounds: Array


Norms = tuple[Array, float, float, float]
"""Lengths of rows, base, slope, least, as `Asked` has them."""
NO_NORMS: Norms = (np.empty(0, np.float32), 0.0, 0.0, -1.0)


class Asked(NamedTuple):
    """One query: `dims` ascending, their `weights`; upper bounds are raised by `ratio`."""

    dims: Array
    weights: Array
    lengths: Array
    base: float
    slope: float
    least: float
    """The smallest of base + slope · length; negative where values count as they are."""
    allowed: Array
    first: int
    rows: int
    """Of the lists."""
    ratio: float


class _Terms(NamedTuple):
    """Of the dimensions asked for that have a list: its number, where it is read next, its end, and the weight; in
    `tops` the most that its values can add to a score."""

    numbers: Array
    places: Array
    ends: Array
    factors: Array
    tops: Array


_U1, _U4, _I8, _F4 = array(uint8), array(uint32), array(int64), array(float32)
_types: Any = types
SEARCH = int64(
    _types.NamedTuple((_U4, _I8, _U4, _F4, _F4, _I8, _F4), Lists),
    _types.NamedTuple((_U4, _F4, _F4, float64, float64, float64, _U1, int64, int64, float64), Asked),
    *BEST,
)
"""What every algorithm takes: lists, a query, the best so far and how many; it returns how many there are then. Arrays
within tuples are not converted: `lists_of` and `asked_of` make them what is said here."""


def lists_of(arrays: tuple[Array, ...]) -> Lists:
    """Inverted lists for kernels; of the right types, without gaps."""
    return Lists(*map(_frozen, arrays))


def asked_of(dims: Array, weights: Array, norms: Norms, allowed: Array, first: int, rows: int, ratio: float) -> Asked:
    """A query for kernels."""
    lengths, base, slope, least = norms
    return Asked(
        _frozen(dims), _frozen(weights), _frozen(lengths), base, slope, least, _frozen(allowed), first, rows, ratio
    )


def _frozen(values: Array) -> Array:
    whole = np.ascontiguousarray(values).view()
    whole.flags.writeable = False
    return whole


# -- lists ------------------------------------------------------------------------------------------
@helper
def _is_allowed(allowed: Array, row: Number) -> Number:
    return len(allowed) == 0 or (allowed[row >> 3] >> (row & 7)) & 1 != 0


@helper
def _find_lists(lists: Lists, asked: Asked) -> _Terms:
    """The lists of a query, and upper bounds of what they add."""
    count = len(asked.dims)
    numbers, places, ends = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    factors, tops = np.empty(count, np.float32), np.empty(count, np.float64)
    least_norm = asked.least
    found, low = 0, 0
    for i in range(count):
        high = len(lists.dims)
        while low < high:
            middle = (low + high) >> 1
            if lists.dims[middle] < asked.dims[i]:
                low = middle + 1
            else:
                high = middle
        if low < len(lists.dims) and lists.dims[low] == asked.dims[i] and lists.starts[low] < lists.starts[low + 1]:
            numbers[found], places[found], ends[found] = low, lists.starts[low], lists.starts[low + 1]
            factors[found] = asked.weights[i]
            tops[found] = _highest(lists.bounds[low], asked.weights[i], least_norm, asked.ratio)
            found += 1
    return _Terms(numbers[:found], places[:found], ends[:found], factors[:found], tops[:found])


@helper
def _seek(docs: Array, at: Number, end: Number, row: Number) -> Number:
    """The first place from `at` whose row is not before `row`: leaps that double, then a search between."""
    leap = 1
    low = at
    while low + leap < end and docs[low + leap] < row:
        low += leap
        leap <<= 1
    high = min(low + leap, end)
    while low < high:
        middle = (low + high) >> 1
        if docs[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def _counts(value: Number, row: Number, asked: Asked) -> Number:
    """What a value counts as before it is weighted."""
    if len(asked.lengths) == 0:
        return value
    return value / (value + (np.float32(asked.base) + np.float32(asked.slope) * asked.lengths[row]))


@helper
def _highest(value: Number, weight: Number, least_norm: Number, ratio: Number) -> Number:
    """The most that values up to this one add to a score."""
    if weight <= 0 or value <= 0:
        return 0.0
    most = np.float64(value)
    if least_norm >= 0:
        most /= most + least_norm
    return np.float64(weight) * most * ratio * _SAFE


@helper
def _add_window(lists: Lists, asked: Asked, terms: _Terms, t: Number, until: Number, base: Number, sums: Array) -> None:
    """Add a list's items before row `until` to the sums of the rows from `base`."""
    docs, values, at, end, weight = lists.docs, lists.values, terms.places[t], terms.ends[t], terms.factors[t]
    if len(asked.lengths) == 0:
        while at < end and docs[at] < until:
            sums[docs[at] - base] += weight * values[at]
            at += 1
    else:
        lengths, least, slope = asked.lengths, np.float32(asked.base), np.float32(asked.slope)
        while at < end and docs[at] < until:
            value = values[at]
            sums[docs[at] - base] += weight * (value / (value + (least + slope * lengths[docs[at]])))
            at += 1
    terms.places[t] = at


# -- a term at a time -------------------------------------------------------------------------------
@helper
def _sweep(
    asked: Asked, sums: Array, count: Number, base: Number, best_scores: Array, best_rows: Array, size: Number
) -> Number:
    """Offer the rows of a window, and set its sums to zero."""
    # Positive floats are in the order of their bits; the largest of some integers is found with wide instructions.
    bits = sums.view(np.int32)
    bar = np.empty(1, np.float32)
    bar[0] = least_of(best_scores, size)
    for at in range(0, count, SWEEP):
        until = min(at + SWEEP, count)
        most = np.int32(0)
        for i in range(at, until):
            most = max(most, bits[i])
        if most <= bar.view(np.int32)[0]:
            continue
        for i in range(at, until):
            if sums[i] > bar[0] and _is_allowed(asked.allowed, base + i):
                size = offer(best_scores, best_rows, size, sums[i], asked.first + base + i)
                bar[0] = least_of(best_scores, size)
    sums[:count] = 0
    return size


@helper
def _term_at_a_time(
    lists: Lists, asked: Asked, window: Number, best_scores: Array, best_rows: Array, size: Number
) -> Number:
    terms = _find_lists(lists, asked)
    sums = np.zeros(min(window, asked.rows), np.float32)
    for base in range(0, asked.rows, window):
        until = min(base + window, asked.rows)
        for t in range(len(terms.places)):
            _add_window(lists, asked, terms, t, until, base, sums)
        size = _sweep(asked, sums, until - base, base, best_scores, best_rows, size)
    return size


@kernel(SEARCH)
def taat_naive(lists: Lists, asked: Asked, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """Each list is added up whole, one after another, in sums for all rows."""
    return _term_at_a_time(lists, asked, max(asked.rows, 1), best_scores, best_rows, size)


@kernel(SEARCH)
def sindi(lists: Lists, asked: Asked, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """The same a window of rows at a time, whose sums stay in the cache."""
    return _term_at_a_time(lists, asked, WINDOW, best_scores, best_rows, size)


# -- MaxScore ---------------------------------------------------------------------------------------
@helper
def _sort_by(keys: Array, order: Array) -> None:
    """Order numbers by their keys, ascending; few, and mostly in order already."""
    for i in range(1, len(order)):
        moved = order[i]
        at = i
        while at > 0 and keys[order[at - 1]] > keys[moved]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = moved


@helper
def _look_up(lists: Lists, asked: Asked, terms: _Terms, t: Number, row: Number) -> Number:
    """What a list adds to a row's score."""
    place = _seek(lists.docs, terms.places[t], terms.ends[t], row)
    terms.places[t] = place
    if place < terms.ends[t] and lists.docs[place] == row:
        return terms.factors[t] * _counts(lists.values[place], row, asked)
    return np.float32(0)


@helper
def _score_window(
    lists: Lists, asked: Asked, terms: _Terms, order: Array, optional: Number, base: Number, sums: Array,
    best_scores: Array, best_rows: Array, size: Number,
) -> tuple[Number, Number]:  # fmt: skip
    """Rows of a window by the lists that matter; the first `optional` of `order` alone bring no row among the best, and
    are looked up for the rows that may still get there. Also how often that was done."""
    until = min(base + WINDOW, asked.rows)
    for i in range(optional, len(order)):
        _add_window(lists, asked, terms, order[i], until, base, sums)
    if optional == 0:
        return _sweep(asked, sums, until - base, base, best_scores, best_rows, size), 0
    rest = 0.0
    for i in range(optional):
        rest += terms.tops[order[i]]
    least, lookups = least_of(best_scores, size), 0
    bits = sums.view(np.int32)
    bar = np.empty(1, np.float32)
    bar[0] = max(least - rest, 0.0)
    for block in range(0, until - base, SWEEP):
        stop = min(block + SWEEP, until - base)
        most = np.int32(0)
        for i in range(block, stop):
            most = max(most, bits[i])
        if most <= bar.view(np.int32)[0]:
            continue
        for at in range(block, stop):
            score = sums[at]
            if score <= bar[0] or not _is_allowed(asked.allowed, base + at):
                continue
            left = rest
            for i in range(optional - 1, -1, -1):
                if score + left <= least:
                    break
                left -= terms.tops[order[i]]
                lookups += 1
                score += _look_up(lists, asked, terms, order[i], base + at)
            if score > least:
                size = offer(best_scores, best_rows, size, score, asked.first + base + at)
                least = least_of(best_scores, size)
                bar[0] = max(least - rest, 0.0)
    sums[: until - base] = 0
    return size, lookups


@helper
def _split(tops: Array, order: Array, least: Number) -> Number:
    """How many lists, those of the smallest tops, cannot bring a row among the best by themselves."""
    total = 0.0
    for i in range(len(order)):
        total += tops[order[i]]
        if total > least:
            return i
    return len(order)


@helper
def _pays(lists: Lists, terms: _Terms, order: Array, optional: Number, rows: Number, lookups: Number) -> Number:
    """Whether looking rows up in a window cost less than reading the lists there would have."""
    items = 0
    for i in range(optional):
        number = terms.numbers[order[i]]
        items += lists.starts[number + 1] - lists.starts[number]
    return lookups * LOOKUP * rows <= items * WINDOW


@kernel(SEARCH)
def daat_maxscore(lists: Lists, asked: Asked, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """Lists that cannot matter any more, by the largest value in them, are not read but looked up (Turtle and Flood,
    1995), a window of rows at a time, and only while that pays."""
    terms = _find_lists(lists, asked)
    order = np.arange(len(terms.tops))
    _sort_by(terms.tops, order)
    sums = np.zeros(min(WINDOW, asked.rows), np.float32)
    pays = True
    for base in range(0, asked.rows, WINDOW):
        optional = _split(terms.tops, order, least_of(best_scores, size))
        if optional == len(order):
            break
        if not pays:
            optional = 0
        for t in range(len(order)):
            terms.places[t] = _seek(lists.docs, terms.places[t], terms.ends[t], base)
        size, lookups = _score_window(lists, asked, terms, order, optional, base, sums, best_scores, best_rows, size)
        pays = pays and _pays(lists, terms, order, optional, asked.rows, lookups)
    return size


@helper
def _tops_within(lists: Lists, asked: Asked, terms: _Terms, least_norm: Number, base: Number) -> None:
    """Upper bounds for one window, by the blocks of the lists that reach into it."""
    until = min(base + WINDOW, asked.rows)
    for t in range(len(terms.tops)):
        number = terms.numbers[t]
        begin, end = lists.starts[number], terms.ends[t]
        place = _seek(lists.docs, terms.places[t], end, base)
        terms.places[t] = place
        most = np.float32(0)
        while place < end and lists.docs[place] < until:
            block = (place - begin) // BLOCK
            most = max(most, lists.block_bounds[lists.block_starts[number] + block])
            place = begin + (block + 1) * BLOCK
        terms.tops[t] = _highest(most, terms.factors[t], least_norm, asked.ratio)


@kernel(SEARCH)
def block_max_maxscore(lists: Lists, asked: Asked, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """MaxScore by the largest values within each window, as the blocks of the lists tell them; windows where no row can
    get among the best are passed over."""
    terms = _find_lists(lists, asked)
    order = np.arange(len(terms.tops))
    sums = np.zeros(min(WINDOW, asked.rows), np.float32)
    least_norm, pays = asked.least, True
    for base in range(0, asked.rows, WINDOW):
        _tops_within(lists, asked, terms, least_norm, base)
        _sort_by(terms.tops, order)
        optional = _split(terms.tops, order, least_of(best_scores, size))
        if optional < len(order):
            if not pays:
                optional = 0
            size, lookups = _score_window(
                lists, asked, terms, order, optional, base, sums, best_scores, best_rows, size
            )
            pays = pays and _pays(lists, terms, order, optional, asked.rows, lookups)
    return size


# -- WAND -------------------------------------------------------------------------------------------
@helper
def _pivot(tops: Array, order: Array, least: Number) -> Number:
    """The first list, by its current row, with which the lists up to it can bring a row among the best."""
    total = 0.0
    for i in range(len(order)):
        total += tops[order[i]]
        if total > least:
            return i
    return -1


@helper
def _stand(lists: Lists, terms: _Terms, currents: Array, t: Number, place: Number) -> None:
    """Take one list on to a place."""
    terms.places[t] = place
    currents[t] = np.int64(lists.docs[place]) if place < terms.ends[t] else _END


@helper
def _take(lists: Lists, asked: Asked, terms: _Terms, currents: Array, order: Array, row: Number) -> Number:
    """The score of a row that lists stand at, all of them first in `order`; they go on behind it."""
    score = np.float32(0)
    for i in range(len(order)):
        t = order[i]
        if currents[t] != row:
            break
        score += terms.factors[t] * _counts(lists.values[terms.places[t]], row, asked)
        _stand(lists, terms, currents, t, terms.places[t] + 1)
    return score


@helper
def _leap(lists: Lists, terms: _Terms, currents: Array, order: Array, before: Number, row: Number) -> None:
    """Of the lists that stand before a row, take the one whose leap promises most on to the first row not before
    `row`."""
    chosen = order[0]
    for i in range(1, len(order)):
        if currents[order[i]] >= before:
            break
        if terms.tops[order[i]] > terms.tops[chosen]:
            chosen = order[i]
    _stand(lists, terms, currents, chosen, _seek(lists.docs, terms.places[chosen], terms.ends[chosen], row))


@kernel(SEARCH)
def daat_wand(lists: Lists, asked: Asked, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """Row by row; lists leap to the first row that can get among the best (Broder and others, 2003)."""
    terms = _find_lists(lists, asked)
    currents, order = np.empty(len(terms.tops), np.int64), np.arange(len(terms.tops))
    for t in range(len(order)):
        _stand(lists, terms, currents, t, terms.places[t])
    least = least_of(best_scores, size)
    while True:
        _sort_by(currents, order)
        pivot = _pivot(terms.tops, order, least)
        if pivot < 0 or currents[order[pivot]] == _END:
            return size
        row = currents[order[pivot]]
        if currents[order[0]] < row:
            _leap(lists, terms, currents, order, row, row)
            continue
        score = _take(lists, asked, terms, currents, order, row)
        if score > least and _is_allowed(asked.allowed, row):
            size = offer(best_scores, best_rows, size, score, asked.first + row)
            least = least_of(best_scores, size)


@helper
def _of_blocks(
    lists: Lists, asked: Asked, terms: _Terms, currents: Array, order: Array, row: Number, least_norm: Number
) -> tuple[Number, Number]:
    """The most that rows from `row` on can score, by the blocks that hold it in the lists standing there or before, and
    the first row for which that does not hold any more."""
    total, behind = 0.0, _END
    for i in range(len(order)):
        t = order[i]
        if currents[t] > row:
            behind = min(behind, currents[t])
            break
        number = terms.numbers[t]
        place = _seek(lists.docs, terms.places[t], terms.ends[t], row)
        if place < terms.ends[t]:
            begin = lists.starts[number]
            block = (place - begin) // BLOCK
            bound = lists.block_bounds[lists.block_starts[number] + block]
            total += _highest(bound, terms.factors[t], least_norm, asked.ratio)
            last = min(begin + (block + 1) * BLOCK, terms.ends[t]) - 1
            behind = min(behind, np.int64(lists.docs[last]) + 1)
    return total, behind


@kernel(SEARCH)
def block_max_wand(lists: Lists, asked: Asked, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """WAND that asks the blocks of the lists before it scores a row (Ding and Suel, 2011)."""
    terms = _find_lists(lists, asked)
    currents, order = np.empty(len(terms.tops), np.int64), np.arange(len(terms.tops))
    for t in range(len(order)):
        _stand(lists, terms, currents, t, terms.places[t])
    least, least_norm = least_of(best_scores, size), asked.least
    while True:
        _sort_by(currents, order)
        pivot = _pivot(terms.tops, order, least)
        if pivot < 0 or currents[order[pivot]] == _END:
            return size
        row = currents[order[pivot]]
        total, behind = _of_blocks(lists, asked, terms, currents, order, row, least_norm)
        if total <= least:
            _leap(lists, terms, currents, order, row + 1, behind)
            continue
        if currents[order[0]] < row:
            _leap(lists, terms, currents, order, row, row)
            continue
        score = _take(lists, asked, terms, currents, order, row)
        if score > least and _is_allowed(asked.allowed, row):
            size = offer(best_scores, best_rows, size, score, asked.first + row)
            least = least_of(best_scores, size)
