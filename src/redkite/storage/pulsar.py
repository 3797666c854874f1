"""Pulsar as the broker of a log, through pulsar-client and the broker's administration over HTTP.

A position is a message's ledger and its entry in one number. A subscription of the log's own, which nobody reads, marks
where a topic begins: Pulsar keeps what is behind it.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import msgspec

from redkite.env import Env
from redkite.errors import (
    ConnectionClosed,
    InvalidParameter,
    MilvusException,
    NotAuthenticated,
    StorageError,
    Unavailable,
)
from redkite.logs import get_logger
from redkite.storage.broker import Message, check_limits

log = get_logger(__name__)

_ENTRY_BITS: Final = 32
_ENTRIES: Final = (1 << _ENTRY_BITS) - 1
_KEEPER: Final = "redkite-log"
_NAMESPACE: Final = re.compile(r"[\w.=-]+/[\w.=-]+")
_HARMLESS: Final = ("AlreadyClosed", "Interrupted")


class PulsarSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Pulsar is, and where in it topics are."""

    url: str = "pulsar://127.0.0.1:6650"
    """`pulsar://host:port`, or `pulsar+ssl://…`."""
    admin_url: str = "http://127.0.0.1:8080"
    """Where it is administered: `http://host:port`, or `https://…`."""
    namespace: str = "public/default"
    """`tenant/namespace`. Its retention must be none, as it is by default: Redkite says what may go."""
    prefix: str = "redkite-"
    """Topics begin so: several clusters may share one namespace."""
    token: str = ""
    """Sent with every call, where Pulsar asks who is there."""
    tls_ca: str = ""
    """PEM file of who signed Pulsar's certificates."""
    message_bytes: int = 1_000_000
    """The longest message; Pulsar's own limit is 5 MiB."""
    timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name, url, schemes in (
            ("url", self.url, ("pulsar", "pulsar+ssl")),
            ("admin_url", self.admin_url, ("http", "https")),
        ):
            parts = urlsplit(url)
            if parts.scheme not in schemes or not parts.hostname:
                raise InvalidParameter(f"Pulsar {name} '{url}': expected {schemes[0]}://host:port")
        if not _NAMESPACE.fullmatch(self.namespace):
            raise InvalidParameter(f"Pulsar namespace '{self.namespace}': expected tenant/namespace")
        check_limits("Pulsar", self.message_bytes, self.timeout_seconds)

    def __repr__(self) -> str:
        return f"PulsarSettings(url={self.url!r}, namespace={self.namespace!r}, prefix={self.prefix!r})"


