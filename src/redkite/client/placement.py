"""Resource groups and replicas, as users hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redkite.errors import ParamError
from redkite.model import placement as pl


@dataclass(frozen=True, slots=True)
class ResourceGroupLimit:
    node_num: int = 0


@dataclass(frozen=True, slots=True)
class ResourceGroupTransfer:
    resource_group: str = ""


@dataclass(frozen=True, slots=True)
class NodeLabel:
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class ResourceGroupNodeFilter:
    node_labels: tuple[NodeLabel, ...] = ()


@dataclass(frozen=True, slots=True, init=False)
class ResourceGroupConfig:
    """How many nodes a group wants, and from where.

        ResourceGroupConfig({"node_num": 1}, {"node_num": 2}, transfer_from=[{"resource_group": "spare"}])

    Wherever one is taken, the same as a plain dict is, and the message that Milvus's own SDK has for it.
    """

    requests: ResourceGroupLimit
    """Nodes that the group is to have."""
    limits: ResourceGroupLimit
    """Nodes that it may have."""
    transfer_from: tuple[ResourceGroupTransfer, ...]
    """Groups that nodes come from first."""
    transfer_to: tuple[ResourceGroupTransfer, ...]
    """Groups that nodes which are too many go to first."""
    node_filter: ResourceGroupNodeFilter
    """Only nodes that carry all these labels."""

    def __init__(
        self,
        requests: Mapping[str, int] | ResourceGroupLimit | None = None,
        limits: Mapping[str, int] | ResourceGroupLimit | None = None,
        transfer_from: Sequence[Mapping[str, str] | ResourceGroupTransfer] = (),
        transfer_to: Sequence[Mapping[str, str] | ResourceGroupTransfer] = (),
        node_filter: Mapping[str, Any] | ResourceGroupNodeFilter | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "requests", ResourceGroupLimit(_number("requests", requests)))
        put(self, "limits", ResourceGroupLimit(_number("limits", limits)))
        put(self, "transfer_from", tuple(ResourceGroupTransfer(g) for g in _groups("transfer_from", transfer_from)))
        put(self, "transfer_to", tuple(ResourceGroupTransfer(g) for g in _groups("transfer_to", transfer_to)))
        put(self, "node_filter", ResourceGroupNodeFilter(tuple(NodeLabel(*pair) for pair in _labels(node_filter))))


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A query node."""

    node_id: int
    address: str
    hostname: str


@dataclass(frozen=True, slots=True)
class ResourceGroupInfo:
    """A resource group as it is now."""

    name: str
    capacity: int
    num_available_node: int
    num_loaded_replica: dict[str, int]
    """Collection -> its replicas here."""
    num_outgoing_node: dict[str, int]
    """Collection -> nodes of other groups that its replicas here use."""
    num_incoming_node: dict[str, int]
    """Collection -> nodes of this group that its replicas elsewhere use."""
    config: ResourceGroupConfig
    nodes: list[NodeInfo]


@dataclass(frozen=True, slots=True)
class Shard:
    """A channel of a replica, and the nodes that serve it."""

    channel_name: str
    shard_nodes: set[int]
    shard_leader: int


@dataclass(frozen=True, slots=True)
class ReplicaInfo:
    """One copy of a loaded collection."""

    id: int
    group_nodes: tuple[int, ...]
    shards: list[Shard]
    resource_group: str
    num_outbound_node: dict[str, int]
    """Other resource groups -> how many of their nodes serve it."""


@dataclass(frozen=True, slots=True)
class Replica:
    """The replicas of a collection, as the older classes give them."""

    groups: list[ReplicaInfo]


Group = ReplicaInfo
"""Its name in the older classes."""


