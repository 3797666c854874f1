"""What does a request cost a server, by gRPC and by REST, and what without a server?

    python benchmarks/requests.py                      # some minutes
    python benchmarks/requests.py --calls 50 --rounds 2   # a smoke test of half a minute

The ten calls that programs make most: by pymilvus, by Redkite's SDK, by REST over one kept connection, and by Redkite's
SDK with the engine in this process. The clients take turns, a few calls each, so that whatever else the machine does
falls on all of them alike. Printed is a table in Markdown: microseconds of CPU per call, the median of the turns,
and calls a second of one client that waits for each answer. CPU is the server's alone, except for the engine in this
process, where it is the caller's, too. How REST compares is told of each round, and the median of that.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pymilvus

from redkite import MilvusClient

NAME = "requests"
DIM, ROWS, TOP = 128, 20_000, 10
REST_MAY_COST = 1.5
"""Times what gRPC costs, for a search."""
GRPC = ("pymilvus", "redkite")
Call = Callable[[int], object]


@dataclass
class Caller:
    """One way to ask: its calls by name, and a clock of the CPU that they take, in seconds."""

    calls: dict[str, Call]
    cpu: Callable[[], float]


@dataclass
class Spent:
    """What the calls of one client took, by turn: seconds of CPU and of the clock for each call."""

    cpu: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        return 1e6 * statistics.median(self.cpu)

    @property
    def calls_a_second(self) -> float:
        return 1 / statistics.median(self.seconds)


class Rest:
    """One kept connection, and as little around it as there can be."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        data = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        self._connection.request("POST", f"/v2/vectordb/{path}", data, {"Content-Type": "application/json"})
        answer = orjson.loads(self._connection.getresponse().read())
        if answer["code"]:
            raise RuntimeError(f"{path}: {answer}")
        return answer["data"]


