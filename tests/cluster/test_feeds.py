"""A change feed of a cluster: read where the shards are, whoever owns them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME, Engine

from redkite.model import changes as ch
from redkite.model import replication as rp
from redkite.model import requests as rq


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"))
    yield made
    made.close()


def insert(engine: Engine, keys: range) -> None:
    vectors = np.random.default_rng(1).random((len(keys), DIM), dtype=np.float32)
    engine.insert(keys, vectors, keys)


def feed(engine: Engine, position: str = "", start: str = "now") -> tuple[list[ch.Change], str]:
    """Everything there is behind a position, and the position behind that."""
    found: list[ch.Change] = []
    while True:
        page = engine.call(ch.ReadChanges(collection=NAME, position=position, start=start))
        found += page.changes
        position = page.end
        if not page.more:
            return found, position


def keys(told: list[ch.Change]) -> list[int]:
    return sorted(key for change in told if change.keys is not None for key in change.keys.to_pylist())


@pytest.mark.timeout(120)
def test_a_feed_tells_what_the_owners_of_all_shards_have_logged(engine: ClusterEngine) -> None:
    engine.create(shards=2)
    insert(engine, range(40))
    told, position = feed(engine, start="snapshot")
    assert keys(told) == list(range(40))
    insert(engine, range(100, 110))
    engine.delete("id in [1, 2]")
    engine.flush()
    told, position = feed(engine, position)
    assert {c.kind for c in told} == {"upsert", "delete"} and keys(told) == [1, 2, *range(100, 110)]
    engine.call(rq.TruncateCollection(collection=NAME))
    assert [c.kind for c in feed(engine, position)[0]] == ["truncated", "truncated"]


@pytest.mark.timeout(120)
def test_a_database_is_carried_into_a_cluster(engine: ClusterEngine, tmp_path: Path) -> None:
    source = Engine(str(tmp_path / "source"))
    source.create(shards=2)
    insert(source, range(50))
    source.delete("id == 3")
    applied = engine.call(rp.ApplyReplication(source_cluster_id="source", begin=True))
    for more in (range(0), range(60, 70)):
        insert(source, more) if more else None
        while True:
            page = source.call(rp.ReadReplication(name="f", position=applied.position))
            applied = engine.call(rp.ApplyReplication(source_cluster_id="source", page=page))
            if not page.items and not page.more:
                break
    mine, theirs = (one.call(rp.CountEverything(checksums=True)) for one in (source, engine))
    assert mine.totals == theirs.totals and mine.totals[0].rows == 59
    source.close()


@pytest.mark.timeout(120)
def test_readers_that_wait_for_changes_keep_nobody_from_deciding(engine: ClusterEngine) -> None:
    engine.create()
    position = feed(engine)[1]
    service = engine.cluster.service(0)
    waiting = [service.call(ch.ReadChanges(collection=NAME, position=position, wait_ms=20_000)) for _ in range(20)]
    made = service.call(rq.CreatePartition(collection=NAME, partition="p"))
    assert isinstance(made, Future)
    made.result(30)
    told = waiting[0].result(30)
    assert [c.kind for c in told.changes] == ["partition_created"]
