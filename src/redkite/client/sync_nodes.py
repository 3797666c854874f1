"""The blocking methods about nodes: resource groups, replicas, and other clusters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.arguments import refuse_unknown
from redkite.client.base import ClientBase
from redkite.client.operations import elsewhere, placement
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.pinned import ClientSession
    from redkite.client.placement import ReplicaInfo, ResourceGroupInfo
    from redkite.client.schema import Function

T = TypeVar("T")


class SyncNodes(ClientBase):
    """Resource groups, replicas and other clusters, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def create_resource_group(
        self,
        name: str,
        timeout: float | None = None,
        *,
        config: object = None,
        **unknown: Never,
    ) -> None:
        """Create a resource group. One that exists with the same config is no error.

        Args:
            name: Letters, digits and underscores.
            timeout: Seconds.
            config: How many nodes it is to have; a `ResourceGroupConfig` or a dict. Without one it gets none.

        Raises:
            ResourceGroupExists: There is one with another config.
        """
        return self._run(placement.create_resource_group(self._session, name, config), timeout, unknown)

    def update_resource_groups(
        self,
        configs: Mapping[str, object],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Give resource groups other configs, all of them or none. Nodes, and what is loaded on them, move at once."""
        return self._run(placement.update_resource_groups(self._session, configs), timeout, unknown)

    def drop_resource_group(
        self,
        name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a resource group without nodes and replicas, whose limit is 0. Missing is no error."""
        return self._run(placement.drop_resource_group(self._session, name), timeout, unknown)

    def list_resource_groups(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of all resource groups, the default one first."""
        return self._run(placement.list_resource_groups(self._session), timeout, unknown)

    def describe_resource_group(
        self,
        name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> ResourceGroupInfo:
        """A resource group: its config, its nodes, and what is loaded on them."""
        return self._run(placement.describe_resource_group(self._session, name), timeout, unknown)

    def transfer_node(
        self,
        source_group: str,
        target_group: str,
        num_nodes: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Move so many nodes from one resource group to another, by changing what both want."""
        return self._run(
            placement.transfer_node(self._session, source_group, target_group, num_nodes), timeout, unknown
        )

    def transfer_replica(
        self,
        source_group: str,
        target_group: str,
        collection_name: str,
        num_replicas: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Move so many replicas of a loaded collection from one resource group to another."""
        return self._run(
            placement.transfer_replica(self._session, source_group, target_group, collection_name, num_replicas),
            timeout,
            unknown,
        )

    def describe_replica(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[ReplicaInfo]:
        """The replicas of a collection, and the nodes that serve them; none while it is not loaded."""
        return self._run(placement.describe_replica(self._session, collection_name), timeout, unknown)

    def load_balance(
        self,
        collection_name: str,
        src_node_id: int,
        dst_node_ids: Sequence[int] | None = None,
        sealed_segment_ids: Sequence[int] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Move segments from one node to others. With one node there is nothing to move."""
        return self._run(
            placement.load_balance(self._session, collection_name, src_node_id, dst_node_ids, sealed_segment_ids),
            timeout,
            unknown,
        )

    def refresh_external_collection(
        self,
        collection_name: str,
        external_source: str = "",
        external_spec: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        """Look at the files of a collection over files anew; the id of a job. Redkite has no such collections."""
        return self._run(
            elsewhere.refresh_external_collection(self._session, collection_name, external_source, external_spec),
            timeout,
            unknown,
        )

    def get_refresh_external_collection_progress(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> elsewhere.RefreshExternalCollectionJobInfo:
        """How far such a job is."""
        return self._run(elsewhere.get_refresh_external_collection_progress(self._session, job_id), timeout, unknown)

    def list_refresh_external_collection_jobs(
        self,
        collection_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[elsewhere.RefreshExternalCollectionJobInfo]:
        """The jobs of a collection, or all."""
        return self._run(
            elsewhere.list_refresh_external_collection_jobs(self._session, collection_name), timeout, unknown
        )

    def add_collection_function(
        self,
        collection_name: str,
        function: Function,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Refused by servers: `add_function_field` adds a function together with the field that it fills."""
        return self._run(elsewhere.add_collection_function(self._session, collection_name, function), timeout, unknown)

    def drop_collection_function(
        self,
        collection_name: str,
        function_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Refused by servers: `drop_function_field` drops a function together with the field that it fills."""
        return self._run(
            elsewhere.drop_collection_function(self._session, collection_name, function_name), timeout, unknown
        )

    # -- other clusters ----------------------------------------------------------------------
    def session(
        self,
        cluster_id: str,
    ) -> ClientSession:
        """This client's reads, which only the cluster of that name answers: another one refuses them with CrossCluster.

        For several clusters that replicate, behind one address. The session has `search`, `hybrid_search`, `query`,
        `get` and the iterators, and no connection of its own.
        """
        from redkite.client.pinned import ClientSession

        return ClientSession(self, cluster_id)

    def dump_messages(
        self,
        pchannel: str,
        start_message_id: Mapping[str, object],
        start_timetick: int = 0,
        end_timetick: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> Iterator[dict[str, Any]]:
        """The messages of a channel's log from a place on, with the definitions between them: one dict each, with
        `message_id`, `payload` and `properties`. Ends at what there is when it gets there.

        Args:
            pchannel: The physical channel, such as `by-dev-rootcoord-dml_0`.
            start_message_id: `{"id": …}`, as `get_replicate_info` has it; `"earliest"`: everything there is.
            start_timetick: Only what was written at this hybrid timestamp or later; 0: all.
            end_timetick: Only what was written up to this one; 0: all.
            timeout: Seconds, for each request that it makes.
        """
        from redkite.client import dumping

        refuse_unknown("dump_messages", unknown, signature(self.dump_messages).parameters)
        wanted, start = dumping.asked(pchannel, start_message_id, start_timetick, end_timetick)
        return dumping.every(
            wanted, start, lambda position: self._run(dumping.read_page(self._session, position), timeout, {})
        )
