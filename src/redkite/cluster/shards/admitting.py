"""Segments that become rows of several shards at one moment, wherever their owners are.

Each owner first looks for the rows that are replaced, then holds its shard still: nobody writes there. When all do, the
coordinator draws the timestamp, has each owner write what the admission needs, and commits everything at once: on the
condition that every channel is still its owner's, and that every owner still holds it. Then the owners show the rows.
An owner that hears nothing any more takes its condition away; if it cannot, the commit has happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar, Final

import msgspec

from redkite.cluster.network import Message, Unanswered
from redkite.cluster.shards.calling import Caller
from redkite.coordinator.data import DataCoordinator
from redkite.env import Env
from redkite.errors import Conflict, MilvusException, NotOwner, Unavailable
from redkite.logs import get_logger
from redkite.model.segments import DeletesFile, SegmentMeta
from redkite.node.admission import Made
from redkite.node.face import Answer, ShardFace
from redkite.storage.change_notes import ADMITTED
from redkite.storage.followed import FollowedCatalog

log = get_logger(__name__)

TICKETS: Final = "admitting/"
"""`admitting/<channel>` in the catalog: the admission that the channel's owner holds it for."""
HOLD_SECONDS: Final = 10.0
"""So long an owner holds a shard without hearing anything."""
WORK_SECONDS: Final = 600.0
ASK_AGAIN_SECONDS: Final = 5.0
"""After so long without an answer, what may be asked again is: the first may have been lost."""
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 0.3
_KNOWN_SECONDS: Final = 30.0


class LookFor(Message, frozen=True, kw_only=True):
    """-> None. Seal what is growing, and find the rows that these segments replace, by the catalog at a revision."""

    idempotent: ClassVar[bool] = True

    channel: str
    admission: int
    made: tuple[Made, ...]
    revision: int


class HoldShard(Message, frozen=True, kw_only=True):
    """-> int: the newest timestamp of what was written; nothing is written any more."""

    channel: str
    admission: int


class PrepareHeld(Message, frozen=True, kw_only=True):
    """-> Prepared"""

    idempotent: ClassVar[bool] = True

    channel: str
    admission: int
    timestamp: int


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What one shard is about to take in."""

    added: tuple[SegmentMeta, ...]
    deletes: dict[int, DeletesFile]
    """Of segments that were there before."""
    record: tuple[str, bytes]
    """By which the channel is its owner's: key and value."""
    revision: int
    """Of the catalog, as far as it says what the shard has."""


class EndHold(Message, frozen=True, kw_only=True):
    """-> bool: whether the rows are shown. It was committed, or will not be: the owner finds out which."""

    idempotent: ClassVar[bool] = True

    channel: str
    admission: int


def ticket(channel: str) -> str:
    return TICKETS + channel


def ticket_of(admission: int) -> bytes:
    return str(admission).encode()


