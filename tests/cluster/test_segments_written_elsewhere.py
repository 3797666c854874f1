"""Segments that data nodes write for streaming nodes: the same bytes, under names of each try, or here after all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.cluster.data_nodes import World, always, stuck, within

from redkite.cluster import data_work, rows_given
from redkite.cluster.local_network import LocalHub
from redkite.cluster.work_messages import GiveRows, WriteSegment
from redkite.env import Env
from redkite.errors import MemoryLimitExceeded, NotOwner, StorageError, Unavailable
from redkite.model.batch import arrow_type, vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import SegmentMeta
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.node.data import DataNode, WrittenSegment
from redkite.node.memory import MIB, MemoryBudget
from redkite.segment.growing import GrowingSegment
from redkite.storage.objects import FolderObjects

DIM = 8
ROWS = 5000
SCHEMA = CollectionSchema(
    name="things",
    fields=(
        FieldSchema(field_id=100, name="id", data_type=DataType.INT64, is_primary=True),
        FieldSchema(field_id=101, name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}),
        FieldSchema(
            field_id=102, name="maybe", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}, nullable=True
        ),
        FieldSchema(field_id=103, name="words", data_type=DataType.SPARSE_FLOAT_VECTOR),
        FieldSchema(
            field_id=104, name="text", data_type=DataType.VARCHAR, params={"max_length": "200"}, nullable=True
        ),
        FieldSchema(field_id=105, name="flag", data_type=DataType.BOOL, nullable=True),
        FieldSchema(field_id=106, name="json", data_type=DataType.JSON),
        FieldSchema(
            field_id=107, name="list", data_type=DataType.ARRAY, element_type=DataType.INT64,
            params={"max_capacity": "8"},
        ),
    ),
)  # fmt: skip


def rows(first: int, count: int) -> pa.RecordBatch:
    rng = np.random.default_rng(first)
    ids = np.arange(first, first + count)[::-1]
    vectors = rng.normal(size=(count, DIM)).astype(np.float32)
    pairs = 3
    sparse = SparseRows(
        np.arange(0, pairs * count + 1, pairs), np.tile(np.arange(pairs, dtype=np.uint32), count),
        rng.random(pairs * count).astype(np.float32),
    )  # fmt: skip
    maybe = [None if at % 3 == 0 else row.tolist() for at, row in enumerate(vectors)]
    columns = [
        pa.array(ids), vectors_to_arrow(vectors),
        pa.array(maybe, arrow_type(SCHEMA.fields[2])),
        sparse.to_arrow(),
        pa.array([None if at % 5 == 0 else f"row {at} has words" for at in ids], pa.string()),
        pa.array([None if at % 7 == 0 else bool(at % 2) for at in ids], pa.bool_()),
        pa.array([b'{"a": %d, "b": {"c": "x%d"}}' % (at, at % 4) for at in ids], arrow_type(SCHEMA.fields[6])),
        pa.array([list(range(at % 4)) for at in ids], arrow_type(SCHEMA.fields[7])),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, [f.name for f in SCHEMA.fields])


def growing(segment_id: int = 50, count: int = ROWS) -> GrowingSegment:
    made = GrowingSegment(segment_id, 4, SCHEMA, 0)
    for at, first in enumerate(range(0, count, 700)):
        batch = rows(first, min(700, count - first))
        made.append(batch, batch.column("id").to_pylist(), 1000 + at)
    return made


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(data_work, "LEAST_BYTES", 1)
    monkeypatch.setattr(rows_given, "PIECE_BYTES", 100_000)
    env = Env.real()
    made = World(env, FolderObjects(env.files, str(tmp_path / "objects")), LocalHub(env))
    yield made
    for close in reversed(made.opened):
        close()


def here(world: World, segment: GrowingSegment) -> SegmentMeta:
    """As a node without others writes it."""
    node = DataNode(9, world.env, world.store, 1, MemoryBudget(world.env))
    made = node.write_segment(3, "channel", segment, always)
    node.close()
    assert made is not None
    return made.meta


def writing(
    world: World, node: DataNode, segment: GrowingSegment, wanted: Callable[[], bool] = always
) -> Future[WrittenSegment | None]:
    return world.env.tasks.executor("test", 1).submit(node.write_segment, 3, "channel", segment, wanted)


def contents(world: World, meta: SegmentMeta) -> list[bytes]:
    return [world.store.get(name) for name in (meta.rows_object, meta.order_object)]


def unnamed(meta: SegmentMeta) -> SegmentMeta:
    return msgspec.structs.replace(meta, rows_object="", order_object="")


def test_a_data_node_writes_the_very_bytes_that_would_be_written_here(world: World) -> None:
    bench = world.data_node(2)
    segment = growing()
    made = world.asker().write_segment(3, "channel", segment, always)
    expected = here(world, segment)
    assert made is not None
    assert bench.done == 1
    assert contents(world, made.meta) == contents(world, expected)
    assert unnamed(made.meta) == unnamed(expected)
    assert made.meta.rows_object.endswith("/rows-1000.arrow")
    assert made.meta.order_object.endswith("/order-1000.u32")


def test_rows_travel_in_pieces_of_a_bounded_size_however_large_single_rows_are(world: World) -> None:
    batch = rows(0, 1000)
    text = pa.array(["x" * 190 if at > 900 else "" for at in range(1000)], pa.string())
    columns = [text if name == "text" else batch.column(name) for name in batch.schema.names]
    batch = pa.RecordBatch.from_arrays(columns, batch.schema.names)
    segment = GrowingSegment(50, 4, SCHEMA, 0)
    segment.append(batch, batch.column("id").to_pylist(), 1)
    offer = rows_given.Offer(segment.batch(1000), segment.timestamps(1000))
    at, pieces = 0, []
    while at < 1000:
        pieces.append(offer.piece(at).rows)
        at += pieces[-1].num_rows
    assert len(pieces) > 1
    assert max(piece.nbytes for piece in pieces) <= 2 * rows_given.PIECE_BYTES
    assert pa.concat_batches(pieces).equals(offer.batch)


def test_few_rows_and_rows_of_a_node_without_others_are_written_where_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.asker().write_segment(3, "channel", growing(), always)
    assert made is not None
    assert made.meta.rows_object.endswith("/rows.arrow")
    monkeypatch.setattr(data_work, "LEAST_BYTES", 1 << 20)
    bench = world.data_node(2)
    assert world.asker().write_segment(3, "channel", growing(51, 700), always) is not None
    assert bench.done == 0


def test_when_a_data_node_dies_while_it_writes_another_does_it_under_other_names(world: World) -> None:
    begun = stuck(world.data_node(2))
    other = world.data_node(3)
    done = writing(world, world.asker(), growing())
    assert begun.wait(30)
    del world.nodes[2]
    made = done.result(30)
    assert made is not None
    assert other.done == 1
    assert made.meta.rows_object.endswith("/rows-1001.arrow")


@pytest.mark.parametrize("error", [MemoryLimitExceeded("no room"), StorageError("the store is away"), Unavailable("")])
def test_whatever_every_data_node_fails_with_the_segment_is_written_here(world: World, error: Exception) -> None:
    def fails(*_: Any) -> Any:
        raise error

    for number in (2, 3):
        world.data_node(number).place = fails
    segment = growing()
    made = world.asker().write_segment(3, "channel", segment, always)
    assert made is not None
    assert made.meta == here(world, segment)


def test_a_data_node_without_the_memory_refuses_at_once_and_another_takes_it(world: World) -> None:
    """Work that can wait for room would wait ten minutes."""
    busy, free = world.data_node(2, memory_limit=8 * MIB), world.data_node(3, memory_limit=100 * MIB)
    with world.workers[2].memory.work("index builds", 7 * MIB):
        assert world.asker().write_segment(3, "channel", growing(), always) is not None
    assert (busy.failed, free.done) == (1, 1)
    assert world.workers[3].memory.used == 0


def test_no_segment_waits_for_a_data_node_that_writes_others(world: World) -> None:
    """Its rows take memory until it is written: who has them does it rather than to wait."""
    begun = stuck(world.data_node(2))
    node, first = world.asker(), [growing(50 + number, 700) for number in range(3)]
    wanted = threading.Event()
    wanted.set()
    waiting = [writing(world, node, segment, wanted.is_set) for segment in first[:2]]
    assert begun.wait(30)
    assert within(30, lambda: world.benches[2].pieces == 2)
    made = node.write_segment(3, "channel", first[2], always)
    assert made is not None
    assert made.meta.rows_object.endswith("/rows.arrow")
    wanted.clear()
    assert [done.result(30) for done in waiting] == [None, None]


def test_rows_on_their_way_count_as_memory_of_both_sides(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = world.data_node(2, memory_limit=100 * MIB)
    worker = world.workers[2]
    seen: list[tuple[int, int]] = []
    give = rows_given.RowsGiven.give

    def looked_at(self: Any, message: GiveRows) -> Any:
        seen.append((world.memory.usage()["rows on their way"], worker.memory.usage()["segments written"]))
        return give(self, message)

    monkeypatch.setattr(rows_given.RowsGiven, "give", looked_at)
    segment = growing()
    assert world.asker().write_segment(3, "channel", segment, always) is not None
    assert bench.done == 1
    assert len(seen) > 5
    size = segment.batch(ROWS).nbytes
    assert all(rows_given.PIECE_BYTES <= here < size and there >= 2 * size for here, there in seen)
    assert world.memory.used == 0


def test_a_shard_that_was_left_waits_for_nothing_and_what_was_written_for_it_is_not_there(world: World) -> None:
    bench = world.data_node(2)
    wanted, written = threading.Event(), threading.Event()
    wanted.set()
    place = bench.place

    def slow(work: Any, still: Callable[[], bool]) -> Any:
        def until_written() -> bool:
            if world.store.list("segments/"):
                written.set()
                within(30, lambda: not still())
            return still()

        return place(work, until_written)

    bench.place = slow
    node = world.asker()
    done = world.env.tasks.executor("test", 1).submit(node.write_segments, 3, "channel", [growing()], wanted.is_set)
    assert written.wait(30)
    wanted.clear()
    with pytest.raises(NotOwner):
        done.result(30)
    assert within(30, lambda: bench.stopped == 1)
    assert list(world.store.list("segments/")) == []


def test_rows_are_given_to_nobody_whose_try_is_over(world: World) -> None:
    world.data_node(2)
    node = world.asker()
    assert node.write_segment(3, "channel", growing(), always) is not None
    with pytest.raises(Unavailable, match="there are no rows for piece of work 1000"):
        node._rows.give(GiveRows(work_id=1000, first=0))


def test_a_data_node_that_cannot_get_the_rows_says_so(world: World) -> None:
    """A one-way cut: it is asked, and cannot ask."""
    bench = world.data_node(2)
    node = world.asker()
    node._address = lambda: "127.0.0.1:1"
    segment = growing()
    made = node.write_segment(3, "channel", segment, always)
    assert made is not None
    assert bench.failed == 1
    assert made.meta == here(world, segment)


def test_what_was_written_and_could_not_be_committed_is_not_written_again_by_the_next_flush(world: World) -> None:
    """Else each try of a flush while etcd is away would leave another segment."""
    bench = world.data_node(2)
    node, segment = world.asker(), growing()
    first = node.write_segment(3, "channel", segment, always)
    again = node.write_segment(3, "channel", segment, always)
    assert first is not None
    assert again is not None
    assert again.meta == first.meta
    assert bench.done == 1
    other = growing(51, 700)
    assert node.write_segment(3, "channel", other, always) is not None
    assert bench.done == 2


def test_a_node_whose_store_is_far_knows_the_keys_of_what_others_wrote(world: World) -> None:
    """Else its next write would fetch the whole segment to look for its own keys."""
    world.is_far = True
    world.data_node(2)
    made = world.asker().write_segment(3, "channel", growing(), always)
    assert made is not None
    assert made.keys is not None
    world.store.delete(made.meta.rows_object)
    assert made.keys.find([0, 699, ROWS]).tolist() == [699, 0]
    assert world.memory.usage()["keys of sealed segments"] > 8 * ROWS
    del made
    assert world.memory.usage()["keys of sealed segments"] == 0


def test_keys_that_would_take_too_much_of_the_memory_are_read_when_they_are_wanted(world: World) -> None:
    world.is_far, world.memory = True, MemoryBudget(world.env, MIB)
    world.data_node(2)
    made = world.asker().write_segment(3, "channel", growing(), always)
    assert made is not None
    assert made.keys is None


def test_a_message_to_write_names_who_has_the_rows(world: World) -> None:
    bench = world.data_node(2)
    asked: list[WriteSegment] = []
    place = bench.place
    bench.place = lambda work, wanted: (asked.append(work), place(work, wanted))[1]  # type: ignore[arg-type,func-returns-value]
    node = world.asker()
    assert node.write_segment(3, "channel", growing(), always) is not None
    assert [(one.address, one.rows) for one in asked] == [(node._address(), ROWS)]
