"""What a reader of a change feed may not do, whatever it sends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine, schema

from redkite.model import changes as ch
from redkite.model import replication as rp
from redkite.model import requests as rq
from redkite.model.changes import ChannelPlace, FeedPosition


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "data"))
    yield made
    made.close()


def test_a_position_that_names_channels_of_another_collection_shows_nothing_of_it(engine: Engine) -> None:
    engine.create()
    other = msgspec.structs.replace(schema(), name="open")
    engine.call(rq.CreateCollection(schema=other))
    engine.insert([1], np.zeros((1, DIM), np.float32), [1])
    hidden = engine.database.service.call(rq.DescribeCollection(collection=NAME)).virtual_channels
    page = engine.call(ch.ReadChanges(collection="open"))
    position = FeedPosition.from_text(page.end)
    forged = msgspec.structs.replace(position, places={**position.places, **dict.fromkeys(hidden, ChannelPlace())})
    told = engine.call(ch.ReadChanges(collection="open", position=forged.to_text()))
    assert told.changes == ()


def test_counting_at_a_time_to_come_makes_a_follower_pass_over_nothing(engine: Engine, tmp_path: Path) -> None:
    engine.create()
    target = Engine(str(tmp_path / "target"))
    applied = target.call(rp.ApplyReplication(source_cluster_id="s", begin=True))

    def carry(at: str) -> str:
        page = engine.call(rp.ReadReplication(name="f", position=at))
        return str(target.call(rp.ApplyReplication(source_cluster_id="s", page=page)).position)

    engine.insert([1], np.zeros((1, DIM), np.float32), [1])
    position = carry(applied.position)
    for _ in range(3):
        position = carry(position)
    later = engine.call(rq.AllocTimestamp()).timestamp + (1000 << 18)  # as of a page with writes under way
    target.call(rp.CountEverything(timestamp=later, checksums=True))
    engine.insert([2], np.zeros((1, DIM), np.float32), [2])
    carry(position)
    mine, theirs = (one.call(rp.CountEverything()) for one in (engine, target))
    assert mine.totals[0].rows == theirs.totals[0].rows == 2
    target.close()
