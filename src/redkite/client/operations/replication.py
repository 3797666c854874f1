"""Replication: who follows whom, and how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redkite.client import arguments
from redkite.client.arguments import illegal
from redkite.client.session import Operation, Session, ask
from redkite.model import replication as rp
from redkite.model.results import Done


def update_replicate_configuration(
    session: Session,
    clusters: Sequence[Mapping[str, Any]] | None,
    cross_cluster_topology: Sequence[Mapping[str, str]] | None,
    force_promote: bool,
) -> Operation[None]:
    given: Any = clusters
    if not isinstance(given, Sequence) or not given:
        raise illegal("clusters", clusters)
    configuration = rp.ReplicateConfiguration(
        clusters=tuple(_cluster(one) for one in given),
        edges=tuple(
            rp.Edge(source=str(e["source_cluster_id"]), target=str(e["target_cluster_id"]))
            for e in cross_cluster_topology or ()
        ),
    )
    request = rp.UpdateReplicateConfiguration(
        database=session.database, configuration=configuration,
        force_promote=arguments.flag("force_promote", force_promote),
    )  # fmt: skip
    yield from ask(request, Done)


def _cluster(given: Mapping[str, Any]) -> rp.ClusterAt:
    if "cluster_id" not in given:
        raise illegal("clusters", given)
    reached = given.get("connection_param") or {}
    return rp.ClusterAt(
        cluster_id=str(given["cluster_id"]), uri=str(reached.get("uri", "")), token=str(reached.get("token", "")),
        pchannels=tuple(str(name) for name in given.get("pchannels") or ()),
    )  # fmt: skip


def get_replicate_configuration(session: Session) -> Operation[dict[str, Any]]:
    found = (yield from ask(rp.GetReplicateConfiguration(database=session.database), rp.ReplicationSetUp)).configuration
    return {
        "clusters": [
            {
                "cluster_id": c.cluster_id,
                "connection_param": {"uri": c.uri, "token": c.token},
                "pchannels": list(c.pchannels),
            }
            for c in found.clusters
        ],
        "cross_cluster_topology": [{"source_cluster_id": e.source, "target_cluster_id": e.target} for e in found.edges],
    }


def get_replicate_info(session: Session, source_cluster_id: str, target_pchannel: str) -> Operation[dict[str, Any]]:
    request = rp.GetReplicateInfo(
        database=session.database, source_cluster_id=arguments.name("source_cluster_id", source_cluster_id),
        target_pchannel=arguments.optional_name("target_pchannel", target_pchannel),
    )  # fmt: skip
    found = yield from ask(request, rp.ReplicateInfo)
    return {"checkpoint": _shown(found.checkpoint), "salvage_checkpoint": _shown(found.salvage)}


def _shown(found: rp.Checkpoint | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "cluster_id": found.cluster_id,
        "pchannel": found.pchannel,
        "message_id": {"id": found.message_id, "wal_name": "Unknown"},
        "time_tick": found.timestamp,
    }
