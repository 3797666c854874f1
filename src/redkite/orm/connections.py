"""Connections by name."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from redkite.errors import ConnectionConfigException, ConnectionNotExistException

if TYPE_CHECKING:
    from redkite.client import MilvusClient

DEFAULT = "default"
_HOST, _PORT = "localhost", 19530
_PLACES = ("uri", "address", "host", "port")


class Connections:
    """Safe from any thread. A name may be configured (`add_connection`) before it is connected."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._configured: dict[str, dict[str, Any]] = {DEFAULT: {}}
        self._clients: dict[str, MilvusClient] = {}

    def connect(
        self,
        alias: str = DEFAULT,
        user: str = "",
        password: str = "",
        db_name: str = "default",
        token: str = "",
        **options: Any,
    ) -> None:
        """Connect under a name. Connecting again as before does nothing.

        Args:
            alias: The name that `using=` of other calls refers to.
            user: With `password`, who to authenticate as.
            password: Of the user.
            db_name: The database to use.
            token: `user:password`, or an API key.
            **options: `uri="http://…"` or a path that ends in `.db`, `address="host:port"`, or `host=` and `port=`;
                what is left of them goes to `MilvusClient`. With none, as `add_connection` has it, else
                localhost:19530.

        Raises:
            ConnectionConfigException: The alias is connected to another place already, or a place cannot be read.
            ConnectError: No server answers there.
        """
        from redkite.client import MilvusClient

        _check_alias(alias)
        if options.pop("_async", False):
            raise ConnectionConfigException("connections are blocking here: AsyncMilvusClient is for event loops")
        given = {key: options.pop(key) for key in _PLACES if options.get(key)}
        with self._lock:
            place = given or {key: v for key, v in self._configured.get(alias, {}).items() if key in _PLACES}
            uri = _uri(place)
            known = self._clients.get(alias)
            if known is not None:
                if self._configured[alias].get("at") in (uri, None) or not given:
                    return
                raise ConnectionConfigException(
                    f"Alias of {alias!r} already creating connections, but the configure is not the same as passed in."
                )
        client = MilvusClient(uri, user, password, "" if db_name == "default" else db_name, token, **options)
        with self._lock:
            self._clients[alias] = client
            self._configured[alias] = {**place, "user": user, "at": uri}

    def add_connection(self, **configurations: dict[str, Any]) -> None:
        """Say where names lead, without connecting: `add_connection(other={"host": "h", "port": "19530"})`."""
        with self._lock:
            for alias, place in configurations.items():
                _check_alias(alias)
                if alias in self._clients and _uri(place) != self._configured[alias].get("at"):
                    raise ConnectionConfigException(
                        f"Alias of {alias!r} already creating connections, but the configure is not the same as "
                        "passed in."
                    )
                _uri(place)
                self._configured[alias] = {**self._configured.get(alias, {}), **place}

    def disconnect(self, alias: str) -> None:
        """Close a connection; where it leads stays known. One that is not there is no error."""
        _check_alias(alias)
        with self._lock:
            client = self._clients.pop(alias, None)
        if client is not None:
            client.close()

    def remove_connection(self, alias: str) -> None:
        """Close a connection and forget where it leads."""
        self.disconnect(alias)
        with self._lock:
            self._configured.pop(alias, None)

    async def async_disconnect(self, alias: str) -> None:
        """`disconnect` for event loops."""
        await asyncio.to_thread(self.disconnect, alias)

    async def async_remove_connection(self, alias: str) -> None:
        """`remove_connection` for event loops."""
        await asyncio.to_thread(self.remove_connection, alias)

    def list_connections(self) -> list[tuple[str, MilvusClient | None]]:
        """Every name, with its client if it is connected."""
        with self._lock:
            return [(alias, self._clients.get(alias)) for alias in self._configured]

    def get_connection_addr(self, alias: str) -> dict[str, Any]:
        """Where a name leads, and as whom; empty for an unknown one."""
        _check_alias(alias)
        with self._lock:
            found = dict(self._configured.get(alias, {}))
        at = found.pop("at", None)
        if at is not None and "address" not in found and "://" in at:
            found["address"] = at.split("://", 1)[1]
        return found

    def has_connection(self, alias: str) -> bool:
        _check_alias(alias)
        return alias in self._clients

    def client(self, alias: str = DEFAULT) -> MilvusClient:
        """The client behind a name. Raises ConnectionNotExistException when it is not connected."""
        found = self._clients.get(alias)
        if found is None:
            raise ConnectionNotExistException("should create connection first.")
        return found


def _check_alias(alias: object) -> None:
    if not isinstance(alias, str):
        raise ConnectionConfigException(f"Alias should be string, but {type(alias)} is given.")


def _uri(place: dict[str, Any]) -> str:
    """The URI that some keys of a configuration stand for."""
    if "uri" in place:
        return str(place["uri"])
    if "address" in place:
        host, _, port = str(place["address"]).partition(":")
        if not host or not port.isdigit():
            raise ConnectionConfigException(f"Illegal address: {place['address']}, should be in form 'localhost:19530'")
        return f"http://{host}:{port}"
    host, port = place.get("host", _HOST), str(place.get("port", _PORT))
    if not isinstance(host, str) or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConnectionConfigException(f"Illegal host or port: {host}:{port}")
    return f"http://{host}:{port}"


connections = Connections()
"""The connections of this process. The interface is built on there being one set of names."""