class PulsarBroker:
    """A `Broker`. Producers are kept, one a topic; each follower has a reader of its own."""

    def __init__(self, settings: PulsarSettings, env: Env) -> None:
        try:
            import pulsar
        except ModuleNotFoundError as error:
            raise StorageError(
                "Pulsar needs pulsar-client, which is not installed: pip install 'redkite[cluster]'"
            ) from error
        self._pulsar: Any = pulsar
        self.message_bytes = settings.message_bytes
        self._settings, self._env = settings, env
        self._making = threading.Lock()
        """Held while a producer is made. That waits for the client's thread, which tells of messages meanwhile: what it
        calls takes `_lock` alone."""
        self._lock = threading.Lock()
        self._producers: dict[str, Any] = {}
        self._closed = False
        self._client: Any = pulsar.Client(
            settings.url,
            authentication=pulsar.AuthenticationToken(settings.token) if settings.token else None,
            operation_timeout_seconds=max(1, round(settings.timeout_seconds)),
            connection_timeout_ms=max(1, round(settings.timeout_seconds * 1000)),
            tls_trust_certs_file_path=settings.tls_ca or None,
            logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error),
        )

    # -- writing --------------------------------------------------------------------------------
    def send(self, topic: str, payload: bytes, done: Callable[[MilvusException | None], None]) -> None:
        producer = self._producer(topic)

        def delivered(result: Any, _: Any) -> None:
            if result == self._pulsar.Result.Ok:
                done(None)
            else:
                self._forget_producer(topic, producer)
                done(Unavailable(f"Pulsar, topic '{topic}': {result}"))

        try:
            producer.send_async(payload, delivered)
        except self._pulsar.PulsarException as error:
            self._forget_producer(topic, producer)
            raise self._failed(error, topic) from error

    def _producer(self, topic: str) -> Any:
        producer = self._known_producer(topic)
        if producer is None:
            with self._making:
                producer = self._known_producer(topic) or self._new_producer(topic)
                with self._lock:
                    if not self._closed:
                        self._producers[topic] = producer
        return producer

    def _known_producer(self, topic: str) -> Any:
        with self._lock:
            if self._closed:
                raise ConnectionClosed("the connection to Pulsar is closed")
            return self._producers.get(topic)

    def _new_producer(self, topic: str) -> Any:
        try:
            return self._client.create_producer(
                self._name(topic),
                batching_enabled=False,
                block_if_queue_full=True,
                send_timeout_millis=round(self._settings.timeout_seconds * 1000),
            )
        except self._pulsar.PulsarException as error:
            raise self._failed(error, topic) from error

    def _forget_producer(self, topic: str, producer: Any) -> None:
        with self._lock:
            if self._producers.get(topic) is producer:
                del self._producers[topic]

    # -- reading --------------------------------------------------------------------------------
    def follow(
        self,
        topic: str,
        position: int,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> _Follower:
        return _Follower(self, topic, position, deliver, failed)

    def open_reader(self, topic: str, position: int, listener: Callable[[Any, Any], None] | None = None) -> Any:
        at = self._pulsar.MessageId(-1, position >> _ENTRY_BITS, position & _ENTRIES, -1)
        try:
            return self._client.create_reader(
                self._name(topic),
                at if position else self._pulsar.MessageId.earliest,
                reader_listener=listener,
                start_message_id_inclusive=True,
            )
        except self._pulsar.PulsarException as error:
            raise self._failed(error, topic) from error

    def read(self, topic: str, position: int) -> Iterator[Message]:
        first, behind = self.bounds(topic)
        if max(first, position) >= behind:
            return iter(())
        return self._messages(topic, max(first, position), behind)

    def _messages(self, topic: str, position: int, behind: int) -> Iterator[Message]:
        reader = self.open_reader(topic, position)
        try:
            while position < behind:
                message = reader.read_next(round(self._settings.timeout_seconds * 1000))
                at = position_of(message)
                if at >= behind:
                    return
                position = at + 1
                yield Message(at, message.data())
        except self._pulsar.PulsarException as error:
            raise self._failed(error, topic) from error
        finally:
            reader.close()

    def bounds(self, topic: str) -> tuple[int, int]:
        found = self._ask("GET", f"/{quote(self._short(topic))}/internalStats", harmless=(404,))
        if found is None:
            return (0, 0)
        behind = _position(found["lastConfirmedEntry"]) + 1
        keeper = found["cursors"].get(_KEEPER)
        first = 0 if keeper is None else _position(keeper["markDeletePosition"]) + 1
        return min(first, behind), behind

    # -- topics ---------------------------------------------------------------------------------
    def create(self, topic: str) -> None:
        name = quote(self._short(topic))
        self._ask("PUT", f"/{name}", harmless=(409,))
        self._ask("PUT", f"/{name}/subscription/{_KEEPER}", _message_id(-1, -1), harmless=(409,))

    def forget(self, topic: str, position: int) -> None:
        body = _message_id(position >> _ENTRY_BITS, position & _ENTRIES)
        self._ask("POST", f"/{quote(self._short(topic))}/subscription/{_KEEPER}/resetcursor", body)

    def drop(self, topic: str) -> None:
        with self._lock:
            producer = self._producers.pop(topic, None)
        if producer is not None:
            producer.close()
        self._ask("DELETE", f"/{quote(self._short(topic))}?force=true", harmless=(404,))

    def topics(self) -> list[str]:
        start = f"persistent://{self._settings.namespace}/{quote(self._settings.prefix, safe='')}"
        names = [name for name in self._ask("GET", "") or () if name.startswith(start)]
        return sorted(unquote(name[len(start) :]) for name in names)

    def _short(self, topic: str) -> str:
        return quote(self._settings.prefix + topic, safe="")

    def _name(self, topic: str) -> str:
        return f"persistent://{self._settings.namespace}/{self._short(topic)}"

    def _ask(self, method: str, path: str, body: Any = None, harmless: tuple[int, ...] = ()) -> Any:
        """The answer; None for an empty one, or one whose status is harmless."""
        url = urlsplit(self._settings.admin_url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        connection = kind(url.netloc, timeout=self._settings.timeout_seconds)
        headers = {"content-type": "application/json"}
        if self._settings.token:
            headers["authorization"] = f"Bearer {self._settings.token}"
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/admin/v2/persistent/{self._settings.namespace}{path}", content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise Unavailable(f"Pulsar at {self._settings.admin_url} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status in harmless:
            return None
        if answer.status in (401, 403):
            raise NotAuthenticated(f"Pulsar at {self._settings.admin_url}: {answer.reason}")
        if answer.status >= 300:
            failed = Unavailable if answer.status in (408, 429, 500, 502, 503, 504) else StorageError
            raise failed(f"Pulsar at {self._settings.admin_url}, {method} {path}: {answer.status} {_reason(text)}")
        return json.loads(text) if text else None

    # -- errors ---------------------------------------------------------------------------------
    def _failed(self, error: Exception, topic: str) -> MilvusException:
        what = f"Pulsar, topic '{topic}': {error}"
        refused = (self._pulsar.AuthenticationError, self._pulsar.AuthorizationError)
        if isinstance(error, refused):
            return NotAuthenticated(what)
        wrong = (self._pulsar.InvalidTopicName, self._pulsar.MessageTooBig, self._pulsar.InvalidConfiguration)
        return StorageError(what) if isinstance(error, wrong) else Unavailable(what)

    def close(self) -> None:
        """What waits to be sent is sent, if that is possible soon."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            producers, self._producers = list(self._producers.values()), {}
        for close in (*(producer.close for producer in producers), self._client.close):
            try:
                close()
            except self._pulsar.PulsarException as error:
                if type(error).__name__ not in _HARMLESS:
                    log.info("closing the connection to Pulsar: %s", error)


class _Follower:
    def __init__(
        self,
        broker: PulsarBroker,
        topic: str,
        position: int,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> None:
        self._deliver, self._failed, self._topic = deliver, failed, topic
        self._closed = False
        self._handing = threading.RLock()
        self._reader = broker.open_reader(topic, position, self._hand_out)

    def _hand_out(self, _: Any, message: Any) -> None:
        with self._handing:
            if self._closed:
                return
            try:
                self._deliver(Message(position_of(message), message.data()))
            except Exception as error:
                log.exception("a message of '%s' could not be handed over", self._topic)
                self._failed(StorageError(f"a message of '{self._topic}' could not be handed over: {error!r}"))

    def close(self) -> None:
        with self._handing:
            if self._closed:
                return
            self._closed = True
        self._reader.close()


def position_of(message: Any) -> int:
    found = message.message_id()
    return int(found.ledger_id()) << _ENTRY_BITS | int(found.entry_id())


def _position(text: str) -> int:
    """Of `ledger:entry`; the entry before the first is -1."""
    ledger, entry = (int(number) for number in text.split(":"))
    return (max(ledger, 0) << _ENTRY_BITS) + entry


def _message_id(ledger: int, entry: int) -> dict[str, int]:
    return {"ledgerId": ledger, "entryId": entry, "partitionIndex": -1}


def _reason(text: bytes) -> str:
    try:
        return str(json.loads(text)["reason"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace")
