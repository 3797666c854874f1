"""How do things grow with the number of rows? Build time, search times, memory and bytes, drawn as a plot.

    python benchmarks/growth.py                                              # 10,000 to 1,000,000 rows x 128
    python benchmarks/growth.py --sizes 2000 5000 --dim 32 --queries 50      # a smoke test of seconds

For each size a database is written, flushed, compacted and indexed in a process of its own, and searched there, one
query at a time and 100 at a time, with the smallest ef of a list that finds 95 % of the neighbours. The figures go to a
Markdown table (and `--out`, as JSON). `--plot growth.svg` (or .png) draws them where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np

import redkite
from indexes import K, clustered, recall, table
from measure import disk_bytes, machine, own_memory, percentiles

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
WANTED = 0.95
BATCH = 10_000
SHOWN = {
    "insert_s": "insert, s", "build_s": "flush, compact and index, s", "p50_ms": "search p50, ms",
    "per_query_ms": "nq=100, ms a query", "memory_mb": "memory, MB", "disk_mb": "bytes on disk, MB",
}  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--index", default="HNSW", help="type of the index (HNSW: M 16, efConstruction 200)")
    parser.add_argument("--out", type=Path, help="write every number as JSON")
    parser.add_argument("--plot", type=Path, help="draw them: .svg or .png")
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def written(folder: str, options: argparse.Namespace, data: np.ndarray) -> tuple[Any, dict[str, Any]]:
    """A client with a loaded collection `c` under one index, and how long that took."""
    client = redkite.MilvusClient(os.path.join(folder, "grown.db"))
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=options.dim)
    client.create_collection("c", schema=schema)
    started = time.perf_counter()
    for at in range(0, len(data), BATCH):
        some = data[at : at + BATCH]
        client.insert("c", [np.arange(at, at + len(some)), some])
    inserted = time.perf_counter()
    client.flush("c")
    client.compact("c")
    wanted = client.prepare_index_params()
    build = {"M": 16, "efConstruction": 200} if options.index == "HNSW" else {}
    wanted.add_index("v", index_type=options.index, metric_type="L2", params=build)
    client.create_index("c", wanted)
    built = time.perf_counter()
    client.load_collection("c")
    return client, {"insert_s": round(inserted - started, 2), "build_s": round(built - inserted, 2)}


def measured(options: argparse.Namespace, rows: int) -> dict[str, Any]:
    """One size, in this process."""
    data, queries = clustered(rows, options.dim, options.queries)
    truth = faiss.knn(queries, data, K)[1]
    with tempfile.TemporaryDirectory() as folder:
        client, line = written(folder, options, data)
        del data

        def search(asked: np.ndarray, ef: int) -> Any:
            return client.search("c", asked, limit=K, search_params={"params": {"ef": ef} if ef else {}})

        found = 0.0
        for ef in EFS if options.index == "HNSW" else (0,):
            found = recall([list(hits.ids) for hits in search(queries, ef)], truth)
            if found >= WANTED:
                break
        spent = []
        for query in queries:
            before = time.perf_counter()
            search(query[None], ef)
            spent.append(time.perf_counter() - before)
        blocks = [queries[at : at + 100] for at in range(0, len(queries), 100)]
        before = time.perf_counter()
        for block in blocks:
            search(block, ef)
        line |= {
            "rows": rows,
            "ef": ef,
            "recall": round(found, 4),
            "p50_ms": percentiles(spent)["p50_ms"],
            "p99_ms": percentiles(spent)["p99_ms"],
            "per_query_ms": round((time.perf_counter() - before) / len(queries) * 1000, 4),
            "memory_mb": round(own_memory() / 1e6, 1),
        }
        client.close()
        line["disk_mb"] = round(disk_bytes(folder) / 1e6, 1)
    return line


def in_a_process_of_its_own(options: argparse.Namespace, rows: int) -> dict[str, Any]:
    given = ["--dim", str(options.dim), "--queries", str(options.queries), "--index", options.index]
    command = [sys.executable, __file__, "--step", str(rows), *given]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def draw(lines: list[dict[str, Any]], options: argparse.Namespace, path: Path) -> None:
    """One small chart for each figure, both axes logarithmic: a line of slope one grows as the rows do."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, charts = plt.subplots(2, 3, figsize=(11, 6), sharex=True)
    sizes = [line["rows"] for line in lines]
    for chart, (name, label) in zip(charts.flat, SHOWN.items(), strict=True):
        chart.loglog(sizes, [line[name] for line in lines], marker="o")
        chart.set_title(label, fontsize=10)
        chart.grid(True, which="both", alpha=0.3)
    for chart in charts[-1]:
        chart.set_xlabel("rows")
    figure.suptitle(f"{options.index}, {options.dim} dimensions, recall@{K} of {WANTED} or more")
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    options = arguments()
    if options.step:
        print(json.dumps(measured(options, options.step)))
        return
    lines = []
    for rows in options.sizes:
        lines.append(in_a_process_of_its_own(options, rows))
        print(lines[-1], file=sys.stderr, flush=True)
    order = ("rows", "ef", "recall", *SHOWN, "p99_ms")
    print(table([{name: line[name] for name in order} for line in lines]))
    if options.out:
        options.out.write_text(json.dumps({"machine": machine(), "index": options.index, "lines": lines}, indent=1))
    if options.plot:
        try:
            draw(lines, options, options.plot)
        except ImportError:
            print(f"{options.plot} was not drawn: `pip install matplotlib`", file=sys.stderr)


if __name__ == "__main__":
    main()
