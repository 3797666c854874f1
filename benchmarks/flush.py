"""What does the flush of a streaming node cost, when it writes the segment itself and when a data node does?

    python benchmarks/flush.py 500,2000,10000,100000 [--json] [--turns 7]

Two processes, sockets between them, objects in a folder. For each number of rows: processor time of the streaming node
and time until the segment is written, the least of so many turns, both ways in turn.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.cluster import data_work
from redkite.cluster.data_work import SharedDataNode
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.import_work import reader_of
from redkite.cluster.work_node import WorkNode
from redkite.cluster.workbench import Workbench
from redkite.config import Settings
from redkite.env import Env
from redkite.model.batch import vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.node.data import DataNode
from redkite.node.memory import MemoryBudget
from redkite.segment.growing import GrowingSegment
from redkite.storage.objects import FolderObjects

DIM = 128
WORDS = np.array([f"word{number}" for number in range(5000)])
CLUSTER = "redkite"


def schema(has_json: bool) -> CollectionSchema:
    vector = FieldSchema(field_id=101, name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)})
    fields = [
        FieldSchema(field_id=100, name="id", data_type=DataType.INT64, is_primary=True),
        vector,
        FieldSchema(field_id=102, name="text", data_type=DataType.VARCHAR, params={"max_length": "500"}),
    ]
    if has_json:
        fields.append(FieldSchema(field_id=103, name="json", data_type=DataType.JSON))
    return CollectionSchema(name="rows", fields=tuple(fields))


def growing(rows: int, segment_id: int, shape: CollectionSchema) -> GrowingSegment:
    """Keys in no order, written 1,000 rows at a time."""
    rng = np.random.default_rng(1)
    made, ids = GrowingSegment(segment_id, 4, shape, 0), rng.permutation(rows)
    for at in range(0, rows, 1000):
        some = ids[at : at + 1000]
        texts = [" ".join(words) for words in WORDS[rng.integers(0, len(WORDS), (len(some), 12))]]
        columns: list[Any] = [
            pa.array(some),
            vectors_to_arrow(rng.normal(size=(len(some), DIM)).astype(np.float32)),
            pa.array(texts),
        ]
        if len(shape.fields) > len(columns):
            documents = [b'{"color": "c%d", "price": %d, "in": {"stock": %d}}' % (i % 7, i % 1000, i % 3) for i in some]
            columns.append(pa.array(documents, pa.binary()))
        batch = pa.RecordBatch.from_arrays(columns, [f.name for f in shape.fields])
        made.append(batch, batch.column("id").to_pylist(), 1000 + at)
    made.batch(rows)
    return made


def data_node(folder: str, pipe: Connection) -> None:
    """A process that writes for others; tells its processor time when it is asked."""
    env = Env.real()
    network, memory = GrpcNetwork(env, CLUSTER, 2), MemoryBudget(env)
    store = FolderObjects(env.files, folder, writer="data")
    worker = WorkNode(2, env, store, 1, memory, network, reader_of(env, store, memory, Settings()))
    bench = Workbench(env, 2, worker.do, lambda _: True, 2)
    pipe.send(network.serve("127.0.0.1:0", bench.handlers()).address)
    while pipe.recv():
        pipe.send(time.process_time())
    for part in (bench, worker, network):
        part.close()


def measure(node: SharedDataNode, segment: GrowingSegment, there: Connection, turns: int) -> str:
    least = np.full(5, np.inf)

    def of_data_node() -> float:
        there.send(True)
        return float(there.recv())

    for _ in range(turns):
        begun, busy = time.perf_counter(), time.process_time()
        DataNode.write_segment(node, 3, "channel", segment, lambda: True)
        here = time.process_time() - busy, time.perf_counter() - begun
        node._written.clear()
        before = of_data_node()
        begun, busy = time.perf_counter(), time.process_time()
        made = node.write_segment(3, "channel", segment, lambda: True)
        away = time.process_time() - busy, time.perf_counter() - begun
        least = np.minimum(least, (*here, *away, of_data_node() - before))
        assert made is not None
        for name in made.meta.objects:
            node._store.delete(name)
    times = " | ".join(f"{1000 * seconds:.1f} ms" for seconds in least)
    return f"| {segment.rows:,} | {segment.size / 2**20:.1f} MiB | {times} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", help="numbers, separated by commas")
    parser.add_argument("--json", action="store_true", help="with a JSON field of three keys")
    parser.add_argument("--turns", type=int, default=7)
    chosen = parser.parse_args()
    data_work.LEAST_BYTES = 1
    with tempfile.TemporaryDirectory() as folder:
        spawn = multiprocessing.get_context("spawn")
        pipe, other = spawn.Pipe()
        child = spawn.Process(target=data_node, args=(folder, other))
        child.start()
        there, env, numbers = pipe.recv(), Env.real(), count(1)
        network = GrpcNetwork(env, CLUSTER, 1)
        served: list[str] = []
        node = SharedDataNode(
            1, env, FolderObjects(env.files, folder, writer="streaming"), 1, MemoryBudget(env), network,
            lambda: [(2, there)], lambda: next(numbers), lambda: served[0],
        )  # fmt: skip
        served.append(network.serve("127.0.0.1:0", node.handlers()).address)
        print("| rows | | here: processor | time | by a data node: processor | time | the data node's processor |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for rows in map(int, chosen.rows.split(",")):
            print(measure(node, growing(rows, 50, schema(chosen.json)), pipe, chosen.turns), flush=True)
        pipe.send(False)
        child.join()
        node.close()
        network.close()


if __name__ == "__main__":
    main()
