"""What every connection to a server says, and how failures read: greeting, metadata, status numbers. No I/O."""

from __future__ import annotations

import base64
import getpass
import itertools
import platform
import time
from enum import IntEnum
from uuid import uuid4

from redkite import spans
from redkite.client.endpoint import Endpoint
from redkite.client.transports import retry
from redkite.errors import ConnectError, MilvusException, Timeout, Unavailable, Unimplemented, from_code
from redkite.model.requests import Connect, Request
from redkite.model.results import Result, ServerInfo
from redkite.wire.methods import USER_KEY

CONNECT_TIMEOUT = 10.0
_NEVER_SENT = "failed to connect"

Metadata = tuple[tuple[str, str], ...]


class Status(IntEnum):
    """gRPC's numbers that mean something of their own here."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_CODES = {
    Status.INVALID_ARGUMENT: 1100,
    Status.PERMISSION_DENIED: 1401,
    Status.RESOURCE_EXHAUSTED: 1102,
    Status.UNAUTHENTICATED: 1400,
}


class Speech:
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
        asker: Metadata = ((USER_KEY, request.user),) if request.user else ()
        if spans.is_on():
            asker += tuple(spans.headers().items())
        if request.database:
            return (("dbname", request.database), number, *asker, *self._fixed, *self._identifier)
        return (number, *asker, *self._fixed, *self._identifier)

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

    @staticmethod
    def failure(code: int, details: str) -> MilvusException:
        """What gRPC itself says went wrong, by its number and text, as an error of ours."""
        match code:
            case Status.UNAVAILABLE:
                return retry.NeverSent(details) if _NEVER_SENT in details else Unavailable(details)
            case Status.DEADLINE_EXCEEDED:
                return Timeout("the call did not finish within its timeout")
            case Status.UNIMPLEMENTED:
                return Unimplemented(
                    "Received UNIMPLEMENTED from server. Please first verify that your uri points to a Milvus gRPC "
                    f"port; if it does, the server is too old or lacks the call: {details}"
                )
            case Status.CANCELLED:
                return MilvusException(details or "canceled", 10_000)
        if code in _CODES:
            return from_code(_CODES[Status(code)], details)
        return MilvusException(f"gRPC status {code}: {details}")

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


def before(deadline: float | None, seconds: float) -> float:
    """The earlier of a deadline and so many seconds from now."""
    limit = time.monotonic() + seconds
    return limit if deadline is None else min(limit, deadline)


def refusal(request: Request, error: MilvusException, delay: float | None, deadline: float | None) -> None:
    """Raise the failure of a call unless it is to be tried again after `delay`."""
    if not retry.may_repeat(request, error):
        raise error
    if delay is None:
        raise retry.out_of_retries(request, error)
    if deadline is not None and time.monotonic() + delay > deadline:
        raise retry.out_of_time(request, error)
