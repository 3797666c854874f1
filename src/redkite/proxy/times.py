"""How a read shows TIMESTAMPTZ columns: as texts in a time zone, or as the parts it asked for."""

from __future__ import annotations

from datetime import tzinfo

import msgspec
import pyarrow as pa

from redkite.model.batch import arrow_field
from redkite.model.moments import show_moments, split_moments, zone_of
from redkite.model.schema import CollectionSchema
from redkite.model.types import DataType


class TimeView(msgspec.Struct, frozen=True):
    names: frozenset[str]
    """The columns of times."""
    zone: tzinfo
    parts: tuple[str, ...]
    """Of each time, as numbers; empty: the whole, as text."""

    def show(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with each column of times as strings, or as lists of int64; other columns as they are."""
        shown = [self._show(f, c) if f.name in self.names else (f, c) for f, c in zip(rows.schema, rows, strict=True)]
        return pa.RecordBatch.from_arrays([c for _, c in shown], schema=pa.schema([f for f, _ in shown]))

    def _show(self, field: pa.Field, column: pa.Array) -> tuple[pa.Field, pa.Array]:
        if self.parts:
            column = split_moments(column, self.zone, self.parts)
            kind = DataType.ARRAY
        else:
            column = show_moments(column, self.zone)
            kind = DataType.TIMESTAMPTZ
        return arrow_field(field.name, kind, column.type, nullable=field.nullable), column


def time_view(
    schema: CollectionSchema, columns: tuple[str, ...], home: tzinfo, timezone: str, parts: tuple[str, ...]
) -> TimeView | None:
    """The view for these columns; None when no time is among them. `home` is the collection's time zone, which the one
    that a request names goes before. Raises InvalidParameter for a zone that does not exist."""
    zone = zone_of(timezone) if timezone else home
    times = {f.name for f in schema.fields if f.data_type is DataType.TIMESTAMPTZ}
    names = times.intersection(columns)
    return TimeView(frozenset(names), zone, parts) if names else None
