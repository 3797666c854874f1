"""Rows as users hold them -> one Arrow record batch per write.

| given | read as |
|---|---|
| a dict of values, or a list of dicts | rows |
| a dict of columns (lists, numpy or Arrow arrays) | columns by name |
| a list of columns | columns in schema order, leaving out what the server makes (automatic keys, function outputs) |
| Arrow `RecordBatch` or `Table`, pandas `DataFrame` | columns by name |

Keys that the schema does not have go to `$meta` as JSON where the collection has a dynamic field, and are refused
where it has not. A field absent from every row is left out of the batch: its default, or null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.client.columns import column, dumped
from redkite.client.structs import struct_columns
from redkite.errors import DataNotMatchException, InvalidParameter, ParamError
from redkite.model.batch import arrow_field, arrow_type, batch_field, data_type_of
from redkite.model.limits import LIMITS
from redkite.model.one_row import RowLayout, Unusual
from redkite.model.results import CollectionInfo
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.structs import split_name
from redkite.model.types import DataType, FunctionType

Columns = dict[str, Any]
_EITHER = (DataType.ARRAY, DataType.JSON, DataType._ARRAY_OF_STRUCT)
"""Of these, a list may be one value or a column of them."""
_META = pa.field(META_FIELD, pa.binary())


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How rows of one version of a collection's schema become columns."""

    schema: CollectionSchema
    collection: str
    """The real name, also when the plan was asked for by alias."""
    timestamp: int
    """The schema's version: `update_timestamp`."""
    fields: dict[str, FieldSchema]
    columns: dict[str, pa.Field]
    """The Arrow field of each, with its Milvus type where Arrow's alone does not tell it."""
    layout: RowLayout | None
    """How single rows are taken apart, where batches are not needed for it."""

    @classmethod
    def of(cls, info: CollectionInfo) -> RowPlan:
        schema = info.schema
        return cls(
            schema=schema,
            collection=schema.name,
            timestamp=info.update_timestamp,
            fields={field.name: field for field in (*schema.user_fields, *map(_as_field, schema.struct_fields))},
            columns={field.name: _arrow_field(field) for field in schema.with_parts.fields if not field.is_dynamic},
            layout=RowLayout.of(schema, info.collection_id, _dynamic),
        )

    @property
    def primary(self) -> FieldSchema:
        return self.schema.primary

    # -- the two doors ------------------------------------------------------------------------
    def batch(self, data: Any, *, upsert: bool = False, partial: bool = False) -> pa.RecordBatch:
        """Rows of any accepted form, checked against the schema.

        Upserts need the primary key also where it is automatic; partial ones need nothing else.
        """
        columns, count = self._columns(data)
        given = set(columns)
        self._refuse_unexpected(given)
        self._require(given, upsert=upsert, partial=partial)
        arrays: dict[str, pa.Array] = {}
        for name, values in columns.items():
            struct = self.schema.struct(name)
            if struct is None:
                arrays[name] = self._column(name, values)
            else:
                arrays |= struct_columns(struct, values)
        for name, array in arrays.items():
            if len(array) != count:
                raise ParamError(f"Arrays must all be same length. Field `{name}` has {len(array)} rows, not {count}.")
        fields = [self._arrow_field(name, array.type) for name, array in arrays.items()]
        return pa.RecordBatch.from_arrays(list(arrays.values()), schema=pa.schema(fields))

    def _arrow_field(self, name: str, kind: pa.DataType) -> pa.Field:
        known = self.columns.get(name, _META)
        return known if known.type == kind else arrow_field(name, self.fields[name].data_type, kind)

    def filter_of(self, ids: Sequence[Any]) -> str:
        """The filter that names rows by primary key."""
        primary = self.primary
        if primary.data_type is DataType.VARCHAR:
            keys = ", ".join(quoted(str(key)) for key in ids)
        else:
            for key in ids:
                if isinstance(key, bool) or not isinstance(key, int | np.integer):
                    raise ParamError(f"wrong type of argument ids, expect list of int, got '{type(key).__name__}'")
            keys = ", ".join(map(str, ids))
        return f"{primary.name} in [{keys}]"

    # -- what was given -----------------------------------------------------------------------
    def _columns(self, data: Any) -> tuple[Columns, int]:
        """The data by column, and the number of rows."""
        if isinstance(data, pa.RecordBatch | pa.Table):
            return self._named({name: data.column(name) for name in data.schema.names}, data.num_rows)
        if isinstance(data, Mapping):
            if self._holds_columns(data):
                return self._named(dict(data), _length(data))
            return self._from_rows([data])
        if hasattr(data, "columns") and hasattr(data, "to_numpy"):
            return self._named({str(name): data[name] for name in data.columns}, len(data))
        if isinstance(data, list | tuple):
            kinds = set(map(type, data))
            if all(issubclass(kind, Mapping) for kind in kinds):
                return self._from_rows(data)
            if not any(issubclass(kind, Mapping) for kind in kinds):
                return self._positional(data)
        raise wrong_data(data)

    def _holds_columns(self, data: Mapping[str, Any]) -> bool:
        """Whether a dict holds columns rather than one row: the first plain field tells, else a vector field."""
        for name, value in data.items():
            field = self.fields.get(name)
            if field is None or field.data_type in _EITHER:
                continue
            if isinstance(value, pa.Array | pa.ChunkedArray):
                return True
            if field.data_type.is_vector:
                told = _tells_column(field, value)
                if told is None:
                    continue
                return told
            return isinstance(value, list | tuple | np.ndarray) or hasattr(value, "to_numpy")
        return False

    def _positional(self, data: Sequence[Any]) -> tuple[Columns, int]:
        names = [f.name for f in self.fields.values() if not f.is_function_output and not f.auto_id]
        if len(data) == len(names) + 1 and self.primary.auto_id:
            names = [f.name for f in self.fields.values() if not f.is_function_output]
        if len(data) != len(names):
            raise DataNotMatchException(
                f"The data fields number is not match with schema. Expected {len(names)} columns "
                f"({', '.join(names)}), got {len(data)}."
            )
        columns = dict(zip(names, data, strict=True))
        return columns, _length(columns)

    def _named(self, columns: Columns, count: int) -> tuple[Columns, int]:
        """Columns by name; those without a field become the rows' `$meta`."""
        extras = [name for name in columns if name not in self.fields and name != META_FIELD]
        if extras and self.schema.enable_dynamic_field:
            if META_FIELD in columns:
                raise ParamError(f"give either a column {META_FIELD} or columns of dynamic keys, not both: {extras}")
            loose = [_plain_list(columns.pop(name)) for name in extras]
            for name, values in zip(extras, loose, strict=True):
                if len(values) != count:
                    raise ParamError(f"Arrays must all be same length. `{name}` has {len(values)} rows, not {count}.")
            rows = (dict(zip(extras, row, strict=True)) for row in zip(*loose, strict=True))
            columns[META_FIELD] = pa.array([dumped(META_FIELD, row) for row in rows], pa.binary())
        return columns, count

    def _from_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Columns, int]:
        """Dicts by column. Dicts of one shape take the fast way: one C loop for each field."""
        first = rows[0]
        known = [name for name in self.fields if name in first]
        extras = [name for name in first if name not in self.fields]
        alike = set(map(len, rows)) == {len(first)}
        if alike:
            try:
                columns: Columns = {name: list(map(itemgetter(name), rows)) for name in known}
                if extras:
                    columns[META_FIELD] = self._meta([{name: row[name] for name in extras} for row in rows])
            except KeyError:
                alike = False
        return (columns, len(rows)) if alike else self._from_uneven_rows(rows)

    def _from_uneven_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Columns, int]:
        seen = dict.fromkeys(name for row in rows for name in row)
        columns: Columns = {}
        for name in self.fields:
            if name not in seen:
                continue
            values = [row.get(name) for row in rows]
            if not self._optional(self.fields[name]) and any(name not in row for row in rows):
                raise missed(name)
            columns[name] = values
        if any(name not in self.fields for name in seen):
            fields = self.fields
            columns[META_FIELD] = self._meta([{k: v for k, v in row.items() if k not in fields} for row in rows])
        return columns, len(rows)

    def _meta(self, objects: list[dict[str, Any]]) -> pa.Array:
        if not self.schema.enable_dynamic_field:
            raise unexpected(next(key for item in objects for key in item))
        for name in {key for item in objects for key in item if key.endswith("]")} if self.schema.struct_fields else ():
            struct = self.schema.struct(split_name(name)[0])
            if struct is not None:
                raise DataNotMatchException(
                    f"Struct sub-field `{name}` cannot be used as a top-level field; write the whole struct field "
                    f"`{struct.name}` instead"
                )
        if any(META_FIELD in item for item in objects):
            raise InvalidParameter(f"cannot set json key to: {META_FIELD}")
        return pa.array([dumped(META_FIELD, item) for item in objects], pa.binary())

    # -- against the schema -------------------------------------------------------------------
    def _column(self, name: str, values: Any) -> pa.Array:
        if name == META_FIELD:
            return _meta_column(values)
        return column(self.fields[name], values)

    def _refuse_unexpected(self, given: set[str]) -> None:
        for name in given:
            field = self.fields.get(name)
            if field is None and (name != META_FIELD or not self.schema.enable_dynamic_field):
                raise unexpected(name)
            if field is not None and field.is_function_output and not self._may_bring(name):
                raise DataNotMatchException(
                    f"Attempt to insert an unexpected function output field `{name}` to collection"
                )

    def _require(self, given: set[str], *, upsert: bool, partial: bool) -> None:
        for name, field in self.fields.items():
            if name in given:
                continue
            if field.is_primary:
                needed = upsert or not field.auto_id
            else:
                needed = not partial and not self._optional(field)
            if needed:
                raise missed(name)

    def _may_bring(self, name: str) -> bool:
        """Whether rows may ever bring what a function fills. Whether they may now, the server knows."""
        function = next((f for f in self.schema.functions if name in f.output_field_names), None)
        return function is not None and function.type is not FunctionType.BM25

    @staticmethod
    def _optional(field: FieldSchema) -> bool:
        return field.nullable or field.default_value is not None or field.is_function_output


