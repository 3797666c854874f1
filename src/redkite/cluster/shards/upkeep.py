"""Looking after a shard that another node owns.

What the owner commits, its reply names by the revision of the catalog; whoever asked waits until it knows as much. What
the owner is to follow, the message names in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final

import msgspec

from redkite.cluster.network import Message
from redkite.cluster.shards.calling import CalledShard, Caller
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import NotOwner
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.node.face import GrowingFacts, ServedSegments
from redkite.node.view import ShardImage

WORK_SECONDS: Final = 120.0
"""How long an owner may take to write what it has, or to have segments loaded."""
_REVISION_SECONDS: Final = 10.0


class Upkeep(Message, frozen=True, kw_only=True):
    """What is done to the shard of a channel. Each may be done twice."""

    idempotent: ClassVar[bool] = True

    channel: str
    revision: int = 0
    """The owner knows the catalog as far as this before it does anything."""


class FlushShard(Upkeep, frozen=True, kw_only=True):
    """-> Flushed. Everything written so far is sealed."""


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    timestamp: int
    """No sealed row exceeds it."""
    segments: tuple[SegmentMeta, ...]
    revision: int


class TruncateShard(Upkeep, frozen=True, kw_only=True):
    """-> Flushed, with the segments that are gone"""


class ReloadShard(Upkeep, frozen=True, kw_only=True):
    """-> Followed. Follow the load state of the collection."""


class FollowShard(Upkeep, frozen=True, kw_only=True):
    """-> Followed. Take over what the collection is now, if the shard is open."""


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    revision: int


class ForgetRows(Upkeep, frozen=True, kw_only=True):
    """-> Followed"""

    partitions: tuple[int, ...] | None = None
    """None: all of them."""


class DropChannel(Upkeep, frozen=True, kw_only=True):
    """-> Followed. The collection is gone, and so is the channel."""


class BuildIndexes(Upkeep, frozen=True, kw_only=True):
    """-> Followed. Begin the builds that are missing."""


class DropIndex(Upkeep, frozen=True, kw_only=True):
    """-> Followed. The catalog does not have the index any more."""

    index: IndexMeta


class ClearNode(Upkeep, frozen=True, kw_only=True):
    """-> Cleared. Move sealed segments from a query node to others."""

    source: int
    targets: tuple[int, ...]
    """Empty: any."""
    segments: tuple[int, ...]
    """Empty: all of them."""


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    moved: int
    revision: int


class AskFacts(Upkeep, frozen=True, kw_only=True):
    """-> ShardFacts"""


class ShardFacts(msgspec.Struct, frozen=True, kw_only=True):
    growing: tuple[GrowingFacts, ...]
    served: tuple[ServedSegments, ...]
    revision: int


class AskSegments(Upkeep, frozen=True, kw_only=True):
    """-> Segments"""


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    segments: tuple[SegmentMeta, ...]
    revision: int


class RollAt(Upkeep, frozen=True, kw_only=True):
    """-> Rolled. What is written from now on has a later timestamp than this, and goes to new segments."""

    timestamp: int


class Rolled(msgspec.Struct, frozen=True, kw_only=True):
    newest: int
    """Of what was written before."""
    in_time: bool
    """Whether that is not newer than the timestamp that was asked for. Else nothing was done."""


class TakeImage(Upkeep, frozen=True, kw_only=True):
    """-> Image. The shard as it was at a timestamp at which it was rolled."""

    timestamp: int


class Image(msgspec.Struct, frozen=True, kw_only=True):
    image: ShardImage | None
    """None: later rows were merged into its segments meanwhile."""
    readable_from: int
    revision: int


class RemoteUpkeep(CalledShard):
    """The part of a remote shard that looks after it."""

    def flush(self, allocate: Callable[[], int]) -> tuple[int, list[SegmentMeta]]:  # noqa: ARG002  the owner's oracle
        """Seal everything written so far. A timestamp that no sealed row exceeds, and the new segments."""
        reply: Flushed = self._look_after(FlushShard(channel=self.channel), WORK_SECONDS)
        return reply.timestamp, list(reply.segments)

    def truncate(self, allocate: Callable[[], int]) -> list[SegmentMeta]:  # noqa: ARG002  the owner's oracle
        """Drop every row written so far, durably; the segments whose objects may be deleted."""
        reply: Flushed = self._look_after(TruncateShard(channel=self.channel, revision=self._known()), WORK_SECONDS)
        return list(reply.segments)

    def reload(self) -> None:
        """Have the owner place what is loaded, and take away what is not."""
        self._look_after(ReloadShard(channel=self.channel, revision=self._known()), WORK_SECONDS)

    def follow(self, current: Callable[[], CollectionMeta]) -> None:
        """Have the owner take over what the collection is by the catalog as it is known here."""
        self._collection = current()
        self._look_after(FollowShard(channel=self.channel, revision=self._known()))

    def forget(self, partitions: Iterable[int] | None = None) -> None:
        """Drop the rows of some partitions (None: all)."""
        gone = None if partitions is None else tuple(partitions)
        self._look_after(ForgetRows(channel=self.channel, revision=self._known(), partitions=gone))

    def build_all(self) -> None:
        """Queue the builds of indexes that sealed segments still want."""
        self._look_after(BuildIndexes(channel=self.channel, revision=self._known()))

    def drop_index(self, index: IndexMeta) -> None:
        """Serve searches without an index that the catalog does not have any more."""
        self._look_after(DropIndex(channel=self.channel, revision=self._known(), index=index))

    def clear_node(self, source: int, targets: tuple[int, ...], segments: tuple[int, ...]) -> int:
        """Have others of its replica (empty `targets`: any) serve segments (empty: all) that a query node serves; how
        many were moved."""
        message = ClearNode(
            channel=self.channel, revision=self._known(), source=source, targets=targets, segments=segments
        )
        reply: Cleared = self._look_after(message, WORK_SECONDS)
        return reply.moved

    def growing(self) -> tuple[GrowingFacts, ...]:
        """The segments that are not sealed yet and have rows, oldest first."""
        return self._facts().growing

    def served(self) -> tuple[ServedSegments, ...]:
        """Which query nodes serve what is sealed and loaded."""
        return self._facts().served

    def segments(self) -> list[SegmentMeta]:
        """The sealed ones, as the owner has them."""
        return list(self._look_after(AskSegments(channel=self.channel)).segments)

    def roll_at(self, timestamp: int) -> Callable[[], Rolled]:
        """Begin to roll at a timestamp; the answer is waited for by calling what is returned."""
        return self.ask_soon(RollAt(channel=self.channel, timestamp=timestamp))

    def image_at(self, timestamp: int) -> Callable[[], Image]:
        """Begin to take the image at a timestamp at which the shard was rolled."""
        return self.ask_soon(TakeImage(channel=self.channel, timestamp=timestamp), WORK_SECONDS)

    @staticmethod
    def drop_channel(caller: Caller, channel: str, shard: RemoteUpkeep | None) -> None:  # noqa: ARG004  none is needed
        """Have the owner forget a channel whose collection is gone. A channel that nobody owns has nobody to tell: its
        next owner finds out by the catalog."""
        message = DropChannel(channel=channel, revision=caller.catalog.own_revision)
        try:
            caller.ask(channel, message)
        except NotOwner:
            return

    # -- asking ---------------------------------------------------------------------------------
    def _facts(self) -> ShardFacts:
        facts: ShardFacts = self._look_after(AskFacts(channel=self.channel))
        return facts

    def _known(self) -> int:
        return self._caller.catalog.own_revision

    def _look_after(self, message: Upkeep, seconds: float = _REVISION_SECONDS) -> Any:
        reply = self.ask(message, seconds)
        self._caller.catalog.wait_for(reply.revision, _REVISION_SECONDS)
        return reply
