"""What compaction gives back: bytes on disk before and after, and searches per second over many segments and over few.

    python benchmarks/compaction.py                       # 100,000 x 128 in 20 flushes, half of it deleted
    python benchmarks/compaction.py --rows 20000 --dim 64 --out bench-results/compaction.json

Runs embedded. Deleted rows may be dropped at once here (`collection.retention.seconds` is 0), and files are deleted
without a grace, so that what is measured is the space and not the waiting.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import redkite
from redkite.client.transports import engines
from redkite.cluster.local import open_database
from redkite.coordinator.compaction import CompactionPolicy

NAME = "rows"
QUERIES = 300
LIMIT = 10
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--flushes", type=int, default=20)
    parser.add_argument("--deleted", type=float, default=0.5, help="the part of the rows that is deleted")
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON too")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="redkite-compaction-"))
    try:
        found = measure(folder / "bench.db", asked.rows, asked.dim, asked.flushes, asked.deleted)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(found)
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(path: Path, rows: int, dim: int, flushes: int, deleted: float) -> dict[str, Any]:
    manual = CompactionPolicy(automatic=False)
    engines.open_handle = lambda where: open_database(where, compaction=manual, garbage_seconds=0.0)
    client = redkite.MilvusClient(str(path))
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(rows, dim)).astype(np.float32)
    queries = vectors[rng.choice(rows, QUERIES)] + 0.01
    create(client, dim)
    fill(client, vectors, flushes)
    found: dict[str, Any] = {"rows": rows, "dim": dim, "raw_mb": round(rows * (16 + 4 * dim) / MB, 1)}
    found["many segments"] = state(client, path, queries)
    before = time.perf_counter()
    compact(client)
    found["merge_s"] = round(time.perf_counter() - before, 2)
    found["merged"] = state(client, path, queries)
    client.delete(NAME, filter=f"number < {int(1000 * deleted)}")
    found["deleted"] = state(client, path, queries)
    before = time.perf_counter()
    compact(client)
    found["drop_s"] = round(time.perf_counter() - before, 2)
    found["compacted"] = state(client, path, queries)
    client.close()
    return found


def create(client: redkite.MilvusClient, dim: int) -> None:
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("number", redkite.DataType.INT64)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=dim)
    index = client.prepare_index_params("vector", index_type="HNSW", metric_type="L2", params={"M": 16})
    retention = {"collection.retention.seconds": "0"}
    client.create_collection(NAME, schema=schema, index_params=index, properties=retention)


def fill(client: redkite.MilvusClient, vectors: np.ndarray, flushes: int) -> None:
    for ids in np.array_split(np.arange(len(vectors)), flushes):
        client.insert(NAME, {"id": ids, "number": ids % 1000, "vector": vectors[ids]})
        client.flush(NAME)
    wait_indexed(client)


def wait_indexed(client: redkite.MilvusClient) -> None:
    while client.describe_index(NAME, "vector")["pending_index_rows"]:
        time.sleep(0.05)


def compact(client: redkite.MilvusClient) -> None:
    job = client.compact(NAME)
    while client.get_compaction_state(job) != "Completed":
        time.sleep(0.02)
    wait_indexed(client)


def state(client: redkite.MilvusClient, path: Path, queries: np.ndarray) -> dict[str, Any]:
    """Segments, their rows, bytes on disk, and searches one after another."""
    client.flush(NAME)
    segments = client.list_persistent_segments(NAME)
    for query in queries[:20]:
        client.search(NAME, data=[query], limit=LIMIT)
    before = time.perf_counter()
    for query in queries:
        client.search(NAME, data=[query], limit=LIMIT)
    spent = time.perf_counter() - before
    sizes = [(f.name.startswith("index"), f.stat().st_size) for f in (path / "objects").rglob("*") if f.is_file()]
    return {
        "segments": len(segments),
        "rows_stored": sum(s.num_rows for s in segments),
        "rows_mb": round(sum(size for index, size in sizes if not index) / MB, 1),
        "index_mb": round(sum(size for index, size in sizes if index) / MB, 1),
        "searches_per_s": round(len(queries) / spent),
    }


def show(found: dict[str, Any]) -> None:
    write = sys.stdout.write
    write(f"{found['rows']:,} rows x {found['dim']} ({found['raw_mb']} MB raw)\n")
    write(f"{'':<16}{'segments':>9}{'rows stored':>13}{'rows MB':>9}{'index MB':>10}{'searches/s':>12}\n")
    for name in ("many segments", "merged", "deleted", "compacted"):
        row = found[name]
        write(f"{name:<16}{row['segments']:>9}{row['rows_stored']:>13,}{row['rows_mb']:>9}{row['index_mb']:>10}")
        write(f"{row['searches_per_s']:>12}\n")
    write(f"merging took {found['merge_s']} s, dropping {found['drop_s']} s, indexes included\n")


if __name__ == "__main__":
    main()
