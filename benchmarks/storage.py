"""Measure what storage costs: durable writes, the log beside SQLite and LMDB, recovery, reopening, bytes on disk.

    python benchmarks/storage.py
    python benchmarks/storage.py --rows 100000 --parts inserts log       # a smoke test of some seconds

LMDB is measured where its package is installed (`pip install lmdb`), and left out elsewhere. README.md beside this file
says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import redkite
from storage_parts import CHILDREN, PARTS, Place

LINES = (
    ("durable single-row inserts/s, 1 writer", "inserts", "{}_1_per_s"),
    ("p50 ms, 1 writer", "inserts", "{}_1_p50_ms"),
    ("durable single-row inserts/s, 64 writers", "inserts", "{}_64_per_s"),
    ("p50 ms, 64 writers", "inserts", "{}_64_p50_ms"),
    ("log, 1 KiB a commit, MB/s", "log", "{}_1k_mb_per_s"),
    ("log, 64 × 8 KiB a commit, MB/s", "log", "{}_512k_mb_per_s"),
    ("log, 8 MiB a commit, MB/s", "log", "{}_8m_mb_per_s"),
)
"""(title, part, key) of what is measured on all stores."""
STORES = ("redkite", "sqlite", "lmdb")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large collections (1,000,000)")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each repeated measurement")
    parser.add_argument("--index", default="HNSW", help="of the sealed collection (HNSW; FLAT is quick to build)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="where databases are made (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="also write every number as JSON")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_child(place: Place, child: str) -> dict[str, Any]:
    """Run one step in a fresh process; it prints its numbers as JSON."""
    command = [sys.executable, os.path.abspath(__file__), "--child", child, "--folder", str(place.folder)]
    command += ["--rows", str(place.rows), "--dim", str(place.dim), "--index", place.index]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"{child} failed: {done.stderr[-2000:]}")
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**numbers, "process_s": round(time.perf_counter() - started, 3)}


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: the stores side by side, then what only Redkite has."""
    rows = [["", *STORES]]
    for title, part, key in LINES:
        cells = [results.get(part, {}).get(key.format(store)) for store in STORES]
        if any(cell is not None for cell in cells):
            rows.append([title, *("" if cell is None else f"{cell:,}" for cell in cells)])
    text = ["| " + " | ".join(row) + " |" for row in rows]
    text.insert(1, "|---|" + "---:|" * len(STORES))
    for part, numbers in results.items():
        own = {key: value for key, value in numbers.items() if not key.startswith(STORES)}
        if own:
            text += ["", f"| {part} | |", "|---|---:|"]
            text += [f"| {key.replace('_', ' ')} | {value:,} |" for key, value in own.items()]
    return "\n".join(text)


def main() -> None:
    chosen = arguments()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="redkite-storage-"))
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder, chosen.rows, chosen.dim, chosen.seconds, chosen.index, in_child)
    if chosen.child:
        print(json.dumps(CHILDREN[chosen.child](place)), flush=True)
        os._exit(0)  # a child that measures recovery must not tidy up as a clean end does
    results: dict[str, dict[str, Any]] = {}
    for name in chosen.parts:
        started = time.perf_counter()
        results[name] = PARTS[name](place)
        shown = ", ".join(f"{key} {value:,}" for key, value in results[name].items())
        print(f"{name} ({time.perf_counter() - started:.1f} s): {shown}", flush=True)
    machine = measure.machine()
    print(f"\nRedkite {redkite.__version__}, {chosen.rows:,} x {chosen.dim}, {chosen.index}")
    print(f"{machine['cores']} cores, {machine['cpu']}, load {machine['load']} at the end\n")
    print(table(results))
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    if chosen.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
