"""REST: resource groups, replicas, segments, and what is refused about collections over files."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.model import external as ex
from redkite.model import legacy as lg
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.upkeep import SegmentLevel, SegmentState
from redkite.server.rest.bodies import (
    Body,
    CollectionNameReq,
    EmptyReq,
    FunctionBody,
    OptionalCollectionNameReq,
    Part,
)
from redkite.server.rest.exchange import Endpoint, Exchange, answer
from redkite.server.rest.schemas import added_function

_REFRESH_STATES = ("RefreshPending", "RefreshInProgress", "RefreshCompleted", "RefreshFailed")


# -- bodies -------------------------------------------------------------------------------------
class _Limit(Part, frozen=True):
    node_num: int = msgspec.field(default=0, name="node_num")


class _Transfer(Part, frozen=True):
    resource_group: str = msgspec.field(default="", name="resource_group")


class _Label(Part, frozen=True):
    key: str = ""
    value: str = ""


class _Filter(Part, frozen=True):
    node_labels: tuple[_Label, ...] = msgspec.field(default=(), name="node_labels")


class GroupConfig(Part, frozen=True):
    """Its keys are written as in the protocol's messages."""

    requests: _Limit | None = None
    limits: _Limit | None = None
    transfer_from: tuple[_Transfer, ...] = msgspec.field(default=(), name="transfer_from")
    transfer_to: tuple[_Transfer, ...] = msgspec.field(default=(), name="transfer_to")
    node_filter: _Filter = msgspec.field(default=_Filter(), name="node_filter")

    def config(self) -> pl.ResourceGroupConfig:
        return pl.ResourceGroupConfig(
            requests=None if self.requests is None else self.requests.node_num,
            limits=None if self.limits is None else self.limits.node_num,
            transfer_from=tuple(transfer.resource_group for transfer in self.transfer_from),
            transfer_to=tuple(transfer.resource_group for transfer in self.transfer_to),
            node_labels=tuple((label.key, label.value) for label in self.node_filter.node_labels),
        )


class ResourceGroupReq(Body, frozen=True):
    required = ("name",)
    name: str = ""


class CreateResourceGroupReq(ResourceGroupReq, frozen=True):
    title = "ResourceGroupReq"
    config: GroupConfig | None = None


class UpdateResourceGroupReq(Body, frozen=True):
    required = ("resource_groups",)
    resource_groups: dict[str, GroupConfig] = msgspec.field(default={}, name="resource_groups")


class TransferReplicaReq(Body, frozen=True):
    required = ("source_rg_name", "target_rg_name", "collection_name", "replica_num")
    source_rg_name: str = ""
    target_rg_name: str = ""
    collection_name: str = ""
    replica_num: int = 0


class SegmentsReq(Body, frozen=True):
    title = "GetSegmentsInfoReq"
    collection_id: int = msgspec.field(default=0, name="collectionID")
    segment_ids: tuple[int, ...] = msgspec.field(default=(), name="segmentIDs")


class CollectionAddFunctionReq(CollectionNameReq, frozen=True):
    title = "CollectionAddFunction"
    required = ("collection_name", "function")
    function: FunctionBody = FunctionBody()


class CollectionDropFunctionReq(CollectionNameReq, frozen=True):
    title = "CollectionDropFunction"
    required = ("collection_name", "function_name")
    function_name: str = msgspec.field(default="", name="FunctionName")


class RefreshReq(CollectionNameReq, frozen=True):
    external_source: str = ""
    external_spec: str = ""


class RefreshJobReq(Body, frozen=True):
    required = ("job_id",)
    job_id: int = 0


# -- resource groups ----------------------------------------------------------------------------
async def _create(exchange: Exchange, body: CreateResourceGroupReq) -> bytes:
    config = None if body.config is None else body.config.config()
    return await exchange.tell(pl.CreateResourceGroup(database=exchange.database, name=body.name, config=config))


async def _drop(exchange: Exchange, body: ResourceGroupReq) -> bytes:
    return await exchange.tell(pl.DropResourceGroup(database=exchange.database, name=body.name))


async def _alter(exchange: Exchange, body: UpdateResourceGroupReq) -> bytes:
    configs = {name: config.config() for name, config in body.resource_groups.items()}
    return await exchange.tell(pl.UpdateResourceGroups(database=exchange.database, configs=configs))


async def _list(exchange: Exchange, _body: EmptyReq) -> bytes:
    found = await exchange.ask(pl.ListResourceGroups(database=exchange.database), pl.ResourceGroups)
    return answer(found.names)


async def _describe(exchange: Exchange, body: ResourceGroupReq) -> bytes:
    request = pl.DescribeResourceGroup(database=exchange.database, name=body.name)
    found = await exchange.ask(request, pl.ResourceGroup)
    return answer({
        "name": found.name,
        "capacity": found.capacity,
        "num_available_node": found.available_nodes,
        "num_loaded_replica": found.loaded_replicas,
        "num_outgoing_node": found.outgoing_nodes,
        "num_incoming_node": found.incoming_nodes,
        "config": _shown_config(found.config),
        "nodes": [{"node_id": n.node_id, "address": n.address, "hostname": n.hostname} for n in found.nodes],
    })  # fmt: skip


