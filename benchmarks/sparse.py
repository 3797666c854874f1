"""Measure searches over sparse vectors beside Milvus Lite: the same data and calls, in turns, in one run.

    python benchmarks/sparse.py --lite ./peers/milvus-lite
    python benchmarks/sparse.py --rows 2000 --queries 20 --rounds 1            # a smoke test, Redkite alone

Both are embedded: Redkite's SDK on a file, pymilvus on a file of Milvus Lite. Rows have some 112 dimensions of 30,000,
queries some 37, as a learned encoder of texts makes them; `--skew` makes few of them frequent. Both answers are
compared with exact ones. `--kernel` also measures each of Redkite's algorithms alone, with no client or engine around.
CPU seconds count the worker and the processes it started; on a busy machine they say more than seconds.
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

import numpy as np

K = 10
DIMS, TERMS, ASKED = 30_000, 112, 37
BATCH = 1_000
ALGORITHMS = ("DAAT_MAXSCORE", "SINDI", "TAAT_NAIVE", "BLOCK_MAX_MAXSCORE", "DAAT_WAND", "BLOCK_MAX_WAND")
_APART = {"PYTHONSAFEPATH": "1"}
"""Or a worker's library would import scripts of this folder by the names of packages."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="how often the engines take turns")
    parser.add_argument("--skew", type=float, default=0.0, help="exponent of the frequencies of dimensions")
    parser.add_argument("--lite", type=Path, help="a virtual environment with milvus-lite and pymilvus")
    parser.add_argument("--kernel", action="store_true", help="also measure every algorithm alone")
    parser.add_argument("--out", type=Path, help="also write every number as JSON")
    parser.add_argument("--work", choices=("redkite", "pymilvus"), help=argparse.SUPPRESS)
    return parser.parse_args()


