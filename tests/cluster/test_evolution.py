"""Fields come and go on a full collection: rows in the log and on disk, restarts, crashes, readers and writers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import CollectionNotFound, InvalidParameter, SchemaMismatch
from redkite.model import requests as rq
from redkite.model.batch import arrow_type, vectors_to_arrow
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.simulated import SimulatedCrash, simulated_env

VECTORS = np.random.default_rng(1).normal(size=(64, DIM)).astype(np.float32)
KINDS = {
    "number": FieldSchema(name="", data_type=DataType.INT64, default_value=5),
    "text": FieldSchema(name="", data_type=DataType.VARCHAR, params={"max_length": "20"}, nullable=True),
    "flag": FieldSchema(name="", data_type=DataType.BOOL, nullable=True, default_value=True),
}


# -- a model of what should be there --------------------------------------------------------------
@dataclass(frozen=True)
class Column:
    serial: int
    name: str
    kind: str

    def value(self, seed: int) -> Any:
        return {"number": seed, "text": f"t{seed}", "flag": seed % 2 == 0}[self.kind]

    @property
    def schema(self) -> FieldSchema:
        return msgspec.structs.replace(KINDS[self.kind], name=self.name)


@dataclass(frozen=True)
class State:
    """Columns by the order they were added in, and the rows: key -> {serial of the column: value}."""

    columns: tuple[Column, ...] = ()
    rows: dict[int, dict[int, Any]] = field(default_factory=dict)
    serial: int = 0

    def added(self, name: str, kind: str) -> State:
        column = Column(self.serial, name, kind)
        return replace(self, columns=(*self.columns, column), serial=self.serial + 1)

    def dropped(self, name: str) -> State:
        return replace(self, columns=tuple(c for c in self.columns if c.name != name))

    def inserted(self, keys: list[int], seed: int) -> State:
        row = {c.serial: c.value(seed) for c in self.columns}
        return replace(self, rows=self.rows | dict.fromkeys(keys, row))

    def deleted(self, keys: list[int]) -> State:
        return replace(self, rows={k: v for k, v in self.rows.items() if k not in keys})

    def shown(self) -> dict[int, dict[str, Any]]:
        return {
            key: {c.name: row.get(c.serial, KINDS[c.kind].default_value) for c in self.columns}
            for key, row in self.rows.items()
        }


def add(engine: Engine, column: Column) -> None:
    engine.call(rq.AddCollectionField(collection=NAME, field=column.schema))


def drop(engine: Engine, name: str) -> None:
    engine.call(rq.DropCollectionField(collection=NAME, field=name))


def insert(engine: Engine, state: State, keys: list[int], seed: int) -> None:
    columns = {
        "id": pa.array(keys, pa.int64()),
        "vector": vectors_to_arrow(VECTORS[keys]),
        "number": pa.array([seed] * len(keys), pa.int64()),
    }
    for c in state.columns:
        columns[c.name] = pa.array([c.value(seed)] * len(keys), arrow_type(c.schema))
    engine.call(rq.Insert(collection=NAME, rows=pa.RecordBatch.from_pydict(columns)))


def shown(engine: Engine) -> dict[int, dict[str, Any]]:
    found = engine.query("id >= 0", fields=("*",))
    names = [name for name in found if name not in ("id", "vector", "number", "word")]
    return {key: {name: found[name][at] for name in names} for at, key in enumerate(found["id"])}


class Trace:
    """A seeded sequence of writes, changes of the fields, flushes and reopenings, with the state after each."""

    def __init__(self, seed: int, steps: int) -> None:
        rng = Random(seed)
        self.steps: list[tuple[tuple[Any, ...], State]] = []
        state = State()
        for number in range(1, steps + 1):
            kind = rng.choice(["insert", "insert", "insert", "delete", "field", "field", "flush", "reopen"])
            keys = rng.sample(range(16), rng.randint(1, 5))
            step: tuple[Any, ...] = (kind, keys, number)
            if kind == "insert":
                state = state.inserted(keys, number)
            elif kind == "delete":
                state = state.deleted(keys)
            elif kind == "field":
                name = rng.choice("ab")
                if any(c.name == name for c in state.columns):
                    step, state = ("drop", name), state.dropped(name)
                else:
                    state = state.added(name, rng.choice(list(KINDS)))
                    step = ("add", state.columns[-1])
            self.steps.append((step, state))

    @staticmethod
    def run(engine: Engine, step: tuple[Any, ...], before: State) -> None:
        if step[0] == "insert":
            insert(engine, before, step[1], step[2])
        elif step[0] == "delete":
            engine.delete(f"id in {step[1]}")
        elif step[0] == "add":
            add(engine, step[1])
        elif step[0] == "drop":
            drop(engine, step[1])
        elif step[0] == "flush":
            engine.flush()
        else:
            engine.reopen()


@pytest.mark.parametrize(("seed", "shards"), [(1, 1), (2, 2), (3, 1)])
def test_every_reader_sees_the_fields_of_the_moment(seed: int, shards: int) -> None:
    engine = Engine("db", simulated_env(seed))
    engine.create(shards=shards)
    before = State()
    for step, after in Trace(seed, 80).steps:
        Trace.run(engine, step, before)
        assert shown(engine) == after.shown(), f"after {step}"
        for column in after.columns:
            expected = sum(row[column.name] is None for row in after.shown().values())
            assert engine.count(f"{column.name} is null") == expected
        before = after
    engine.reopen()
    assert shown(engine) == before.shown()
    assert len(engine.search(VECTORS[0], 64).ids) == len(before.rows)


def run_until_crash(trace: Trace, seed: int, operation: int) -> bool:
    """True when the trace ended before that file operation."""
    env = simulated_env(seed)
    engine = Engine("db", env)
    engine.create()
    env.disk.crash_at(env.disk.operations + operation)
    before = after = State()
    step: tuple[Any, ...] = ()
    try:
        for step, after in trace.steps:
            trace.run(engine, step, before)
            before = after
    except SimulatedCrash:
        pass
    else:
        return True
    env.disk.restart()
    survivor = Engine("db", simulated_env(seed + 1, env.disk))
    found = shown(survivor)
    names = {f.name for f in survivor.call(rq.DescribeCollection(collection=NAME)).schema.fields}
    possible = [s for s in (before, after) if {c.name for c in s.columns} == names - {"id", "vector", "number", "word"}]
    assert possible, f"the fields are {names} after a crash in {step}"
    assert found in [s.shown() for s in possible], f"half of {step} is there"
    now = next(s for s in possible if s.shown() == found)
    fresh = now.added("z", "number").inserted([20], 99)
    add(survivor, fresh.columns[-1])
    insert(survivor, fresh, [20], 99)
    assert shown(survivor) == fresh.shown()
    survivor.reopen()
    assert shown(survivor) == fresh.shown()
    return False


@pytest.mark.parametrize("seed", [4, 6])
def test_a_crash_at_any_file_operation_leaves_the_fields_and_rows_of_one_moment(seed: int) -> None:
    trace = Trace(seed, steps=16)
    operation = 1
    while not run_until_crash(trace, seed, operation):
        operation += 1
    assert operation > 20, "the trace hardly touched the disk"


# -- one thing at a time ------------------------------------------------------------------------
@pytest.fixture
def engine() -> Engine:
    made = Engine("db", simulated_env(11))
    made.create()
    return made


def filled(engine: Engine) -> None:
    """Four rows on disk and four in the log."""
    engine.insert(range(4), VECTORS[:4], range(4), ["w"] * 4)
    engine.flush()
    engine.insert(range(4, 8), VECTORS[4:8], range(4, 8), ["w"] * 4)


def test_rows_that_were_checked_before_a_field_came_are_kept_after_it(engine: Engine) -> None:
    filled(engine)
    topology = engine.database.topology
    meta = topology.root.find("", NAME)
    (shard,) = topology.shards(meta)
    late = engine.batch([50], VECTORS[:1], [50], ["late"])
    drop(engine, "word")
    add(engine, Column(0, "word", "number"))
    parts = ((meta.partitions[0].partition_id, 1),)
    logged = shard.insert(parts, late, topology.root.oracle.allocate, lambda timestamp: timestamp, meta.schema)
    logged.result()
    assert engine.query("id == 50")["word"] == [5]
    engine.reopen()
    assert engine.query("id == 50")["word"] == [5], "the log gave the dropped field's value to the new one"


def test_a_shard_that_is_opened_by_an_old_schema_catches_up(engine: Engine) -> None:
    filled(engine)
    stale = engine.database.topology.root.find("", NAME)
    engine.close()
    engine.open()
    topology = engine.database.topology
    add(engine, Column(0, "extra", "number"))
    (shard,) = topology.shards(stale)
    assert shard.collection.schema.field("extra") is not None
    assert engine.count("extra == 5") == 8


def test_a_filter_that_was_answered_before_is_not_answered_by_a_field_of_the_same_name(engine: Engine) -> None:
    engine.insert(range(40), VECTORS[:40], range(40), ["7"] * 40)
    engine.flush()
    for _ in range(2):
        assert len(engine.search(VECTORS[0], 50, "word is not null").ids) == 40
    drop(engine, "word")
    with pytest.raises(InvalidParameter, match="word"):
        engine.search(VECTORS[0], 50, "word is not null")
    add(engine, Column(0, "word", "text"))
    for _ in range(2):
        assert len(engine.search(VECTORS[0], 50, "word is not null").ids) == 0
        assert engine.count("word is null") == 40


def test_a_filter_on_an_added_field_is_searched_through_the_graph_as_well(engine: Engine) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(3000, DIM)).astype(np.float32)
    engine.insert(range(3000), vectors, range(3000))
    engine.flush()
    add(engine, Column(0, "extra", "number"))
    assert engine.search(vectors[7], 5, "extra == 5").ids.to_pylist()[0] == 7
    assert len(engine.search(vectors[7], 5, "extra != 5").ids) == 0
    assert engine.search(vectors[7], 5, "extra == 5 and number < 100").ids.to_pylist()[0] == 7


def test_a_stale_writer_is_told_and_a_current_one_is_not(engine: Engine) -> None:
    filled(engine)
    old = engine.call(rq.DescribeCollection(collection=NAME)).update_timestamp
    add(engine, Column(0, "extra", "number"))
    row = engine.batch([90], VECTORS[:1], [1])
    for request in (rq.Insert, rq.Upsert):
        with pytest.raises(SchemaMismatch, match=r"collection schema mismatch\[collection=things\]"):
            engine.call(request(collection=NAME, rows=row, schema_timestamp=old))
    new = engine.call(rq.DescribeCollection(collection=NAME)).update_timestamp
    assert new > old
    engine.call(rq.Insert(collection=NAME, rows=row, schema_timestamp=new))
    engine.call(rq.RenameCollection(collection=NAME, new_name="others"))
    engine.call(rq.Insert(collection="others", rows=row, schema_timestamp=new))


def test_a_change_that_changes_nothing_keeps_the_version(engine: Engine) -> None:
    before = engine.call(rq.DescribeCollection(collection=NAME))
    engine.call(rq.AlterCollectionField(collection=NAME, field="word", properties={"max_length": "64"}))
    assert engine.call(rq.DescribeCollection(collection=NAME)).update_timestamp == before.update_timestamp


def test_a_shorter_length_binds_new_rows_and_leaves_old_ones(engine: Engine) -> None:
    engine.insert([1], VECTORS[:1], [1], ["a long word"])
    engine.call(rq.AlterCollectionField(collection=NAME, field="word", properties={"max_length": "4"}))
    with pytest.raises(InvalidParameter, match="exceeds max length"):
        engine.insert([2], VECTORS[:1], [2], ["a long word"])
    part = pa.RecordBatch.from_pydict({"id": [1], "number": [7]})
    engine.call(rq.Upsert(collection=NAME, rows=part, partial=True))
    assert engine.query("id == 1")["word"] == ["a long word"]
    engine.call(rq.AlterCollectionField(collection=NAME, field="word", properties={"max_length": "40"}))
    engine.insert([2], VECTORS[:1], [2], ["an even longer word"])
    engine.reopen()
    assert engine.query("id >= 1")["word"] == ["a long word", "an even longer word"]


def test_a_field_with_an_index_and_the_last_vector_stay(engine: Engine) -> None:
    with pytest.raises(InvalidParameter, match="cannot drop the last vector field: vector"):
        drop(engine, "vector")
    with pytest.raises(InvalidParameter, match="cannot drop primary key field: id"):
        drop(engine, "id")


def test_rows_can_be_read_as_they_were_before_a_field_came(engine: Engine) -> None:
    engine.insert([1], VECTORS[:1], [1])
    then = engine.database.topology.root.oracle.allocate()
    add(engine, Column(0, "extra", "number"))
    engine.call(rq.Upsert(collection=NAME, rows=pa.RecordBatch.from_pydict({"id": [1], "extra": [9]}), partial=True))
    assert engine.query("id == 1", fields=("extra",))["extra"] == [9]
    assert engine.query("id == 1", fields=("extra",), as_of=then)["extra"] == [5]


# -- rename and truncate ------------------------------------------------------------------------
def test_a_renamed_collection_keeps_rows_aliases_indexes_load_state_and_fields(engine: Engine) -> None:
    filled(engine)
    add(engine, Column(0, "extra", "number"))
    engine.call(rq.CreateAlias(collection=NAME, alias="nick"))
    engine.call(rq.RenameCollection(collection=NAME, new_name="others"))
    for _ in range(2):
        for name in ("others", "nick"):
            asked = rq.Query(collection=name, filter="extra == 5", output_fields=("count(*)",))
            assert engine.call(asked).rows.to_pydict() == {"count(*)": [8]}
        with pytest.raises(CollectionNotFound):
            engine.call(rq.DescribeCollection(collection=NAME))
        assert engine.call(rq.DescribeIndex(collection="others")).indexes[0].field == "vector"
        assert engine.call(rq.GetLoadState(collection="nick")).state == 3
        engine.reopen()
    engine.call(rq.RenameCollection(collection="others", new_name=NAME))
    engine.insert([20], VECTORS[:1], [20])
    assert engine.count() == 9


@pytest.mark.parametrize("reopened", [False, True])
def test_a_truncated_collection_is_empty_and_keeps_its_definition(engine: Engine, reopened: bool) -> None:
    filled(engine)
    add(engine, Column(0, "extra", "number"))
    engine.call(rq.CreateAlias(collection=NAME, alias="nick"))
    before = engine.database.topology.root.oracle.allocate()
    engine.call(rq.TruncateCollection(collection=NAME))
    if reopened:
        engine.reopen()
    assert engine.count() == 0
    assert len(engine.search(VECTORS[0], 5).ids) == 0
    assert engine.call(rq.DescribeIndex(collection=NAME)).indexes[0].field == "vector"
    assert engine.call(rq.GetLoadState(collection=NAME)).state == 3
    with pytest.raises(InvalidParameter, match="as of"):
        engine.query("id >= 0", as_of=before)
    engine.insert([1], VECTORS[:1], [1])
    engine.reopen()
    assert engine.query("extra == 5", fields=("id",))["id"] == [1]
