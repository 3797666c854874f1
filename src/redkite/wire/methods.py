"""The table of RPCs, and the translations by method name that transports and clients use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from redkite.errors import InvalidParameter, MilvusException, PartlyWritten, Unimplemented
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.wire import (
    access,
    advice,
    analysis,
    backup,
    changes,
    collection,
    database,
    evolution,
    exchange,
    imports,
    index,
    inspection,
    legacy,
    partition,
    placement,
    ranking,
    read,
    replication,
    session,
    snapshot,
    upkeep,
    write,
)
from redkite.wire.codec import Buffer, Codec
from redkite.wire.messages import find_method, message_class, parse
from redkite.wire.status import raise_for_status, write_status

DATABASE_KEY = "dbname"
"""The metadata key (lower case, as gRPC delivers it) that names the caller's database."""

USER_KEY = "redkite-user"
"""The metadata key by which one process of a server tells another for whom it asks. Nobody else is believed."""

_ALL: tuple[Codec[Any, Any], ...] = tuple(
    codec
    for module in (
        session, database, collection, evolution, partition, index, write, read, ranking, upkeep, snapshot, backup,
        advice, access, analysis, exchange, inspection, placement, legacy, imports, changes, replication,
    )
    for codec in module.CODECS
)  # fmt: skip
_CODECS: dict[str, Codec[Any, Any]] = {codec.method: codec for codec in reversed(_ALL)}
"""Of several requests by one RPC the first: they are read alike."""
_BY_REQUEST: dict[type[Request], Codec[Any, Any]] = {codec.request: codec for codec in _ALL}

METHODS: dict[str, tuple[Any, Any, type[Request]]] = {
    name: (codec.request_class, codec.reply_class, codec.request) for name, codec in _CODECS.items()
}
"""Method name -> request message class, reply message class, request struct: every RPC that can be answered."""
REQUESTS: frozenset[type[Request]] = frozenset(_BY_REQUEST)
"""Every request that has an RPC."""
PATHS: dict[str, str] = {name: codec.path for name, codec in _CODECS.items()}
"""Method name -> path of its RPC."""


STREAMED = "DumpMessages"
"""The RPC that is answered by any number of messages, and is not asked by clients of ours."""

WITHOUT_A_STATUS = frozenset({"GetReplicateInfo"})
"""Calls whose replies have no place for an error: gRPC's own status says it."""

NO_STATUS = '{"status": "fail"}'
"""All that a reply without a status, of which there is one, can say of an error."""


class MethodUnimplemented(Unimplemented):
    """An RPC that this version does not have at all: gRPC's own UNIMPLEMENTED says so, not a Status."""

    def __init__(self, method: str) -> None:
        super().__init__(f"method {method} not implemented")


# -- server side --------------------------------------------------------------------------------
def decode_request(method: str, data: bytes, metadata: Mapping[str, str]) -> Request:
    """Request bytes -> request.

    Raises MethodUnimplemented for an RPC this version lacks, WireError for bytes that are not the method's message,
    InvalidParameter or Unimplemented for a message that contradicts itself or asks for what is not served.
    """
    codec = _CODECS.get(method)
    if codec is None:
        raise MethodUnimplemented(method)
    message = codec.parse(codec.request_class, data)
    name = message.db_name if codec.has_database else ""
    if not name and not codec.own_database:
        name = metadata.get(DATABASE_KEY, "")
    request: Request = codec.decode(message, name)
    return request


def encode_reply(method: str, result: Result) -> bytes:
    """The reply bytes of a success."""
    codec = _CODECS[method]
    message = codec.reply_class()
    status = _status_of(message)
    if status is not None:
        status.SetInParent()  # clients in languages with null read it without asking whether it is there
    codec.encode(message, result)
    data: bytes = message.SerializeToString()
    return data


def encode_error(method: str, error: MilvusException) -> bytes:
    """The reply bytes of a failure: the method's own reply message with nothing but its status."""
    descriptor = find_method(method)
    if descriptor is None:
        raise MethodUnimplemented(method)
    message = message_class(descriptor.output_type)()
    status = _status_of(message)
    if status is not None:
        write_status(status, error, method)
    elif "response" in descriptor.output_type.fields_by_name:
        message.response = NO_STATUS
    if isinstance(error, PartlyWritten):
        message.succ_index.extend(error.written)
        message.err_index.extend(error.failed)
    data: bytes = message.SerializeToString()
    return data


def _status_of(message: Any) -> Any:
    """Where a reply says how it went; None: this one does not."""
    kind: Any = type(message)
    name = _status_name(kind)
    if name is None:
        return None
    return getattr(message, name) if name else message


@lru_cache(maxsize=1024)
def _status_name(kind: Any) -> str | None:
    """Its name in replies of a class; empty: the reply itself, None: none."""
    if kind.DESCRIPTOR.name == "Status":
        return ""
    if kind.DESCRIPTOR.name == "AlterCollectionSchemaResponse":
        return "alter_status"
    return "status" if "status" in kind.DESCRIPTOR.fields_by_name else None


# -- client side --------------------------------------------------------------------------------
def encode_pieces(request: Request) -> tuple[str, list[Buffer]]:
    """Request -> method name and request bytes in pieces, large blocks of numbers as they lie in the request's arrays.
    The database goes into the message where it has a place; a transport also sends it as metadata under `DATABASE_KEY`,
    for the messages that have none. Raises InvalidParameter for a text that is not valid Unicode."""
    codec = _BY_REQUEST[type(request)]
    try:
        whole = codec.short(request)
        if whole is not None:
            return codec.method, [whole]
        message = codec.request_class()
        if codec.has_database:
            message.db_name = request.database
        codec.pack(message, request)
    except UnicodeEncodeError as error:
        shown = error.object[max(0, error.start - 50) : error.start + 50]
        raise InvalidParameter(
            f"a text of the request is not valid Unicode: {error.reason}, at {error.start} in {shown!r}"
        ) from None
    data = message.SerializeToString()
    return codec.method, [data, *codec.tail(request, len(data))]


def encode_request(request: Request) -> tuple[str, bytes]:
    """`encode_pieces` in one piece."""
    method, pieces = encode_pieces(request)
    return method, b"".join(pieces)


def decode_reply(request: Request, data: bytes) -> Result:
    """Reply bytes -> result; raises the error that the reply's status carries, or WireError."""
    codec = _BY_REQUEST[type(request)]
    message = parse(codec.reply_class, data)
    status = _status_of(message)
    if status is not None:
        raise_for_status(status)
    result: Result = codec.unpack(message)
    return result
