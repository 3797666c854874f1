"""What rows may be written: a batch as it came in, against the collection's schema, to the batch as it is kept."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import UTC, tzinfo
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter
from redkite.functions.base import FieldFunction
from redkite.functions.registry import Functions
from redkite.model.batch import EMPTY_OBJECT, absent_column, arrow_type, batch_field, data_type_of, default_scalar
from redkite.model.limits import LIMITS, Limits
from redkite.model.one_row import RowLayout, Unusual
from redkite.model.rules.property_rules import allows_insert_auto_id, insertable_outputs
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.proxy.rules.column_rules import check_values, fit, is_dynamic
from redkite.proxy.rules.struct_columns import check_element_type, check_structs

_NO_FUNCTIONS: Mapping[str, FieldFunction] = {}


class RowRules:
    """The rules of one version of a schema, worked out once. Safe from any thread."""

    def __init__(
        self, schema: CollectionSchema, limits: Limits = LIMITS, functions: Mapping[str, FieldFunction] = _NO_FUNCTIONS
    ) -> None:
        """`functions`: those of the schema, by the field that each fills."""
        self.schema = schema
        self.limits = limits
        self.functions = functions
        self._primary = schema.primary
        self._names = frozenset(field.name for field in schema.fields)
        self._static_names = frozenset(
            field.struct_name or field.name for field in schema.fields if not field.is_dynamic
        )
        self._types = {field.name: arrow_type(field) for field in schema.fields}
        self._arrow = pa.schema([batch_field(field) for field in schema.fields])
        self._allows_auto_id = allows_insert_auto_id(schema.properties)
        self._outputs = insertable_outputs(schema)
        self._layouts: dict[int, RowLayout | None] = {}

    def layout(self, collection_id: int) -> RowLayout | None:
        """How single rows are taken apart, found good by the same rules; None where they are not."""
        if collection_id not in self._layouts:
            self._layouts[collection_id] = RowLayout.of(self.schema, collection_id, self._dynamic)
        return self._layouts[collection_id]

    def _dynamic(self, rest: dict[str, Any]) -> bytes:
        text = rest.get(META_FIELD)
        if len(rest) > 1 or type(text) is not bytes or len(text) > self.limits.max_json_bytes:
            raise Unusual
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise Unusual from None
        if not is_dynamic(document, self._static_names):
            raise Unusual
        return text

    def needs_ids(self, rows: pa.RecordBatch, upsert: bool) -> bool:
        """Whether `check` wants generated primary keys."""
        return not upsert and self._primary.auto_id and self._primary.name not in rows.schema.names

    def check(
        self, rows: pa.RecordBatch, upsert: bool, auto_ids: pa.Array | None = None, zone: tzinfo = UTC
    ) -> pa.RecordBatch:
        """The rows with exactly one column per schema field, in schema order, of the exact Arrow types.

        `rows` has one column per given field. `auto_ids` are int64 keys for the rows where `needs_ids` says so; a
        VARCHAR key takes them as decimal text. Defaults and nulls are filled in, an absent `$meta` is an empty object
        in each row. Times without an offset are those of `zone`. Values are not copied where their type is already
        right. Raises InvalidParameter.
        """
        if rows.num_rows == 0:
            raise InvalidParameter("num_rows should be greater than 0", expected="invalid num_rows", actual=0)
        given = self._given(rows)
        self._check_primary(given, upsert)
        if self.needs_ids(rows, upsert):
            if auto_ids is None or len(auto_ids) != rows.num_rows:
                raise ValueError("rows of a collection with automatic keys need one generated key each")
            given[self._primary.name] = (self._primary.data_type, auto_ids.cast(self._types[self._primary.name]))
        columns = {
            field.name: self._column(field, given, rows.num_rows, zone)
            for field in self.schema.fields
            if field.name not in self.functions or field.name in given
        }
        check_structs(self.schema, columns)
        if upsert:
            self._check_unique(columns[self._primary.name])
        for name, function in self.functions.items():
            if name not in columns:
                columns[name] = function.fill([columns[key] for key in function.inputs])
        return pa.RecordBatch.from_arrays([columns[name] for name in self._arrow.names], schema=self._arrow)

    def check_part(self, rows: pa.RecordBatch, zone: tzinfo = UTC) -> pa.RecordBatch:
        """The rows of a partial upsert: the given columns only, checked as `check` does, the primary key among them;
        and what functions make of these columns alone."""
        if rows.num_rows == 0:
            raise InvalidParameter("num_rows should be greater than 0", expected="invalid num_rows", actual=0)
        given = self._given(rows)
        self._check_primary(given, upsert=True)
        columns = {
            field.name: self._column(field, given, rows.num_rows, zone)
            for field in self.schema.fields
            if field.name in given
        }
        check_structs(self.schema, columns)
        self._check_unique(columns[self._primary.name])
        for name, function in self.functions.items():
            if name not in columns and columns.keys() >= set(function.inputs):
                columns[name] = function.fill([columns[key] for key in function.inputs])
        fields = [batch_field(field) for field in self.schema.fields if field.name in columns]
        return pa.RecordBatch.from_arrays([columns[field.name] for field in fields], schema=pa.schema(fields))

    def check_merged(self, rows: pa.RecordBatch, given: Container[str]) -> pa.RecordBatch:
        """Whole rows of a partial upsert, of which only the `given` fields are new. The others are as they are stored,
        and stay so whatever the schema has come to refuse since: longer texts, dynamic keys that are fields now."""
        columns = {}
        for field in self.schema.fields:
            column = rows.column(field.name)
            if field.name not in self.functions:
                if column.null_count:
                    column = self._without_nulls(field, column, self._types[field.name])
                if field.name in given:
                    check_values(field, column, frozenset(), self.limits)
            columns[field.name] = column
        for name, function in self.functions.items():
            changed = any(key in given for key in function.inputs)
            if columns[name].null_count or (changed and name not in given):
                columns[name] = function.fill([columns[key] for key in function.inputs])
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self._arrow)

    def absent(self, field: FieldSchema, rows: int) -> pa.Array:
        """The column of a field that no row was given a value for; raises when it needs one. Null where a function is
        to fill it."""
        return pa.nulls(rows, self._types[field.name]) if field.name in self.functions else self._absent(field, rows)

    def _given(self, rows: pa.RecordBatch) -> dict[str, tuple[DataType, pa.Array]]:
        """The columns by field name, each with the type it says it has."""
        given: dict[str, tuple[DataType, pa.Array]] = {}
        for field, column in zip(rows.schema, rows.columns, strict=True):
            name = field.name
            if name in given:
                raise InvalidParameter(f"duplicated field name {name} found")
            if name not in self._names:
                claimed = data_type_of(field).wire_name
                raise InvalidParameter(
                    f"fieldName {name} not exist in collection schema, fieldType {claimed}, fieldId 0"
                )
            if name in self.functions and name not in self._outputs:
                raise InvalidParameter(f"Attempt to insert an unexpected function output field `{name}` to collection")
            kind = self._claimed(field)
            given[name] = (kind, column)
            if kind is DataType._ARRAY_OF_VECTOR and (known := self.schema.field(name)) is not None:
                check_element_type(known, field)
        return given

    def _claimed(self, column: pa.Field) -> DataType:
        """The type a column says it has. One that only shows its Arrow type is what the schema wants, if that fits."""
        if pa.types.is_null(column.type):
            return DataType.NONE
        known = self.schema.field(column.name)
        if not column.metadata and known is not None and column.type == self._types[column.name]:
            return known.data_type
        return data_type_of(column)

    def _check_primary(self, given: dict[str, tuple[DataType, pa.Array]], upsert: bool) -> None:
        primary = self._primary
        if upsert:
            if primary.name not in given:
                raise InvalidParameter(f"must assign pk when upsert, primary field: {primary.name}")
        elif primary.auto_id and primary.name in given and not self._allows_auto_id:
            raise InvalidParameter(
                "can not assign primary field data when auto id enabled and allow_insert_auto_id is false "
                f"{primary.name}"
            )

    def _column(
        self, field: FieldSchema, given: dict[str, tuple[DataType, pa.Array]], rows: int, zone: tzinfo
    ) -> pa.Array:
        wanted = self._types[field.name]
        if field.name not in given:
            return self._absent(field, rows)
        kind, column = given[field.name]
        if kind is DataType.NONE:
            column = pa.nulls(rows, wanted)
        elif kind is not field.data_type or column.type != wanted or kind is DataType.GEOMETRY:
            column = fit(field, kind, column, wanted, zone)
        if column.null_count:
            column = self._without_nulls(field, column, wanted)
        check_values(field, column, self._static_names, self.limits)
        return column

    @staticmethod
    def _absent(field: FieldSchema, rows: int) -> pa.Array:
        if field.is_dynamic or field.nullable or field.default_value is not None:
            return absent_column(field, rows)
        raise InvalidParameter(f"fieldSchema({field.name}) has no corresponding fieldData pass in")

    @staticmethod
    def _without_nulls(field: FieldSchema, column: pa.Array, wanted: pa.DataType) -> pa.Array:
        """The default in place of each null; a null may only stay in a nullable field."""
        if field.is_dynamic:
            return pc.fill_null(column, pa.scalar(EMPTY_OBJECT, wanted))
        if field.default_value is not None:
            return pc.fill_null(column, default_scalar(field))
        if field.nullable:
            return column
        row = pc.index(column.is_null(), True).as_py()
        raise InvalidParameter(f"the field({field.name}) does not support null, but row {row} is null")

    @staticmethod
    def _check_unique(keys: pa.Array) -> None:
        if len(pc.unique(keys)) != len(keys):
            raise InvalidParameter("duplicate primary keys are not allowed in the same batch")


_recent: dict[int, RowRules] = {}
_MAX_RECENT = 256


def rules_of(schema: CollectionSchema, limits: Limits = LIMITS, functions: Functions | None = None) -> RowRules:
    """The rules of a schema, kept while the schema is in use: the same struct gives the same rules."""
    ready = _NO_FUNCTIONS if functions is None or not schema.functions else functions.of(schema)
    found = _recent.get(id(schema))
    if found is None or found.schema is not schema or found.limits is not limits or found.functions is not ready:
        if len(_recent) >= _MAX_RECENT:
            _recent.clear()
        found = _recent[id(schema)] = RowRules(schema, limits, ready)
    return found


def check_rows(
    schema: CollectionSchema,
    rows: pa.RecordBatch,
    upsert: bool,
    auto_ids: pa.Array | None = None,
    limits: Limits = LIMITS,
) -> pa.RecordBatch:
    """`RowRules.check` of one batch by the rules of its schema."""
    return rules_of(schema, limits).check(rows, upsert, auto_ids)
