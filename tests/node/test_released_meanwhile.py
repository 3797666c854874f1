"""A collection, or a partition, that is released after a read was planned and before it looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import MilvusException
from redkite.model import requests as rq
from redkite.node.serving import Serving

VECTORS = np.random.default_rng(3).normal(size=(40, DIM)).astype(np.float32)


def released_before_the_view(monkeypatch: pytest.MonkeyPatch, engine: Engine, release: rq.Request) -> None:
    """Have `release` happen just before the next read takes its view."""
    taken = Serving._view_now

    def later(self: Serving, *given: object) -> object:
        monkeypatch.setattr(Serving, "_view_now", taken)
        engine.call(release)
        return taken(self, *given)

    monkeypatch.setattr(Serving, "_view_now", later)


def filled(path: Path) -> Engine:
    engine = Engine(str(path / "a.db"))
    engine.create(index="FLAT")
    engine.call(rq.CreatePartition(collection=NAME, partition="p"))
    engine.insert(range(20), VECTORS[:20], range(20))
    engine.insert(range(20, 40), VECTORS[20:], range(20), partition="p")
    engine.call(rq.LoadPartitions(collection=NAME, partitions=("_default", "p")))
    return engine


@pytest.mark.parametrize("sealed", [False, True])
def test_a_query_is_told_that_the_collection_was_released_and_not_that_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    engine = filled(tmp_path)
    if sealed:
        engine.flush()
    released_before_the_view(monkeypatch, engine, rq.ReleaseCollection(collection=NAME))
    with pytest.raises(MilvusException, match="collection not loaded") as caught:
        engine.query("id == 3")
    assert caught.value.code == 101
    engine.close()


def test_a_read_does_not_leave_out_a_partition_that_was_released_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = filled(tmp_path)
    engine.flush()
    released_before_the_view(monkeypatch, engine, rq.ReleasePartitions(collection=NAME, partitions=("p",)))
    with pytest.raises(MilvusException, match="not loaded"):
        engine.query("id >= 0", fields=("id",))
    assert len(engine.query("id >= 0", fields=("id",), limit=100)["id"]) == 20
    engine.close()
