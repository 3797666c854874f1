"""Threads for calls that take their time."""

from __future__ import annotations

import threading

from tests import patience

from redkite.env import away
from redkite.server.workers import Workers


def until(done: threading.Event) -> bool:
    return done.wait(30)


def test_no_more_threads_than_allowed_work_at_once() -> None:
    workers = Workers(3, "test")
    release, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def work() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        release.wait(60)
        with lock:
            running[0] -= 1

    for _ in range(20):
        workers.submit(work)
    patience.until(lambda: running[0] == 3)
    release.set()
    finished = threading.Event()
    workers.submit(finished.set)
    assert until(finished)
    assert most[0] == 3
    workers.close()


def test_threads_that_wait_for_others_keep_nobody_waiting() -> None:
    workers = Workers(2, "test")
    release = threading.Event()

    def ask() -> None:
        with away():
            release.wait(60)

    for _ in range(30):
        workers.submit(ask)
    finished = threading.Event()
    workers.submit(finished.set)
    assert until(finished), "thirty calls wait for a service, and a thirty-first is done"
    release.set()
    workers.close()


def test_work_that_goes_away_makes_room_for_what_already_waits() -> None:
    workers = Workers(1, "test")
    begin, release, finished = threading.Event(), threading.Event(), threading.Event()

    def ask() -> None:
        begin.wait(60)
        with away():
            release.wait(60)

    workers.submit(ask)
    workers.submit(finished.set)
    assert not finished.wait(0.05)
    begin.set()
    assert until(finished)
    release.set()
    workers.close()


def test_calls_that_come_one_after_another_do_not_go_round_all_threads() -> None:
    workers = Workers(8, "test")
    gate = threading.Barrier(9)

    def meet() -> None:
        gate.wait(60)

    for _ in range(8):
        workers.submit(meet)  # each of them takes a thread
    gate.wait(60)
    used: set[str] = set()
    for _ in range(50):
        finished = threading.Event()

        def work(finished: threading.Event = finished) -> None:
            used.add(threading.current_thread().name)
            finished.set()

        workers.submit(work)
        assert until(finished)
    workers.close()
    assert len(used) < 8


def test_what_was_submitted_before_the_end_is_still_done() -> None:
    workers = Workers(1, "ends")
    begin, done = threading.Event(), [threading.Event() for _ in range(3)]

    def first() -> None:
        begin.wait(60)

    workers.submit(first)
    for one in done:
        workers.submit(one.set)
    assert workers.waiting == 3
    thread = next(one for one in threading.enumerate() if one.name == "ends-1")
    workers.close()
    begin.set()
    assert all(map(until, done))
    thread.join(30)
    assert not thread.is_alive()


def test_outside_of_a_pool_being_away_is_nothing() -> None:
    with away():
        assert threading.active_count() >= 1
