"""A whole database moves to another server while it is written: everything that is there, then what follows.

The target follows the source as a secondary follows its primary: databases, collections, rows, indexes, aliases, what
is loaded, users and roles. When little is left to carry, every row of both sides is compared, as they were at one time.
Then the source refuses writes for a moment; the rest is carried, both sides are counted, and the target takes writes
from then on. What was carried is remembered at both
ends: a run that was cut off goes on where it stopped when it is made again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO, TypeVar

from redkite.client.session import ask
from redkite.errors import (
    ConnectError,
    MilvusException,
    ServiceError,
    StorageError,
    Timeout,
    Unexpected,
    Unimplemented,
    UnknownOutcome,
)
from redkite.model import replication as rp
from redkite.model import results as rs
from redkite.model.changes import DropFeed
from redkite.model.timestamps import physical_ms

if TYPE_CHECKING:
    from redkite.client.sync import MilvusClient
    from redkite.model.request import Request

R = TypeVar("R", bound=rs.Result)
FEED: Final = "promotion"
_CALL_SECONDS: Final = 600.0
_ROUNDS: Final = 1_000_000
_CALM_ROUNDS: Final = 3
"""So many pages in a row that left nothing behind, and writes are stopped however much is still written."""
_DIFFERENT: Final = 3
_COMPARISONS: Final = 3
_HAND_OVERS: Final = 10
_HAND_OVER_PAUSE: Final = 0.5
_LOST: Final = (ServiceError, StorageError, ConnectError, Timeout, Unexpected)
"""What may be said of something that was done all the same."""
Say = Callable[[str], None]


class _Unknown(UnknownOutcome):
    """Nobody can say whether the target has taken over."""


class Moved(NamedTuple):
    """What came of it."""

    collections: int
    rows: int
    stopped_seconds: float
    """How long nothing could be written at either side."""
    differences: tuple[str, ...]
    """What is not at the target as it is at the source; then the source takes writes again, and nothing has moved."""


class Promotion:
    """`source` and `target` are clients of two Redkites, of which the target is empty."""

    def __init__(self, source: MilvusClient, target: MilvusClient, name: str, where: str, say: Say) -> None:
        """`name` is the same each time the same source is promoted; `where` is what writers at the source are told."""
        self._source = source
        self._target = target
        self._id = f"promotion:{name}"
        self._where = where
        self._say = say
        self._carried = 0

    def run(self, lag_seconds: float = 2.0) -> Moved:
        """Raises MilvusException; then the source takes writes, and the same call goes on."""
        applied = self._begin()
        for _ in range(_COMPARISONS):
            applied = self._catch_up(applied, lag_seconds)
            at = applied.timestamp
            # A page may lack what was being written when it was read, and has a smaller time: the next ones bring it.
            applied = self._catch_up(applied, lag_seconds)
            differences, mine = self._compare(rp.CountEverything(timestamp=at, checksums=True))
            if not differences:
                break  # else compaction, or a change of a schema, may have come between
        else:
            return Moved(len(mine.totals), 0, 0.0, differences)
        applied = self._catch_up(applied, lag_seconds)
        stopped = time.monotonic()
        try:
            self._freeze(True)
            applied = self._drain(applied)
            differences, mine = self._compare(rp.CountEverything())
            if differences:
                self._freeze(False)
                return Moved(len(mine.totals), 0, time.monotonic() - stopped, differences)
            done = self._hand_over(applied)
            if done.role != "primary":
                raise MilvusException("the target did not take over: it has been told to follow somebody else")
        except _Unknown:
            raise  # two that take writes are worse than none
        except BaseException:
            self._freeze(False)
            raise
        seconds = time.monotonic() - stopped
        _ask(self._source, DropFeed(database="*", name=FEED), rs.Done)
        rows = sum(total.rows for total in mine.totals)
        self._say(f"the target has everything and takes writes; nothing could be written for {seconds:.2f} s")
        return Moved(len(mine.totals), rows, seconds, ())

    # -- the steps ------------------------------------------------------------------------------
    def _begin(self) -> rp.Applied:
        try:
            applied = self._apply(rp.ReplicationPage(), begin=True)
        except Unimplemented as error:
            raise Unimplemented("promote needs Redkite at both ends; `redkite migrate` carries collections") from error
        if applied.position:
            self._say("going on where an earlier run stopped")
        return applied

    def _catch_up(self, applied: rp.Applied, lag_seconds: float) -> rp.Applied:
        """Carry until little is left, or the writers are as fast as this is."""
        calm = 0
        for _ in range(_ROUNDS):
            page = self._read(applied)
            applied = self._apply(page, after=applied.position)
            self._carried += sum(len(item.payload) for item in page.items)
            behind = max(0.0, time.time() - physical_ms(page.timestamp) / 1000)
            if page.items:
                self._say(f"{self._carried / 1e6:.1f} MB carried")
            if not page.more and behind <= lag_seconds:
                calm += 1
                if not page.items or calm == _CALM_ROUNDS:
                    return applied
        return applied

    def _drain(self, applied: rp.Applied) -> rp.Applied:
        """Carry all that is left, now that nothing comes."""
        while True:
            page = self._read(applied)
            applied = self._apply(page, after=applied.position)
            if not page.items and not page.more:
                return applied

    def _hand_over(self, applied: rp.Applied) -> rp.Applied:
        """Have the target take writes. A lost answer is asked for again. Raises _Unknown when it stays lost."""
        page = rp.ReplicationPage(end=applied.position, timestamp=applied.timestamp)
        for again in range(_HAND_OVERS):
            try:
                return self._apply(page, hand_over=True)
            except BaseException as error:
                if isinstance(error, MilvusException) and not isinstance(error, _LOST):
                    raise  # it was answered, and not done
                if again + 1 == _HAND_OVERS or not isinstance(error, Exception):
                    raise _Unknown(
                        f"the target does not say whether it has taken over ({error}): the source takes no writes "
                        "until that is known; run promote again, which goes on or says that the target has everything"
                    ) from error
                time.sleep(_HAND_OVER_PAUSE)
        raise AssertionError("the last try answers or raises")

    def _compare(self, request: rp.CountEverything) -> tuple[tuple[str, ...], rp.Totals]:
        mine = _ask(self._source, request, rp.Totals)
        theirs = _ask(self._target, request, rp.Totals)
        here = {(t.database, t.collection): t for t in mine.totals}
        there = {(t.database, t.collection): t for t in theirs.totals}
        found = []
        for key in sorted(here.keys() | there.keys()):
            name, one, other = ".".join(key), here.get(key), there.get(key)
            if one is None or other is None:
                found.append(f"{name} is only at the {'source' if other is None else 'target'}")
            elif one.rows != other.rows:
                found.append(f"{name} has {one.rows} rows at the source and {other.rows} at the target")
            elif one.checksum != other.checksum:
                found.append(f"{name} has other values at the target")
        if mine.users != theirs.users:
            found.append("the users are others")
        if not found:
            rows = sum(total.rows for total in mine.totals)
            how = "rows and checksums" if request.checksums else "rows"
            self._say(f"{how} of {len(here)} collections with {rows} rows are the same at both sides")
        return tuple(found), mine

    # -- requests -------------------------------------------------------------------------------
    def _read(self, applied: rp.Applied) -> rp.ReplicationPage:
        return _ask(self._source, rp.ReadReplication(name=FEED, position=applied.position), rp.ReplicationPage)

    def _apply(
        self, page: rp.ReplicationPage, *, begin: bool = False, hand_over: bool = False, after: str | None = None
    ) -> rp.Applied:
        request = rp.ApplyReplication(
            source_cluster_id=self._id, page=page, begin=begin, hand_over=hand_over, after=after
        )
        return _ask(self._target, request, rp.Applied)

    def _freeze(self, frozen: bool) -> None:
        reason = f"this database is at {self._where} now" if frozen else ""
        _ask(self._source, rp.FreezeWrites(frozen=frozen, reason=reason), rs.Done)


def name_of(source: str) -> str:
    """What a source is called, the same from wherever it is named."""
    return source if "://" in source else os.path.abspath(source)


def _ask(client: MilvusClient, request: Request, answer: type[R]) -> R:
    return client._run(ask(request, answer), _CALL_SECONDS, {})


def promote(source: str, target: str, token: str, target_token: str, out: TextIO) -> int:
    """`redkite promote`; the exit status."""
    from redkite.client.sync import MilvusClient

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    with MilvusClient(source, token=token) as mine, MilvusClient(target, token=target_token) as theirs:
        moved = Promotion(mine, theirs, name_of(source), target, say).run()
    for difference in moved.differences:
        say(difference)
    if moved.differences:
        say(f"nothing has moved: {source} takes writes as before")
        return _DIFFERENT
    say(f"{source} is at {target} now: {moved.collections} collections, {moved.rows} rows")
    return 0
