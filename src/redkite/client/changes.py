"""Change feeds in a program's hand: an iterator of changes, each of which knows the position behind it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pyarrow as pa
from msgspec import structs

from redkite.client import arguments
from redkite.client.arguments import illegal
from redkite.client.operations import changes as operations
from redkite.client.operations.changes import Initial
from redkite.client.session import Operation, Session
from redkite.client.values import row_dicts
from redkite.model import changes as ch
from redkite.model.changes import FeedPosition

_POLL_SECONDS = 10.0
"""The server lets one request wait so long for something new."""
_SLACK_SECONDS = 60.0
"""What one request may take besides."""


class Change:
    """Something that happened.

    `kind` is `upsert` (rows written; those with their primary keys are replaced), `delete`, `snapshot` (rows that were
    there before the feed began), `import`, `truncated` (every row is gone), or an event: `collection_created`,
    `collection_dropped`, `collection_renamed`, `schema_changed`, `properties_changed`, `aliases_changed`,
    `partition_created`, `partition_dropped`, `database_created`, `database_changed`, `database_dropped`. One change is
    what one write did in one shard, whole.
    """

    __slots__ = ("_before", "_change", "_position")

    def __init__(self, change: ch.Change, before: FeedPosition) -> None:
        self._change = change
        self._before = before
        self._position: str | None = None

    @property
    def kind(self) -> str:
        return self._change.kind

    @property
    def timestamp(self) -> int:
        """Hybrid. Of rows of a snapshot the moment that they are as of."""
        return self._change.timestamp

    @property
    def database(self) -> str:
        return self._change.database

    @property
    def collection(self) -> str:
        """Its name at that time; empty for what concerns a database."""
        return self._change.collection

    @property
    def collection_id(self) -> int:
        return self._change.collection_id

    @property
    def schema_version(self) -> int:
        """Moves with each change of the collection's fields."""
        return self._change.schema_version

    @property
    def keys(self) -> list[int | str]:
        """Primary keys of the rows, or those that were deleted; empty for events."""
        return [] if self._change.keys is None else self._change.keys.to_pylist()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows as dicts; empty for deletes and events."""
        return [] if self._change.rows is None else row_dicts(self._change.rows, ())

    @property
    def batch(self) -> pa.RecordBatch | None:
        """The rows as an Arrow batch, dynamic fields as JSON in `$meta`; None for deletes and events."""
        return self._change.rows

    @property
    def partitions(self) -> list[tuple[str, int]]:
        """(partition, how many of the rows, in their order); a name is empty where the partition is gone."""
        return list(self._change.partitions)

    @property
    def detail(self) -> dict[str, str]:
        """Of an event: what has changed."""
        return dict(self._change.detail)

    @property
    def position(self) -> str:
        """Behind this change: a feed that begins here goes on with the next one."""
        if self._position is None:
            self._position = self._before.moved(self._change.step).to_text()
        return self._position

    def __repr__(self) -> str:
        change = self._change
        count = "" if change.keys is None else f" of {len(change.keys)} rows"
        return f"<Change {change.kind}{count} in {change.database}.{change.collection} at {change.timestamp}>"


class _Feed:
    """How far a reader has come. No I/O."""

    def __init__(
        self,
        session: Session,
        collection_name: str | None,
        position: str | None,
        initial: Initial,
        name: str | None,
        batch_rows: int,
        wait: float | None,
        database: str | None,
    ) -> None:
        given: Any = wait
        if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or given < 0):
            raise illegal("wait", wait)
        if arguments.integer("batch_rows", batch_rows) < 1:
            raise illegal("batch_rows", batch_rows)
        self._left = self._patience = wait
        self._session = session
        self._name = arguments.optional_name("name", name)
        self._collection = arguments.optional_name("collection_name", collection_name)
        self._database = session.database if database is None else arguments.name("database", database)
        self._request = ch.ReadChanges(
            database=self._database, collection=self._collection,
            position=arguments.optional_name("position", position), start=operations.start_of(initial),
            name=self._name, max_rows=batch_rows, reader=secrets.randbits(62),
        )  # fmt: skip
        self._page: list[ch.Change] = []
        self._before: FeedPosition | None = None
        self._closed = False
        self._is_at_end = False
        self._asked = 0.0

    @property
    def position(self) -> str:
        """Behind the last change that was given; empty before anything is known."""
        return self._request.position if self._before is None else self._before.to_text()

    def _next(self) -> Change | None:
        """The next change of the page at hand."""
        if not self._page or self._before is None:
            return None
        change = self._page.pop()
        given = Change(change, self._before)
        self._before = self._before.moved(change.step)
        return given

    def _ask(self) -> Operation[ch.Changes]:
        """Ask for the next page. The first request only finds out where the feed begins: it does not wait."""
        seconds = 0.0
        if self._is_at_end and self._before is not None:
            seconds = _POLL_SECONDS if self._left is None else min(self._left, _POLL_SECONDS)
        self._asked = seconds
        request = structs.replace(self._request, position=self.position, wait_ms=int(seconds * 1000))
        return operations.read(request)

    def _took(self, page: ch.Changes) -> bool:
        """Whether to go on after a page that may be empty."""
        first = self._before is None
        self._page = list(reversed(page.changes))
        self._before = FeedPosition.from_text(page.position if page.changes else page.end)
        self._is_at_end = not page.more
        if page.changes or page.more:
            self._left = self._patience
            return True
        if self._left is None:
            return True
        if first:
            return self._left > 0
        self._left -= self._asked
        return self._left > 0

    def _acknowledging(self) -> Operation[None]:
        if not self._name:
            raise illegal("name", self._name)
        return operations.acknowledge_changes(
            self._session, self._name, self.position, self._collection or None, self._database
        )


class ChangeStream(_Feed):
    """Changes one after the other, for ever unless `wait` says when to stop. Close it, or use it in a `with`."""

    def __init__(self, run: Callable[[Operation[Any], float | None], Any], *feed: Any) -> None:
        super().__init__(*feed)
        self._run = run

    def __iter__(self) -> ChangeStream:
        return self

    def __next__(self) -> Change:
        while not self._closed:
            change = self._next()
            if change is not None:
                return change
            page: ch.Changes = self._run(self._ask(), self._asked + _SLACK_SECONDS)
            if not self._took(page):
                break
        raise StopIteration

    def begin(self) -> str:
        """Settle where the feed begins, and give that position. Else the first change that is asked for does."""
        if self._before is None:
            self._took(self._run(self._ask(), _SLACK_SECONDS))
        return self.position

    def acknowledge(self) -> None:
        """Every change that was given is dealt with: a feed with a name goes on behind it, also in another process.
        Asking for the change behind a page says so of the page, once a second."""
        self._run(self._acknowledging(), None)

    def close(self) -> None:
        """Stop. What was given last counts as not dealt with, unless `acknowledge` said otherwise."""
        self._closed = True

    def __enter__(self) -> ChangeStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncChangeStream(_Feed):
    """The same, awaited."""

    def __init__(self, run: Callable[[Operation[Any], float | None], Awaitable[Any]], *feed: Any) -> None:
        super().__init__(*feed)
        self._run = run

    def __aiter__(self) -> AsyncChangeStream:
        return self

    async def __anext__(self) -> Change:
        while not self._closed:
            change = self._next()
            if change is not None:
                return change
            page: ch.Changes = await self._run(self._ask(), self._asked + _SLACK_SECONDS)
            if not self._took(page):
                break
        raise StopAsyncIteration

    async def begin(self) -> str:
        """As `ChangeStream.begin`."""
        if self._before is None:
            self._took(await self._run(self._ask(), _SLACK_SECONDS))
        return self.position

    async def acknowledge(self) -> None:
        """As `ChangeStream.acknowledge`."""
        await self._run(self._acknowledging(), None)

    async def close(self) -> None:
        """Stop."""
        self._closed = True

    async def __aenter__(self) -> AsyncChangeStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
