"""Data nodes under test: a store, who asks, and who does it, on one network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from tests.engine import DIM, schema

from redkite.cluster.data_work import SharedDataNode
from redkite.cluster.import_work import reader_of
from redkite.cluster.local_network import LocalHub
from redkite.cluster.work_node import WorkNode
from redkite.cluster.workbench import Workbench
from redkite.config import Settings
from redkite.env import Env
from redkite.model.batch import vectors_to_arrow
from redkite.model.segments import IndexMeta, IndexSpec, SegmentMeta
from redkite.model.types import Metric
from redkite.model.upkeep import CompactionKind
from redkite.node.compaction_work import CompactionWork
from redkite.node.memory import MemoryBudget
from redkite.segment.files import Place, write_rows
from redkite.storage.objects import FolderObjects

ASKER = 1
_DECLARED = schema()
SCHEMA = msgspec.structs.replace(
    _DECLARED,
    fields=tuple(msgspec.structs.replace(f, field_id=100 + n) for n, f in enumerate(_DECLARED.fields)),
)
"""As a collection has it: every field with its number."""
ROWS = 300
INDEX = IndexMeta(
    index_id=7, collection_id=3, field_id=101, field="vector", name="vector", params={}, created_timestamp=1,
    spec=IndexSpec(index_type="HNSW", metric=Metric.L2, build={"M": 8, "efConstruction": 40}),
)  # fmt: skip


@dataclass
class World:
    """A store, an asking node, and data nodes on one network."""

    env: Env
    store: FolderObjects
    hub: LocalHub
    nodes: dict[int, str] = field(default_factory=dict)
    """Data nodes that are alive, as the asker sees it."""
    there: set[int] = field(default_factory=lambda: {ASKER})
    benches: dict[int, Workbench] = field(default_factory=dict)
    workers: dict[int, WorkNode] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1000))
    opened: list[Callable[[], None]] = field(default_factory=list)
    is_far: bool = False
    memory: MemoryBudget = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.memory = MemoryBudget(self.env)

    def asker(self) -> SharedDataNode:
        network = self.hub.network(ASKER)
        made = SharedDataNode(
            ASKER, self.env, self.store, 1, self.memory, network, lambda: tuple(self.nodes.items()),
            lambda: next(self.numbers), lambda: serving.address, is_far=self.is_far,
        )  # fmt: skip
        serving = network.serve("127.0.0.1:0", made.handlers())
        self.opened += [made.close, serving.close]
        return made

    def data_node(self, node_id: int, memory_limit: int = 0) -> Workbench:
        network = self.hub.network(node_id)
        memory = MemoryBudget(self.env, memory_limit)
        reader = reader_of(self.env, self.store, memory, Settings())
        worker = WorkNode(node_id, self.env, self.store, 1, memory, network, reader)
        bench = Workbench(self.env, node_id, worker.do, self.there.__contains__, 2)
        serving = network.serve("127.0.0.1:0", bench.handlers())
        self.nodes[node_id] = serving.address
        self.benches[node_id], self.workers[node_id] = bench, worker
        self.opened += [bench.close, worker.close, serving.close]
        return bench

    def segment(self, segment_id: int, first: int = 0, rows: int = ROWS) -> SegmentMeta:
        ids = np.arange(first, first + rows)
        vectors = np.random.default_rng(segment_id).normal(size=(rows, DIM)).astype(np.float32)
        column, words = vectors_to_arrow(vectors), pa.nulls(rows, pa.string())
        batch = pa.RecordBatch.from_arrays(
            [pa.array(ids), column, pa.array(ids), words],
            ["id", "vector", "number", "word"],
        )  # fmt: skip
        place = Place(3, 4, "channel", segment_id)
        return write_rows(self.store, place, SCHEMA, batch, np.arange(1, rows + 1, dtype=np.uint64))

    def work(self, *segments: SegmentMeta) -> CompactionWork:
        return CompactionWork(
            kind=CompactionKind.MIX, schema=SCHEMA, properties={}, horizon=10**9, sources=segments,
            most_bytes=1 << 30, most_rows=1 << 20, indexes=(INDEX,), least_indexed_rows=10,
        )  # fmt: skip


def always() -> bool:
    return True


def within(seconds: float, there: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not there() and time.monotonic() < deadline:
        time.sleep(0.01)
    return there()


def stuck(bench: Workbench) -> threading.Event:
    """Work at this node begins and goes on until it is not wanted; the event is set when it began."""
    begun, usual = threading.Event(), bench.place

    def place(message: Any, wanted: Callable[[], bool]) -> Any:
        begun.set()
        within(60, lambda: not wanted())
        return usual(message, wanted)

    bench.place = place
    return begun
