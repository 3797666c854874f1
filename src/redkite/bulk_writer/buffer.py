"""Rows that wait to be written, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.client.rows import RowPlan
from redkite.client.schema import CollectionSchema
from redkite.errors import DataNotMatchException, ParamError
from redkite.model.batch import EMPTY_OBJECT, absent_column, batch_field, default_scalar, known_field
from redkite.model.limits import LIMITS
from redkite.model.moments import BadMoment, parse_moments, show_moments
from redkite.model.results import CollectionInfo
from redkite.model.schema import META_FIELD, FieldSchema
from redkite.model.schema import CollectionSchema as Model
from redkite.model.types import ConsistencyLevel, DataType
from redkite.proxy.rules.column_rules import check_values
from redkite.proxy.rules.struct_columns import check_structs

_BITS = (0, 1)
_TOGETHER = 1_024
"""Single rows are put together when there are so many."""


class Buffer:
    """Rows of one schema, checked as they come. Not safe from several threads."""

    def __init__(self, schema: CollectionSchema) -> None:
        if not isinstance(schema, CollectionSchema):
            raise ParamError(f"`schema` is a redkite.CollectionSchema, not {type(schema).__name__}")
        if schema.primary_field is None:
            raise ParamError("the schema has no primary field")
        self._model = schema.to_model("rows").with_parts
        self._plan = RowPlan.of(_info(self._model))
        self._fields = [f for f in self._model.fields if not f.is_function_output and not f.is_dynamic]
        self._kept = [f for f in self._fields if not (f.is_primary and f.auto_id)]
        self._binary = [f for f in self._fields if f.data_type is DataType.BINARY_VECTOR]
        self._single: list[pa.RecordBatch] = []
        self._batches: list[pa.RecordBatch] = []
        self.rows = 0
        self.bytes = 0

    @property
    def filled(self) -> list[str]:
        """Fields with a default."""
        return [field.name for field in self._kept if field.default_value is not None]

    def put_back(self, rows: list[pa.RecordBatch]) -> None:
        """Rows that were taken and could not be written."""
        self._batches = [*rows, *self._batches]
        self.rows += sum(batch.num_rows for batch in rows)
        self.bytes += sum(batch.nbytes for batch in rows)

    def append(self, data: Any) -> int:
        """Take rows in any form that `insert` takes; how many they were. Raises DataNotMatchException and its kin, and
        then none of them is taken."""
        if isinstance(data, Mapping):
            data = self._plain_row(data)
        rows = self._checked(self._plan.batch(data))
        if rows.num_rows == 1:
            self._single.append(rows)
            if len(self._single) >= _TOGETHER:
                self._gather()
        elif rows.num_rows:
            self._gather()
            self._batches.append(rows)
        self.rows += rows.num_rows
        self.bytes += rows.nbytes
        return int(rows.num_rows)

    def _plain_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row in the forms that only bulk writers take, as one that is inserted."""
        if self._model.enable_dynamic_field and META_FIELD in row:
            row = _merged(dict(row))
        for field in self._binary:
            bits = row.get(field.name)
            if isinstance(bits, list) and len(bits) == field.dim and all(bit in _BITS for bit in bits):
                row = {**row, field.name: np.packbits(np.array(bits, np.uint8)).tobytes()}
        return row

    def _gather(self) -> None:
        if self._single:
            table = pa.Table.from_batches(self._single).combine_chunks()
            self._batches += table.to_batches()
            self._single = []

    def take(self) -> list[pa.RecordBatch]:
        """All rows, which are not here any more."""
        self._gather()
        taken, self._batches = self._batches, []
        self.rows = self.bytes = 0
        return taken

    def _checked(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Every column of the schema, whole, of the types that are stored."""
        primary = self._model.primary
        if primary.auto_id and primary.name in rows.schema.names:
            raise DataNotMatchException(f"The primary key field '{primary.name}' is auto-id, no need to provide")
        names = frozenset(f.struct_name or f.name for f in self._fields)
        columns: dict[str, pa.Array] = {}
        for field in self._kept:
            column = columns[field.name] = self._column(field, rows)
            if not (field.data_type is DataType.TIMESTAMPTZ and pa.types.is_string(column.type)):
                check_values(field, column, names, LIMITS)
        check_structs(self._model, columns)
        fields = [known_field(field, columns[field.name].type) for field in self._kept]
        dynamic = self._model.dynamic_field
        if self._model.enable_dynamic_field:
            meta = dynamic or FieldSchema(name=META_FIELD, data_type=DataType.JSON, is_dynamic=True)
            column = _meta(rows, meta)
            check_values(meta, column, names, LIMITS)
            columns[META_FIELD] = column
            fields.append(batch_field(meta))
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))

    @staticmethod
    def _column(field: FieldSchema, rows: pa.RecordBatch) -> pa.Array:
        if field.name not in rows.schema.names:
            column = absent_column(field, rows.num_rows)
        else:
            column = rows.column(field.name)
        if field.data_type is DataType.TIMESTAMPTZ and pa.types.is_integer(column.type):
            column = show_moments(column)  # all batches have texts
        if field.data_type is DataType.TIMESTAMPTZ and pa.types.is_string(column.type):
            try:
                parse_moments(column)  # kept as a text: the time zone of those that name none is the collection's
            except BadMoment as error:
                raise DataNotMatchException(str(error)) from None
            return column if field.default_value is None else column.fill_null(str(field.default_value))
        if column.null_count and field.default_value is not None:
            column = pc.fill_null(column, default_scalar(field))
        return column


def _meta(rows: pa.RecordBatch, field: FieldSchema) -> pa.Array:
    if META_FIELD not in rows.schema.names:
        return absent_column(field, rows.num_rows)
    return rows.column(META_FIELD).cast(pa.binary()).fill_null(EMPTY_OBJECT)


def _merged(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose dynamic keys came under `$meta`, with them beside the others."""
    given = row.pop(META_FIELD)
    if isinstance(given, list | pa.Array | pa.ChunkedArray):
        return {**row, META_FIELD: given}
    if not isinstance(given, Mapping):
        raise DataNotMatchException(f"Dynamic field '{META_FIELD}' value should be JSON format")
    return {**given, **row}


def _info(model: Model) -> CollectionInfo:
    hidden = tuple(f for f in model.fields if not f.is_dynamic and not f.struct_name)
    return CollectionInfo(
        schema=msgspec.structs.replace(model, fields=hidden),
        collection_id=0,
        database="",
        shards=1,
        partitions=1,
        aliases=(),
        consistency_level=ConsistencyLevel.Bounded,
        created_timestamp=0,
        update_timestamp=0,
    )
