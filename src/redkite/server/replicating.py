"""What is written here goes to the clusters that follow this one: one task for each, which begins again when it fails.

A page is read from the feed that is kept for the follower, sent, and acknowledged by asking for the one behind it. The
follower knows how far it is, so a page whose answer was lost is not taken over twice.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from redkite.client.session import ask
from redkite.errors import ChangesGone, MilvusException
from redkite.logs import get_logger
from redkite.model import replication as rp
from redkite.model.request import Request
from redkite.model.results import Result
from redkite.model.timestamps import physical_ms
from redkite.proxy.replication import PRIMARY, feed_name
from redkite.proxy.replication_reading import RESUME
from redkite.server.calls import Calls
from redkite.server.exposition import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from redkite.client.aio import AsyncMilvusClient
    from redkite.coordinator.standing import State

_log = get_logger(__name__)
R = TypeVar("R", bound=Result)
_WAIT_MS: Final = 2_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_CALL_SECONDS: Final = 120.0
_HAND_OVER_PAUSE: Final = 0.3


class FollowerState(msgspec.Struct):
    """How far one follower is."""

    cluster_id: str
    applied: int = 0
    """Everything that was written here up to this timestamp is there."""
    seen: float = 0.0
    """When it answered last (monotonic); 0: never."""
    error: str = ""
    sent_bytes: int = 0

    def lag_seconds(self, now_ms: int) -> float:
        return max(0.0, now_ms - physical_ms(self.applied)) / 1000 if self.applied else 0.0


class Sending(Protocol):
    """Who says to whom what is written here is to be sent."""

    cluster_id: str
    when_changed: Callable[[], None] | None
    """Called in any thread when `state` may be another."""

    @property
    def state(self) -> State: ...

    def finished_stepping_back(self) -> None:
        """The former target has everything, and is the primary."""
        ...


class Replicator:
    """Belongs to the event loop that makes it."""

    def __init__(self, calls: Calls, replication: Sending) -> None:
        self._calls = calls
        self._replication = replication
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, tuple[rp.ClusterAt, bool, asyncio.Task[None]]] = {}
        self._states: dict[str, FollowerState] = {}

    @property
    def followers(self) -> Mapping[str, FollowerState]:
        """By cluster id."""
        return self._states

    def samples(self, now_ms: int) -> Iterator[Sample]:
        """For metrics."""
        for name, state in self._states.items():
            labels = (("cluster_id", name),)
            text = "Seconds by which a cluster that follows this one is behind."
            yield Sample("redkite_replication_lag_seconds", text, state.lag_seconds(now_ms), labels)
            text = "Whether what is written here reaches a cluster that follows this one."
            yield Sample("redkite_replication_up", text, float(bool(state.seen) and not state.error), labels)
            text = "Bytes of rows and definitions that were sent to a cluster that follows this one."
            yield Sample("redkite_replication_sent_bytes", text, float(state.sent_bytes), labels)

    def start(self) -> None:
        self._replication.when_changed = self._changed
        self._renew()

    def stop(self) -> None:
        self._replication.when_changed = None
        for _, _, task in self._tasks.values():
            task.cancel()

    def _changed(self) -> None:
        """In any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._renew)

    def _renew(self) -> None:
        """Have a task for each follower, and none for others."""
        wanted = self._wanted()
        for name, (target, leaving, task) in list(self._tasks.items()):
            if wanted.get(name) != (target, leaving) or task.done():
                task.cancel()
                del self._tasks[name]
        for name, (target, leaving) in wanted.items():
            if name not in self._tasks:
                task = self._loop.create_task(self._keep_sending(target, leaving=leaving))
                self._tasks[name] = (target, leaving, task)
        self._states = {name: self._states.get(name, FollowerState(name)) for name in wanted}

    def _wanted(self) -> dict[str, tuple[rp.ClusterAt, bool]]:
        """Follower -> how it is reached, and whether it is to take over from this one."""
        state = self._replication.state
        if state.stepped_back:
            heir = state.configuration.cluster(state.stepped_back)
            return {} if heir is None else {heir.cluster_id: (heir, True)}
        if state.source:
            return {}
        targets = state.configuration.targets_of(self._replication.cluster_id)
        return {target.cluster_id: (target, False) for target in targets}

    async def _keep_sending(self, target: rp.ClusterAt, *, leaving: bool) -> None:
        from redkite.client.aio import AsyncMilvusClient  # what follows nobody needs no client

        pause = _FIRST_PAUSE
        while True:
            state = self._states.setdefault(target.cluster_id, FollowerState(target.cluster_id))
            before = state.seen
            try:
                client = AsyncMilvusClient(uri=target.uri, token=target.token, timeout=_CALL_SECONDS)
                try:
                    if await self._send(client, target, state, leaving=leaving):
                        return
                finally:
                    await client.close()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, the next try may succeed
                text = error.message if isinstance(error, MilvusException) else repr(error)
                if text != state.error:
                    _log.warning("replication to '%s' stands still: %s", target.cluster_id, text)
                state.error = text
            pause = _FIRST_PAUSE if state.seen > before else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _send(
        self, client: AsyncMilvusClient, target: rp.ClusterAt, state: FollowerState, *, leaving: bool
    ) -> bool:
        """Send until something fails; True: the other has taken over."""
        me, name = self._replication.cluster_id, feed_name(target.cluster_id)
        applied = await _ask(client, rp.ApplyReplication(source_cluster_id=me), rp.Applied)
        start = ""
        if not applied.position and self._replication.state.handed_over_by == target.cluster_id:
            start = RESUME
        while True:
            self._heard(state, applied)
            wait = 0 if leaving else _WAIT_MS
            page = await self._read(rp.ReadReplication(name=name, position=applied.position, start=start, wait_ms=wait))
            state.sent_bytes += sum(len(item.payload) for item in page.items)
            finished = leaving and not page.more
            request = rp.ApplyReplication(source_cluster_id=me, page=page, hand_over=finished, after=applied.position)
            applied = await _ask(client, request, rp.Applied)
            if finished:
                if applied.role == PRIMARY:
                    self._replication.finished_stepping_back()
                    return True
                await asyncio.sleep(_HAND_OVER_PAUSE)

    async def _read(self, request: rp.ReadReplication) -> rp.ReplicationPage:
        try:
            found = await self._calls.call(request, lambda result: result)
        except ChangesGone as gone:
            raise MilvusException(f"{gone.message}; the follower must be emptied and begin anew", gone.code) from gone
        assert isinstance(found, rp.ReplicationPage)
        return found

    @staticmethod
    def _heard(state: FollowerState, applied: rp.Applied) -> None:
        state.applied, state.seen, state.error = applied.timestamp, time.monotonic(), ""


async def _ask(client: AsyncMilvusClient, request: Request, answer: type[R]) -> R:
    return await client._run(ask(request, answer), _CALL_SECONDS, {})
