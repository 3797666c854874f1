"""The catalog in etcd: what a cluster knows, and every node reads.

<root>data/<key>         the pairs
<root>stamp              the names of the last commits, newest first: every commit compares and changes it
<root>pending            a commit too large for one transaction that is decided and not applied yet: its name, its parts
<root>parts/<name>/<n>   what it puts and deletes

Each commit happens once or not at all, also when its reply is lost: it is tried again with the stamp that it was to
replace, so a late first try and the second exclude each other, and the stamp tells whether it was among the last
commits, though others may have come behind it. A commit of many keys writes its parts first; putting `pending` decides
it. Whoever finds it there, reader or writer, applies the parts before doing anything else, so nobody sees half of it.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from redkite.env import Env
from redkite.errors import Conflict, Corruption, StorageError, Unavailable
from redkite.model.decoding import from_msgpack
from redkite.storage.catalog import check_expected, checked_deletes
from redkite.storage.coordination import Fence, Fenced
from redkite.storage.etcd import Compacted, Etcd, Event, KeyValue, after_prefix, found_in
from redkite.storage.followed import Change, Committed

MAX_OPERATIONS: Final = 100
"""etcd takes 128 in one transaction, unless it was told otherwise; some are ours."""
MAX_BYTES: Final = 1 << 20
"""etcd takes requests of 1.5 MiB."""
_LARGE: Final = 64 << 10
"""Values from here on are kept compressed: the image of a large collection would not fit into one request."""
_COMPRESSED: Final = b"\0redkite zlib\0"
"""So a value begins that is kept compressed."""
_PAGE: Final = 1_000
_NAMES: Final = 64
"""Commits that the stamp names: so many of others may come between a commit whose reply is lost and its next try."""
_NAME_CHARS: Final = 16
"""Of a commit's name, in the stamp."""
_TRIES: Final = 60
"""So often a commit finds that others were quicker; …"""
_AT_ONCE: Final = 3
"""… after so many it lets them pass, …"""
_PAUSE_SECONDS: Final = 0.02
"""… for so long at most."""


class _Pending(msgspec.Struct, frozen=True):
    name: str
    parts: int


Edit = tuple[str, bytes | None]
"""A key, and what it is to be; None: to be gone."""


