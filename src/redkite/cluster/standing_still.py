"""How a cluster comes to stand still: when that is said, no write of before is under way anywhere, and none begins.

The catalog says that nothing may be changed. Then every proxy is asked to know that and to have ended what it had
begun, so that no write is cut in two; a proxy that does not answer is taken for gone after a while. What counts is what
comes next: every node that owns a channel, or was told to take one, knows it and has ended what it had begun. Who takes
a channel later reads in the catalog what came before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import ClassVar, Final

from redkite.cluster.membership import Membership
from redkite.cluster.network import Handler, Message, Network
from redkite.coordinator.pchannels import read_pchannels
from redkite.coordinator.standing import Standing
from redkite.env import Env
from redkite.errors import MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.storage.followed import FollowedCatalog

log = get_logger(__name__)

_PAUSE_SECONDS: Final = 0.05


class StandStill(Message, frozen=True, kw_only=True):
    """-> None, when the node knows the catalog as far as `revision`, for which it waits so long, and no change is under
    way in it."""

    idempotent: ClassVar[bool] = True

    revision: int
    seconds: float


def standing_handler(catalog: FollowedCatalog, standing: Standing) -> Mapping[type, Handler]:
    """Answers `StandStill`."""

    def stand_still(message: StandStill) -> Future[None]:
        catalog.wait_for(message.revision, message.seconds)
        return standing.quiet()

    return {StandStill: stand_still}


class Everywhere:
    """Has all other nodes stand still, as the coordinator that leads."""

    def __init__(
        self,
        env: Env,
        catalog: FollowedCatalog,
        members: Membership,
        network: Network,
        patience: float,
        carrying_out: Callable[[], Collection[object]],
    ) -> None:
        """A proxy that is silent for `patience` seconds is not waited for. `carrying_out`: changes that are decided and
        not done everywhere yet."""
        self._env, self._catalog, self._members, self._network = env, catalog, members, network
        self._patience = patience
        self._carrying_out = carrying_out

    def __call__(self, seconds: float) -> None:
        """Come back when no change is under way in any node. Raises Unavailable when that takes longer."""
        deadline = self._env.clock.monotonic() + seconds
        while self._carrying_out():
            self._pause(deadline, "changes that are decided are not carried out everywhere yet")
        message = StandStill(revision=self._catalog.refresh(), seconds=self._patience)
        self._proxies(message, deadline)
        self._owners(message, deadline)

    def _proxies(self, message: StandStill, deadline: float) -> None:
        records = self._members.nodes("proxy")
        asked = {record.node_id: self._ask(record.address, message, deadline) for record in records}
        silent_since = self._env.clock.monotonic()
        for node_id, reply in asked.items():
            error = reply.exception()
            while error is not None and self._env.clock.monotonic() < min(deadline, silent_since + self._patience):
                record = self._members.node(node_id)
                if record is None:
                    break
                self._pause(deadline, f"proxy {node_id} does not answer")
                error = self._ask(record.address, message, deadline).exception()
            if error is not None:
                log.warning("proxy %d does not say that it writes nothing, owners refuse it: %s", node_id, error)

    def _owners(self, message: StandStill, deadline: float) -> None:
        still: set[int] = set()
        while True:
            self._catalog.refresh()
            channels = read_pchannels(self._catalog).values()
            wanted = {c.node_id for c in channels if c.has_node} - still
            # Who had it before may go on by its log until somebody has begun to own it.
            between = [c.name for c in channels if c.is_wanted and c.history and not c.is_owned]
            if not wanted and not between:
                return
            if not wanted:
                self._pause(deadline, f"nobody owns channel {', '.join(between)}")
                continue
            records = [record for node_id in wanted if (record := self._members.node(node_id)) is not None]
            asked = {record.node_id: self._ask(record.address, message, deadline) for record in records}
            found = {node_id for node_id, reply in asked.items() if reply.exception() is None}
            still |= found
            if not found:
                names = ", ".join(map(str, sorted(wanted)))
                self._pause(deadline, f"streaming node {names} does not say that nothing is written there any more")

    def _ask(self, address: str, message: StandStill, deadline: float) -> Future[None]:
        left = max(0.001, deadline - self._env.clock.monotonic())
        try:
            return self._network.connect(address).ask_soon(message, left)
        except MilvusException as error:
            failed: Future[None] = self._env.tasks.future()
            failed.set_exception(error)
            return failed

    def _pause(self, deadline: float, why: str) -> None:
        if self._env.clock.monotonic() >= deadline:
            raise Unavailable(f"{why}: it is not certain that nothing is written")
        try:
            self._env.tasks.future().result(_PAUSE_SECONDS)
        except TimeoutError:
            return
