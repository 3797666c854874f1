"""The awaited methods about change feeds and replication. Documented at their blocking twins."""

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
    from redkite.client.changes import AsyncChangeStream
    from redkite.model.changes import FeedInfo

T = TypeVar("T")


class AsyncChanges(ClientBase):
    """Change feeds and replication, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
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
    ) -> AsyncChangeStream:
        from redkite.client.changes import AsyncChangeStream

        refuse_unknown("changes", unknown, signature(self.changes).parameters)
        run = partial(self._run, unknown={})
        return AsyncChangeStream(
            run, self._session, collection_name, position, initial, name, batch_rows, wait, database
        )

    async def list_change_feeds(
        self, collection_name: str | None = None, timeout: float | None = None, **unknown: Never
    ) -> list[FeedInfo]:
        return await self._run(operations.list_change_feeds(self._session, collection_name), timeout, unknown)

    async def drop_change_feed(
        self, name: str, collection_name: str | None = None, timeout: float | None = None, **unknown: Never
    ) -> None:
        return await self._run(operations.drop_change_feed(self._session, name, collection_name), timeout, unknown)

    # -- replication ----------------------------------------------------------------------------
    async def update_replicate_configuration(
        self,
        clusters: Sequence[Mapping[str, Any]] | None = None,
        cross_cluster_topology: Sequence[Mapping[str, str]] | None = None,
        force_promote: bool = False,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            replication.update_replicate_configuration(self._session, clusters, cross_cluster_topology, force_promote),
            timeout,
            unknown,
        )

    async def get_replicate_configuration(self, timeout: float | None = None, **unknown: Never) -> dict[str, Any]:
        return await self._run(replication.get_replicate_configuration(self._session), timeout, unknown)

    async def get_replicate_info(
        self, source_cluster_id: str, target_pchannel: str, timeout: float | None = None, **unknown: Never
    ) -> dict[str, Any]:
        return await self._run(
            replication.get_replicate_info(self._session, source_cluster_id, target_pchannel), timeout, unknown
        )
