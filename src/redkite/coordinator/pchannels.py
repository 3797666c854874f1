"""Physical channels: who owns each, since when, under which term. Immutable; what may follow what is said here.

    unassigned -> assigning -> assigned -> assigning … -> dropping -> dropped -> unassigned

A channel is given to a node by a record that names it and a term no record had before. The node opens the log under
that term, which shuts out every owner of before, and then says itself that it has it. Records are compared when they
are replaced, so of two who decide at once one finds out.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from redkite.coordinator.meta import Meta
from redkite.errors import InvalidParameter
from redkite.storage.catalog import Catalog

PREFIX: Final = "pchannel/"
"""Of the catalog's keys."""
REMEMBERED: Final = 16
"""So many former owners are remembered."""
_NAME: Final = "by-dev-rootcoord-dml"


class PChannelState(StrEnum):
    UNASSIGNED = "unassigned"
    ASSIGNING = "assigning"
    ASSIGNED = "assigned"
    DROPPING = "dropping"
    """Nothing is on it any more, and its log is being removed."""
    DROPPED = "dropped"


class Tenure(msgspec.Struct, frozen=True, array_like=True):
    """A time during which one node was to own a channel."""

    term: int
    node_id: int
    since_ms: int
    until_ms: int
    was_taken: bool
    """Whether it ever said that it had it."""


class PChannel(Meta, frozen=True, kw_only=True):
    name: str
    state: PChannelState = PChannelState.UNASSIGNED
    node_id: int = 0
    """Who owns it or is about to; 0: nobody."""
    term: int = 0
    """Of the newest owner. Grows with each."""
    since_ms: int = 0
    """When that owner was named."""
    history: tuple[Tenure, ...] = ()
    """Former owners, newest last."""

    @property
    def key(self) -> str:
        return PREFIX + self.name

    @property
    def is_owned(self) -> bool:
        """Whether its node has it, and answers for it."""
        return self.state is PChannelState.ASSIGNED

    @property
    def is_wanted(self) -> bool:
        """Whether somebody is to own it."""
        return self.state not in (PChannelState.DROPPING, PChannelState.DROPPED)

    @property
    def has_node(self) -> bool:
        """Whether a node has it or is told to take it."""
        return self.state in (PChannelState.ASSIGNING, PChannelState.ASSIGNED)

    def given_to(self, node_id: int, now_ms: int) -> PChannel:
        """The same, told to be taken by a node under a new term."""
        self._need(PChannelState.UNASSIGNED, PChannelState.ASSIGNING, PChannelState.ASSIGNED)
        return msgspec.structs.replace(
            self,
            state=PChannelState.ASSIGNING,
            node_id=node_id,
            term=self.term + 1,
            since_ms=now_ms,
            history=self._with_tenure(now_ms),
        )

    def taken(self) -> PChannel:
        """The same, after its node has opened the log."""
        self._need(PChannelState.ASSIGNING)
        return msgspec.structs.replace(self, state=PChannelState.ASSIGNED)

    def taken_away(self, now_ms: int) -> PChannel:
        """The same with no owner: the last one is gone, and there is nobody to take it."""
        self._need(PChannelState.ASSIGNING, PChannelState.ASSIGNED)
        return msgspec.structs.replace(
            self,
            state=PChannelState.UNASSIGNED,
            node_id=0,
            since_ms=now_ms,
            history=self._with_tenure(now_ms),
        )

    def dropping(self, now_ms: int) -> PChannel:
        self._need(PChannelState.UNASSIGNED, PChannelState.ASSIGNING, PChannelState.ASSIGNED)
        return msgspec.structs.replace(
            self, state=PChannelState.DROPPING, node_id=0, since_ms=now_ms, history=self._with_tenure(now_ms)
        )

    def dropped(self, now_ms: int) -> PChannel:
        self._need(PChannelState.DROPPING)
        return msgspec.structs.replace(self, state=PChannelState.DROPPED, since_ms=now_ms)

    def wanted_again(self, now_ms: int) -> PChannel:
        """The same, to be given out once more. Terms go on where they were."""
        self._need(PChannelState.DROPPED)
        return msgspec.structs.replace(self, state=PChannelState.UNASSIGNED, since_ms=now_ms)

    def _with_tenure(self, now_ms: int) -> tuple[Tenure, ...]:
        if not self.has_node:
            return self.history
        last = Tenure(self.term, self.node_id, self.since_ms, now_ms, self.is_owned)
        return (*self.history, last)[-REMEMBERED:]

    def _need(self, *states: PChannelState) -> None:
        if self.state not in states:
            raise InvalidParameter(f"channel '{self.name}' is {self.state}, not {' or '.join(states)}")


def pchannel_name(number: int) -> str:
    """The name of a physical channel by its number."""
    return f"{_NAME}_{number}"


def pchannel_number(name: str) -> int:
    """The number in a name, by which channels are shown in order."""
    return int(name.rpartition("_")[2])


def read_pchannels(catalog: Catalog) -> dict[str, PChannel]:
    """What the catalog says, by name."""
    found = (PChannel.from_bytes(data) for _, data in catalog.scan(PREFIX))
    return {channel.name: channel for channel in sorted(found, key=lambda channel: pchannel_number(channel.name))}


def of_node(channels: Iterable[PChannel], node_id: int) -> list[PChannel]:
    """Those that a node has, or is told to take."""
    return [channel for channel in channels if channel.has_node and channel.node_id == node_id]
