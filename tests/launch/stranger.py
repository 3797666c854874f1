"""A program as somebody writes it who knows nothing of Redkite: pymilvus alone, every kind of request, until its input
ends. It says what it saw as one JSON object.

    python -m tests.launch.stranger http://127.0.0.1:19530 < /dev/tty
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

from pymilvus import DataType, MilvusClient

DIM = 8
KEYS = 200
"""Rows that are there all the time; each is written anew by upserts."""


def vector(number: int) -> list[float]:
    rng = random.Random(number)
    return [rng.gauss(0, 1) for _ in range(DIM)]


class Stranger:
    """Asks in a thread for each kind of request; every error that pymilvus raises is kept."""

    def __init__(self, uri: str) -> None:
        self.uri, self.name = uri, f"stranger_{int(time.time() * 1000)}"
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self.wrong: list[str] = []
        self.versions = dict.fromkeys(range(KEYS), 0)
        """Key -> the newest version that was acknowledged."""
        self.inserted: set[int] = set()
        self.deleted: set[int] = set()
        self.slowest = 0.0
        self.ended = threading.Event()

    def begin(self) -> None:
        client = MilvusClient(self.uri)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("version", DataType.INT64)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="L2", M=8, efConstruction=40)
        client.create_collection(self.name, schema=schema, index_params=index, num_shards=2, consistency_level="Strong")
        client.insert(self.name, [{"id": key, "vector": vector(key), "version": 0} for key in range(KEYS)])
        client.flush(self.name)

    def works(self) -> dict[str, Callable[[MilvusClient, int], None]]:
        return {
            "insert": self.insert, "upsert": self.upsert, "delete": self.delete, "search": self.search,
            "query": self.query, "count": self.count, "definitions": self.define,
        }  # fmt: skip

    def run(self, kind: str, work: Callable[[MilvusClient, int], None]) -> None:
        client, number = MilvusClient(self.uri), 0
        while not self.ended.is_set():
            number += 1
            began = time.monotonic()
            try:
                work(client, number)
            except Exception as error:  # noqa: BLE001  whatever a client is told counts
                self.errors.append(f"{kind}: {type(error).__name__}: {error}"[:300])
            else:
                self.done[kind] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.ended.wait(0.05)

    # -- kinds of requests ----------------------------------------------------------------------
    def insert(self, client: MilvusClient, number: int) -> None:
        key = 1_000_000 + number
        client.insert(self.name, [{"id": key, "vector": vector(key), "version": 1}])
        self.inserted.add(key)

    def upsert(self, client: MilvusClient, number: int) -> None:
        key = number % KEYS
        client.upsert(self.name, [{"id": key, "vector": vector(key), "version": number}])
        self.versions[key] = number

    def delete(self, client: MilvusClient, number: int) -> None:
        key = 2_000_000 + number
        client.insert(self.name, [{"id": key, "vector": vector(key), "version": 1}])
        client.delete(self.name, ids=[key])
        self.deleted.add(key)

    def search(self, client: MilvusClient, number: int) -> None:
        key = number * 7 % KEYS
        (hits,) = client.search(self.name, [vector(key)], limit=1)
        if [hit["id"] for hit in hits] != [key]:
            self.wrong.append(f"row {key} is not its own neighbour: {hits}")

    def query(self, client: MilvusClient, number: int) -> None:
        key = number * 11 % KEYS
        least = self.versions[key]
        rows = client.query(self.name, filter=f"id == {key}", output_fields=["version"])
        if len(rows) != 1 or rows[0]["version"] < least:
            self.wrong.append(f"row {key} of version {least} or newer was read as {rows}")

    def count(self, client: MilvusClient, _number: int) -> None:
        rows = client.query(self.name, filter=f"id < {KEYS}", output_fields=["count(*)"])
        if rows[0]["count(*)"] != KEYS:
            self.wrong.append(f"{rows[0]} of {KEYS} rows were counted")

    def define(self, client: MilvusClient, number: int) -> None:
        """A collection comes, is used under another name, and goes."""
        name = f"{self.name}_{number}"
        client.create_collection(name, dimension=DIM, metric_type="L2", consistency_level="Strong")
        client.create_alias(name, f"{name}_alias")
        client.create_partition(name, "half")
        client.insert(f"{name}_alias", [{"id": 1, "vector": vector(1)}], partition_name="half")
        (hits,) = client.search(name, [vector(1)], limit=1)
        if [hit["id"] for hit in hits] != [1]:
            self.wrong.append(f"a row of a new collection was not found: {hits}")
        client.drop_alias(f"{name}_alias")
        client.drop_collection(name)
        if client.has_collection(name):
            self.wrong.append("a collection that was dropped is there")

    # -- the end --------------------------------------------------------------------------------
    def check(self) -> None:
        """Everything acknowledged is there once, and nothing that was deleted."""
        client = MilvusClient(self.uri)
        found: Counter[int] = Counter()
        asked = sorted(self.inserted | self.deleted)
        for at in range(0, len(asked), 1000):
            low, high = asked[at], asked[min(at + 999, len(asked) - 1)]
            rows = client.query(self.name, filter=f"id >= {low} and id <= {high}", output_fields=["id"])
            found.update(row["id"] for row in rows)
        for what, keys in {
            "lost": self.inserted - found.keys(),
            "come back": self.deleted & found.keys(),
            "twice": {key for key, times in found.items() if times > 1},
        }.items():
            if keys:
                self.wrong.append(f"{len(keys)} rows are {what}: {sorted(keys)[:5]}")
        rows = client.query(self.name, filter=f"id < {KEYS}", output_fields=["version"], limit=KEYS)
        old = [row for row in rows if row["version"] < self.versions[row["id"]]]
        if len(rows) != KEYS or old:
            self.wrong.append(f"{len(rows)} of {KEYS} rows are there, and older than acknowledged {old[:5]}")
        client.drop_collection(self.name)


def main() -> int:
    stranger = Stranger(sys.argv[1])
    stranger.begin()
    threads = [threading.Thread(target=stranger.run, args=each) for each in stranger.works().items()]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    stranger.ended.set()
    for thread in threads:
        thread.join()
    stranger.check()
    print(json.dumps({
        "done": stranger.done, "errors": stranger.errors, "wrong": stranger.wrong, "slowest": stranger.slowest,
    }))  # fmt: skip
    return 1 if stranger.errors or stranger.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
