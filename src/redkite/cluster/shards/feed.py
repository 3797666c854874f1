"""What has happened to a shard that another node owns, and what another cluster has logged there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

import msgspec

from redkite.cluster.network import Handler, Message
from redkite.cluster.shards.calling import CalledShard
from redkite.cluster.shards.handling import begun, owned
from redkite.cluster.shards.upkeep import WORK_SECONDS
from redkite.cluster.shards.upkeep_service import OwnerNode
from redkite.env import Executor
from redkite.model.changes import ChannelPlace
from redkite.model.replication import ReplicationItem
from redkite.model.segments import SegmentMeta
from redkite.node.feed import FeedPage, KeptChanges


class OfFeed(Message, frozen=True, kw_only=True):
    """What is asked of a channel's feed. Each may be asked twice."""

    idempotent: ClassVar[bool] = True

    channel: str


class ChangesEnd(OfFeed, frozen=True, kw_only=True):
    """-> ChannelPlace"""


class ChangesAfter(OfFeed, frozen=True, kw_only=True):
    """-> ChannelPlace"""

    timestamp: int


class HasChanges(OfFeed, frozen=True, kw_only=True):
    """-> Told, of 1 or 0"""

    place: ChannelPlace


class ReadShardChanges(OfFeed, frozen=True, kw_only=True):
    """-> FeedPage"""

    place: ChannelPlace
    max_rows: int
    max_bytes: int


class KeepChanges(OfFeed, frozen=True, kw_only=True):
    """-> Told"""

    feed: str
    place: ChannelPlace | None
    forget: bool = False


class AskKeptChanges(OfFeed, frozen=True, kw_only=True):
    """-> Kept"""

    feed: str


class TakeChanges(OfFeed, frozen=True, kw_only=True):
    """-> Gone"""

    items: tuple[ReplicationItem, ...]


class CountChanges(OfFeed, frozen=True, kw_only=True):
    """-> Told, of rows and checksum"""

    timestamp: int


class Told(msgspec.Struct, frozen=True):
    numbers: tuple[int, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    kept: KeptChanges | None


class Gone(msgspec.Struct, frozen=True):
    segments: tuple[SegmentMeta, ...]


class RemoteFeed(CalledShard):
    """The part of a remote shard that tells its changes: see `node.feed.Feeding`."""

    def changes_end(self) -> ChannelPlace:
        found: ChannelPlace = self._caller.ask(self.channel, ChangesEnd(channel=self.channel))
        return found

    def changes_after(self, timestamp: int) -> ChannelPlace:
        found: ChannelPlace = self._caller.ask(self.channel, ChangesAfter(channel=self.channel, timestamp=timestamp))
        return found

    def has_changes(self, place: ChannelPlace) -> bool:
        told: Told = self._caller.ask(self.channel, HasChanges(channel=self.channel, place=place))
        return bool(told.numbers[0])

    def keep_changes(self, feed: str, place: ChannelPlace | None) -> None:
        self._caller.ask(self.channel, KeepChanges(channel=self.channel, feed=feed, place=place))

    def forget_changes(self, feed: str) -> None:
        self._caller.ask(self.channel, KeepChanges(channel=self.channel, feed=feed, place=None, forget=True))

    def kept_changes(self, feed: str) -> KeptChanges | None:
        answer: Kept = self._caller.ask(self.channel, AskKeptChanges(channel=self.channel, feed=feed))
        return answer.kept

    def read_changes(self, place: ChannelPlace, max_rows: int, max_bytes: int) -> FeedPage:
        message = ReadShardChanges(channel=self.channel, place=place, max_rows=max_rows, max_bytes=max_bytes)
        found: FeedPage = self._caller.ask(self.channel, message, WORK_SECONDS)
        return found

    def take_changes(self, items: Sequence[ReplicationItem]) -> list[SegmentMeta]:
        gone: Gone = self._caller.ask(self.channel, TakeChanges(channel=self.channel, items=tuple(items)), WORK_SECONDS)
        return list(gone.segments)

    def count_changes(self, timestamp: int) -> tuple[int, int]:
        message = CountChanges(channel=self.channel, timestamp=timestamp)
        told: Told = self._caller.ask(self.channel, message, WORK_SECONDS)
        return told.numbers[0], told.numbers[1]


class FeedService:
    """The handlers of one streaming node. Safe from any thread."""

    def __init__(self, node: OwnerNode, worker: Executor) -> None:
        self._node, self._worker = node, worker

    def handlers(self) -> Mapping[type, Handler]:
        own = self._node.own_shard
        return {
            ChangesEnd: self._later(lambda m: own(m.channel).changes_end()),
            ChangesAfter: self._later(lambda m: own(m.channel).changes_after(m.timestamp)),
            HasChanges: self._later(lambda m: Told((int(own(m.channel).has_changes(m.place)),))),
            ReadShardChanges: self._later(lambda m: own(m.channel).read_changes(m.place, m.max_rows, m.max_bytes)),
            KeepChanges: self._later(self._keep),
            AskKeptChanges: self._later(lambda m: Kept(own(m.channel).kept_changes(m.feed))),
            TakeChanges: self._later(self._take),
            CountChanges: self._later(lambda m: Told(own(m.channel).count_changes(m.timestamp))),
        }

    def _later(self, act: Callable[[Any], Any]) -> Handler:
        def handle(message: OfFeed) -> Future[Any]:
            return begun(self._worker, owned(act), message)

        return handle

    def _keep(self, message: KeepChanges) -> Told:
        shard = self._node.own_shard(message.channel)
        if message.forget:
            shard.forget_changes(message.feed)
        else:
            shard.keep_changes(message.feed, message.place)
        return Told()

    def _take(self, message: TakeChanges) -> Gone:
        for item in message.items:
            self._node.topology.root.oracle.observe(item.timestamp)
        return Gone(tuple(self._node.own_shard(message.channel).take_changes(message.items)))
