"""What filters would have to parse, as typed columns in the files of a sealed segment: JSON paths, and points.

When a segment is written, the paths that many of its documents have are read once, and stored in the same file as the
documents, under the same checksum, named `<field id>/<kind>/<path as JSON>`. A path may have one column for each kind
of scalar its values are of, and one of arrays whose elements are all of one kind; a row has its value in at most one of
them, and none where the key is missing or null. A path with an object, another array or an integer beyond int64 is not
stored: what is read back is exactly what the documents say. Any other path is read from the documents when it is asked
for.

Of a GEOMETRY field that holds nothing but points the coordinates are stored, as `<field id>/x/` and `<field id>/y/`,
NaN where it is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import json_column
from redkite.filter.json_column import (
    BOOL,
    DOUBLE,
    INT,
    NESTED,
    NULL,
    STRING,
    JsonColumn,
    JsonLists,
    JsonPath,
    documents_of,
    follow,
)
from redkite.filter.numbers import unpack, valid_rows
from redkite.filter.shape_column import ShapeColumn
from redkite.model.batch import arrow_to_numbers, numbers_to_arrow
from redkite.model.schema import CollectionSchema
from redkite.model.types import DataType

LEAST_ROWS = 1_000
"""Documents of smaller segments are parsed in a few milliseconds."""
MOST_PATHS = 64
"""Of one field."""
LEAST_SHARE = 0.1
"""A path that fewer of the documents have is not stored."""
_SAMPLE = 1_000
_DEEPEST = 5
_CHUNK = 2_048
_TYPES: dict[int, pa.DataType] = {
    BOOL: pa.bool_(), INT: pa.int64(), DOUBLE: pa.float64(), STRING: pa.string(), NESTED: pa.list_(pa.null()),
}  # fmt: skip
_LETTERS = {BOOL: "bool", INT: "int", DOUBLE: "double", STRING: "string", NESTED: "list"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}
_PYTHON: dict[type, int] = {bool: BOOL, int: INT, float: DOUBLE, str: STRING, list: NESTED}
_NARROW = (pa.int8(), pa.int16(), pa.int32())
_MOST_WORDS = 1 << 15
"""Distinct strings of a path that is stored by dictionary."""


# -- writing ------------------------------------------------------------------------------------
def shredded_columns(batch: pa.RecordBatch, schema: CollectionSchema) -> list[tuple[str, pa.Array]]:
    """The columns to be stored beside those of the fields, and their names."""
    if batch.num_rows < LEAST_ROWS:
        return []
    found = []
    for field in schema.fields:
        if field.data_type is DataType.GEOMETRY:
            found += [(f"{field.field_id}/{axis}/", c) for axis, c in _coordinates(batch.column(field.name))]
        if field.data_type is DataType.JSON:
            for path, parts in _shred(batch.column(field.name)).items():
                shown = orjson.dumps(path).decode()
                found += [(f"{field.field_id}/{_LETTERS[kind]}/{shown}", part) for kind, part in parts.items()]
    return found


def _coordinates(column: pa.Array) -> list[tuple[str, pa.Array]]:
    """The two coordinates of every point; nothing where a shape is no point."""
    head = ShapeColumn.from_texts(column.slice(0, _CHUNK))
    if not _only_points(head):
        return []
    whole = ShapeColumn.from_texts(column)
    if not _only_points(whole):
        return []
    return [("x", numbers_to_arrow(whole.bounds[0])), ("y", numbers_to_arrow(whole.bounds[1]))]


def _only_points(column: ShapeColumn) -> bool:
    """Whether every shape there is is a valid point that is not empty."""
    there = column.points & column.valid
    return bool(there.all() if column.present is None else np.array_equal(there, column.present))


def _shred(column: pa.Array) -> dict[JsonPath, dict[int, pa.Array]]:
    chosen = _common_paths(column)
    pieces: dict[JsonPath, dict[int, list[pa.Array]]] = {path: {} for path in chosen}
    starts = range(0, len(column), _CHUNK)
    for at, start in enumerate(starts):
        documents = documents_of(column.slice(start, _CHUNK))
        for path in list(pieces):
            typed = _typed(follow(documents, path))
            if typed is None:
                del pieces[path]
                continue
            for kind, part in typed.items():
                before = pieces[path].setdefault(kind, [])
                before += [pa.nulls(_CHUNK, _TYPES[kind]) for _ in range(at - len(before))]
                before.append(part)
        if not pieces:
            break
    found = {path: _path_columns(kinds, len(column)) for path, kinds in pieces.items() if kinds}
    return {path: kinds for path, kinds in found.items() if kinds is not None}


def _path_columns(pieces: dict[int, list[pa.Array]], rows: int) -> dict[int, pa.Array] | None:
    """The columns of one path; None when its arrays are not all of one kind."""
    if NESTED in pieces:
        elements = {part.type.value_type for part in pieces[NESTED]} - {pa.null()}
        if len(elements) > 1:
            return None
        kind = pa.list_(elements.pop() if elements else pa.int64())
        pieces[NESTED] = [part.cast(kind) for part in pieces[NESTED]]
    return {kind: _joined(kind, parts, rows) for kind, parts in pieces.items()}


def _common_paths(column: pa.Array) -> list[JsonPath]:
    """Paths that a sample of the documents has often enough, and no objects at."""
    places = np.unique(np.linspace(0, len(column) - 1, _SAMPLE).astype(np.int64))
    counts: Counter[JsonPath] = Counter()
    nested: set[JsonPath] = set()
    for document in documents_of(column.take(pa.array(places))):
        if type(document) is dict:
            _count(document, (), counts, nested)
    least = max(1.0, LEAST_SHARE * len(places))
    common = [path for path, count in counts.most_common() if count >= least and path not in nested]
    return common[:MOST_PATHS]


def _count(found: dict[str, Any], above: JsonPath, counts: Counter[JsonPath], nested: set[JsonPath]) -> None:
    for key, value in found.items():
        path = (*above, key)
        if type(value) is dict:
            nested.add(path)
            if len(path) < _DEEPEST:
                _count(value, path, counts, nested)
        elif value is not None:
            counts[path] += 1


def _typed(values: Sequence[Any]) -> dict[int, pa.Array] | None:
    """The values by kind, each as a column with nulls elsewhere; None when one of them is of no kind that is stored."""
    kinds = set(map(type, values)) - {type(None)}
    if not kinds <= _PYTHON.keys():
        return None
    found = {}
    try:
        for python in kinds:
            some: Any = values if len(kinds) == 1 else [v if type(v) is python else None for v in values]
            kind = _PYTHON[python]
            wanted = _list_type(some) if kind == NESTED else _TYPES[kind]
            if wanted is None:
                return None
            found[kind] = pa.array(some, wanted)
    except OverflowError:
        return None
    return found


def _list_type(values: Sequence[list[Any] | None]) -> pa.DataType | None:
    """The type of arrays whose elements are scalars of one kind; None for others."""
    kinds = set(map(type, chain.from_iterable(filter(None, values))))
    if not kinds:
        return _TYPES[NESTED]
    kind = _PYTHON.get(kinds.pop(), NESTED)
    return None if kinds or kind == NESTED else pa.list_(_TYPES[kind])


def _joined(kind: int, parts: list[pa.Array], rows: int) -> pa.Array:
    """One column of all chunks; the last ones may be missing. Small numbers and few words take little room."""
    whole = pa.concat_arrays(parts)
    if len(whole) < rows:
        whole = pa.concat_arrays([whole, pa.nulls(rows - len(whole), whole.type)])
    if kind == INT:
        ends = pc.min_max(whole).as_py()
        fits = (t for t in _NARROW if -(1 << t.bit_width - 1) <= ends["min"] and ends["max"] < 1 << t.bit_width - 1)
        return whole.cast(next(fits, whole.type))
    if kind == STRING:
        coded = whole.dictionary_encode()
        words = len(coded.dictionary)
        if words < _MOST_WORDS and words * 4 <= rows:
            narrow = pa.int8() if words < 1 << 7 else pa.int16()
            return pa.DictionaryArray.from_arrays(coded.indices.cast(narrow), coded.dictionary)
    return whole


# -- reading ------------------------------------------------------------------------------------
class Shredded:
    """The paths that are stored with one segment."""

    __slots__ = ("_axes", "_paths", "_stored")

    def __init__(self, stored: pa.RecordBatch) -> None:
        self._stored = stored
        self._paths: dict[tuple[int, JsonPath], dict[int, int]] = {}
        self._axes: dict[tuple[int, str], int] = {}
        for place, name in enumerate(stored.schema.names):
            if "/" in name:
                field, kind, path = name.split("/", 2)
                if not path:
                    self._axes[int(field), kind] = place
                    continue
                known = self._paths.setdefault((int(field), tuple(orjson.loads(path))), {})
                known[_KINDS[kind]] = place

    def points(self, field_id: int, texts: pa.Array) -> ShapeColumn | None:
        """A GEOMETRY field of these texts; None when not all of them are points."""
        axes = self._axes.get((field_id, "x")), self._axes.get((field_id, "y"))
        if axes[0] is None or axes[1] is None:
            return None
        x, y = arrow_to_numbers(self._stored.column(axes[0])), arrow_to_numbers(self._stored.column(axes[1]))
        there = ~np.isnan(x)
        return ShapeColumn(texts, None if there.all() else there, there, there, (x, y, x, y))

    def column(self, field_id: int, path: JsonPath) -> JsonColumn | None:
        """The values of all rows at a path, as the documents have them; None when they are not stored."""
        places = self._paths.get((field_id, path))
        if places is None:
            return None
        return _restored({kind: self._stored.column(place) for kind, place in places.items()}, self._stored.num_rows)


class _StoredLists(JsonColumn):
    """A column with arrays, whose texts are made when somebody wants them."""

    __slots__ = ("_arrays", "_texts")
    _arrays: pa.Array
    _texts: pa.Array

    @property
    def raw(self) -> pa.Array:
        if self._texts is None:
            values = self._arrays.to_pylist()
            texts = [None if value is None else orjson.dumps(value) for value in values]
            object.__setattr__(self, "_texts", pa.array(texts, pa.binary()))
        return self._texts

    @raw.setter
    def raw(self, lists: pa.Array) -> None:
        """What stands for the texts: the arrays they are of."""
        object.__setattr__(self, "_arrays", lists)
        object.__setattr__(self, "_texts", None)


def _restored(parts: dict[int, pa.Array], rows: int) -> JsonColumn:
    kind = np.full(rows, NULL, np.uint8)
    counts = [0] * json_column.KINDS
    valid = {}
    for which, part in parts.items():
        valid[which] = valid_rows(part)
        kind[valid[which]] = which
        counts[which] = len(part) - part.null_count
    counts[NULL] = rows - sum(counts)
    ints = np.broadcast_to(np.int64(0), rows)
    numbers = np.broadcast_to(np.float64(0), rows)
    if INT in parts:
        ints = _where(valid[INT], parts[INT], np.int64)
        numbers = ints.astype(np.float64)
    if DOUBLE in parts:
        doubles = _where(valid[DOUBLE], parts[DOUBLE], np.float64)
        numbers = doubles if INT not in parts else numbers + doubles
    filled = present = kind != NULL
    made: type[JsonColumn] = JsonColumn
    raw: pa.Array = None
    lists = None
    if NESTED in parts:
        made, raw = _StoredLists, parts[NESTED]
        lists = _lists_of(raw, valid[NESTED])
        filled = present & ~(lists.is_list & (lists.lengths == 0))
    return made(
        present=present,
        filled=filled,
        kind=kind,
        counts=tuple(counts),
        ints=ints,
        numbers=numbers,
        bools=unpack(parts[BOOL]) if BOOL in parts else np.broadcast_to(np.bool_(False), rows),
        strings=parts[STRING] if STRING in parts else pa.nulls(rows, pa.string()),
        raw=pa.nulls(rows, pa.binary()) if raw is None else raw,
        lists=lists,
    )


def _lists_of(column: pa.Array, valid: npt.NDArray[np.bool_]) -> JsonLists:
    offsets = np.zeros(len(column) + 1, np.int64)
    lengths = pc.fill_null(pc.list_value_length(column), 0) if column.null_count else pc.list_value_length(column)
    np.cumsum(arrow_to_numbers(lengths), out=offsets[1:])
    elements = column.flatten()
    return JsonLists(valid, offsets, _restored({_kind_of(elements.type): elements}, len(elements)))


def _kind_of(kind: pa.DataType) -> int:
    return next(number for number, known in _TYPES.items() if known == kind)


def _where(valid: npt.NDArray[np.bool_], part: pa.Array, dtype: type[Any]) -> npt.NDArray[Any]:
    """The numbers of a column, 0 where it is null."""
    values: npt.NDArray[Any] = np.zeros(len(part), dtype)
    np.copyto(values, arrow_to_numbers(part.fill_null(0) if part.null_count else part), where=valid)
    return values
