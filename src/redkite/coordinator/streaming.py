"""Who owns which physical channel is decided here, on the coordinator that leads.

What was decided is in the catalog, and every node learns it there; nothing is remembered but what is under way. A
channel whose node is gone (its lease has ended, so it answers for nothing any more) is given to another at once. One
whose node is alive is never taken from it: it is asked to let go first, and when it has, the channel is given on. So at
no time do two nodes answer for one channel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from threading import Lock
from typing import Final, NamedTuple, Protocol

import msgspec

from redkite.coordinator.fairness import MOVES, TOLERANCE, WEIGHTS, Layout, Unbalance, Weights, channels_for, moves
from redkite.coordinator.fairness import placed as places_for
from redkite.coordinator.fairness import unbalance as unbalance_of
from redkite.coordinator.pchannels import PChannel, PChannelState, pchannel_name, pchannel_number, read_pchannels
from redkite.env import Clock
from redkite.errors import Conflict, InvalidParameter, MilvusException
from redkite.logs import get_logger
from redkite.storage.catalog import Catalog

log = get_logger(__name__)

_BATCH: Final = 32
"""So many records are changed in one commit: stores compare a limited number of keys."""
_TRIES: Final = 5


class SharedCatalog(Catalog, Protocol):
    def refresh(self) -> int:
        """Have everything here that anybody has committed."""
        ...


class StreamingPolicy(msgspec.Struct, frozen=True, kw_only=True):
    weights: Weights = WEIGHTS
    moves: int = MOVES
    """So many channels are moved in one round, so that few are away at a time."""
    tolerance: float = TOLERANCE
    patience_seconds: float = 30.0
    """A node that was told to take a channel and has not said for so long that it has it, does not get it, …"""
    mistrust_seconds: float = 600.0
    """… and no other is moved to it for this long."""


class Round(NamedTuple):
    """What one round of settling did."""

    given: int
    """Channels without an owner that got one."""
    moved: int
    """Channels that went from a living node to another."""
    stuck: int
    """Channels that nobody can be given, or that their node does not let go."""

    @property
    def is_quiet(self) -> bool:
        return not self.given and not self.moved


class StreamingCoordinator:
    """Safe from any thread."""

    def __init__(
        self,
        catalog: SharedCatalog,
        clock: Clock,
        wanted: int,
        nodes: Callable[[], Mapping[int, bool]],
        carried: Callable[[], Mapping[str, Sequence[int]]],
        let_go: Callable[[PChannel], None],
        remove_log: Callable[[str], None],
        policy: StreamingPolicy | None = None,
    ) -> None:
        """`catalog` commits only while this coordinator leads. There are to be `wanted` channels. `nodes` tells the
        streaming nodes whose lease is held, and which of them may get channels; `carried` the collections whose shards
        are on each channel. `let_go` asks a channel's node to seal what it has and answer for it no more, and returns
        when it does not; `remove_log` removes the log of a channel that is not needed any more."""
        if wanted < 1:
            raise InvalidParameter(f"there must be at least one physical channel, not {wanted}")
        self._catalog, self._clock = catalog, clock
        self._wanted = wanted
        self._nodes, self._carried = nodes, carried
        self._let_go, self._remove_log = let_go, remove_log
        self.policy = policy or StreamingPolicy()
        self._lock = Lock()
        self.hand_overs = 0
        """Channels that went from a living node to another, since this coordinator leads."""
        self.failovers = 0
        """Channels whose node was gone."""

    # -- what is there --------------------------------------------------------------------------
    def channels(self) -> dict[str, PChannel]:
        return read_pchannels(self._catalog)

    def layout(self) -> Layout:
        """As it is now, over the nodes that may own something."""
        able = tuple(sorted(node for node, accepts in self._nodes().items() if accepts))
        return self._layout(self.channels().values(), able)

    def _layout(self, channels: Iterable[PChannel], nodes: tuple[int, ...]) -> Layout:
        in_use = [c for c in channels if c.state not in (PChannelState.DROPPING, PChannelState.DROPPED)]
        return Layout(nodes=nodes, owners={c.name: c.node_id for c in in_use}, carried=self._carried())

    def unbalance(self) -> Unbalance:
        return unbalance_of(self.layout(), self.policy.weights)

    def pick(self, shards: int) -> list[str]:
        """Physical channels for the shards of a new collection."""
        layout = self.layout()
        owners = {name: node for name, node in layout.owners.items() if pchannel_number(name) < self._wanted}
        owners = owners or {pchannel_name(number): 0 for number in range(self._wanted)}
        return channels_for(shards, msgspec.structs.replace(layout, owners=owners))

    # -- settling -------------------------------------------------------------------------------
    def settle(self) -> Round:
        """Bring assignments to what the nodes that are there ask for. Called when nodes come, go or drain, and now and
        then; every call goes on where the last one ended, whoever led then."""
        with self._lock:
            self._catalog.refresh()
            self._have_wanted()
            nodes = dict(self._nodes())
            given, stuck = self._give_out(nodes)
            moved, kept = self._move(nodes)
            self._retire(nodes)
            return Round(given, moved, stuck + kept)

    def _have_wanted(self) -> None:
        channels = self.channels()
        now = self._clock.now_ms()
        changed: list[tuple[PChannel | None, PChannel]] = []
        for number in range(self._wanted):
            name = pchannel_name(number)
            known = channels.get(name)
            if known is None:
                changed.append((None, PChannel(name=name, since_ms=now)))
            elif known.state is PChannelState.DROPPED:
                changed.append((known, known.wanted_again(now)))
        self._change(changed)

    def _give_out(self, nodes: Mapping[int, bool]) -> tuple[int, int]:
        """Owners for channels that have none; how many got one, and how many could not."""
        channels = self.channels()
        homeless = {c.name: c for c in channels.values() if self._is_homeless(c, nodes)}
        if not homeless:
            return 0, 0
        able = tuple(sorted(node for node, accepts in nodes.items() if accepts))
        layout = self._layout(channels.values(), able).moved(dict.fromkeys(homeless, 0))
        found = places_for(layout, self.policy.weights)
        for name, channel in homeless.items():
            if channel.node_id in nodes and channel.node_id == found.get(name) and len(able) > 1:
                others = tuple(node for node in able if node != channel.node_id)  # it has not taken it
                rest = msgspec.structs.replace(layout.moved({**found, name: 0}), nodes=others)
                found |= {name: places_for(rest, self.policy.weights)[name]}
        now = self._clock.now_ms()
        changed = [(homeless[name], homeless[name].given_to(node, now)) for name, node in found.items()]
        lost = [c for name, c in homeless.items() if name not in found and c.has_node]
        done = self._change(changed)
        self._change([(c, c.taken_away(now)) for c in lost])
        self.failovers += sum(before is not None and before.has_node for before, _ in done)
        for _, after in done:
            log.info("channel %s is for node %d, term %d", after.name, after.node_id, after.term)
        return len(done), len(homeless) - len(done)

    def _is_homeless(self, channel: PChannel, nodes: Mapping[int, bool]) -> bool:
        if channel.state is PChannelState.UNASSIGNED:
            return True
        if not channel.has_node:
            return False
        if channel.node_id not in nodes:
            return True
        waited = self._clock.now_ms() - channel.since_ms
        # It has answered for nothing yet, and cannot once the record names another.
        return not channel.is_owned and waited > self.policy.patience_seconds * 1000 and len(nodes) > 1

    def _move(self, nodes: Mapping[int, bool]) -> tuple[int, int]:
        """Move channels from nodes that drain, then those that make the layout more even. How many went, and how many
        were to go and did not."""
        channels = self.channels()
        able = self._taking(channels.values(), nodes)
        layout = self._layout(channels.values(), able)
        leaving = {c.name: c for c in channels.values() if c.is_owned and not nodes.get(c.node_id, True)}
        targets = {n: t for n, t in places_for(layout, self.policy.weights).items() if n in leaving}
        for name in list(targets)[self.policy.moves :]:
            del targets[name]
        room = self.policy.moves - len(targets)
        if not leaving and all(c.is_owned for c in channels.values() if c.name in layout.owners):
            even = moves(layout, room, self.policy.tolerance, self.policy.weights)
            targets |= {move.channel: move.target for move in even}
        moved = sum(self._hand_over(channels[name], target) for name, target in targets.items())
        self.hand_overs += moved
        return moved, max(len(leaving), len(targets)) - moved

    def _taking(self, channels: Iterable[PChannel], nodes: Mapping[int, bool]) -> tuple[int, ...]:
        """The nodes that channels may be moved to: not those that were given one lately and did not take it."""
        since = self._clock.now_ms() - int(self.policy.mistrust_seconds * 1000)
        failed = {t.node_id for c in channels for t in c.history if not t.was_taken and t.until_ms > since}
        able = sorted(node for node, accepts in nodes.items() if accepts)
        return tuple(node for node in able if node not in failed) or tuple(able)

    def _hand_over(self, channel: PChannel, target: int) -> bool:
        try:
            self._let_go(channel)
        except MilvusException as error:
            log.warning("node %d keeps channel %s: %s", channel.node_id, channel.name, error.message)
            return False
        done = self._change([(channel, channel.given_to(target, self._clock.now_ms()))])
        for _, after in done:
            log.info("channel %s goes from node %d to %d", after.name, channel.node_id, target)
        return bool(done)

    def _retire(self, nodes: Mapping[int, bool]) -> None:
        """Channels beyond those that are wanted go when no collection is on them any more."""
        carried = self._carried()
        for channel in self.channels().values():
            if pchannel_number(channel.name) < self._wanted or carried.get(channel.name):
                continue
            if channel.state is PChannelState.DROPPED:
                continue
            try:
                self._drop(channel, nodes)
            except MilvusException as error:
                log.warning("channel %s is not removed yet: %s", channel.name, error.message)

    def _drop(self, channel: PChannel, nodes: Collection[int]) -> None:
        now = self._clock.now_ms()
        if channel.state is not PChannelState.DROPPING:
            if channel.is_owned and channel.node_id in nodes:
                self._let_go(channel)
            if not self._change([(channel, channel.dropping(now))]):
                return
            channel = channel.dropping(now)
        self._remove_log(channel.name)
        self._change([(channel, channel.dropped(now))])

    # -- the one way a record changes -----------------------------------------------------------
    def _change(self, changed: Sequence[tuple[PChannel | None, PChannel]]) -> list[tuple[PChannel | None, PChannel]]:
        """Replace records that are still what they were; those that were replaced. The others are looked at in the next
        round."""
        done: list[tuple[PChannel | None, PChannel]] = []
        for start in range(0, len(changed), _BATCH):
            batch = list(changed[start : start + _BATCH])
            for _ in range(_TRIES):
                if not batch:
                    break
                expect = {after.key: None if before is None else before.to_bytes() for before, after in batch}
                try:
                    self._catalog.commit({after.key: after.to_bytes() for _, after in batch}, (), expect)
                except Conflict:
                    self._catalog.refresh()
                    now = self.channels()
                    batch = [(before, after) for before, after in batch if now.get(after.name) == before]
                else:
                    done += batch
                    break
        return done
