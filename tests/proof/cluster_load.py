"""Clients of a cluster of real processes: those of the simulation over real connections, and probes."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from tests.proof.history import History
from tests.simulation.workload import DIM, HARMLESS, TABLES, Client, create_tables, persist, rows_of

from redkite.client import MilvusClient
from redkite.errors import (
    ConnectError,
    Corruption,
    MilvusException,
    PartlyWritten,
    ServiceError,
    StorageError,
    Timeout,
)
from redkite.model import requests as rq
from redkite.model.batch import vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel, DataType

PATIENCE_SECONDS = 12.0
PROBE_SECONDS = 2.0
"""A probe then asks another proxy."""
DEFINITION_SECONDS = 5.0
"""A definition may have to wait for another coordinator, or for a node that is about to be taken for dead."""
FAILED = (*HARMLESS, ServiceError, ConnectError, Timeout)
"""What a client may be told while something fails."""


class RealTime:
    """Seconds since the load began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Doors:
    """One client's connections to all proxies: it leaves one that fails for another. Nothing is asked twice."""

    def __init__(self, uris: list[str], number: int = 0) -> None:
        self._uris = uris
        self._at = number % len(uris)
        self._open: dict[str, MilvusClient] = {}

    def ask(self, request: rq.Request, seconds: float = PATIENCE_SECONDS) -> Any:
        uri = self._uris[self._at % len(self._uris)]
        try:
            client = self._open.get(uri)
            if client is None:
                client = self._open[uri] = MilvusClient(uri, timeout=2.0)
            transport: Any = client._transport
            return transport._once(request, time.monotonic() + seconds)
        except (ConnectError, Timeout):
            self._at += 1
            raise
        except ServiceError as error:
            if "connect" in error.message:
                self._at += 1
            raise


Ask = Callable[[Doors], None]


@dataclass
class Probe:
    """Asks one thing again and again; keeps when it was asked and when it was answered."""

    doors: Doors
    world: RealTime
    ask: Ask
    tally: list[tuple[float, float, str]] = field(default_factory=list)
    """(asked, answered or failed, error)"""
    wrong: list[str] = field(default_factory=list)

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(0.05):
            asked, error = self.world.now, ""
            try:
                self.ask(self.doors)
            except MilvusException as failed:
                error = f"{type(failed).__name__}: {failed.message}"
            except AssertionError as found:
                self.wrong.append(f"[{self.world.now:.3f}] {found}")
            self.tally.append((asked, self.world.now, error))

    def outage(self, since: float, until: float) -> float:
        """The longest time without an answer that began in this span, in seconds."""
        answered = [since, *(at for _, at, error in self.tally if not error and since < at < until), until]
        return max(b - a for a, b in itertools.pairwise(answered))

    def errors(self, since: float, until: float) -> list[str]:
        return [error for asked, _, error in self.tally if error and since <= asked < until]


def searches_once(level: ConsistencyLevel | None = None) -> Ask:
    """The row of the writing probe is there from the beginning, and the closest. None: at the collection's level."""
    vectors = np.array([[9000, 0, 0, 0]], np.float32)
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
    request = rq.Search(
        collection=TABLES[1].name, queries=queries, limit=1, output_fields=("id",), consistency_level=level
    )

    def search(doors: Doors) -> None:
        found = doors.ask(request, PROBE_SECONDS).ids.to_pylist()
        assert found == [9000], f"a search found {found}, not [9000]"

    return search


def writes_once() -> Ask:
    """Of a key that no other client writes."""
    versions = itertools.count(10_000_000)

    def write(doors: Doors) -> None:
        rows = rows_of(TABLES[1], 900, next(versions))
        doors.ask(rq.Upsert(collection=TABLES[1].name, rows=rows), PROBE_SECONDS)

    return write


def defines_once() -> Ask:
    """Gives a collection another property: the coordinator that leads decides, and all have to know."""
    numbers = itertools.count(60)

    def define(doors: Doors) -> None:
        properties = {"collection.ttl.seconds": str(86_400 + next(numbers))}
        doors.ask(rq.AlterCollection(collection=TABLES[0].name, properties=properties), DEFINITION_SECONDS)

    return define


