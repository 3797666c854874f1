"""One RPC in both directions: how its request and its result become messages, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redkite.model.requests import Request
from redkite.model.results import Done, Result
from redkite.wire.messages import find_method, message_class, parse

Buffer = bytes | memoryview
Q = TypeVar("Q", bound=Request)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, slots=True)
class Codec(Generic[Q, R]):
    """The four translations of one RPC. Replies start as messages whose status says success."""

    method: str
    request: type[Q]
    result: type[R]
    decode: Callable[[Any, str], Q]
    """Request message and database -> request."""
    pack: Callable[[Any, Q], None]
    """Fill a request message."""
    encode: Callable[[Any, R], None]
    """Fill a reply message."""
    unpack: Callable[[Any], R]
    """Reply message of a success -> result."""
    request_class: Any
    reply_class: Any
    has_database: bool
    """The request message has a `db_name`."""
    own_database: bool
    """`db_name` is what the call is about: an empty one is not replaced by the caller's current database."""
    path: str
    """Of the RPC in HTTP/2."""
    tail: Callable[[Q, int], list[Buffer]]
    """What of a request message `pack` leaves out, because it need not be copied: bytes to append to the message, which
    has so many."""
    short: Callable[[Q], bytes | None]
    """A whole request message, written the shorter way; None where `pack` has to fill it."""
    parse: Callable[[Any, bytes], Any]
    """Message class and bytes -> what `decode` takes."""


def no_tail(_request: Request, _before: int) -> list[Buffer]:
    """The message as `pack` fills it is all."""
    return []


def no_short(_request: Request) -> None:
    """There is no shorter way."""


def codec(
    method: str,
    request: type[Q],
    result: type[R],
    *,
    decode: Callable[[Any, str], Q],
    pack: Callable[[Any, Q], None],
    encode: Callable[[Any, R], None],
    unpack: Callable[[Any], R],
    own_database: bool = False,
    tail: Callable[[Q, int], list[Buffer]] = no_tail,
    short: Callable[[Q], bytes | None] = no_short,
    parse: Callable[[Any, bytes], Any] = parse,
) -> Codec[Q, R]:
    """A Codec with its message classes looked up in the service."""
    descriptor = find_method(method)
    request_class = message_class(descriptor.input_type)
    return Codec(
        method=method, request=request, result=result, decode=decode, pack=pack, encode=encode, unpack=unpack,
        request_class=request_class, reply_class=message_class(descriptor.output_type),
        has_database="db_name" in request_class.DESCRIPTOR.fields_by_name, own_database=own_database,
        path=f"/{descriptor.containing_service.full_name}/{method}",
        tail=tail, short=short, parse=parse,
    )  # fmt: skip


class Names(Generic[Q]):
    """A request whose fields are single message fields of other names: `one` plain ones, `many` repeated ones."""

    def __init__(self, request: type[Q], one: dict[str, str] | None = None, many: dict[str, str] | None = None) -> None:
        self._request = request
        self._one = tuple((one or {}).items())
        self._many = tuple((many or {}).items())

    def decode(self, message: Any, database: str) -> Q:
        values: dict[str, Any] = {name: getattr(message, field) for name, field in self._one}
        for name, field in self._many:
            values[name] = tuple(getattr(message, field))
        return self._request(database=database, **values)

    def pack(self, message: Any, request: Q) -> None:
        for name, field in self._one:
            setattr(message, field, getattr(request, name))
        for name, field in self._many:
            getattr(message, field).extend(getattr(request, name))


def nothing(_message: Any, _result: Result) -> None:
    """Encodes `Done`: a success has nothing to say."""


def done(_message: Any) -> Done:
    """Unpacks `Done`."""
    return Done()


def command(
    method: str,
    request: type[Q],
    one: dict[str, str] | None = None,
    many: dict[str, str] | None = None,
    *,
    own_database: bool = False,
) -> Codec[Q, Done]:
    """An RPC that copies names down and answers only its status."""
    names = Names(request, one, many)
    return codec(
        method, request, Done, decode=names.decode, pack=names.pack, encode=nothing, unpack=done,
        own_database=own_database,
    )  # fmt: skip


def question(
    method: str,
    request: type[Q],
    result: type[R],
    one: dict[str, str] | None = None,
    many: dict[str, str] | None = None,
    *,
    encode: Callable[[Any, R], None],
    unpack: Callable[[Any], R],
    own_database: bool = False,
) -> Codec[Q, R]:
    """An RPC that copies names down and answers something."""
    names = Names(request, one, many)
    return codec(
        method, request, result, decode=names.decode, pack=names.pack, encode=encode, unpack=unpack,
        own_database=own_database,
    )  # fmt: skip


COLLECTION = {"collection": "collection_name"}
PARTITION = {"collection": "collection_name", "partition": "partition_name"}
PARTITIONS = {"partitions": "partition_names"}
