"""Who owns which channel, and at what address: out of the catalog and of the records of the nodes that live."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from concurrent.futures import Future
from threading import Lock

from redkite.cluster.membership import Membership
from redkite.cluster.network import Network, Remote
from redkite.coordinator.pchannels import PREFIX, PChannel
from redkite.env import Tasks
from redkite.errors import NotOwner
from redkite.storage.followed import FollowedCatalog
from redkite.storage.log_channel_format import collection_id, physical_name


class News:
    """Futures that end when something has changed."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._lock = Lock()
        self._next: Future[None] | None = None

    def wait(self) -> Future[None]:
        """Done at the next `tell`."""
        with self._lock:
            if self._next is None:
                self._next = self._tasks.future()
            return self._next

    def tell(self) -> None:
        with self._lock:
            told, self._next = self._next, None
        if told is not None:
            told.set_result(None)


class KnownRoutes:
    """`calling.Routes` of one node. Safe from any thread."""

    def __init__(self, tasks: Tasks, catalog: FollowedCatalog, membership: Membership, network: Network) -> None:
        self._catalog = catalog
        self._membership = membership
        self._network = network
        self._news = News(tasks)
        self._known: dict[str, Remote] = {}
        """Channel -> its owner; another dict whenever something has changed."""
        self._last: dict[str, Remote] = {}
        """Channel -> who was its owner when that was last known."""
        self._addresses: frozenset[str] = frozenset()
        catalog.when_changed(self._catalog_changed)
        membership.when_changed(self._nodes_changed)

    def route(self, channel: str) -> Remote:
        known = self._known
        found = known.get(channel)
        if found is None:
            found = known[channel] = self._last[channel] = self._find(channel)
        return found

    def last(self, channel: str) -> Remote | None:
        return self._last.get(channel) if self._membership.is_doubtful else None

    def _find(self, channel: str) -> Remote:
        data = self._catalog.get(PREFIX + physical_name(channel))
        if data is None:
            raise NotOwner.of(channel)
        record = PChannel.from_bytes(data)
        node = self._membership.node(record.node_id) if record.is_owned else None
        if node is None:
            raise NotOwner.of(channel, record.node_id, record.term)
        return self._network.connect(node.address)

    def news(self) -> Future[None]:
        return self._news.wait()

    def _catalog_changed(self, changes: Mapping[str, bytes | None]) -> None:
        if _about_channels(changes):
            self._changed()

    def _nodes_changed(self) -> None:
        """What a node that is gone was asked is answered by nobody any more."""
        there = frozenset(record.address for record in self._membership.nodes())
        gone, self._addresses = self._addresses - there, there
        for address in gone:
            self._network.abandon(address)
        self._changed()

    def _changed(self) -> None:
        self._known = {}
        self._news.tell()

    def forget(self, collections: Container[int]) -> None:
        """These are gone, and their channels with them."""
        self._last = {name: owner for name, owner in [*self._last.items()] if collection_id(name) not in collections}
        self._known = {}

    def close(self) -> None:
        self._catalog.forget_listener(self._catalog_changed)


def _about_channels(keys: Iterable[str]) -> bool:
    return any(key.startswith(PREFIX) for key in keys)
