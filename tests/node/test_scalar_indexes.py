"""Indexes over values are built behind the rows, kept through restarts and compaction, and used by filters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

import redkite
from redkite.cluster.reading import open_for_reading
from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model.segments import SegmentMeta
from redkite.node.streaming import SealPolicy
from redkite.ops.report import Kind
from redkite.segment.sealed import SealedSegment
from redkite.simulated import simulated_env

ROWS = 3_000


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, DIM)).astype(np.float32)


def fill(engine: Engine, first: int = 0, rows: int = ROWS) -> None:
    ids = range(first, first + rows)
    words = [None if i % 7 == 0 else f"word {i:05}" for i in ids]
    engine.insert(ids, vectors(rows), [i % 100 for i in ids], words)
    engine.flush()


def index(engine: Engine, field: str, kind: str, **params: str) -> None:
    engine.call(rq.CreateIndex(collection=NAME, field=field, params={"index_type": kind, **params}))


def metas(engine: Engine) -> list[SegmentMeta]:
    topology = engine.database.topology
    return list(topology.data.segments(topology.root.find("", NAME).collection_id))


def segments(engine: Engine) -> list[SealedSegment]:
    """As the query nodes hold them."""
    topology = engine.database.topology
    placements = topology.shards(topology.root.find("", NAME))[0].view.placements
    return [p.peer._segments[i] for p in placements for i in p.all_ids]


def answers(engine: Engine, field: str) -> int:
    """How often indexes over a field were used."""
    return sum(found.answers for s in segments(engine) for found in s.columns(s.meta.rows).indexes_of(field))


def built(engine: Engine, name: str) -> bool:
    (found,) = engine.call(rq.DescribeIndex(collection=NAME, index_name=name)).indexes
    return found.state == 3 and found.indexed_rows == found.total_rows


class Reader(Engine):
    """The same database, read beside the one that writes it."""

    def open(self) -> None:
        self.database = open_for_reading(self.path)  # type: ignore[assignment]  # the parts of it that are used here


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


@pytest.fixture
def engine() -> Engine:
    engine = Engine("db", simulated_env(5), {"policy": SealPolicy(rows=1 << 30)})
    engine.create()
    return engine


def run(engine: Engine) -> None:
    assert engine.env is not None
    engine.env.run_until_idle()  # type: ignore[attr-defined]


def test_an_index_is_built_over_rows_that_were_there_before_and_over_later_ones(engine: Engine) -> None:
    fill(engine)
    index(engine, "word", "INVERTED")
    run(engine)
    assert built(engine, "word")
    fill(engine, ROWS)
    run(engine)
    assert built(engine, "word")
    assert engine.query('word == "word 00001" or word == "word 03001"', fields=("id",))["id"] == [1, 3001]


def test_a_filter_uses_an_index_where_it_costs_less(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.index.scalar.column.SEARCH_NS", 0.0)
    index(engine, "number", "STL_SORT")
    fill(engine)
    run(engine)
    assert engine.count("number == 7") == ROWS // 100
    assert answers(engine, "number") == 1
    assert engine.count("number >= 50") == ROWS // 2
    assert answers(engine, "number") == 1, "what keeps half of the rows is looked at"


def test_an_index_is_there_after_a_restart(engine: Engine) -> None:
    index(engine, "word", "NGRAM", min_gram="3", max_gram="4")
    fill(engine)
    run(engine)
    engine.reopen()
    engine.call(rq.LoadCollection(collection=NAME))
    assert [len(s.columns(ROWS).indexes_of("word")) for s in segments(engine)] == [1]
    assert engine.query('word like "%0290%"', fields=("id",))["id"] == [290, *(i for i in range(2900, 2910) if i % 7)]


def test_a_dropped_index_is_gone_from_reads_and_from_the_disk(engine: Engine) -> None:
    index(engine, "number", "INVERTED")
    index(engine, "word", "TRIE")
    fill(engine)
    run(engine)
    assert len(metas(engine)[0].indexes) == 3
    engine.call(rq.DropIndex(collection=NAME, index_name="word"))
    assert len(metas(engine)[0].indexes) == 2
    assert segments(engine)[0].columns(ROWS).indexes_of("word") == ()
    assert len(segments(engine)[0].columns(ROWS).indexes_of("number")) == 1
    topology = engine.database.topology
    named = topology.data.object_names()
    stored = topology.store.list("segments/")
    assert {n for n in stored if "index" in n} == {n for n in named if "index" in n}


def test_compaction_makes_segments_with_their_indexes(engine: Engine) -> None:
    index(engine, "number", "BITMAP")
    for part in range(3):
        fill(engine, part * ROWS)
    run(engine)
    engine.call(rq.Compact(collection=NAME))
    run(engine)
    (left,) = metas(engine)
    assert left.rows == 3 * ROWS
    assert built(engine, "number")
    assert len(segments(engine)[0].columns(left.rows).indexes_of("number")) == 1
    assert engine.count("number == 3") == 3 * ROWS // 100


def test_vectors_do_not_count_as_indexed_because_values_are() -> None:
    engine = Engine("db", simulated_env(6))
    engine.create(index="FLAT")
    index(engine, "number", "INVERTED")
    fill(engine)
    run(engine)
    topology = engine.database.topology
    assert topology.shards(topology.root.find("", NAME))[0].unindexed_rows() == ROWS


def test_reads_of_the_past_do_without_an_index(engine: Engine) -> None:
    index(engine, "word", "INVERTED")
    fill(engine)
    run(engine)
    segment = segments(engine)[0]
    assert segment.columns(10).indexes_of("word") == ()


def test_one_field_has_one_index_and_one_name_stands_for_one(engine: Engine) -> None:
    index(engine, "number", "INVERTED")
    index(engine, "number", "INVERTED")
    with pytest.raises(InvalidParameter, match="at most one distinct index is allowed per field"):
        index(engine, "number", "STL_SORT")
    with pytest.raises(InvalidParameter, match="creating multiple indexes on same field is not supported"):
        engine.call(rq.CreateIndex(collection=NAME, field="number", index_name="n2", params={"index_type": "BITMAP"}))


def test_a_reader_beside_the_writer_maps_the_same_index(tmp_path: Path) -> None:
    path = str(tmp_path / "shared.db")
    writer = Engine(path)
    writer.create(index="FLAT")
    index(writer, "word", "INVERTED")
    fill(writer)
    wait_until(lambda: built(writer, "word"))
    reader = Reader(path)
    try:
        wait_until(lambda: len(segments(reader)) == 1 and bool(segments(reader)[0].columns(ROWS).indexes_of("word")))
        assert reader.query('word in ["word 00001", "word 02999"]', fields=("id",))["id"] == [1, 2999]
        writer.call(rq.DropIndex(collection=NAME, index_name="word"))
        one = 'word == "word 00001"'
        # A reader looks at the catalog when it is asked something.
        wait_until(lambda: reader.count(one) == 1 and not segments(reader)[0].columns(ROWS).indexes_of("word"))
    finally:
        reader.close()
        writer.close()


def test_a_damaged_index_is_built_again_and_nothing_is_lost(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "d.db"))
    engine.create(index="FLAT")
    index(engine, "number", "STL_SORT")
    fill(engine)
    wait_until(lambda: built(engine, "number"))
    (file,) = metas(engine)[0].indexes
    engine.close()
    place = tmp_path / "d.db" / "objects" / file.object
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)
    (finding,) = redkite.verify(engine.path).findings
    assert finding.kind is Kind.INDEX
    engine.open()
    try:
        assert engine.count("number == 7") == ROWS // 100
        wait_until(lambda: built(engine, "number") and metas(engine)[0].indexes != (file,))
        assert engine.count("number == 7") == ROWS // 100
    finally:
        engine.close()


def test_every_read_is_right_while_indexes_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.index.scalar.column.SEARCH_NS", 0.0)
    engine = Engine(str(tmp_path / "busy.db"))
    engine.create(index="FLAT")
    fill(engine)
    right = [i for i in range(ROWS) if i % 100 == 7 and i % 7]
    wrong: list[Any] = []
    done = threading.Event()

    def look() -> None:
        number = 0
        while not done.is_set():
            number += 1  # another filter each time, so that no mask is kept for it
            found = engine.query(f'number == 7 and word like "word 0%" and id > -{number}', fields=("id",))["id"]
            wrong.extend([found] if found != right else [])

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(3):
            index(engine, "number", "BITMAP")
            index(engine, "word", "TRIE")
            wait_until(lambda: built(engine, "number") and built(engine, "word"))
            for name in ("number", "word"):
                engine.call(rq.DropIndex(collection=NAME, index_name=name))
    finally:
        done.set()
        reader.join()
        engine.close()
    assert wrong == []
