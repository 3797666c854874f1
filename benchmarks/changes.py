"""How fast is a change feed, and what do readers cost the writer?

    python benchmarks/changes.py [--rows 200000] [--dim 128] [--batch 1000] [--small]

Writes rows with no reader, with one and with several, each into a collection of its own, and reads them again from the
beginning. CPU seconds of this process are told beside the wall's: other load shifts those less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from redkite import MilvusClient


def timed(work: Callable[[], None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def write(client: Any, name: str, rows: int, dim: int, batch: int) -> None:
    numbers = np.random.default_rng(1).random((batch, dim), np.float32)
    for start in range(0, rows, batch):
        client.insert(name, {"id": np.arange(start, start + batch), "vector": numbers})


def read(client: Any, name: str, rows: int, **where: Any) -> None:
    seen = 0
    for change in client.changes(name, wait=30, **where):
        if change.batch is not None:
            seen += change.batch.num_rows
        if seen >= rows:
            return


def measure(rows: int, dim: int, batch: int, readers: Sequence[int]) -> dict[str, Any]:
    folder = tempfile.mkdtemp(prefix="redkite-changes-")
    found: dict[str, Any] = {"rows": rows, "dim": dim, "batch": batch}
    try:
        with MilvusClient(f"{folder}/feed.db") as client:
            for count in readers:
                name = f"c{count}"
                client.create_collection(name, dimension=dim)
                starts = [client.changes(name) for _ in range(count)]
                places = [stream.begin() for stream in starts]
                threads = [
                    threading.Thread(target=read, args=(client, name, rows), kwargs={"position": p}) for p in places
                ]
                for thread in threads:
                    thread.start()

                def all_of_it(name: str = name, threads: list[threading.Thread] = threads) -> None:
                    write(client, name, rows, dim, batch)
                    for thread in threads:
                        thread.join()

                wall, cpu = timed(all_of_it)
                found[f"written and read by {count}"] = {"rows/s": round(rows / wall), "cpu s": round(cpu, 2)}
            name = f"c{readers[0]}"
            wall, cpu = timed(lambda: read(client, name, rows, initial="snapshot"))
            found["snapshot"] = {"rows/s": round(rows / wall), "cpu s": round(cpu, 2)}
            position = client.changes(name).begin()
            write(client, name, rows, dim, batch)
            wall, cpu = timed(lambda: read(client, name, rows, position=position))
            found["from the log"] = {
                "rows/s": round(rows / wall), "MB/s": round(rows * (dim * 4 + 8) / wall / 1e6), "cpu s": round(cpu, 2),
            }  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--small", action="store_true", help="a few seconds, to see that it runs")
    parsed = parser.parse_args()
    rows = 10_000 if parsed.small else parsed.rows
    readers = (0, 1) if parsed.small else (0, 1, 8)
    sys.stdout.write(json.dumps(measure(rows, parsed.dim, parsed.batch, readers), indent=2) + "\n")


if __name__ == "__main__":
    main()
