"""SQL over collections: which of them a statement reads, and which of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from redkite.client import arguments
from redkite.client.iterators import MAX_BATCH, UNLIMITED, QueryCursor, opening
from redkite.client.operations import reads
from redkite.client.results import QueryResult
from redkite.client.session import Operation, Session, ask, plan_of
from redkite.client.sql import Statement
from redkite.errors import CollectionNotFound, InvalidParameter, ParamError
from redkite.model import requests, results
from redkite.model.timestamps import STRONG
from redkite.model.types import DataType

SAMPLE = 1_000
"""Rows that are looked at to know the dynamic keys of a collection."""


def sql(
    session: Session, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None, as_of: reads.Moment | None
) -> Operation[Statement]:
    """The statement with the columns that it reads; what is left is to run it. All collections are read as of one
    moment."""
    if not isinstance(query, str):
        raise arguments.wrong_type("query", str, query)
    statement = Statement(query, parameters)
    schemas: dict[str, pa.Schema] = {}
    while (name := statement.missing()) is not None:
        if name.lower() in map(str.lower, schemas):
            raise InvalidParameter(
                f"table {name} cannot be read: names of tables that differ in case alone are one in SQL"
            )
        sample = yield from _rows(session, name, ["*"], SAMPLE, as_of)
        schemas[name] = sample.schema
        statement.put(name, sample.slice(0, 0))
    moment: Any = as_of
    if moment is None and schemas:
        stamp = yield from ask(requests.AllocTimestamp(database=session.database), results.Timestamp)
        moment = stamp.timestamp
    wanted = {name: statement.wanted(schema.names) for name, schema in schemas.items()}
    for name, schema in schemas.items():
        read = yield from _rows(session, name, wanted[name], UNLIMITED, moment)
        statement.put(name, _filled_up(read, schema))
    return statement


def _filled_up(read: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with nulls for the columns that the statement names and does not look at."""
    columns = [
        read.column(field.name) if field.name in read.column_names else pa.nulls(len(read), field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names)


def _readable(table: pa.Table, json_fields: list[str]) -> pa.Table:
    """The table with the JSON of these fields as text."""
    for at, field in enumerate(table.schema):
        if field.name in json_fields and pa.types.is_binary(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.string()))
    return table


def _rows(
    session: Session, name: str, fields: list[str], limit: int, as_of: reads.Moment | None
) -> Operation[pa.Table]:
    """Columns of a collection; JSON as text, which is what SQL's functions take."""
    try:
        plan = yield from plan_of(session, name)
        json_fields = [field.name for field in plan.schema.fields if field.data_type is DataType.JSON]
        operation = reads.query(
            session, name, "", fields, None, None, 1, None, None, None, None, STRONG, as_of, None, None
        )  # fmt: skip
        cursor = QueryCursor(session, opening(operation, requests.Query), MAX_BATCH, limit)
        pages: list[pa.Table] = []
        while True:
            page = yield from cursor.page()
            if not isinstance(page, QueryResult) or (pages and not len(page)):
                break
            pages.append(page.to_arrow())
            if not len(page):
                break
    except CollectionNotFound:
        raise ParamError(f"there is no table {name}: no collection of this database is called so") from None
    whole = _readable(pa.concat_tables(pages, promote_options="permissive"), json_fields)
    return whole if not fields or fields == ["*"] else whole.select([f for f in fields if f in whole.column_names])
