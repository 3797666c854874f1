"""Where loaded collections are: resource groups, which hold query nodes, and replicas, which live in groups."""

from __future__ import annotations

import msgspec

from redkite.model.request import Request
from redkite.model.results import Result

DEFAULT_GROUP_CAPACITY = 1_000_000


class ResourceGroupConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes a group wants, and from where. Numbers of nodes are absent (None) where nobody gave them."""

    requests: int | None = None
    """Nodes that the group is to have."""
    limits: int | None = None
    """Nodes that it may have."""
    transfer_from: tuple[str, ...] = ()
    """Groups that nodes come from first."""
    transfer_to: tuple[str, ...] = ()
    """Groups that nodes which are too many go to first."""
    node_labels: tuple[tuple[str, str], ...] = ()
    """Only nodes that carry all of these."""


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A query node."""

    node_id: int
    address: str = ""
    hostname: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class ReplicaShard(msgspec.Struct, frozen=True, kw_only=True):
    """A channel of a collection, as one replica serves it."""

    channel: str
    leader_id: int
    leader_address: str
    node_ids: tuple[int, ...]


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One whole copy of what is loaded of a collection."""

    replica_id: int
    collection_id: int
    partition_ids: tuple[int, ...]
    shards: tuple[ReplicaShard, ...]
    node_ids: tuple[int, ...]
    """Every node that serves it."""
    group: str
    outbound_nodes: dict[str, int]
    """Other groups, and how many of their nodes serve it."""


# -- what is asked ------------------------------------------------------------------------------
class CreateResourceGroup(Request, frozen=True):
    """Existing with the same config is success."""

    name: str
    config: ResourceGroupConfig | None = None


class DropResourceGroup(Request, frozen=True):
    """Missing is success."""

    name: str


class UpdateResourceGroups(Request, frozen=True):
    """All of them, or none."""

    configs: dict[str, ResourceGroupConfig]


class ListResourceGroups(Request, frozen=True):
    """-> ResourceGroups"""


class DescribeResourceGroup(Request, frozen=True):
    """-> ResourceGroup"""

    name: str


class TransferNode(Request, frozen=True):
    source: str
    target: str
    nodes: int


class TransferReplica(Request, frozen=True):
    source: str
    target: str
    collection: str
    replicas: int


class GetReplicas(Request, frozen=True):
    """-> Replicas. By name, else by id."""

    collection: str = ""
    collection_id: int = 0
    with_shard_nodes: bool = True


class LoadBalance(Request, frozen=True):
    """Move sealed segments (empty: all) of a node to others (empty: any)."""

    collection: str
    source: int
    targets: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()


# -- what is answered ---------------------------------------------------------------------------
class ResourceGroups(Result, frozen=True):
    names: tuple[str, ...]


class ResourceGroup(Result, frozen=True):
    name: str
    capacity: int
    available_nodes: int
    loaded_replicas: dict[str, int]
    """Collection -> its replicas here."""
    outgoing_nodes: dict[str, int]
    """Collection -> nodes of other groups that replicas here use."""
    incoming_nodes: dict[str, int]
    """Collection -> nodes of this group that replicas elsewhere use."""
    config: ResourceGroupConfig
    nodes: tuple[NodeInfo, ...]


class Replicas(Result, frozen=True):
    replicas: tuple[Replica, ...]
