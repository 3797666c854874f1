"""What changed beside the logs, noted in the very commit that changed it.

    changes/all/<number>                 which keys of the catalog that describe something (collections, databases,
                                         indexes, what is loaded, users) were changed, from what to what
    changes/channel/<channel>/<number>   what happened to the rows of a channel without a record in its log: rows were
                                         admitted that were written elsewhere, or all rows were dropped

Numbers of one list are dense, so whoever has seen one knows whether there is a newer one and whether any has been
forgotten meanwhile. Of each list the newest `KEPT` notes stay.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from redkite.errors import Conflict, Corruption
from redkite.model.decoding import from_msgpack
from redkite.storage.catalog import Catalog

ALL = "changes/all/"
CHANNEL = "changes/channel/"
NOTED = ("root/database/", "root/collection/", "index/", "load/", "access/", "files/name/")
"""Keys that begin so describe something that users have made."""
KEPT = 10_000
LARGE = 64 << 10
"""A longer value is not repeated in a note: whoever wants it reads what is there."""
ADMITTED, TRUNCATED, RESTORED = 1, 2, 3
"""Kinds of notes of a channel: rows became visible at the timestamp; all rows up to it went; rows up to it were there
when the collection came."""
_CHANNEL_STATE = "channel/"
_TRIES = 20


class KeyChange(msgspec.Struct, frozen=True, array_like=True):
    """One key of the catalog. None: it was, or is, not there; `is_large`: the value is too long to be repeated."""

    key: str
    before: bytes | None
    after: bytes | None
    is_large: bool = False


class Note(msgspec.Struct, frozen=True, array_like=True):
    """One commit. What was written with the knowledge of it has a larger timestamp."""

    number: int
    timestamp: int
    changes: tuple[KeyChange, ...]


class ChannelNote(msgspec.Struct, frozen=True, array_like=True):
    """Something between the records of a channel: those before it have smaller timestamps, those behind larger ones."""

    number: int
    timestamp: int
    kind: int


N = TypeVar("N", Note, ChannelNote)


class ChangeNotes:
    """A catalog that notes what its commits change. Safe from any thread; one process of those that share a catalog
    commits noted keys, and one each channel's notes."""

    def __init__(self, catalog: Catalog, *, alone: bool = True) -> None:
        """`alone`: nobody commits but through this, unless `changed` is told."""
        self._catalog = catalog
        self._alone = alone
        self._lock = threading.RLock()
        self._stamp: Callable[[], int] = lambda: 0
        self._newest: dict[str, int] = {}
        """Number of the newest note by list, where it is known."""

    def get(self, key: str) -> bytes | None:
        return self._catalog.get(key)

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        return self._catalog.scan(prefix)

    @property
    def is_followed(self) -> bool:
        """Whether other processes commit as well, and what they commit is here at once: reading it costs nothing."""
        return hasattr(self._catalog, "when_changed")

    def stamp_with(self, allocate: Callable[[], int]) -> None:
        """Where timestamps of notes come from."""
        self._stamp = allocate

    def close(self) -> None:
        self._catalog.close()

    # -- writing --------------------------------------------------------------------------------
    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        gone = list(deletes)
        noted = [key for key in (*puts, *gone) if key.startswith(NOTED)]
        if not (
            noted or any(key.startswith(CHANNEL) for key in puts) or any(k.startswith(_CHANNEL_STATE) for k in gone)
        ):
            self._catalog.commit(puts, gone, expect)
            return
        with self._lock:
            for _ in range(_TRIES):
                number = self.newest() + 1
                try:
                    self._commit(puts, gone, expect, number if noted else 0, noted)
                except Conflict:
                    # Another process has taken the number, or what the caller expected is not so.
                    if not noted or self.newest() < number:
                        raise
                else:
                    return
        raise Conflict("the catalog is changed by too many at once")

    def _commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str],
        expect: Mapping[str, bytes | None] | None,
        number: int,
        noted: list[str],
    ) -> None:
        """`number`: of the note of these keys; 0: none are noted."""
        gone, more = list(deletes), dict(puts)
        ended = [f"{CHANNEL}{key.removeprefix(_CHANNEL_STATE)}/" for key in gone if key.startswith(_CHANNEL_STATE)]
        for name in ended:
            gone += [key for key, _ in self._catalog.scan(name)]
        if number:
            changes = tuple(self._change(key, puts.get(key)) for key in noted)
            more[_key(ALL, number)] = _encode(Note(number, self._stamp(), changes))
            expect = {**(expect or {}), _key(ALL, number): None}
        known = {_list_of(key): int(key.rpartition("/")[2]) for key in more if key.startswith((ALL, CHANNEL))}
        for name, newest in known.items():
            gone += self._outdated(name, newest)
        try:
            self._catalog.commit(more, gone, expect)
        except BaseException:
            for name in known:  # nobody knows what is newest until it is read
                self._newest.pop(name, None)
            raise
        for name in ended:
            self._newest.pop(name, None)
        self._newest |= known

    def _change(self, key: str, after: bytes | None) -> KeyChange:
        before = self._catalog.get(key)
        if max(len(before or b""), len(after or b"")) > LARGE:
            return KeyChange(key, None, None, True)
        return KeyChange(key, before, None if after is None else bytes(after))

    def _outdated(self, name: str, number: int) -> list[str]:
        """The key of the note that goes when this one comes."""
        key = _key(name, number - KEPT)
        return [key] if number > KEPT and self._catalog.get(key) is not None else []

    def noted(self, channel: str, kind: int, timestamp: int) -> dict[str, bytes]:
        """What to commit together with something that happens to the rows of a channel. In a turn of it."""
        name = f"{CHANNEL}{channel}/"
        number = self._last(name) + 1
        return {_key(name, number): _encode(ChannelNote(number, timestamp, kind))}

    # -- reading --------------------------------------------------------------------------------
    def newest(self) -> int:
        """The number of the newest note; 0: there is none."""
        return self._last(ALL)

    def newest_of(self, channel: str) -> int:
        """The number of the newest note of a channel."""
        return self._last(f"{CHANNEL}{channel}/")

    def notes(self, after: int, most: int = 1_000) -> list[Note] | None:
        """Those behind a number, in order; None: some of them are forgotten."""
        return self._behind(ALL, after, most, Note)

    def notes_of(self, channel: str, after: int, most: int = 1_000) -> list[ChannelNote] | None:
        """Those of a channel behind a number, in order; None: some of them are forgotten."""
        return self._behind(f"{CHANNEL}{channel}/", after, most, ChannelNote)

    def _last(self, name: str) -> int:
        with self._lock:
            known = self._newest.get(name) if self._alone else None
            if known is None:
                found = self._catalog.scan(name)
                known = self._newest[name] = int(found[-1][0].rpartition("/")[2]) if found else 0
            return known

    def _behind(self, name: str, after: int, most: int, kind: type[N]) -> list[N] | None:
        newest = self._last(name)
        found: list[N] = []
        for number in range(after + 1, min(newest, after + most) + 1):
            data = self._catalog.get(_key(name, number))
            if data is None:
                return None
            found.append(_decode(data, kind))
        return found if after <= newest else None

    def changed(self, keys: Iterable[str]) -> None:
        """Somebody else has committed these keys."""
        lists = {_list_of(key) for key in keys if key.startswith((ALL, CHANNEL))}
        with self._lock:
            for name in lists:
                self._newest.pop(name, None)


def change_notes(catalog: Catalog) -> ChangeNotes:
    """The notes of a catalog, which is its own; of one that makes none, those that are there."""
    return catalog if isinstance(catalog, ChangeNotes) else ChangeNotes(catalog, alone=False)


def _list_of(key: str) -> str:
    return key.rpartition("/")[0] + "/"


def _key(name: str, number: int) -> str:
    return f"{name}{number:012d}"


def _encode(note: Note | ChannelNote) -> bytes:
    return msgspec.msgpack.encode(note)


def _decode(data: bytes, kind: type[N]) -> N:
    try:
        return from_msgpack(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"a note of changes in the catalog cannot be read: {error}") from error
