"""Iterators: search hits and rows by pages, all of them as they were when the iterator began.

A cursor knows what page to ask for and does no I/O; the iterators drive it, one by blocking, one by awaiting.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from msgspec import structs

from redkite.client import arguments
from redkite.client.cursor_file import CursorFile
from redkite.client.results import Hit, HybridHits, QueryResult, SearchResult
from redkite.client.rows import quoted
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError, Unimplemented
from redkite.model import requests, results
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

MAX_BATCH = 16_384
UNLIMITED = -1
R = TypeVar("R", bound=requests.Request)
P = TypeVar("P", bound="Sequence[Any]", covariant=True)


class Cursor(Protocol[P]):
    def page(self) -> Operation[P]:
        """The next page; an empty one when there is nothing left."""
        ...

    def close(self) -> None:
        """Nobody asks for another page."""
        ...


def opening(operation: Operation[Any], kind: type[R]) -> R:
    """The request that a read begins with, its arguments checked as the read itself checks them."""
    effect = next(operation)
    operation.close()
    assert isinstance(effect, kind)
    return effect


def _size(batch_size: int, limit: int | None) -> tuple[int, int]:
    """(rows a page, rows in all, `UNLIMITED` for all there are)."""
    batch = arguments.integer("batch_size", batch_size)
    if not 1 <= batch <= MAX_BATCH:
        raise ParamError(f"batch_size={batch} must be in [1, {MAX_BATCH}]")
    total = UNLIMITED if limit is None else arguments.integer("limit", limit)
    if total < UNLIMITED:
        raise ParamError(f"limit={total} must be -1, for no limit, or not negative")
    return batch, total


class _Pages:
    """How many rows are still wanted, and at which moment they are read."""

    def __init__(self, batch_size: int, limit: int | None) -> None:
        self._batch, self._left = _size(batch_size, limit)
        self._collection_id = 0
        self._as_of = 0
        self._finished = False

    def close(self) -> None:
        self._finished = True

    def _wanted(self) -> int:
        """Rows of the next page; 0 when nothing is wanted any more."""
        if self._finished:
            return 0
        return self._batch if self._left == UNLIMITED else min(self._batch, self._left)

    def _took(self, rows: int, wanted: int, timestamp: int) -> None:
        self._as_of = self._as_of or timestamp
        if self._left != UNLIMITED:
            self._left -= rows
        self._finished = rows < wanted or self._left == 0


class SearchCursor(_Pages):
    """Hits of one query vector, from the closest outwards."""

    def __init__(self, session: Session, first: requests.Search, batch_size: int, limit: int | None) -> None:
        super().__init__(batch_size, limit)
        if first.queries.nq != 1:
            raise ParamError(f"a search iterator takes one query vector, not {first.queries.nq}")
        self._session = session
        self._request = first
        self._as_of = first.as_of
        self._page = requests.Page()
        self._digits = first.round_decimal

    def page(self) -> Operation[HybridHits | list[Hit]]:
        wanted = self._wanted()
        if not wanted:
            return []
        if not self._collection_id:
            self._collection_id = yield from _collection_id(self._session, self._request)
        request = structs.replace(
            self._request, limit=wanted, as_of=self._as_of, collection_id=self._collection_id, page=self._page
        )
        hits = yield from ask(request, results.Hits)
        self._took(len(hits.ids), wanted, hits.session_timestamp)
        if hits.page is not None:
            self._page = requests.Page(token=hits.page.token, last_bound=hits.page.last_bound)
        elif not self._finished:
            # It would give the same hits again: an older Milvus, which does not know what was asked of it.
            raise Unimplemented("the server cannot go on where a page of a search ended; Milvus 2.5 and newer can")
        return SearchResult(hits, self._digits)[0]


Filter = Callable[[HybridHits | list[Hit]], Sequence[Hit]]
"""The hits of a page -> those of them that stay."""


class FilteredCursor:
    """The hits of a cursor that a function of the user's keeps: `limit` and `batch_size` count those."""

    def __init__(self, hits: SearchCursor, keep: Filter, batch_size: int, limit: int | None) -> None:
        self._hits = hits
        self._keep = keep
        self._batch, self._left = _size(batch_size, limit)
        self._kept: list[Hit] = []

    def page(self) -> Operation[list[Hit]]:
        wanted = self._batch if self._left == UNLIMITED else min(self._batch, self._left)
        while len(self._kept) < wanted:
            hits = yield from self._hits.page()
            if not len(hits):
                break
            self._kept += self._keep(hits)
        page, self._kept = self._kept[:wanted], self._kept[wanted:]
        if self._left != UNLIMITED:
            self._left -= len(page)
        return page

    def close(self) -> None:
        self._hits.close()


@dataclass(frozen=True, slots=True)
class QueryIteratorCursor:
    """How far a query iterator has come: the snapshot it reads, and the last key it gave, one or neither of the two."""

    session_ts: int
    int_pk: int | None = None
    str_pk: str | None = None


