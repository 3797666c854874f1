"""A connection to etcd, through the messages and stubs of aetcd on plain gRPC channels.

Calls go to one endpoint as long as it answers, then to the next. What is called here may be called twice without harm:
reads, transactions that compare first, leases whose id the caller chose.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakSet

import msgspec

from redkite.env import Clock
from redkite.errors import (
    ConnectError,
    ConnectionClosed,
    DiskLimitExceeded,
    InvalidParameter,
    NotAuthenticated,
    StorageError,
    Unavailable,
)

_PAUSE_SECONDS: Final = 0.05
"""Between two rounds over endpoints that do not answer."""
_SERVICES: Final = ("KV", "Lease", "Watch", "Auth")
_CHANNEL: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class EtcdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where etcd is, and how it is asked."""

    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    """`host:port` of its members, or of some of them."""
    root: str = "redkite/"
    """Everything is kept below this prefix: several clusters may share one etcd."""
    user: str = ""
    password: str = ""
    tls_ca: str = ""
    """PEM file of who signed etcd's certificate. Set it, or `tls_cert`, to speak TLS."""
    tls_cert: str = ""
    tls_key: str = ""
    timeout_seconds: float = 10.0
    """How long one call may look for a member that answers."""

    def __post_init__(self) -> None:
        if not self.endpoints or not all(_is_address(endpoint) for endpoint in self.endpoints):
            raise InvalidParameter(f"etcd endpoints {list(self.endpoints)}: expected one or more of the form host:port")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidParameter("etcd: tls_cert and tls_key are set together or not at all")
        if self.password and not self.user:
            raise InvalidParameter("etcd: a password without a user")
        if self.timeout_seconds <= 0:
            raise InvalidParameter(f"etcd timeout_seconds must be positive, not {self.timeout_seconds:g}")

    def __repr__(self) -> str:
        return f"EtcdSettings(endpoints={self.endpoints!r}, root={self.root!r}, user={self.user!r})"


class KeyValue(NamedTuple):
    key: bytes
    value: bytes
    created: int
    """The revision that created the key: another one after it was deleted and put again."""
    changed: int
    """The revision that changed it last."""


class Event(NamedTuple):
    """A key was put, or deleted (`value` is None)."""

    key: bytes
    value: bytes | None
    revision: int


class Compacted(StorageError):
    """What a watch or a read wanted to begin with is no longer kept: begin with what is there now."""

    default_code = 1008

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message, code)


