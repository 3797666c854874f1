"""Kafka as the broker of a log, through confluent-kafka: a topic of one partition for each of the log's."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

import msgspec

from redkite.env import Env
from redkite.errors import ConnectionClosed, InvalidParameter, MilvusException, StorageError, Unavailable
from redkite.logs import get_logger
from redkite.storage.broker import Message, check_limits
from redkite.storage.kafka_words import Words

log = get_logger(__name__)

_IDLE_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.05
"""So long it may take until a topic is followed."""
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9.-]")
_ESCAPE: Final = re.compile(r"_([0-9a-f]+)_")
_BUFFER_KIB: Final = 1 << 20
_OVERHEAD_BYTES: Final = 4096
"""What Kafka adds to a message, at most."""
_SECRET: Final = re.compile(r"password|secret|token|\.pem|jwt|assertion|oauthbearer\.config")
"""In the name of an option: its value is not shown."""


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Kafka is, and how topics are made."""

    servers: tuple[str, ...] = ("127.0.0.1:9092",)
    """`host:port` of its brokers, or of some of them."""
    prefix: str = "redkite-"
    """Topics begin so: several clusters may share one Kafka."""
    replicas: int = 1
    """Brokers that keep each topic. Three are usual; then two must have a message before it counts."""
    message_bytes: int = 1_000_000
    """The longest message. A larger one than Kafka's own default makes topics whose brokers must allow it."""
    timeout_seconds: float = 10.0
    options: Mapping[str, str] = {}
    """Further options of librdkafka, as `security.protocol`, `sasl.username`, `ssl.ca.location`."""

    def __post_init__(self) -> None:
        if not self.servers or not all(re.fullmatch(r"[^\s/]+:\d+", server) for server in self.servers):
            raise InvalidParameter(f"Kafka servers {list(self.servers)}: expected one or more of the form host:port")
        if _ILLEGAL.search(self.prefix.replace("_", "-")):
            raise InvalidParameter(f"Kafka prefix '{self.prefix}': expected letters, digits, '.', '_' and '-'")
        if self.replicas < 1:
            raise InvalidParameter(f"Kafka replicas must be at least 1, not {self.replicas}")
        check_limits("Kafka", self.message_bytes, self.timeout_seconds)

    def __repr__(self) -> str:
        shown = {name: "***" if _SECRET.search(name) else value for name, value in self.options.items()}
        return f"KafkaSettings(servers={self.servers!r}, prefix={self.prefix!r}, options={shown!r})"


