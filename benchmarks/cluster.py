"""What a cluster adds to one search: the same searches against `redkite serve` and against a cluster on this machine.

    python benchmarks/cluster.py [--rows 20000] [--searches 100] [--rounds 20]

The cluster is the real one, a process for each node: 1 coordinator, 1 streaming node, 2 query nodes, 1 proxy, with etcd
and a broker beside them. Each round asks one and then the other, so that both meet the same disturbances; what is
printed is the median over rounds of a round's median time, and processor time per search of each role.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil

import redkite

DIM = 128
NAME = "films"
LIMIT = 10
ROLES = ("coordinator", "streaming", "query", "data", "proxy")
COUNTS = {"coordinators": 1, "streaming": 1, "query": 2, "data": 0, "proxies": 1}


class Standalone:
    """`redkite serve` in a folder."""

    def __init__(self, folder: Path) -> None:
        serve = ["redkite", "serve", "--data", str(folder), "--port", "0", "--metrics-port", "0"]
        command = [sys.executable, "-m", *serve]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        found = re.search(r"REST on \S+:(\d+)", self._process.stdout.readline())
        assert found is not None, "the server says where it is"
        self.uri = f"http://127.0.0.1:{found[1]}"

    def cpu(self) -> dict[str, float]:
        """Processor seconds so far."""
        return {"server": _seconds(psutil.Process(self._process.pid))}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


class Cluster:
    """`redkite cluster up --local` in a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self._state = str(folder)
        counts = [word for key, count in COUNTS.items() for word in ("--set", f"{key}={count}")]
        self._run("up", "--local", "--port", str(port), *counts)
        self.uri = f"http://127.0.0.1:{port}"

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "redkite", "cluster", *arguments, "--state", self._state],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def cpu(self) -> dict[str, float]:
        """Processor seconds so far, by role."""
        found: defaultdict[str, float] = defaultdict(float)
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if any(self._state in word for word in words):
                role = next((role for role in ROLES for word in words if word.startswith(role)), "")
                if role:
                    found[role] += _seconds(process)
        return dict(found)

    def close(self) -> None:
        self._run("down", "--delete-data")


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def fill(client: redkite.MilvusClient, vectors: np.ndarray) -> None:
    """A collection of one sealed and indexed segment on each of two shards."""
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2")
    client.create_collection(NAME, schema=schema, index_params=index)
    for start in range(0, len(vectors), 5000):
        some = vectors[start : start + 5000]
        client.insert(NAME, [{"id": start + at, "vector": vector} for at, vector in enumerate(some)])
    client.flush(NAME)
    until = time.monotonic() + 120
    while client.describe_index(NAME, "vector")["pending_index_rows"] and time.monotonic() < until:
        time.sleep(0.2)


def round_of(client: redkite.MilvusClient, queries: np.ndarray, level: str) -> float:
    """The median time of these searches, in seconds."""
    times = []
    for query in queries:
        begun = time.perf_counter()
        client.search(NAME, [query], limit=LIMIT, consistency_level=level)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--searches", type=int, default=100, help="in one round, of each")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--port", type=int, default=19730)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    vectors = rng.random((options.rows, DIM), dtype=np.float32)
    queries = rng.random((options.searches, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        one, many = Standalone(Path(folder) / "one"), Cluster(Path(folder) / "many", options.port)
        try:
            compare({"standalone": one, "cluster": many}, vectors, queries, options.rounds)
        finally:
            one.close()
            many.close()


def compare(shells: dict[str, Standalone | Cluster], vectors: np.ndarray, queries: np.ndarray, rounds: int) -> None:
    """Print the times of both."""
    clients = {name: redkite.MilvusClient(shell.uri) for name, shell in shells.items()}
    for client in clients.values():
        fill(client, vectors)
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    before = {name: shell.cpu() for name, shell in shells.items()}
    for _ in range(rounds):
        for level in ("Strong", "Eventually"):
            for name, client in clients.items():
                times[name, level].append(round_of(client, queries, level))
    after = {name: shell.cpu() for name, shell in shells.items()}
    for (name, level), found in sorted(times.items()):
        print(
            f"{name:<11} {level:<11} p50 {statistics.median(found) * 1000:6.2f} ms   least {min(found) * 1000:6.2f} ms"
        )
    for level in ("Strong", "Eventually"):
        added = statistics.median(
            there - here for here, there in zip(times["standalone", level], times["cluster", level], strict=True)
        )
        print(f"added       {level:<11} p50 {added * 1000:6.2f} ms")
    searches = 2 * rounds * len(queries)
    for name in shells:
        for role, seconds in sorted(after[name].items()):
            print(f"{name:<11} {role:<11} processor {(seconds - before[name][role]) / searches * 1e6:6.0f} µs a search")


if __name__ == "__main__":
    main()
