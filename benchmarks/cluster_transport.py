"""What it costs to ask another node: gRPC against Arrow Flight with the same bytes, and the networks as nodes use them.

    python benchmarks/cluster_transport.py [--calls 20] [--rounds 60]

Two processes on one machine. Each round asks by each way in turn, so that all of them meet the same disturbances; what
is printed is the median over rounds of a round's median time, and of the processor time of both processes for a call.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.flight as flight

from redkite.cluster.codec import Codec
from redkite.cluster.grpc_network import METHOD, GrpcNetwork
from redkite.cluster.local_network import LocalHub
from redkite.cluster.network import Message
from redkite.cluster.shards.reading import SearchShard
from redkite.env import Env
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType, Metric
from redkite.query.plan import SearchPartial, SearchPlan

SIZES = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
SCHEMA = CollectionSchema(
    name="films",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "768"}, field_id=101),
    ),
)
PLAN = SearchPlan(
    collection_id=1, schema=SCHEMA, field="vector", metric=Metric.COSINE, params={"ef": 64}, exact=False, filter=None,
    partitions=None, limit=10, columns=("id",),
)  # fmt: skip
FOUND = SearchPartial(
    np.array([10]), pa.array(range(10)), np.zeros(10, np.float32), pa.record_batch({"id": np.arange(10)})
)
ROWS = pa.record_batch({"id": np.arange(1000), "v": pa.FixedSizeListArray.from_arrays(np.zeros(1_000_000, "f4"), 1000)})


class Fetch(Message, frozen=True):
    """-> a batch of 4 MB"""


class Cpu(Message, frozen=True):
    """-> processor seconds of the process that answers"""


SEARCH = SearchShard(channel="by-dev-rootcoord-dml_0_1v0", plan=PLAN, queries=np.zeros((1, 768), np.float32))
HANDLERS: dict[type, Callable[[Any], Any]] = {
    SearchShard: lambda _: (5, [FOUND]), Fetch: lambda _: ROWS, Cpu: lambda _: time.process_time()
}  # fmt: skip


# -- the process that answers -------------------------------------------------------------------
def serve() -> None:
    """Answer by every way until the input ends."""
    codec = Codec()
    frames = {b"search": codec.encode((5, [FOUND])), b"rows": codec.encode(ROWS)}

    def answer(data: bytes) -> bytes:
        return frames[b"rows" if len(data) < 10 else b"search"]

    server = grpc.server(ThreadPoolExecutor(32), options=SIZES)
    method = grpc.unary_unary_rpc_method_handler(lambda data, _: answer(data))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("redkite.Nodes", {"Ask": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    class Flights(flight.FlightServerBase):  # type: ignore[misc]
        def do_action(self, _: Any, action: Any) -> list[bytes]:
            return [answer(memoryview(action.body))]

    flights = Flights("grpc://127.0.0.1:0")
    network = GrpcNetwork(Env.real(), "bench", 1)
    serving = network.serve("127.0.0.1:0", HANDLERS)
    print(port, flights.port, serving.address, flush=True)
    sys.stdin.read()


# -- the process that asks ----------------------------------------------------------------------
def ways(ports: list[str]) -> dict[tuple[str, str], Callable[[], object]]:
    """(what, by which way) -> one call."""
    codec = Codec()
    bytes_of = {"search": codec.encode(SEARCH), "4 MB": b"rows"}
    method = grpc.insecure_channel(f"127.0.0.1:{ports[0]}", options=SIZES).unary_unary(METHOD)
    client = flight.FlightClient(f"grpc://127.0.0.1:{ports[1]}")

    def fly(data: bytes) -> Any:
        return codec.decode(memoryview(next(iter(client.do_action(flight.Action("ask", data)))).body))

    remote = GrpcNetwork(Env.real(), "bench", 2).connect(ports[2])
    hub = LocalHub(Env.real(), "bench")
    local = hub.network(2).connect(hub.network(1).serve("127.0.0.1:0", HANDLERS).address)
    messages: dict[str, Message] = {"search": SEARCH, "4 MB": Fetch()}
    found: dict[tuple[str, str], Callable[[], object]] = {}
    for what, data in bytes_of.items():
        message = messages[what]
        found[what, "gRPC alone"] = lambda data=data: codec.decode(method(data))
        found[what, "Flight alone"] = lambda data=data: fly(data)
        found[what, "GrpcNetwork.ask"] = lambda message=message: remote.ask(message)
        found[what, "GrpcNetwork.ask_soon"] = lambda message=message: remote.ask_soon(message).result()
        found[what, "LocalNetwork.ask"] = lambda message=message: local.ask(message)
    found["cpu", ""] = lambda: remote.ask(Cpu())
    return found


def main(calls: int, rounds: int) -> None:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    asked = ways(process.stdout.readline().split())
    cpu = asked.pop(("cpu", ""))
    times: dict[tuple[str, str], list[float]] = {way: [] for way in asked}
    costs: dict[tuple[str, str], list[float]] = {way: [] for way in asked}
    for _ in range(rounds + 1):  # the first one opens connections
        for way, ask in asked.items():
            count = calls if way[0] == "search" else max(3, calls // 6)
            spent = time.process_time() + float(cpu())  # type: ignore[arg-type]
            took = []
            for _ in range(count):
                begun = time.perf_counter()
                ask()
                took.append(time.perf_counter() - begun)
            costs[way].append((time.process_time() + float(cpu()) - spent) / count)  # type: ignore[arg-type]
            times[way].append(statistics.median(took))
    print("| message | way | p50, ms | CPU of both, ms |\n|---|---|---|---|")
    for (what, way), took in times.items():
        spent = statistics.median(costs[what, way][1:])
        print(f"| {what} | {way} | {statistics.median(took[1:]) * 1e3:.2f} | {spent * 1e3:.2f} |")
    process.stdin.close()
    process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    serve() if given.serve else main(given.calls, given.rounds)
