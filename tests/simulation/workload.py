"""What clients do to a database in a simulated world, and note in a history: writes, deletes, reads at every level.

Rows of the collection `grouped` are written in groups of three, always together, so that half a write shows; those of
`spread` one by one, over two shards. The vector of a row says whose it is, so that a search finds the rows of a group.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from tests.proof.history import TORN, History, Kind, Level

from redkite.errors import (
    CollectionNotFound,
    Conflict,
    MilvusException,
    NotLoaded,
    NotReady,
    PartlyWritten,
    RateLimited,
    Unavailable,
    UnknownOutcome,
)
from redkite.model import requests as rq
from redkite.model.batch import vectors_to_arrow
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel, DataType

DIM = 4
FINAL_SECONDS = 60.0
"""After everything was mended, whatever is asked must be answered within this time."""
HARMLESS = (Unavailable, UnknownOutcome, RateLimited, NotReady, Conflict)
"""Errors that a client may see while nodes fail."""


class Time(Protocol):
    """A simulated world, or the real one."""

    now: float

    def sleep(self, seconds: float) -> None: ...


class Asks(Protocol):
    """The way of a client to the database; a new one each time, so that a dead proxy is left for another."""

    def __call__(self, request: rq.Request) -> Any: ...


@dataclass(frozen=True)
class Table:
    """A collection of the workload."""

    name: str
    shards: int
    group: int
    """Rows of a register."""
    registers: int
    level: ConsistencyLevel = ConsistencyLevel.Bounded


TABLES = (Table("grouped", 1, 3, 4), Table("spread", 2, 1, 6))


def schema(name: str) -> CollectionSchema:
    return CollectionSchema(
        name=name,
        fields=(
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
            FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)}),
            FieldSchema(name="version", data_type=DataType.INT64),
        ),
    )


def keys_of(table: Table, register: int) -> list[int]:
    return [register * 10 + at for at in range(table.group)]


def rows_of(table: Table, register: int, version: int) -> pa.RecordBatch:
    keys = keys_of(table, register)
    vectors = np.zeros((len(keys), DIM), np.float32)
    vectors[:, 0], vectors[:, 1] = keys, version % 7
    columns = [pa.array(keys, pa.int64()), vectors_to_arrow(vectors), pa.array([version] * len(keys), pa.int64())]
    return pa.RecordBatch.from_arrays(columns, ["id", "vector", "version"])


class Wrong(AssertionError):
    """An answer that no history can explain."""


@dataclass
class Client:
    """One client: a fiber that asks one thing after another."""

    name: str
    world: Time
    rng: random.Random
    asks: Asks
    history: History
    next_version: Callable[[], int]
    bound: float
    pause: float = 0.05
    """Seconds between two requests, on average."""
    hot: float = 0.4
    """The share of what is asked that concerns the first register of its table: what happens between two writes of a
    row shows in that row alone."""
    swaps: float = 0.14
    """The share of what is asked that is a write on a condition."""
    tables: tuple[Table, ...] = TABLES
    harmless: tuple[type[MilvusException], ...] = HARMLESS
    last_write: dict[str, int] = field(default_factory=dict)
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def run(self, until: float) -> None:
        while self.world.now < until:
            table = self.rng.choice(self.tables)
            self.step(table)
            self.world.sleep(self.rng.expovariate(1 / self.pause))

    def step(self, table: Table) -> None:
        luck = self.rng.random()
        hot = self.rng.random() < self.hot
        register = 0 if hot else self.rng.randrange(table.registers)
        if luck < 0.28:
            self.put(table, register)
        elif luck < 0.36:
            self.delete(table, register)
        elif luck < 0.36 + self.swaps:
            self.swap(table, register)
        elif luck < 0.42 + self.swaps:
            self.count(table, self._level())
        else:
            self.read(table, register, self._level(), by_search=self.rng.random() < 0.4)

    def _level(self) -> Level:
        levels: tuple[Level, ...] = ("Strong", "Strong", "Session", "Bounded", "Eventually")
        return self.rng.choice(levels)

    # -- writes ---------------------------------------------------------------------------------
    def put(self, table: Table, register: int) -> None:
        version = self.next_version()
        number = self._begin("put", table, register, version)
        rows = rows_of(table, register, version)
        self._write(number, table, rq.Upsert(collection=table.name, rows=rows))

    def delete(self, table: Table, register: int) -> None:
        number = self._begin("delete", table, register)
        text = f"id in {keys_of(table, register)}"
        if self.rng.random() < 0.3:
            low = register * 10
            text = f"id >= {low} and id < {low + 10}"
        self._write(number, table, rq.Delete(collection=table.name, filter=text))

    def swap(self, table: Table, register: int) -> None:
        """An upsert on the condition that the rows are as they were read."""
        seen = self.read(table, register, "Strong")
        if not isinstance(seen, int):
            return
        version = self.next_version()
        number = self.history.begin(
            self.name, "swap", (table.name, register), version, at=self.world.now, expected=seen
        )
        condition = rq.Condition(where=f"version == {seen}")
        rows = rows_of(table, register, version)
        self._write(number, table, rq.Upsert(collection=table.name, rows=rows, condition=condition))

    def _begin(self, kind: Kind, table: Table, register: int, value: Any = None) -> int:
        return self.history.begin(self.name, kind, (table.name, register), value, at=self.world.now)

    def _write(self, number: int, table: Table, request: rq.Upsert | rq.Delete) -> None:
        conditional = isinstance(request, rq.Upsert) and request.condition is not None
        try:
            answer = self._ask(request)
        except Conflict as error:
            if not conditional or not error.message.startswith("row"):
                self._note(error)
            self.history.refuse(number, at=self.world.now) if conditional else None
        except MilvusException as error:
            self._note(error)
        else:
            self.answered += 1
            self.last_write[table.name] = max(self.last_write.get(table.name, 0), answer.timestamp)
            # A delete over several shards has a timestamp on each, of which this is the largest. One that found nothing
            # is in no log: what an owner whose clock is behind writes later may have an earlier timestamp.
            exact = answer.count and (table.shards == 1 or isinstance(request, rq.Upsert))
            self.history.end(number, at=self.world.now, timestamp=answer.timestamp if exact else None)

    # -- reads ----------------------------------------------------------------------------------
    def read(self, table: Table, register: int, level: Level, by_search: bool = False) -> Any:
        number = self.history.begin(self.name, "read", (table.name, register), at=self.world.now, level=level)
        keys = keys_of(table, register)
        among = f"id in {keys}"
        common: dict[str, Any] = {
            "collection": table.name, "filter": among, "output_fields": ("id", "version"),
            "consistency_level": ConsistencyLevel[level], "guarantee_timestamp": self._guarantee(table, level),
        }  # fmt: skip
        try:
            if by_search:
                vectors = np.array([[keys[0], 0, 0, 0]], np.float32)
                queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
                answer = self._ask(rq.Search(queries=queries, limit=10, **common))
                found = self._pairs(answer.ids, answer.rows)
            else:
                answer = self._ask(rq.Query(**common))
                found = self._pairs(answer.rows.column("id"), answer.rows)
        except MilvusException as error:
            self._note(error)
            self.history.withdraw(number)
            return TORN
        self.answered += 1
        value = self._value(keys, found)
        self.history.end(number, at=self.world.now, value=value)
        return value

    @staticmethod
    def _pairs(keys: pa.Array, rows: pa.RecordBatch) -> list[tuple[int, int]]:
        """(key, version); an answer without hits may have no columns."""
        return list(zip(keys.to_pylist(), rows.column("version").to_pylist(), strict=True)) if len(keys) else []

    @staticmethod
    def _value(keys: list[int], found: list[tuple[int, int]]) -> Any:
        """The version that all rows of a register have; TORN where they do not."""
        if not found:
            return None
        versions = {version for _, version in found}
        whole = sorted(key for key, _ in found) == keys
        return versions.pop() if whole and len(versions) == 1 else TORN

    def count(self, table: Table, level: Level) -> None:
        # Counts of one moment: those of other levels are bounded too loosely to say anything.
        number = self.history.begin(self.name, "count", table.name, at=self.world.now, level=level)
        request = rq.Query(
            collection=table.name, output_fields=("count(*)",), consistency_level=ConsistencyLevel[level],
            guarantee_timestamp=self._guarantee(table, level),
        )  # fmt: skip
        try:
            answer = self._ask(request)
        except MilvusException as error:
            self._note(error)
            self.history.withdraw(number)
            return
        self.answered += 1
        self.history.end(number, at=self.world.now, value=int(answer.rows.column(0)[0].as_py()))

    def _guarantee(self, table: Table, level: Level) -> int:
        return self.last_write.get(table.name, 0) if level == "Session" else 0

    # -- asking ---------------------------------------------------------------------------------
    def _ask(self, request: rq.Request) -> Any:
        answer = self.asks(request)
        return answer.result() if isinstance(answer, Future) else answer

    def _note(self, error: MilvusException) -> None:
        """An error is no answer; it must be one that failing nodes explain."""
        name = type(error).__name__
        self.refused[name] = self.refused.get(name, 0) + 1
        if not isinstance(error, (*self.harmless, PartlyWritten)):
            raise Wrong(f"{self.name} got {name}: {error.message}") from error

    # -- the end --------------------------------------------------------------------------------
    def read_everything(self, levels: tuple[Level, ...] = ("Strong", "Session")) -> None:
        """Reads of all registers, when everything has been mended: each must be answered."""
        for table in self.tables:
            for level in levels:
                self._until_answered(lambda table=table, level=level: self.read_all(table, level))
            self._until_answered(lambda table=table: self.count(table, "Strong"))

    def read_all(self, table: Table, level: Level) -> None:
        """All registers of a table by one query: a read of each, for the history."""
        numbers = [
            self.history.begin(self.name, "read", (table.name, register), at=self.world.now, level=level)
            for register in range(table.registers)
        ]
        keys = [keys_of(table, register) for register in range(table.registers)]
        request = rq.Query(
            collection=table.name, filter=f"id in {list(itertools.chain(*keys))}", output_fields=("id", "version"),
            consistency_level=ConsistencyLevel[level], guarantee_timestamp=self._guarantee(table, level),
        )  # fmt: skip
        try:
            answer = self._ask(request)
        except MilvusException as error:
            self._note(error)
            for number in numbers:
                self.history.withdraw(number)
            return
        self.answered += len(numbers)
        found = self._pairs(answer.rows.column("id"), answer.rows)
        for number, mine in zip(numbers, keys, strict=True):
            value = self._value(mine, [pair for pair in found if pair[0] in mine])
            self.history.end(number, at=self.world.now, value=value)

    def _until_answered(self, ask: Callable[[], Any]) -> None:
        limit = self.world.now + FINAL_SECONDS
        before = self.answered
        while self.answered == before:
            if self.world.now > limit:
                raise Wrong(f"{self.name} got no answer for {FINAL_SECONDS:g} s, though nothing fails: {self.refused}")
            ask()
            if self.answered == before:
                self.world.sleep(0.5)


def create_tables(asks: Asks, world: Time) -> None:
    """Each step again until it is answered: what is there already is not made twice."""
    for table in TABLES:
        request = rq.CreateCollection(schema=schema(table.name), shards=table.shards, consistency_level=table.level)
        index = {"index_type": "FLAT", "metric_type": "L2"}
        persist(asks, world, request)
        persist(asks, world, rq.CreateIndex(collection=table.name, field="vector", params=index))
        persist(asks, world, rq.LoadCollection(collection=table.name))


def persist(asks: Asks, world: Time, request: rq.Request) -> Any:
    """Ask until it is answered."""
    for _ in range(100):
        try:
            answer = asks(request)
            return answer.result() if isinstance(answer, Future) else answer
        except (*HARMLESS, CollectionNotFound, NotLoaded):
            world.sleep(0.5)
    raise Wrong(f"{type(request).__name__} was never done")