@contextmanager
def served(data: str) -> Iterator[tuple[int, int]]:
    """A server: its process, and its port."""
    command = [sys.executable, "-m", "redkite", "serve", "--data", data, "--port", "0", "--metrics-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"REST on \S+:(\d+)", process.stdout.readline())
        assert found is not None, "the server did not start"
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait(30)


def cpu_clock(pid: int) -> Callable[[], float]:
    """The clock of the CPU that a process of this machine has used, to the nanosecond, as clock_getcpuclockid of Linux
    numbers it."""
    return functools.partial(time.clock_gettime, (~pid << 3) | 2)


def by_sdk(client: Any, vectors: np.ndarray) -> dict[str, Call]:
    """The calls by a MilvusClient of either make."""
    many = [{"vector": vector.tolist(), "number": 1} for vector in vectors[:100]]

    def row(i: int) -> dict[str, Any]:
        return {"id": 1_000_000 + i, "vector": vectors[i % len(vectors)].tolist(), "number": i}

    return {
        "search": lambda i: client.search(NAME, [vectors[i % 1_000]], limit=TOP),
        "search, filter and field": lambda i: client.search(
            NAME, [vectors[i % 1_000]], limit=TOP, filter="number < 5000", output_fields=["number"]
        ),
        "query": lambda i: client.query(NAME, filter=f"number == {i % ROWS}", output_fields=["number"]),
        "get": lambda i: client.get(NAME, ids=[i % ROWS], output_fields=["number"]),
        "insert of 1": lambda i: client.insert(NAME, [row(i)]),
        "insert of 100": lambda i: client.insert(
            NAME, [{"id": 2_000_000 + 100 * i + n, **m} for n, m in enumerate(many)]
        ),
        "upsert of 1": lambda i: client.upsert(NAME, [row(i)]),
        "delete": lambda i: client.delete(NAME, ids=[1_000_000 + i]),
        "describe_collection": lambda _: client.describe_collection(NAME),
        "list_collections": lambda _: client.list_collections(),
    }


def by_rest(rest: Rest, vectors: np.ndarray) -> dict[str, Call]:
    """The same calls by REST."""
    many = [{"vector": vector.tolist(), "number": 1} for vector in vectors[:100]]
    where = {"collectionName": NAME}
    filtered = {"filter": "number < 5000", "outputFields": ["number"]}

    def row(i: int) -> dict[str, Any]:
        return {"id": 1_000_000 + i, "vector": vectors[i % len(vectors)].tolist(), "number": i}

    return {
        "search": lambda i: rest.post("entities/search", {**where, "data": [vectors[i % 1_000]], "limit": TOP}),
        "search, filter and field": lambda i: rest.post(
            "entities/search", {**where, **filtered, "data": [vectors[i % 1_000]], "limit": TOP}
        ),
        "query": lambda i: rest.post(
            "entities/query", {**where, "filter": f"number == {i % ROWS}", "outputFields": ["number"]}
        ),
        "get": lambda i: rest.post("entities/get", {**where, "id": [i % ROWS], "outputFields": ["number"]}),
        "insert of 1": lambda i: rest.post("entities/insert", {**where, "data": [row(i)]}),
        "insert of 100": lambda i: rest.post(
            "entities/insert", {**where, "data": [{"id": 2_000_000 + 100 * i + n, **m} for n, m in enumerate(many)]}
        ),
        "upsert of 1": lambda i: rest.post("entities/upsert", {**where, "data": [row(i)]}),
        "delete": lambda i: rest.post("entities/delete", {**where, "filter": f"id in [{1_000_000 + i}]"}),
        "describe_collection": lambda _: rest.post("collections/describe", where),
        "list_collections": lambda _: rest.post("collections/list", {}),
    }


def filled(client: Any, vectors: np.ndarray) -> None:
    client.create_collection(NAME, dimension=DIM, metric_type="L2")
    for start in range(0, ROWS, 5_000):
        rows = [{"id": i, "vector": vectors[i], "number": i} for i in range(start, start + 5_000)]
        client.insert(NAME, rows)
    client.flush(NAME)
    deadline = time.monotonic() + 120
    index = client.list_indexes(NAME)[0]
    while client.describe_index(NAME, index)["pending_index_rows"] and time.monotonic() < deadline:
        time.sleep(0.2)


def measured(callers: dict[str, Caller], calls: int, rounds: int, only: str) -> dict[str, dict[str, Spent]]:
    """What each call takes by each client."""
    found: dict[str, dict[str, Spent]] = {}
    begin = 0
    for name in next(iter(callers.values())).calls:
        if only not in name:
            continue
        spent = found[name] = {caller: Spent() for caller in callers}
        for turn in range(-1, rounds):  # the first warms up
            for caller, known in callers.items():
                call, cpu, started = known.calls[name], known.cpu(), time.perf_counter()
                for i in range(begin, begin + calls):
                    call(i)
                begin += calls
                if turn >= 0:
                    spent[caller].seconds.append((time.perf_counter() - started) / calls)
                    spent[caller].cpu.append((known.cpu() - cpu) / calls)
        print(line(name, spent), flush=True)
    return found


def compared(spent: dict[str, Spent]) -> float:
    """How often REST costs what the cheaper of the gRPC clients does: the median of the rounds."""
    cheapest = min((spent[name] for name in GRPC), key=lambda one: one.cpu_us)
    return statistics.median(rest / grpc for rest, grpc in zip(spent["REST"].cpu, cheapest.cpu, strict=True))


def head(callers: dict[str, Caller]) -> str:
    titles = "".join(f" {caller}, µs | calls/s |" for caller in callers)
    return f"| call |{titles} REST : gRPC |\n|---|{'---:|---:|' * len(callers)}---:|"


def line(name: str, spent: dict[str, Spent]) -> str:
    cells = "".join(f" {one.cpu_us:,.0f} | {one.calls_a_second:,.0f} |" for one in spent.values())
    return f"| {name} |{cells} {compared(spent):.2f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50, help="calls of one client's turn")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each client")
    parser.add_argument("--only", default="", help="calls whose names contain this")
    parsed = parser.parse_args()
    vectors = np.random.default_rng(7).random((ROWS, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder, served(f"{folder}/data") as (pid, port):
        uri = f"http://127.0.0.1:{port}"
        official, own, embedded = pymilvus.MilvusClient(uri), MilvusClient(uri), MilvusClient(f"{folder}/embedded.db")
        filled(own, vectors)
        filled(embedded, vectors)
        callers = {
            "pymilvus": Caller(by_sdk(official, vectors), cpu_clock(pid)),
            "redkite": Caller(by_sdk(own, vectors), cpu_clock(pid)),
            "REST": Caller(by_rest(Rest(port), vectors), cpu_clock(pid)),
            "embedded": Caller(by_sdk(embedded, vectors), time.process_time),
        }
        print(head(callers), flush=True)
        found = measured(callers, parsed.calls, parsed.rounds, parsed.only)
        embedded.close()
    dear = [name for name, spent in found.items() if name.startswith("search") and compared(spent) > REST_MAY_COST]
    for name in dear:
        print(f"{name}: REST costs more than {REST_MAY_COST} times what gRPC does")
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
