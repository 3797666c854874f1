"""Query iterators in an order other than that of the primary keys, and over groups.

In an order, each page asks for the rows behind the last one of the page before: greater by the first field, or equal by
it and greater by the second, and so on to the primary key, which tells all rows apart. So any number of rows is read
without skipping over those that were read already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from redkite.client.cursor_file import CursorFile
from redkite.client.iterators import Cursor, QueryCursor, _described, _Pages
from redkite.client.results import QueryResult
from redkite.client.session import Operation, Session, ask
from redkite.errors import InvalidParameter, ParamError
from redkite.model import requests, results
from redkite.model.reading import Ordering
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import DataType

_EVERYTHING, _COUNT = "*", "count(*)"
_KINDS = {"numbers": "{0} > 0 or {0} <= 0", "texts": '{0} >= ""', "truth values": "{0} == true or {0} == false"}
"""What values at a JSON path may be, and the filter that says so."""
JsonKeys = tuple[str | int, ...]
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


class _Key(NamedTuple):
    """One of the values that rows are ordered by."""

    order: Ordering
    output: str
    """The output field that has it."""
    path: JsonKeys | None
    """Where in that; None for a field that is no JSON."""

    def of(self, row: Mapping[str, Any]) -> Any:
        """Its value in a row; None where there is none."""
        value = row.get(self.output)
        for step in self.path or ():
            if isinstance(value, dict) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value


class OrderedCursor(_Pages):
    """Rows in the order of some fields, dynamic keys or JSON paths, equal ones by primary key."""

    def __init__(self, session: Session, first: requests.Query, batch_size: int, limit: int | None) -> None:
        super().__init__(batch_size, limit)
        self._session = session
        self._first = self._request = first
        self._as_of = first.as_of
        self._schema: CollectionSchema | None = None
        self._keys: list[_Key] = []
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
        is_first = not self._as_of
        self._took(count, wanted, rows.session_timestamp)
        if count and is_first:
            yield from self._check_types()
        if count:
            self._go_behind(rows)
        return QueryResult(self._shown(rows))

    def _shown(self, rows: results.Rows) -> results.Rows:
        """Without what was fetched only to go on from."""
        if not self._hidden:
            return rows
        assert self._schema is not None, "the first page has asked for it"
        shown = tuple(name for name in rows.output_fields if name not in self._hidden)
        wanted = {name if self._schema.field(name) is not None else META_FIELD for name in shown}
        kept = [name for name in rows.rows.schema.names if name in wanted]
        return structs.replace(rows, rows=rows.rows.select(kept), output_fields=shown)

    def _begin(self) -> Operation[None]:
        info = yield from _described(self._session, self._first)
        self._collection_id, self._schema = info.collection_id, info.schema
        self._keys = [_key_of(info.schema, order) for order in self._first.order_by]
        asked = self._first.output_fields
        if _EVERYTHING not in asked:
            self._hidden = tuple(dict.fromkeys(k.output for k in self._keys if k.output not in asked))
            self._request = structs.replace(self._request, output_fields=(*asked, *self._hidden))

    def _check_types(self) -> Operation[None]:
        """Values at one JSON path must be of one type: those of others are behind none of them, and would be missed."""
        for key in self._keys:
            if key.path is None:
                continue
            found: list[str] = []
            left = yield from self._count(f"{key.order.field} is not null")
            for kind, condition in _KINDS.items():
                count = yield from self._count(condition.format(key.order.field))
                found += [kind] if count else []
                left -= count
            found += ["arrays or objects"] if left else []
            if len(found) > 1 or left:
                raise ParamError(
                    f"a query iterator is ordered by numbers, by texts or by truth values, and {key.order.field} has "
                    f"{' and '.join(found)}: leave rows out by the filter, or order by something else"
                )

    def _count(self, condition: str) -> Operation[int]:
        own = self._first.filter
        request = structs.replace(
            self._first, filter=f"({condition}) and ({own})" if own else condition, output_fields=(_COUNT,),
            order_by=(), limit=None, offset=0, as_of=self._as_of, collection_id=self._collection_id,
        )  # fmt: skip
        counted = yield from ask(request, results.Rows)
        return int(counted.rows.column(0)[0].as_py())

    def _go_behind(self, rows: results.Rows) -> None:
        """The next page begins behind the last row of this one."""
        assert self._schema is not None, "the first page has asked for it"
        keys = [*self._keys, _key_of(self._schema, Ordering(field=self._schema.primary.name))]
        columns = rows.rows.schema.names
        row = QueryResult(structs.replace(rows, rows=rows.rows.slice(rows.rows.num_rows - 1)))[0]
        last = [k.of(row) if k.path is not None or k.output not in columns else _stored(rows, k) for k in keys]
        condition, params = _behind(self._schema, [key.order for key in keys], last)
        own = self._first.filter
        self._request = structs.replace(
            self._request,
            filter=f"({condition}) and ({own})" if own else condition,
            filter_params={**self._first.filter_params, **params},
            offset=0,
        )


def _key_of(schema: CollectionSchema, order: Ordering) -> _Key:
    """What a name to order by stands for. Raises ParamError."""
    field = schema.field(order.field)
    if field is not None and field.data_type is not DataType.JSON:
        return _Key(order, field.name, None)
    word, keys = _parsed(order.field)
    if word == META_FIELD and keys and isinstance(keys[0], str):
        word, keys = keys[0], keys[1:]
    base = schema.field(word)
    if base is None and word and (schema.enable_dynamic_field):
        return _Key(order, word, keys)
    if base is None or base.data_type is not DataType.JSON or not keys:
        raise ParamError(
            f"a query iterator is ordered by fields, dynamic keys and JSON paths, and {order.field} is none of them"
        )
    return _Key(order, base.name, keys)


def _parsed(text: str) -> tuple[str, JsonKeys]:
    """The word that a JSON path begins with, and its keys; nothing for what is no path."""
    from redkite.filter.diagnostics import Source
    from redkite.filter.parser import parse
    from redkite.filter.syntax import Name, Path

    try:
        node = parse(Source(text, "query"))
    except InvalidParameter:
        return "", ()
    if isinstance(node, Path):
        return node.name, node.keys
    return (node.name if isinstance(node, Name) else "", ())


def _stored(rows: results.Rows, key: _Key) -> Any:
    return rows.rows.column(key.output)[-1].as_py()


def _behind(schema: CollectionSchema, keys: Sequence[Ordering], last: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """A filter for what comes after a row, and the values of its templates."""
    params: dict[str, Any] = {}
    equal: list[str] = []
    ways: list[str] = []
    for at, (key, value) in enumerate(zip(keys, last, strict=True)):
        literal = _literal(schema.field(key.field), value, f"{_PARAM}{at}", params)
        after = _after(key, value, literal)
        if after:
            ways.append(" and ".join([*equal, after]))
        equal.append(f"{key.field} is null" if value is None else f"{key.field} == {literal}")
    return " or ".join(f"({way})" for way in ways), params


def _literal(field: FieldSchema | None, value: Any, name: str, params: dict[str, Any]) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if field is not None and field.data_type is DataType.TIMESTAMPTZ:
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
