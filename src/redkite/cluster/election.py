"""Which coordinator leads: the one whose claim of the key `leader` lasts. Others stand by, and claim it when it goes.

A leader commits under the fence of its claim. When its lease is lost it has stopped deciding before anybody else can
begin to, and what it still tries to commit is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from redkite.cluster.network import Network, Remote
from redkite.env import Env, Timer
from redkite.errors import ConnectionClosed, Corruption, MilvusException
from redkite.logs import get_logger
from redkite.model.decoding import from_json
from redkite.storage.coordination import Coordination, Fence, Lease

log = get_logger(__name__)

LEADER: Final = "leader"
LEAVE_SECONDS: Final = 5.0
"""How long, beyond the time of its lease, one that ends waits for itself to have left off deciding."""


class LeaderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who leads, and where it is asked."""

    node_id: int
    address: str


def leader_in(present: Mapping[str, bytes]) -> LeaderRecord | None:
    """The leader among live keys."""
    data = present.get(LEADER)
    if data is None:
        return None
    try:
        return from_json(data, LeaderRecord)
    except msgspec.MsgspecError as error:
        raise Corruption(f"the record of the leader cannot be read: {error}") from error


class Election:
    """One candidate. `lead` is called, on a thread of its own, each time it begins to lead, with the fence for what it
    commits; `lost`, from the same thread, when it does not lead any more. When `lead` raises it steps down and stands
    again."""

    def __init__(
        self,
        coordination: Coordination,
        env: Env,
        node_id: int,
        address: str,
        lease_seconds: float,
        lead: Callable[[Fence], None],
        lost: Callable[[], None],
    ) -> None:
        self._coordination, self._env = coordination, env
        self._record = msgspec.json.encode(LeaderRecord(node_id=node_id, address=address))
        self.node_id = node_id
        self._seconds = lease_seconds
        self._lead, self._stop = lead, lost
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        """Of the key, while it is this node's."""
        self._spare: Lease | None = None
        """Held by who stands by, so that a claim takes one call."""
        self._fence: Fence | None = None
        self._leads = self._closed = False
        self._trouble = ""
        self._thread = env.tasks.executor("election", 1)
        self._watched = coordination.watch(LEADER, lambda _: self._look())
        self._timer: Timer = env.tasks.every(max(0.05, lease_seconds / 8), self._look, "election")

    @property
    def is_leader(self) -> bool:
        """Whether this node may decide now, judged by its own clock: never while another may."""
        lease = self._lease
        return self._leads and lease is not None and lease.is_held

    @property
    def trouble(self) -> str:
        """Why this node could not be elected just now; empty where it could."""
        return self._trouble

    @property
    def fence(self) -> Fence | None:
        return self._fence

    def _look(self) -> None:
        with self._lock:
            if not self._closed:
                self._thread.submit(self._stand)

    def _stand(self) -> None:
        """Claim the key, if nobody has it."""
        if self._closed:
            return
        lease = self._lease
        if lease is not None:
            if not lease.is_held:
                self._step_down(lease)
            return
        try:
            leader = leader_in(self._coordination.present(LEADER))
            if leader is None or leader.node_id == self.node_id:  # its own: the reply to a claim was lost
                self._claim()
            else:
                self._have_spare()
        except ConnectionClosed:
            self._timer.cancel()  # this process can never be elected again
        except MilvusException as error:
            if self._trouble != error.message:
                log.warning("coordinator %d cannot stand for election: %s", self.node_id, error.message)
            self._trouble = error.message
        else:
            self._trouble = ""

    def _have_spare(self) -> Lease:
        spare = self._spare
        if spare is None or not spare.is_held:
            if spare is not None:
                spare.close()
            spare = self._spare = self._coordination.lease(self._seconds)
        return spare

    def _claim(self) -> None:
        lease = self._have_spare()
        term = self._coordination.claim(LEADER, self._record, lease)
        if term is None:
            return  # another was quicker
        self._spare = None
        with self._lock:
            if self._closed:
                lease.close()
                return
            self._lease = lease
            fence = self._fence = self._coordination.fence(LEADER, term)
        lease.when_lost(self._look)
        log.info("coordinator %d leads from revision %d on", self.node_id, term)
        try:
            self._leads = True
            self._lead(fence)
        except Exception:  # whatever it was: another may be able to
            log.exception("coordinator %d could not begin to lead", self.node_id)
            self._step_down(lease)

    def _step_down(self, lease: Lease) -> None:
        with self._lock:
            self._leads = False
            self._lease = self._fence = None
        try:
            self._stop()
        finally:
            lease.close()

    def resign(self) -> None:
        """Let another lead, if this one does; it may come to lead again."""
        self._thread.submit(self._resign).result(self._seconds + 5)

    def _resign(self) -> None:
        lease = self._lease
        if lease is not None:
            self._step_down(lease)

    def close(self) -> None:
        """Stand for nothing any more. Another can lead at once, if anybody can be reached."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._timer.cancel()
        self._watched.close()
        leaving = self._thread.submit(self._leave)
        self._thread.shutdown(wait=False)
        try:
            leaving.result(self._seconds + LEAVE_SECONDS)
        except TimeoutError:
            log.warning(
                "coordinator %d is still beginning to lead: it ends when that has come to an end, or its lease has",
                self.node_id,
            )  # fmt: skip

    def _leave(self) -> None:
        try:
            self._resign()
        finally:
            if self._spare is not None:
                self._spare.close()


class LeaderWatch:
    """Who leads, as others know it."""

    def __init__(self, coordination: Coordination, network: Network) -> None:
        self._network = network
        self._leader: LeaderRecord | None = None
        self._lock = threading.Lock()
        self._tell: list[Callable[[], None]] = []
        self._watched = coordination.watch(LEADER, self._changed)

    def _changed(self, present: Mapping[str, bytes]) -> None:
        with self._lock:
            self._leader = leader_in(present)
            told = list(self._tell)
        for tell in told:
            tell()

    @property
    def leader(self) -> LeaderRecord | None:
        """None while nobody is known to lead."""
        return self._leader

    def remote(self) -> Remote | None:
        """The way to whoever leads."""
        leader = self._leader
        return None if leader is None else self._network.connect(leader.address)

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Call this whenever another leads, or nobody. It must be quick."""
        with self._lock:
            self._tell.append(tell)

    def close(self) -> None:
        self._watched.close()
