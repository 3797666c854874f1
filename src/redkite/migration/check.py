"""Is everything there that was written, as it was? Counts, and a sample of rows that are read again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from redkite.client.results import QueryResult
from redkite.client.rows import RowPlan
from redkite.client.session import plan_of
from redkite.client.sync import MilvusClient
from redkite.migration.plan import Found, Portion
from redkite.migration.server import output_fields
from redkite.model.schema import META_FIELD
from redkite.model.types import DataType

_PORTIONS = 8
_OF_EACH = 25
_UNCOMPARED = frozenset({DataType.GEOMETRY, DataType.TIMESTAMPTZ})
"""Texts of which may be written in other ways."""


class Sample:
    """Some portions out of all that went by, each as likely as the others, and some rows of each."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._seen = 0
        self.portions: list[Any] = []
        self._chance = random.Random(20_260_101)

    @property
    def rows(self) -> int:
        return sum(map(_count, self.portions))

    def add(self, portion: Portion) -> None:
        """Take notice of a portion that was written."""
        if not self._key:
            return
        self._seen += 1
        if len(self.portions) < _PORTIONS:
            self.portions.append(_some(portion.rows))
            return
        at = self._chance.randrange(self._seen)
        if at < _PORTIONS:
            self.portions[at] = _some(portion.rows)


def _some(rows: Any) -> Any:
    """The first rows of a portion, in a form that the portion's memory does not hang on."""
    if isinstance(rows, list):
        return rows[:_OF_EACH]
    if isinstance(rows, dict):
        return {name: _first(column) for name, column in rows.items()}
    return pa.table({name: _first(rows.column(name)) for name in rows.schema.names})


def _first(column: Any) -> Any:
    count = min(_OF_EACH, len(column))
    return column.take(pa.array(range(count), pa.int64())) if hasattr(column, "take") else column[:count]


def _count(rows: Any) -> int:
    if isinstance(rows, dict):
        return len(next(iter(rows.values())))
    return len(rows) if isinstance(rows, list) else int(rows.num_rows)


def differing(client: MilvusClient, found: Found, sample: Sample) -> Iterator[str]:
    """What is not as it was written, one line for each field of each part of the sample."""
    plan: RowPlan = client._run(plan_of(client._session, found.name), None, {})
    for rows in sample.portions:
        wanted = plan.batch(rows, upsert=True)
        keys = wanted.column(found.key).to_pylist()
        read = client.query(found.name, ids=keys, output_fields=output_fields(found.schema), consistency_level="Strong")
        assert isinstance(read, QueryResult)
        yield from _of_batch(plan, found.key, wanted, read._rows.rows)


def _of_batch(plan: RowPlan, key: str, wanted: pa.RecordBatch, stored: pa.RecordBatch) -> Iterator[str]:
    places = {value: at for at, value in enumerate(stored.column(key).to_pylist())}
    keys = wanted.column(key).to_pylist()
    missing = [value for value in keys if value not in places]
    if missing:
        yield f"{len(missing)} of {len(keys)} rows of the sample are not there, such as {missing[0]!r}"
    common = [(at, places[value]) for at, value in enumerate(keys) if value in places]
    for name in wanted.schema.names:
        kind = _kind(plan, name)
        if kind in _UNCOMPARED or name not in stored.schema.names:
            continue
        mine = _values(wanted.column(name), kind, [at for at, _ in common])
        theirs = _values(stored.column(name), kind, [at for _, at in common])
        default = plan.fields[name].default_value if name in plan.fields else None
        odd = [
            at for at, (m, t) in enumerate(zip(mine, theirs, strict=True))
            if m != t and not (m is None and t == default)
        ]  # fmt: skip
        if odd:
            row = keys[common[odd[0]][0]]
            yield f"field {name} is another in {len(odd)} rows of the sample, such as the row {row!r}"


def _kind(plan: RowPlan, name: str) -> DataType:
    if name == META_FIELD:
        return DataType.JSON
    field = plan.fields.get(name)
    return DataType.NONE if field is None else field.data_type


def _values(column: pa.Array, kind: DataType, places: list[int]) -> list[Any]:
    values: list[Any] = column.take(pa.array(places, pa.int64())).to_pylist()
    if kind is DataType.JSON:
        return [None if value is None else orjson.loads(value) for value in values]
    return values
