"""Many rows as JSON, column by column, and in pieces: the text of a whole answer never exists.

A column becomes a list of texts, one a row; a piece is the texts of all columns, laid beside each other and joined.
"""

from __future__ import annotations

import binascii
import functools
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.client.values import Dynamic, matrix_of
from redkite.model.results import Hits, Rows
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.structs import runs
from redkite.model.types import DataType
from redkite.server.rest.highlighting import add_highlights
from redkite.server.rest.rows import Row, array_name, array_values, json_cells, row_objects, search_rows, struct_cells
from redkite.server.rest.streams import Content, Streamed

FEW_ROWS: Final = 64
"""Up to so many rows are made one by one."""
WHOLE_BYTES: Final = 256 * 1024
"""Rows of so many bytes, as Arrow has them, are answered at once; of more, in pieces of about as many."""
_INTEGERS: Final = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_TEXTS: Final = frozenset(
    {DataType.VARCHAR, DataType.TEXT, DataType.JSON, DataType.GEOMETRY, DataType.TIMESTAMPTZ, DataType.NONE}
)
_BYTES: Final = frozenset({DataType.BINARY_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR})
_dumps = functools.partial(orjson.dumps, option=orjson.OPT_SERIALIZE_NUMPY)
_base64: Callable[[bytes], bytes] = functools.partial(binascii.b2a_base64, newline=False)


class Column(NamedTuple):
    """The values of one column as JSON; what each begins and ends with stands beside them."""

    name: str
    texts: list[str]
    before: str = ""
    behind: str = ""


# -- answers ------------------------------------------------------------------------------------
def answered_rows(found: Rows, schema: CollectionSchema, integers_as_text: bool, more: dict[str, Any]) -> Content:
    """The rows of a query, and what the envelope says beside them."""

    if len(found.rows) <= FEW_ROWS:
        return _answer(row_objects(found.rows, found.output_fields, schema, integers_as_text), more)

    def render(start: int, size: int) -> bytes:
        return _joined(found.rows.slice(start, size), [], found.output_fields, schema, integers_as_text)

    return _answered(found.rows, len(found.rows), render, more)


def answered_hits(found: Hits, schema: CollectionSchema, integers_as_text: bool, more: dict[str, Any]) -> Content:
    """The hits of all queries, one after the other: `distance`, the primary key and the output fields."""

    if found.highlights or len(found.ids) <= FEW_ROWS:
        return _answer(add_highlights(search_rows(found, schema, integers_as_text), found), more)

    def render(start: int, size: int) -> bytes:
        own = [
            Column("distance", _numbers(found.scores[start : start + size])),
            _column(found.primary_field, found.ids.slice(start, size), schema.primary, integers_as_text),
        ]
        if found.element_indices is not None:
            own.insert(0, Column("offset", _numbers(found.element_indices[start : start + size])))
        return _joined(found.rows.slice(start, size), own, found.output_fields, schema, integers_as_text)

    return _answered(found.rows, len(found.ids), render, more)