class Ledger:
    """Rows that get their keys from the cluster, so that one that is written twice is there twice. What was sent and
    what was acknowledged is kept here."""

    name = "ledger"
    rows = 3
    """Of an insert."""
    flush_every = 40
    """Inserts: then there is work for data nodes."""

    def __init__(self, doors: Doors, world: RealTime) -> None:
        self._doors, self._world = doors, world
        self.sent = 0
        self.acknowledged: set[int] = set()

    def make(self) -> None:
        fields = (
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, auto_id=True),
            FieldSchema(name="n", data_type=DataType.INT64),
            FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}),
        )
        index = {"index_type": "HNSW", "metric_type": "L2", "M": "8", "efConstruction": "40"}
        persist(self._doors.ask, self._world, rq.CreateCollection(
            schema=CollectionSchema(name=self.name, fields=fields), shards=2
        ))  # fmt: skip
        persist(self._doors.ask, self._world, rq.CreateIndex(collection=self.name, field="vector", params=index))
        persist(self._doors.ask, self._world, rq.LoadCollection(collection=self.name))

    def run(self, ended: threading.Event) -> None:
        for number in itertools.count(1):
            if ended.wait(0.1):
                return
            numbers = range(self.sent, self.sent + self.rows)
            self.sent += self.rows
            vectors = np.random.default_rng(self.sent).normal(size=(self.rows, DIM)).astype(np.float32)
            columns = [pa.array(numbers, pa.int64()), vectors_to_arrow(vectors)]
            with suppress(*FAILED, PartlyWritten):  # not acknowledged: each row may be there, or not
                rows = pa.RecordBatch.from_arrays(columns, ["n", "vector"])
                self._doors.ask(rq.Insert(collection=self.name, rows=rows))
                self.acknowledged |= set(numbers)
            if number % self.flush_every == 0:
                self._flush()

    def _flush(self) -> None:
        """It fails where the store of objects is away; the rows stay in memory then."""
        try:
            self._doors.ask(rq.Flush(collections=(self.name,)))
        except Corruption:
            raise
        except (*FAILED, StorageError):
            return

    def judge(self) -> list[str]:
        """What is wrong with what is there now."""
        seen: Counter[int] = Counter()
        for first in range(0, self.sent, 2000):
            request = rq.Query(
                collection=self.name, filter=f"n >= {first} and n < {first + 2000}", output_fields=("n",),
                consistency_level=ConsistencyLevel.Strong,
            )  # fmt: skip
            seen.update(persist(self._doors.ask, self._world, request).rows.column("n").to_pylist())
        lost, strange = sorted(self.acknowledged - seen.keys()), sorted(n for n in seen if n >= self.sent)
        twice = sorted(n for n, times in seen.items() if times > 1)
        said = [("acknowledged and not there", lost), ("there more than once", twice), ("never sent", strange)]
        return [f"{len(rows)} rows {what}: {rows[:5]}" for what, rows in said if rows]


class Load:
    """Clients that note a history, and probes, in threads, until it is ended."""

    def __init__(self, uris: list[str], seed: int, clients: int = 3, pause: float = 0.15) -> None:
        self.world, self.history = RealTime(), History()
        self._versions = itertools.count(1)
        self.clients = [
            Client(
                f"c{n}", self.world, random.Random(f"{seed} {n}"), Doors(uris, n).ask, self.history,
                lambda: next(self._versions), 5.0, pause, harmless=FAILED,
            )
            for n in range(clients)
        ]  # fmt: skip
        self.searches = Probe(Doors(uris), self.world, searches_once())
        self.strong = Probe(Doors(uris, 1), self.world, searches_once(ConsistencyLevel.Strong))
        self.writes = Probe(Doors(uris, 1), self.world, writes_once())
        self.definitions = Probe(Doors(uris), self.world, defines_once())
        self.probes = (self.searches, self.strong, self.writes, self.definitions)
        self.ledger = Ledger(Doors(uris), self.world)
        self._ended = threading.Event()
        self.failures: list[BaseException] = []
        works: list[Callable[[], None]] = [lambda client=client: self._drive(client) for client in self.clients]
        works += [lambda each=each: each.run(self._ended) for each in (*self.probes, self.ledger)]
        self._threads = [threading.Thread(target=self._guard, args=(work,), daemon=True) for work in works]

    def _guard(self, work: Any) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  told when the load ends
            self.failures.append(error)

    def _drive(self, client: Client) -> None:
        while not self._ended.is_set():
            client.step(client.rng.choice(client.tables))
            time.sleep(client.rng.expovariate(1 / client.pause))

    def begin(self) -> None:
        """Make the collections, then let everybody begin."""
        create_tables(self.clients[0].asks, self.world)
        self.ledger.make()
        table = TABLES[1]
        self.clients[0].asks(rq.Upsert(collection=table.name, rows=rows_of(table, 900, 1)))
        for thread in self._threads:
            thread.start()

    def end(self) -> list[BaseException]:
        """Wait for everybody; what a client could not explain."""
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        return self.failures