# -- from what users give -----------------------------------------------------------------------
def read_config(given: object) -> pl.ResourceGroupConfig:
    """A config of any form -> the struct."""
    if isinstance(given, Mapping):
        unknown = set(given) - {"requests", "limits", "transfer_from", "transfer_to", "node_filter"}
        if unknown:
            raise ParamError(f"a resource group's config has no `{min(unknown)}`")
        wants = {key: given.get(key) for key in ("requests", "limits")}
        others = {key: given.get(key, ()) for key in ("transfer_from", "transfer_to")}
        nodes: object = given.get("node_filter")
    elif all(hasattr(given, key) for key in ("requests", "limits", "transfer_from", "transfer_to")):
        there = _present(given)
        wants = {key: getattr(given, key) if there(key) else None for key in ("requests", "limits")}
        others = {key: getattr(given, key) for key in ("transfer_from", "transfer_to")}
        nodes = getattr(given, "node_filter", None)
    else:
        raise ParamError(f"a resource group's config is a ResourceGroupConfig or a dict, but got {type(given)}")
    return pl.ResourceGroupConfig(
        requests=None if wants["requests"] is None else _number("requests", wants["requests"]),
        limits=None if wants["limits"] is None else _number("limits", wants["limits"]),
        transfer_from=_groups("transfer_from", others["transfer_from"]),
        transfer_to=_groups("transfer_to", others["transfer_to"]),
        node_labels=_labels(nodes),
    )


def _present(given: Any) -> Any:
    """Whether a part is there at all: a message of the protocol knows, an object of ours has all."""
    return getattr(given, "HasField", lambda _: True)


def _number(key: str, given: object) -> int:
    if given is None:
        return 0
    found = given.get("node_num") if isinstance(given, Mapping) else getattr(given, "node_num", None)
    if not isinstance(found, int) or isinstance(found, bool) or (isinstance(given, Mapping) and len(given) != 1):
        raise ParamError(f'`{key}` of a resource group\'s config is {{"node_num": int}}, but got {given!r}')
    return found


def _groups(key: str, given: Any) -> tuple[str, ...]:
    names = []
    for one in given or ():
        name = one.get("resource_group") if isinstance(one, Mapping) else getattr(one, "resource_group", None)
        if not isinstance(name, str):
            raise ParamError(f'`{key}` of a resource group\'s config is [{{"resource_group": str}}], but has {one!r}')
        names.append(name)
    return tuple(names)


def _labels(given: Any) -> tuple[tuple[str, str], ...]:
    labels = (given or {}).get("node_labels", ()) if isinstance(given, Mapping) else getattr(given, "node_labels", ())
    pairs = []
    for one in labels:
        pair = (one.get("key"), one.get("value")) if isinstance(one, Mapping) else (one.key, one.value)
        if not all(isinstance(part, str) for part in pair):
            raise ParamError(f'node_labels are [{{"key": str, "value": str}}], but there is {one!r}')
        pairs.append(pair)
    return tuple((str(key), str(value)) for key, value in pairs)


# -- to what users see --------------------------------------------------------------------------
def shown_group(found: pl.ResourceGroup) -> ResourceGroupInfo:
    config = found.config
    return ResourceGroupInfo(
        name=found.name,
        capacity=found.capacity,
        num_available_node=found.available_nodes,
        num_loaded_replica=found.loaded_replicas,
        num_outgoing_node=found.outgoing_nodes,
        num_incoming_node=found.incoming_nodes,
        config=ResourceGroupConfig(
            ResourceGroupLimit(config.requests or 0),
            ResourceGroupLimit(config.limits or 0),
            tuple(ResourceGroupTransfer(name) for name in config.transfer_from),
            tuple(ResourceGroupTransfer(name) for name in config.transfer_to),
            ResourceGroupNodeFilter(tuple(NodeLabel(*pair) for pair in config.node_labels)),
        ),
        nodes=[NodeInfo(node.node_id, node.address, node.hostname) for node in found.nodes],
    )


def shown_replica(found: pl.Replica) -> ReplicaInfo:
    shards = [Shard(shard.channel, set(shard.node_ids), shard.leader_id) for shard in found.shards]
    return ReplicaInfo(found.replica_id, found.node_ids, shards, found.group, found.outbound_nodes)
