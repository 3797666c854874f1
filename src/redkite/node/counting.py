"""Asks the nodes that hold a shard's rows what BM25 wants to know of them."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.errors import CollectionNotLoaded, SegmentGone
from redkite.node.shard import Shard
from redkite.query.plan import SearchPlan, TextCounts
from redkite.query.text_counts import count_segments


def count_words(
    shard: Shard, plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int | None = None
) -> tuple[int, list[TextCounts]]:
    """The timestamp that was read at (None: the newest), and what each node counts, of the rows that the statistics of
    the plan's collection are of: whatever its filter, in all partitions that are loaded."""
    assert plan.scoring is not None, "only searches by BM25 want statistics"
    whole = msgspec.structs.replace(plan, partitions=plan.scoring.partitions, ignore_growing=False)
    while True:
        view = shard.view
        try:
            return view.read(
                shard.collection.name,
                whole,
                timestamp,
                lambda segments, at: count_segments(segments, whole, dims, at),
                lambda peer, ids, at: peer.count_words(ids, whole, dims, at),
            )
        except SegmentGone:
            if view is shard.view:
                raise CollectionNotLoaded.named(shard.collection.name) from None
            # Else segments were swapped for others after the view was taken.
