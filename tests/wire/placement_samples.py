"""Requests and results about resource groups, replicas and calls of old, filled so that a lost field shows."""

from __future__ import annotations

from tests.wire.samples import results_of_all_calls

from redkite.model import describing, external, legacy, placement, requests, results
from redkite.model.schema import FunctionSchema
from redkite.model.types import FunctionType

MODULES = (placement, legacy, external, describing)
_CONFIG = placement.ResourceGroupConfig(
    requests=0, limits=2, transfer_from=("a", "b"), transfer_to=("c",), node_labels=(("zone", "ä"),)
)
_HERE = {"database": "shop", "collection": "books"}
_JOB = external.RefreshJobInfo(
    job_id=3, collection="books", state=2, progress=50, reason="why", source="s3://x", spec="{}", start_ms=5, end_ms=6
)


def placement_requests() -> list[requests.Request]:
    return [
        placement.CreateResourceGroup(name="g", config=_CONFIG),
        placement.UpdateResourceGroups(
            configs={"g": _CONFIG, "h": placement.ResourceGroupConfig(requests=None, limits=1)}
        ),
        placement.DropResourceGroup(name="g"),
        placement.ListResourceGroups(),
        placement.DescribeResourceGroup(name="g"),
        placement.TransferNode(source="g", target="h", nodes=2),
        placement.TransferReplica(**_HERE, source="g", target="h", replicas=2),
        placement.GetReplicas(**_HERE, collection_id=7, with_shard_nodes=True),
        placement.LoadBalance(**_HERE, source=1, targets=(2, 3), segments=(4,)),
        legacy.CalcDistance(),
        legacy.ReplicateMessage(channel="c"),
        legacy.AddCollectionFunction(**_HERE, function=_function()),
        legacy.DropCollectionFunction(**_HERE, function="f"),
        legacy.RegisterLink(),
        legacy.Dummy(question="{}"),
        external.RefreshExternalCollection(**_HERE, source="s3://x", spec="{}"),
        external.GetRefreshProgress(job_id=3),
        external.ListRefreshJobs(**_HERE),
        describing.BatchDescribeCollection(database="shop", collections=("books", "things")),
    ]


def _function() -> FunctionSchema:
    return FunctionSchema(
        name="f", type=FunctionType.BM25, input_field_names=("a",), output_field_names=("b",), params={"x": "1"}
    )


def placement_results() -> dict[type[requests.Request], results.Result]:
    info = results_of_all_calls()[requests.DescribeCollection]
    assert isinstance(info, results.CollectionInfo)
    shard = placement.ReplicaShard(channel="c0", leader_id=1, leader_address="host", node_ids=(1, 2))
    replica = placement.Replica(
        replica_id=9, collection_id=7, partition_ids=(1, 2), shards=(shard,), node_ids=(1, 2), group="g",
        outbound_nodes={"h": 1},
    )  # fmt: skip
    return {
        placement.ListResourceGroups: placement.ResourceGroups(names=("g", "h")),
        placement.DescribeResourceGroup: placement.ResourceGroup(
            name="g", capacity=2, available_nodes=1, loaded_replicas={"books": 1}, outgoing_nodes={"books": 2},
            incoming_nodes={"things": 3}, config=_CONFIG,
            nodes=(placement.NodeInfo(node_id=1, address="a", hostname="h"),),
        ),
        placement.GetReplicas: placement.Replicas(replicas=(replica,)),
        legacy.Dummy: legacy.DummyAnswer(text="{}"),
        external.RefreshExternalCollection: external.RefreshJob(job_id=3),
        external.GetRefreshProgress: external.RefreshJobs(jobs=(_JOB,)),
        external.ListRefreshJobs: external.RefreshJobs(jobs=(_JOB, _JOB)),
        describing.BatchDescribeCollection: describing.CollectionInfos(found=(info,)),
    }  # fmt: skip
