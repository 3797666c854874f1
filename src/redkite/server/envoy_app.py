"""Redkite as an application inside Envoy: gRPC and REST as ASGI, the database opened by its lifespan.

pyvoy embeds Python in Envoy's process and loads `app` from here. Envoy parses HTTP; a call costs this process little
more than its own work. Three things about it want care: an error that left this module would be answered as a success
of gRPC, `receive` may give an empty piece before it says that the client has gone, and nothing here runs in the main
thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from redkite.config import Settings
from redkite.errors import MilvusException, RateLimited, Refused
from redkite.logs import get_logger
from redkite.server.buffered import Buffered
from redkite.server.calls import CANCELED
from redkite.server.compression import TooLarge, inflated, is_known
from redkite.server.dumping import Frames
from redkite.server.grpc import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Rpcs, as_header
from redkite.server.grpc_connection import MOST_INFLATED, NO_ROOM, timeout_seconds
from redkite.server.main import Doors, Server
from redkite.server.observer import shown_address
from redkite.server.process import begin_process
from redkite.wire.methods import encode_error

ORDERS = "_REDKITE_FRONT"
"""The environment variable that has `Orders` as JSON."""
_PREFIX = Struct(">BI")
_GRPC = (b"content-type", b"application/grpc")
_PR_SET_PDEATHSIG = 1
_CANCELED = 10_000
_log = get_logger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the command tells the process it starts."""

    settings: Settings
    report: str
    """The file that `Report` is written to."""
    launcher: int
    """The process without which this one ends."""
    arguments: list[str]
    """Of that process, which administrators are shown."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How the start went."""

    metrics_port: int = 0
    code: int = 0
    """Of the error that kept it from starting; 0 when nothing did."""
    message: str = ""


class _Refused(Exception):
    """gRPC's own status of a call that has no reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Gone(MilvusException):
    """The client does not take its answer any more."""

    def __init__(self) -> None:
        super().__init__(CANCELED, _CANCELED)


class _Held:
    """What one request counts in of the bytes that all of them may hold."""

    def __init__(self, buffered: Buffered) -> None:
        self._buffered = buffered
        self._size = 0

    def take(self, size: int) -> None:
        """Raises RateLimited when that would be more than there may be."""
        if not self._buffered.take(size):
            raise RateLimited(NO_ROOM)
        self._size += size

    def release(self) -> None:
        self._buffered.give_back(self._size)
        self._size = 0


class EnvoyApp:
    """One ASGI application: a lifespan, then calls."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._doors: Doors | None = None
        self._max_receive = self._max_send = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            assert self._doors is not None
            with suppress(_Gone):
                if _is_grpc(scope):
                    await self._call(self._doors, scope, receive, _noticing(send))
                else:
                    await self._doors.rest(scope, receive, _noticing(send))

    # -- life -----------------------------------------------------------------------------------
    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        orders = msgspec.json.decode(os.environ[ORDERS], type=Orders)
        try:
            await self._start(orders)
        except MilvusException as error:
            _report(orders, Report(code=error.code, message=error.message))
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._server is not None:
            await self._server.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, orders: Orders) -> None:
        if sys.version_info < (3, 12):
            # pyvoy passes the timeout that later versions take, and would abort the process instead of ending it.
            loop: Any = asyncio.get_running_loop()
            shutdown = loop.shutdown_default_executor
            loop.shutdown_default_executor = lambda _timeout=None: shutdown()
        # Ctrl-C goes to the whole group of the command, which then drains Envoy before it ends it.
        os.setpgid(0, 0)
        # Envoy outlives whoever started it. Told by the system instead of a parent that can be killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != orders.launcher:
            os.kill(os.getpid(), signal.SIGTERM)
        sys.argv = orders.arguments
        begin_process(orders.settings)
        limits = orders.settings.limits
        self._max_receive, self._max_send = limits.max_receive_bytes, limits.max_send_bytes
        threading.current_thread().name = "MainThread"  # as the event loop's is called in a server without Envoy
        server = self._server = Server(orders.settings)
        self._doors = await server.start_inside(orders.launcher)
        _report(orders, Report(metrics_port=server.metrics_port))

    # -- calls ----------------------------------------------------------------------------------
    async def _call(self, doors: Doors, scope: Message, receive: Receive, send: Send) -> None:
        """One unary call. Never raises."""
        try:
            answer = _replied(await self._answer(doors, scope, receive))
        except _Refused as error:
            answer = _refusal(error)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not leave: see above
            _log.error("a call was not answered", exc_info=error)
            answer = _refusal(_Refused(INTERNAL, f"unexpected error: {type(error).__name__}"))
        for message in answer:
            await send(message)

    async def _answer(self, doors: Doors, scope: Message, receive: Receive) -> bytes:
        """What a call is answered. Raises _Refused."""
        rpcs = doors.rpcs
        path: str = scope["path"]
        method = rpcs.methods.get(path.encode())
        if method is None:
            raise _Refused(UNIMPLEMENTED, f"method {path.rsplit('/', 1)[-1]} not implemented")
        headers = list(scope["headers"])
        named = dict(headers)
        deadline = time.monotonic() + timeout_seconds(named.get(b"grpc-timeout", b""))
        turned_away = await _stranger(rpcs, method, headers, shown_address(scope.get("client")))
        if turned_away is not None:
            return _unless_refused(turned_away)
        held = _Held(doors.buffered)
        try:
            message = await self._message(receive, named.get(b"grpc-encoding", b""), rpcs, held)
            return await self._reply(rpcs, method, message, scope, deadline)
        except RateLimited as full:
            return encode_error(method, full)
        finally:
            held.release()

    async def _reply(self, rpcs: Rpcs, method: str, message: bytes, scope: Message, deadline: float) -> bytes:
        """What a call is answered, once it is made. Raises _Refused."""
        answered: asyncio.Future[bytes | Refused] = asyncio.get_running_loop().create_future()

        def done(reply: bytes | Refused) -> None:
            if not answered.done():  # the client may have gone
                answered.set_result(reply)

        rpcs.begin(method, message, list(scope["headers"]), done, shown_address(scope.get("client")), deadline)
        reply = _unless_refused(await answered)
        if len(reply) > self._max_send:
            text = f"grpc: trying to send message larger than max ({len(reply)} vs. {self._max_send})"
            raise _Refused(RESOURCE_EXHAUSTED, text)
        return reply

    async def _message(self, receive: Receive, encoding: bytes, rpcs: Rpcs, held: _Held) -> bytes:
        """The one message of a request. One that is too large is thrown away as it comes. Raises _Refused, and
        RateLimited when the server holds too much already."""
        pieces: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _Refused(INTERNAL, "the client has gone")
            piece = event.get("body", b"")
            size += len(piece)
            if size <= self._max_receive + _PREFIX.size:
                held.take(len(piece))
                pieces.append(piece)
            else:
                pieces = pieces[:1]
            if not event.get("more_body"):
                break
        body = b"".join(pieces)
        if size < _PREFIX.size:
            raise _Refused(INTERNAL, "the request has no message")
        compressed, length = _PREFIX.unpack_from(body)
        if max(length, size - _PREFIX.size) > self._max_receive:
            found = max(length, size - _PREFIX.size)
            text = f"grpc: received message larger than max ({found} vs. {self._max_receive})"
            raise _Refused(RESOURCE_EXHAUSTED, text)
        if length != size - _PREFIX.size:
            text = f"the request should be one message of {length} bytes, but has {size - _PREFIX.size}"
            raise _Refused(INTERNAL, text)
        message = body[_PREFIX.size :]
        return await self._inflated(message, encoding, rpcs, held) if compressed else message

    async def _inflated(self, message: bytes, encoding: bytes, rpcs: Rpcs, held: _Held) -> bytes:
        if encoding in (b"", b"identity") or not is_known(encoding):
            shown = encoding.decode(errors="replace") or "nothing that is named"
            raise _Refused(UNIMPLEMENTED, f"messages compressed with {shown} are not accepted")
        held.take(min(len(message) * MOST_INFLATED, self._max_receive))
        try:
            return await rpcs.calls.run(lambda: inflated(message, encoding, self._max_receive))
        except TooLarge:
            text = f"grpc: received message larger than max ({self._max_receive + 1} vs. {self._max_receive})"
            raise _Refused(RESOURCE_EXHAUSTED, text) from None


