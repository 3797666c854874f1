"""One schema with every kind of field a filter reads, and columns from plain rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

from redkite.filter import ArrowColumns, compile_filter
from redkite.model.batch import arrow_type
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import DataType

FIELDS = (
    FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
    FieldSchema(name="i8", data_type=DataType.INT8, nullable=True),
    FieldSchema(name="age", data_type=DataType.INT32, nullable=True),
    FieldSchema(name="big", data_type=DataType.INT64, nullable=True),
    FieldSchema(name="price", data_type=DataType.FLOAT, nullable=True),
    FieldSchema(name="score", data_type=DataType.DOUBLE, nullable=True),
    FieldSchema(name="flag", data_type=DataType.BOOL, nullable=True),
    FieldSchema(name="name", data_type=DataType.VARCHAR, nullable=True, params={"max_length": "100"}),
    FieldSchema(name="city", data_type=DataType.VARCHAR, params={"max_length": "100"}),
    FieldSchema(name="nums", data_type=DataType.ARRAY, element_type=DataType.INT64, nullable=True),
    FieldSchema(name="reals", data_type=DataType.ARRAY, element_type=DataType.DOUBLE),
    FieldSchema(name="words", data_type=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=True),
    FieldSchema(name="bits", data_type=DataType.ARRAY, element_type=DataType.BOOL),
    FieldSchema(name="doc", data_type=DataType.JSON, nullable=True),
    FieldSchema(name="essay", data_type=DataType.TEXT),
    FieldSchema(name="moment", data_type=DataType.TIMESTAMPTZ, nullable=True),
    FieldSchema(name="place", data_type=DataType.GEOMETRY, nullable=True),
    FieldSchema(
        name="tale",
        data_type=DataType.VARCHAR,
        nullable=True,
        params={"max_length": "100", "enable_analyzer": "true", "enable_match": "true"},
    ),
    FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "2"}),
)
_SHARED = {"max_capacity": "10"}
CLIPS = StructFieldSchema(
    name="clips",
    nullable=True,
    fields=(
        *(
            FieldSchema(
                name=f"clips[{name}]", data_type=DataType.ARRAY, element_type=kind, nullable=True,
                params=_SHARED | params,
            )
            for name, kind, params in (
                ("n", DataType.INT64, {}), ("m", DataType.INT8, {}), ("word", DataType.VARCHAR, {"max_length": "9"}),
                ("on", DataType.BOOL, {}),
            )
        ),
        FieldSchema(
            name="clips[v]", data_type=DataType._ARRAY_OF_VECTOR, element_type=DataType.FLOAT_VECTOR, nullable=True,
            params=_SHARED | {"dim": "2"},
        ),
    ),
)  # fmt: skip
STRICT = CollectionSchema(name="strict", fields=FIELDS)
DYNAMIC = CollectionSchema(
    name="dynamic",
    struct_fields=(CLIPS,),
    fields=(*FIELDS, *CLIPS.fields, FieldSchema(name=META_FIELD, data_type=DataType.JSON, is_dynamic=True)),
    enable_dynamic_field=True,
)
_EMPTY: dict[DataType, Any] = {
    DataType.VARCHAR: "", DataType.TEXT: "", DataType.GEOMETRY: "POINT(0 0)", DataType.ARRAY: [], DataType.BOOL: False,
    DataType.FLOAT_VECTOR: [0.0, 0.0],
}  # fmt: skip


def batch_of(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Rows as a batch of DYNAMIC's fields: an unknown key goes to `$meta`, a missing one is null (or empty)."""
    names = {*(field.name for field in FIELDS), CLIPS.name}
    columns: dict[str, pa.Array] = {}
    for field in FIELDS:
        default = None if field.nullable else _EMPTY.get(field.data_type, 0)
        values = [row.get(field.name, default) for row in rows]
        if field.data_type is DataType.JSON:
            values = [orjson.dumps(v) if field.name in row else None for v, row in zip(values, rows, strict=True)]
        columns[field.name] = pa.array(values, arrow_type(field))
    for part in CLIPS.fields:
        lists = [row.get(CLIPS.name) for row in rows]
        values = [items and [item.get(part.sub_name, [0.0, 0.0]) for item in items] for items in lists]
        columns[part.name] = pa.array(values, arrow_type(part))
    meta = [orjson.dumps({k: v for k, v in row.items() if k not in names}) for row in rows]
    return pa.record_batch({**columns, META_FIELD: pa.array(meta, pa.binary())})


def columns_of(rows: Sequence[dict[str, Any]]) -> ArrowColumns:
    return ArrowColumns(batch_of(rows), DYNAMIC)


def kept(text: str, rows: Sequence[dict[str, Any]], /, **params: Any) -> list[int]:
    """The positions of the rows a filter keeps."""
    mask = compile_filter(text, DYNAMIC, params).evaluate(columns_of(rows))
    return [int(i) for i in mask.nonzero()[0]]
