"""A process that is about to be killed: it checks what the one before it left behind, then writes from many threads.

    python -m tests.proof.victim DATABASE LEDGER SEED [POINT | check]

Prints `ready` when the check is passed and the writing begins. Whatever is wrong ends it with status 3 and a text.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.proof import deadly
from tests.proof.ledger import Account, Ledger, State, read

import redkite
from redkite.client.transports import engines
from redkite.errors import Conflict
from redkite.model.requests import AllocTimestamp

DIM = 8
KEYS = 150
"""Each writer has so many keys of its own."""
WRITERS = {"w0": "one", "w1": "one", "w2": "two"}
"""Threads that write rows, and the collection each of them writes to."""
SHARDS = {"one": 1, "two": 2}
SPARES = ("spare_a", "spare_b", "spare_c")
PARTITIONS = ("", "p")


class Wrong(AssertionError):
    """Something was lost, or is there that should not be."""


def ensure(condition: bool, text: str, *details: object) -> None:
    if not condition:
        raise Wrong(" ".join([text, *map(repr, details)]))


def vector(key: int, version: int) -> np.ndarray:
    """What the row of a key holds in its version: whole numbers, so that no digit is lost anywhere."""
    return (np.arange(DIM, dtype=np.float32) * (key % 31) + version % 1_009).astype(np.float32)


def first_key(writer: str) -> int:
    return (1 + list(WRITERS).index(writer)) * 100_000


def owned(writer: str) -> range:
    return range(first_key(writer), first_key(writer) + KEYS)


def rows_of(keys: list[int], version: int) -> list[dict[str, Any]]:
    return [{"id": k, "owner": k // 100_000, "version": version, "vector": vector(k, version)} for k in keys]


def create(client: Any, name: str, shards: int = 1) -> None:
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("owner", redkite.DataType.INT32)
    schema.add_field("version", redkite.DataType.INT64)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params("vector", index_type="HNSW", metric_type="L2", M=8, efConstruction=40)
    client.create_collection(name, schema=schema, index_params=index, num_shards=shards)


# -- checking -----------------------------------------------------------------------------------
class Check:
    """Compares a database with the ledger of those who wrote it."""

    def __init__(self, client: Any, accounts: dict[str, Account]) -> None:
        self.client = client
        self.accounts = accounts

    def run(self) -> dict[str, State]:
        """What is stored, by account. Raises `Wrong`."""
        found: dict[str, State] = {}
        for name in SHARDS:
            stored = self.stored(name)
            for writer in (w for w, collection in WRITERS.items() if collection == name):
                mine = {key: stored.pop(int(key)) for key in map(str, owned(writer)) if int(key) in stored}
                self.compare(writer, mine, SHARDS[name])
                found[writer] = mine
                self.past(writer)
            ensure(not stored, f"{name} holds rows that nobody wrote:", stored)
        found["definer"] = self.definitions()
        return found

    def stored(self, name: str) -> dict[int, int]:
        rows = self.client.query(name, "id >= 0", output_fields=["id", "owner", "version", "vector"])
        keys = [row["id"] for row in rows]
        ensure(keys == sorted(set(keys)), f"{name}: keys out of order or twice:", keys)
        for row in rows:
            right = row["owner"] == row["id"] // 100_000 and np.array_equal(
                row["vector"], vector(row["id"], row["version"])
            )
            ensure(right, f"{name}: a row is made of several:", row)
        (counted,) = self.client.query(name, output_fields=["count(*)"])
        ensure(counted["count(*)"] == len(keys), f"{name}: count(*) is not the number of rows:", counted, len(keys))
        (hits,) = self.client.search(name, [[0.0] * DIM], limit=5_000, search_params={"ef": 5_000})
        ensure(sorted(hits.ids) == keys, f"{name}: search and query disagree:", set(hits.ids) ^ set(keys))
        if keys:
            some = keys[:: max(1, len(keys) // 7)]
            ensure([r["id"] for r in self.client.get(name, some)] == some, f"{name}: get does not find", some)
        return {row["id"]: row["version"] for row in rows}

    def compare(self, writer: str, mine: State, shards: int) -> None:
        account = self.accounts.get(writer, Account())
        before, after = account.before(), account.after()
        for shard, keys in enumerate(by_shard(writer, shards)):
            here = {key: version for key, version in mine.items() if key in keys}
            allowed = [{k: v for k, v in state.items() if k in keys} for state in (before, after)]
            if here not in allowed:
                differs = {
                    k: (allowed[0].get(k), allowed[1].get(k), here.get(k))
                    for k in keys
                    if here.get(k) != allowed[0].get(k) or here.get(k) != allowed[1].get(k)
                }
                raise Wrong(f"{writer}, shard {shard}: (before, after, found) {differs}; open: {account.open}")

    def past(self, writer: str) -> None:
        """What was there at moments that earlier processes noted is there at those moments still."""
        where = f"owner == {first_key(writer) // 100_000}"
        for timestamp, state in self.accounts.get(writer, Account()).moments:
            rows = self.client.query(WRITERS[writer], where, output_fields=["version"], as_of=timestamp)
            found = {str(row["id"]): row["version"] for row in rows}
            ensure(found == state, f"{writer} at {timestamp} (then, found):", state, found)

    def backups(self, folder: Path) -> None:
        """Every backup that was ever finished is whole."""
        if folder.exists():
            for backup in self.client.list_backups(str(folder)):
                self.client.verify_backup(str(folder), backup.name)

    def definitions(self) -> State:
        account = self.accounts.get("definer", Account())
        found: State = {}
        for name in set(self.client.list_collections()) - set(SHARDS):
            ensure(name in SPARES, "a collection that nobody made:", name)
            if self.client.get_load_state(name)["state"] != redkite.LoadState.Loaded:
                half_made = name not in account.before() and account.open.get(name) == 0
                ensure(half_made, f"{name} is not loaded")
                self.client.drop_collection(name)
                continue
            rows = self.client.query(name, "id >= 0", output_fields=["id"])
            ensure([row["id"] for row in rows] == list(range(len(rows))), f"{name} holds half a write:", rows)
            found[name] = len(rows)
        ensure(
            found in (account.before(), account.after()),
            "definitions (before, after, found):", account.before(), account.after(), found,
        )  # fmt: skip
        return found


def by_shard(writer: str, shards: int) -> list[set[str]]:
    """A write to several shards is whole on each of them."""
    import pyarrow as pa

    from redkite.proxy.routing import hashes

    keys = list(owned(writer))
    places = hashes(pa.array(keys, pa.int64())) % np.uint64(shards)
    return [{str(key) for key, place in zip(keys, places, strict=True) if place == shard} for shard in range(shards)]


# -- writing ------------------------------------------------------------------------------------
class Victim:
    """Threads that write until the process ends, each telling the ledger before and after."""

    def __init__(
        self, client: Any, ledger: Ledger, states: dict[str, State], rng: random.Random, backups: Path
    ) -> None:
        self.client = client
        self.backups = backups
        self.ledger = ledger
        self.states = states
        self.seeds = rng

    def start(self) -> list[threading.Thread]:
        bodies: list[tuple[Callable[..., None], Any]] = [(self.write, w) for w in WRITERS]
        bodies += [(self.define, "definer"), (self.keep, "keeper")]
        threads = [
            threading.Thread(target=self.guarded, args=(body, name, random.Random(self.seeds.random())))
            for body, name in bodies
        ]
        for thread in threads:
            thread.start()
        return threads

    def guarded(self, body: Callable[[str, random.Random], None], name: str, rng: random.Random) -> None:
        try:
            while True:
                body(name, rng)
        except BaseException:  # noqa: BLE001  whatever it is, the parent is told
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(3)

    def told(self, name: str, change: State, call: Callable[[], Any]) -> Any:
        self.ledger.will(name, change)
        answer = call()
        self.ledger.done(name)
        state = self.states[name] | change
        self.states[name] = {key: version for key, version in state.items() if version is not None}
        return answer

    def write(self, writer: str, rng: random.Random) -> None:
        name, version, mine = WRITERS[writer], time.time_ns() // 1000, self.states[writer]
        keys = rng.sample(owned(writer), rng.choice((1, 2, 7, 40)))
        partition = rng.choice(PARTITIONS)
        kind = rng.choice(("insert", "insert", "upsert", "upsert if", "refused", "delete", "delete where"))
        if kind in ("insert", "upsert"):
            call = self.client.insert if kind == "insert" else self.client.upsert
            rows = rows_of(keys, version)
            self.told(writer, {str(k): version for k in keys}, lambda: call(name, rows, partition_name=partition))
        elif kind in ("upsert if", "refused"):
            self.write_if(writer, [key for key in keys if str(key) in mine], version, kind == "refused")
        elif kind == "delete":
            self.told(writer, {str(k): None for k in keys}, lambda: self.client.delete(name, ids=keys))
        else:
            rest = rng.randrange(3)
            gone: State = {k: None for k, v in mine.items() if v is not None and v % 3 == rest}
            where = f"owner == {first_key(writer) // 100_000} and version % 3 == {rest}"
            answer = self.told(writer, gone, lambda: self.client.delete(name, filter=where))
            ensure(answer["delete_count"] == len(gone), f"{writer}: {where} deleted", answer, len(gone))

        if rng.random() < 0.1:
            self.ledger.moment(writer, self.client._transport.call(AllocTimestamp(), None).timestamp)

    def write_if(self, writer: str, keys: list[int], version: int, refused: bool) -> None:
        """A write on a condition that holds of all these rows, or of none of them."""
        if not keys:
            return
        name, rows = WRITERS[writer], rows_of(keys, version)
        owner = first_key(writer) // 100_000 + refused
        change: State = {} if refused else {str(k): version for k in keys}

        def call() -> bool:
            try:
                self.client.upsert(name, rows, where=f"owner == {owner}")
            except Conflict:
                return True
            return False

        ensure(self.told(writer, change, call) == refused, f"{writer}: a condition was not heeded:", keys, refused)

    def keep(self, name: str, rng: random.Random) -> None:
        time.sleep(rng.uniform(0.0, 0.08))
        collection = rng.choice(list(SHARDS))
        if rng.random() < 0.03:
            self.client.create_backup(str(self.backups), f"b{time.time_ns()}", collection)
        elif hasattr(self.client, "compact") and rng.random() < 0.4:
            self.client.compact(collection)
        else:
            self.client.flush(collection)

    def define(self, name: str, rng: random.Random) -> None:
        state, spare = self.states[name], rng.choice(SPARES)
        if spare not in state:
            self.told(name, {spare: 0}, lambda: create(self.client, spare))
            return
        size = state[spare]
        action = rng.choice(("fill", "fill", "fill", "flush", "truncate", "drop", "rename"))
        free = [other for other in SPARES if other not in state]
        if action == "fill":
            more = (size or 0) + rng.choice((1, 5, 60))
            rows = rows_of(list(range(more)), 1)
            self.told(name, {spare: more}, lambda: self.client.upsert(spare, rows))
        elif action == "flush":
            self.client.flush(spare)
        elif action == "truncate":
            self.told(name, {spare: 0}, lambda: self.client.truncate_collection(spare))
        elif action == "drop":
            self.told(name, {spare: None}, lambda: self.client.drop_collection(spare))
        elif free:
            self.told(name, {spare: None, free[0]: size}, lambda: self.client.rename_collection(spare, free[0]))
        time.sleep(0.02)


def prepare(client: Any) -> None:
    """Make the collections that are always there, the first time: one step may be left from a killed attempt."""
    for name, shards in SHARDS.items():
        if client.has_collection(name):
            if client.get_load_state(name)["state"] == redkite.LoadState.Loaded:
                continue
            client.drop_collection(name)
        create(client, name, shards)
    for name in SHARDS:
        if not client.has_partition(name, "p"):
            client.create_partition(name, "p")


def main() -> None:
    path, ledger_path, seed = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    point = sys.argv[4] if len(sys.argv) > 4 else ""
    if point not in ("", "check"):
        from redkite.cluster.local import open_database

        world = deadly.env(point)
        engines.open_handle = lambda target: open_database(target, env=world)
    try:
        client = redkite.MilvusClient(path)
        prepare(client)
        accounts = read(ledger_path)
        backups = ledger_path.parent / "backups"
        check = Check(client, accounts)
        states = check.run()
        check.backups(backups)
    except BaseException:  # noqa: BLE001  whatever it is, the parent is told
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(3)
    if point == "check":
        client.close()
        return
    ledger = Ledger(ledger_path)
    ledger.begin(ledger_path, states, accounts)
    victim = Victim(client, ledger, states, random.Random(seed), backups)
    print("ready", flush=True)
    for thread in victim.start():
        thread.join()


if __name__ == "__main__":
    main()
