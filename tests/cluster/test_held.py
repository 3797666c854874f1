"""What a query node holds for several owners at once."""

from __future__ import annotations

import threading
from typing import Any, cast

import numpy as np
import pytest
from tests.engine import schema

from redkite.cluster.held import Beat, CloseSegments, HeldService, Marks, OpenSegment
from redkite.env import Env
from redkite.errors import SegmentGone, StorageError
from redkite.model.segments import SegmentMeta
from redkite.node.querying import QueryNode

NODE, OLD, NEW = 5, 1, 2
"""A query node, and two owners: a channel goes from one to the other."""
SECONDS = 20
META = SegmentMeta(
    segment_id=50, collection_id=3, partition_id=4, channel="c", rows=9, size=99, rows_object="rows", rows_crc=1
)


class Opening:
    """A query node whose first opening waits at a gate, and then fails."""

    node_id = NODE
    pruned = 0

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate
        self.begun = threading.Event()
        self.opened: list[int] = []

    def load_segment(self, meta: SegmentMeta, *_: Any) -> list[Any]:
        if not self.begun.is_set():
            self.begun.set()
            assert self._gate.wait(SECONDS)
            raise StorageError("the store does not answer")
        self.opened.append(meta.segment_id)
        return []

    def release_segments(self, segment_ids: list[int]) -> None:
        self.opened = [i for i in self.opened if i not in segment_ids]


def message(owner: int, at: int) -> OpenSegment:
    none = Marks(META.segment_id, np.empty(0, np.int64), np.empty(0, np.uint64))
    return OpenSegment(node_id=NODE, by=owner, at=at, meta=META, schema=schema(), marks=none, indexes=())


def test_a_segment_that_one_owner_could_not_have_opened_is_there_for_the_other(gate: threading.Event) -> None:
    node = Opening(gate)
    service = HeldService(Env.real(), cast(QueryNode, node))
    first = service.open(message(OLD, 1))
    assert node.begun.wait(SECONDS)
    second = service.open(message(NEW, 1))
    gate.set()
    with pytest.raises(StorageError):
        first.result(SECONDS)
    assert second.result(SECONDS) == []
    assert node.opened == [META.segment_id], "the owner was told that it is open"
    beat = Beat(node_id=NODE, by=NEW, at=1, segment_ids=(META.segment_id,))
    assert service.beat(beat).missing == ()
    service.close_segments(CloseSegments(node_id=NODE, by=NEW, at=2, segment_ids=(META.segment_id,)))
    assert node.opened == []
    service.close()


def test_a_segment_that_nobody_could_open_is_forgotten(gate: threading.Event) -> None:
    gate.set()
    service = HeldService(Env.real(), cast(QueryNode, Opening(gate)))
    with pytest.raises(StorageError):
        service.open(message(OLD, 1)).result(SECONDS)
    assert service.segment_ids == ()
    assert service.metas == ()
    assert service.open(message(OLD, 2)).result(SECONDS) == []
    service.close()


def test_an_opening_that_was_taken_back_before_it_came_is_refused(gate: threading.Event) -> None:
    service = HeldService(Env.real(), cast(QueryNode, Opening(gate)))
    service.close_segments(CloseSegments(node_id=NODE, by=OLD, at=2, segment_ids=(META.segment_id,)))
    with pytest.raises(SegmentGone, match="closed again"):
        service.open(message(OLD, 1))
    service.close()
