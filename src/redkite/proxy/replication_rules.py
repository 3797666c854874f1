"""What a configuration of replication may say."""

from __future__ import annotations

from collections import Counter

from redkite.errors import InvalidParameter
from redkite.model.replication import ReplicateConfiguration


def check_configuration(wanted: ReplicateConfiguration, me: str) -> None:
    """Raises InvalidParameter. A star: one cluster that all others follow, and nobody else."""
    ids = [cluster.cluster_id for cluster in wanted.clusters]
    if not ids:
        raise InvalidParameter("clusters list cannot be empty")
    twice = sorted(name for name, count in Counter(ids).items() if count > 1 or not name)
    if twice:
        raise InvalidParameter(f"duplicate or empty clusterID found: '{twice[0]}'")
    if me not in ids:
        raise InvalidParameter(f"current cluster '{me}' is not among the clusters", expected=me, actual=",".join(ids))
    for cluster in wanted.clusters:
        if not cluster.uri.strip():
            raise InvalidParameter(f"cluster '{cluster.cluster_id}' has no connection_param.uri")
    counts = {len(cluster.pchannels) for cluster in wanted.clusters if cluster.pchannels}
    if len(counts) > 1:
        raise InvalidParameter("all clusters must have the same number of pchannels")
    for edge in wanted.edges:
        for name in (edge.source, edge.target):
            if name not in ids:
                raise InvalidParameter(f"the topology names a cluster that is not among the clusters: '{name}'")
        if edge.source == edge.target:
            raise InvalidParameter(f"cluster '{edge.source}' cannot follow itself")
    if len({edge.source for edge in wanted.edges}) > 1:
        raise InvalidParameter("the topology must be a star: only one cluster may be a source")
    if len({edge.target for edge in wanted.edges}) < len(wanted.edges):
        raise InvalidParameter("a cluster can follow only one other")
