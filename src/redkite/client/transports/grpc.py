"""A server: requests go as Milvus's messages over one HTTP/2 connection."""

from __future__ import annotations

import asyncio
import base64
import getpass
import itertools
import os
import platform
import time
import weakref
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio

from redkite.client.endpoint import Endpoint
from redkite.client.transports import retry
from redkite.client.transports.base import remaining
from redkite.errors import ConnectError, MilvusException, Timeout, Unavailable, Unimplemented, from_code
from redkite.model.requests import Connect, Request
from redkite.model.results import Result, ServerInfo
from redkite.wire import decode_reply, encode_request

CONNECT_TIMEOUT = 10.0
SERVICE = "/milvus.proto.milvus.MilvusService/"
_NEVER_SENT = "failed to connect"

_CHANNEL_OPTIONS: dict[str, Any] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
    "grpc.enable_retries": 0,  # retried here instead: see `retry`
}

Metadata = tuple[tuple[str, str], ...]


class _Speech:
    """What both kinds of channel say: addresses, credentials, metadata, and how they read failures. No I/O but
    certificate files."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._fixed: Metadata = ()
        if endpoint.token:
            self._fixed = (("authorization", base64.b64encode(endpoint.token.encode()).decode()),)
        self._identifier: Metadata = ()
        self._prefix = uuid4().hex
        self._numbers = itertools.count(1)

    def metadata(self, request: Request) -> Metadata:
        number = ("client-request-id", f"{self._prefix}-{next(self._numbers)}")
        if request.database:
            return (("dbname", request.database), number, *self._fixed, *self._identifier)
        return (number, *self._fixed, *self._identifier)

    def connected(self, info: Result) -> None:
        if isinstance(info, ServerInfo):
            self._identifier = (("identifier", str(info.identifier)),)

    def connect_request(self) -> Connect:
        import redkite

        client = {
            "sdk_type": "Redkite",
            "sdk_version": redkite.__version__,
            "local_time": time.strftime("%Y-%m-%d %H:%M:%S"),
            "host": platform.node(),
            "user": _user(self.endpoint.token),
        }
        return Connect(database=self.endpoint.database, client={**client, **self.endpoint.option})

    def options(self) -> list[tuple[str, Any]]:
        endpoint = self.endpoint
        options = dict(_CHANNEL_OPTIONS)
        if endpoint.dedicated:
            options["grpc.use_local_subchannel_pool"] = 1
        if endpoint.secure and endpoint.server_name:
            options["grpc.ssl_target_name_override"] = endpoint.server_name
        return list({**options, **endpoint.grpc_options}.items())

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials, or None for a plain connection."""
        endpoint = self.endpoint
        if not endpoint.secure:
            return None
        mutual = (endpoint.ca_pem_path, endpoint.client_key_path, endpoint.client_pem_path)
        if endpoint.server_pem_path:
            return grpc.ssl_channel_credentials(root_certificates=Path(endpoint.server_pem_path).read_bytes())
        if all(mutual):
            return grpc.ssl_channel_credentials(*(Path(path).read_bytes() for path in mutual))
        return grpc.ssl_channel_credentials()

    def failure(self, error: grpc.RpcError) -> MilvusException:
        """What gRPC itself says went wrong, as an error of ours."""
        code, details = error.code(), error.details() or ""
        match code:
            case grpc.StatusCode.UNAVAILABLE:
                return retry.NeverSent(details) if _NEVER_SENT in details else Unavailable(details)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return Timeout("the call did not finish within its timeout")
            case grpc.StatusCode.UNIMPLEMENTED:
                return Unimplemented(
                    "Received UNIMPLEMENTED from server. Please first verify that your uri points to a Milvus gRPC "
                    f"port; if it does, the server is too old or lacks the call: {details}"
                )
            case grpc.StatusCode.UNAUTHENTICATED:
                return from_code(1400, details)
            case grpc.StatusCode.PERMISSION_DENIED:
                return from_code(1401, details)
            case grpc.StatusCode.INVALID_ARGUMENT:
                return from_code(1100, details)
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return from_code(1102, details)
            case grpc.StatusCode.CANCELLED:
                return MilvusException(details or "canceled", 10_000)
            case _:
                return MilvusException(f"{code.name}: {details}")

    def unreachable(self, error: MilvusException) -> ConnectError:
        return ConnectError(
            f"Fail connecting to server on {self.endpoint.address}, illegal connection params or server unavailable"
            + (f" ({error.message})" if error.message else "")
        )