class KafkaBroker:
    """A `Broker`. One producer and one consumer serve all topics, each with a thread of `env`."""

    def __init__(self, settings: KafkaSettings, env: Env) -> None:
        try:
            import confluent_kafka
            from confluent_kafka import admin
        except ModuleNotFoundError as error:
            raise StorageError(
                "Kafka needs confluent-kafka, which is not installed: pip install 'redkite[cluster]'"
            ) from error
        self._kafka: Any = confluent_kafka
        self._admin_of: Any = admin
        self.message_bytes = settings.message_bytes
        self._settings, self._env = settings, env
        self._words = Words(env.clock, log)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        common: dict[str, Any] = {
            "bootstrap.servers": ",".join(settings.servers),
            "socket.timeout.ms": self._millis,
            "log.connection.close": False,
            "logger": self._words,
            **settings.options,
        }
        self._common = common
        try:
            self._admin: Any = admin.AdminClient(common)
            self._producer: Any = self._new_producer()
        except confluent_kafka.KafkaException as error:
            raise StorageError(f"Kafka: {error.args[0].str()}") from error
        self._tail: _Tail | None = None
        self._pump = env.tasks.executor("kafka producer", 1)
        self._pumping: Future[None] = self._pump.submit(self._serve)

    @property
    def _millis(self) -> int:
        return round(self._settings.timeout_seconds * 1000)

    def _new_producer(self) -> Any:
        return self._kafka.Producer(
            {
                **self._common,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "message.max.bytes": self.message_bytes + _OVERHEAD_BYTES,
                "message.timeout.ms": self._millis,
                "queue.buffering.max.kbytes": _BUFFER_KIB,
            }
        )

    def new_consumer(self) -> Any:
        return self._kafka.Consumer(
            {
                **self._common,
                "group.id": f"{self._settings.prefix}readers",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": False,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": self.message_bytes + _OVERHEAD_BYTES,
            }
        )

    # -- writing --------------------------------------------------------------------------------
    def send(self, topic: str, payload: bytes, done: Callable[[MilvusException | None], None]) -> None:
        def delivered(error: Any, _: Any) -> None:
            done(None if error is None else self._error(error, topic))

        deadline = self._env.clock.monotonic() + self._settings.timeout_seconds
        while True:
            producer = self._producer
            try:
                producer.produce(self._name(topic), payload, on_delivery=delivered)
                return
            except BufferError:  # so much waits that there is no room: let it go out
                if self._env.clock.monotonic() > deadline or self._closed.is_set():
                    raise Unavailable("Kafka takes no messages: too many wait to be sent") from None
                producer.poll(_IDLE_SECONDS)
            except self._kafka.KafkaException as error:
                raise self._failed(error, topic) from error

    def _serve(self) -> None:
        """Tell senders what became of their messages; make a new producer for one that can go on no more."""
        while not self._closed.is_set():
            producer = self._producer
            try:
                producer.poll(_IDLE_SECONDS)
            except Exception:
                log.exception("a message's sender failed to take the news")
            if self._is_dead(producer):
                with self._lock:
                    self._producer = self._new_producer()
                producer.purge()
                producer.poll(0)

    def _is_dead(self, producer: Any) -> bool:
        """After some errors, such as a message that came too late, an idempotent producer sends nothing more."""
        fatal = getattr(producer, "fatal_error", None)
        return fatal is not None and fatal() is not None

    # -- reading --------------------------------------------------------------------------------
    def follow(
        self,
        topic: str,
        position: int,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> _Follower:
        with self._lock:
            if self._closed.is_set():
                raise ConnectionClosed("the connection to Kafka is closed")
            if self._tail is None:
                self._tail = _Tail(self, self.new_consumer(), self._place, self._env)
            tail = self._tail
        follower = _Follower(tail, self._name(topic), deliver, failed)
        tail.add(follower, position)
        return follower

    def read(self, topic: str, position: int) -> Iterator[Message]:
        first, behind = self.bounds(topic)
        if max(first, position) >= behind:
            return iter(())
        return self._messages(topic, max(first, position), behind)

    def _messages(self, topic: str, position: int, behind: int) -> Iterator[Message]:
        consumer = self.new_consumer()
        try:
            consumer.assign([self._kafka.TopicPartition(self._name(topic), 0, position)])
            while position < behind:
                message = consumer.poll(self._settings.timeout_seconds)
                if message is None:
                    raise Unavailable(f"Kafka gave no message of '{topic}' within {self._settings.timeout_seconds:g} s")
                if message.error() is not None:
                    raise self._error(message.error(), topic)
                position = message.offset() + 1
                yield Message(message.offset(), message.value())
        except self._kafka.KafkaException as error:
            raise self._failed(error, topic) from error
        finally:
            consumer.close()

    def bounds(self, topic: str) -> tuple[int, int]:
        kinds, deadline = self._kafka.KafkaError, self._env.clock.monotonic() + self._settings.timeout_seconds
        while True:
            try:
                earliest, latest = self._admin_of.OffsetSpec.earliest(), self._admin_of.OffsetSpec.latest()
                return self._offset(topic, earliest), self._offset(topic, latest)
            except self._kafka.KafkaException as error:
                code = error.args[0].code()
                if code in (kinds.UNKNOWN_TOPIC_OR_PART, kinds._UNKNOWN_TOPIC):
                    return (0, 0)
                # Somebody has to lead it first, or to take over from who did.
                was_known = code in (kinds._NOENT, kinds.FENCED_LEADER_EPOCH, kinds.UNKNOWN_LEADER_EPOCH)
                is_new = was_known or error.args[0].retriable() or code == kinds.NOT_LEADER_FOR_PARTITION
                if not is_new or self._env.clock.monotonic() > deadline or self._closed.wait(_LOOK_SECONDS):
                    raise self._failed(error, topic) from error
                if was_known:
                    self._look_again()

    def _look_again(self) -> None:
        """The library goes on believing that nobody leads a topic, when it looked just as that was being made; or that
        it is led as before, when its broker was away."""
        with suppress(self._kafka.KafkaException):  # the next try says what is wrong
            self._admin.list_topics(timeout=self._settings.timeout_seconds)

    def _offset(self, topic: str, spec: Any) -> int:
        timeout = self._settings.timeout_seconds
        asked = self._admin.list_offsets({self._place(self._name(topic), 0): spec}, request_timeout=timeout)
        (future,) = asked.values()
        return int(future.result(timeout).offset)

    def _place(self, name: str, position: int) -> Any:
        return self._kafka.TopicPartition(name, 0, position)

    # -- topics ---------------------------------------------------------------------------------
    def create(self, topic: str) -> None:
        wanted = self._admin_of.NewTopic(
            self._name(topic),
            num_partitions=1,
            replication_factor=self._settings.replicas,
            config={
                "cleanup.policy": "delete",
                "retention.ms": "-1",
                "retention.bytes": "-1",
                "max.message.bytes": str(self.message_bytes + _OVERHEAD_BYTES),
                "min.insync.replicas": str(max(1, self._settings.replicas - 1)),
            },
        )
        known = (self._kafka.KafkaError.TOPIC_ALREADY_EXISTS,)
        self._administer(
            self._admin.create_topics([wanted], request_timeout=self._settings.timeout_seconds), topic, known
        )

    def forget(self, topic: str, position: int) -> None:
        at = self._kafka.TopicPartition(self._name(topic), 0, position)
        self._administer(self._admin.delete_records([at], request_timeout=self._settings.timeout_seconds), topic)

    def drop(self, topic: str) -> None:
        known = (self._kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,)
        asked = self._admin.delete_topics([self._name(topic)], request_timeout=self._settings.timeout_seconds)
        self._administer(asked, topic, known)

    def topics(self) -> list[str]:
        try:
            found = self._admin.list_topics(timeout=self._settings.timeout_seconds).topics
        except self._kafka.KafkaException as error:
            raise self._failed(error, "") from error
        cut = len(self._settings.prefix)
        return sorted(_unescaped(name[cut:]) for name in found if name.startswith(self._settings.prefix))

    def _administer(self, asked: Mapping[Any, Future[Any]], topic: str, harmless: tuple[int, ...] = ()) -> None:
        for future in asked.values():
            try:
                future.result(self._settings.timeout_seconds)
            except self._kafka.KafkaException as error:
                if error.args[0].code() not in harmless:
                    raise self._failed(error, topic) from error
            except TimeoutError:
                raise Unavailable("Kafka does not answer") from None

    def _name(self, topic: str) -> str:
        return self._settings.prefix + _ILLEGAL.sub(lambda found: f"_{ord(found[0]):x}_", topic)

    # -- errors ---------------------------------------------------------------------------------
    def _failed(self, error: Any, topic: str) -> MilvusException:
        return self._error(error.args[0], topic)

    def _error(self, error: Any, topic: str) -> MilvusException:
        what = f"Kafka, topic '{topic}': {error.str()}" if topic else f"Kafka: {error.str()}"
        gone = self._kafka.KafkaError
        unreachable = {
            gone._ALL_BROKERS_DOWN, gone._TRANSPORT, gone._TIMED_OUT, gone._MSG_TIMED_OUT, gone._PURGE_QUEUE,
            gone._PURGE_INFLIGHT, gone.REQUEST_TIMED_OUT, gone.NOT_ENOUGH_REPLICAS, gone._FATAL,
            gone.NOT_ENOUGH_REPLICAS_AFTER_APPEND, gone.LEADER_NOT_AVAILABLE, gone.NOT_LEADER_FOR_PARTITION,
            gone._NOENT, gone.FENCED_LEADER_EPOCH, gone.UNKNOWN_LEADER_EPOCH,
        }  # fmt: skip
        if not error.retriable() and error.code() not in unreachable:
            return StorageError(what)
        trouble = self._words.trouble(self._settings.timeout_seconds)
        return Unavailable(f"{what} ({trouble})" if trouble else what)

    def error_of(self, error: Any, topic: str) -> MilvusException:
        return self._error(error, topic)

    @property
    def closed(self) -> threading.Event:
        return self._closed

    def close(self) -> None:
        """What waits to be sent is sent, if that is possible soon."""
        if self._closed.is_set():
            return
        self._producer.flush(min(2.0, self._settings.timeout_seconds))
        self._closed.set()
        self._pump.shutdown()
        with self._lock:
            tail, self._tail = self._tail, None
        if tail is not None:
            tail.close()


class _Follower:
    def __init__(
        self,
        tail: _Tail,
        name: str,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> None:
        self.name, self.deliver, self.failed = name, deliver, failed
        self.is_removed = False
        self._tail = tail

    def close(self) -> None:
        self._tail.remove(self)


class _Tail:
    """A consumer of the ends of many topics, and the thread that hands out what comes."""

    def __init__(self, broker: KafkaBroker, consumer: Any, place: Callable[[str, int], Any], env: Env) -> None:
        self._broker, self._consumer, self._place = broker, consumer, place
        self._wanted: list[tuple[str, int, _Follower | None]] = []
        """Topics to follow from a position, and for whom; None: no more."""
        self._assigned: set[str] = set()
        self._lock = threading.Lock()
        self._followers: dict[str, _Follower] = {}
        self._handing = threading.RLock()
        """Held while something is handed out: who has it knows that nothing is."""
        self._pool = env.tasks.executor("kafka consumer", 1)
        self._pool.submit(self._serve)

    def add(self, follower: _Follower, position: int) -> None:
        """It is told nothing before the consumer stands at its position: what is polled until then is of whoever
        followed the topic before, and behind what nobody took."""
        with self._lock:
            self._wanted.append((follower.name, position, follower))

    def remove(self, follower: _Follower) -> None:
        with self._lock:
            follower.is_removed = True
            if self._followers.get(follower.name) is follower:
                del self._followers[follower.name]
                if all(name != follower.name for name, _, _ in self._wanted):
                    self._wanted.append((follower.name, 0, None))
        self._handing.acquire()  # whatever was being handed out has been
        self._handing.release()

    def _serve(self) -> None:
        while not self._broker.closed.is_set():
            try:
                if self._wanted:
                    self._assign()
                message = self._consumer.poll(_LOOK_SECONDS)
            except Exception as error:
                log.exception("reading from Kafka failed")
                self._fail_all(Unavailable(f"reading from Kafka failed: {error!r}"))
                continue
            if message is not None:
                with self._handing:
                    self._hand_out(message)

    def _fail_all(self, error: MilvusException) -> None:
        """Whoever follows a topic has to begin again."""
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            self.remove(follower)
            follower.failed(error)
        self._broker.closed.wait(_IDLE_SECONDS)

    def _assign(self) -> None:
        """Follow what is wanted. Only here: a consumer that polls in one thread and is told in another may stall."""
        while True:
            with self._lock:
                if not self._wanted:
                    return
                name, position, follower = self._wanted.pop(0)
                self._followers.pop(name, None)
                is_wanted = follower is not None and not follower.is_removed
                if follower is not None and is_wanted:
                    self._followers[name] = follower
            if name in self._assigned:
                self._assigned.discard(name)
                self._consumer.incremental_unassign([self._place(name, 0)])
            if is_wanted:
                self._assigned.add(name)
                self._consumer.incremental_assign([self._place(name, position)])

    def _hand_out(self, message: Any) -> None:
        with self._lock:
            follower = self._followers.get(message.topic() or "")
        if follower is None:
            return
        error = message.error()
        try:
            if error is None:
                follower.deliver(Message(message.offset(), message.value()))
            elif not error.retriable():
                self.remove(follower)
                follower.failed(self._broker.error_of(error, follower.name))
        except Exception:
            log.exception("a message of '%s' could not be handed over", follower.name)

    def close(self) -> None:
        self._pool.shutdown()
        self._consumer.close()


def _unescaped(name: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
