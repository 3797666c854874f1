"""A trace of log operations with a ledger of what was promised, to be checked after any crash."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field

from redkite.env import Env
from redkite.errors import MilvusException
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings

ROOT = "/data/log"
PAGE_BYTES = 3_000


def payload(number: int) -> bytes:
    """Some bytes that no other record has; lengths from nothing to several sectors."""
    rng = random.Random(number)
    return b"" if number % 7 == 3 else rng.randbytes(rng.choice((1, 40, 511, 900, 1700)))


@dataclass
class Ledger:
    acked: dict[int, bytes] = field(default_factory=dict)
    tried: set[bytes] = field(default_factory=set)
    start: int = 0
    """What the log itself last said after a truncation that returned."""
    errors: list[Exception] = field(default_factory=list)


def open_log(env: Env) -> LocalLog:
    return LocalLog(env, ROOT, LogSettings(page_bytes=PAGE_BYTES))


class Trace:
    """Groups of appends, truncations and reopenings. Errors end the topic, which is then opened again."""

    def __init__(self, env: Env, ledger: Ledger, *, heals: bool = False) -> None:
        """`heals`: the topic is not opened again after an error, but has to go on by itself."""
        self.env = env
        self.heals = heals
        self.ledger = ledger
        self.number = 0

    def run(self) -> None:
        self.attempt(self.open)
        self.append(1)
        self.append(3)
        self.append(4)
        self.truncate(5)
        self.append(2)
        self.attempt(self.log.close)
        self.attempt(self.open)
        self.append(3)
        self.truncate(None)
        self.append(2)
        self.attempt(self.log.close)

    def open(self) -> None:
        self.log = open_log(self.env)

    def append(self, count: int) -> None:
        applied: dict[int, bytes] = {}
        waiting = []
        for _ in range(count):
            self.number += 1
            data = payload(self.number)
            self.ledger.tried.add(data)

            def apply(position: int, data: bytes = data) -> None:
                assert position not in applied
                assert not applied or position == max(applied) + 1
                applied[position] = data

            half = len(data) // 2
            self.attempt(
                lambda data=data, apply=apply, half=half: waiting.append(
                    (data, self.log.topic("t").append([data[:half], data[half:]], apply))
                )
            )
        failed = False
        for data, future in waiting:
            try:
                position = future.result()
            except MilvusException as error:
                self.ledger.errors.append(error)
                failed = True
                continue
            assert applied[position] == data
            assert position not in self.ledger.acked
            self.ledger.acked[position] = data
        if failed:
            self.reopen()

    def truncate(self, position: int | None) -> None:
        def work() -> None:
            topic = self.log.topic("t")
            topic.truncate(topic.end if position is None else min(position, topic.end))
            self.ledger.start = topic.start

        if not self.attempt(work):
            self.reopen()

    def reopen(self) -> None:
        if self.heals:
            return
        with contextlib.suppress(MilvusException):
            self.log.topic("t").close()

    def attempt(self, work) -> bool:
        """Twice: one fault is injected, so the second time must do (a failed topic wants reopening first)."""
        for _ in range(2):
            try:
                work()
            except MilvusException as error:
                self.ledger.errors.append(error)
            else:
                return True
        return False


def check(env: Env, ledger: Ledger) -> int:
    """Whatever was promised is there, nothing else is, in order; returns the end."""
    log = open_log(env)
    topic = log.topic("t")
    records = {record.position: bytes(record.payload) for record in topic.read()}
    assert list(records) == list(range(topic.start, topic.end))
    assert topic.start >= ledger.start
    for position, data in ledger.acked.items():
        assert position < topic.end, f"record {position} was acknowledged and is gone"
        if position >= topic.start:
            assert records[position] == data
    for position, data in records.items():
        assert data in ledger.tried, f"record {position} was never written"
    assert topic.append([b"after"]).result() == topic.end - 1
    assert bytes(next(iter(topic.read(topic.end - 1))).payload) == b"after"
    end = topic.end
    log.close()
    return end
