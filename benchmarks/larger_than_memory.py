"""Measure DISKANN where neither vectors nor caches fit into memory: recall, latency and reads from disk.

    python benchmarks/larger_than_memory.py
    python benchmarks/larger_than_memory.py --rows 20000 --dim 64 --megabytes 200       # a smoke test

The database is made here; then a fresh process opens and searches it inside a memory control group of the given size
(Linux, as root), with nothing of its files in the system's cache. Without a control group the process is not limited,
and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

import redkite
from indexes import K, clustered, recall

GROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--megabytes", type=int, default=300, help="memory of the process that searches (300)")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--search-list", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--index", default="DISKANN", help="another type, to compare")
    parser.add_argument("--folder", type=Path, help="where the database is made (default: a temporary one)")
    parser.add_argument("--step", choices=("make", "search"), help=argparse.SUPPRESS)
    return parser.parse_args()


def make(options: argparse.Namespace) -> None:
    """Write and index a collection `c`; print what was made as JSON. In a process of its own, because files that are
    still mapped stay in the system's cache."""
    data, queries = clustered(options.rows, options.dim, options.queries)
    np.savez(options.folder / "questions.npz", queries=queries, truth=faiss.knn(queries, data, K)[1])
    client = redkite.MilvusClient(str(options.folder / "large.db"))
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=data.shape[1])
    client.create_collection("c", schema=schema)
    for at in range(0, len(data), 20_000):
        client.insert("c", [{"id": at + i, "v": v} for i, v in enumerate(data[at : at + 20_000])])
    client.flush("c")
    index = client.prepare_index_params()
    index.add_index("v", index_type=options.index, metric_type="L2")
    started = time.perf_counter()
    client.create_index("c", index)
    spent = time.perf_counter() - started
    client.close()
    size = sum(path.stat().st_size for path in (options.folder / "large.db").rglob("index-*"))
    print(json.dumps({"seconds": round(spent, 1), "vectors": data.nbytes // MIB, "index": size // MIB}))


def forget(folder: Path) -> None:
    """Take the files of a folder out of the system's cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Group:
    """A memory control group, of whichever version the system has; `None` where it has none."""

    def __init__(self, megabytes: int) -> None:
        old = (GROUPS / "memory").is_dir()
        self.path: Path | None = (GROUPS / "memory" if old else GROUPS) / f"redkite-{os.getpid()}"
        try:
            self.path.mkdir()
            limit = self.path / ("memory.limit_in_bytes" if old else "memory.max")
            limit.write_text(str(megabytes * MIB))
        except OSError:
            self.close()
            self.path = None

    def enter(self) -> Callable[[], None]:
        """To be called by a process that shall be limited."""
        path = self.path

        def join() -> None:
            if path is not None:
                (path / "cgroup.procs").write_text(str(os.getpid()))

        return join

    def close(self) -> None:
        if self.path is not None and self.path.is_dir():
            self.path.rmdir()


def search(options: argparse.Namespace) -> None:
    """Open and search; print what was seen as JSON."""
    questions = np.load(options.folder / "questions.npz")
    queries, truth = questions["queries"], questions["truth"]
    started = time.perf_counter()
    client = redkite.MilvusClient(str(options.folder / "large.db"))
    client.load_collection("c")
    opened = time.perf_counter() - started
    lines = []
    for width in options.search_list:
        params = {"params": {"search_list": width} if options.index == "DISKANN" else {}}
        found, spent = [], []
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        for query in queries:
            before = time.perf_counter()
            (hits,) = client.search("c", query[None], limit=K, search_params=params)
            spent.append(time.perf_counter() - before)
            found.append(list(hits.ids))
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults
        p50, p99 = (round(float(np.percentile(spent, p)) * 1000, 3) for p in (50, 99))
        lines.append({
            "search_list": width, "recall": round(recall(found, truth), 4), "p50 ms": p50, "p99 ms": p99,
            "reads a search": round(faults / len(queries), 1),
        })  # fmt: skip
    client.close()
    print(json.dumps({"opened s": round(opened, 2), "lines": lines}))


def step(
    name: str, options: argparse.Namespace, folder: Path, enter: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Run one step in a fresh process; it prints its numbers as JSON."""
    command = [sys.executable, os.path.abspath(__file__), "--step", name, "--folder", str(folder)]
    command += ["--rows", str(options.rows), "--dim", str(options.dim), "--queries", str(options.queries)]
    command += ["--index", options.index, "--search-list", *map(str, options.search_list)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=enter)
    if not done.stdout:
        raise RuntimeError(f"{name} failed ({done.returncode}): {done.stderr[-2000:]}")
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def main() -> None:
    options = arguments()
    if options.step:
        {"make": make, "search": search}[options.step](options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        made = step("make", options, Path(place))
        forget(Path(place))
        group = Group(options.megabytes)
        try:
            seen = step("search", options, Path(place), group.enter())
        finally:
            group.close()
    limit = f"{options.megabytes} MiB of memory" if group.path else "no limit of memory: no control group could be made"
    print(f"{options.index}, {options.rows:,} x {options.dim}: {made['vectors']} MiB of vectors, {limit}")
    print(f"{made['index']} MiB of index, built in {made['seconds']} s, opened in {seen['opened s']} s\n")
    names = list(seen["lines"][0])
    table = [names, ["---:"] * len(names), *([str(line[name]) for name in names] for line in seen["lines"])]
    print("\n".join("| " + " | ".join(cells) + " |" for cells in table))


if __name__ == "__main__":
    main()
