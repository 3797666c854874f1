"""The engines that run in this process: one for each database file, shared by all clients of that file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import Any, Protocol

from redkite.errors import ConnectError, ParamError
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.model.service import Repeating, Service


class Handle(Protocol):
    """An open database."""

    @property
    def service(self) -> Service: ...

    def close(self) -> None: ...


class Engine:
    """An open database and the number of clients that use it."""

    def __init__(self, path: str, read_only: bool, handle: Handle) -> None:
        self.path = path
        self.key = (path, read_only)
        self.service: Service = handle.service
        self.repeating = self.service if isinstance(self.service, Repeating) else None
        self._handle = handle
        self.memory_limit = 0
        self.verify = True
        self._users = 0
        self.orphaned = False

    def join(self) -> None:
        self._users += 1

    def leave(self) -> bool:
        """True when nobody uses it any more."""
        self._users -= 1
        return self._users <= 0

    def close(self) -> None:
        if not self.orphaned:
            self._handle.close()

    def orphan(self, parent: int) -> None:
        """This process is a fork: the engine's threads and its lock are the parent's. Touch nothing of it."""
        self.orphaned = True
        self.service, self.repeating = _Orphan(self.path, parent), None


class _Orphan:
    """Stands in for an engine that stayed behind in the parent process."""

    def __init__(self, path: str, parent: int) -> None:
        self._text = (
            f"{path} was opened by process {parent}, of which this one is a fork; only one process may use it. "
            "Close the client before forking, or start a server"
        )

    def call(self, request: Request) -> Result:  # noqa: ARG002  refused whatever it is
        raise ConnectError(self._text)

    def is_quick(self, request: Request) -> bool:  # noqa: ARG002  refused whatever it is
        return True


_OPEN: dict[tuple[str, bool], Engine] = {}
_ABANDONED: list[Engine] = []
"""Engines of the parent process, kept so that nothing of theirs is ever finalised here."""
_LOCK = Lock()
_holder = 0
"""The thread that has the lock."""
_LEFT: deque[Engine] = deque()
"""Engines that a client has left, whose leaving was not looked at yet."""
_PID = os.getpid()


@contextmanager
def _alone() -> Iterator[None]:
    """While no other thread opens or closes an engine. Clients that are collected meanwhile, in this very thread, leave
    at its end: their finalizers come at any moment, and cannot wait for what they interrupt."""
    global _holder
    with _LOCK:
        _holder = get_ident()
        try:
            yield
        finally:
            try:
                while _LEFT:
                    _leave(_LEFT.popleft())
            finally:
                _holder = 0


def _leave(engine: Engine) -> None:
    if engine.leave() and _OPEN.get(engine.key) is engine:
        del _OPEN[engine.key]
        engine.close()


def open_handle(path: str, **options: Any) -> Handle:
    """Start an engine on a path. Separate so that whoever wants another engine can put it here."""
    if options.pop("read_only", False):
        from redkite.cluster.reading import open_for_reading

        return open_for_reading(path, **options)
    from redkite.cluster.local import open_database

    return open_database(path, **options)


def acquire(path: str, read_only: bool = False, memory_limit: int = 0, verify: bool = True) -> Engine:
    """The engine of an absolute path, opened if it is not yet. Each `acquire` wants one `release`. Raises ParamError
    when the engine is open already with another memory limit, or without comparing checksums when that is not asked
    for now."""
    with _alone():
        engine = _OPEN.get((path, read_only))
        if engine is None:
            asked: dict[str, Any] = {"read_only": read_only, "memory_limit": memory_limit}
            options = {name: value for name, value in asked.items() if value}
            if not verify:
                options["verify"] = False
            engine = _OPEN[path, read_only] = Engine(path, read_only, open_handle(path, **options))
            engine.memory_limit = memory_limit
            engine.verify = verify
        elif memory_limit not in (0, engine.memory_limit):
            raise ParamError(
                f"{path} is open in this process with memory_limit={engine.memory_limit}, not {memory_limit}: "
                "clients of one file share one database"
            )
        elif verify and not engine.verify:
            raise ParamError(
                f"{path} is open in this process with verify='off': clients of one file share one database"
            )
        engine.join()
        return engine


def release(engine: Engine) -> None:
    """Leave an engine; the last one closes it."""
    _LEFT.append(engine)
    if _holder != get_ident():
        with _alone():
            pass  # its end looks at those who have left


def _after_fork() -> None:
    global _LOCK, _PID, _holder
    parent, _PID = _PID, os.getpid()
    _LOCK, _holder = Lock(), 0
    _LEFT.clear()
    for engine in _OPEN.values():
        engine.orphan(parent)
    _ABANDONED.extend(_OPEN.values())
    _OPEN.clear()


os.register_at_fork(after_in_child=_after_fork)
