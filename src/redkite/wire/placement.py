"""Resource groups and replicas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.model import placement as pl
from redkite.model.results import Done
from redkite.wire.codec import Codec, codec, command, done, nothing, question


# -- configs ------------------------------------------------------------------------------------
def read_config(message: Any) -> pl.ResourceGroupConfig:
    return pl.ResourceGroupConfig(
        requests=message.requests.node_num if message.HasField("requests") else None,
        limits=message.limits.node_num if message.HasField("limits") else None,
        transfer_from=tuple(transfer.resource_group for transfer in message.transfer_from),
        transfer_to=tuple(transfer.resource_group for transfer in message.transfer_to),
        node_labels=tuple((pair.key, pair.value) for pair in message.node_filter.node_labels),
    )


def write_config(message: Any, config: pl.ResourceGroupConfig) -> None:
    if config.requests is not None:
        message.requests.node_num = config.requests
        message.requests.SetInParent()  # also where the number is zero
    if config.limits is not None:
        message.limits.node_num = config.limits
        message.limits.SetInParent()
    for group in config.transfer_from:
        message.transfer_from.add().resource_group = group
    for group in config.transfer_to:
        message.transfer_to.add().resource_group = group
    for key, value in config.node_labels:
        pair = message.node_filter.node_labels.add()
        pair.key, pair.value = key, value


def _decode_create(message: Any, database: str) -> pl.CreateResourceGroup:
    config = read_config(message.config) if message.HasField("config") else None
    return pl.CreateResourceGroup(database=database, name=message.resource_group, config=config)


def _pack_create(message: Any, request: pl.CreateResourceGroup) -> None:
    message.resource_group = request.name
    if request.config is not None:
        message.config.SetInParent()
        write_config(message.config, request.config)


def _decode_update(message: Any, database: str) -> pl.UpdateResourceGroups:
    configs = {name: read_config(config) for name, config in message.resource_groups.items()}
    return pl.UpdateResourceGroups(database=database, configs=configs)


def _pack_update(message: Any, request: pl.UpdateResourceGroups) -> None:
    for name, config in request.configs.items():
        message.resource_groups[name].SetInParent()
        write_config(message.resource_groups[name], config)


# -- groups -------------------------------------------------------------------------------------
def _encode_names(message: Any, result: pl.ResourceGroups) -> None:
    message.resource_groups.extend(result.names)


def _unpack_names(message: Any) -> pl.ResourceGroups:
    return pl.ResourceGroups(names=tuple(message.resource_groups))


def _encode_group(message: Any, result: pl.ResourceGroup) -> None:
    out = message.resource_group
    out.name = result.name
    out.capacity = result.capacity
    out.num_available_node = result.available_nodes
    _fill(out.num_loaded_replica, result.loaded_replicas)
    _fill(out.num_outgoing_node, result.outgoing_nodes)
    _fill(out.num_incoming_node, result.incoming_nodes)
    write_config(out.config, result.config)
    for node in result.nodes:
        out.nodes.add(node_id=node.node_id, address=node.address, hostname=node.hostname)


def _fill(message: Any, counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        message[name] = count


def _unpack_group(message: Any) -> pl.ResourceGroup:
    found = message.resource_group
    return pl.ResourceGroup(
        name=found.name,
        capacity=found.capacity,
        available_nodes=found.num_available_node,
        loaded_replicas=dict(found.num_loaded_replica),
        outgoing_nodes=dict(found.num_outgoing_node),
        incoming_nodes=dict(found.num_incoming_node),
        config=read_config(found.config),
        nodes=tuple(pl.NodeInfo(node_id=n.node_id, address=n.address, hostname=n.hostname) for n in found.nodes),
    )


# -- replicas -----------------------------------------------------------------------------------
def _encode_replicas(message: Any, result: pl.Replicas) -> None:
    for replica in result.replicas:
        out = message.replicas.add()
        out.replicaID = replica.replica_id
        out.collectionID = replica.collection_id
        out.partition_ids.extend(replica.partition_ids)
        for shard in replica.shards:
            out.shard_replicas.add(
                leaderID=shard.leader_id,
                leader_addr=shard.leader_address,
                dm_channel_name=shard.channel,
                node_ids=shard.node_ids,
            )
        out.node_ids.extend(replica.node_ids)
        out.resource_group_name = replica.group
        _fill(out.num_outbound_node, replica.outbound_nodes)


def _unpack_replicas(message: Any) -> pl.Replicas:
    return pl.Replicas(
        replicas=tuple(
            pl.Replica(
                replica_id=found.replicaID,
                collection_id=found.collectionID,
                partition_ids=tuple(found.partition_ids),
                shards=tuple(
                    pl.ReplicaShard(
                        channel=shard.dm_channel_name,
                        leader_id=shard.leaderID,
                        leader_address=shard.leader_addr,
                        node_ids=tuple(shard.node_ids),
                    )
                    for shard in found.shard_replicas
                ),
                node_ids=tuple(found.node_ids),
                group=found.resource_group_name,
                outbound_nodes=dict(found.num_outbound_node),
            )
            for found in message.replicas
        )
    )


_GROUP = {"name": "resource_group"}
_TRANSFER = {"source": "source_resource_group", "target": "target_resource_group"}
_BALANCE = {"collection": "collectionName", "source": "src_nodeID"}

CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "CreateResourceGroup", pl.CreateResourceGroup, Done, decode=_decode_create, pack=_pack_create,
        encode=nothing, unpack=done,
    ),
    command("DropResourceGroup", pl.DropResourceGroup, _GROUP),
    codec(
        "UpdateResourceGroups", pl.UpdateResourceGroups, Done, decode=_decode_update, pack=_pack_update,
        encode=nothing, unpack=done,
    ),
    question(
        "ListResourceGroups", pl.ListResourceGroups, pl.ResourceGroups, encode=_encode_names, unpack=_unpack_names
    ),
    question(
        "DescribeResourceGroup", pl.DescribeResourceGroup, pl.ResourceGroup, _GROUP,
        encode=_encode_group, unpack=_unpack_group,
    ),
    command("TransferNode", pl.TransferNode, {**_TRANSFER, "nodes": "num_node"}),
    command(
        "TransferReplica", pl.TransferReplica,
        {**_TRANSFER, "collection": "collection_name", "replicas": "num_replica"},
    ),
    question(
        "GetReplicas", pl.GetReplicas, pl.Replicas,
        {
            "collection": "collection_name", "collection_id": "collectionID", "with_shard_nodes": "with_shard_nodes",
        },
        encode=_encode_replicas, unpack=_unpack_replicas,
    ),
    command(
        "LoadBalance", pl.LoadBalance, _BALANCE, {"targets": "dst_nodeIDs", "segments": "sealed_segmentIDs"}
    ),
)  # fmt: skip
