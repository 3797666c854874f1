"""Predicates over ARRAY columns, by their flattened elements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import bound, numbers, texts
from redkite.filter.columns import number_values
from redkite.filter.numbers import Mask, Values, settled
from redkite.filter.syntax import Comparison


def list_offsets(arrays: pa.Array) -> npt.NDArray[np.int64]:
    """(rows + 1,) where each row begins in `arrays.values`."""
    offsets: npt.NDArray[np.int64] = number_values(arrays.offsets).astype(np.int64)
    return offsets


def _valid(arrays: pa.Array) -> Mask | None:
    return numbers.valid_rows(arrays) if arrays.null_count else None


def element_values(elements: pa.Array) -> Values:
    return numbers.unpack(elements) if pa.types.is_boolean(elements.type) else number_values(elements)


def lengths(arrays: pa.Array) -> tuple[npt.NDArray[np.int64], Mask | None]:
    """(rows,) element counts, and where they are valid."""
    return np.diff(list_offsets(arrays)), _valid(arrays)


def _places(arrays: pa.Array, index: int) -> tuple[npt.NDArray[np.int64], Mask]:
    """Where element `index` of each row stands among the flattened elements, and which rows have one."""
    offsets = list_offsets(arrays)
    places = offsets[:-1] + index
    has = places < offsets[1:]
    if arrays.null_count:
        has &= numbers.valid_rows(arrays)
    places[~has] = 0
    return places, has


def element_numbers(arrays: pa.Array, index: int) -> tuple[Values, Mask]:
    """(rows,) the element at `index` of each row, and which rows have one."""
    places, has = _places(arrays, index)
    values = element_values(arrays.values)
    return (values[places] if len(values) else np.zeros(len(has), values.dtype)), has


def element_strings(arrays: pa.Array, index: int) -> pa.Array:
    """(rows,) the string at `index` of each row, null where there is none."""
    places, has = _places(arrays, index)
    return arrays.values.take(pa.array(places, mask=~has))


def _equal_elements(elements: pa.Array, value: object) -> Mask:
    """(elements,) True where an element equals the constant."""
    if isinstance(value, str):
        return numbers.unpack(pc.equal(elements, pa.scalar(value, pa.string())))
    assert isinstance(value, bool | int | float)
    return numbers.compare(element_values(elements), Comparison.EQ, value)


def rows_with_any(mask: Mask, offsets: npt.NDArray[np.int64]) -> Mask:
    """(rows,) True where some element of the row is True in `mask`."""
    running: Values = np.zeros(len(mask) + 1, np.int32 if len(mask) < 2**31 else np.int64)
    np.cumsum(mask, out=running[1:])
    counts = running[offsets]
    result: Mask = np.greater(counts[1:], counts[:-1])
    return result


def contains(arrays: pa.Array, predicate: bound.Contains) -> Mask:
    """Membership of one (or `every`) value in each row's array."""
    elements, offsets = arrays.values, list_offsets(arrays)
    if predicate.every:
        wanted = dict.fromkeys(predicate.values)
        result: Mask = np.diff(offsets) >= len(wanted)
        for value in wanted:
            if not result.any():
                break
            result &= rows_with_any(_equal_elements(elements, value), offsets)
    else:
        result = rows_with_any(_are_members(elements, predicate.members), offsets)
    return settled(result, predicate.negated, _valid(arrays))


def _are_members(elements: pa.Array, members: bound.Members) -> Mask:
    if isinstance(members, bound.TextSet):
        return texts.is_in(elements, members.members, negated=False)
    values = element_values(elements)
    if isinstance(members, numbers.NumberSet):
        return members.mask(values)
    mask = np.zeros(len(values), np.bool_)
    for member in members if isinstance(members, frozenset) else ():
        mask |= values == member
    return mask


def equals(arrays: pa.Array, predicate: bound.ListEquals) -> Mask:
    """Whole arrays equal to a list of constants."""
    elements, offsets = arrays.values, list_offsets(arrays)
    result: Mask = np.diff(offsets) == len(predicate.values)
    for index, value in enumerate(predicate.values):
        rows = np.flatnonzero(result)
        if not len(rows):
            break
        result[rows] = _equal_elements(elements.take(pa.array(offsets[rows] + index)), value)
    return settled(result, predicate.negated, _valid(arrays))