class QueryCursor(_Pages):
    """Rows in the order of their primary keys. With a file, behind the key that is noted there."""

    def __init__(
        self,
        session: Session,
        first: requests.Query,
        batch_size: int,
        limit: int | None,
        file: CursorFile | None = None,
    ) -> None:
        super().__init__(batch_size, limit)
        self._session = session
        self._request = first
        self._as_of = first.as_of
        self._file = file
        self._primary = ""
        self._last: int | str | None = None

    @property
    def position(self) -> QueryIteratorCursor:
        """How far it has come."""
        last = self._last
        return QueryIteratorCursor(
            self._as_of, last if isinstance(last, int) else None, last if isinstance(last, str) else None
        )

    def close(self) -> None:
        super().close()
        if self._file is not None:
            self._file.remove()

    def page(self) -> Operation[QueryResult | list[dict[str, Any]]]:
        wanted = self._wanted()
        if not wanted:
            return []
        if not self._collection_id:
            info = yield from _described(self._session, self._request)
            self._collection_id = info.collection_id
            self._primary = info.schema.primary.name  # replies of older servers do not name it
            self._resume(info.schema.primary)
        request = structs.replace(self._request, limit=wanted, as_of=self._as_of, collection_id=self._collection_id)
        rows = yield from ask(request, results.Rows)
        count = rows.rows.num_rows
        self._took(count, wanted, rows.session_timestamp)
        if count:
            last = rows.rows.column(self._primary)[-1].as_py()
            self._go_behind(self._primary, last)
            if self._file is not None:
                self._file.write(self._as_of, last)
        return QueryResult(rows)

    def _resume(self, primary: FieldSchema) -> None:
        """Go on from what the file says, if there is one."""
        noted = None if self._file is None else self._file.read()
        if noted is None:
            return
        self._as_of, text = noted
        if primary.data_type is not DataType.INT64:
            self._go_behind(primary.name, text)
        elif re.fullmatch(r"-?[0-9]{1,19}", text):
            self._go_behind(primary.name, int(text))
        else:
            raise ParamError(f"the cursor file ends with no key of field {primary.name}: {text[:40]!r}")

    def _go_behind(self, primary: str, last: int | str) -> None:
        self._last = last
        behind = f"{primary} > {quoted(last) if isinstance(last, str) else last}"
        self._own = self._request.filter if self._own is None else self._own
        condition = f"{behind} and ({self._own})" if self._own else behind
        self._request = structs.replace(self._request, filter=condition, offset=0)

    _own: str | None = None
    """The user's filter, once pages have added to it."""


def _described(session: Session, request: requests.Search | requests.Query) -> Operation[results.CollectionInfo]:
    asked = requests.DescribeCollection(database=session.database, collection=request.collection)
    return (yield from ask(asked, results.CollectionInfo))


def _collection_id(session: Session, request: requests.Search | requests.Query) -> Operation[int]:
    return (yield from _described(session, request)).collection_id


def _position(cursor: Cursor[Any] | None) -> QueryIteratorCursor:
    if not isinstance(cursor, QueryCursor):
        raise ParamError("only a query iterator that is open has a cursor")
    return cursor.position


class PageIterator(Generic[P]):
    """`next()` gives one page after another and an empty one at the end; `for page in iterator` ends by itself."""

    def __init__(self, cursor: Cursor[P], run: Callable[[Operation[Any]], Any]) -> None:
        self._cursor: Cursor[P] | None = cursor
        self._run = run

    def next(self) -> P:
        if self._cursor is None:
            raise ParamError("the iterator is closed")
        page: P = self._run(self._cursor.page())
        return page

    def close(self) -> None:
        """Give back what the iterator holds, and remove its cursor file. Twice is once."""
        if self._cursor is not None:
            self._cursor.close()
        self._cursor = None

    def get_cursor(self) -> QueryIteratorCursor:
        """How far a query iterator has come."""
        return _position(self._cursor)

    def __iter__(self) -> PageIterator[P]:
        return self

    def __next__(self) -> P:
        page = self.next()
        if not len(page):
            raise StopIteration
        return page


class AsyncPageIterator(Generic[P]):
    """As `PageIterator`, awaited: `await iterator.next()`, `async for page in iterator`."""

    def __init__(self, cursor: Cursor[P], run: Callable[[Operation[Any]], Awaitable[Any]]) -> None:
        self._cursor: Cursor[P] | None = cursor
        self._run = run

    async def next(self) -> P:
        if self._cursor is None:
            raise ParamError("the iterator is closed")
        page: P = await self._run(self._cursor.page())
        return page

    async def close(self) -> None:
        """Give back what the iterator holds, and remove its cursor file. Twice is once."""
        if self._cursor is not None:
            self._cursor.close()
        self._cursor = None

    def get_cursor(self) -> QueryIteratorCursor:
        """How far a query iterator has come."""
        return _position(self._cursor)

    def __aiter__(self) -> AsyncPageIterator[P]:
        return self

    async def __anext__(self) -> P:
        page = await self.next()
        if not len(page):
            raise StopAsyncIteration
        return page
