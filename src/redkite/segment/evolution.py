"""Rows written under an older schema, as the present one sees them.

Stored columns are named by field id, and ids are never given out twice: a field that is dropped and made anew under
its old name does not find its old values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from redkite.errors import SchemaMismatch
from redkite.functions.derived import derived_column, is_derived
from redkite.model.batch import absent_column
from redkite.model.schema import CollectionSchema
from redkite.segment.deletes import RowNumbers


class SchemaMoved(SchemaMismatch):
    """A read was planned by a schema that is older than what the rows are held by: plan it again."""


def unmade(schema: CollectionSchema, stored: Iterable[str]) -> str:
    """A field that only a model can fill, and of which rows with columns of these names (field ids) have nothing."""
    known = set(stored)
    missing = (f for f in schema.fields if f.is_function_output and str(f.field_id) not in known)
    return next((field.name for field in missing if not is_derived(schema, field)), "")


def check_made(written: CollectionSchema, present: CollectionSchema) -> None:
    """Raise SchemaMoved for rows that were made by a schema which lacks what only a model can fill: nobody would."""
    if written.version != present.version and unmade(present, [str(f.field_id) for f in written.fields]):
        raise SchemaMoved.named(present.name)


def identified(batch: pa.RecordBatch, schema: CollectionSchema) -> pa.RecordBatch:
    """One column per field of `schema`, in its order, named by field id."""
    return pa.RecordBatch.from_arrays(batch.columns, [str(f.field_id) for f in schema.fields])


def conform(batch: pa.RecordBatch, schema: CollectionSchema) -> pa.RecordBatch:
    """A batch whose columns are named by field id, as one column per field of `schema`, named by field: a field it does
    not have takes its default value, else null; a column that is no field any more is left out."""
    columns = StoredColumns(batch, schema)
    names = [f.name for f in schema.fields]
    return pa.RecordBatch.from_arrays([columns.column(name) for name in names], names)


class StoredColumns:
    """The columns of stored rows by the names that a schema gives them. What is stored is not copied; what is not is
    made when it is asked for and kept by nobody, so that an added field costs memory only while it is read."""

    __slots__ = ("_absent", "_present", "_schema", "rows")

    def __init__(self, stored: pa.RecordBatch, schema: CollectionSchema) -> None:
        """`stored` has columns named by field id; others than those of `schema` are passed over."""
        self.rows = stored.num_rows
        self._schema = schema
        places = {name: at for at, name in enumerate(stored.schema.names)}
        self._present: dict[str, pa.Array] = {}
        self._absent = {}
        for field in schema.fields:
            place = places.get(str(field.field_id))
            if place is None:
                self._absent[field.name] = field
            else:
                self._present[field.name] = stored.column(place)

    def has(self, name: str) -> bool:
        """Whether a field of the schema is stored."""
        return name in self._present

    def column(self, name: str) -> pa.Array:
        """All rows of a field of the schema."""
        found = self._present.get(name)
        return self._made(name, self.rows, self.column) if found is None else found

    def head(self, name: str, rows: int) -> pa.Array:
        """The first rows of a field."""
        found = self._present.get(name)
        return self._made(name, rows, lambda n: self.head(n, rows)) if found is None else found.slice(0, rows)

    def take(self, name: str, rows: RowNumbers, wanted: pa.Array) -> pa.Array:
        """Some rows of a field; `wanted` are the same numbers as `rows`."""
        found = self._present.get(name)
        if found is None:
            return self._made(name, len(rows), lambda other: self.take(other, rows, wanted))
        return found.take(wanted)

    def _made(self, name: str, rows: int, read: Callable[[str], pa.Array]) -> pa.Array:
        """A column that is not stored; `read` gives others of the same rows."""
        field = self._absent[name]
        if is_derived(self._schema, field):
            return derived_column(self._schema, field, read)
        return absent_column(field, rows)
