"""The awaited methods about nodes. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.arguments import refuse_unknown
from redkite.client.base import ClientBase
from redkite.client.operations import elsewhere, placement
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.pinned import AsyncClientSession
    from redkite.client.placement import ReplicaInfo, ResourceGroupInfo
    from redkite.client.schema import Function

T = TypeVar("T")


class AsyncNodes(ClientBase):
    """Resource groups, replicas and other clusters, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def create_resource_group(
        self,
        name: str,
        timeout: float | None = None,
        *,
        config: object = None,
        **unknown: Never,
    ) -> None:
        return await self._run(placement.create_resource_group(self._session, name, config), timeout, unknown)

    async def update_resource_groups(
        self,
        configs: Mapping[str, object],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(placement.update_resource_groups(self._session, configs), timeout, unknown)

    async def drop_resource_group(
        self,
        name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(placement.drop_resource_group(self._session, name), timeout, unknown)

    async def list_resource_groups(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(placement.list_resource_groups(self._session), timeout, unknown)

    async def describe_resource_group(
        self,
        name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> ResourceGroupInfo:
        return await self._run(placement.describe_resource_group(self._session, name), timeout, unknown)

    async def transfer_node(
        self,
        source_group: str,
        target_group: str,
        num_nodes: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            placement.transfer_node(self._session, source_group, target_group, num_nodes), timeout, unknown
        )

    async def transfer_replica(
        self,
        source: str,
        target: str,
        collection_name: str,
        num_replica: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            placement.transfer_replica(self._session, source, target, collection_name, num_replica), timeout, unknown
        )

    async def describe_replica(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[ReplicaInfo]:
        return await self._run(placement.describe_replica(self._session, collection_name), timeout, unknown)

    async def load_balance(
        self,
        collection_name: str,
        src_node_id: int,
        dst_node_ids: Sequence[int] | None = None,
        sealed_segment_ids: Sequence[int] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            placement.load_balance(self._session, collection_name, src_node_id, dst_node_ids, sealed_segment_ids),
            timeout,
            unknown,
        )

    async def refresh_external_collection(
        self,
        collection_name: str,
        external_source: str = "",
        external_spec: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        return await self._run(
            elsewhere.refresh_external_collection(self._session, collection_name, external_source, external_spec),
            timeout,
            unknown,
        )

    async def get_refresh_external_collection_progress(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> elsewhere.RefreshExternalCollectionJobInfo:
        return await self._run(
            elsewhere.get_refresh_external_collection_progress(self._session, job_id), timeout, unknown
        )

    async def list_refresh_external_collection_jobs(
        self,
        collection_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[elsewhere.RefreshExternalCollectionJobInfo]:
        return await self._run(
            elsewhere.list_refresh_external_collection_jobs(self._session, collection_name), timeout, unknown
        )

    async def add_collection_function(
        self,
        collection_name: str,
        function: Function,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            elsewhere.add_collection_function(self._session, collection_name, function), timeout, unknown
        )

    async def drop_collection_function(
        self,
        collection_name: str,
        function_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            elsewhere.drop_collection_function(self._session, collection_name, function_name), timeout, unknown
        )

    # -- other clusters ----------------------------------------------------------------------
    def session(
        self,
        cluster_id: str,
    ) -> AsyncClientSession:
        from redkite.client.pinned import AsyncClientSession

        return AsyncClientSession(self, cluster_id)

    def dump_messages(
        self,
        pchannel: str,
        start_message_id: Mapping[str, object],
        start_timetick: int = 0,
        end_timetick: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> AsyncIterator[dict[str, Any]]:
        from redkite.client import dumping

        refuse_unknown("dump_messages", unknown, signature(self.dump_messages).parameters)
        wanted, start = dumping.asked(pchannel, start_message_id, start_timetick, end_timetick)
        return dumping.every_awaited(
            wanted, start, lambda position: self._run(dumping.read_page(self._session, position), timeout, {})
        )
