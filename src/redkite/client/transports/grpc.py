"""A server: requests go as Milvus's messages over one HTTP/2 connection."""

from __future__ import annotations

import asyncio
import os
import weakref
from pathlib import Path
from threading import Lock
from typing import Any

import grpc
import grpc.aio

from redkite.client.endpoint import Endpoint
from redkite.client.transports.base import called_again, remaining
from redkite.client.transports.repeat import repeated, repeated_async
from redkite.client.transports.speech import CONNECT_TIMEOUT, Speech, before
from redkite.errors import MilvusException, Timeout, Unavailable
from redkite.model.requests import Queries, Request, Search
from redkite.model.results import Hits, Result
from redkite.wire import decode_reply, encode_request
from redkite.wire.methods import PATHS

_CHANNEL_OPTIONS: dict[str, Any] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.enable_retries": 0,  # retried here instead: see `retry`
}


def _options(endpoint: Endpoint) -> list[tuple[str, Any]]:
    options = dict(_CHANNEL_OPTIONS)
    if endpoint.dedicated:
        options["grpc.use_local_subchannel_pool"] = 1
    if endpoint.secure and endpoint.server_name:
        options["grpc.ssl_target_name_override"] = endpoint.server_name
    return list({**options, **endpoint.grpc_options}.items())


def _credentials(endpoint: Endpoint) -> grpc.ChannelCredentials | None:
    """TLS credentials, or None for a plain connection."""
    if not endpoint.secure:
        return None
    mutual = (endpoint.ca_pem_path, endpoint.client_key_path, endpoint.client_pem_path)
    if endpoint.server_pem_path:
        return grpc.ssl_channel_credentials(root_certificates=Path(endpoint.server_pem_path).read_bytes())
    if all(mutual):
        return grpc.ssl_channel_credentials(*(Path(path).read_bytes() for path in mutual))
    return grpc.ssl_channel_credentials()


def _status(error: grpc.RpcError) -> tuple[int, str]:
    """gRPC's number and text for a failed call."""
    return error.code().value[0], error.details() or ""


# -- blocking -----------------------------------------------------------------------------------
class GrpcTransport:
    """Blocking calls from any thread. `connect` greets the server; after a fork the child connects anew by itself."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._lock = Lock()
        self._channel: grpc.Channel | None = None
        self._methods: dict[str, grpc.UnaryUnaryMultiCallable] = {}
        _ALIVE.add(self)

    def connect(self, deadline: float | None = None) -> None:
        """Open the connection and greet the server, within ten seconds.

        Raises ConnectError when no server answers, or what the server says (such as 800 for a missing database).
        """
        request = self._speech.connect_request()
        try:
            info = self._once(request, before(deadline, CONNECT_TIMEOUT), wait=True)
        except (Unavailable, Timeout) as error:
            self.close()
            raise self._speech.unreachable(error) from error
        except MilvusException:
            self.close()
            raise
        self._speech.connected(info)

    def call(self, request: Request, deadline: float | None) -> Result:
        return repeated(self._once, request, deadline)

    def again(self, search: Search, queries: Queries, deadline: float | None) -> Hits:
        return called_again(self, search, queries, deadline)

    def _once(self, request: Request, deadline: float | None, wait: bool = False) -> Result:
        method, data = encode_request(request)
        call = self._methods.get(method) or self._method(method)
        try:
            reply = call(
                data,
                timeout=remaining(deadline),
                metadata=self._speech.metadata(request),
                wait_for_ready=True if wait else None,
            )
        except grpc.RpcError as error:
            raise self._speech.failure(*_status(error)) from error
        return decode_reply(request, reply)

    def _method(self, method: str) -> grpc.UnaryUnaryMultiCallable:
        with self._lock:
            if self._channel is None:
                credentials, options = _credentials(self._speech.endpoint), _options(self._speech.endpoint)
                address = self._speech.endpoint.address
                if credentials is None:
                    self._channel = grpc.insecure_channel(address, options)
                else:
                    self._channel = grpc.secure_channel(address, credentials, options)
            call = self._methods[method] = self._channel.unary_unary(PATHS[method])
            return call

    def close(self) -> None:
        with self._lock:
            channel, self._channel, self._methods = self._channel, None, {}
        if channel is not None:
            channel.close()

    def forget(self) -> None:
        """Start afresh in a forked child: the connection is the parent's."""
        self._lock = Lock()
        if self._channel is not None:
            _ABANDONED.append(self._channel)
        self._channel, self._methods = None, {}


_ALIVE: weakref.WeakSet[GrpcTransport] = weakref.WeakSet()
_ABANDONED: list[grpc.Channel] = []
"""Channels of the parent process, kept so that they are never closed from here."""


def _after_fork() -> None:
    for transport in list(_ALIVE):
        transport.forget()


os.register_at_fork(after_in_child=_after_fork)


# -- asynchronous -------------------------------------------------------------------------------
class AsyncGrpcTransport:
    """Calls for the tasks of a loop. The first call connects and greets the server; another loop connects anew."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._line: _Line | None = None

    async def call(self, request: Request, deadline: float | None) -> Result:
        line = await self._live(deadline)
        return await repeated_async(line.once, request, deadline)

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.channel.close()

    async def _live(self, deadline: float | None) -> _Line:
        loop = asyncio.get_running_loop()
        line = self._line
        if line is None or line.loop is not loop or line.pid != os.getpid():
            line = self._line = _Line(self._speech, loop)
        if not line.greeted:
            try:
                await line.greet(before(deadline, CONNECT_TIMEOUT))
            except MilvusException:
                if self._line is line:
                    self._line = None
                raise
        return line


class _Line:
    """An asynchronous channel on the loop it belongs to."""

    def __init__(self, speech: Speech, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.greeted = False
        self._speech = speech
        self._greeting = asyncio.Lock()
        self._refused: MilvusException | None = None
        self._methods: dict[str, Any] = {}
        credentials, options = _credentials(speech.endpoint), _options(speech.endpoint)
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(speech.endpoint.address, options)
        else:
            self.channel = grpc.aio.secure_channel(speech.endpoint.address, credentials, options)

    async def greet(self, deadline: float) -> None:
        async with self._greeting:
            if self.greeted:
                return
            if self._refused is not None:
                raise self._refused
            try:
                info = await self.once(self._speech.connect_request(), deadline, wait=True)
            except MilvusException as error:
                lost = isinstance(error, Unavailable | Timeout)
                self._refused = self._speech.unreachable(error) if lost else error
                await self.channel.close()
                raise self._refused from error
            self._speech.connected(info)
            self.greeted = True

    async def once(self, request: Request, deadline: float | None, wait: bool = False) -> Result:
        method, data = encode_request(request)
        call = self._methods.get(method)
        if call is None:
            call = self._methods[method] = self.channel.unary_unary(PATHS[method])
        try:
            reply = await call(
                data,
                timeout=remaining(deadline),
                metadata=self._speech.metadata(request),
                wait_for_ready=True if wait else None,
            )
        except grpc.RpcError as error:
            raise self._speech.failure(*_status(error)) from error
        return decode_reply(request, reply)
