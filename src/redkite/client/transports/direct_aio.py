"""A server over plain sockets, for the tasks of an event loop: see `direct` for why."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator

from redkite.client.transports import retry
from redkite.client.transports.base import remaining
from redkite.client.transports.blocks import Blocks, result
from redkite.client.transports.http2 import Aborted, Buffer, Exchange, Refused
from redkite.client.transports.repeat import repeated_async
from redkite.client.transports.speech import CONNECT_TIMEOUT, Speech, before
from redkite.errors import MilvusException, Timeout, Unavailable, WireError
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.wire import encode_pieces

MAX_CONNECTIONS = 32
"""Calls under way at once; further ones wait their turn."""


class AsyncDirectTransport:
    """Calls for the tasks of a loop to a server without TLS. The first call greets the server; another loop, or a
    forked child, connects anew."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._hub: _Hub | None = None

    async def call(self, request: Request, deadline: float | None) -> Result:
        hub = self._hub
        if hub is None or not hub.greeted or not hub.mine():
            hub = await self._live(deadline)
        return await repeated_async(hub.once, request, deadline)

    async def close(self) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            await hub.end()

    async def _live(self, deadline: float | None) -> _Hub:
        hub = self._hub
        if hub is None or not hub.mine():
            hub = self._hub = _Hub(self._speech)
        try:
            await hub.greet(before(deadline, CONNECT_TIMEOUT))
        except MilvusException:
            if self._hub is hub:
                self._hub = None
            raise
        return hub


class _Hub:
    """The connections of one loop. Each carries one call at a time; at most `MAX_CONNECTIONS` are open."""

    def __init__(self, speech: Speech) -> None:
        self.greeted = False
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._speech = speech
        self._blocks = Blocks(speech)
        self._greeting = asyncio.Lock()
        self._refused: MilvusException | None = None
        self._closed = False
        self._open = 0
        self._idle: list[_Line] = []
        self._waiting: deque[asyncio.Future[_Line | None]] = deque()
        self._watch: AsyncGenerator[None, None] | None = None

    def mine(self) -> bool:
        """Whether it belongs to the running loop of this process."""
        return self._loop is asyncio.get_running_loop() and self._pid == os.getpid()

    async def greet(self, deadline: float) -> None:
        """Greet the server once for all tasks, waiting for it until the deadline; a refusal is every task's."""
        async with self._greeting:
            if self.greeted:
                return
            if self._refused is not None:
                raise self._refused
            request = self._speech.connect_request()
            pause = 0.02
            while True:
                try:
                    info = await self.once(request, deadline)
                    break
                except MilvusException as error:
                    lost = isinstance(error, Unavailable) and time.monotonic() + pause < deadline
                    if not lost:
                        unreachable = isinstance(error, Unavailable | Timeout)
                        self._refused = self._speech.unreachable(error) if unreachable else error
                        self.close()
                        raise self._refused from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
            self._speech.connected(info)
            self._watch = self._until_the_end()
            await anext(self._watch)
            self.greeted = True

    async def _until_the_end(self) -> AsyncGenerator[None, None]:
        """A loop ends the generators that were begun in it before it closes: connections that nobody closed go then,
        while they still can without a word."""
        try:
            yield
        finally:
            self.close()

    async def end(self) -> None:
        """Close the connections, and watch the loop no longer."""
        self.close()
        if self._watch is not None and self.mine():
            await self._watch.aclose()

    async def once(self, request: Request, deadline: float | None) -> Result:
        method, data = encode_pieces(request)
        left = remaining(deadline)
        if left is None:
            return await self._exchange(request, self._blocks.block(method, request, None), data)
        try:
            async with asyncio.timeout(left):
                return await self._exchange(request, self._blocks.block(method, request, left), data)
        except TimeoutError as error:
            raise Timeout("the call did not finish within its timeout") from error

    async def _exchange(self, request: Request, block: bytes, data: list[Buffer]) -> Result:
        line = await self._take()
        try:
            reply = await line.exchange(block, data)
            status = line.status
        except BaseException:
            line.close()
            raise
        finally:
            self._give(line)
        return result(self._speech, request, status, reply)

    # -- connections --------------------------------------------------------------------------
    async def _take(self) -> _Line:
        """A connection for one call: an idle one, a new one, or the next that another task gives back."""
        while self._idle:
            line = self._idle.pop()
            if line.usable:
                return line
            line.close()
            self._open -= 1
        if self._open >= MAX_CONNECTIONS:
            given = await self._turn()
            if given is not None:
                return given
        else:
            self._open += 1
        try:
            return await self._dial()
        except BaseException:
            self._leave()
            raise

    async def _turn(self) -> _Line | None:
        """Wait for a connection, or (None) for the room to open one."""
        turn: asyncio.Future[_Line | None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                given = turn.result()
                if given is None:
                    self._leave()
                else:
                    self._give(given)
            raise

    def _give(self, line: _Line) -> None:
        """Give a connection back: to the next task in turn, else to the idle ones."""
        if self._closed or not line.usable:
            line.close()
            self._leave()
            return
        turn = self._next_turn()
        if turn is not None:
            turn.set_result(line)
        else:
            self._idle.append(line)

    def _leave(self) -> None:
        """A connection is gone: the next task in turn may open one in its place."""
        turn = self._next_turn()
        if turn is not None:
            turn.set_result(None)
        else:
            self._open -= 1

    def _next_turn(self) -> asyncio.Future[_Line | None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    async def _dial(self) -> _Line:
        address = self._speech.endpoint.address
        try:
            if address.startswith("unix:"):
                path = address.removeprefix("unix:").removeprefix("//")
                _, line = await self._loop.create_unix_connection(_Line, path)
            else:
                host, _, port = address.rpartition(":")
                _, line = await self._loop.create_connection(_Line, host.strip("[]"), int(port))
        except OSError as error:
            raise retry.NeverSent(f"failed to connect to {address}: {error}") from error
        return line

    def close(self) -> None:
        self._closed = True
        for line in self._idle:
            line.close()
        self._idle.clear()


class _Line(asyncio.Protocol):
    """A connection, used by one call at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._exchange = Exchange()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and self._exchange.usable

    @property
    def status(self) -> tuple[int, str]:
        """gRPC's own status of the last call, 0 for success, and its text."""
        return self._exchange.status

    async def exchange(self, block: bytes, message: list[Buffer]) -> bytes | None:
        """Make one call; its message, if it has one. On any error the connection is to be closed."""
        self._exchange.begin(block, message)
        self._answer = self._loop.create_future()
        self._send()
        try:
            await self._answer
        finally:
            self._answer = None
        return self._exchange.message

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None and not self._loop.is_closed():
            transport.abort()

    def _send(self) -> None:
        output = self._exchange.output
        if output and self._transport is not None:
            self._transport.writelines(output)
            output.clear()

    def _fail(self, error: MilvusException) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    # -- called by the loop -------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        try:
            self._exchange.feed(data)
        except Refused as error:
            self._fail(retry.NeverSent(str(error)))
        except Aborted as error:
            self._fail(Unavailable(str(error)))
        except WireError as error:
            self._fail(error)
            self.close()
            return
        self._send()
        if self._exchange.finished and self._answer is not None and not self._answer.done():
            self._answer.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(Unavailable(f"the connection was lost during the call: {error or 'closed by the server'}"))
