"""Which proxy of a cluster sends what is written to the clusters that follow it: the first of those that live.

While one goes and the next one comes there may be two. A follower takes each page once, behind the position where it
is, so that is no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from redkite.cluster.membership import Membership
from redkite.coordinator.standing import STATE, Standing, State
from redkite.storage.followed import FollowedCatalog


class ProxySending:
    """What a server asks to know whom to send to; see `server.replicating.Sending`. Safe from any thread."""

    def __init__(
        self, cluster_id: str, standing: Standing, catalog: FollowedCatalog, members: Membership, node_id: int
    ) -> None:
        self.cluster_id = cluster_id
        self.when_changed: Callable[[], None] | None = None
        self._standing, self._catalog, self._members, self._node_id = standing, catalog, members, node_id
        catalog.when_changed(self._changed)
        members.when_changed(self._tell)

    @property
    def state(self) -> State:
        """What this cluster is among clusters, as far as it concerns this proxy: nothing where another one sends."""
        proxies = self._members.nodes("proxy")
        staying = [record.node_id for record in proxies if not record.draining]
        first = min(staying or [record.node_id for record in proxies], default=0)
        return self._standing.state if first == self._node_id and self._members.is_alive else State()

    def finished_stepping_back(self) -> None:
        """The former target has everything, and is the primary."""
        self._standing.save(stepped_back="")

    def _changed(self, changes: Mapping[str, bytes | None]) -> None:
        if STATE in changes:
            self._tell()

    def _tell(self) -> None:
        if self.when_changed is not None:
            self.when_changed()

    def close(self) -> None:
        """Hear of nothing any more."""
        self._catalog.forget_listener(self._changed)
        self._members.forget_listener(self._tell)
