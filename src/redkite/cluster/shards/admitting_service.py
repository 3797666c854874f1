"""How an owner takes part in an admission: see `admitting`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from typing import Any, Final, Protocol

from redkite.cluster.network import Handler
from redkite.cluster.shards.admitting import (
    HOLD_SECONDS,
    EndHold,
    HoldShard,
    LookFor,
    Prepared,
    PrepareHeld,
    ticket,
    ticket_of,
)
from redkite.cluster.shards.upkeep_service import observe
from redkite.env import Env, Executor
from redkite.errors import Conflict, MilvusException, NotOwner, Unavailable
from redkite.logs import get_logger
from redkite.node.admission import Admission, Made, Replaced
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.storage.followed import FollowedCatalog
from redkite.storage.log_channel_format import physical_name

log = get_logger(__name__)

_HOLDERS: Final = 64
"""Shards that one node holds at a time."""
_LOOK_SECONDS: Final = 600.0
"""What was found for an admission is forgotten when so long nothing was heard of it."""
_PAUSE_SECONDS: Final = 0.2
_REVISION_SECONDS: Final = 10.0

Where = tuple[str, int]
"""Channel and admission."""


class OwnerNode(Protocol):
    """A node that owns channels."""

    env: Env
    catalog: FollowedCatalog
    topology: Topology

    def own_shard(self, channel: str) -> Shard:
        """Raises NotOwner."""
        ...

    def open_shard(self, channel: str) -> Shard | None:
        """If it is open. Raises NotOwner."""
        ...


class _Hold:
    """A shard that is held, step by step: each future ends when its step is done, or never will be."""

    def __init__(self, new: Callable[[], Future[Any]]) -> None:
        self.held: Future[int] = new()
        self.stamped: Future[int] = new()
        """By the coordinator."""
        self.prepared: Future[Prepared] = new()
        self.over: Future[None] = new()
        """Said by the coordinator: it has committed, or given up."""
        self.done: Future[bool] = new()

    def fail(self, error: BaseException) -> None:
        for step in (self.held, self.prepared, self.done):
            if not step.done():
                step.set_exception(error)


class AdmittingService:
    """The handlers of one streaming node. Safe from any thread."""

    def __init__(self, node: OwnerNode, record_of: Callable[[str], tuple[str, bytes] | None]) -> None:
        """`record_of`: by what a virtual channel is this node's, key and value in the catalog."""
        self._node, self._record_of = node, record_of
        self._tasks, self._clock = node.env.tasks, node.env.clock
        self._worker: Executor = node.env.tasks.executor("admissions", _HOLDERS)
        self._lock = threading.Lock()
        self._found: dict[Where, tuple[float, tuple[Made, ...], Replaced]] = {}
        self._looking: dict[Where, Future[None]] = {}
        self._holds: dict[Where, _Hold] = {}
        self._promises: dict[str, tuple[str, bytes]] = {}
        """Channels that others may commit to because this node holds them, and by what they are its own."""

    def handlers(self) -> Mapping[type, Handler]:
        return {
            LookFor: self._look_once,
            HoldShard: self._hold,
            PrepareHeld: self._prepare,
            EndHold: self._end,
        }

    def close(self) -> None:
        self._worker.shutdown(wait=False)

    def is_promised(self, physical: str) -> bool:
        """Whether something may be committed to a physical channel of which this node hears from the catalog alone."""
        promises = [*self._promises.items()]
        return any(physical_name(name) == physical and self._record_of(name) == record for name, record in promises)

    # -- before anybody has to wait -------------------------------------------------------------
    def _look_once(self, message: LookFor) -> Future[None] | None:
        """Who asks again, as the answer did not come, waits for what is under way."""
        where = message.channel, message.admission
        with self._lock:
            if where in self._found:
                return None
            under_way = self._looking.get(where)
            if under_way is None:
                under_way = self._looking[where] = self._worker.submit(self._look, message)
            return under_way

    def _look(self, message: LookFor) -> None:
        try:
            self._look_now(message)
        finally:
            with self._lock:
                self._looking.pop((message.channel, message.admission), None)

    def _look_now(self, message: LookFor) -> None:
        self._node.catalog.wait_for(message.revision, _REVISION_SECONDS)
        shard, known = self._node.own_shard(message.channel), Replaced()
        shard.flush(self._node.topology.root.oracle.allocate)
        shard.look_for(message.made, known)
        now = self._clock.monotonic()
        with self._lock:
            self._found = {where: found for where, found in self._found.items() if found[0] > now - _LOOK_SECONDS}
            self._found[message.channel, message.admission] = now, message.made, known

    # -- the steps ------------------------------------------------------------------------------
    def _hold(self, message: HoldShard) -> Future[int]:
        where = message.channel, message.admission
        with self._lock:
            found = self._found.pop(where, None)
            if found is None:
                raise Unavailable(f"nothing was looked for on channel {message.channel} here: begin anew")
            hold = self._holds[where] = _Hold(self._tasks.future)
        self._worker.submit(self._run, where, hold, found[1], found[2])
        return hold.held

    def _prepare(self, message: PrepareHeld) -> Future[Prepared]:
        hold = self._need(message.channel, message.admission)
        if not hold.stamped.done():
            hold.stamped.set_result(message.timestamp)
        return hold.prepared

    def _end(self, message: EndHold) -> Future[bool] | bool:
        with self._lock:
            hold = self._holds.get((message.channel, message.admission))
        if hold is None:
            return False
        if not hold.stamped.done():
            hold.stamped.set_exception(Unavailable("the admission was given up"))
        if not hold.over.done():
            hold.over.set_result(None)
        return hold.done

    def _need(self, channel: str, admission: int) -> _Hold:
        with self._lock:
            hold = self._holds.get((channel, admission))
        if hold is None:
            raise Unavailable(f"channel {channel} is not held any more: begin anew")
        return hold

    def _run(self, where: Where, hold: _Hold, made: tuple[Made, ...], known: Replaced) -> None:
        channel, number = where
        try:
            shard = self._node.own_shard(channel)
            with shard.turn(settled=True), shard.still():
                oracle = self._node.topology.root.oracle
                hold.held.set_result(max(oracle.last, shard.view.timestamp))
                timestamp = hold.stamped.result(HOLD_SECONDS)
                observe(oracle, timestamp)
                admission = shard.prepare(made, known, timestamp)
                with ExitStack() as opened:
                    opened.callback(shard.give_up, admission)
                    promised = self._promised(channel, number, admission)
                    hold.prepared.set_result(promised)
                    with suppress(TimeoutError):
                        hold.over.result(HOLD_SECONDS)
                    is_there = self._settled(shard, number, promised)
                    if is_there:
                        opened.pop_all()
                        shard.admit(admission)
                self._promises.pop(channel, None)
            for fresh in admission.fresh if is_there else ():
                shard.build_missing(fresh.meta.segment_id)
            hold.done.set_result(is_there)
        except TimeoutError:
            log.warning("channel %s was held for an admission of which nothing more was heard", channel)
            hold.fail(Unavailable(f"channel {channel} is not held any more: begin anew"))
        except MilvusException as error:
            hold.fail(error)
        except BaseException as error:
            hold.fail(error)
            raise
        finally:
            if not hold.prepared.done() or hold.prepared.exception() is not None:  # nothing was promised
                self._promises.pop(channel, None)
            with self._lock:
                self._holds.pop(where, None)

    def _promised(self, channel: str, number: int, admission: Admission) -> Prepared:
        """Say in the catalog that the channel is held, and by what it is this node's."""
        record = self._record_of(channel)
        if record is None:
            raise NotOwner.of(channel)
        self._promises[channel] = record
        try:
            self._node.catalog.commit({ticket(channel): ticket_of(number)}, (), dict([record]))
        except Conflict:
            raise NotOwner.of(channel) from None
        # Behind the promise: whoever loses his lease from now on looks for it. Who opens anew a shard that was left
        # meanwhile waits for the end of this hold: nothing that waits for him may be asked for here, or below.
        self._node.open_shard(channel)
        return Prepared(
            added=tuple(holding.meta for holding in admission.fresh),
            deletes=admission.deletes,
            record=record,
            revision=self._node.catalog.refresh(told=False),
        )

    def _settled(self, shard: Shard, number: int, promised: Prepared) -> bool:
        """Whether the admission is committed; if not, it never will be. Raises NotOwner when the channel is another's:
        that one reads what there is."""
        catalog, channel, (key, record) = self._node.catalog, shard.channel, promised.record
        while True:
            try:
                catalog.refresh()
                if catalog.get(ticket(channel)) != ticket_of(number):
                    if catalog.get(key) != record:
                        raise NotOwner.of(channel)
                    # The promise may also be gone because it was taken back here, and the answer to that was lost.
                    return {m.segment_id for m in promised.added} <= {m.segment_id for m in shard.segments()}
                catalog.commit({}, [ticket(channel)], {ticket(channel): ticket_of(number)})
            except Conflict:
                continue
            except NotOwner:
                raise
            except Unavailable as error:
                log.warning("whether an admission to channel %s came about is not known: %s", channel, error.message)
                self._node.open_shard(channel)  # as long as it is this node's, nobody writes to it
                with suppress(TimeoutError):
                    self._tasks.future().result(_PAUSE_SECONDS)
            else:
                return False
