"""How a record of a virtual channel lies in the log of its physical one, and where such records are.

record = format (uint8) | length of the name (uint8) | name | zeros up to a multiple of eight | payload

The name is the virtual channel's without that of the physical one and the `_` between them.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import Final, NamedTuple

from redkite.errors import Corruption, InvalidParameter
from redkite.storage.log import LogRecord

_FORMAT: Final = 1
_HEAD: Final = 2
_ALIGNMENT: Final = 8
_LONGEST: Final = 255


def physical_name(channel: str) -> str:
    """The physical channel of a virtual one: `<physical>_<collection id>v<shard>`."""
    name = channel.rpartition("_")[0]
    if not name:
        raise InvalidParameter(f"'{channel}' does not name a channel: expected '<physical>_<collection id>v<shard>'")
    return name


def collection_id(channel: str) -> int:
    """Of the collection whose shard is on a virtual channel."""
    return int(channel.rpartition("_")[2].partition("v")[0])


def short_name(channel: str) -> str:
    """What tells a virtual channel from the others of its physical one."""
    return sys.intern(channel.rpartition("_")[2])


def header_of(short: str) -> bytes:
    """The bytes before each payload of a virtual channel."""
    name = short.encode()
    if len(name) > _LONGEST:
        raise InvalidParameter(f"the name of a channel has {len(name)} bytes: {_LONGEST} is the most")
    head = bytes((_FORMAT, len(name))) + name
    return head + bytes(-len(head) % _ALIGNMENT)


class Told(NamedTuple):
    """A record, taken apart."""

    short: str
    record: LogRecord


def told(record: LogRecord, physical: str) -> Told:
    """Raises Corruption for what nobody wrote as a record of a virtual channel."""
    view = record.payload
    if len(view) < _ALIGNMENT or view[0] != _FORMAT or len(view) < _HEAD + view[1]:
        raise Corruption(
            f"record {record.position} of the log's topic '{physical}' does not belong to a channel: it was written "
            "by a newer Redkite, or by something else"
        )
    end = _HEAD + view[1]
    short = sys.intern(str(view[_HEAD:end], "utf-8", "replace"))
    return Told(short, LogRecord(record.position, view[end + -end % _ALIGNMENT :]))


class Places:
    """Where the records of each virtual channel are that may still be needed. The caller sees to locking."""

    __slots__ = ("_of", "behind")

    def __init__(self, behind: int) -> None:
        self._of: dict[str, array[int]] = {}
        self.behind = behind
        """Every record before this position is in here, or was given up."""

    def add(self, short: str, position: int) -> None:
        """A record behind all others; one that is in here already is passed over."""
        if position < self.behind:
            return
        self._of.setdefault(short, array("q")).append(position)
        self.behind = position + 1

    def names(self) -> list[str]:
        return sorted(self._of)

    def first(self, short: str, position: int) -> int | None:
        """The first record of a channel at or behind a position."""
        found = self._of.get(short)
        at = 0 if found is None else bisect_left(found, position)
        return None if found is None or at == len(found) else found[at]

    def last(self, short: str) -> int | None:
        found = self._of.get(short)
        return found[-1] if found else None

    def count(self, short: str, position: int = 0) -> int:
        """How many records of a channel are at or behind a position."""
        found = self._of.get(short)
        return 0 if found is None else len(found) - bisect_left(found, position)

    def give_up(self, short: str, position: int) -> None:
        """Nobody needs a channel's records before a position."""
        found = self._of.get(short)
        if found is None:
            return
        cut = bisect_left(found, position)
        if cut == len(found):
            del self._of[short]
        elif cut:
            del found[:cut]

    def least(self, needed_from: Callable[[str], int]) -> int:
        """The first record that any channel needs, when each needs those from a position on; `behind` for none."""
        firsts = (self.first(short, needed_from(short)) for short in self._of)
        return min((first for first in firsts if first is not None), default=self.behind)
