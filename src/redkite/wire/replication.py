"""Replication: Milvus's calls about who follows whom, and Redkite's own that carry what is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.errors import WireError
from redkite.model import replication as rp
from redkite.model.decoding import from_msgpack
from redkite.model.results import Done
from redkite.wire.codec import Codec, codec, command, done, nothing, question


# -- who follows whom ---------------------------------------------------------------------------
def _configuration(message: Any) -> rp.ReplicateConfiguration:
    clusters = tuple(
        rp.ClusterAt(
            cluster_id=c.cluster_id, uri=c.connection_param.uri, token=c.connection_param.token,
            pchannels=tuple(c.pchannels),
        )
        for c in message.clusters
    )  # fmt: skip
    edges = tuple(
        rp.Edge(source=e.source_cluster_id, target=e.target_cluster_id) for e in message.cross_cluster_topology
    )
    return rp.ReplicateConfiguration(clusters=clusters, edges=edges)


def _write_configuration(message: Any, configuration: rp.ReplicateConfiguration) -> None:
    message.SetInParent()
    for cluster in configuration.clusters:
        one = message.clusters.add(cluster_id=cluster.cluster_id, pchannels=cluster.pchannels)
        one.connection_param.uri, one.connection_param.token = cluster.uri, cluster.token
    for edge in configuration.edges:
        message.cross_cluster_topology.add(source_cluster_id=edge.source, target_cluster_id=edge.target)


def _decode_update(message: Any, database: str) -> rp.UpdateReplicateConfiguration:
    return rp.UpdateReplicateConfiguration(
        database=database, configuration=_configuration(message.replicate_configuration),
        force_promote=message.force_promote,
    )  # fmt: skip


def _pack_update(message: Any, request: rp.UpdateReplicateConfiguration) -> None:
    _write_configuration(message.replicate_configuration, request.configuration)
    message.force_promote = request.force_promote


def _encode_set_up(message: Any, result: rp.ReplicationSetUp) -> None:
    _write_configuration(message.configuration, result.configuration)


def _write_checkpoint(message: Any, found: rp.Checkpoint | None) -> None:
    if found is not None:
        message.cluster_id, message.pchannel, message.time_tick = found.cluster_id, found.pchannel, found.timestamp
        message.message_id.id = found.message_id


def _encode_info(message: Any, result: rp.ReplicateInfo) -> None:
    _write_checkpoint(message.checkpoint, result.checkpoint)
    _write_checkpoint(message.salvage_checkpoint, result.salvage)


def _checkpoint(message: Any, name: str) -> rp.Checkpoint | None:
    if not message.HasField(name):
        return None
    found = getattr(message, name)
    return rp.Checkpoint(
        cluster_id=found.cluster_id, pchannel=found.pchannel, message_id=found.message_id.id,
        timestamp=found.time_tick,
    )  # fmt: skip


# -- what is sent -------------------------------------------------------------------------------
class _Applying(msgspec.Struct, frozen=True, array_like=True):
    page: rp.ReplicationPage
    begin: bool
    hand_over: bool
    after: str | None = None


def _decoded(data: bytes, kind: type[Any]) -> Any:
    try:
        return from_msgpack(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"what is replicated cannot be read: {error}") from None


def _decode_apply(message: Any, database: str) -> rp.ApplyReplication:
    found = _decoded(message.page, _Applying)
    return rp.ApplyReplication(
        database=database, source_cluster_id=message.source_cluster_id, page=found.page, begin=found.begin,
        hand_over=found.hand_over, after=found.after,
    )  # fmt: skip


def _pack_apply(message: Any, request: rp.ApplyReplication) -> None:
    message.source_cluster_id = request.source_cluster_id
    message.page = msgspec.msgpack.encode(_Applying(request.page, request.begin, request.hand_over, request.after))


def _encode_page(message: Any, result: rp.ReplicationPage | rp.Applied | rp.Totals) -> None:
    message.page = msgspec.msgpack.encode(result)


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "UpdateReplicateConfiguration", rp.UpdateReplicateConfiguration, Done, decode=_decode_update,
        pack=_pack_update, encode=nothing, unpack=done,
    ),
    question(
        "GetReplicateConfiguration", rp.GetReplicateConfiguration, rp.ReplicationSetUp, encode=_encode_set_up,
        unpack=lambda message: rp.ReplicationSetUp(configuration=_configuration(message.configuration)),
    ),
    question(
        "GetReplicateInfo", rp.GetReplicateInfo, rp.ReplicateInfo,
        {"source_cluster_id": "source_cluster_id", "target_pchannel": "target_pchannel"}, encode=_encode_info,
        unpack=lambda message: rp.ReplicateInfo(
            checkpoint=_checkpoint(message, "checkpoint"), salvage=_checkpoint(message, "salvage_checkpoint")
        ),
    ),
    question(
        "ReadReplication", rp.ReadReplication, rp.ReplicationPage,
        {name: name for name in ("name", "position", "start", "max_bytes", "wait_ms")}, encode=_encode_page,
        unpack=lambda message: _decoded(message.page, rp.ReplicationPage),
    ),
    codec(
        "ApplyReplication", rp.ApplyReplication, rp.Applied, decode=_decode_apply, pack=_pack_apply,
        encode=_encode_page, unpack=lambda message: _decoded(message.page, rp.Applied),
    ),
    question(
        "CountEverything", rp.CountEverything, rp.Totals,
        {"timestamp": "timestamp", "checksums": "checksums"}, encode=_encode_page,
        unpack=lambda message: _decoded(message.page, rp.Totals),
    ),
    command("FreezeWrites", rp.FreezeWrites, {"frozen": "frozen", "reason": "reason"}),
)  # fmt: skip
