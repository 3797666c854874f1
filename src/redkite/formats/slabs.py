"""Some rows of a file as it has them, and as the batch that a collection takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from redkite.formats import cells, native
from redkite.formats.cells import Column, Texts
from redkite.formats.faults import BadCell, BadColumn, BadFile
from redkite.model.batch import arrow_type, batch_field
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import DataType

_OBJECT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class Loose(Protocol):
    """One column of a file, not read by any schema yet."""

    def __len__(self) -> int: ...

    def field(self, field: FieldSchema) -> Column:
        """As the column of a field. Raises BadColumn and BadCell, as the others do."""
        ...

    def struct(self, struct: StructFieldSchema) -> list[Column]:
        """As the columns of an array of structs."""
        ...

    def json(self) -> Texts:
        """Each value as JSON; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class JsonCells:
    """Values that are JSON."""

    texts: Texts

    def __len__(self) -> int:
        return len(self.texts)

    def field(self, field: FieldSchema) -> Column:
        return cells.json_column(field, self.texts)

    def struct(self, struct: StructFieldSchema) -> list[Column]:
        return cells.struct_columns(struct, self.texts)

    def json(self) -> Texts:
        return self.texts


@dataclass(frozen=True, slots=True)
class ArrowCells:
    """Values in an Arrow column."""

    values: pa.Array

    def __len__(self) -> int:
        return len(self.values)

    def field(self, field: FieldSchema) -> Column:
        return native.native_column(field, self.values)

    def struct(self, struct: StructFieldSchema) -> list[Column]:
        return native.struct_columns(struct, self.values)

    def json(self) -> Texts:
        rows = native.plain(self.values).to_pylist()
        try:
            return [None if row is None else msgspec.json.encode(row) for row in rows]
        except (TypeError, ValueError) as error:
            raise BadColumn(f"its values are no JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class TextCells:
    """Cells of a CSV file. Where a field takes nulls, `nullkey` is one."""

    texts: pa.Array
    nullkey: str

    def __len__(self) -> int:
        return len(self.texts)

    def field(self, field: FieldSchema) -> Column:
        texts = self.texts
        if field.nullable or field.default_value is not None or field.is_dynamic:
            texts = pc.if_else(pc.equal(texts, self.nullkey), pa.scalar(None, pa.string()), texts)
        kind = field.data_type
        if kind.is_string or kind is DataType.GEOMETRY:
            return batch_field(field), texts
        if kind is DataType.TIMESTAMPTZ:
            return cells.moments_column(field, texts.to_pylist())
        if kind is DataType.BOOL or kind.is_number:
            return batch_field(field), _numbers(field, texts)
        if kind is DataType.JSON:
            return batch_field(field), texts.cast(pa.binary())
        return cells.json_column(field, texts.cast(pa.binary()).to_pylist())

    def struct(self, struct: StructFieldSchema) -> list[Column]:
        texts = self.texts
        if struct.nullable:
            texts = pc.if_else(pc.equal(texts, self.nullkey), pa.scalar(None, pa.string()), texts)
        return cells.struct_columns(struct, texts.cast(pa.binary()).to_pylist())

    def json(self) -> Texts:
        return [None if text == self.nullkey else msgspec.json.encode(text) for text in self.texts.to_pylist()]


def _numbers(field: FieldSchema, texts: pa.Array) -> pa.Array:
    """Texts as numbers or truth values."""
    wanted = arrow_type(field)
    try:
        return texts.cast(wanted)
    except pa.ArrowInvalid:
        for row, text in enumerate(texts):
            try:
                text.cast(wanted)
            except pa.ArrowInvalid:
                raise BadCell(row, f"{str(text)[:80]!r} is no {field.data_type.wire_name}") from None
        raise


class Slab(NamedTuple):
    """Rows of a file that stand together."""

    first: int
    """The number of the first of them in the file."""
    rows: int
    columns: Mapping[str, Loose]


class Fault(Exception):
    """A value or column that a schema does not take. `row` counts within the slab; None: all of them."""

    def __init__(self, column: str, row: int | None, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.row = row
        self.reason = reason


def bound(schema: CollectionSchema, slab: Slab) -> pa.RecordBatch:
    """The rows as a batch of columns named like the fields they are of, those of structs one by one. Raises Fault."""
    known = {field.name: field for field in schema.user_fields}
    columns: list[Column] = []
    extras: dict[str, Loose] = {}
    for name, column in slab.columns.items():
        struct = schema.struct(name)
        try:
            if name in known:
                columns.append(column.field(known[name]))
            elif struct is not None:
                columns += column.struct(struct)
            else:
                extras[name] = column
        except BadCell as error:
            raise Fault(name, error.row, error.reason) from None
        except BadColumn as error:
            raise Fault(name, None, str(error)) from None
    _need(schema, slab.columns)
    if extras:
        columns.append(_dynamic(schema, extras, slab.rows))
    return pa.RecordBatch.from_arrays([a for _, a in columns], schema=pa.schema([f for f, _ in columns]))


def _need(schema: CollectionSchema, given: Mapping[str, Loose]) -> None:
    """Raise for a field that has to be in every file and is not."""
    for field in schema.user_fields:
        optional = field.nullable or field.default_value is not None or field.is_function_output or field.auto_id
        if not optional and field.name not in given:
            raise Fault(field.name, None, f"the file has no column for field '{field.name}'")
    for struct in schema.struct_fields:
        if not struct.nullable and struct.name not in given:
            raise Fault(struct.name, None, f"the file has no column for field '{struct.name}'")


def _dynamic(schema: CollectionSchema, extras: Mapping[str, Loose], rows: int) -> Column:
    """What is of no field, as the dynamic one: an object for each row."""
    field = schema.dynamic_field
    if field is None:
        name = next(iter(extras))
        raise Fault(name, None, f"the field '{name}' is not defined in schema, and there is no dynamic field")
    found: list[dict[str, Any]] = [{} for _ in range(rows)]
    for name, column in extras.items():
        try:
            texts = _meta_texts(column, field) if name == META_FIELD else column.json()
        except BadCell as error:
            raise Fault(name, error.row, error.reason) from None
        except BadColumn as error:
            raise Fault(name, None, str(error)) from None
        for row, text in enumerate(texts):  # objects of any shape: one by one, as everywhere in a dynamic field
            if text is None:
                continue
            for key, value in _pairs(row, text) if name == META_FIELD else ((name, msgspec.Raw(text)),):
                if key in found[row]:
                    raise Fault(name, row, f"duplicated key in dynamic field, key={key}")
                found[row][key] = value
    return batch_field(field), pa.array(list(map(msgspec.json.encode, found)), pa.binary())


def _meta_texts(column: Loose, field: FieldSchema) -> Texts:
    _, values = column.field(field)
    texts: Texts = values.to_pylist()
    return texts


def _pairs(row: int, text: bytes) -> Iterator[tuple[str, Any]]:
    try:
        yield from (_OBJECT.decode(text) or {}).items()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(META_FIELD, row, f"it takes a JSON object: {error}") from None


def rows_of(records: Sequence[Mapping[str, Any]], first: int, required: Sequence[str]) -> Slab:
    """Rows of raw JSON values as a slab. A row may lack a key, but none of `required`. Raises BadFile."""
    names = dict.fromkeys(name for record in records for name in record)
    for name in required:
        at = next((at for at, record in enumerate(records) if name not in record), None)
        if at is not None:
            raise BadFile(f"value of field '{name}' is missed", first + at)
    columns: dict[str, Loose] = {}
    for name in names:
        values = [record.get(name) for record in records]
        columns[name] = JsonCells([None if value is None else bytes(value) for value in values])
    return Slab(first, len(records), columns)


def required_names(schema: CollectionSchema) -> tuple[str, ...]:
    """Fields that every row has to name."""
    fields = (
        f.name
        for f in schema.user_fields
        if not (f.nullable or f.default_value is not None or f.is_function_output or f.auto_id)
    )
    return (*fields, *(s.name for s in schema.struct_fields if not s.nullable))