class Etcd:
    """Every method may be called from any thread. Keys are bytes below nothing: callers add `settings.root`."""

    def __init__(self, settings: EtcdSettings, clock: Clock) -> None:
        try:
            from aetcd.rpc import kv_pb2, rpc_pb2
        except ModuleNotFoundError as error:
            raise StorageError("etcd needs aetcd, which is not installed: pip install 'redkite[cluster]'") from error
        self.settings = settings
        self.messages: Any = rpc_pb2
        self.kinds: Any = kv_pb2
        self._clock = clock
        self._lock = threading.Lock()
        self._members = [_Member(endpoint, settings) for endpoint in settings.endpoints]
        self._current = 0
        self._closed = threading.Event()
        self._watches: WeakSet[Watch] = WeakSet()

    def call(self, service: str, method: str, request: Any, seconds: float = 0.0) -> Any:
        """One call, at the first member that answers within `seconds` (by default the setting).

        Raises Unavailable when none does (whether the call was done is unknown then), StorageError when etcd refuses.
        """
        return self._asked(lambda member, left: member.call(service, method, request, left), seconds)

    def renew(self, lease: int, seconds: float) -> float:
        """Seconds that a lease has again; 0 when there is none of that number."""
        request = self.messages.LeaseKeepAliveRequest(ID=lease)
        reply = self._asked(lambda member, left: member.first("Lease", "LeaseKeepAlive", request, left), seconds)
        return float(reply.TTL)

    def _asked(self, ask: Callable[[_Member, float], Any], seconds: float) -> Any:
        import grpc

        deadline = self._clock.monotonic() + (seconds or self.settings.timeout_seconds)
        tries = renewed = 0
        while True:
            if self._closed.is_set():
                raise ConnectionClosed("the connection to etcd is closed")
            at = self._current
            member = self._members[at]
            left = deadline - self._clock.monotonic()
            try:
                return ask(member, max(0.05, min(left, self._patience(seconds))))
            except grpc.RpcError as error:
                if _is_stale_token(error) and renewed < len(self._members):
                    renewed += 1
                    member.forget_token()
                    continue
                failed = _translated(error, member.endpoint)
                if not isinstance(failed, Unavailable) or left <= 0:
                    raise failed from error
            except ValueError as error:  # a call on a closed channel
                raise ConnectionClosed("the connection to etcd is closed") from error
            tries += 1
            with self._lock:
                if self._current == at:
                    self._current = (at + 1) % len(self._members)
            if tries % len(self._members) == 0:
                self._closed.wait(_PAUSE_SECONDS)

    def _patience(self, seconds: float) -> float:
        """For one member, when there are others to ask."""
        most = seconds or self.settings.timeout_seconds
        return most if len(self._members) == 1 else max(0.5, most / 4)

    # -- keys -----------------------------------------------------------------------------------
    def transaction(self, compare: Sequence[Any], success: Sequence[Any], failure: Sequence[Any] = ()) -> Any:
        """All of `success` if every comparison holds, else all of `failure`: one revision, atomically."""
        request = self.messages.TxnRequest(compare=compare, success=success, failure=failure)
        return self.call("KV", "Txn", request)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> Any:
        return self.messages.RequestOp(request_put=self.messages.PutRequest(key=key, value=value, lease=lease))

    def delete(self, key: bytes, end: bytes = b"") -> Any:
        request = self.messages.DeleteRangeRequest(key=key, range_end=end)
        return self.messages.RequestOp(request_delete_range=request)

    def range(self, key: bytes, end: bytes = b"", limit: int = 0) -> Any:
        return self.messages.RequestOp(request_range=self.messages.RangeRequest(key=key, range_end=end, limit=limit))

    def is_created_at(self, key: bytes, revision: int) -> Any:
        """That a key is the one created then; 0: that there is none."""
        kinds = self.messages.Compare
        return kinds(key=key, target=kinds.CREATE, result=kinds.EQUAL, create_revision=revision)

    def is_there(self, key: bytes) -> Any:
        """That there is a key."""
        kinds = self.messages.Compare
        return kinds(key=key, target=kinds.CREATE, result=kinds.GREATER, create_revision=0)

    def is_changed_at(self, key: bytes, revision: int) -> Any:
        kinds = self.messages.Compare
        return kinds(key=key, target=kinds.MOD, result=kinds.EQUAL, mod_revision=revision)

    def has_value(self, key: bytes, value: bytes) -> Any:
        kinds = self.messages.Compare
        return kinds(key=key, target=kinds.VALUE, result=kinds.EQUAL, value=value)

    def rest_of(self, first: Any, key: bytes, end: bytes, revision: int) -> Iterator[KeyValue]:
        """The pairs of a range whose first reply is at hand, further ones read at the same revision."""
        reply = first
        while True:
            yield from found_in(reply)
            if not reply.more or not reply.kvs:
                return
            key = reply.kvs[-1].key + b"\0"
            request = self.messages.RangeRequest(key=key, range_end=end, limit=len(reply.kvs), revision=revision)
            reply = self.call("KV", "Range", request)

    # -- watching -------------------------------------------------------------------------------
    def watch(self, key: bytes, end: bytes, revision: int) -> Watch:
        """What happens to a range of keys from a revision on."""
        watch = Watch(self, key, end, revision)
        with self._lock:
            self._watches.add(watch)
        return watch

    def open_watch(self, requests: Iterator[Any]) -> Any:
        if self._closed.is_set():
            raise ConnectionClosed("the connection to etcd is closed")
        return self._members[self._current].stream("Watch", "Watch", requests)

    def try_another(self) -> None:
        with self._lock:
            self._current = (self._current + 1) % len(self._members)

    @property
    def closed(self) -> threading.Event:
        return self._closed

    def close(self) -> None:
        """Calls under way fail."""
        self._closed.set()
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.close()
        for member in self._members:
            member.close()


