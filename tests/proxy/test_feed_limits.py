"""Readers of change feeds: there may be so many, and one whose node is gone holds nobody else up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine import NAME, Engine, schema

from redkite.errors import InvalidParameter, LimitReached
from redkite.model import changes as ch
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.proxy import feed_keeping
from redkite.proxy.feed_keeping import Keeping


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(str(tmp_path / "data"))
    made.create()
    yield made
    made.close()


def read(engine: Engine, reader: int = 0, position: str = "", name: str = "", collection: str = NAME) -> Any:
    return engine.call(ch.ReadChanges(collection=collection, reader=reader, position=position, name=name))


def keeping_of(engine: Engine) -> Keeping:
    keeping: Keeping = engine.database.service._feeds.keeping  # type: ignore[attr-defined]
    return keeping


def test_readers_with_a_number_are_so_many_and_the_next_is_told(engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setattr(feed_keeping, "MAX_READERS", 3)
    ends = [read(engine, reader).end for reader in (1, 2, 3)]
    with pytest.raises(LimitReached, match="there are 3 readers of change feeds without a name already: give yours a"):
        read(engine, 4)
    read(engine, 2, ends[1])  # those that there are go on
    read(engine, name="mine")  # and so do those that have a name
    assert len(keeping_of(engine)._readers) == 3


def test_readers_without_a_number_leave_the_last_of_their_places_only(engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setattr(feed_keeping, "MAX_READERS", 3)
    position = read(engine).end
    for key in range(10):
        engine.insert([key], [[0.0] * 8], [key])
        page = read(engine, position=position)
        assert [change.keys.to_pylist() for change in page.changes] == [[key]]
        position = page.end
    assert len(keeping_of(engine)._readers) == 3
    read(engine, 7)  # they take nothing from those with a number


def test_the_places_of_all_readers_together_are_bounded(engine: Engine, monkeypatch: Any) -> None:
    monkeypatch.setattr(feed_keeping, "MAX_PLACES", 2)
    read(engine, 1)
    read(engine, 2)
    with pytest.raises(LimitReached, match="read 2 channels already"):
        read(engine, 3)


def test_a_readers_number_is_not_less_than_0(engine: Engine) -> None:
    with pytest.raises(InvalidParameter, match="reader is -1"):
        read(engine, -1)


def test_a_feed_whose_log_does_not_answer_holds_no_other_up(engine: Engine, monkeypatch: Any) -> None:
    engine.call(rq.CreateCollection(schema=_named("away")))
    topology = engine.database.topology
    away = set(topology.root.find("", "away").channels)
    goes_on, asked = threading.Event(), threading.Event()
    whole = feed_keeping.shard_of

    def shard_of(topology_: Any, meta: Any, channel: str) -> Any:
        if channel in away:
            asked.set()
            goes_on.wait(60)
        return whole(topology_, meta, channel)

    monkeypatch.setattr(feed_keeping, "shard_of", shard_of)
    service = engine.database.service
    stuck = [
        service.call(ch.ReadChanges(collection="away", name="far")),
        service.call(ch.ReadChanges(collection="away", reader=5)),
    ]
    assert asked.wait(30)
    begun = time.monotonic()
    position = read(engine, 1).end
    read(engine, name="near")
    read(engine, 1, position)
    engine.call(ch.AcknowledgeFeed(collection=NAME, name="near", position=position))
    assert [feed.name for feed in engine.call(ch.ListFeeds(collection=NAME)).feeds] == ["near"]
    keeping_of(engine)._check_soon()  # what a timer calls
    assert time.monotonic() - begun < 50
    goes_on.set()
    for answer in stuck:
        assert isinstance(answer.result(30), rs.Result)  # type: ignore[union-attr]


def _named(name: str) -> Any:
    import msgspec

    return msgspec.structs.replace(schema(), name=name)
