"""HTTP/1.1 connections: uvicorn's protocol around an ASGI application, without a server or socket of its own."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

IDLE_SECONDS = 75
"""How long a connection may stay open between two requests."""
HEADER_SECONDS = 30.0
"""How long the headers of a request may take."""
LINGER_SECONDS = 2.0
"""How long a connection is read from whose request was answered before all of it was there."""
STALL_SECONDS = 60.0
"""How long a client may take nothing of an answer."""
MAX_HEADER_BYTES = 65_536
_TICK, _SHORTEST_TICK = 2.0, 0.02
"""How often it is looked whether a connection has waited too long."""
_UPGRADE = re.compile(rb"(\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
"""A wish for another protocol, as Java's client has with every first request. It may be ignored, but the parser, which
would take the body for the other protocol, cannot be told to: so it reads a name that means nothing."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_JOINED_BYTES = 65_536
"""What is larger goes out behind its head, not copied to it."""
_TOO_LARGE = f"The headers are larger than {MAX_HEADER_BYTES} bytes."


class Http1:
    """Makes the protocol of each HTTP/1.1 connection of one ASGI application."""

    def __init__(self, app: Any, header_seconds: float = HEADER_SECONDS, most: int | None = None) -> None:
        """`most`: connections beyond which requests are answered 503; None where somebody else counts them."""
        self._config = Config(
            app, interface="asgi3", lifespan="off", ws="none", http="httptools", log_config=None, access_log=False,
            server_header=False, date_header=False, timeout_keep_alive=IDLE_SECONDS, limit_concurrency=most,
        )  # fmt: skip
        # Malformed requests are answered 400; that is the client's affair, not the log's.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._config.load()
        self._state = ServerState()
        self._header_seconds = header_seconds

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    @property
    def running(self) -> int:
        """Requests that are not answered yet."""
        return len(self._state.tasks)

    def connect(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Connection(self._config, self._state, self._header_seconds)

    def leave(self) -> None:
        """Close idle connections; the others close when their request is answered."""
        for connection in list(self._state.connections):
            connection.shutdown()

    def abort(self) -> None:
        """Close every connection, answered or not."""
        for connection in list(self._state.connections):
            connection.transport.abort()


class _Joining(asyncio.Transport):
    """Holds the head of an answer back until the first piece of its body: one packet, and one call of the system, for
    both. Whatever else is asked of it is asked of the transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._to = transport
        self._head = b""
        self._is_begun = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_begun:
            head, self._head = self._head, b""
            if head and len(data) <= _JOINED_BYTES:
                data = head + data
            elif head:
                self._to.write(head)
            self._to.write(data)
        elif data == _CONTINUE:
            self._to.write(data)
        else:
            self._head, self._is_begun = bytes(data), True

    def end(self) -> None:
        """The answer is whole, also one that is a head alone."""
        head, self._head, self._is_begun = self._head, b"", False
        if head:
            self._to.write(head)

    def close(self) -> None:
        self.end()
        self._to.close()

    def abort(self) -> None:
        self._to.abort()

    def is_closing(self) -> bool:
        return self._to.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._to.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._to.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._to.pause_reading()

    def resume_reading(self) -> None:
        self._to.resume_reading()


class _Connection(HttpToolsProtocol):
    """A connection that waits for nobody for ever: for the headers of a request, the next request, the rest of a body
    that nobody reads any more, or for a client to take its answer."""

    def __init__(self, config: Config, state: ServerState, header_seconds: float) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._seconds = header_seconds
        self._tick = max(_SHORTEST_TICK, min(_TICK, header_seconds / 4))
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = math.inf
        self._left, self._taken_at = 0, 0.0
        self._in_headers = self._is_running = False
        self._is_whole = True
        self._header_bytes = self._raw_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self._joining = _Joining(transport)
        super().connection_made(self._joining)
        self._wait(self._seconds)
        self._timer = self.loop.call_later(self._tick, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if (self._is_whole or self._in_headers) and b"pgrade" in data:
            data = _UPGRADE.sub(rb"\1x-other", data)
        super().data_received(data)
        if self._in_headers:
            self._raw_bytes += len(data)
            if self._raw_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response(_TOO_LARGE)

    # -- what the parser says -------------------------------------------------------------------
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._is_whole = True, False
        self._header_bytes = self._raw_bytes = 0
        if not self._is_running:  # else the one before is ours to answer first
            self._wait(self._seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError(_TOO_LARGE)  # which the parser makes an answer of
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_headers, self._is_running = False, True
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._joining.end()
        self._is_running = bool(self.pipeline)  # the next one, of which `_is_whole` may speak already
        if self._is_running or self.transport.is_closing():
            super().on_response_complete()
        else:  # without the timer of each request that would wait for the next one: `_look` does
            self.flow.resume_reading()
        if self._is_running:
            self._wait(None)
        elif self._in_headers:
            self._wait(self._seconds)
        elif not self.transport.is_closing():
            self._wait(IDLE_SECONDS if self._is_whole else LINGER_SECONDS)

    # -- time -----------------------------------------------------------------------------------
    def _wait(self, seconds: float | None) -> None:
        """For what comes next; None: it is ours to be quick. A note, and no timer: one a connection is enough."""
        self._due_at = math.inf if seconds is None else self.loop.time() + seconds

    def _look(self) -> None:
        now, left = self.loop.time(), self.transport.get_write_buffer_size()
        if left != self._left:
            self._left, self._taken_at = left, now
        if left and now - self._taken_at > STALL_SECONDS:
            self.transport.abort()
        elif left or now < self._due_at:
            self._timer = self.loop.call_later(self._tick, self._look)
        else:
            self.transport.close()
