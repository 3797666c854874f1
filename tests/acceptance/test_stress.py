"""Many clients define, write, read and drop the same few collections at once: every answer is a right one."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pymilvus
from tests.servers import ProcessServer, wire_server

import redkite

DIM = 16
SECONDS = 6.0
CLIENTS = 6
EXPECTED = {100, 101, 103, 200, 201, 700, 1100, 1602}
"""What another client has just dropped, released, renamed, not yet made or not yet loaded."""


class Visitor:
    """One client that does what comes to its mind until `deadline`."""

    def __init__(self, number: int, uri: str, seed: int, deadline: float) -> None:
        self.module: Any = redkite if number % 2 else pymilvus
        self.choose = random.Random(seed + number)
        self.deadline = deadline
        self.done = 0
        self.problems: list[str] = []
        options = {} if self.module is redkite else {"dedicated": True}
        self.client: Any = self.module.MilvusClient(uri=uri, **options)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        often = [self.insert, self.search, self.read]
        seldom = [
            self.create, self.drop, self.truncate, self.release, self.load, self.partition, self.alias, self.index,
            self.delete, self.flush, self.rename, self.describe,
        ]  # fmt: skip
        actions: list[Callable[[str], object]] = often * 4 + seldom
        while time.monotonic() < self.deadline:
            action = self.choose.choice(actions)
            try:
                action(f"s{self.choose.randrange(3)}")
                self.done += 1
            except self.module.MilvusException as error:
                if error.code not in EXPECTED:
                    self.problems.append(f"{action.__name__}: {error}")
            except Exception as error:  # noqa: BLE001  told with the others at the end
                self.problems.append(f"{action.__name__}: {error!r}")
        self.client.close()

    def vector(self) -> list[float]:
        return [self.choose.random() for _ in range(DIM)]

    def indexes(self) -> Any:
        params = self.client.prepare_index_params()
        params.add_index(field_name="vector", index_type="HNSW", metric_type="L2")
        return params

    def create(self, name: str) -> None:
        types = self.module.DataType
        schema = self.module.MilvusClient.create_schema()
        schema.add_field("id", types.INT64, is_primary=True)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
        schema.add_field("text", types.VARCHAR, max_length=20)
        self.client.create_collection(name, schema=schema, index_params=self.indexes())

    def drop(self, name: str) -> None:
        if self.choose.random() < 0.3:
            self.client.drop_collection(name)

    def truncate(self, name: str) -> None:
        if self.choose.random() < 0.3:
            self.client.truncate_collection(name)

    def rename(self, name: str) -> None:
        self.client.rename_collection(name, f"s{self.choose.randrange(3)}")

    def insert(self, name: str) -> None:
        keys = self.choose.sample(range(100_000), self.choose.choice([1, 50, 1_500]))
        matrix = np.random.default_rng(keys[0]).random((len(keys), DIM), np.float32)
        rows = [{"id": key, "vector": v, "text": f"t{key % 7}"} for key, v in zip(keys, matrix, strict=True)]
        write = self.choose.choice([self.client.insert, self.client.upsert])
        write(name, rows, partition_name=self.choose.choice(["", "", "p"]))

    def search(self, name: str) -> None:
        condition = self.choose.choice(["", "id > 50000", "text == 't3'"])
        (hits,) = self.client.search(
            name, [self.vector()], limit=10, filter=condition, output_fields=self.choose.choice([[], ["text"], ["*"]])
        )
        assert len(set(hits.ids)) == len(hits)
        assert list(hits.distances) == sorted(hits.distances)
        assert not condition.startswith("id") or all(key > 50_000 for key in hits.ids)

    def read(self, name: str) -> None:
        rows = self.client.query(name, "text == 't2'", output_fields=["text"], limit=100)
        keys = [row["id"] for row in rows]
        assert keys == sorted(set(keys))
        assert all(key % 7 == 2 and row["text"] == "t2" for key, row in zip(keys, rows, strict=True))

    def delete(self, name: str) -> None:
        if self.choose.random() < 0.5:
            self.client.delete(name, ids=self.choose.sample(range(100_000), 100))
        else:
            self.client.delete(name, filter="text == 't1'")

    def flush(self, name: str) -> None:
        self.client.flush(name)

    def load(self, name: str) -> None:
        self.client.load_collection(name)

    def release(self, name: str) -> None:
        if self.choose.random() < 0.3:
            self.client.release_collection(name)

    def partition(self, name: str) -> None:
        self.client.create_partition(name, "p")
        if self.choose.random() < 0.3:
            self.client.release_partitions(name, ["p"])
            self.client.drop_partition(name, "p")

    def alias(self, name: str) -> None:
        self.client.create_alias(name, "a")
        self.client.drop_alias("a")

    def index(self, name: str) -> None:
        self.client.release_collection(name)
        self.client.drop_index(name, "vector")
        self.client.create_index(name, self.indexes())
        self.client.load_collection(name)

    def describe(self, name: str) -> None:
        self.client.describe_collection(name)
        self.client.get_collection_stats(name)
        self.client.list_partitions(name)


def test_clients_in_each_others_way_get_right_answers_and_break_nothing(tmp_path: Path, seed: int) -> None:
    with wire_server(tmp_path / "data") as server:
        deadline = time.monotonic() + SECONDS
        visitors = [Visitor(number, server.uri, seed, deadline) for number in range(CLIENTS)]
        for visitor in visitors:
            visitor.thread.join(SECONDS + 30)
            assert not visitor.thread.is_alive()
        assert [problem for visitor in visitors for problem in visitor.problems] == []
        assert sum(visitor.done for visitor in visitors) > 50

        client = redkite.MilvusClient(server.uri)
        kept: dict[str, int] = {}
        for name in client.list_collections():
            if not client.list_indexes(name):
                client.create_index(name, visitors[1].indexes())
            client.load_collection(name)
            kept[name] = client.query(name, output_fields=["count(*)"])[0]["count(*)"]
        client.close()
        assert server.stop() == 0
    told = server.errors
    assert "ERROR" not in told, told[max(0, told.index("ERROR") - 1000) :][:8000]
    if "CLUSTER" in os.environ:  # the log of one in a process is gone with it
        return
    with ProcessServer(tmp_path / "data") as again:
        client = redkite.MilvusClient(again.uri)
        found = {name: client.query(name, output_fields=["count(*)"])[0]["count(*)"] for name in kept}
        client.close()
    assert found == kept
