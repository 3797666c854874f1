"""Requests and results about change feeds and replication, filled so that a lost field shows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from tests.wire.samples import rows

from redkite.model import changes as ch
from redkite.model import replication as rp
from redkite.model import requests

MODULES = (ch, rp)
_CONFIGURATION = rp.ReplicateConfiguration(
    clusters=(rp.ClusterAt(cluster_id="a", uri="http://a:1", token="t", pchannels=("p0", "p1")),),
    edges=(rp.Edge(source="a", target="b"),),
)
_PAGE = rp.ReplicationPage(
    items=(rp.ReplicationItem(rp.RECORD, 7, b"bytes", "channel"),), end="end", more=True, timestamp=9
)
_STEP = ch.Step(3, {"c": ch.ChannelPlace(5, 1, ch.Scan(9, 2, "k", True), 4)}, ("gone",), 2)
_CHECKPOINT = rp.Checkpoint(cluster_id="a", pchannel="p", message_id="m", timestamp=5)


def change_requests() -> list[requests.Request]:
    return [
        ch.ReadChanges(
            database="shop", collection="books", position="p", start="snapshot", name="n", max_rows=5, max_bytes=7,
            wait_ms=9, reader=11,
        ),
        ch.ListFeeds(database="shop", collection="books"),
        ch.DropFeed(database="shop", collection="books", name="n"),
        ch.AcknowledgeFeed(database="shop", collection="books", name="n", position="p"),
        rp.UpdateReplicateConfiguration(configuration=_CONFIGURATION, force_promote=True),
        rp.GetReplicateConfiguration(),
        rp.GetReplicateInfo(source_cluster_id="a", target_pchannel="p"),
        rp.ReadReplication(name="n", position="p", start="resume", max_bytes=5, wait_ms=7),
        rp.ApplyReplication(source_cluster_id="a", page=_PAGE, begin=True, hand_over=True, after="o"),
        rp.FreezeWrites(frozen=True, reason="moved"),
        rp.CountEverything(timestamp=5, checksums=True),
    ]  # fmt: skip


def change_results() -> dict[type[requests.Request], Any]:
    batch = rows()
    return {
        ch.ReadChanges: ch.Changes(
            changes=(
                ch.Change(
                    kind="upsert", timestamp=5, database="shop", collection="books", collection_id=3, schema_version=2,
                    rows=batch, keys=batch.column("id"), primary="id", partitions=(("a", 2), ("", 1)), step=_STEP,
                ),
                ch.Change(kind="delete", timestamp=6, database="shop", collection="books", keys=pa.array(["x", "y"])),
                ch.Change(kind="schema_changed", timestamp=7, database="shop", detail={"added": "f"}),
            ),
            position="p", end="q", more=True, timestamp=9,
        ),
        ch.ListFeeds: ch.Feeds(
            feeds=(
                ch.FeedInfo(
                    name="n", database="shop", collection="books", created_ms=1, acknowledged_ms=2, position="p",
                    lag_seconds=0.5, pending_bytes=3, lost="why",
                ),
            )
        ),
        rp.GetReplicateConfiguration: rp.ReplicationSetUp(configuration=_CONFIGURATION),
        rp.GetReplicateInfo: rp.ReplicateInfo(checkpoint=_CHECKPOINT, salvage=_CHECKPOINT),
        rp.ReadReplication: _PAGE,
        rp.ApplyReplication: rp.Applied(position="p", timestamp=5, role="secondary"),
        rp.CountEverything: rp.Totals(
            totals=(rp.Total(database="d", collection="c", rows=5, checksum=1 << 60),), users=("root",), timestamp=3
        ),
    }  # fmt: skip
