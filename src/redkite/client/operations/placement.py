"""Resource groups, replicas, and where segments are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redkite.client import arguments
from redkite.client.placement import ReplicaInfo, ResourceGroupInfo, read_config, shown_group, shown_replica
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model import placement as pl
from redkite.model.results import Done


def create_resource_group(session: Session, name: str, config: object) -> Operation[None]:
    request = pl.CreateResourceGroup(
        database=session.database,
        name=arguments.name("name", name),
        config=None if config is None else read_config(config),
    )
    yield from ask(request, Done)


def update_resource_groups(session: Session, configs: Mapping[str, object]) -> Operation[None]:
    given: object = configs
    if not isinstance(given, Mapping) or not given:
        raise ParamError(f"`configs` is a dict from names to configs, but got {configs!r}")
    read = {arguments.name("name", name): read_config(config) for name, config in configs.items()}
    yield from ask(pl.UpdateResourceGroups(database=session.database, configs=read), Done)


def drop_resource_group(session: Session, name: str) -> Operation[None]:
    yield from ask(pl.DropResourceGroup(database=session.database, name=arguments.name("name", name)), Done)


def list_resource_groups(session: Session) -> Operation[list[str]]:
    found = yield from ask(pl.ListResourceGroups(database=session.database), pl.ResourceGroups)
    return list(found.names)


def describe_resource_group(session: Session, name: str) -> Operation[ResourceGroupInfo]:
    request = pl.DescribeResourceGroup(database=session.database, name=arguments.name("name", name))
    return shown_group((yield from ask(request, pl.ResourceGroup)))


def transfer_node(session: Session, source: str, target: str, num_node: int) -> Operation[None]:
    request = pl.TransferNode(
        database=session.database,
        source=arguments.name("source", source),
        target=arguments.name("target", target),
        nodes=arguments.integer("num_node", num_node),
    )
    yield from ask(request, Done)


def transfer_replica(
    session: Session, source_group: str, target_group: str, collection_name: str, num_replicas: int
) -> Operation[None]:
    request = pl.TransferReplica(
        database=session.database,
        source=arguments.name("source_group", source_group),
        target=arguments.name("target_group", target_group),
        collection=arguments.name("collection_name", collection_name),
        replicas=arguments.integer("num_replicas", num_replicas),
    )
    yield from ask(request, Done)


def describe_replica(session: Session, collection_name: str) -> Operation[list[ReplicaInfo]]:
    name = arguments.name("collection_name", collection_name)
    found = yield from ask(pl.GetReplicas(database=session.database, collection=name), pl.Replicas)
    return [shown_replica(replica) for replica in found.replicas]


def load_balance(
    session: Session,
    collection_name: str,
    src_node_id: int,
    dst_node_ids: Sequence[int] | None,
    sealed_segment_ids: Sequence[int] | None,
) -> Operation[None]:
    request = pl.LoadBalance(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        source=arguments.integer("src_node_id", src_node_id),
        targets=tuple(arguments.integer("dst_node_ids", node) for node in dst_node_ids or ()),
        segments=tuple(arguments.integer("sealed_segment_ids", segment) for segment in sealed_segment_ids or ()),
    )
    yield from ask(request, Done)
