"""Query iterators in an order other than that of the primary keys, and over groups.

In an order, each page asks for the rows behind the last one of the page before: greater by the first field, or equal by
it and greater by the second, and so on to the primary key, which tells all rows apart. So any number of rows is read
without skipping over those that were read already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from redkite.client.cursor_file import CursorFile
from redkite.client.iterators import Cursor, QueryCursor, _described, _Pages
from redkite.client.results import QueryResult
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model import requests, results
from redkite.model.reading import Ordering
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType

_EVERYTHING = "*"
_PARAM = "_last_"
"""What the names of template parameters that pages add begin with."""
Rows = QueryResult | Sequence[dict[str, Any]]


def query_cursor(
    session: Session, first: requests.Query, batch_size: int, limit: int | None, file: CursorFile | None
) -> Cursor[Rows]:
    """What drives a query iterator."""
    if not first.group_by and not first.order_by:
        return QueryCursor(session, first, batch_size, limit, file)
    if file is not None:
        raise ParamError("iterator_cp_file notes primary keys: not with order_by_fields, nor with group_by_fields")
    kind = GroupCursor if first.group_by else OrderedCursor
    return kind(session, first, batch_size, limit)


class OrderedCursor(_Pages):
    """Rows in the order of some fields, equal ones by primary key."""

    def __init__(self, session: Session, first: requests.Query, batch_size: int, limit: int | None) -> None:
        super().__init__(batch_size, limit)
        self._session = session
        self._first = self._request = first
        self._as_of = first.as_of
        self._schema: CollectionSchema | None = None
        self._hidden: tuple[str, ...] = ()

    def page(self) -> Operation[Rows]:
        wanted = self._wanted()
        if not wanted:
            return []
        if self._schema is None:
            yield from self._begin()
        request = structs.replace(self._request, limit=wanted, as_of=self._as_of, collection_id=self._collection_id)
        rows = yield from ask(request, results.Rows)
        count = rows.rows.num_rows
        self._took(count, wanted, rows.session_timestamp)
        if count:
            self._go_behind(rows)
        kept = [name for name in rows.rows.schema.names if name not in self._hidden]
        shown = tuple(name for name in rows.output_fields if name not in self._hidden)
        return QueryResult(structs.replace(rows, rows=rows.rows.select(kept), output_fields=shown))

    def _begin(self) -> Operation[None]:
        info = yield from _described(self._session, self._first)
        self._collection_id, self._schema = info.collection_id, info.schema
        for key in self._first.order_by:
            field = info.schema.field(key.field)
            if field is None or field.data_type is DataType.JSON:
                raise ParamError(f"a query iterator is ordered by fields, and {key.field} is none of them")
        asked = self._first.output_fields
        if _EVERYTHING not in asked:
            self._hidden = tuple(dict.fromkeys(k.field for k in self._first.order_by if k.field not in asked))
            self._request = structs.replace(self._request, output_fields=(*asked, *self._hidden))

    def _go_behind(self, rows: results.Rows) -> None:
        """The next page begins behind the last row of this one."""
        assert self._schema is not None, "the first page has asked for it"
        last = {name: rows.rows.column(name)[-1].as_py() for name in self._names()}
        condition, params = _behind(self._schema, self._first.order_by, last)
        own = self._first.filter
        self._request = structs.replace(
            self._request,
            filter=f"({condition}) and ({own})" if own else condition,
            filter_params={**self._first.filter_params, **params},
            offset=0,
        )

    def _names(self) -> list[str]:
        assert self._schema is not None
        return [*(key.field for key in self._first.order_by), self._schema.primary.name]


def _behind(schema: CollectionSchema, order: Sequence[Ordering], last: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A filter for what comes after a row, and the values of its templates."""
    keys = [*order, Ordering(field=schema.primary.name)]
    params: dict[str, Any] = {}
    equal: list[str] = []
    ways: list[str] = []
    for at, key in enumerate(keys):
        field, value = schema.field(key.field), last[key.field]
        assert field is not None, "orders are by fields"
        literal = _literal(field, value, f"{_PARAM}{at}", params)
        after = _after(key, value, literal)
        if after:
            ways.append(" and ".join([*equal, after]))
        equal.append(f"{key.field} is null" if value is None else f"{key.field} == {literal}")
    return " or ".join(f"({way})" for way in ways), params


def _literal(field: FieldSchema, value: Any, name: str, params: dict[str, Any]) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if field.data_type is DataType.TIMESTAMPTZ:
        return f"ISO '{value}'"
    params[name] = value
    return f"{{{name}}}"


def _after(key: Ordering, value: Any, literal: str) -> str:
    """What comes behind a value, by this field alone; nothing: no row does."""
    if value is None:
        return "" if key.nulls_last else f"{key.field} is not null"
    nulls = f" or {key.field} is null" if key.nulls_last else ""
    if isinstance(value, bool):
        other = "" if value is not key.descending else f"{key.field} == {str(not value).lower()}"
        return f"({other}{nulls})" if other else nulls.removeprefix(" or ")
    return f"({key.field} {'<' if key.descending else '>'} {literal}{nulls})"


class GroupCursor(_Pages):
    """Groups, which are made of all rows at once and handed out a page at a time."""

    def __init__(self, session: Session, first: requests.Query, batch_size: int, limit: int | None) -> None:
        super().__init__(batch_size, limit)
        self._session = session
        self._request = structs.replace(first, limit=None if limit is None or limit < 0 else limit)
        self._as_of = first.as_of
        self._groups: QueryResult | None = None
        self._given = 0

    def page(self) -> Operation[Rows]:
        wanted = self._wanted()
        if not wanted:
            return []
        if self._groups is None:
            self._groups = QueryResult((yield from self._made()))
        page = self._groups[self._given : self._given + wanted]
        self._given += len(page)
        self._took(len(page), wanted, self._groups.session_timestamp)
        return page

    def _made(self) -> Operation[results.Rows]:
        request = self._request
        if not request.filter and request.limit is None:
            # A query of everything wants a limit, unless it says so.
            info = yield from _described(self._session, request)
            primary = info.schema.primary
            every = '>= ""' if primary.data_type.is_string else f">= {-(1 << 63)}"
            request = structs.replace(request, filter=f"{primary.name} {every}")
        return (yield from ask(request, results.Rows))
