"""SQL over collections: which of them a statement reads, and which of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from redkite.client import arguments
from redkite.client.iterators import MAX_BATCH, UNLIMITED, QueryCursor, opening
from redkite.client.operations import reads
from redkite.client.session import Operation, Session, ask
from redkite.client.sql import Statement
from redkite.errors import CollectionNotFound, InvalidParameter, ParamError
from redkite.model import requests, results
from redkite.model.timestamps import STRONG

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
    names: list[str] = []
    columns: dict[str, list[str]] = {}
    while (name := statement.missing()) is not None:
        if name in columns:
            raise InvalidParameter(f"table {name} cannot be read")
        sample = yield from _rows(session, name, ["*"], SAMPLE, as_of)
        statement.put(name, sample.slice(0, 0))
        columns[name] = sample.column_names
        names.append(name)
    moment: Any = as_of
    if moment is None and names:
        stamp = yield from ask(requests.AllocTimestamp(database=session.database), results.Timestamp)
        moment = stamp.timestamp
    for name in names:
        wanted = statement.wanted(columns[name])
        table = yield from _rows(session, name, wanted, UNLIMITED, moment)
        statement.put(name, table)
    return statement


def _rows(
    session: Session, name: str, fields: list[str], limit: int, as_of: reads.Moment | None
) -> Operation[pa.Table]:
    """Columns of a collection."""
    try:
        operation = reads.query(
            session, name, "", fields, None, None, 1, None, None, None, None, STRONG, as_of, None, None
        )  # fmt: skip
        cursor = QueryCursor(session, opening(operation, requests.Query), MAX_BATCH, limit)
        pages: list[pa.Table] = []
        while True:
            page = yield from cursor.page()
            if isinstance(page, list) or (pages and not len(page)):
                break
            pages.append(page.to_arrow())
            if not len(page):
                break
    except CollectionNotFound:
        raise ParamError(f"there is no table {name}: no collection of this database is called so") from None
    whole = pa.concat_tables(pages, promote_options="permissive")
    return whole if not fields or fields == ["*"] else whole.select([f for f in fields if f in whole.column_names])
