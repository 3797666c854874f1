"""How long a whole cluster takes to come back: from nothing but etcd, the log and the store of objects to full recall.

    python benchmarks/recovery.py [--rows 1000000] [--index IVF_FLAT] [--log kafka]
    python benchmarks/recovery.py --rows 20000                                  # a smoke test

Rows of 128 numbers go into a cluster of processes on this machine (`redkite cluster up --local --objects s3`); the last
twentieth is not flushed, so that it is in the log alone. Then every process of it is killed, parts included, the copies
that query nodes keep are deleted, and `redkite cluster up` is timed: until it says that all is well, until the first
search is answered, and until every row is counted and the same searches find what they found before.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import redkite
from redkite.errors import MilvusException
from redkite.launch.parts import free_ports, part_named
from redkite.launch.state import State

DIM, LIMIT, QUERIES = 128, 10, 10
NAME = "things"
BATCH = 10_000
UNFLUSHED = 20
"""One row in so many is in the log alone."""
COUNTS = {"coordinators": 1, "streaming": 1, "query": 2, "data": 0, "proxies": 1}
PATIENCE_SECONDS = 3600.0
WRITE_TRIES = 5
"""On a busy machine a batch may take longer than a proxy waits."""


class Cluster:
    """`redkite cluster up --local` in a folder."""

    def __init__(self, folder: Path, log: str) -> None:
        self.state = State(folder)
        self.port = free_ports(1)[0]
        counts = [word for key, count in COUNTS.items() for word in ("--set", f"{key}={count}")]
        self._words = ["--local", "--log", log, "--objects", "s3", "--port", str(self.port), *counts]

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        self._run("up", *self._words)

    def close(self) -> None:
        self._run("down", "--delete-data")

    def _run(self, *words: str) -> None:
        line = [sys.executable, "-m", "redkite", "cluster", *words, "--state", str(self.state.folder)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """As when the power fails: the supervisor first, so that it starts nothing again."""
        present = self.state.present()
        assert present.supervisor is not None
        present.supervisor.tell(signal.SIGKILL)
        for node in present.nodes.values():
            if node.process is not None:
                node.process.kill()
        for name in self.state.wanted().parts:
            part_named(name, self.state.part(name)).kill()

    def forget_copies(self) -> None:
        """Of objects, on the disks of query nodes."""
        subprocess.run(["rm", "-rf", str(self.state.folder / "cache")], check=True)


def fill(client: Any, rows: int, index: str) -> None:
    """Vectors that belong to some hundreds of clusters, in batches; the last are not flushed."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
    params = client.prepare_index_params()
    params.add_index("vector", index_type=index, metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=params, consistency_level="Strong")
    flushed = rows - rows // UNFLUSHED
    at = 0
    while at < rows:
        count = min(BATCH, (flushed if at < flushed else rows) - at)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors(at, count).ravel()), DIM)
        write(client, pa.table({"id": pa.array(range(at, at + count), pa.int64()), "vector": column}))
        at += count
        if at == flushed:
            client.flush(NAME)
    until = time.monotonic() + PATIENCE_SECONDS
    while client.describe_index(NAME, "vector")["pending_index_rows"] > rows // UNFLUSHED:
        assert time.monotonic() < until, "the index is not built in time"
        time.sleep(1.0)


def write(client: Any, rows: pa.Table) -> None:
    """Again where the outcome is not known: rows of the same keys are there once."""
    for tries_left in reversed(range(WRITE_TRIES)):
        try:
            client.upsert(NAME, rows)
        except MilvusException:
            if not tries_left:
                raise
            time.sleep(1.0)
        else:
            return


def vectors(first: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    centres = np.random.default_rng(0).normal(size=(256, DIM)).astype(np.float32)
    rng = np.random.default_rng(first + 1)
    return centres[rng.integers(0, 256, count)] + rng.normal(scale=0.5, size=(count, DIM)).astype(np.float32)


def found(client: Any) -> tuple[int, list[list[int]]]:
    """How many rows there are, and what the searches find."""
    counted = client.query(NAME, output_fields=["count(*)"])[0]["count(*)"]
    answers = client.search(NAME, list(vectors(10**9, QUERIES)), limit=LIMIT)
    return counted, [[hit["id"] for hit in hits] for hits in answers]


def same(before: list[list[int]], after: list[list[int]]) -> float:
    """The part of the rows found before that is found again."""
    return float(np.mean([len(set(old) & set(new)) / len(old) for old, new in zip(before, after, strict=True)]))


def measure(cluster: Cluster, before: tuple[int, list[list[int]]]) -> dict[str, float]:
    """Seconds since `up` was begun, by what had happened by then."""
    begun = time.monotonic()
    cluster.up()
    times = {"all nodes ready": time.monotonic() - begun}
    client: Any = None
    while True:
        assert time.monotonic() < begun + PATIENCE_SECONDS, "it does not come back"
        try:
            if client is None:
                client = redkite.MilvusClient(cluster.uri)
            counted, answers = found(client)
        except MilvusException as error:
            times.setdefault(f"an error: {error.message[:100]}", time.monotonic() - begun)
            time.sleep(0.1)
            continue
        times.setdefault("first answer", time.monotonic() - begun)
        if counted == before[0] and same(before[1], answers) >= 1.0:
            return {**times, "every row, full recall": time.monotonic() - begun}
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--index", default="IVF_FLAT", help="default: %(default)s, whose build takes a minute")
    parser.add_argument("--log", choices=("kafka", "pulsar"), default="kafka")
    parser.add_argument("--rounds", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="redkite-recovery-") as folder:
        cluster = Cluster(Path(folder) / "state", chosen.log)
        cluster.up()
        try:
            client = redkite.MilvusClient(cluster.uri)
            begun = time.monotonic()
            fill(client, chosen.rows, chosen.index)
            before = found(client)
            client.close()
            assert before[0] == chosen.rows, f"{before[0]} of {chosen.rows} rows are there"
            print(
                f"{chosen.rows:,} rows and an index {chosen.index} after {time.monotonic() - begun:.1f} s", flush=True
            )
            for _ in range(chosen.rounds):
                cluster.kill()
                cluster.forget_copies()
                for what, seconds in measure(cluster, before).items():
                    print(f"{seconds:8.1f} s  {what}", flush=True)
        finally:
            cluster.close()


if __name__ == "__main__":
    main()
