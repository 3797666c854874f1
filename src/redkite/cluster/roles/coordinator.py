"""The coordinator: one leads and decides, the others stand by with the same metadata and take over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, ClassVar

from redkite.cluster.config import Role
from redkite.cluster.election import Election, LeaderWatch
from redkite.cluster.figures import Figure, Took, taken
from redkite.cluster.forwarding import Forward, NotLeading
from redkite.cluster.leading import Leading
from redkite.cluster.roles.node import AskingRole
from redkite.cluster.work_messages import DESK
from redkite.errors import MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.storage.coordination import Fence

log = get_logger(__name__)


class CoordinatorRole(AskingRole):
    """One coordinator, leading or not."""

    kind: ClassVar[Role] = "coordinator"

    def make(self) -> None:
        super().make()
        self._election: Election | None = None
        self._lock = Lock()
        self._leading: Leading | None = None
        self._trouble = ""
        """Why it could not lead, when it was elected the last time."""
        self._leader = LeaderWatch(self.backends.coordination, self.network)
        self._took = Took()
        """From its election until it could decide."""

    @property
    def leading(self) -> Leading | None:
        """What it decides by, while it leads."""
        return self._leading

    def start(self) -> None:
        """Stand for election. Raises Unavailable when the address is taken, or what the cluster stands on does not
        answer."""
        self.join({Forward: self._answer, **dict.fromkeys(DESK, self._answer_work)})
        self._election = Election(
            self.backends.coordination, self.env, self.node_id, self.address, self.config.lease_seconds, self._lead,
            self._stand_by,
        )  # fmt: skip

    def _answer(self, message: Forward) -> Any:
        leading = self._leading
        if leading is None:
            raise NotLeading(f"node {self.node_id} does not lead")
        return leading.answer(message)

    def _answer_work(self, message: Any) -> Any:
        """What data nodes ask that import."""
        leading = self._leading
        if leading is None:
            raise Unavailable(f"node {self.node_id} does not lead")
        return leading.builds.handlers()[type(message)](message)

    def _lead(self, fence: Fence) -> None:
        begun = self.env.clock.monotonic()
        try:
            leading = Leading(self, fence, self._leads)
        except MilvusException as error:
            self._trouble = f"node {self.node_id} was elected and cannot lead: {error.message}"
            raise
        with self._lock:
            self._trouble = ""
            self._took = self._took.and_one(self.env.clock.monotonic() - begun)
            too_late = self._closed
            if not too_late:
                self._leading = leading
        if too_late:
            leading.close()

    def _leads(self) -> bool:
        election = self._election
        return election is None or election.is_leader  # the first is elected while its election is being made

    def _stand_by(self) -> None:
        with self._lock:
            leading, self._leading = self._leading, None
        if leading is not None:
            log.info("node %d does not lead any more", self.node_id)
            leading.close()

    def health(self) -> tuple[str, ...]:
        """What is wrong; nothing when all is well."""
        reasons = list(self.members.health())
        if self._election is not None and self._election.trouble:
            reasons.append(f"node {self.node_id} cannot be elected: {self._election.trouble}")
        leading = self._leading
        if leading is not None:
            reasons += leading.health()
        leader = self._leader.leader
        if self._trouble and (leader is None or leader.node_id == self.node_id):  # else another one could
            reasons.append(self._trouble)
        return tuple(reasons)

    def figures(self) -> Iterator[Figure]:
        yield from super().figures()
        leading = self._leading
        yield Figure("redkite_leads", "1 while this coordinator leads.", leading is not None)
        yield from taken("redkite_take_over", "this node began to lead", self._took)
        if leading is not None:
            yield from leading.figures()

    def drain(self) -> None:
        """Let another lead."""
        self.members.drain()
        if self._election is not None:
            self._election.close()
        self._stand_by()

    def ends(self) -> Iterable[Callable[[], object]]:
        """Decide nothing any more; another is elected at once."""
        election = () if self._election is None else (self._election.close,)
        return (*election, self._stand_by, self._leader.close, *super().ends())