def rows_of(count: int, terms: int, skew: float, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(dimensions, values) of each row."""
    rng = np.random.default_rng(seed)
    shares = np.cumsum(1 / np.arange(1, DIMS + 1) ** skew)
    picked = np.searchsorted(shares, rng.random((count, terms)) * shares[-1]).astype(np.uint32)
    made = []
    for row in picked:
        dims = np.unique(row)
        made.append((dims, rng.lognormal(0, 0.6, len(dims)).astype(np.float32)))
    return made


def as_dict(row: tuple[np.ndarray, np.ndarray]) -> dict[int, float]:
    return dict(zip(row[0].tolist(), row[1].tolist(), strict=True))


# -- a worker: one engine, asked line by line -------------------------------------------------------
def cpu_seconds() -> float:
    """Of this process and those it started, alive ones included."""
    spent = sum(os.times()[:4])
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def work(options: argparse.Namespace) -> None:
    """Fill a collection, then run all queries each time a line comes in."""
    module: Any = __import__(options.work)
    data = rows_of(options.rows, TERMS, options.skew, 1)
    queries = [as_dict(row) for row in rows_of(options.queries, ASKED, options.skew, 2)]
    with tempfile.TemporaryDirectory() as folder:
        client = module.MilvusClient(os.path.join(folder, "sparse.db"))
        schema = client.create_schema()
        schema.add_field("id", module.DataType.INT64, is_primary=True)
        schema.add_field("v", module.DataType.SPARSE_FLOAT_VECTOR)
        index = client.prepare_index_params()
        index.add_index("v", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        started = time.perf_counter()
        client.create_collection("c", schema=schema)
        for at in range(0, len(data), BATCH):
            rows = [{"id": i, "v": as_dict(row)} for i, row in enumerate(data[at : at + BATCH], at)]
            client.insert("c", rows)
        inserted = time.perf_counter()
        client.flush("c")
        client.create_index("c", index)
        client.load_collection("c")
        told = {"insert_s": inserted - started, "index_s": time.perf_counter() - inserted}
        print(json.dumps(told), flush=True)
        params = {"metric_type": "IP"}
        for _ in sys.stdin:
            started, cpu = time.perf_counter(), cpu_seconds()
            found = [client.search("c", [query], limit=K, anns_field="v", search_params=params)[0] for query in queries]
            told = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}
            print(json.dumps({**told, "scores": [[hit["distance"] for hit in each] for each in found]}), flush=True)
        client.close()


class Engine:
    """A worker in an environment of its own."""

    def __init__(self, name: str, python: str, module: str, options: argparse.Namespace) -> None:
        self.name = name
        given = ["--rows", options.rows, "--queries", options.queries, "--skew", options.skew, "--work", module]
        source = str(Path(__file__).resolve().parent.parent / "src")
        self._process = subprocess.Popen(
            [python, __file__, *map(str, given)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | _APART | ({"PYTHONPATH": source} if module == "redkite" else {}),
        )  # fmt: skip
        self.built = self._read()
        self.rounds: list[dict[str, Any]] = []

    def run(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.rounds.append(self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                return told
        raise SystemExit(f"{self.name} ended early")

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


# -- what is right, and the kernels alone -----------------------------------------------------------
def exact(options: argparse.Namespace) -> list[np.ndarray]:
    """The best scores of each query."""
    from scipy import sparse

    def matrix(rows: list[tuple[np.ndarray, np.ndarray]]) -> Any:
        starts = np.cumsum([0, *(len(dims) for dims, _ in rows)])
        dims, values = (np.concatenate([row[at] for row in rows]) for at in (0, 1))
        return sparse.csr_matrix((values, dims.astype(np.int64), starts), shape=(len(rows), DIMS))

    data = matrix(rows_of(options.rows, TERMS, options.skew, 1))
    products = (matrix(rows_of(options.queries, ASKED, options.skew, 2)) @ data.T).toarray()
    return [each[each > 0] for each in -np.sort(-products, axis=1)[:, :K]]


def recall(scores: list[list[float]], wanted: list[np.ndarray]) -> float:
    pairs = [(np.asarray(found)[:, None], want) for found, want in zip(scores, wanted, strict=True)]
    return float(np.mean([np.isclose(found, want, rtol=1e-4).any(axis=0).mean() for found, want in pairs]))


def kernels(options: argparse.Namespace) -> dict[str, float]:
    """CPU milliseconds of one query by each algorithm, the best of all rounds."""
    from redkite.index.sparse_index import SparseIndex
    from redkite.index.sparse_lists import SparseLists
    from redkite.model.sparse import SparseRows
    from redkite.model.types import Metric

    def packed(rows: list[tuple[np.ndarray, np.ndarray]]) -> SparseRows:
        starts = np.cumsum([0, *(len(dims) for dims, _ in rows)])
        return SparseRows(starts, *(np.concatenate([row[at] for row in rows]) for at in (0, 1)))

    data = packed(rows_of(options.rows, TERMS, options.skew, 1))
    queries = packed(rows_of(options.queries, ASKED, options.skew, 2))
    SparseLists.build(data[:10])
    started = time.process_time()
    lists = SparseLists.build(data)
    taken = {"build": 1000 * (time.process_time() - started)}
    for algorithm in ALGORITHMS:
        index = SparseIndex(lists, Metric.IP, algorithm)
        index.search(queries[:1], K, {}, None)
        spent = []
        for _ in range(options.rounds):
            started = time.process_time()
            index.search(queries, K, {}, None)
            spent.append(1000 * (time.process_time() - started) / len(queries))
        taken[algorithm] = min(spent)
    return taken


def main() -> None:
    options = arguments()
    if options.work:
        work(options)
        return
    engines = [Engine("Redkite", sys.executable, "redkite", options)]
    if options.lite:
        engines.append(Engine("Milvus Lite", str(options.lite / "bin" / "python"), "pymilvus", options))
    wanted = exact(options)
    for engine in engines:
        engine.run()  # warms up
    for _ in range(options.rounds):
        for engine in engines:
            engine.run()
    told: dict[str, Any] = {"rows": options.rows, "skew": options.skew}
    print(f"{options.rows} rows\n{'':14}{'insert s':>10}{'index s':>10}{'ms':>10}{'CPU ms':>10}{'recall':>10}")
    for engine in engines:
        rounds = engine.rounds[1:]
        milliseconds, cpu = (1000 * min(r[key] for r in rounds) / options.queries for key in ("seconds", "cpu"))
        share = recall(rounds[0]["scores"], wanted)
        told[engine.name] = {**engine.built, "ms": milliseconds, "cpu_ms": cpu, "recall": share}
        built = engine.built
        print(
            f"{engine.name:14}{built['insert_s']:10.2f}{built['index_s']:10.2f}{milliseconds:10.3f}{cpu:10.3f}{share:10.3f}"
        )
        engine.stop()
    if len(engines) == 2:
        ours, theirs = told["Redkite"], told["Milvus Lite"]
        print(f"{theirs['ms'] / ours['ms']:.0f} times as fast, {theirs['cpu_ms'] / ours['cpu_ms']:.0f} times less CPU")
    if options.kernel:
        told["kernels"] = kernels(options)
        for name, taken in told["kernels"].items():
            print(f"{name:20}{taken:10.3f} CPU ms")
    if options.out:
        options.out.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
