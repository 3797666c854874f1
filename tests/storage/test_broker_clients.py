"""Clients of Kafka and Pulsar where nobody is at the other end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from redkite.env import Env
from redkite.errors import InvalidParameter, Unavailable
from redkite.storage.broker import LEAST_MESSAGE_BYTES
from redkite.storage.kafka import KafkaBroker, KafkaSettings, _Tail
from redkite.storage.pulsar import PulsarBroker, PulsarSettings

confluent_kafka = pytest.importorskip("confluent_kafka")
KINDS = confluent_kafka.KafkaError
STALE = (KINDS._NOENT, KINDS.FENCED_LEADER_EPOCH, KINDS.UNKNOWN_LEADER_EPOCH)


@pytest.mark.parametrize("settings", [KafkaSettings, PulsarSettings])
def test_messages_without_room_for_a_record_are_refused(settings):
    settings(message_bytes=LEAST_MESSAGE_BYTES)
    with pytest.raises(InvalidParameter, match="message_bytes must be at least"):
        settings(message_bytes=30)
    with pytest.raises(InvalidParameter, match="timeout_seconds must be positive"):
        settings(timeout_seconds=0)


@pytest.mark.parametrize("option", ["sasl.password", "sasl.oauthbearer.client.secret", "ssl.keystore.password"])
def test_options_that_are_secret_are_not_shown(option):
    assert "hunter2" not in repr(KafkaSettings(options={option: "hunter2"}))


class StaleAdmin:
    """As the library is when it looked at a topic just as that was being made, or before its broker was away: it goes
    on believing what it saw, until all topics are looked at anew."""

    def __init__(self, code: int) -> None:
        self.has_looked, self._code = False, code

    def list_topics(self, timeout: float) -> None:
        self.has_looked = True

    def list_offsets(self, asked: dict[object, object], request_timeout: float) -> dict[object, Future[object]]:
        answer: Future[object] = Future()
        if self.has_looked:
            answer.set_result(SimpleNamespace(offset=7))
        else:
            lost = confluent_kafka.KafkaError(self._code, "as it was seen")
            answer.set_exception(confluent_kafka.KafkaException(lost))
        return dict.fromkeys(asked, answer)


@pytest.fixture
def kafka():
    broker = KafkaBroker(KafkaSettings(servers=("127.0.0.1:1",), timeout_seconds=0.1), Env.real())
    yield broker
    broker.close()


@pytest.mark.parametrize("code", STALE)
def test_a_topic_that_was_looked_at_too_early_is_looked_at_anew(kafka, code):
    kafka._admin = StaleAdmin(code)
    assert kafka.bounds("t") == (7, 7)


@pytest.mark.parametrize("code", STALE)
def test_that_nobody_leads_a_topic_is_a_matter_of_time(kafka, monkeypatch, code):
    admin = kafka._admin = StaleAdmin(code)
    monkeypatch.setattr(admin, "list_topics", lambda timeout: None)
    with pytest.raises(Unavailable, match="as it was seen"):
        kafka.bounds("t")


class Message:
    def topic(self) -> str:
        return "t"

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return 7

    def value(self) -> bytes:
        return b"text"


class FaultyConsumer:
    """Fails once, when somebody follows a topic."""

    def __init__(self) -> None:
        self.assigned = 0
        self.failed = False

    def poll(self, seconds: float) -> Message | None:
        time.sleep(0.01)
        if self.assigned and not self.failed:
            self.failed = True
            raise RuntimeError("no")
        return Message() if self.assigned else None

    def incremental_assign(self, places: object) -> None:
        self.assigned += 1

    def incremental_unassign(self, places: object) -> None: ...

    def close(self) -> None: ...


class Watcher:
    is_removed = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[object] = []
        self.came = threading.Event()

    def deliver(self, message: object) -> None:
        self.heard.append(message)
        self.came.set()

    def failed(self, error: object) -> None:
        self.heard.append(error)
        self.came.set()


class Owner:
    def __init__(self) -> None:
        self.closed = threading.Event()


def test_a_consumer_that_fails_tells_its_followers_and_goes_on():
    owner = Owner()
    first, second = Watcher("t"), Watcher("t")
    consumer = FaultyConsumer()
    tail = _Tail(owner, consumer, lambda name, at: (name, at), Env.real())
    tail.add(first, 0)
    try:
        assert first.came.wait(30)
        assert isinstance(first.heard[0], Unavailable)
        tail.add(second, 0)
        assert second.came.wait(30)
        assert second.heard[0].payload == b"text"
    finally:
        owner.closed.set()
        tail.close()


class PolledConsumer:
    """Gives what it polled for whoever followed before, although somebody else has come meanwhile."""

    def __init__(self) -> None:
        self.polling, self.go_on = threading.Event(), threading.Event()
        self.is_assigned = False

    def poll(self, seconds: float) -> Message | None:
        if not self.polling.is_set():
            self.polling.set()
            assert self.go_on.wait(30)
            return Message()
        time.sleep(0.01)
        return None

    def incremental_assign(self, places: object) -> None:
        self.is_assigned = True

    def incremental_unassign(self, places: object) -> None: ...

    def close(self) -> None: ...


def test_who_follows_a_topic_is_told_nothing_that_was_polled_for_another_before():
    owner, consumer, second = Owner(), PolledConsumer(), Watcher("t")
    tail = _Tail(owner, consumer, lambda name, at: (name, at), Env.real())
    try:
        assert consumer.polling.wait(30)
        tail.add(second, 3)
        consumer.go_on.set()
        deadline = time.monotonic() + 120
        while not consumer.is_assigned and time.monotonic() < deadline:
            time.sleep(0.01)
        assert consumer.is_assigned
        assert second.heard == []
    finally:
        owner.closed.set()
        tail.close()


class SlowClient:
    """Makes a producer when it was told that a message of another one failed, as the one thread of a client does."""

    def __init__(self) -> None:
        self.tell = None

    def create_producer(self, name: str, **_: object) -> Producer:
        if self.tell is not None:
            told = threading.Thread(target=self.tell, args=("lost", None), daemon=True)
            told.start()
            told.join(30)
            assert not told.is_alive(), "the client's thread waits for who waits for it"
        return Producer(self)

    def close(self) -> None: ...


class Producer:
    def __init__(self, client: SlowClient) -> None:
        self.client = client

    def send_async(self, payload: bytes, delivered: object) -> None:
        self.client.tell = delivered

    def close(self) -> None: ...


def test_the_loss_of_one_message_does_not_wait_for_the_producer_of_another_topic():
    pytest.importorskip("pulsar")
    broker = PulsarBroker(PulsarSettings(), Env.real())
    broker._client.close()
    broker._client = SlowClient()
    heard = []
    broker.send("a", b"1", heard.append)
    broker.send("b", b"2", lambda _: None)
    broker.close()
    assert isinstance(heard[0], Unavailable)
