"""What does a request cost a server, by gRPC and by REST?

    python benchmarks/requests.py                      # some minutes
    python benchmarks/requests.py --calls 50 --rounds 2   # a smoke test of half a minute

The ten calls that programs make most, by pymilvus, by Redkite's SDK and by REST over one kept connection. The clients
take turns, a few calls each, so that whatever else the machine does falls on all of them alike. Told are the server's
CPU per request and the median latency, and how REST compares with the cheaper of the two gRPC clients.
"""

from __future__ import annotations

import argparse
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
import psutil
import pymilvus

import redkite

NAME = "requests"
DIM, ROWS, TOP = 128, 20_000, 10
REST_MAY_COST = 1.5
"""Times what gRPC costs, for a search."""
Call = Callable[[int], object]


@dataclass
class Spent:
    """What the calls of one client took: seconds of the server's CPU, and of the clock for each."""

    cpu: float = 0.0
    seconds: list[float] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.cpu / len(self.seconds)

    @property
    def median_us(self) -> float:
        return 1e6 * statistics.median(self.seconds)

    @property
    def cells(self) -> str:
        return f"{self.cpu_us:6.0f} {self.median_us:6.0f} {1 / statistics.mean(self.seconds):6.0f}"


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
def served(data: str) -> Iterator[tuple[psutil.Process, int]]:
    """A server process and its port."""
    command = [sys.executable, "-m", "redkite", "serve", "--data", data, "--port", "0", "--metrics-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"REST on \S+:(\d+)", process.stdout.readline())
        assert found is not None, "the server did not start"
        yield psutil.Process(process.pid), int(found[1])
    finally:
        process.terminate()
        process.wait(30)


def by_sdk(client: Any, vectors: np.ndarray) -> dict[str, Call]:
    """The calls by a MilvusClient of either make."""
    many = [{"vector": vector.tolist(), "number": 1} for vector in vectors[:100]]

    def row(i: int) -> dict[str, Any]:
        return {"id": 1_000_000 + i, "vector": vectors[i % len(vectors)].tolist(), "number": i}

    def numbered(i: int) -> list[dict[str, Any]]:
        return [{"id": 2_000_000 + 100 * i + n, **one} for n, one in enumerate(many)]

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


def measured(
    process: psutil.Process, callers: dict[str, dict[str, Call]], calls: int, rounds: int, only: str
) -> dict[str, dict[str, Spent]]:
    """What each call costs by each client."""
    found: dict[str, dict[str, Spent]] = {}
    begin = 0
    for name in next(iter(callers.values())):
        if only not in name:
            continue
        spent = found[name] = {caller: Spent() for caller in callers}
        for turn in range(-1, rounds):  # the first warms up
            for caller, known in callers.items():
                call, before = known[name], process.cpu_times()
                for i in range(begin, begin + calls):
                    started = time.perf_counter()
                    call(i)
                    if turn >= 0:
                        spent[caller].seconds.append(time.perf_counter() - started)
                after = process.cpu_times()
                if turn >= 0:
                    spent[caller].cpu += after.user + after.system - before.user - before.system
                begin += calls
        print(line(name, spent), flush=True)
    return found


def line(name: str, spent: dict[str, Spent]) -> str:
    cheapest = min((one for caller, one in spent.items() if caller != "REST"), key=lambda one: one.cpu)
    rest = spent["REST"]
    cells = " | ".join(
        f"{one.cpu_us:6.0f} {one.median_us:6.0f} {1 / statistics.mean(one.seconds):6.0f}" for one in spent.values()
    )
    by_cpu = rest.cpu / cheapest.cpu if cheapest.cpu > 0 else float("nan")  # too few calls for the system's clock
    return f"| {name:<26} | {cells} | {by_cpu:4.2f} {rest.median_us / cheapest.median_us:4.2f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100, help="calls of one client's turn")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each client")
    parser.add_argument("--only", default="", help="calls whose names contain this")
    parsed = parser.parse_args()
    vectors = np.random.default_rng(7).random((ROWS, DIM), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder, served(f"{folder}/data") as (process, port):
        uri = f"http://127.0.0.1:{port}"
        official, own = pymilvus.MilvusClient(uri), redkite.MilvusClient(uri)
        filled(own, vectors)
        callers = {
            "pymilvus": by_sdk(official, vectors),
            "redkite": by_sdk(own, vectors),
            "REST": by_rest(Rest(port), vectors),
        }
        print("For each client: microseconds of the server's CPU, of the median call, and calls a second;")
        print("at the end, how REST compares with the cheaper gRPC client by CPU and by latency.")
        print(f"| {'':<26} | {' | '.join(f'{caller:<20}' for caller in callers)} | REST     |")
        found = measured(process, callers, parsed.calls, parsed.rounds, parsed.only)
    dear = [
        name for name, spent in found.items()
        if name.startswith("search")
        and spent["REST"].cpu > REST_MAY_COST * min(one.cpu for caller, one in spent.items() if caller != "REST")
    ]  # fmt: skip
    for name in dear:
        print(f"{name}: REST costs more than {REST_MAY_COST} times what gRPC does")
    return 1 if dear else 0


if __name__ == "__main__":
    sys.exit(main())