def _shown_config(config: pl.ResourceGroupConfig) -> dict[str, Any]:
    return {
        "requests": {"node_num": config.requests or 0},
        "limits": {"node_num": config.limits or 0},
        "transfer_from": [{"resource_group": name} for name in config.transfer_from],
        "transfer_to": [{"resource_group": name} for name in config.transfer_to],
        "node_filter": {"node_labels": [{"key": key, "value": value} for key, value in config.node_labels]},
    }


async def _transfer(exchange: Exchange, body: TransferReplicaReq) -> bytes:
    return await exchange.tell(
        pl.TransferReplica(
            database=exchange.database,
            source=body.source_rg_name,
            target=body.target_rg_name,
            collection=body.collection_name,
            replicas=body.replica_num,
        )
    )


# -- segments -----------------------------------------------------------------------------------
async def _segments(exchange: Exchange, body: SegmentsReq) -> bytes:
    """What is stored has no logs of its own: those lists are empty."""
    described = rq.DescribeCollection(database=exchange.database, collection="", collection_id=body.collection_id)
    info = await exchange.ask(described, rs.CollectionInfo)
    request = rq.ListPersistentSegments(
        database=info.database, collection=info.schema.name, states=tuple(int(state) for state in SegmentState)
    )
    found = await exchange.ask(request, rs.Segments)
    wanted = set(body.segment_ids)
    return answer({
        "segmentInfos": [
            {
                "segmentID": segment.segment_id,
                "collectionID": segment.collection_id,
                "partitionID": segment.partition_id,
                "vChannel": segment.insert_channel,
                "numRows": segment.num_rows,
                "state": _STATE_NAMES[segment.state],
                "level": _LEVEL_NAMES[segment.level],
                "isSorted": segment.is_sorted,
                "insertLogs": [],
                "deltaLogs": [],
                "statsLogs": [],
            }
            for segment in found.segments
            if not wanted or segment.segment_id in wanted
        ]
    })  # fmt: skip


_STATE_NAMES = {
    SegmentState.GROWING: "Growing", SegmentState.SEALED: "Sealed", SegmentState.FLUSHED: "Flushed",
    SegmentState.FLUSHING: "Flushing", SegmentState.DROPPED: "Dropped", SegmentState.IMPORTING: "Importing",
    SegmentState.NOT_EXIST: "NotExist", SegmentState.NONE: "SegmentStateNone",
}  # fmt: skip
_LEVEL_NAMES = {
    SegmentLevel.LEGACY: "Legacy", SegmentLevel.L0: "L0", SegmentLevel.L1: "L1", SegmentLevel.L2: "L2",
}  # fmt: skip


# -- what is refused ----------------------------------------------------------------------------
async def _add_function(exchange: Exchange, body: CollectionAddFunctionReq) -> bytes:
    return await exchange.tell(
        lg.AddCollectionFunction(
            database=exchange.database, collection=body.collection_name, function=added_function(body.function)
        )
    )


async def _drop_function(exchange: Exchange, body: CollectionDropFunctionReq) -> bytes:
    return await exchange.tell(
        lg.DropCollectionFunction(
            database=exchange.database, collection=body.collection_name, function=body.function_name
        )
    )


async def _refresh(exchange: Exchange, body: RefreshReq) -> bytes:
    request = ex.RefreshExternalCollection(
        database=exchange.database,
        collection=body.collection_name,
        source=body.external_source,
        spec=body.external_spec,
    )
    found = await exchange.ask(request, ex.RefreshJob)
    return answer({"jobId": found.job_id})


async def _refresh_job(exchange: Exchange, body: RefreshJobReq) -> bytes:
    request = ex.GetRefreshProgress(database=exchange.database, job_id=body.job_id)
    (job,) = (await exchange.ask(request, ex.RefreshJobs)).jobs
    return answer(_shown_job(job))


async def _refresh_jobs(exchange: Exchange, body: OptionalCollectionNameReq) -> bytes:
    request = ex.ListRefreshJobs(database=exchange.database, collection=body.collection_name)
    found = await exchange.ask(request, ex.RefreshJobs)
    return answer({"records": [_shown_job(job) for job in found.jobs]})


def _shown_job(job: ex.RefreshJobInfo) -> dict[str, Any]:
    return {
        "jobId": job.job_id,
        "collectionName": job.collection,
        "state": _REFRESH_STATES[job.state],
        "progress": job.progress,
        "reason": job.reason,
        "externalSource": job.source,
        "externalSpec": job.spec,
        "startTime": job.start_ms,
        "endTime": job.end_ms,
    }


ENDPOINTS = {
    "resource_groups/create": Endpoint(CreateResourceGroupReq, _create),
    "resource_groups/drop": Endpoint(ResourceGroupReq, _drop),
    "resource_groups/describe": Endpoint(ResourceGroupReq, _describe),
    "resource_groups/alter": Endpoint(UpdateResourceGroupReq, _alter),
    "resource_groups/list": Endpoint(EmptyReq, _list),
    "resource_groups/transfer_replica": Endpoint(TransferReplicaReq, _transfer),
    "segments/describe": Endpoint(SegmentsReq, _segments),
    "collections/add_function": Endpoint(CollectionAddFunctionReq, _add_function),
    "collections/drop_function": Endpoint(CollectionDropFunctionReq, _drop_function),
    "jobs/external_collection/refresh": Endpoint(RefreshReq, _refresh),
    "jobs/external_collection/describe": Endpoint(RefreshJobReq, _refresh_job),
    "jobs/external_collection/list": Endpoint(OptionalCollectionNameReq, _refresh_jobs),
}
