"""Rows expire to the millisecond, wherever they lie and however they are looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import NAME, Engine, result

from redkite.model import requests as rq
from redkite.model.batch import arrow_field, vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.timestamps import compose
from redkite.model.types import DataType
from redkite.simulated import SimulatedEnv, simulated_env

DIM = 4
TTL = {"collection.ttl.seconds": "10"}
BY_FIELD = {"ttl_field": "dies"}
SCHEMA = CollectionSchema(
    name=NAME,
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}),
        FieldSchema(name="number", data_type=DataType.INT64),
        FieldSchema(name="dies", data_type=DataType.TIMESTAMPTZ, nullable=True),
    ),
)
VECTORS = np.random.default_rng(5).normal(size=(64, DIM)).astype(np.float32)


class Version:
    """One row as it was written, and until when."""

    def __init__(self, written_ms: int, number: int, dies: int | None) -> None:
        self.written_ms, self.number, self.dies = written_ms, number, dies
        self.replaced_ms: int | None = None

    def visible(self, now_ms: int, properties: dict[str, str]) -> bool:
        seconds = int(properties.get("collection.ttl.seconds", 0))
        if seconds > 0 and now_ms >= self.written_ms + 1000 * seconds:
            return False
        return "ttl_field" not in properties or self.dies is None or 1000 * now_ms < self.dies


@dataclass
class World:
    """An engine on a clock that is told what time it is, beside a model of its rows."""

    properties: dict[str, str]
    index: str = "FLAT"
    env: SimulatedEnv = field(init=False)
    engine: Engine = field(init=False)
    rows: dict[int, Version] = field(default_factory=dict)
    numbers: int = 0

    def __post_init__(self) -> None:
        self.env = simulated_env(3)
        self.engine = Engine("db", self.env)
        call = self.engine.call
        call(rq.CreateCollection(schema=SCHEMA, properties=self.properties))
        call(rq.CreateIndex(collection=NAME, field="vector", params={"index_type": self.index, "metric_type": "L2"}))
        call(rq.LoadCollection(collection=NAME))

    @property
    def now(self) -> int:
        return self.env.clock.now_ms()

    def until(self, milliseconds: int) -> None:
        while self.now < milliseconds:
            self.env.advance(max(milliseconds - self.now, 1) / 1000)

    def write(self, ids: list[int], lives_ms: int | None, partial: bool = False) -> None:
        self.numbers += 1
        dies = None if lives_ms is None else 1000 * (self.now + lives_ms)
        columns = {"id": pa.array(ids), "number": pa.array([self.numbers] * len(ids))}
        if not partial:
            columns |= {"vector": vectors_to_arrow(VECTORS[ids]), "dies": pa.array([dies] * len(ids), pa.int64())}
        fields = [
            arrow_field(name, DataType.TIMESTAMPTZ if name == "dies" else kind, column.type)
            for (name, column), kind in zip(
                columns.items(), (DataType.INT64, DataType.INT64, DataType.FLOAT_VECTOR, DataType.TIMESTAMPTZ),
                strict=False,
            )
        ]  # fmt: skip
        batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))
        result(self.engine.call(rq.Upsert(collection=NAME, rows=batch, partial=partial)))
        for key in ids:
            before = self.rows.get(key)
            self.rows[key] = Version(self.now, self.numbers, before.dies if partial and before else dies)

    def alive(self) -> dict[int, int]:
        return {k: v.number for k, v in self.rows.items() if v.visible(self.now, self.properties)}

    def check(self, **more: Any) -> None:
        """Every way to look finds what the model has."""
        alive = self.alive()
        keys = sorted(alive)
        engine = self.engine
        assert engine.query("number >= 0", fields=("id", "number"), **more) == {
            "id": keys, "number": [alive[k] for k in keys],
        }  # fmt: skip
        assert engine.query(limit=100, fields=("id",), **more)["id"] == keys
        assert engine.query("id in [0, 1, 2, 3, 4, 5, 6, 7]", fields=("id",), **more)["id"] == keys
        assert engine.query(fields=("count(*)",), **more)["count(*)"] == [len(keys)]
        assert engine.query("number >= 0", fields=("count(*)",), **more)["count(*)"] == [len(keys)]
        assert engine.query("id == 3", fields=("count(*)",), **more)["count(*)"] == [int(3 in alive)]
        assert sorted(engine.search(VECTORS[:1], 20, **more).ids.to_pylist()) == keys
        odd = [k for k in keys if alive[k] % 2]
        assert sorted(engine.search(VECTORS[:1], 20, "number % 2 == 1", **more).ids.to_pylist()) == odd


KEYS = st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True)
STEP = st.one_of(
    st.tuples(st.just("write"), KEYS, st.sampled_from([None, 0, 1_000, 4_000, 9_000])),
    st.tuples(st.just("wait"), st.sampled_from([1, 999, 1_000, 2_500, 6_000])),
    st.tuples(st.just("edge")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("delete"), st.integers(0, 5)),
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([TTL, BY_FIELD]), st.lists(STEP, min_size=4, max_size=14))
def test_rows_expire_to_the_millisecond_through_flushes_restarts_and_compactions(
    properties: dict[str, str], steps: list[tuple[Any, ...]]
) -> None:
    world = World(properties)
    for kind, *more in steps:
        if kind == "write":
            world.write(*more)
        elif kind == "wait":
            world.until(world.now + more[0])
        elif kind == "edge":
            for moment in _next_expiry(world):
                world.until(moment)
                world.check()
        elif kind == "flush":
            world.engine.flush()
        elif kind == "reopen":
            world.engine.reopen()
        elif kind == "compact":
            world.engine.call(rq.Compact(collection=NAME))
            world.env.run_until_idle()
        else:
            doomed = [k for k, number in world.alive().items() if number % 6 == more[0]]
            assert world.engine.delete(f"number % 6 == {more[0]}").count == len(doomed)
            world.rows = {k: v for k, v in world.rows.items() if k not in doomed}
        world.check()
    world.engine.close()


def _next_expiry(world: World) -> tuple[int, ...]:
    """The last millisecond before the next row expires, and that moment."""
    seconds = int(world.properties.get("collection.ttl.seconds", 0))
    if seconds:
        moments = [v.written_ms + 1000 * seconds for v in world.rows.values()]
    else:
        moments = [-(-v.dies // 1000) for v in world.rows.values() if v.dies is not None]
    coming = min((m for m in moments if m > world.now), default=None)
    return () if coming is None else (coming - 1, coming)


@pytest.mark.parametrize("properties", [TTL, BY_FIELD])
def test_an_earlier_moment_shows_what_had_not_expired_then(properties: dict[str, str]) -> None:
    world = World(properties)
    start = world.now
    world.write([0, 1], 10_000)
    world.until(start + 5_000)
    world.write([2, 3], 10_000)
    world.engine.flush()
    world.until(start + 16_000)
    world.check()
    assert world.alive() == {}
    for moment, keys in ((4_999, [0, 1]), (9_999, [0, 1, 2, 3]), (10_000, [2, 3]), (14_999, [2, 3]), (15_000, [])):
        found = world.engine.query(limit=10, fields=("id",), as_of=compose(start + moment))
        assert found["id"] == keys, moment
        hits = world.engine.search(VECTORS[:1], 10, as_of=compose(start + moment))
        assert sorted(hits.ids.to_pylist()) == keys, moment
    world.engine.close()


@pytest.mark.parametrize("properties", [TTL, BY_FIELD])
def test_a_partial_upsert_of_an_expired_row_finds_nothing_to_keep(properties: dict[str, str]) -> None:
    world = World(properties)
    world.write([1, 2], 10_000)
    world.until(world.now + 9_999)
    world.write([1], None, partial=True)
    world.until(world.now + 1)
    assert sorted(world.alive()) == ([1] if properties is TTL else [])
    with pytest.raises(Exception, match=r"fieldSchema\(vector\) has no corresponding fieldData pass in"):
        world.write([2], None, partial=True)
    world.engine.close()


def test_a_longer_time_to_live_brings_back_what_nobody_cleared_away() -> None:
    world = World(TTL)
    world.write([1, 2], None)
    world.engine.flush()
    world.until(world.now + 10_000)
    world.check()
    for seconds in ("20", "10", "0"):
        world.properties = {"collection.ttl.seconds": seconds}
        world.engine.call(rq.AlterCollection(collection=NAME, properties=world.properties))
        world.check()
    world.engine.close()


@pytest.mark.parametrize("properties", [TTL, BY_FIELD])
def test_compaction_drops_expired_rows_only_when_no_read_goes_back_to_them(properties: dict[str, str]) -> None:
    world = World(properties | {"collection.retention.seconds": "60"})
    world.write(list(range(6)), 10_000)
    world.until(world.now + 5_000)
    world.write([6, 7], None)
    world.engine.flush()
    stored = [len(world.rows)]
    for pause in (60_000, 5_000):
        world.until(world.now + pause)
        world.engine.call(rq.Compact(collection=NAME))
        world.env.run_until_idle()
        world.check()
        stored.append(sum(s.num_rows for s in world.engine.call(rq.ListPersistentSegments(collection=NAME)).segments))
    assert stored == [8, 8, 2]
    world.engine.close()


def test_a_search_through_the_graph_leaves_out_what_has_expired() -> None:
    world = World(TTL, index="HNSW")
    rng = np.random.default_rng(1)
    count = 3_000
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    engine = world.engine

    def insert(ids: range) -> None:
        rows = pa.RecordBatch.from_arrays(
            [pa.array(ids), vectors_to_arrow(vectors[ids.start : ids.stop]), pa.array([0] * len(ids))],
            ["id", "vector", "number"],
        )
        engine.call(rq.Insert(collection=NAME, rows=rows))

    start = world.now
    insert(range(count // 2))
    world.until(start + 4_000)
    insert(range(count // 2, count))
    engine.flush()
    world.env.run_until_idle()
    for moment, first in ((9_999, 0), (10_000, count // 2), (13_999, count // 2), (14_000, count)):
        world.until(start + moment)
        for _ in range(2):
            ids = engine.search(vectors[:5], 10).ids.to_numpy()
            assert (ids >= first).all()
            assert len(ids) == (50 if first < count else 0)
            assert engine.count() == count - first
    engine.close()
