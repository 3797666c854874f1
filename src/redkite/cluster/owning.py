"""Which physical channels this node owns: it follows what the catalog says, takes what is given to it, and lets go.

A channel is this node's from the commit by which it says so until it lets go, its lease is lost, or its record names
another. Before that commit it has opened the log under the record's term, which shuts out whoever wrote before, and has
read it. Whoever is asked for a channel that is not its own answers `NotOwner`.

When the lease is lost the node goes on by the log alone, until that says that there is another owner, or the catalog
does: what it logs counts only as long as there is none, and what it reads it has to prove (`SharedTopic.prove`). With
its next lease it says anew that the channel is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from threading import Lock
from typing import Final, Protocol

from redkite.cluster.figures import Took
from redkite.coordinator.pchannels import PREFIX, PChannel, PChannelState, of_node, read_pchannels
from redkite.env import Env, Executor, Timer
from redkite.errors import Conflict, MilvusException, NotOwner
from redkite.logs import get_logger
from redkite.storage.followed import FollowedCatalog
from redkite.storage.log_channel_format import physical_name
from redkite.storage.log_channels import ChannelLog

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.5
"""How often a node looks for channels that it could not take before."""
HELD_BACK_SECONDS: Final = 5.0
"""A channel that this node let go of, and that nobody was given for so long, is its own again."""
_TAKERS: Final = 4
"""So many channels are opened side by side."""


class Channels(Protocol):
    """What lives on the channels: the shards of a node."""

    def replay(self, physical: str) -> None:
        """Open what has to read the log of a channel that was just opened."""
        ...

    def seal(self, physical: str) -> None:
        """Write down what is only in the log of a channel, so that the next owner has little to read."""
        ...

    def step_down(self, physical: str) -> None:
        """Let go of everything on a channel at once: nothing more is written or answered here."""
        ...

    def look_again(self, physical: str) -> None:
        """What was committed before the lease was lost may have happened although nobody was told so: open anew what
        does not have it."""
        ...


class Owning:
    """Safe from any thread."""

    def __init__(
        self,
        env: Env,
        node_id: int,
        catalog: FollowedCatalog,
        fenced: Callable[[], FollowedCatalog | None],
        is_alive: Callable[[], bool],
        channels: Channels,
        held_until: Callable[[], float] = lambda: -inf,
        is_promised: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`fenced` gives the catalog that commits under this node's lease; `is_alive` says whether that is held,
        `held_until` until when the newest one is, or was. `is_promised`: whether others may commit something to a
        physical channel because this node has said that it waits, so that it hears of that from the catalog alone."""
        self.node_id = node_id
        self._catalog, self._fenced, self._is_alive = catalog, fenced, is_alive
        self._channels, self._held_until, self._is_promised = channels, held_until, is_promised
        self._tasks, self._clock = env.tasks, env.clock
        self._takers: Executor = env.tasks.executor("channels", _TAKERS)
        self._timer: Timer | None = None
        self._lock = Lock()
        self._log: ChannelLog | None = None
        self._records: dict[str, PChannel] = {}
        """Of the channels that are this node's, or are being taken: what the catalog says."""
        self._owned: dict[str, PChannel] = {}
        """Those that it answers for."""
        self._lapsed: dict[str, float] = {}
        """Those that it answered for when its lease ended, and that are not its own again; and when that was."""
        self._by_log: set[str] = set()
        """Those of them that it answers for as long as the log lets it."""
        self._keeping: set[str] = set()
        """Those of these that it is just saying anew to be its own."""
        self._busy: set[str] = set()
        self._guards: dict[str, Lock] = {}
        self._held_back: dict[str, float] = {}
        """Channels that it was asked to let go of, and since when: they are not taken again under the same record."""
        self._troubles: dict[str, str] = {}
        self.took = Took()
        """Of taking channels: until each was answered for."""
        self._closed = False

    def start(self, log_: ChannelLog) -> None:
        """Begin to follow what the catalog says."""
        self._log = log_
        self._catalog.when_changed(self._changed)
        self._timer = self._tasks.every(LOOK_SECONDS, self._look, "channels")
        self._look()

    # -- what is its own ------------------------------------------------------------------------
    def need(self, channel: str, *, by_log: bool = False) -> None:
        """Raises NotOwner unless this node owns the physical channel of a virtual one, now. `by_log`: or did when its
        lease ended and has not heard of another owner; then only the log knows, and is to be asked."""
        name = physical_name(channel)
        if name in self._owned and self._is_alive():
            return
        if not (by_log and (name in self._by_log or name in self._owned) and not self._is_promised(name)):
            raise self._not_owner(channel, name)

    def _not_owner(self, channel: str, name: str) -> NotOwner:
        data = self._catalog.get(PREFIX + name)
        known = None if data is None else PChannel.from_bytes(data)
        if known is None or known.node_id == self.node_id:
            return NotOwner.of(channel)
        return NotOwner.of(channel, known.node_id, known.term)

    def owns(self, physical: str) -> bool:
        return physical in self._owned and self._is_alive()

    def lapsed_at(self, channel: str) -> float | None:
        """When this node's lease ended that owned a virtual channel until then, as nobody else is known to have done
        since: whoever does, he was not its owner before that. None: it is another's, or this node's own."""
        name = physical_name(channel)
        at = self._lapsed.get(name)
        if at is None and name in self._owned and not self._is_alive():
            at = self._held_until()  # it has ended just now
        if at is None:
            return None
        data = self._catalog.get(PREFIX + name)
        return at if data is not None and PChannel.from_bytes(data).node_id == self.node_id else None

    def owned(self) -> list[PChannel]:
        """What it answers for, by name."""
        return [channel for _, channel in sorted(self._owned.items())]

    def term_of(self, physical: str) -> int:
        """Under which this node writes a channel's log. Raises NotOwner."""
        record = self._records.get(physical)
        if record is None:
            raise NotOwner.of(physical)
        return record.term

    def record_of(self, physical: str) -> tuple[str, bytes] | None:
        """The key and the value of the record by which a channel is this node's; None when it is not."""
        record = self._records.get(physical)
        return None if record is None else (record.key, record.to_bytes())

    def health(self) -> tuple[str, ...]:
        """Why channels that were given to this node are not its own yet."""
        return tuple(f"channel {name} could not be opened: {why}" for name, why in sorted(self._troubles.items()))

    # -- following ------------------------------------------------------------------------------
    def _changed(self, changed: Mapping[str, bytes | None]) -> None:
        if any(key.startswith(PREFIX) for key in changed):
            self._look()

    def _look(self) -> None:
        """Give up what is others', take what is given to this node."""
        if self._closed:
            return
        is_alive = self._is_alive()
        if not is_alive:
            self.lapse()
        channels = read_pchannels(self._catalog)
        mine = {channel.name: channel for channel in of_node(channels.values(), self.node_id)}
        with self._lock:
            lost = [
                name
                for name, record in self._records.items()
                if not _is_same(mine.get(name), record) and name not in self._keeping
            ]
            lost += [name for name in (*self._owned, *self._by_log) if name not in lost and self._has_failed(name)]
            self._troubles = {name: why for name, why in [*self._troubles.items()] if name in mine}
            since = self._clock.monotonic() - HELD_BACK_SECONDS
            self._held_back = {name: at for name, at in self._held_back.items() if name in mine and at > since}
            kept = [self._records[name] for name in self._by_log if is_alive and name not in (*lost, *self._keeping)]
            self._keeping |= {channel.name for channel in kept}
            wanted = [
                channel
                for name, channel in mine.items()
                if name not in self._busy and name not in self._owned and name not in self._held_back
                and (name not in self._by_log or name in lost)
            ] if is_alive else []  # fmt: skip
            self._busy |= {channel.name for channel in wanted}
        self._give_up(*lost)
        for channel in kept:
            self._takers.submit(self._keep, channel)
        for channel in wanted:
            self._takers.submit(self._take, channel)

    def _has_failed(self, name: str) -> bool:
        """Whether the log of a channel is of no use here any more, though nobody else owns it: it is taken anew."""
        found = None if self._log is None else self._log.opened(name)
        return found is not None and bool(found.failure)

    def _guard(self, name: str) -> Lock:
        """Held by whoever opens the log of a channel, or closes it."""
        with self._lock:
            return self._guards.setdefault(name, Lock())

    def _take(self, channel: PChannel) -> None:
        name = channel.name
        guard = self._guard(name)
        if not guard.acquire(blocking=False):  # what was before is being closed: the next look takes it
            self._is_idle(name)
            return
        try:
            self._try_to_take(channel)
            with self._lock:
                self._troubles.pop(name, None)
        except Conflict:
            self._give_up(name)
        except MilvusException as error:
            log.warning("channel %s could not be taken: %s", name, error.message)
            with self._lock:
                self._troubles[name] = error.message
            self._give_up(name)
        except BaseException:
            self._give_up(name)
            raise
        finally:
            guard.release()
            self._is_idle(name)
            if name not in self._records:
                self._release(name)

    def _is_idle(self, name: str) -> None:
        with self._lock:
            self._busy.discard(name)

    def _try_to_take(self, channel: PChannel) -> None:
        assert self._log is not None
        begun = self._clock.monotonic()
        if channel.is_owned:
            # Said by this node before it lost its lease, and nobody else was named since: it begins anew.
            renewed = channel.given_to(self.node_id, channel.since_ms)
            self._commit(renewed, channel)
            channel = renewed
        self._log.release(channel.name, abandon=True)  # of a time before, if it is still there
        with self._lock:
            self._records[channel.name] = channel
        self._log.open(channel.name)
        self._catalog.refresh()  # nobody else writes the log by now: every channel on it is known here
        self._channels.replay(channel.name)
        taken = channel.taken()
        self._commit(taken, channel)
        with self._lock:
            if self._records.get(channel.name) != channel:
                return  # it was given up meanwhile
            self._records[channel.name] = self._owned[channel.name] = taken
            self._lapsed.pop(channel.name, None)
            self.took = self.took.and_one(self._clock.monotonic() - begun)
        log.info("node %d has channel %s, term %d", self.node_id, channel.name, channel.term)

    def _commit(self, after: PChannel, before: PChannel) -> FollowedCatalog:
        catalog = self._fenced()
        if catalog is None:
            raise NotOwner.of(before.name)
        catalog.commit({after.key: after.to_bytes()}, (), {before.key: before.to_bytes()})
        return catalog

    def _keep(self, channel: PChannel) -> None:
        """Own a channel under the present lease, if nobody else was named since the last one. Whoever is about to name
        somebody finds another record than it expects."""
        name = channel.name
        try:
            kept = channel.given_to(self.node_id, channel.since_ms).taken()
            under = self._commit(kept, channel)
            with self._lock:
                # What was committed under a lease that is over by now says nothing of the next one.
                now = self._fenced()
                is_own = self._records.get(name) == channel and name in self._by_log
                is_own = is_own and now is not None and now.fence == under.fence
                if is_own:
                    self._records[name] = self._owned[name] = kept
                    self._by_log.discard(name)
                    self._lapsed.pop(name, None)
            if is_own:
                log.info("node %d still has channel %s, term %d", self.node_id, name, kept.term)
                self._catalog.refresh()
                self._channels.look_again(name)
        except Conflict:
            self._give_up(name)
        except MilvusException as error:
            log.warning("channel %s is not owned by a lease yet: %s", name, error.message)
        finally:
            with self._lock:
                self._keeping.discard(name)

    # -- letting go -----------------------------------------------------------------------------
    def lapse(self) -> None:
        """The lease is over. What was this node's by it is so by the log from now on; what it was about to take is
        given up, and what others may change because it said that it would wait."""
        with self._lock:
            if self._closed:
                return
            self._lapsed |= dict.fromkeys(self._owned, self._held_until())
            self._by_log |= set(self._owned)  # first: who asks meanwhile finds it there
            self._owned.clear()
            gone = [name for name in self._records if name not in self._by_log or self._is_promised(name)]
        self._give_up(*gone)

    def let_go(self, physical: str, term: int) -> None:
        """Seal what is on a channel while it is answered for, then answer for it no more. Whoever asks for this gives
        the channel to another node. A channel that is not this node's under that term is let go already."""
        record = self._owned.get(physical)
        if record is None or record.term != term:
            if physical in self._by_log:
                self._give_up(physical)
            return
        self._channels.seal(physical)
        with self._lock:
            self._held_back[physical] = self._clock.monotonic()
        self._give_up(physical, abandon=False)

    def step_down(self) -> None:
        """Answer for nothing any more."""
        self._give_up(*self._records)

    def _give_up(self, *names: str, abandon: bool = True) -> None:
        """Answer for none of these any more, at once; then let go of what they hold."""
        with self._lock:
            gone = [record for name in names if (record := self._records.pop(name, None)) is not None]
            for name in names:
                self._owned.pop(name, None)
                self._by_log.discard(name)
        for record in gone:
            log.info("node %d gives up channel %s, term %d", self.node_id, record.name, record.term)
            self._channels.step_down(record.name)
        for record in gone:
            self._release(record.name, abandon=abandon)

    def _release(self, name: str, *, abandon: bool = True) -> None:
        """Close the log of a channel that is not this node's."""
        guard = self._guard(name)
        if self._log is None or not guard.acquire(blocking=False):
            return  # whoever opens it now closes it when it sees that it is given up
        try:
            if name not in self._records:
                self._log.release(name, abandon=abandon)
        finally:
            guard.release()

    def close(self) -> None:
        """Let go of everything. What is only in the log is read by the next owner."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._catalog.forget_listener(self._changed)
        self._takers.shutdown(wait=True)
        self.step_down()


def _is_same(said: PChannel | None, record: PChannel) -> bool:
    """Whether the catalog still gives a channel to this node as it did."""
    return (
        said is not None
        and said.term == record.term
        and said.state
        in (
            PChannelState.ASSIGNING,
            PChannelState.ASSIGNED,
        )
    )