class EtcdCatalog:
    """Pairs below `etcd.settings.root`. With a `fence` it commits only as long as that holds."""

    def __init__(self, etcd: Etcd, env: Env, fence: Fence | None = None) -> None:
        self._etcd = etcd
        self._random = env.random
        self._fence = fence
        root = etcd.settings.root.encode()
        self.data = root + b"data/"
        self._stamp, self._pending, self._parts = root + b"stamp", root + b"pending", root + b"parts/"
        self._last = 0
        """The revision of the stamp, as last seen, …"""
        self._names: tuple[bytes, ...] = ()
        """… and the commits that it named."""
        self._unsure = False
        """Whether a commit is on its way of which nobody knows whether it will arrive."""
        self._lock = threading.RLock()

    def get(self, key: str) -> bytes | None:
        found = list(self._read(self._name(key), b"")[1])
        return _plain_value(found[0].value) if found else None

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        return [(self._plain(pair.key), _plain_value(pair.value)) for pair in self._whole(self._name(prefix))[1]]

    def everything(self) -> tuple[int, list[Change]]:
        """All pairs, each with the revision that changed it last, and a revision at which they are all."""
        revision, pairs = self._whole(self.data)
        return revision, [Change(self._plain(pair.key), _plain_value(pair.value), pair.changed) for pair in pairs]

    def newest(self) -> int:
        """The revision of the last commit, which is applied."""
        while True:
            if self._unsure:
                self.overtake()
            reply = self._etcd.transaction([], [self._etcd.range(self._pending), self._etcd.range(self._stamp)])
            pending, stamp = (list(found_in(answer.response_range)) for answer in reply.responses)
            if not pending:
                return stamp[0].changed if stamp else 0
            self._finish(pending[0])

    def change_of(self, event: Event) -> Change | None:
        """What an event means for the pairs; None when it is about something else."""
        if not event.key.startswith(self.data):
            return None
        value = None if event.value is None else _plain_value(event.value)
        return Change(self._plain(event.key), value, event.revision)

    def is_pending(self, event: Event) -> bool:
        """Whether it begins, or ends, the time in which a large commit is decided and not applied."""
        return event.key == self._pending

    def _whole(self, start: bytes) -> tuple[int, list[KeyValue]]:
        for _ in range(_TRIES):
            try:
                revision, pairs = self._read(start, after_prefix(start))
                return revision, list(pairs)
            except Compacted:  # between two pages: begin anew
                continue
        raise Unavailable("etcd forgets revisions faster than the catalog can be read")

    def _read(self, key: bytes, end: bytes) -> tuple[int, Iterator[KeyValue]]:
        """A revision at which no commit was half applied, and its pairs."""
        ask = self._etcd
        if self._unsure:
            self.overtake()
        while True:
            reply = ask.transaction([], [ask.range(self._pending), ask.range(key, end, _PAGE)])
            pending, wanted = (answer.response_range for answer in reply.responses)
            if not pending.kvs:
                return reply.header.revision, ask.rest_of(wanted, key, end, reply.header.revision)
            self._finish(next(found_in(pending)))

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        self.write(puts, deletes, expect)

    def write(
        self, puts: Mapping[str, bytes], deletes: Iterable[str], expect: Mapping[str, bytes | None] | None
    ) -> Committed:
        """As `commit`."""
        changes: list[Edit] = [(key, None) for key in dict.fromkeys(checked_deletes(puts, deletes))]
        changes += [(key, _kept_value(bytes(value))) for key, value in puts.items()]
        expected = dict(expect or {})
        if len(expected) > MAX_OPERATIONS:
            raise StorageError(f"a catalog commit may expect the values of {MAX_OPERATIONS} keys, not {len(expected)}")
        parts = list(_in_parts(changes))
        with self._lock:
            if len(parts) <= 1:
                operations = [self._operation(change) for change in changes]
                exact = self._decide(self._new_name(), operations, expected)
                return Committed(self._last, exact)
            self._commit_parts(parts, expected)
            return Committed(self._last, exact=False)

    def _commit_parts(self, parts: list[list[Edit]], expected: Mapping[str, bytes | None]) -> None:
        """Whoever begins to lead removes parts that are not decided, also ours, which are on their way: then they are
        written anew."""
        for _ in range(_AT_ONCE):
            name = self._new_name()
            for number, part in enumerate(parts):
                self._guarded([self._etcd.put(self._part(name, number), msgspec.msgpack.encode(part))])
            pending = self._etcd.put(self._pending, msgspec.msgpack.encode(_Pending(name, len(parts))))
            # The first was there before the others: as long as it is, they all are.
            first = self._etcd.is_there(self._part(name, 0))
            try:
                self._decide(name, [pending], expected, [first])
            except Conflict:
                self._guarded([self._drop_parts(name)])
                raise
            except Fenced:
                if self._etcd.transaction([first], []).succeeded:
                    raise
                continue
            self._finish_pending()
            return
        raise Unavailable("the parts of a large commit were removed while they were written: try again")

    def _finish_pending(self) -> None:
        list(self._read(self._pending, b"")[1])

    def overtake(self) -> None:
        """If the outcome of a commit is not known, commit nothing: what was on its way to the stamp that this replaces
        cannot happen any more."""
        with self._lock:
            if self._unsure:
                with suppress(Fenced):  # then it cannot happen either
                    self._decide(self._new_name(), [], {})
                self._unsure = False

    def _new_name(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def settle(self) -> None:
        """Apply what is decided and not applied, and remove parts of commits that never were: for a new leader."""
        with self._lock:
            self._finish_pending()
            self._guarded([self._etcd.delete(self._parts, after_prefix(self._parts))])

    def _decide(
        self, name: str, operations: Sequence[Any], expected: Mapping[str, bytes | None], only_if: Sequence[Any] = ()
    ) -> bool:
        """One transaction; whether it is the one at the revision `_last`, rather than one before that. Raises Conflict
        when something is not as expected, Fenced when the fence does not hold, or what `only_if` compares."""
        ask, keys = self._etcd, list(expected)
        mine = name[:_NAME_CHARS].encode()
        looks = [ask.range(self._stamp), ask.range(self._pending), *(ask.range(self._name(key)) for key in keys)]
        for tries in range(_TRIES):
            if tries > _AT_ONCE:
                self._etcd.closed.wait(self._random.random() * _PAUSE_SECONDS)
            compare = [ask.is_changed_at(self._stamp, self._last), ask.is_created_at(self._pending, 0), *self._fences()]
            compare += only_if
            compare += [self._holds(key, value) for key, value in expected.items()]
            names = (mine, *self._names[: _NAMES - 1])
            try:
                reply = ask.transaction(compare, [ask.put(self._stamp, b" ".join(names)), *operations], looks)
            except Unavailable:
                self._unsure = True
                raise
            if reply.succeeded:
                self._last, self._names = reply.header.revision, names
                return True
            stamp, pending, *values = (list(found_in(answer.response_range)) for answer in reply.responses)
            before = self._last
            self._last, self._names = (stamp[0].changed, tuple(stamp[0].value.split())) if stamp else (0, ())
            if mine in self._names:
                return False  # the reply to an earlier try was lost
            if pending:
                self._finish(pending[0])
                continue
            for key, found in zip(keys, values, strict=True):
                check_expected(key, expected[key], _plain_value(found[0].value) if found else None)
            if self._last == before:
                raise self._fenced()
        raise Unavailable("the catalog in etcd is changed by so many at once that a commit found no place")

    def _holds(self, key: str, value: bytes | None) -> Any:
        name = self._name(key)
        return self._etcd.is_created_at(name, 0) if value is None else self._etcd.has_value(name, _kept_value(value))

    # -- large commits --------------------------------------------------------------------------
    def _finish(self, found: KeyValue) -> None:
        """Apply the parts of a decided commit. Any number of processes may do it at once."""
        ask, pending = self._etcd, from_msgpack(found.value, _Pending)
        still = ask.is_created_at(self._pending, found.created)
        for number in range(pending.parts):
            key = self._part(pending.name, number)
            reply = ask.transaction([still], [ask.range(key)])
            if not reply.succeeded:
                return  # somebody else was quicker
            part = next(found_in(reply.responses[0].response_range), None)
            if part is None:
                raise StorageError(f"etcd: part {number} of the catalog's commit {pending.name} is missing")
            changes = from_msgpack(part.value, list[Edit])
            ask.transaction([still], [self._operation(change) for change in changes])
        ask.transaction([still], [ask.delete(self._pending), self._drop_parts(pending.name)])

    def _guarded(self, operations: Sequence[Any]) -> None:
        """What changes nothing that anybody reads, done only by who may commit."""
        fences = self._fences()
        if not self._etcd.transaction(fences, operations).succeeded:
            raise self._fenced()

    def _drop_parts(self, name: str) -> Any:
        prefix = self._parts + name.encode() + b"/"
        return self._etcd.delete(prefix, after_prefix(prefix))

    def _fences(self) -> list[Any]:
        return [] if self._fence is None else [self._etcd.is_created_at(self._fence.key, self._fence.revision)]

    @staticmethod
    def _fenced() -> Fenced:
        return Fenced("another coordinator leads: this one may not change the catalog any more")

    def _operation(self, change: Edit) -> Any:
        key, value = change
        name = self._name(key)
        return self._etcd.delete(name) if value is None else self._etcd.put(name, value)

    def _name(self, key: str) -> bytes:
        return self.data + key.encode(errors="surrogatepass")

    def _plain(self, name: bytes) -> str:
        return name[len(self.data) :].decode(errors="surrogatepass")

    def _part(self, name: str, number: int) -> bytes:
        return self._parts + f"{name}/{number:06d}".encode()

    def close(self) -> None:
        """The connection is its owner's."""


def _kept_value(value: bytes) -> bytes:
    """As etcd has it. The same for the same value."""
    if len(value) < _LARGE and not value.startswith(_COMPRESSED):
        return value
    return _COMPRESSED + zlib.compress(value, 6)


def _plain_value(kept: bytes) -> bytes:
    if not kept.startswith(_COMPRESSED):
        return kept
    try:
        return zlib.decompress(kept[len(_COMPRESSED) :])
    except zlib.error as error:
        raise Corruption(f"a value of the catalog in etcd cannot be read: {error}") from error


def _in_parts(changes: Iterable[Edit]) -> Iterator[list[Edit]]:
    """Each small enough for one transaction."""
    part: list[Edit] = []
    size = 0
    for key, value in changes:
        weight = len(key) * 4 + len(value or b"") + 64
        if weight > MAX_BYTES:
            raise StorageError(f"the catalog's '{key}' has {len(value or b'')} bytes: etcd takes {MAX_BYTES} at most")
        if part and (len(part) >= MAX_OPERATIONS or size + weight > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append((key, value))
        size += weight
    if part:
        yield part
