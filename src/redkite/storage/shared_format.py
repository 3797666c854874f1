"""How a record lies in messages of a broker, and which messages count.

A record is one message, or several where the broker's are shorter. Each message names the session that sent it and has
a number in it. Whoever writes a topic begins a session of a higher term with a message that says so; from there on
messages of lower sessions are void, however late they come: their sender finds that out when it reads the log back, and
acknowledges nothing that it did not read back. Within a session messages count as long as their numbers have no gap:
one that the broker lost makes void what was sent behind it, one that it keeps twice counts once. Everybody who reads
the topic follows these rules from the same messages, so all see the same log.
"""

from __future__ import annotations

import struct
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from redkite.env import Buffer
from redkite.errors import Corruption
from redkite.storage.checksums import crc32

_HEADER: Final = struct.Struct("<4sBBHIQQII")
HEADER_BYTES: Final = _HEADER.size
_PROOF: Final = struct.Struct("<Q")
_MAGIC: Final = b"RKmq"
_VERSION: Final = 1
BEGIN: Final = 1
RECORD: Final = 2
"""A record, or its first piece."""
PIECE: Final = 3
"""A further piece."""


class Session(NamedTuple):
    """Of two, the larger is the later."""

    term: int
    """Given to one writer at a time."""
    number: int
    """Of the sessions of that writer."""


NOBODY: Final = Session(-1, 0)


class Header(NamedTuple):
    kind: int
    session: Session
    sequence: int
    """Of the messages of this session: `BEGIN` is 0."""
    left: int
    """So many messages of the same record follow."""


def begin_message(session: Session) -> bytes:
    return _message(BEGIN, session, 0, 0, b"")


def proof_message(session: Session, sequence: int, number: int) -> bytes:
    """A message that counts for nobody: a session is begun once. `sequence` is that of the session's last message, so
    that who begins to read here goes on with the next one. Who has sent it knows it by its number."""
    return _message(BEGIN, session, sequence, 0, _PROOF.pack(number))


def proof_number(header: Header, content: memoryview) -> int | None:
    """The number of such a message; None for any other."""
    return int(_PROOF.unpack(content)[0]) if header.kind == BEGIN and len(content) == _PROOF.size else None


def record_messages(session: Session, sequence: int, buffers: Sequence[Buffer], most: int) -> Iterator[bytes]:
    """Messages of at most so many bytes, numbered from `sequence`."""
    whole = memoryview(buffers[0] if len(buffers) == 1 else b"".join(buffers)).cast("B")
    room = most - HEADER_BYTES
    count = max(1, -(-len(whole) // room))
    for at in range(count):
        yield _message(
            PIECE if at else RECORD, session, sequence + at, count - at - 1, whole[at * room : (at + 1) * room]
        )


def messages_of(length: int, most: int) -> int:
    """How many messages a record of so many bytes takes."""
    return max(1, -(-length // (most - HEADER_BYTES)))


def _message(kind: int, session: Session, sequence: int, left: int, content: Buffer) -> bytes:
    head = (_MAGIC, _VERSION, kind, 0, session.number, session.term, sequence, left)
    crc = crc32(content, crc32(_HEADER.pack(*head, 0)))
    return b"".join((_HEADER.pack(*head, crc), content))


def parse(payload: Buffer, where: str) -> tuple[Header, memoryview]:
    """Header and content. Raises Corruption with `where` in it."""
    view = memoryview(payload).toreadonly().cast("B")
    if len(view) < HEADER_BYTES or bytes(view[:4]) != _MAGIC:
        raise Corruption(f"{where} is no message of Redkite: does somebody else write to this topic?")
    *head, crc = _HEADER.unpack_from(view)
    _, version, kind, _, number, term, sequence, left = head
    content = view[HEADER_BYTES:]
    if crc32(content, crc32(_HEADER.pack(*head, 0))) != crc:
        raise Corruption(f"{where} does not match its checksum")
    if version != _VERSION or kind not in (BEGIN, RECORD, PIECE):
        raise Corruption(f"{where} was written by a newer Redkite (format {version}, kind {kind})")
    return Header(kind, Session(term, number), sequence, left), content


class Judge:
    """Which messages count, told one after another in the order of the topic. The first counts: a topic is read from
    its beginning, or from a message that counted."""

    __slots__ = ("_next", "session")

    def __init__(self) -> None:
        self.session = NOBODY
        self._next = 0

    def counts(self, header: Header) -> bool:
        if self.session == NOBODY or (header.kind == BEGIN and header.session > self.session):
            self.session, self._next = header.session, header.sequence + 1
            return True
        if header.session != self.session or header.sequence != self._next or header.kind == BEGIN:
            return False
        self._next += 1
        return True


class Anchors:
    """From where a topic can be read: messages that counted and were the last of their record. Few others lie between
    them, so it is those that are kept, as spans."""

    __slots__ = ("_last", "_lock", "_starts", "_stops")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = -1
        self._starts: list[int] = []
        """Of spans without an anchor, …"""
        self._stops: list[int] = []
        """… each up to the anchor behind it."""

    def add(self, position: int) -> None:
        """Behind all that were added."""
        with self._lock:
            if 0 <= self._last < position - 1:
                self._starts.append(self._last + 1)
                self._stops.append(position)
            self._last = position

    def before(self, position: int) -> int | None:
        """The last anchor before a position; None when not all of the topic before it was added. What lies before the
        first that was added counts as an anchor."""
        with self._lock:
            if position - 1 > self._last:
                return None
            at = bisect_right(self._starts, position - 1) - 1
            return self._starts[at] - 1 if at >= 0 and position - 1 < self._stops[at] else position - 1

    def forget(self, position: int) -> None:
        """Nobody asks for what lies before an anchor any more."""
        with self._lock:
            cut = bisect_right(self._stops, position)
            del self._starts[:cut], self._stops[:cut]


class Pieces:
    """Puts records together from the messages that count."""

    __slots__ = ("_begun", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[memoryview] = []
        self._begun = False

    def add(self, header: Header, content: memoryview) -> memoryview | None:
        """The record that is whole with this message. What began before the first message, or was cut off by another
        session, is no record."""
        if header.kind != PIECE:
            self._pieces.clear()
            self._begun = header.kind == RECORD
        if not self._begun:
            return None
        self._pieces.append(content)
        if header.left:
            return None
        whole = content if len(self._pieces) == 1 else memoryview(b"".join(self._pieces))
        self._pieces.clear()
        self._begun = False
        return whole