def _answered(rows: pa.RecordBatch, count: int, render: Callable[[int, int], bytes], more: dict[str, Any]) -> Content:
    if rows.nbytes <= WHOLE_BYTES:
        parts = Streamed(iter([render(0, count)] if count else []), more).parts()
        return b"".join(parts)
    size = max(1, min(count, count * WHOLE_BYTES // rows.nbytes))
    return Streamed((render(at, min(size, count - at)) for at in range(0, count, size)), more)


def _answer(rows: list[Row], more: dict[str, Any]) -> bytes:
    return _dumps({"code": 0, "data": rows, **more})


# -- rows from columns ----------------------------------------------------------------------------
def _joined(
    rows: pa.RecordBatch, own: list[Column], output_fields: Sequence[str], schema: CollectionSchema, as_text: bool
) -> bytes:
    """The objects of some rows, without the brackets of a list. `own`: columns that stand first."""
    known = schema.with_parts
    columns = {column.name: column for column in own}
    ends: list[str] | None = None
    for name, places in runs(rows.schema.names):
        if name == META_FIELD:
            continue
        if rows.schema.names[places[0]] == name:
            columns[name] = _column(name, rows.column(places[0]), known.field(name), as_text)
        else:
            columns[name] = Column(name, _cells(struct_cells(rows, places, known, as_text)))
    if META_FIELD in rows.schema.names:
        dynamic = Dynamic(tuple(output_fields), [name for name, _ in runs(rows.schema.names)])
        ends = _dynamic(rows.column(META_FIELD), dynamic, list(columns))
    count = len(own[0].texts) if own else rows.num_rows
    laid = _laid(list(columns.values()), count, ends)
    return "".join(laid)[1:].encode()


def _laid(columns: list[Column], count: int, ends: list[str] | None) -> list[str]:
    """All texts in the order in which they are joined. The first begins with what separates it from the row before."""
    width = 2 * len(columns) + 2
    laid = [""] * (width * count)
    before = ",{"
    for at, column in enumerate(columns):
        laid[2 * at :: width] = [f"{before}{encode_basestring(column.name)}:{column.before}"] * count
        laid[2 * at + 1 :: width] = column.texts
        before = f"{column.behind},"
    behind = columns[-1].behind if columns else ",{"
    laid[width - 2 :: width] = [behind] * count
    laid[width - 1 :: width] = ["}"] * count if ends is None else ends
    return laid


def _dynamic(column: pa.Array, dynamic: Dynamic, names: list[str]) -> list[str]:
    """How each row ends: with its dynamic keys, those that nothing before them is called like, and a brace."""
    texts = column.fill_null(b"{}").cast(pa.string())
    is_taken = (pc.any(pc.match_substring(texts, encode_basestring(name))).as_py() for name in names)
    if dynamic.is_choice or not names or any(is_taken):
        metas = [dynamic.pick(orjson.loads(meta)) for meta in texts.to_pylist()]
        own = ({key: value for key, value in meta.items() if key not in names} for meta in metas)
        return [("," if names and kept else "") + _dumps(kept)[1:].decode() for kept in own]
    is_empty = pc.match_substring_regex(texts, r"^\s*\{\s*\}\s*$")
    opened = pc.replace_substring_regex(texts, r"^\s*\{", ",", max_replacements=1)
    ends: list[str] = pc.if_else(is_empty, "}", opened).to_pylist()
    return ends


# -- columns --------------------------------------------------------------------------------------
def _column(name: str, column: pa.Array, field: FieldSchema | None, as_text: bool) -> Column:
    """`field` is None for what is no field, such as `count(*)`."""
    kind = DataType.NONE if field is None else field.data_type
    plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if column.null_count == 0:
        if kind is DataType.INT64 and as_text:
            return Column(name, _numbers(column.to_numpy()), '"', '"')
        if plain and (kind in _INTEGERS or kind in (DataType.FLOAT, DataType.DOUBLE, DataType.NONE)):
            return Column(name, _numbers(column.to_numpy()))
        if kind is DataType.BOOL:
            return Column(name, column.cast(pa.string()).to_pylist())
        if kind is DataType.FLOAT_VECTOR and column.type.list_size:
            text = _dumps(np.ascontiguousarray(matrix_of(column))).decode()
            return Column(name, text[2:-2].split("],["), "[", "]")
        if kind in _BYTES:
            return Column(name, [text.decode() for text in map(_base64, column.to_pylist())], '"', '"')
        if kind in _TEXTS and (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
            return Column(name, list(map(encode_basestring, column.cast(pa.string()).to_pylist())))
        if kind is DataType.ARRAY and field is not None:
            values = _cells(array_values(field, column))
            return Column(name, values, f'{{"Data":{{"{array_name(field)}":{{"data":', "}}}")
    return Column(name, _cells(json_cells(column, field, as_text)))


def _numbers(values: np.ndarray[Any, Any]) -> list[str]:
    """Numbers as JSON; what is none is null."""
    return _dumps(np.ascontiguousarray(values)).decode()[1:-1].split(",") if len(values) else []


def _cells(values: Sequence[Any]) -> list[str]:
    return [text.decode() for text in map(_dumps, values)]
