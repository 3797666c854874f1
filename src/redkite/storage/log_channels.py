"""Virtual channels, many on one physical channel: a log over a log.

Whoever owns a physical channel writes all its virtual ones to one topic of the log below. Opening it reads that topic
once, and remembers where the records of each virtual channel are; what they hold is kept for those who will ask for it,
as far as memory allows, so the shards of one physical channel are replayed by one pass over it, or by few.

Positions are those of the topic below, so those of one virtual channel have gaps. The topic is forgotten up to the
first record that any virtual channel, or a group of one, still needs. A channel without such records keeps nothing
back, however old its checkpoint is; neither does one that was dropped. Names of virtual channels are never used twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from redkite.env import Buffer
from redkite.errors import (
    InvalidParameter,
    MilvusException,
    NotOwner,
    TopicBehind,
    TopicClosed,
    Unavailable,
)
from redkite.logs import get_logger
from redkite.storage.catalog import Catalog
from redkite.storage.log import EARLIEST, LATEST, MIB, At, Log, LogRecord, Room, Topic
from redkite.storage.log_answers import check_name
from redkite.storage.log_channel_format import Places, header_of, physical_name, short_name, told
from redkite.storage.log_groups import LocalGroup, resolve

_logger = get_logger("log")
REPLAY_BYTES: Final = 64 * MIB
"""So much of a physical channel is kept in memory for the shards that are about to read it."""


class ChannelLog:
    """A `Log` whose topics are virtual channels. Safe from any thread."""

    def __init__(
        self,
        below: Log,
        positions: Catalog,
        checkpoint_of: Callable[[str], int | None],
        replay_bytes: int = REPLAY_BYTES,
    ) -> None:
        """`positions` keeps where groups are. `checkpoint_of` tells from where a virtual channel needs its log (None:
        it was dropped); it knows every channel that was made before the physical one was opened."""
        self._below = below
        self._positions = positions
        self._checkpoint_of = checkpoint_of
        self._replay_bytes = replay_bytes
        self._lock = threading.Lock()
        self._physical: dict[str, PhysicalChannel] = {}

    def open(self, physical: str) -> PhysicalChannel:
        """Read a physical channel, unless that was done. Who writes it has it from here on, and nobody else."""
        with self._lock:
            found = self._physical.get(physical)
            if found is None or found.closed:
                found = self._physical[physical] = PhysicalChannel(
                    physical, self._below.topic(physical), self._positions, self._checkpoint_of, self._replay_bytes
                )
        found.know()
        return found

    def opened(self, physical: str) -> PhysicalChannel | None:
        """A physical channel if it is open."""
        with self._lock:
            found = self._physical.get(physical)
        return None if found is None or found.closed else found

    def release(self, physical: str, *, abandon: bool = False) -> None:
        """Let go of a physical channel: its topics are closed. `abandon`: wait for no append under way."""
        with self._lock:
            found = self._physical.pop(physical, None)
        if found is not None:
            found.close(abandon=abandon)

    def topic(self, name: str) -> ChannelTopic:
        check_name(name, "topic")
        return self.open(physical_name(name)).topic(name)

    def reserve(self, wanted: Mapping[str, int]) -> ChannelRoom:
        """As `Log.reserve`. Of channels that share a physical one, each but the first asks the log below anew."""
        rounds: list[dict[str, tuple[str, int]]] = []
        for name, length in wanted.items():
            topic = self.topic(name)
            if topic.unapplied:
                raise topic.refusal()
            at = sum(topic.physical in taken for taken in rounds)
            if at == len(rounds):
                rounds.append({})
            rounds[at][topic.physical] = (name, length + topic.header_bytes)
        return ChannelRoom(self._below, rounds)

    def topics(self) -> list[str]:
        """Those of the open physical channels that have records which may still be needed."""
        with self._lock:
            physical = list(self._physical.values())
        return sorted(name for channel in physical for name in channel.channels())

    def drop(self, name: str) -> None:
        check_name(name, "topic")
        with self._lock:
            found = self._physical.get(physical_name(name))
        if found is not None and not found.closed:
            found.drop(name)
        self._positions.commit({}, [key for key, _ in self._positions.scan(f"{name}/")])

    def close(self) -> None:
        """Let go of every physical channel. The log below is its owner's."""
        with self._lock:
            physical, self._physical = self._physical, {}
        for channel in physical.values():
            channel.close()