async def _stranger(
    rpcs: Rpcs, method: str, headers: list[tuple[bytes, bytes]], address: str
) -> bytes | Refused | None:
    """What whoever calls is told when they are not heard: looked at before their message is read."""
    try:
        if not rpcs.is_unknown(headers):
            return None
    except Refused as refused:
        return refused
    seen: asyncio.Future[bytes | Refused | None] = asyncio.get_running_loop().create_future()

    def settle(outcome: bytes | Refused | None) -> None:
        if not seen.done():  # the client may have gone
            seen.set_result(outcome)

    rpcs.look(method, headers, address, lambda: settle(None), settle)
    return await seen


def _unless_refused(reply: bytes | Refused) -> bytes:
    if isinstance(reply, Refused):
        raise _Refused(reply.grpc_status, reply.message)
    return reply


def _noticing(send: Send) -> Send:
    """`send`, which raises _Gone and not pyvoy's OSError, which REST would take for a bug."""

    async def told(message: Message) -> None:
        try:
            await send(message)
        except OSError as error:
            raise _Gone from error

    return told


def _is_grpc(scope: Message) -> bool:
    return any(n == b"content-type" and v.startswith(b"application/grpc") for n, v in scope["headers"])


def _replied(reply: bytes) -> list[Message]:
    body = reply if isinstance(reply, Frames) else _PREFIX.pack(0, len(reply)) + reply
    return [
        {"type": "http.response.start", "status": 200, "headers": [_GRPC], "trailers": True},
        {"type": "http.response.body", "body": body},
        {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]},
    ]


def _refusal(error: _Refused) -> list[Message]:
    headers = [_GRPC, (b"grpc-status", b"%d" % error.status), (b"grpc-message", as_header(str(error)))]
    return [
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": b""},
    ]


def _report(orders: Orders, report: Report) -> None:
    path = Path(orders.report)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(report))
    unfinished.rename(path)


app = EnvoyApp()
