"""What pymilvus asks for a server of a local file: imported as `milvus_lite.server_manager`."""

from __future__ import annotations

import os
from threading import RLock
from typing import NoReturn

try:
    from redkite.errors import MilvusException
    from redkite.server.local import LocalServer
except ModuleNotFoundError as error:  # as an ImportError, pymilvus would take it for a missing Milvus Lite
    raise RuntimeError(
        f"local .db files need Redkite with its extra `server`, which lacks {error.name} here"
    ) from error

_OURS = frozenset({"LOCK", "catalog-commits", "log", "objects"})
"""What a database that was never finished may have left."""


class ServerManager:
    """The servers of this process: one for each file, shared by all clients of that file."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._servers: dict[str, LocalServer] = {}

    def start_and_get_uri(self, path: str, args: dict[str, object] | None = None) -> str:
        """The URI of the server of a file, started if it is not running yet. Raises pymilvus's
        ConnectionConfigException when the file cannot be opened, and says why."""
        if args:
            raise ValueError(f"a local file takes no arguments, given: {', '.join(args)}")
        place = os.path.realpath(path)
        with self._lock:
            server = self._servers.get(place)
            if server is None or not server.is_there:
                _check(place)
                try:
                    server = self._servers[place] = LocalServer(place)
                except MilvusException as error:
                    _refuse(place, error.message, error)
            return server.uri

    def release_server(self, path: str) -> None:
        """Stop the server of a file and close the file. Clients that are still connected to it fail from now on."""
        with self._lock:
            server = self._servers.pop(os.path.realpath(path), None)
        if server is not None:
            server.close()

    def release_all(self) -> None:
        """Stop every server of this process."""
        for place in list(self._servers):
            self.release_server(place)


def _check(place: str) -> None:
    """Refuse what somebody else wrote: Redkite would begin a database of its own in a folder that is not empty."""
    try:
        there = set(os.listdir(place))
    except NotADirectoryError:
        there = {"a file"}
    except FileNotFoundError:
        return
    if "catalog" not in there and there - _OURS:
        text = "what is there is no database of Redkite. If Milvus Lite wrote it, copy its rows to another path"
        _refuse(place, text, None)


def _refuse(place: str, text: str, cause: MilvusException | None) -> NoReturn:
    from pymilvus.exceptions import ConnectionConfigException

    raise ConnectionConfigException(message=f"Redkite cannot open {place}: {text}") from cause


server_manager_instance = ServerManager()
