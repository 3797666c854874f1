"""Payload and metadata, which other systems keep beside vectors without a schema: dynamic keys, or typed columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redkite.client.schema import CollectionSchema
from redkite.errors import DataNotMatchException
from redkite.migration.plan import is_field_name
from redkite.model.limits import LIMITS
from redkite.model.schema import META_FIELD
from redkite.model.types import DataType

FIRST_ROWS = 1000
"""Rows that are looked at for the types of columns."""
_KINDS: dict[frozenset[type], DataType] = {
    frozenset({bool}): DataType.BOOL,
    frozenset({int}): DataType.INT64,
    frozenset({float}): DataType.DOUBLE,
    frozenset({int, float}): DataType.DOUBLE,
    frozenset({str}): DataType.VARCHAR,
}
_TAKES: dict[DataType, tuple[type, ...]] = {
    DataType.BOOL: (bool,),
    DataType.INT64: (int,),
    DataType.DOUBLE: (int, float),
    DataType.VARCHAR: (str,),
}


@dataclass(frozen=True, slots=True)
class Loose:
    """What becomes of the keys of a payload."""

    taken: frozenset[str]
    """Names of fields: a key of such a name gets an underscore behind."""
    columns: Mapping[str, DataType]

    def of(self, payload: Mapping[str, Any] | None, key: object) -> dict[str, Any]:
        """The payload of one row, as keys beside its fields. `key` tells which row, if a value does not fit."""
        row: dict[str, Any] = {}
        given = payload or {}
        for name, value in given.items():
            stored = name
            if name in self.taken or name == META_FIELD:
                while stored in given or stored in self.taken or stored == META_FIELD:
                    stored += "_"
            kind = self.columns.get(stored)
            if kind is not None and value is not None and not _fits(value, kind):
                raise DataNotMatchException(
                    f"`{name}` of row {key!r} is a {type(value).__name__}, and a {kind.name} in the first "
                    f"{FIRST_ROWS} rows: migrate without typed columns"
                )
            row[stored] = value
        return row

    def add_to(self, schema: CollectionSchema) -> None:
        """The columns as fields."""
        for name, kind in self.columns.items():
            length: dict[str, Any] = {"max_length": LIMITS.max_varchar_length} if kind is DataType.VARCHAR else {}
            schema.add_field(name, kind, nullable=True, **length)


def _fits(value: object, kind: DataType) -> bool:
    return isinstance(value, _TAKES[kind]) and (kind is DataType.BOOL or not isinstance(value, bool))


def loose(taken: Collection[str], first: Iterable[Mapping[str, Any] | None], *, typed: bool) -> Loose:
    """Typed columns for keys whose values are of one type in the first rows; `typed` asks for them."""
    kinds: dict[str, set[type]] = {}
    if typed:
        for payload in first:
            for name, value in (payload or {}).items():
                if value is not None:
                    kinds.setdefault(name, set()).add(type(value))
    known = {name: _KINDS.get(frozenset(found)) for name, found in kinds.items()}
    columns = {
        name: kind for name, kind in known.items() if kind is not None and name not in taken and is_field_name(name)
    }
    free = max(0, LIMITS.max_fields - len(taken) - 1)
    return Loose(frozenset(taken), dict(list(columns.items())[:free]))
