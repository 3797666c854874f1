"""How do clients of Milvus use a database file of this process, when they know nothing but gRPC?

A thread serves the file on a Unix socket in a folder that only this user can enter; nothing listens on the network, and
everything ends with the process. Clients of Redkite that open the same path in this process share the one engine.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import socket
import tempfile
import threading
import weakref
from collections.abc import Coroutine
from typing import Any, Final, cast

from redkite.client.transports.engines import Engine, acquire, release
from redkite.config import Settings
from redkite.errors import Unavailable
from redkite.server.listener import BACKLOG
from redkite.server.main import Database, Server

_DRAIN_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 10.0
_START_SECONDS: Final = 60.0


class LocalServer:
    """One database file, served by threads of this process on `uri` (`unix:/…`).

    A fork of the process keeps the URI, which leads to the process that opened the file for as long as that lives.
    """

    def __init__(self, path: str) -> None:
        """Open or create the database in folder `path` and serve it. Raises PathLocked when another process has it,
        Corruption when what is there cannot be read, Unavailable when there is no place for the socket."""
        self._pid = os.getpid()
        self._engine = acquire(os.path.realpath(path))
        self._folder = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._loop = asyncio.new_event_loop()
        settings = Settings(authorization="off", data=path, shutdown_seconds=_DRAIN_SECONDS, slow_query_seconds=0)
        self._server = Server(settings, lambda _: cast(Database, _Shared(self._engine)))
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="redkite-local", daemon=True)
        self._thread.start()
        _RUNNING.add(self)
        try:
            self._listen()
            self._wait(self._server.start_beside(self._socket), _START_SECONDS)
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        try:
            self._folder = tempfile.mkdtemp(prefix="redkite-")  # only this user may enter it
            self._socket.bind(f"{self._folder}/socket")
        except OSError as error:
            place = tempfile.gettempdir()
            raise Unavailable(f"no socket can be made in {place}: {error}; TMPDIR names another folder") from None
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)

    @property
    def uri(self) -> str:
        return f"unix:{self._folder}/socket"

    @property
    def is_there(self) -> bool:
        """Clients can connect: the process that opened the file still serves it."""
        if self._pid == os.getpid():
            return self in _RUNNING
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            return trial.connect_ex(f"{self._folder}/socket") == 0

    def close(self) -> None:
        """Finish what runs, and close the file unless other clients of this process have it open. Nothing in a fork."""
        if self._pid != os.getpid() or self not in _RUNNING:
            return
        _RUNNING.discard(self)
        try:
            self._wait(self._server.stop(), _STOP_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STOP_SECONDS)
            self._leave()

    def _leave(self) -> None:
        self._socket.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
        release(self._engine)

    def _wait(self, work: Coroutine[Any, Any, None], seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Serve until the loop is stopped; nothing of it is left then."""
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


class _Shared:
    """The engine as a server holds it. It is closed when its last user leaves it, not when a server stops."""

    def __init__(self, engine: Engine) -> None:
        self.service = engine.service

    def close(self) -> None:
        """See `LocalServer.close`."""


_RUNNING: Final[weakref.WeakSet[LocalServer]] = weakref.WeakSet()


@atexit.register
def _leave_all() -> None:
    """At exit threads cannot be started any more, which stopping in good order needs; what was acknowledged is on disk
    already, so closing the files is enough."""
    for server in list(_RUNNING):
        if server._pid == os.getpid():
            _RUNNING.discard(server)
            server._leave()


def _after_fork() -> None:
    """A fork must not keep the socket open: whoever connects would wait for an answer after the parent has gone."""
    for server in list(_RUNNING):
        # Detached: the number may soon be another file's, which nobody here may close.
        os.close(server._socket.detach())


os.register_at_fork(after_in_child=_after_fork)
