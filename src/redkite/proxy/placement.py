"""Requests about resource groups and replicas: where what is loaded lives."""

from __future__ import annotations

from collections.abc import Callable

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import (
    CollectionNotFound,
    CollectionNotFullyLoaded,
    CollectionNotLoaded,
    InvalidParameter,
    MilvusException,
    SegmentGone,
)
from redkite.model import placement as pl
from redkite.model import results as rs
from redkite.model.rules.names import check_resource_group_name
from redkite.model.segments import LoadEntry, ReplicaRecord
from redkite.node.topology import Topology

DONE = rs.Done()
_NO_NODE = 901
_NO_SEGMENT = 600


class Placement:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None]) -> None:
        self._topology = topology
        self._root = topology.root
        self._loads = topology.loads
        self._groups = topology.loads.groups
        self._changed = changed

    # -- resource groups ------------------------------------------------------------------------
    def create_group(self, request: pl.CreateResourceGroup) -> rs.Done:
        check_resource_group_name(request.name, self._topology.limits)
        self._groups.create(request.name, request.config)
        return self._follow()

    def update_groups(self, request: pl.UpdateResourceGroups) -> rs.Done:
        self._groups.update(request.configs)
        return self._follow()

    def drop_group(self, request: pl.DropResourceGroup) -> rs.Done:
        self._loads.drop_group(request.name)
        return DONE

    def list_groups(self, _: pl.ListResourceGroups) -> pl.ResourceGroups:
        return pl.ResourceGroups(names=self._groups.names())

    def transfer_node(self, request: pl.TransferNode) -> rs.Done:
        self._groups.transfer_nodes(request.source, request.target, request.nodes)
        return self._follow()

    def transfer_replica(self, request: pl.TransferReplica) -> rs.Done:
        meta = self._root.find(request.database, request.collection)
        self._loads.transfer_replicas(meta.collection_id, request.source, request.target, request.replicas)
        self._move(meta)
        return DONE

    def _follow(self) -> rs.Done:
        """Bring what is loaded to the nodes that its groups have now."""
        for entry in self._loads.entries():
            try:
                self._move(self._root.find_by_id(entry.collection_id))
            except CollectionNotFound:
                continue  # dropped meanwhile
        return DONE

    def _move(self, meta: CollectionMeta) -> None:
        self._changed()
        for shard in self._topology.open_shards(meta):
            shard.reload()

    def describe_group(self, request: pl.DescribeResourceGroup) -> pl.ResourceGroup:
        group = self._groups.need(request.name)
        loaded: dict[str, int] = {}
        outgoing: dict[str, int] = {}
        incoming: dict[str, int] = {}
        for meta, replica, nodes in self._replicas():
            inside = sum(node in group.nodes for node in nodes)
            if replica.group == group.name:
                loaded[meta.name] = loaded.get(meta.name, 0) + 1
                if len(nodes) > inside:
                    outgoing[meta.name] = outgoing.get(meta.name, 0) + len(nodes) - inside
            elif inside:
                incoming[meta.name] = incoming.get(meta.name, 0) + inside
        return pl.ResourceGroup(
            name=group.name,
            capacity=group.capacity,
            available_nodes=len(group.nodes),
            loaded_replicas=loaded,
            outgoing_nodes=outgoing,
            incoming_nodes=incoming,
            config=group.config,
            nodes=tuple(node for node in self._groups.nodes if node.node_id in group.nodes),
        )

    def _replicas(self) -> list[tuple[CollectionMeta, ReplicaRecord, tuple[int, ...]]]:
        """Every replica of every loaded collection, and the nodes that serve it."""
        found = []
        for meta in self._root.all_collections():
            entry = self._loads.entry(meta.collection_id)
            if entry is not None:
                nodes = self._loads.replica_nodes(entry)
                found += [(meta, replica, nodes[replica.replica_id]) for replica in entry.copies]
        return found

    # -- replicas -------------------------------------------------------------------------------
    def replicas(self, request: pl.GetReplicas) -> pl.Replicas:
        if request.collection:
            meta = self._root.find(request.database, request.collection)
        else:
            meta = self._root.find_by_id(request.collection_id)
        entry = self._loads.entry(meta.collection_id)
        if entry is None:
            return pl.Replicas(replicas=())
        nodes, with_shards = self._loads.replica_nodes(entry), request.with_shard_nodes
        shown = (self._replica(meta, entry, copy, nodes[copy.replica_id], with_shards) for copy in entry.copies)
        return pl.Replicas(replicas=tuple(shown))

    def _replica(
        self, meta: CollectionMeta, entry: LoadEntry, copy: ReplicaRecord, nodes: tuple[int, ...], with_shards: bool
    ) -> pl.Replica:
        leader = nodes[0] if nodes else 0  # none: its group has too few nodes just now
        info = self._groups.node(leader)
        outbound: dict[str, int] = {}
        for node in nodes:
            group = self._groups.group_of(node)
            if group != copy.group:
                outbound[group] = outbound.get(group, 0) + 1
        shards = tuple(
            pl.ReplicaShard(
                channel=channel,
                leader_id=leader,
                leader_address="" if info is None else info.address,
                node_ids=nodes if with_shards else (),
            )
            for channel in meta.channels
        )
        return pl.Replica(
            replica_id=copy.replica_id,
            collection_id=meta.collection_id,
            partition_ids=tuple(p.partition_id for p in meta.partitions if entry.covers(p.partition_id)),
            shards=shards,
            node_ids=nodes,
            group=copy.group,
            outbound_nodes=outbound,
        )

    def balance(self, request: pl.LoadBalance) -> rs.Done:
        """Where a replica has one node, everything is where it can only be; nothing moves."""
        meta = self._root.find(request.database, request.collection)
        entry = self._loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        if self._loads.progress(meta.collection_id) is not None:
            raise CollectionNotFullyLoaded.named(meta.name)
        nodes = self._loads.replica_nodes(entry).values()
        near = next((those for those in nodes if request.source in those), None)
        if near is None:
            raise _node_not_found("source node not found in any replica", request.source)
        for target in request.targets:
            if target not in near:
                raise _node_not_found("destination node not found in the same replica", target)
            if target == request.source:
                raise InvalidParameter(f"the destination node {target} is the source node")
        held = {segment.segment_id for segment in self._topology.data.segments(meta.collection_id)}
        for segment in request.segments:
            if segment not in held:
                text = f"segment not found in source node: segment not found[segment={segment}]"
                raise SegmentGone(text, _NO_SEGMENT)
        if len(near) > 1:
            for shard in self._topology.shards(meta):
                shard.clear_node(request.source, request.targets, request.segments)
        return DONE


def _node_not_found(why: str, node: int) -> MilvusException:
    return MilvusException(f"{why}: node not found[node={node}]", _NO_NODE)
