"""A reader of a change feed, and the server it reads from, may die at any moment: nothing is lost and nothing comes
twice."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from tests.servers import ProcessServer

from redkite import DataType, MilvusClient, errors

DIM = 4
KILLS = 3


def make(client: Any) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("number", DataType.INT64)
    client.create_collection("c", schema=schema, num_shards=2)


def test_each_acknowledged_write_comes_once_however_often_the_server_is_killed(tmp_path: Path) -> None:
    server = ProcessServer(tmp_path / "data")
    port = server.port
    make(MilvusClient(server.uri))
    position = MilvusClient(server.uri).changes("c", name="sink").begin()
    acknowledged: dict[int, int] = {}
    stop = threading.Event()

    def write(uri: str) -> None:
        with MilvusClient(uri, timeout=60) as client:
            number = len(acknowledged)
            while not stop.is_set():
                key = number % 50
                try:
                    client.upsert("c", [{"id": key, "vector": [0.0] * DIM, "number": number}])
                    if number % 40 == 39:
                        client.flush("c")
                except errors.MilvusException:
                    continue  # it is made again: whether it was done or not, once more does no harm
                acknowledged[key] = number
                number += 1

    writer = threading.Thread(target=write, args=(server.uri,))
    writer.start()
    copy: dict[int, int] = {}
    seen: dict[int, int] = {}
    try:
        for round_ in range(KILLS + 1):
            with MilvusClient(server.uri) as reader:
                for count, change in enumerate(reader.changes("c", position=position, name="sink", wait=20)):
                    assert change.kind == "upsert"
                    for one in change.rows:
                        assert change.timestamp > seen.get(one["id"], 0), "what came once does not come again"
                        seen[one["id"]] = change.timestamp
                        copy[one["id"]] = one["number"]
                    position = change.position  # a reader that dies here goes on here
                    if count > 60 + 25 * round_:
                        break
            if round_ < KILLS:
                server.stop(signal.SIGKILL)
                server = ProcessServer(tmp_path / "data", "--port", str(port))
        stop.set()
        writer.join(60)
        for change in MilvusClient(server.uri).changes("c", position=position, name="sink", wait=0):
            copy |= {one["id"]: one["number"] for one in change.rows}
        found = MilvusClient(server.uri)
        index = found.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        found.create_index("c", index)
        found.load_collection("c")
        there = found.query("c", filter="id >= 0", output_fields=["number"], consistency_level="Strong")
        assert copy == {r["id"]: r["number"] for r in there}
        assert all(copy[key] >= number for key, number in acknowledged.items())
    finally:
        stop.set()
        server.stop()
