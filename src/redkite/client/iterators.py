"""Iterators: search hits and rows by pages, all of them as they were when the iterator began.

A cursor knows what page to ask for and does no I/O; the iterators drive it, one by blocking, one by awaiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import structs

from redkite.client import arguments
from redkite.client.results import Hit, HybridHits, QueryResult, SearchResult
from redkite.client.rows import quoted
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model import requests, results

MAX_BATCH = 16_384
UNLIMITED = -1
R = TypeVar("R", bound=requests.Request)
P = TypeVar("P", bound="Sequence[Any]", covariant=True)


class Cursor(Protocol[P]):
    def page(self) -> Operation[P]:
        """The next page; an empty one when there is nothing left."""
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

    def __init__(
        self, session: Session, first: requests.Search, batch_size: int, limit: int | None, digits: int
    ) -> None:
        super().__init__(batch_size, limit)
        if first.queries.nq != 1:
            raise ParamError(f"a search iterator takes one query vector, not {first.queries.nq}")
        self._session = session
        self._request = first
        self._as_of = first.as_of
        self._digits = digits
        self._page = requests.Page()

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
        return SearchResult(hits, self._digits)[0]


class QueryCursor(_Pages):
    """Rows in the order of their primary keys."""

    def __init__(self, session: Session, first: requests.Query, batch_size: int, limit: int | None) -> None:
        super().__init__(batch_size, limit)
        self._session = session
        self._request = first
        self._as_of = first.as_of

    def page(self) -> Operation[QueryResult | list[dict[str, Any]]]:
        wanted = self._wanted()
        if not wanted:
            return []
        if not self._collection_id:
            self._collection_id = yield from _collection_id(self._session, self._request)
        request = structs.replace(self._request, limit=wanted, as_of=self._as_of, collection_id=self._collection_id)
        rows = yield from ask(request, results.Rows)
        count = rows.rows.num_rows
        self._took(count, wanted, rows.session_timestamp)
        if count:
            self._go_behind(rows.primary_field, rows.rows.column(rows.primary_field)[-1].as_py())
        return QueryResult(rows)

    def _go_behind(self, primary: str, last: int | str) -> None:
        behind = f"{primary} > {quoted(last) if isinstance(last, str) else last}"
        self._own = self._request.filter if self._own is None else self._own
        condition = f"{behind} and ({self._own})" if self._own else behind
        self._request = structs.replace(self._request, filter=condition, offset=0)

    _own: str | None = None
    """The user's filter, once pages have added to it."""


def _collection_id(session: Session, request: requests.Search | requests.Query) -> Operation[int]:
    asked = requests.DescribeCollection(database=session.database, collection=request.collection)
    info = yield from ask(asked, results.CollectionInfo)
    return info.collection_id


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
        """Give back what the iterator holds. Twice is once."""
        self._cursor = None

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
        self._cursor = None

    def __aiter__(self) -> AsyncPageIterator[P]:
        return self

    async def __anext__(self) -> P:
        page = await self.next()
        if not len(page):
            raise StopAsyncIteration
        return page
