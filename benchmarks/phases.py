"""What is measured? One function for each line or group of lines of the report; each gives a dict of numbers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from measure import own_memory, percentiles, repeat, repeat_in_threads
from targets import EFS, MAIN, FaissTarget, MilvusTarget, Target, prepared_server
from workloads import FILTERS, Filter, K, Workload

BATCH = 1_000
COLUMNS = "bench_columns"
LIVE = "bench_live"
SINGLE = "bench_single"
SINGLE_DIM = 768
Numbers = dict[str, Any]


@dataclass
class Run:
    """One target on one workload. `seconds` is how long each repeated measurement lasts."""

    target: Target
    workload: Workload
    seconds: float
    wanted_recall: float
    singles: int
    ef: int = EFS[-1]
    results: dict[str, Numbers] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """CPU of the server; of this process where the engine runs in it."""
        return self.target.server.cpu_seconds() if self.target.server else time.process_time()

    def search(self, number: int, chosen: Filter | None = None, **more: Any) -> list[int]:
        query = self.workload.query_lists[number % len(self.workload.query_lists)]
        return self.target.search([query], self.ef, chosen, **more)[0]


# -- life ---------------------------------------------------------------------------------------
def start(run: Run) -> Numbers:
    """From the start of the process until its health page says ready; without one, until it answers a call."""
    server, before = run.target.server, time.perf_counter()
    ready = server.start() if server else 0.0
    run.target.open()
    if server is None:
        return {}
    return {"ready_s": round(ready if server.health else time.perf_counter() - before, 3)}


def insert(run: Run) -> Numbers:
    target, rows = run.target, run.workload.rows
    target.create()
    if isinstance(target, FaissTarget):
        return {}
    return insert_batches(run, target, "dicts", MAIN, rows)


Spent = tuple[float, float]
"""Seconds of one batch by the clock, and of CPU."""


def insert_batches(run: Run, target: MilvusTarget, form: str, name: str, rows: int) -> Numbers:
    """Batches of 1,000 one after another. Making the rows is not timed; their CPU on the server is counted."""
    spent = [insert_batch(run, target, form, name, first) for first in range(0, rows, BATCH)]
    return of_inserts(spent, rows / len(spent))


def insert_batch(run: Run, target: MilvusTarget, form: str, name: str, first: int) -> Spent:
    packed = target.pack(form, first, min(first + BATCH, run.workload.rows))
    cpu, before = run.cpu_seconds(), time.perf_counter()
    target.insert(packed, name)
    return time.perf_counter() - before, run.cpu_seconds() - cpu


def of_inserts(spent: list[Spent], rows_each: float) -> Numbers:
    seconds = [one for one, _ in spent]
    return {
        "rows_per_s": round(rows_each * len(spent) / sum(seconds)),
        "cpu_ms_per_batch": round(1000 * sum(cpu for _, cpu in spent) / len(spent), 2),
        **percentiles(seconds),
    }


def build(run: Run) -> Numbers:
    steps = {"flush_s": run.target.flush, "index_s": run.target.build_index, "load_s": run.target.load}
    numbers: Numbers = {}
    for name, step in steps.items():
        before = time.perf_counter()
        step()
        numbers[name] = round(time.perf_counter() - before, 3)
    numbers["total_s"] = round(sum(numbers.values()), 3)
    return numbers


# -- reads --------------------------------------------------------------------------------------
def sweep(run: Run) -> Numbers:
    """The smallest ef that reaches the recall; every later phase searches with it."""
    for ef in EFS:
        found = [run.target.search([query], ef)[0] for query in run.workload.query_lists[:300]]
        recall = run.workload.recall(found)
        run.ef = ef
        if recall >= run.wanted_recall:
            break
    return {"ef": run.ef, "recall": recall}


def with_cpu(run: Run, measured: Callable[[], Numbers]) -> Numbers:
    before = run.cpu_seconds()
    numbers = measured()
    numbers["cpu_ms_per_call"] = round(1000 * (run.cpu_seconds() - before) / numbers["calls"], 4)
    return numbers


def search(run: Run) -> Numbers:
    numbers = {}
    for threads in (1, 4, 16):
        measured = partial(repeat_in_threads, run.search, threads, run.seconds)
        numbers |= {f"{key}_{threads}": value for key, value in with_cpu(run, measured).items()}
    return numbers


def batch(run: Run) -> Numbers:
    """100 query vectors in one call."""
    queries = run.workload.queries if run.target.own_sdk else run.workload.query_lists

    def hundred(number: int) -> None:
        first = (100 * number) % len(queries)
        run.target.search(queries[first : first + 100], run.ef)

    numbers = with_cpu(run, partial(repeat, hundred, run.seconds))
    return {"vectors_per_s": round(100 * numbers["per_s"]), **numbers}


def alone(run: Run) -> Numbers:
    """The same calls of pymilvus to a server that has every answer ready: the ceiling of whoever answers it here."""
    if not isinstance(run.target, MilvusTarget) or not run.target.remote or run.target.own_sdk:
        return {}
    server = prepared_server(run.target.uri)
    prepared = MilvusTarget("prepared", "pymilvus", server.uri, server)
    prepared.workload = run.workload
    server.start()
    try:
        prepared.open()
        again = replace(run, target=prepared, results={})
        again.search(0)
        numbers = {f"single_{key}": value for key, value in search(again).items()}
        prepared.close()
        server.stop()
        server.start()  # to be told another answer
        prepared.open()
        prepared.search(run.workload.query_lists[:100], run.ef)
        return numbers | {f"batch_{key}": value for key, value in batch(again).items()}
    finally:
        prepared.close()
        server.stop()


def filters(run: Run) -> Numbers:
    numbers = {}
    for chosen in FILTERS:
        found = [run.search(number, chosen) for number in range(300)]
        numbers[f"{chosen.label}_recall"] = run.workload.recall(found, chosen.label)
        numbers[f"{chosen.label}_short"] = sum(len(row) < K for row in found)
        numbers[f"{chosen.label}_per_s"] = repeat(partial(_filtered, run, chosen), run.seconds)["per_s"]
    return numbers


def _filtered(run: Run, chosen: Filter, number: int) -> None:
    run.search(number, chosen)


def query(run: Run) -> Numbers:
    if isinstance(run.target, FaissTarget):
        return {}
    target = run.target

    def hundred_rows(number: int) -> None:
        found = target.query(f"category == {number % 100}", 100)
        assert 0 < found <= 100, f"{found} rows"

    return with_cpu(run, partial(repeat, hundred_rows, run.seconds))


# -- memory, disk, coming back ------------------------------------------------------------------
def size(run: Run) -> Numbers:
    memory = run.target.server.memory() if run.target.server else own_memory()
    disk = run.target.disk()
    return {"memory_mb": round(memory / 1e6, 1)} | ({"disk_mb": round(disk / 1e6, 1)} if disk else {})


def crash(run: Run) -> Numbers:
    """Kill the server, start it again, and ask until the first right answer comes."""
    server = run.target.server
    if server is None:
        return {}
    run.target.close()
    server.stop(signal.SIGKILL)
    before = time.perf_counter()
    server.start()
    run.target.open()
    run.target.load()
    wanted = set(run.workload.truth["none"][0].tolist())
    while len(wanted & set(run.search(0))) < K // 2:
        time.sleep(0.02)
    return {"to_first_search_s": round(time.perf_counter() - before, 3)}


def reopen(run: Run) -> Numbers:
    """Import and first search of an existing database in a fresh process, with its memory; the best of three."""
    target = run.target
    if not isinstance(target, MilvusTarget) or target.remote:
        return {}
    target.close()
    script = Path(__file__).with_name("first_search.py")
    queries = Path(target.uri).with_suffix(".queries.npy")
    np.save(queries, run.workload.queries)
    lines = []
    for _ in range(3):
        command = [sys.executable, str(script), target.module.__name__, target.uri, MAIN, str(queries)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        lines.append(json.loads(finished.stdout))
    target.open()
    return min(lines, key=lambda line: float(line["first_search_s"]))


# -- more ways to write -------------------------------------------------------------------------
def columns(run: Run) -> Numbers:
    """Rows as numpy columns and as Arrow, which only our own SDK takes: in turns, into one collection, since whoever
    comes second finds memory that the first one had to ask for."""
    target = run.target
    if not isinstance(target, MilvusTarget) or not target.own_sdk:
        return {}
    target.create(COLUMNS)
    spent: dict[str, list[Spent]] = {"numpy": [], "arrow": []}
    for place, first in enumerate(range(0, run.workload.rows, BATCH)):
        for form in spent if place % 2 else reversed(spent):
            spent[form].append(insert_batch(run, target, form, COLUMNS, first))
    target.client.drop_collection(COLUMNS)
    return {f"{form}_{key}": value for form, some in spent.items() for key, value in of_inserts(some, BATCH).items()}


def live(run: Run) -> Numbers:
    """Searches while a loaded collection is flushed and indexed: the lowest recall that 50 queries saw meanwhile."""
    target = run.target
    if not isinstance(target, MilvusTarget):
        return {}
    target.create(LIVE, indexed=True, consistency="Strong")
    form = "numpy" if target.own_sdk else "dicts"
    for first in range(0, run.workload.rows, BATCH):
        target.insert(target.pack(form, first, min(first + BATCH, run.workload.rows)), LIVE)
    done = threading.Event()
    seen: list[float] = []

    def look() -> None:
        number = 0
        while not done.is_set():
            first = (50 * number) % 1_000
            queries = run.workload.query_lists[first : first + 50]
            truth = run.workload.truth["none"][first : first + 50].tolist()
            found = target.search(queries, run.ef, name=LIVE)
            seen.append(sum(len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)) / (K * len(found)))
            number += 1

    watcher = threading.Thread(target=look)
    watcher.start()
    before = time.perf_counter()
    try:
        target.flush(LIVE)
        target.wait_for_index(LIVE)
        seconds = time.perf_counter() - before
        time.sleep(min(0.5, run.seconds))
    finally:
        done.set()
        watcher.join()
    target.client.drop_collection(LIVE)
    return {
        "seconds": round(seconds, 3),
        "searches": len(seen),
        "recall_lowest": round(min(seen, default=0), 3),
        "recall_mean": round(sum(seen) / max(len(seen), 1), 4),
    }


def singles(run: Run) -> Numbers:
    """Single-row inserts and Strong single-vector searches at 768 dimensions, all at once and one after another."""
    target = run.target
    if not isinstance(target, MilvusTarget):
        return {}
    random, count = np.random.default_rng(5), run.singles
    vectors = random.normal(size=(count + 1, SINGLE_DIM)).astype(np.float32).tolist()
    rows = [[{"id": number, "vector": vectors[number], "text": f"text {number}"}] for number in range(count + 1)]

    def fresh() -> None:
        if target.client.has_collection(SINGLE):
            target.client.drop_collection(SINGLE)
        target.client.create_collection(SINGLE, dimension=SINGLE_DIM, metric_type="COSINE", consistency_level="Strong")

    async def insert_one(client: Any, number: int) -> None:
        await client.insert(SINGLE, rows[number])

    async def search_one(client: Any, number: int) -> None:
        found = await client.search(SINGLE, data=[vectors[number]], limit=3, consistency_level="Strong")
        assert found[0][0]["id"] == number

    def search_one_now(number: int) -> None:
        found = target.client.search(SINGLE, data=[vectors[number]], limit=3, consistency_level="Strong")
        assert found[0][0]["id"] == number

    numbers: Numbers = {"count": count}
    fresh()
    numbers["insert_gathered_s"] = round(target.gather(insert_one, count), 3)
    numbers["search_gathered_s"] = round(target.gather(search_one, count), 3)
    numbers["search_sequence_s"] = in_sequence(search_one_now, count)
    fresh()
    numbers["insert_sequence_s"] = in_sequence(lambda number: target.client.insert(SINGLE, rows[number]), count)
    target.client.drop_collection(SINGLE)
    return numbers


def in_sequence(call: Callable[[int], object], count: int, cap: float = 20.0) -> float:
    """Seconds for `count` calls; measured on the first ones only where all would take longer than `cap`."""
    before = time.perf_counter()
    for number in range(count):
        call(number)
        spent = time.perf_counter() - before
        if spent > cap:
            return round(spent / (number + 1) * count, 1)
    return round(time.perf_counter() - before, 3)


ORDER = (start, insert, build, sweep, search, batch, alone, filters, query, size, crash, reopen, columns, live, singles)
PHASES: dict[str, Callable[[Run], Numbers]] = {phase.__name__: phase for phase in ORDER}
ALWAYS = ("start", "insert", "build", "sweep")
