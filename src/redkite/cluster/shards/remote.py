"""Shards and owners that are elsewhere, as a topology has them."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from threading import Lock
from typing import Any, ClassVar

from redkite.cluster.shards.calling import Caller
from redkite.cluster.shards.feed import RemoteFeed
from redkite.cluster.shards.reading import RemoteReads
from redkite.cluster.shards.upkeep import RemoteUpkeep
from redkite.cluster.shards.writing import WritesThere
from redkite.coordinator.meta import CollectionMeta
from redkite.node.face import ChannelOwner
from redkite.storage.log import Room


class RemoteShard(RemoteReads, WritesThere, RemoteUpkeep, RemoteFeed):
    """A `ShardFace` of a shard that another node owns: each call goes to whoever that is by then."""


class RemoteOwner:
    """A `ChannelOwner` of all channels: which node has one is found when a shard is asked."""

    node_id = 0

    def __init__(self, caller: Caller, find: Callable[[str], CollectionMeta | None] | None) -> None:
        """`find` gives the collection of a channel to who looks after all shards, open or not: their owners open them.
        None: shards are only asked for by who has a request for them."""
        self._caller = caller
        self._find = find
        self._lock = Lock()
        self._shards: dict[str, RemoteShard] = {}

    def shard(self, collection: CollectionMeta, channel: str) -> RemoteShard:
        found = self._shards.get(channel)
        if found is None or found.collection is not collection:
            found = RemoteShard(collection, channel, self._caller)
            with self._lock:
                self._shards = {**self._shards, channel: found}
        return found

    def open_shard(self, channel: str) -> RemoteShard | None:
        """See `find`."""
        collection = None if self._find is None else self._find(channel)
        return None if collection is None else self.shard(collection, channel)

    def forget(self, collections: Container[int]) -> None:
        """These are gone."""
        with self._lock:
            self._shards = {c: s for c, s in self._shards.items() if s.collection.collection_id not in collections}

    def reserve(self, sizes: Mapping[str, int]) -> Room:
        raise AssertionError(f"the log of {', '.join(sizes)} is its owner's")

    def seal_if_full(self, shard: Any) -> None:
        """The owner looks after each write by itself."""

    def drop_channel(self, channel: str) -> None:
        with self._lock:
            found = self._shards.get(channel)
            self._shards = {name: shard for name, shard in self._shards.items() if name != channel}
        RemoteUpkeep.drop_channel(self._caller, channel, found)

    def close(self) -> None:
        """Nothing is held: the caller is closed by who made it."""


class RemoteOwners:
    """`Owners` of a node that owns no channels. `count` tells how many nodes do."""

    are_here: ClassVar[bool] = False

    def __init__(
        self,
        caller: Caller,
        count: Callable[[], int],
        find: Callable[[str], CollectionMeta | None] | None = None,
    ) -> None:
        """`find`: see `RemoteOwner`."""
        self.all = RemoteOwner(caller, find)
        self._count = count

    def owner(self, channel: str) -> ChannelOwner:  # noqa: ARG002  one stands for all
        return self.all

    def __iter__(self) -> Iterator[ChannelOwner]:
        return iter((self.all,))

    def __len__(self) -> int:
        return self._count()
