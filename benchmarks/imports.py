"""Rows per second of imports, beside those of plain inserts of the same rows.

    python benchmarks/imports.py                          # 100,000 x 128
    python benchmarks/imports.py --rows 20000 --kinds parquet csv
    python benchmarks/imports.py --small                  # a smoke test of seconds

Runs embedded, against a FLAT index, so that what is measured is reading, checking and storing, and not graphs. Each way
ends when every row is in a sealed segment: inserts with a flush. `cpu` is the processor time of this process, threads
included; on a machine that does other things too it says more than the time on the wall. The ways take turns, and of
each the fastest of `--rounds` counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from redkite import DataType, MilvusClient
from redkite.bulk_writer import BulkFileType, LocalBulkWriter

NAME = "rows"
BATCH = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["parquet", "numpy", "jsonl", "csv"])
    parser.add_argument("--small", action="store_true", help="2,000 rows, one round")
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON too")
    asked = parser.parse_args()
    if asked.small:
        asked.rows, asked.rounds = 2_000, 1
    folder = Path(tempfile.mkdtemp(prefix="redkite-imports-"))
    try:
        found = measure(folder, asked.rows, asked.dim, asked.rounds, asked.kinds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(found, asked.rows, asked.dim)
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(folder: Path, rows: int, dim: int, rounds: int, kinds: list[str]) -> dict[str, dict[str, float]]:
    vectors = np.random.default_rng(7).normal(size=(rows, dim)).astype(np.float32)
    table = pa.table(
        {
            "id": pa.array(np.arange(rows)),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            "number": pa.array(np.arange(rows) % 1000),
        }
    )
    client = MilvusClient(str(folder / "bench.db"))
    ways: dict[str, Callable[[], object]] = {
        "insert of Arrow": lambda: inserted(client, table),
        "insert of dicts": lambda: inserted_dicts(client, vectors),
    }
    found: dict[str, dict[str, float]] = {}
    for kind in kinds:
        files, found[f"write {kind}"] = written(folder, kind, table, dim)
        ways[f"import {kind}"] = partial(client.import_files, NAME, files)
    for _ in range(rounds):
        for name, way in ways.items():
            fresh(client, dim)
            took = timed(way)
            assert client.query(NAME, "", output_fields=["count(*)"])[0]["count(*)"] == rows, name
            if name not in found or took["cpu"] < found[name]["cpu"]:
                found[name] = took
    client.close()
    return {name: took | {"rows_per_s": rows / took["wall"]} for name, took in found.items()}


def timed(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def schema(dim: int) -> Any:
    made = MilvusClient.create_schema()
    made.add_field("id", DataType.INT64, is_primary=True)
    made.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    made.add_field("number", DataType.INT64)
    return made


def fresh(client: MilvusClient, dim: int) -> None:
    client.drop_collection(NAME)
    index = client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(NAME, schema=schema(dim), index_params=index)


def inserted(client: MilvusClient, table: pa.Table) -> None:
    for batch in table.to_batches(max_chunksize=BATCH):
        client.insert(NAME, batch)
    client.flush(NAME)


def inserted_dicts(client: MilvusClient, vectors: np.ndarray) -> None:
    for start in range(0, len(vectors), BATCH):
        some = vectors[start : start + BATCH]
        client.insert(NAME, [{"id": start + n, "vector": v, "number": n % 1000} for n, v in enumerate(some)])
    client.flush(NAME)


def written(folder: Path, kind: str, table: pa.Table, dim: int) -> tuple[list[list[str]], dict[str, float]]:
    """The files of a kind, and what it took to write them."""
    writer = LocalBulkWriter(schema(dim), folder / kind, chunk_size=1 << 40, file_type=BulkFileType[kind.upper()])

    def write() -> None:
        writer.append_batch(table)
        writer.commit()

    with writer:
        took = timed(write)
    return writer.batch_files, took


def show(found: dict[str, dict[str, float]], rows: int, dim: int) -> None:
    base = found["insert of Arrow"]["cpu"]
    print(f"{rows:,} rows of {dim} dimensions")
    print(f"{'':<18}{'rows/s':>12}{'wall s':>9}{'cpu s':>9}{'cpu beside inserts of Arrow':>30}")
    for name, took in found.items():
        ratio = "" if name.startswith("write") else f"{took['cpu'] / base:.2f}"
        print(f"{name:<18}{took['rows_per_s']:>12,.0f}{took['wall']:>9.2f}{took['cpu']:>9.2f}{ratio:>30}")


if __name__ == "__main__":
    main()
