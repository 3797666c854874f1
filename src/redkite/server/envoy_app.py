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
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from redkite.config import Settings
from redkite.errors import MilvusException, Refused
from redkite.logs import get_logger
from redkite.server.compression import TooLarge, inflated, is_known
from redkite.server.dumping import Frames
from redkite.server.grpc import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Rpcs
from redkite.server.main import Doors, Server
from redkite.server.observer import shown_address
from redkite.server.process import begin_process

ORDERS = "_REDKITE_FRONT"
"""The environment variable that has `Orders` as JSON."""
_PREFIX = Struct(">BI")
_GRPC = (b"content-type", b"application/grpc")
_PR_SET_PDEATHSIG = 1
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
            if _is_grpc(scope):
                await self._call(self._doors.rpcs, scope, receive, send)
            else:
                await self._doors.rest(scope, receive, send)

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
        # Envoy outlives whoever started it. Told by the system instead of a parent that can be killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != orders.launcher:
            os.kill(os.getpid(), signal.SIGTERM)
        begin_process(orders.settings)
        limits = orders.settings.limits
        self._max_receive, self._max_send = limits.max_receive_bytes, limits.max_send_bytes
        server = self._server = Server(orders.settings)
        self._doors = await server.start_inside()
        _report(orders, Report(metrics_port=server.metrics_port))

    # -- calls ----------------------------------------------------------------------------------
    async def _call(self, rpcs: Rpcs, scope: Message, receive: Receive, send: Send) -> None:
        """One unary call. Never raises."""
        try:
            reply = await self._answer(rpcs, scope, receive)
            await send({"type": "http.response.start", "status": 200, "headers": [_GRPC], "trailers": True})
            body = reply if isinstance(reply, Frames) else _PREFIX.pack(0, len(reply)) + reply
            await send({"type": "http.response.body", "body": body})
            await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]})
        except _Refused as error:
            await _refuse(send, error)
        except Exception as error:  # noqa: BLE001  whatever it is, it must not leave: see above
            _log.error("a call was not answered", exc_info=error)
            await _refuse(send, _Refused(INTERNAL, f"unexpected error: {type(error).__name__}"))

    async def _answer(self, rpcs: Rpcs, scope: Message, receive: Receive) -> bytes:
        path: str = scope["path"]
        method = rpcs.methods.get(path.encode())
        if method is None:
            raise _Refused(UNIMPLEMENTED, f"method {path.rsplit('/', 1)[-1]} not implemented")
        headers = list(scope["headers"])
        refused = await _stranger(rpcs, method, headers, shown_address(scope.get("client")))
        message = await self._message(receive, dict(headers).get(b"grpc-encoding", b""), rpcs, keep=refused is None)
        if refused is not None:
            raise refused
        answered: asyncio.Future[bytes | Refused] = asyncio.get_running_loop().create_future()

        def done(reply: bytes | Refused) -> None:
            if not answered.done():  # the client may have gone
                answered.set_result(reply)

        rpcs.begin(method, message, headers, done, shown_address(scope.get("client")))
        reply = await answered
        if isinstance(reply, Refused):
            raise _Refused(reply.grpc_status, reply.message)
        if len(reply) > self._max_send:
            text = f"grpc: trying to send message larger than max ({len(reply)} vs. {self._max_send})"
            raise _Refused(RESOURCE_EXHAUSTED, text)
        return reply

    async def _message(self, receive: Receive, encoding: bytes, rpcs: Rpcs, *, keep: bool) -> bytes:
        """The one message of a request. Nothing is refused before all of it is there: Envoy would answer for us. What
        is not to be kept is thrown away as it comes."""
        pieces: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise _Refused(INTERNAL, "the client has gone")
            piece = event.get("body", b"")
            if not keep:
                piece = b""
            size += len(piece)
            if size <= self._max_receive + _PREFIX.size:
                pieces.append(piece)
            else:
                pieces = pieces[:1]
            if not event.get("more_body"):
                break
        if not keep:
            return b""
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
        return await self._inflated(message, encoding, rpcs) if compressed else message

    async def _inflated(self, message: bytes, encoding: bytes, rpcs: Rpcs) -> bytes:
        if encoding in (b"", b"identity") or not is_known(encoding):
            shown = encoding.decode(errors="replace") or "nothing that is named"
            raise _Refused(UNIMPLEMENTED, f"messages compressed with {shown} are not accepted")
        try:
            return await rpcs.calls.run(lambda: inflated(message, encoding, self._max_receive))
        except TooLarge:
            text = f"grpc: received message larger than max ({self._max_receive + 1} vs. {self._max_receive})"
            raise _Refused(RESOURCE_EXHAUSTED, text) from None


async def _stranger(rpcs: Rpcs, method: str, headers: list[tuple[bytes, bytes]], address: str) -> _Refused | None:
    """Why whoever calls is not heard: looked at before their message is read."""
    try:
        if not rpcs.is_unknown(headers):
            return None
    except Refused as refused:
        return _Refused(refused.grpc_status, refused.message)
    seen: asyncio.Future[_Refused | None] = asyncio.get_running_loop().create_future()

    def settle(outcome: _Refused | None) -> None:
        if not seen.done():  # the client may have gone
            seen.set_result(outcome)

    def done(reply: bytes | Refused) -> None:
        if isinstance(reply, Refused):
            settle(_Refused(reply.grpc_status, reply.message))
        else:
            settle(_Refused(RESOURCE_EXHAUSTED, "too many callers are being looked at already: try again"))

    rpcs.look(method, headers, address, lambda: settle(None), done)
    return await seen


def _is_grpc(scope: Message) -> bool:
    return any(n == b"content-type" and v.startswith(b"application/grpc") for n, v in scope["headers"])


async def _refuse(send: Send, error: _Refused) -> None:
    text = str(error).replace("%", "%25").replace("\n", "%0A").encode("ascii", "replace")
    headers = [_GRPC, (b"grpc-status", b"%d" % error.status), (b"grpc-message", text)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _report(orders: Orders, report: Report) -> None:
    path = Path(orders.report)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(report))
    unfinished.rename(path)


app = EnvoyApp()
