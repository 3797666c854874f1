"""What the operations of one client share, and the effects they yield.

An operation is a generator. It yields a `Request`, and receives that request's `Result`; it yields a `Wait`, and is
resumed after so many seconds. It returns the user's value. It touches no socket, clock or thread: the clients do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

import msgspec
from msgspec import structs

from redkite.client.rows import RowPlan
from redkite.client.schema_cache import SHARED, SchemaCache
from redkite.errors import InvalidInput, MilvusException, Unexpected
from redkite.model.requests import Delete, DescribeCollection, Queries, Query, Request, Search
from redkite.model.results import CollectionInfo, Result
from redkite.model.types import DataType

T = TypeVar("T")
R = TypeVar("R", bound=Result)


@final
class Wait(msgspec.Struct, frozen=True):
    """Resume me after `seconds`."""

    seconds: float


Effect = Request | Wait
Operation = Generator[Effect, Any, T]

MAX_REQUEST_BYTES = 60 << 20
"""What one insert may weigh on the wire: below the 64 MiB a server accepts."""

MAX_SEARCHES = 256
NO_QUERIES = Queries(data_type=DataType.NONE)


@dataclass(slots=True)
class Session:
    """The state of one client. `endpoint` names the database system, `database` the database its names live in."""

    endpoint: str
    database: str = ""
    server_type: str = "milvus"
    max_request_bytes: int | None = None
    """None: no limit, as in process."""
    schemas: SchemaCache = SHARED
    last_writes: dict[tuple[str, str], int] = field(default_factory=dict)
    """(database, collection) -> hybrid timestamp of this client's last write there, for reads at Session level."""
    searches: dict[tuple[Any, ...], Search] = field(default_factory=dict)
    """Requests by the arguments they were made of: a search that comes again, with other vectors, is read once."""

    @property
    def is_embedded(self) -> bool:
        """Whether requests are handed over as they are, to an engine in this process."""
        return self.max_request_bytes is None

    def keep(self, key: tuple[Any, ...], search: Search) -> None:
        """Remember a search, without its vectors."""
        if len(self.searches) >= MAX_SEARCHES:
            self.searches.clear()
        self.searches[key] = structs.replace(search, queries=NO_QUERIES)

    def plan(self, collection: str) -> RowPlan | None:
        return self.schemas.get((self.endpoint, self.database, collection))

    def remember(self, collection: str, plan: RowPlan) -> None:
        self.schemas.put((self.endpoint, self.database, collection), plan)

    def forget(self, collection: str) -> None:
        self.schemas.drop((self.endpoint, self.database, collection))


def relayed(operation: Operation[T], change: Callable[[Effect], Effect]) -> Operation[T]:
    """The operation, each of whose effects is changed on its way out; an error of `change` ends it there."""
    try:
        effect = operation.send(None)
        while True:
            sent = change(effect)
            try:
                answer = yield sent
            except MilvusException as error:
                effect = operation.throw(error)
            else:
                effect = operation.send(answer)
    except StopIteration as finished:
        value: T = finished.value
        return value
    finally:
        operation.close()


def ask(request: Request, kind: type[R]) -> Operation[R]:
    """Send one request; its result must be of this kind."""
    return answer(request, (yield request), kind)


def answer(request: Request, result: object, kind: type[R]) -> R:
    """The result of a request, which must be of this kind."""
    if not isinstance(result, kind):
        raise Unexpected(f"{type(request).__name__} was answered with {type(result).__name__}, not {kind.__name__}")
    return result


def plan_of(session: Session, collection: str) -> Operation[RowPlan]:
    """How rows of a collection look, from the cache or, once, from its description."""
    plan = session.plan(collection)
    if plan is None:
        plan = yield from fresh_plan_of(session, collection)
    return plan


def fresh_plan_of(session: Session, collection: str) -> Operation[RowPlan]:
    info = yield from ask(DescribeCollection(database=session.database, collection=collection), CollectionInfo)
    plan = RowPlan.of(info)
    session.remember(collection, plan)
    return plan


def ask_by_ids(session: Session, request: Query | Delete, keys: Sequence[Any], answer: type[R]) -> Operation[R]:
    """Send a request for the rows that have these primary keys.

    Which field that is comes from the cached schema; when the request fails with one that has changed since, it is
    made again with the current one.
    """
    cached = session.plan(request.collection)
    plan = cached or (yield from fresh_plan_of(session, request.collection))
    try:
        result = yield from ask(structs.replace(request, filter=plan.filter_of(keys)), answer)
    except InvalidInput:
        if cached is None:
            raise
        plan = yield from fresh_plan_of(session, request.collection)
        if plan.primary == cached.primary:
            raise
        result = yield from ask(structs.replace(request, filter=plan.filter_of(keys)), answer)
    return result


def backoff(first: float = 0.002, longest: float = 0.25) -> Generator[float, None, None]:
    """Seconds between polls: short at first, because most work is done at once; doubling up to `longest`."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 2, longest)
