"""What a module of tests must not leave behind: timers that go on, and threads that are busy, of what was closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redkite import realenv

PATIENCE = 30.0
"""Seconds that what is being closed may take to end."""


def timers() -> dict[int, str]:
    """The timers that go on in this process: their names by their identities."""
    threads = [thing for thing in list(realenv._forgotten_by_children) if isinstance(thing, realenv.TimerThread)]
    due = [timer for thread in threads for _, _, timer in list(thread._due)]
    return {id(timer): timer.name for timer in due if not timer.cancelled}


def busy() -> dict[int, str]:
    """The threads of executors that are at work, or have work left."""
    found: dict[int, str] = {}
    for executor in list(realenv._ended_at_exit):
        with executor._lock:
            if executor._queued or executor._waiting < len(executor._threads):
                found |= {id(thread): thread.name for thread in executor._threads if thread.is_alive()}
    return {number: name for number, name in found.items() if name != threading.current_thread().name}


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails when timers or busy threads are there at the end that were not there at the beginning."""
    before = timers().keys() | busy().keys()
    yield
    until = time.monotonic() + PATIENCE
    left: dict[int, str] = {}
    while time.monotonic() < until:
        left = {number: name for number, name in (timers() | busy()).items() if number not in before}
        if not left:
            return
        time.sleep(0.02)
    raise AssertionError(f"left behind by closed nodes: {', '.join(sorted(left.values()))}")