def _user(token: str) -> str:
    """The user the server is told: the one who authenticates, else who runs this process."""
    if ":" in token:
        return token.partition(":")[0]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user in this container
        return ""


def _before(deadline: float | None, seconds: float) -> float:
    """The earlier of a deadline and so many seconds from now."""
    limit = time.monotonic() + seconds
    return limit if deadline is None else min(limit, deadline)


def _refusal(request: Request, error: MilvusException, delay: float | None, deadline: float | None) -> None:
    """Raise the failure of a call unless it is to be tried again after `delay`."""
    if not retry.may_repeat(request, error):
        raise error
    if delay is None:
        raise retry.out_of_retries(request, error)
    if deadline is not None and time.monotonic() + delay > deadline:
        raise retry.out_of_time(request, error)


# -- blocking -----------------------------------------------------------------------------------
class GrpcTransport:
    """Blocking calls from any thread. `connect` greets the server; after a fork the child connects anew by itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._speech = _Speech(endpoint)
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
            info = self._once(request, _before(deadline, CONNECT_TIMEOUT), wait=True)
        except (Unavailable, Timeout) as error:
            self.close()
            raise self._speech.unreachable(error) from error
        except MilvusException:
            self.close()
            raise
        self._speech.connected(info)

    def call(self, request: Request, deadline: float | None) -> Result:
        later = retry.delays()
        while True:
            try:
                return self._once(request, deadline)
            except MilvusException as error:
                delay = next(later, None)
                _refusal(request, error, delay, deadline)
            time.sleep(delay or 0)

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
            raise self._speech.failure(error) from error
        return decode_reply(request, reply)

    def _method(self, method: str) -> grpc.UnaryUnaryMultiCallable:
        with self._lock:
            if self._channel is None:
                credentials, options = self._speech.credentials(), self._speech.options()
                address = self._speech.endpoint.address
                if credentials is None:
                    self._channel = grpc.insecure_channel(address, options)
                else:
                    self._channel = grpc.secure_channel(address, credentials, options)
            call = self._methods[method] = self._channel.unary_unary(SERVICE + method)
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

    def __init__(self, endpoint: Endpoint) -> None:
        self._speech = _Speech(endpoint)
        self._line: _Line | None = None

    async def call(self, request: Request, deadline: float | None) -> Result:
        line = await self._live(deadline)
        later = retry.delays()
        while True:
            try:
                return await line.once(request, deadline)
            except MilvusException as error:
                delay = next(later, None)
                _refusal(request, error, delay, deadline)
            await asyncio.sleep(delay or 0)

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
                await line.greet(_before(deadline, CONNECT_TIMEOUT))
            except MilvusException:
                if self._line is line:
                    self._line = None
                raise
        return line


class _Line:
    """An asynchronous channel on the loop it belongs to."""

    def __init__(self, speech: _Speech, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.pid = os.getpid()
        self.greeted = False
        self._speech = speech
        self._greeting = asyncio.Lock()
        self._refused: MilvusException | None = None
        self._methods: dict[str, Any] = {}
        credentials, options = speech.credentials(), speech.options()
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
            call = self._methods[method] = self.channel.unary_unary(SERVICE + method)
        try:
            reply = await call(
                data,
                timeout=remaining(deadline),
                metadata=self._speech.metadata(request),
                wait_for_ready=True if wait else None,
            )
        except grpc.RpcError as error:
            raise self._speech.failure(error) from error
        return decode_reply(request, reply)