class Watch:
    """An iterator over batches of events, each with the revision they bring a copy to. Lost connections are made again
    where the last batch ended. Ends when it, or the connection, is closed; raises Compacted."""

    def __init__(self, etcd: Etcd, key: bytes, end: bytes, revision: int) -> None:
        self._etcd, self._key, self._end = etcd, key, end
        self._next = revision
        self._done = threading.Event()
        self._call: Any = None

    def __iter__(self) -> Iterator[tuple[int, list[Event]]]:
        import grpc

        while not self._over():
            ended = threading.Event()
            try:
                self._call = self._etcd.open_watch(self._requests(ended))
                if self._over():  # closed before there was a call
                    self._call.cancel()
                for reply in self._call:
                    if reply.compact_revision or (reply.canceled and not reply.events):
                        raise Compacted(f"etcd keeps nothing before revision {reply.compact_revision}")
                    if reply.created:
                        continue
                    events = [self._event(event) for event in reply.events]
                    # While it catches up, etcd sends the revisions of many changes in pieces.
                    revision = events[-1].revision if events else reply.header.revision
                    self._next = revision + 1
                    yield revision, events
            except (grpc.RpcError, Unavailable) as error:
                if self._over():
                    return
                if isinstance(error, Unavailable):
                    raise
                failed = _translated(error, "")
                if not isinstance(failed, Unavailable):
                    raise failed from error
                self._etcd.try_another()
                self._etcd.closed.wait(_PAUSE_SECONDS)
            finally:
                ended.set()
                if self._call is not None:
                    self._call.cancel()

    def _requests(self, ended: threading.Event) -> Iterator[Any]:
        """Drawn by a thread of gRPC's own, which goes when this ends."""
        kinds = self._etcd.messages
        create = kinds.WatchCreateRequest(
            key=self._key, range_end=self._end, start_revision=self._next, progress_notify=True
        )
        yield kinds.WatchRequest(create_request=create)
        ended.wait()

    def _event(self, event: Any) -> Event:
        put = event.type == self._etcd.kinds.Event.PUT
        return Event(event.kv.key, event.kv.value if put else None, event.kv.mod_revision)

    def _over(self) -> bool:
        return self._done.is_set() or self._etcd.closed.is_set()

    def close(self) -> None:
        self._done.set()
        if self._call is not None:
            self._call.cancel()


class _Member:
    """One endpoint: a channel, and a token where etcd asks who is there."""

    def __init__(self, endpoint: str, settings: EtcdSettings) -> None:
        import grpc
        from aetcd.rpc import rpc_pb2_grpc

        self.endpoint = endpoint
        self._settings = settings
        if settings.tls_ca or settings.tls_cert:
            credentials = grpc.ssl_channel_credentials(
                _content(settings.tls_ca), _content(settings.tls_key), _content(settings.tls_cert)
            )
            self._channel: Any = grpc.secure_channel(endpoint, credentials, options=_CHANNEL)
        else:
            self._channel = grpc.insecure_channel(endpoint, options=_CHANNEL)
        self._stubs = {service: getattr(rpc_pb2_grpc, f"{service}Stub")(self._channel) for service in _SERVICES}
        self._token: tuple[tuple[str, str], ...] | None = None if settings.user else ()

    def call(self, service: str, method: str, request: Any, seconds: float) -> Any:
        return getattr(self._stubs[service], method)(request, timeout=seconds, metadata=self._metadata(seconds))

    def first(self, service: str, method: str, request: Any, seconds: float) -> Any:
        """The first reply of a call that could go on."""
        call = getattr(self._stubs[service], method)
        replies = call(iter([request]), timeout=seconds, metadata=self._metadata(seconds))
        try:
            return next(replies)
        finally:
            replies.cancel()

    def stream(self, service: str, method: str, requests: Iterator[Any]) -> Any:
        metadata = self._metadata(self._settings.timeout_seconds)
        return getattr(self._stubs[service], method)(requests, metadata=metadata)

    def _metadata(self, seconds: float) -> tuple[tuple[str, str], ...]:
        token = self._token
        if token is None:
            from aetcd.rpc import rpc_pb2

            asked: Any = rpc_pb2
            request = asked.AuthenticateRequest(name=self._settings.user, password=self._settings.password)
            token = self._token = (("token", self._stubs["Auth"].Authenticate(request, timeout=seconds).token),)
        return token

    def forget_token(self) -> None:
        if self._settings.user:
            self._token = None

    def close(self) -> None:
        with suppress(ValueError):  # closed twice
            self._channel.close()


def found_in(reply: Any) -> Iterator[KeyValue]:
    return (KeyValue(kv.key, kv.value, kv.create_revision, kv.mod_revision) for kv in reply.kvs)


def after_prefix(prefix: bytes) -> bytes:
    """The end of the range of keys that begin so; for no prefix, of all keys."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"


def _is_address(endpoint: str) -> bool:
    host, colon, port = endpoint.rpartition(":")
    return bool(host and colon and port.isdecimal() and 0 < int(port) < 1 << 16 and "/" not in host)


def _content(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidParameter(f"etcd: '{path}' cannot be read: {error.strerror}") from error


def _is_stale_token(error: Any) -> bool:
    return "invalid auth token" in (error.details() or "")


def _translated(error: Any, endpoint: str) -> Exception:
    import grpc

    code, details = error.code(), error.details() or ""
    what = f"etcd at {endpoint}: {details}" if endpoint else f"etcd: {details}"
    if "required revision has been compacted" in details:
        return Compacted(what)
    if "database space exceeded" in details:
        return DiskLimitExceeded(f"{what}; compact and defragment etcd, or raise its --quota-backend-bytes")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED) or "authentication" in details:
        return NotAuthenticated(what)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
        return Unavailable(what)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ConnectError(f"{what}: this is not etcd 3")
    return StorageError(what)
