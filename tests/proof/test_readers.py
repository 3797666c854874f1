"""Readers beside writers: every answer is what was stored at one moment between its beginning and its end.

Each writer owns some keys and always writes all of them in one call, over all partitions and shards. So a right answer
holds a writer's rows all in one version, one that was being written or already answered while the reader read.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.proof.doors import DOORS, Door

NAME = "watched"
KEYS = 30
WRITERS = 2
READERS = 2
SECONDS = 3.0
DIM = 4


class Writer:
    """The versions of one writer's rows: 0 is none at all."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.keys = list(range(number * 1_000, number * 1_000 + KEYS))
        self.begun = 0
        self.answered = 0
        self.gone: set[int] = {0}
        """Versions that are deletes."""

    def rows(self, version: int) -> list[dict[str, Any]]:
        return [
            {"id": key, "owner": self.number, "place": key % 7, "version": version, "vector": [float(version)] * DIM}
            for key in self.keys
        ]


class Watch:
    """Threads over one collection, and what they found wrong."""

    def __init__(self, door: Door, shards: int, seed: int) -> None:
        self.door = door
        self.rng = random.Random(seed)
        self.writers = [Writer(number) for number in range(1, WRITERS + 1)]
        self.problems: list[str] = []
        self.answers = 0
        self.stop = threading.Event()
        create(door, shards)

    def run(self) -> None:
        bodies: list[Callable[[], None]] = [partial(self.write, writer) for writer in self.writers]
        bodies += [self.read] * READERS + [self.upset]
        threads = [threading.Thread(target=self.guarded, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        self.stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()

    def guarded(self, body: Callable[[], None]) -> None:
        try:
            while not self.stop.is_set():
                body()
        except BaseException as error:  # noqa: BLE001  told with the others at the end
            self.problems.append(repr(error))
            self.stop.set()

    # -- what the threads do --------------------------------------------------------------------
    def write(self, writer: Writer) -> None:
        version = writer.begun + 1
        if version % 5 == 0:
            writer.gone.add(version)
        writer.begun = version
        if version not in writer.gone:
            self.door.client.upsert(NAME, writer.rows(version))
        elif version % 2:
            self.door.client.delete(NAME, ids=writer.keys)
        else:
            self.door.client.delete(NAME, filter=f"owner == {writer.number}")
        writer.answered = version
        mine = self.door.client.query(NAME, f"owner == {writer.number}", output_fields=["version"])
        expected = [] if version in writer.gone else [version] * KEYS
        assert [row["version"] for row in mine] == expected, f"writer {writer.number} does not see its write {version}"

    def read(self) -> None:
        before = [writer.answered for writer in self.writers]
        ask = self.rng.choice([self.by_query, self.by_search, self.by_ids])
        found = ask()
        after = [writer.begun for writer in self.writers]
        self.answers += 1
        for writer, low, high in zip(self.writers, before, after, strict=True):
            versions = sorted(version for owner, version in found if owner == writer.number)
            allowed = range(low, high + 1)
            if versions:
                assert len(set(versions)) == 1, f"{ask.__name__}: half of a write: {versions}"
                assert len(versions) == KEYS, f"{ask.__name__}: {len(versions)} rows of version {versions[0]}"
                assert versions[0] in allowed, f"{ask.__name__}: version {versions[0]} is none of {allowed}"
            else:
                assert writer.gone & set(allowed), f"{ask.__name__}: no rows, though none of {allowed} is a delete"

    def by_query(self) -> list[tuple[int, int]]:
        rows = self.door.client.query(NAME, "owner > 0", output_fields=["owner", "version"])
        return [(row["owner"], row["version"]) for row in rows]

    def by_search(self) -> list[tuple[int, int]]:
        (hits,) = self.door.client.search(NAME, [[0.0] * DIM], limit=1_000, output_fields=["owner", "version"])
        assert all(np.float32(hit["distance"]) == DIM * np.float32(hit["entity"]["version"]) ** 2 for hit in hits)
        return [(hit["entity"]["owner"], hit["entity"]["version"]) for hit in hits]

    def by_ids(self) -> list[tuple[int, int]]:
        keys = [key for writer in self.writers for key in writer.keys]
        rows = self.door.client.get(NAME, keys, output_fields=["owner", "version"])
        return [(row["owner"], row["version"]) for row in rows]

    def upset(self) -> None:
        """Whatever goes on below must not be seen from above."""
        time.sleep(self.rng.uniform(0, 0.05))
        if hasattr(self.door.client, "compact") and self.rng.random() < 0.4:
            self.door.client.compact(NAME)
        else:
            self.door.client.flush(NAME)


def create(door: Door, shards: int) -> None:
    types = door.module.DataType
    schema = door.client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("owner", types.INT64)
    schema.add_field("place", types.INT64, is_partition_key=True)
    schema.add_field("version", types.INT64)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    index = door.client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    door.client.create_collection(NAME, schema=schema, index_params=index, num_shards=shards, num_partitions=3)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("door", ["embedded", "wire"])
def test_every_answer_is_of_one_moment_while_it_was_asked(door: str, shards: int, seed: int) -> None:
    opened = DOORS[door]()
    try:
        watch = Watch(opened, shards, seed)
        watch.run()
        assert watch.problems == []
        assert watch.answers > 20
        assert all(writer.answered > 5 for writer in watch.writers)
    finally:
        opened.close()