def _arrow_field(field: FieldSchema) -> pa.Field:
    plain = pa.field(field.name, arrow_type(field))
    tells_all = data_type_of(plain) is field.data_type and field.data_type is not DataType._ARRAY_OF_VECTOR
    return plain if tells_all else batch_field(field)


def _as_field(struct: StructFieldSchema) -> FieldSchema:
    """An array of structs as the one field that users see."""
    return FieldSchema(name=struct.name, data_type=DataType._ARRAY_OF_STRUCT, nullable=struct.nullable)


def missed(name: str) -> DataNotMatchException:
    return DataNotMatchException(
        f"Insert missed an field `{name}` to collection without set nullable==true or set default_value"
    )


def unexpected(name: str) -> DataNotMatchException:
    return DataNotMatchException(
        f"Attempt to insert an unexpected field `{name}` to collection without enabling dynamic field"
    )


def wrong_data(data: object) -> TypeError:
    return TypeError(f"wrong type of argument 'data',expected 'Dict' or list of 'Dict', got '{type(data).__name__}'")


def is_empty(data: Any) -> bool:
    """Whether there is nothing to write."""
    if isinstance(data, pa.RecordBatch | pa.Table):
        return bool(data.num_rows == 0)
    if not hasattr(data, "__len__") or isinstance(data, str | bytes):
        raise wrong_data(data)
    return len(data) == 0


