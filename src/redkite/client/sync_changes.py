"""The blocking methods about change feeds and replication."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.arguments import refuse_unknown
from redkite.client.base import ClientBase
from redkite.client.operations import changes as operations
from redkite.client.operations import replication
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.changes import ChangeStream
    from redkite.model.changes import FeedInfo

T = TypeVar("T")


class SyncChanges(ClientBase):
    """Change feeds and replication, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def changes(
        self,
        collection_name: str | None = None,
        *,
        position: str | None = None,
        initial: operations.Initial = "now",
        name: str | None = None,
        batch_rows: int = 10_000,
        wait: float | None = None,
        database: str | None = None,
        **unknown: Never,
    ) -> ChangeStream:
        """What happens to a collection, or to all of a database, in order, from a position on. Where it begins is
        settled when the first change is asked for, or by `begin()`.

        Args:
            collection_name: Name or alias; None: everything in the database, with collections that come and go.
            position: Go on here: `.position` of a change, or of a stream that was read before.
            initial: Without a position: `"now"`; `"snapshot"`, the rows that are there and then what follows, nothing
                left out and nothing twice; or a time (hybrid timestamp, or `datetime`): what was written after it.
            name: A feed with a name keeps what it has not read, and goes on where it was acknowledged last.
            batch_rows: Rows that one request brings, about.
            wait: Seconds to wait for the next change before the stream ends; 0: it ends when it has caught up; None:
                never.
            database: Instead of the client's own; `"*"`: all of them.

        Returns:
            A `ChangeStream`, an iterator of `Change`.

        Raises:
            ChangesGone: What is behind the position is no longer kept.
        """
        from redkite.client.changes import ChangeStream

        refuse_unknown("changes", unknown, signature(self.changes).parameters)
        run = partial(self._run, unknown={})
        return ChangeStream(run, self._session, collection_name, position, initial, name, batch_rows, wait, database)

    def list_change_feeds(
        self, collection_name: str | None = None, timeout: float | None = None, **unknown: Never
    ) -> list[FeedInfo]:
        """The feeds that have a name: how far each is behind, and what is kept for it."""
        return self._run(operations.list_change_feeds(self._session, collection_name), timeout, unknown)

    def drop_change_feed(
        self, name: str, collection_name: str | None = None, timeout: float | None = None, **unknown: Never
    ) -> None:
        """Forget a feed with a name, and what was kept for it. One that does not exist is no error."""
        return self._run(operations.drop_change_feed(self._session, name, collection_name), timeout, unknown)

    # -- replication ----------------------------------------------------------------------------
    def update_replicate_configuration(
        self,
        clusters: Sequence[Mapping[str, Any]],
        cross_cluster_topology: Sequence[Mapping[str, str]] | None = None,
        force_promote: bool = False,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Say which cluster follows which; told to each of them.

        Args:
            clusters: `{"cluster_id", "connection_param": {"uri", "token"}, "pchannels"}` of each.
            cross_cluster_topology: `{"source_cluster_id", "target_cluster_id"}` for each that follows.
            force_promote: Make this secondary a primary at once. What its primary has not sent is lost to it.
            timeout: Seconds.
        """
        return self._run(
            replication.update_replicate_configuration(self._session, clusters, cross_cluster_topology, force_promote),
            timeout,
            unknown,
        )

    def get_replicate_configuration(self, timeout: float | None = None, **unknown: Never) -> dict[str, Any]:
        """Which cluster follows which, as it was told, without tokens."""
        return self._run(replication.get_replicate_configuration(self._session), timeout, unknown)

    def get_replicate_info(
        self, source_cluster_id: str, target_pchannel: str, timeout: float | None = None, **unknown: Never
    ) -> dict[str, Any]:
        """How far this cluster has followed another: `checkpoint`, and `salvage_checkpoint`, where it stood when it was
        promoted by force; None where there is none."""
        return self._run(
            replication.get_replicate_info(self._session, source_cluster_id, target_pchannel), timeout, unknown
        )
