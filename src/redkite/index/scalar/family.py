"""Which index stands behind which type: how it is built over a segment's columns, and how a stored one is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from redkite.env import Buffer
from redkite.errors import Corruption
from redkite.filter.columns import Columns
from redkite.filter.indexed import FieldIndex
from redkite.filter.lists import element_values, list_offsets
from redkite.index.scalar import match, ngram
from redkite.index.scalar.column import ColumnIndex, ListIndex, ValueIndex
from redkite.index.scalar.flat import TOGETHER, flat_arrays, open_flat
from redkite.index.scalar.keys import Keys, number_keys, open_number_keys, open_text_keys, text_keys
from redkite.index.scalar.layout import Array, Facts, Stored, pack, prefixed, unpack
from redkite.index.scalar.match import match_arrays, open_match
from redkite.index.scalar.ngram import NgramIndex, ngram_arrays
from redkite.index.scalar.paths import Cast, open_path, path_arrays
from redkite.index.scalar.postings import build_postings, open_postings, packed
from redkite.index.scalar.rtree import open_rtree, rtree_arrays
from redkite.model.schema import FieldSchema
from redkite.model.segments import MATCH, IndexSpec
from redkite.model.types import DataType
from redkite.text.specs import field_analyzer

MOST_BITMAPS = {"BITMAP": 1_000, "HYBRID": 100}
"""Up to so many distinct values each gets a bitmap; above, rows are listed."""
PATH, CAST, FUNCTION = "json_path", "json_cast_type", "json_cast_function"
LEAST_GRAM, MOST_GRAM = "min_gram", "max_gram"
"""Parameters, as they are called in `IndexSpec.build`; there the path is a JSON array of keys."""
OFFSET_CACHE = "indexoffsetcache.enabled"
"""The property that lets bitmaps keep what they unpacked."""
_NO_PROPERTIES: Mapping[str, str] = {}
_BYTES_A_ROW = 64
"""Memory that building takes for one value, about."""


class ScalarIndex(FieldIndex, Protocol):
    rows: int


def build_scalar(
    spec: IndexSpec, field: FieldSchema, columns: Columns, wanted: Callable[[], bool]
) -> list[Buffer] | None:
    """Build over all rows of a segment: the bytes to store. None when `wanted` says no; it is asked between steps."""
    if not wanted():
        return None
    facts: Facts = {}
    most = MOST_BITMAPS.get(spec.kind, 0)
    arrays: dict[str, Array] | None
    if spec.kind == "RTREE":
        shapes = columns.shapes(field.name)
        facts["only_points"] = bool(shapes.points[shapes.valid].all())
        arrays = dict(rtree_arrays(shapes))
    elif spec.kind == "NGRAM":
        strings = columns.strings(field.name)
        if field.data_type is DataType.JSON:
            strings = columns.json_path(field.name, spec.path or ()).strings
        found = ngram_arrays(strings, int(spec.build[LEAST_GRAM]), int(spec.build[MOST_GRAM]), wanted)
        arrays = None if found is None else dict(found)
    elif spec.kind == MATCH:
        occurrences = match_arrays(columns.strings(field.name), field_analyzer(field), wanted)
        arrays = None if occurrences is None else dict(occurrences)
    elif field.data_type is DataType.JSON and cast_of(spec) is Cast.JSON:
        flat = flat_arrays(columns.stored(field.name), spec.path or (), most, wanted)
        arrays = None
        if flat is not None:
            facts, arrays = flat
    elif field.data_type is DataType.JSON:
        column = columns.json_path(field.name, spec.path or ())
        arrays = path_arrays(column, cast_of(spec), most, numerals=FUNCTION in spec.build)
    elif field.data_type is DataType.ARRAY:
        arrays = _list_arrays(field, columns, most)
    else:
        keys, numbers = _keys_of(field.name, field.data_type, columns)
        arrays = _value_arrays(keys, numbers, None, columns.rows, most)
    if arrays is None or not wanted():
        return None
    return pack(_family_of(spec, field), columns.rows, facts, arrays)


def open_scalar(spec: IndexSpec, data: memoryview, properties: Mapping[str, str] = _NO_PROPERTIES) -> ScalarIndex:
    """An index as it was stored. Raises Corruption for what none of this version wrote."""
    stored = unpack(data)
    keeps = properties.get(OFFSET_CACHE, "").lower() == "true"
    if stored.kind == "rtree":
        return open_rtree(stored)
    if stored.kind == "match":
        return open_match(stored)
    if stored.kind == "ngram":
        return NgramIndex(
            spec.path,
            int(spec.build[LEAST_GRAM]),
            int(spec.build[MOST_GRAM]),
            stored.array("hashes"),
            stored.array("offsets"),
            stored.array("numbers"),
            stored.rows,
        )
    if stored.kind == "flat":
        return open_flat(stored, spec.path or (), keeps)
    if stored.kind == "path":
        return open_path(stored, spec.path or (), cast_of(spec), keeps, numerals=FUNCTION in spec.build)
    family, _, value = stored.kind.partition(" of ")
    if family not in ("column", "list") or value not in ("numbers", "booleans", "texts"):
        raise Corruption(f"a stored index is of kind '{stored.kind}', which is not known")
    postings = open_postings(stored.part("rows"), keeps)
    values = ValueIndex(_open_keys(stored, value), postings, single=family == "column")
    return ColumnIndex(values) if family == "column" else ListIndex(values, stored.arrays.get("valid"))


def build_memory(spec: IndexSpec, column_bytes: int, rows: int) -> int:
    """Memory that building and storing an index takes at most, about."""
    if spec.kind == "NGRAM":
        return ngram.build_memory(column_bytes, int(spec.build[LEAST_GRAM]), int(spec.build[MOST_GRAM]))
    if spec.kind == MATCH:
        return match.build_memory(column_bytes)
    paths = TOGETHER if spec.build.get(CAST) == Cast.JSON else 1
    return 3 * column_bytes + _BYTES_A_ROW * rows * paths


def cast_of(spec: IndexSpec) -> Cast:
    return Cast(str(spec.build[CAST]))


# -- fields -------------------------------------------------------------------------------------
def _family_of(spec: IndexSpec, field: FieldSchema) -> str:
    if spec.kind in ("RTREE", "NGRAM", MATCH):
        return spec.kind.lower()
    if field.data_type is DataType.JSON:
        return "flat" if cast_of(spec) is Cast.JSON else "path"
    is_list = field.data_type is DataType.ARRAY
    value = field.element_type if is_list else field.data_type
    kind = "texts" if value.is_string else "booleans" if value is DataType.BOOL else "numbers"
    return f"{'list' if is_list else 'column'} of {kind}"


def _keys_of(name: str, data_type: DataType, columns: Columns) -> tuple[Keys, npt.NDArray[np.int64]]:
    return text_keys(columns.strings(name)) if data_type.is_string else number_keys(*columns.numbers(name))


def _list_arrays(field: FieldSchema, columns: Columns, most: int) -> dict[str, Array]:
    arrays = columns.arrays(field.name)
    ends = list_offsets(arrays)
    elements = arrays.values.slice(int(ends[0]), int(ends[-1] - ends[0]))
    keys: Keys
    if field.element_type.is_string:
        keys, numbers = text_keys(elements)
    else:
        keys, numbers = number_keys(element_values(elements), None)
    valid = columns.is_valid(field.name)
    lengths = np.diff(ends)
    if valid is not None:
        # What stands behind a null is nobody's.
        owned = np.repeat(valid, lengths)
        numbers = np.where(owned, numbers, -1)
    owners = np.repeat(np.arange(columns.rows), lengths)
    made = _value_arrays(keys, numbers, owners, columns.rows, most)
    return made if valid is None else {**made, "valid": packed(valid)}


def _value_arrays(keys: Keys, numbers: Array, owners: Array | None, rows: int, most: int) -> dict[str, Array]:
    postings = build_postings(numbers, owners, keys.count, rows, most)
    return {**keys.arrays(), **prefixed("rows", postings.arrays())}


def _open_keys(stored: Stored, value: str) -> Keys:
    if value == "texts":
        return open_text_keys(stored)
    return open_number_keys(stored, booleans=value == "booleans")