_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quoted(text: str) -> str:
    """A text as a literal of the filter language."""
    return f'"{text.translate(_ESCAPED)}"'


def _tells_column(field: FieldSchema, value: Any) -> bool | None:
    """Whether a value for a vector field is a column of vectors or one of them; None when it could be either."""
    if isinstance(value, np.ndarray):
        return value.ndim > 1
    if hasattr(value, "tocsr"):
        return None if value.ndim == 2 and value.shape[0] == 1 else bool(value.ndim == 2)
    if not isinstance(value, list) or not value:
        return None if value is None or isinstance(value, list) else False
    first = value[0]
    if field.data_type is DataType.SPARSE_FLOAT_VECTOR:
        return True if isinstance(first, Mapping | bytes) or first is None else None
    if first is None or isinstance(first, list | tuple | np.ndarray):
        return True
    if isinstance(first, bytes | bytearray):  # a row may have its bytes in a list, as queries show them
        return True if len(value) > 1 else None
    return False


def _length(columns: Mapping[str, Any]) -> int:
    first: Any = next(iter(columns.values()), ())
    rows = first.shape[0] if hasattr(first, "tocsr") else len(first)
    return int(rows)


def _plain_list(values: Any) -> list[Any]:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        try:
            return list(values.to_pylist())
        except UnicodeDecodeError as error:
            raise ParamError(f"a text of a column of a dynamic key is not valid UTF-8: {error.reason}") from error
    if isinstance(values, np.ndarray) or hasattr(values, "tolist"):
        return list(values.tolist())
    if not isinstance(values, list | tuple):
        raise ParamError(f"a column of a dynamic key must be a list or an array, got {type(values).__name__}")
    return list(values)


def _dynamic(rest: dict[str, Any]) -> bytes:
    """`$meta` of one row, if there is nothing to be said about it."""
    try:
        text = dumped(META_FIELD, rest)
    except DataNotMatchException:
        raise Unusual from None
    if META_FIELD in rest or len(text) > LIMITS.max_json_bytes:
        raise Unusual
    return text


def _meta_column(values: Any) -> pa.Array:
    """`$meta` as given by name: JSON objects as bytes, text or dicts, one per row."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array) and not isinstance(values, pa.ChunkedArray):
        return values if values.type == pa.binary() else values.cast(pa.binary())
    objects = _plain_list(values)
    return pa.array([v if isinstance(v, bytes) else dumped(META_FIELD, v) for v in objects], pa.binary())
