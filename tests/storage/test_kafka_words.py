"""What Kafka's library says while its broker is away."""

from __future__ import annotations

import logging

import pytest

from redkite.env import Env
from redkite.errors import Unavailable
from redkite.launch.parts import free_ports
from redkite.storage.kafka_words import AGAIN_SECONDS, Words

REFUSED = "[thrd:a:1/bootstrap]: a:1/bootstrap: Connect to ipv4#1.2.3.4:1 failed: Connection refused"


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def now_us(self) -> int:
        return int(self.now * 1e6)


def said(clock: Clock, caplog: pytest.LogCaptureFixture) -> Words:
    caplog.set_level(logging.INFO, "words")
    return Words(clock, logging.getLogger("words"))


def fail(words: Words, text: str) -> None:
    words.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#producer-2", text)


def test_the_same_is_logged_once_a_minute_however_long_it_took(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    words = said(clock, caplog)
    for after in range(5):
        fail(words, f"{REFUSED} (after {after}ms in state CONNECT)")
        clock.now += 0.5
    assert caplog.messages == ["a:1/bootstrap: Connect to ipv4#1.2.3.4:1 failed: Connection refused"]
    clock.now += AGAIN_SECONDS
    fail(words, f"{REFUSED} (after 3ms in state CONNECT, 30 identical error(s) suppressed)")
    assert len(caplog.messages) == 2


def test_something_else_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    words = said(Clock(), caplog)
    fail(words, REFUSED)
    fail(words, "[thrd:a:1/bootstrap]: a:1/bootstrap: Failed to resolve 'a:1'")
    assert len(caplog.messages) == 2


def test_what_is_wrong_is_told_as_long_as_it_is_new(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    words = said(clock, caplog)
    assert words.trouble(10) == ""
    words.log(logging.INFO, "%s [%s] %s", "BROKER", "rdkafka#producer-2", "well")
    assert words.trouble(10) == ""
    fail(words, REFUSED)
    clock.now += 9
    assert words.trouble(10).endswith("failed: Connection refused")
    clock.now += 2
    assert words.trouble(10) == ""


def test_a_broker_that_is_not_there_is_one_line_of_log_and_an_error_that_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("confluent_kafka")
    from redkite.storage.kafka import KafkaBroker, KafkaSettings

    caplog.set_level(logging.INFO, "redkite.storage.kafka")
    port = free_ports(1)[0]
    broker = KafkaBroker(KafkaSettings(servers=(f"127.0.0.1:{port}",), timeout_seconds=2), Env.real())
    with pytest.raises(Unavailable, match=rf"transport failure \(.*127\.0\.0\.1:{port} failed: Connection refused\)"):
        broker.topics()
    broker.close()
    assert len([line for line in caplog.messages if "Connection refused" in line]) == 1