class RemoteAdmission:
    """Does over other machines what `node.importing.admit` does over shards of this one. One for each coordinator that
    leads: admissions come one after another."""

    def __init__(self, env: Env, caller: Caller, catalog: FollowedCatalog) -> None:
        """`catalog` commits as the leader does."""
        self._tasks, self._now = env.tasks, env.clock.monotonic
        self._caller, self._catalog = caller, catalog
        self._lock = threading.Lock()

    def __call__(
        self,
        data: DataCoordinator,
        shards: Sequence[ShardFace],
        made: Mapping[str, Sequence[Made]],
        allocate: Callable[[], int],
        check: Callable[[], None],
        notes: Callable[[], Mapping[str, bytes]],
        committed: Callable[[], None],
    ) -> int:
        """See `node.importing.admit`. Owners that change meanwhile make it begin anew, some times."""
        collection_id = shards[0].collection.collection_id
        channels = sorted(shard.channel for shard in shards)
        with self._lock:
            for left in reversed(range(_TRIES)):
                one = _Admission(self, data, collection_id, channels, made)
                try:
                    return one.run(allocate, check, notes, committed)
                except (Unavailable, NotOwner, Conflict) as error:
                    if one.is_there or not left:
                        raise
                    log.info("an admission begins anew: %s", error.message)
                    self.pause(_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    def pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            self._tasks.future().result(seconds)

    def new_id(self) -> int:
        return self._caller.new_id()

    def ask_all(self, messages: Mapping[str, Message], seconds: float) -> dict[str, object]:
        """The replies of all owners, asked side by side."""
        until = self._now() + seconds
        asked = {channel: self._ask(channel, message, seconds) for channel, message in messages.items()}
        return {channel: self._answered(channel, messages[channel], asked[channel], until) for channel in messages}

    def _ask(self, channel: str, message: Message, seconds: float) -> Answer[object]:
        seconds = min(seconds, ASK_AGAIN_SECONDS) if message.idempotent else seconds
        return self._caller.ask_soon(channel, message, seconds)

    def _answered(self, channel: str, message: Message, answer: Answer[object], until: float) -> object:
        while True:
            try:
                return answer()
            except Unanswered:
                if not message.idempotent or self._now() >= until:
                    raise
            answer = self._ask(channel, message, ASK_AGAIN_SECONDS)

    def is_committed(self, keys: Mapping[str, bytes]) -> bool:
        """Whether a commit with an unknown outcome has happened, which put these. Raises Unavailable when that is not
        to be known."""
        deadline = self._now() + _KNOWN_SECONDS
        while True:
            try:
                self._catalog.refresh(told=False)
            except Unavailable:
                if self._now() >= deadline:
                    raise
                self.pause(_PAUSE_SECONDS)
            else:
                return all(self._catalog.get(key) == value for key, value in keys.items())

    def wait_for(self, revision: int) -> None:
        self._catalog.wait_for(revision, _KNOWN_SECONDS)


class _Admission:
    """One try."""

    def __init__(
        self,
        home: RemoteAdmission,
        data: DataCoordinator,
        collection_id: int,
        channels: Sequence[str],
        made: Mapping[str, Sequence[Made]],
    ) -> None:
        self._home, self._data = home, data
        self._collection_id, self._channels, self._made = collection_id, channels, made
        self._number = home.new_id()
        self.is_there = False
        """Whether it is committed."""

    def run(
        self,
        allocate: Callable[[], int],
        check: Callable[[], None],
        notes: Callable[[], Mapping[str, bytes]],
        committed: Callable[[], None],
    ) -> int:
        home, number = self._home, self._number
        revision = home._catalog.revision
        look = {
            c: LookFor(channel=c, admission=number, made=tuple(self._made[c]), revision=revision)
            for c in self._channels
        }
        home.ask_all(look, WORK_SECONDS)
        try:
            home.ask_all({c: HoldShard(channel=c, admission=number) for c in self._channels}, HOLD_SECONDS)
            check()
            timestamp = allocate()
            ready = self._prepared(timestamp)
            self._commit(timestamp, ready, notes())
            self.is_there = True
            committed()
        finally:
            self._end()
        return timestamp

    def _prepared(self, timestamp: int) -> dict[str, Prepared]:
        asked = {c: PrepareHeld(channel=c, admission=self._number, timestamp=timestamp) for c in self._channels}
        found = self._home.ask_all(asked, WORK_SECONDS)
        ready = {c: reply for c, reply in found.items() if isinstance(reply, Prepared)}
        self._home.wait_for(max(reply.revision for reply in ready.values()))
        return ready

    def _commit(self, timestamp: int, ready: Mapping[str, Prepared], notes: Mapping[str, bytes]) -> None:
        data = self._data
        added = [meta for reply in ready.values() for meta in reply.added]
        deletes = {i: file for reply in ready.values() for i, file in reply.deletes.items()}
        told = dict(notes)
        for channel in {meta.channel for meta in added}:
            told |= data.notes.noted(channel, ADMITTED, timestamp)
        expect: dict[str, bytes | None] = {ticket(c): ticket_of(self._number) for c in self._channels}
        expect |= dict(reply.record for reply in ready.values())
        gone = [ticket(c) for c in self._channels]
        try:
            data.commit_admission(self._collection_id, added, deletes, told, expect, gone)
        except Unavailable:
            if not self._home.is_committed(told):
                raise

    def _end(self) -> None:
        """Owners show the rows, or write on. One that is not reached finds out by itself."""
        messages = {c: EndHold(channel=c, admission=self._number) for c in self._channels}
        asked = {c: self._home._caller.ask_soon(c, message, HOLD_SECONDS) for c, message in messages.items()}
        for channel, answer in asked.items():
            try:
                answer()
            except MilvusException as error:
                log.info("the owner of channel %s does not say that it ended an admission: %s", channel, error.message)
