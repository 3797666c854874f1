"""Threads that wait for the sockets of a node: what becomes of them, and of their work, when it closes."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from redkite.cluster.grpc.pump import Pump
from redkite.env import Env


def has_closed(pump: Pump) -> bool:
    with pump._lock:  # under which all of it is closed
        return pump._epoll.closed


def test_a_pump_whose_threads_are_gone_at_once_closes_well() -> None:
    """Nothing is written to a number that is another one's by then."""
    for _ in range(50):
        pump = Pump(Env.real(), "closing")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pump.watch(ours.fileno(), type("One", (), {"ready": staticmethod(lambda: None)})())
            theirs.sendall(b"x")
            pump.close()
            begun = time.monotonic()
            while not has_closed(pump):
                assert time.monotonic() - begun < 30
                time.sleep(0.001)
        pump._bell = os.eventfd(0, os.EFD_NONBLOCK)
        pump.hand(lambda: None)
        with pytest.raises(BlockingIOError):
            os.eventfd_read(pump._bell)
        os.close(pump._bell)


def test_what_is_handed_over_while_a_pump_closes_is_done() -> None:
    done = threading.Event()
    pump = Pump(Env.real(), "closing")

    def last() -> None:  # in the only thread, after which no other looks
        pump._closed = True
        pump._jobs.append(done.set)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        pump._another = lambda: None  # type: ignore[method-assign]
        pump.watch(ours.fileno(), type("One", (), {"ready": staticmethod(last)})())
        theirs.sendall(b"x")
        pump._threads = 1
        pump._work()
    assert done.is_set()
