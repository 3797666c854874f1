"""HTTP/1.1 connections: uvicorn's protocol around an ASGI application, without a server or socket of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

IDLE_SECONDS = 75
"""How long a connection may stay open between two requests."""
FIRST_REQUEST_SECONDS = 30.0
"""How long the headers of a connection's first request may take."""


class Http1:
    """Makes the protocol of each HTTP/1.1 connection of one ASGI application."""

    def __init__(self, app: Any, first_request_seconds: float = FIRST_REQUEST_SECONDS) -> None:
        self._config = Config(
            app, interface="asgi3", lifespan="off", ws="none", http="httptools", log_config=None, access_log=False,
            server_header=False, date_header=False, timeout_keep_alive=IDLE_SECONDS,
        )  # fmt: skip
        # Malformed requests are answered 400; that is the client's affair, not the log's.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._config.load()
        self._state = ServerState()
        self._first_request_seconds = first_request_seconds

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    @property
    def running(self) -> int:
        """Requests that are not answered yet."""
        return len(self._state.tasks)

    def connect(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Connection(self._config, self._state, self._first_request_seconds)

    def leave(self) -> None:
        """Close idle connections; the others close when their request is answered."""
        for connection in list(self._state.connections):
            connection.shutdown()

    def abort(self) -> None:
        """Close every connection, answered or not."""
        for connection in list(self._state.connections):
            connection.transport.abort()


class _Connection(HttpToolsProtocol):
    """A connection that is closed when it never completes the headers of a request."""

    def __init__(self, config: Config, state: ServerState, first_request_seconds: float) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self._seconds = first_request_seconds
        self._first_request: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._first_request = self.loop.call_later(self._seconds, self._first_request_due)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._first_request is not None:
            self._first_request.cancel()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        if self._first_request is not None:
            self._first_request.cancel()
            self._first_request = None
        super().on_headers_complete()

    def _first_request_due(self) -> None:
        self.transport.close()