class ChannelRoom:
    """Room for one record of each of some virtual channels."""

    def __init__(self, below: Log, rounds: Sequence[Mapping[str, tuple[str, int]]]) -> None:
        self._rooms: list[Room] = []
        self._of: dict[str, Room] = {}
        try:
            for wanted in rounds:
                room = below.reserve({physical: length for physical, (_, length) in wanted.items()})
                self._rooms.append(room)
                self._of |= {name: room for name, _ in wanted.values()}
        except BaseException:
            self.give_back()
            raise

    def of(self, name: str) -> Room | None:
        return self._of.get(name)

    def give_back(self) -> None:
        for room in self._rooms:
            room.give_back()


class PhysicalChannel:
    """One topic of the log below, and what is known of the virtual channels on it.

    `_reading` is held by whoever reads the topic, `_state` for moments and never while anybody waits.
    """

    def __init__(
        self,
        name: str,
        topic: Topic,
        positions: Catalog,
        checkpoint_of: Callable[[str], int | None],
        replay_bytes: int,
    ) -> None:
        self.name = name
        self.below = topic
        self.positions = positions
        self.closed = False
        self._checkpoint_of = checkpoint_of
        self._replay_bytes = replay_bytes
        self._reading, self._state = threading.RLock(), threading.Lock()
        self._places: Places | None = None
        self._kept: dict[str, list[LogRecord]] = {}
        self._unread: dict[str, int] = {}
        """Channels with records that nobody has read since the channel was opened, and their bytes."""
        self._topics: dict[str, ChannelTopic] = {}
        self._truncated: dict[str, int] = {}

    # -- what is there --------------------------------------------------------------------------
    def know(self) -> Places:
        """Where every record is that was durable at the time of the call, as far as nobody here appended it."""
        places = self._places
        if places is not None and not self.below.unapplied:
            return places
        with self._reading:
            places = self._places
            if places is None:
                places = self._first_pass()
            elif self.below.unapplied:
                self._recover(places)
            return places

    def look(self) -> None:
        """Take in what another process has appended since."""
        with self._reading:
            places = self.know()
            self.below.refresh()
            self._take_in(places)

    def _first_pass(self) -> Places:
        end = self.below.end  # first: nobody else appends from here on
        places = Places(self.below.start)
        kept: dict[str, list[LogRecord]] = {}
        sizes: dict[str, int] = {}
        held = 0
        for below in self.below.read(places.behind):
            short, record = told(below, self.name)
            places.add(short, record.position)
            size = len(record.payload)
            if short not in sizes:
                kept[short] = []
            sizes[short] = sizes.get(short, 0) + size
            if short in kept:
                kept[short].append(record)
                held += size
            while held > self._replay_bytes and kept:
                largest = max(kept, key=lambda name: sizes[name])
                held -= sum(len(record.payload) for record in kept.pop(largest))
        places.behind = max(places.behind, end)
        with self._state:
            self._kept, self._unread, self._places = kept, sizes, places
        return places

    def _take_in(self, places: Places) -> None:
        for below in self.below.read(places.behind):
            short, record = told(below, self.name)
            with self._state:
                places.add(short, record.position)

    def _recover(self, places: Places) -> None:
        """Of some appends nobody knows whether they are durable. Whoever applies has to read what there is now."""
        reason = self.below.unapplied
        with self._state:
            topics = list(self._topics.values())
        for topic in topics:
            topic.stop_applying(reason)
        self._take_in(places)
        self.below.resume()

    @property
    def end(self) -> int:
        return self.below.end

    def channels(self) -> list[str]:
        """Virtual channels with records that may still be needed."""
        with self._state:
            places = self._places
            return [] if places is None else [f"{self.name}_{short}" for short in places.names()]

    def has(self, name: str, position: int) -> bool:
        """Whether a virtual channel has a record at a position or behind it."""
        places = self.know()
        with self._state:
            return places.first(short_name(name), position) is not None

    @property
    def failure(self) -> str:
        """Why the topic below is of no use any more, if so: it has to be opened anew."""
        return str(getattr(self.below, "failure", ""))

    def topic(self, name: str) -> ChannelTopic:
        with self._state:
            if self.closed:
                raise NotOwner.of(name)
            found = self._topics.get(name)
            if found is None or found.closed:
                found = self._topics[name] = ChannelTopic(self, name)
            return found

    def note(self, short: str, position: int) -> None:
        """A record of ours is durable."""
        with self._state:
            if self._places is not None:
                self._places.add(short, position)

    # -- reading --------------------------------------------------------------------------------
    def read(self, short: str, position: int) -> Iterator[LogRecord]:
        places = self.know()
        with self._state:
            first, last = places.first(short, position), places.last(short)
            kept = self._kept.pop(short, [])
            self._unread.pop(short, None)
        if first is None or last is None:
            return iter(())
        if not kept or not kept[0].position <= first <= kept[-1].position:
            return self._pass(short, first, last)
        return self._kept_and_later(short, [record for record in kept if record.position >= first], last)

    def _kept_and_later(self, short: str, kept: list[LogRecord], last: int) -> Iterator[LogRecord]:
        yield from kept
        if kept[-1].position < last:
            yield from self._pass(short, kept[-1].position + 1, last)

    def _pass(self, short: str, first: int, last: int) -> Iterator[LogRecord]:
        """The records of one channel. Those of others that will be asked for are kept on the way, as far as there is
        room."""
        with self._state:
            others: dict[str, list[LogRecord]] = {}
            room = self._replay_bytes - sum(len(r.payload) for records in self._kept.values() for r in records)
            assert self._places is not None
            for name, size in sorted(self._unread.items(), key=lambda item: item[1]):
                known = self._places.first(name, 0)
                if name not in self._kept and size <= room and known is not None and known >= first:
                    room -= size
                    others[name] = []
        for below in self.below.read(first):
            if below.position > last and not others:
                return
            name, record = told(below, self.name)
            if name == short and record.position <= last:
                yield record
            elif name in others:
                others[name].append(record)
        with self._state:
            self._kept |= {name: records for name, records in others.items() if name in self._unread}

    def start_of(self, short: str, name: str) -> int:
        """From where on every record of a channel is still there."""
        kept = self.below.start
        with self._state:
            asked = self._truncated.get(short, 0)
        return max(kept, min([asked, *self.groups_of(name).values()]))

    # -- forgetting -----------------------------------------------------------------------------
    def groups_of(self, name: str) -> dict[str, int]:
        cut = len(name) + 1
        return {key[cut:]: int(value) for key, value in self.positions.scan(f"{name}/")}

    def truncate(self, name: str, position: int) -> None:
        """The virtual channel needs nothing before a position for its recovery."""
        with self._state:
            short = short_name(name)
            self._truncated[short] = max(self._truncated.get(short, 0), position)
        self.forget()

    def drop(self, name: str) -> None:
        with self._state:
            short = short_name(name)
            topic = self._topics.pop(name, None)
            for known in (self._truncated, self._kept, self._unread):
                known.pop(short, None)
            if self._places is not None:
                self._places.give_up(short, self._places.behind)
        if topic is not None:
            topic.closed = True
        self.forget()

    def forget(self) -> None:
        """Give up what no channel needs."""
        places = self.know()
        with self._state:
            names = places.names()
        wanted = {short: self._needed_from(short, places.behind) for short in names}
        with self._state:
            for short, position in wanted.items():
                places.give_up(short, position)
            least = places.least(lambda short: wanted.get(short, 0))
        self.below.truncate(least)

    def _needed_from(self, short: str, behind: int) -> int:
        """Records of a channel before this position are needed by nobody."""
        name = f"{self.name}_{short}"
        with self._state:
            is_open = name in self._topics
        return behind if not is_open and self._checkpoint_of(name) is None else self.needed_from(name)

    def needed_from(self, name: str) -> int:
        """Every record of a virtual channel from this position on is still there."""
        checkpoint = self._checkpoint_of(name) or 0
        with self._state:
            checkpoint = max(checkpoint, self._truncated.get(short_name(name), 0))
        return min([checkpoint, *self.groups_of(name).values()])

    def close(self, *, abandon: bool = False) -> None:
        with self._state:
            if self.closed:
                return
            self.closed = True
            topics = list(self._topics.values())
            self._kept, self._unread = {}, {}
        for topic in topics:
            topic.lose()
        leave = getattr(self.below, "abandon", None) if abandon else None
        (leave or self.below.close)()


