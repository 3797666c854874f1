"""How an owner looks after its shards when others ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from redkite.cluster.network import Handler
from redkite.cluster.shards.handling import begun, owned
from redkite.cluster.shards.upkeep import (
    AskFacts,
    AskSegments,
    BuildIndexes,
    Cleared,
    ClearNode,
    DropChannel,
    DropIndex,
    Flushed,
    FlushShard,
    Followed,
    FollowShard,
    ForgetRows,
    Image,
    ReloadShard,
    RollAt,
    Rolled,
    Segments,
    ShardFacts,
    TakeImage,
    TruncateShard,
    Upkeep,
)
from redkite.coordinator.data import Parted
from redkite.coordinator.tso import TimestampOracle
from redkite.env import Env, Executor
from redkite.errors import MilvusException, NotOwner, Unavailable
from redkite.logs import get_logger
from redkite.node.implied import settle_indexes
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.storage.followed import FollowedCatalog

log = get_logger(__name__)

M = TypeVar("M", bound=Upkeep)
R = TypeVar("R")
_WAIT_SECONDS: Final = 10.0


class OwnerNode(Protocol):
    """A node that owns channels."""

    env: Env
    catalog: FollowedCatalog
    topology: Topology
    """Of what it knows; its streaming nodes are itself."""

    def own_shard(self, channel: str) -> Shard:
        """The shard, open and as new as its collection. Raises NotOwner."""
        ...

    def open_shard(self, channel: str) -> Shard | None:
        """The shard if it is open. Raises NotOwner."""
        ...

    def reopen(self, shard: Shard) -> None:
        """Open it anew at its next use, from what is durable."""
        ...

    def drop_channel(self, channel: str) -> None:
        """Forget a channel whose collection is gone. Raises NotOwner."""
        ...


class UpkeepService:
    """The handlers of one streaming node. Safe from any thread."""

    def __init__(self, node: OwnerNode, worker: Executor) -> None:
        """`worker` runs what writes objects, or waits for others that do."""
        self._node, self._worker = node, worker
        self._tasks = node.env.tasks

    def handlers(self) -> Mapping[type, Handler]:
        return {
            FlushShard: self._later(self._flush),
            TruncateShard: self._later(self._truncate),
            ReloadShard: self._later(self._reload),
            FollowShard: self._later(self._follow),
            ForgetRows: self._later(self._forget),
            DropChannel: self._later(self._drop_channel),
            BuildIndexes: self._later(self._build),
            ClearNode: self._later(self._clear),
            DropIndex: self._later(self._drop_index),
            AskFacts: self._later(self._facts),
            AskSegments: self._later(self._segments),
            RollAt: self._later(self._roll),
            TakeImage: self._later(self._image),
        }

    def _later(self, act: Callable[[M], Any]) -> Handler:
        """On another thread, once the catalog is known here as far as the message wants."""

        acting = owned(partial(self._act, act))

        def handle(message: M) -> Future[Any]:
            return begun(self._worker, acting, message)

        return handle

    def _act(self, act: Callable[[M], Any], message: M) -> Any:
        if message.revision > self._node.catalog.revision:
            try:
                self._node.catalog.wait_for(message.revision, _WAIT_SECONDS)
            except Unavailable:
                self._node.catalog.refresh()
        return act(message)

    def _followed(self) -> Followed:
        return Followed(revision=self._node.catalog.own_revision)

    # -- sealing --------------------------------------------------------------------------------
    def _sealed(self, channel: str, act: Callable[[Shard], R]) -> R:
        """What commits. A shard that a commit parted from the catalog is opened anew, and asked once more."""
        shard = self._node.own_shard(channel)
        try:
            return act(shard)
        except Parted:
            log.warning("channel %s is opened anew: the catalog has what this node was not told", channel)
        self._node.reopen(shard)
        return act(self._node.own_shard(channel))

    def _flush(self, message: FlushShard) -> Flushed:
        allocate = self._node.topology.root.oracle.allocate
        timestamp, metas = self._sealed(message.channel, lambda shard: shard.flush(allocate))
        return Flushed(timestamp=timestamp, segments=tuple(metas), revision=self._node.catalog.own_revision)

    def _truncate(self, message: TruncateShard) -> Flushed:
        shard = self._node.own_shard(message.channel)
        allocate = self._node.topology.root.oracle.allocate
        try:
            gone = shard.truncate(allocate)
        except NotOwner:
            raise
        except MilvusException:
            self._node.reopen(shard)  # its rows may be forgotten in memory and still be there
            raise
        return Flushed(timestamp=allocate(), segments=tuple(gone), revision=self._node.catalog.own_revision)

    # -- following ------------------------------------------------------------------------------
    def _reload(self, message: ReloadShard) -> Followed:
        self._node.own_shard(message.channel).reload()
        return self._followed()

    def _follow(self, message: FollowShard) -> Followed:
        shard = self._node.open_shard(message.channel)
        if shard is not None:
            shard = self._node.own_shard(message.channel)
            topology = self._node.topology
            settle_indexes(topology.data, topology.garbage, shard.collection, [shard])
        return self._followed()

    def _forget(self, message: ForgetRows) -> Followed:
        shard = self._node.open_shard(message.channel)
        if shard is not None:
            shard.forget(message.partitions)
        return self._followed()

    def _drop_channel(self, message: DropChannel) -> Followed:
        self._node.drop_channel(message.channel)
        return self._followed()

    def _build(self, message: BuildIndexes) -> Followed:
        self._node.own_shard(message.channel).build_all()
        return self._followed()

    def _drop_index(self, message: DropIndex) -> Followed:
        shard = self._node.open_shard(message.channel)
        if shard is not None:
            shard.drop_index(message.index)
        return self._followed()

    def _clear(self, message: ClearNode) -> Cleared:
        shard = self._node.own_shard(message.channel)
        moved = shard.clear_node(message.source, message.targets, message.segments)
        return Cleared(moved=moved, revision=self._node.catalog.own_revision)

    # -- facts ----------------------------------------------------------------------------------
    def _facts(self, message: AskFacts) -> ShardFacts:
        shard = self._node.own_shard(message.channel)
        return ShardFacts(growing=shard.growing(), served=shard.served(), revision=self._node.catalog.own_revision)

    def _segments(self, message: AskSegments) -> Segments:
        shard = self._node.own_shard(message.channel)
        return Segments(segments=tuple(shard.segments()), revision=self._node.catalog.own_revision)

    # -- one moment -----------------------------------------------------------------------------
    def _roll(self, message: RollAt) -> Rolled:
        shard = self._node.own_shard(message.channel)
        oracle = self._node.topology.root.oracle
        with shard.turn(settled=True):
            newest = shard.view.timestamp
            if newest > message.timestamp:
                return Rolled(newest=newest, in_time=False)
            observe(oracle, message.timestamp)
            shard.roll()
        return Rolled(newest=newest, in_time=True)

    def _image(self, message: TakeImage) -> Image:
        def image(shard: Shard) -> Image:
            found = shard.image(message.timestamp, lambda _: None)
            return Image(image=found, readable_from=shard.readable_from, revision=self._node.catalog.own_revision)

        return self._sealed(message.channel, image)


def observe(oracle: TimestampOracle, timestamp: int) -> None:
    """Let an oracle give only larger timestamps. One that follows a clock of its own alone is always ahead."""
    seen: Callable[[int], None] | None = getattr(oracle, "observe", None)
    if seen is not None:
        seen(timestamp)