class ChannelTopic:
    """A virtual channel: a `Topic`. It ends where its physical channel does."""

    def __init__(self, physical: PhysicalChannel, name: str) -> None:
        self.name = name
        self.closed = self._lost = False
        self._physical = physical
        self._short = short_name(name)
        self._header = header_of(self._short)
        self._appending = threading.Lock()
        """Held by who appends, until the append is known as the last one, and by who closes: whoever opens the channel
        anew afterwards reads every append that was ever accepted."""
        self._state = threading.Lock()
        self._unapplied = ""
        self._applying = 0
        """Counts how often applying was stopped: appends of before are applied by whoever reads the log."""
        self._last: Future[Any] | None = None
        self._groups: dict[str, LocalGroup] = {}

    @property
    def physical(self) -> str:
        return self._physical.name

    @property
    def header_bytes(self) -> int:
        return len(self._header)

    @property
    def end(self) -> int:
        return self._physical.end

    @property
    def start(self) -> int:
        self._physical.know()
        return self._physical.start_of(self._short, self.name)

    def refresh(self) -> int:
        self._physical.look()
        return self.end

    # -- writing --------------------------------------------------------------------------------
    @property
    def unapplied(self) -> str:
        return self._unapplied or self._physical.below.unapplied

    def resume(self) -> None:
        self._unapplied = ""

    def stop_applying(self, reason: str) -> None:
        with self._state:
            self._applying += 1
            self._unapplied = self._unapplied or reason

    def refusal(self) -> TopicBehind:
        return TopicBehind(f"the log's topic '{self.name}' takes no writes: {self.unapplied}")

    def append(
        self,
        buffers: Sequence[Buffer],
        on_durable: Callable[[int], None] | None = None,
        answer: Callable[[], Any] | None = None,
        room: Room | None = None,
    ) -> Future[Any]:
        with self._appending:
            self._check_open()
            if self.unapplied:
                raise self.refusal()
            waiting = _Append(self, self._applying, on_durable, answer)
            kept = room.of(self.name) if isinstance(room, ChannelRoom) else None
            future = self._physical.below.append([self._header, *buffers], waiting.durable, waiting.answer, kept)
            self._last = future
            return future

    def durable(self, append: _Append, position: int) -> None:
        """Called by the log below, in its order."""
        self._physical.note(self._short, position)
        append.position = position
        with self._state:
            stopped = append.applying != self._applying or self._unapplied != ""
        if stopped:
            why = self.unapplied or "the log was applied anew meanwhile"
            append.error = Unavailable(f"the log has this write, and it was not applied when it came: {why}")
            return
        if append.on_durable is None:
            return
        try:
            append.on_durable(position)
        except Exception as error:  # whatever it is: what is durable and what is shown have parted
            _logger.exception("record %d of '%s' is durable but was not applied", position, self.name)
            append.error = error
            self.stop_applying(error.message if isinstance(error, MilvusException) else repr(error))

    # -- reading --------------------------------------------------------------------------------
    def read(self, position: int = 0) -> Iterator[LogRecord]:
        self._check_open()
        last = self._last
        if self.unapplied and last is not None:
            last.exception()  # what is under way is applied by whoever reads: let it be there
        if self._physical.below.unapplied:
            self._physical.know()
        return self._physical.read(self._short, position)

    # -- forgetting -----------------------------------------------------------------------------
    def truncate(self, position: int) -> None:
        end = self.end
        if position > end:
            raise InvalidParameter(f"cannot truncate to {position}, the log ends at {end}")
        self._physical.truncate(self.name, position)

    # -- groups ---------------------------------------------------------------------------------
    def group(self, name: str, at: At = EARLIEST) -> LocalGroup:
        check_name(name, "group")
        self._check_open()
        with self._state:
            found = self._groups.get(name)
        if found is None:
            known = self._physical.groups_of(self.name).get(name)
            position = self._resolved(at) if known is None else known
            if known is None:
                self._put_group(name, position)
            with self._state:
                found = self._groups.setdefault(name, LocalGroup(self, name, position))
        return found

    def _resolved(self, at: At) -> int:
        """Where a new group is. What is left of the physical channel may begin behind it and lack nothing of this one:
        the group stands at the place itself then, which says so to whoever reads on from there."""
        position = resolve(self, at)
        if at == LATEST:
            return position
        kept = min(position, self._physical.needed_from(self.name))
        return kept if at == EARLIEST else max(int(at), kept)

    def groups(self) -> list[str]:
        return sorted(self._physical.groups_of(self.name))

    def _put_group(self, name: str, position: int) -> None:
        self._physical.positions.commit({f"{self.name}/{name}": b"%d" % position})

    def drop_group(self, name: str) -> None:
        self._check_open()
        with self._state:
            self._groups.pop(name, None)
        self._physical.positions.commit({}, [f"{self.name}/{name}"])
        self._physical.forget()

    def acknowledged_by(self, name: str) -> int:
        """Everything before this is acknowledged by a group."""
        found = self._physical.positions.get(f"{self.name}/{name}")
        if found is None:
            raise InvalidParameter(f"the log's topic '{self.name}' has no group '{name}' (any more)")
        return int(found)

    def move_group(self, name: str, position: int, *, forward_only: bool = False) -> None:
        """Let everything before `position` count as acknowledged by a group, durably."""
        self._check_open()
        known = self.acknowledged_by(name)
        if position > known or (position < known and not forward_only):
            self._put_group(name, position)
            self._physical.forget()

    # -- closing --------------------------------------------------------------------------------
    def _check_open(self) -> None:
        if self._lost:
            raise NotOwner.of(self.name)
        if self.closed:
            raise TopicClosed(f"the log's topic '{self.name}' is closed")

    def lose(self) -> None:
        """The physical channel is not this process's any more."""
        self._lost = self.closed = True

    def close(self) -> None:
        """Wait for the appends under way, also when somebody else is closing it. The physical channel stays open:
        others use it."""
        if self._lost:
            return
        with self._appending:
            self.closed = True
            last = self._last
        if last is not None:
            last.exception()


class _Append:
    """One append, from the call to its answer."""

    __slots__ = ("_answer", "_topic", "applying", "error", "on_durable", "position")

    def __init__(
        self,
        topic: ChannelTopic,
        applying: int,
        on_durable: Callable[[int], None] | None,
        answer: Callable[[], Any] | None,
    ) -> None:
        self._topic = topic
        self.applying = applying
        self.on_durable = on_durable
        self._answer = answer
        self.error: Exception | None = None
        self.position = -1

    def durable(self, position: int) -> None:
        self._topic.durable(self, position)

    def answer(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.position if self._answer is None else self._answer()
