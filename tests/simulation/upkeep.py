"""What else goes on in a database: flushes, compactions, collections and partitions that come and go, with a ledger.

What was answered must be so in the end: what was made is there, what was dropped is not, and nothing is left of it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any, Final

from tests.simulation.themes import Weights
from tests.simulation.workload import HARMLESS, TABLES, Asks, Time, Wrong, persist, rows_of, schema

from redkite.errors import CollectionNotFound, MilvusException, PartlyWritten
from redkite.model import requests as rq

SETTLING_SECONDS: Final = 60.0
"""So long what was dropped may take to be gone altogether, when everything has been mended."""


class Upkeep:
    """One fiber."""

    def __init__(
        self, world: Time, rng: random.Random, asks: Asks, pause: float = 0.8, acts: Weights | None = None
    ) -> None:
        """`acts`: how often each is done; None: all alike, but collections and partitions twice as often."""
        self._world, self._rng, self._asks, self._pause = world, rng, asks, pause
        self._acts = acts or {"flush": 1, "compact": 1, "collection": 2, "partition": 2}
        self._numbers = itertools.count(1)
        self.made: set[str] = set()
        """Collections that are there for certain."""
        self.unsure: set[str] = set()
        """… and those of which nobody has said whether they are."""
        self.partitions: dict[str, set[str]] = {}
        """Partitions that are there for certain, by collection."""
        self.unsure_partitions: set[str] = set()

    def run(self, until: float) -> None:
        kinds = {
            "flush": self._flush, "compact": self._compact, "collection": self._collection,
            "partition": self._partition,
        }  # fmt: skip
        names, shares = list(self._acts), list(self._acts.values())
        while self._world.now < until:
            self._world.sleep(self._rng.expovariate(1 / self._pause))
            kinds[self._rng.choices(names, shares)[0]]()

    def _done(self, request: rq.Request) -> bool:
        try:
            self._asks(request)
        except (*HARMLESS, PartlyWritten):
            return False
        except MilvusException as error:
            asked, got = type(request).__name__, type(error).__name__
            raise Wrong(f"{asked} was answered with {got}: {error.message}") from error
        return True

    def _table(self) -> str:
        return self._rng.choice(TABLES).name

    def _flush(self) -> None:
        self._done(rq.Flush(collections=(self._table(),)))

    def _compact(self) -> None:
        table = self._table()
        if self._done(rq.Flush(collections=(table,))):
            self._done(rq.Compact(collection=table))

    def _collection(self) -> None:
        """One comes, is written to, is called otherwise, and goes; now and then it stays."""
        name = f"other{next(self._numbers)}"
        self.unsure.add(name)
        if not self._done(rq.CreateCollection(schema=schema(name), shards=self._rng.choice((1, 2)))):
            return
        if self._rng.random() < 0.5:
            self._done(rq.Upsert(collection=name, rows=rows_of(TABLES[0], 1, 1)))
            self._done(rq.Flush(collections=(name,)))
        if self._rng.random() < 0.5:  # what cannot be done twice
            was, name = name, f"renamed{next(self._numbers)}"
            self.unsure.add(name)
            if not self._done(rq.RenameCollection(collection=was, new_name=name)):
                return
            self.unsure.discard(was)
        if self._rng.random() < 0.3:
            self._sure(self.made, self.unsure, name)
        elif self._done(rq.DropCollection(collection=name)):
            self.unsure.discard(name)

    def _partition(self) -> None:
        """One comes in a collection that is there, and goes; now and then it stays."""
        if not self.made:
            self._collection()
            return
        home, name = self._rng.choice(sorted(self.made)), f"part{next(self._numbers)}"
        self.unsure_partitions.add(name)
        if not self._done(rq.CreatePartition(collection=home, partition=name)):
            return
        if self._rng.random() < 0.5:
            self._done(rq.Upsert(collection=home, partition=name, rows=rows_of(TABLES[0], 2, 1)))
        if self._rng.random() < 0.3:
            self._sure(self.partitions.setdefault(home, set()), self.unsure_partitions, name)
        elif self._done(rq.DropPartition(collection=home, partition=name)):
            self.unsure_partitions.discard(name)

    @staticmethod
    def _sure(there: set[str], unsure: set[str], name: str) -> None:
        unsure.discard(name)
        there.add(name)

    # -- the end --------------------------------------------------------------------------------
    def check(self, keys: Callable[[], list[str]]) -> None:
        """Everything works again: what is there is what the ledger says. `keys` are those of the catalog."""
        found = {c.name: c.collection_id for c in self._ask(rq.ShowCollections()).collections}
        tables = {table.name for table in TABLES}
        self._compare("collections", set(found), tables | self.made, self.unsure)
        for name in sorted(self.made):
            names = {p.name for p in self._ask(rq.ShowPartitions(collection=name)).partitions}
            there = {"_default", *self.partitions.get(name, ())}
            self._compare(f"partitions of {name}", names, there, self.unsure_partitions)
            self._still_takes_rows(name)
        for table in sorted(tables):
            self._still_flushes(table)
        self._until_tidy(keys, {str(number) for number in found.values()})

    def _ask(self, request: rq.Request) -> Any:
        return persist(self._asks, self._world, request)

    @staticmethod
    def _compare(what: str, found: set[str], there: set[str], unsure: set[str]) -> None:
        if missing := sorted(there - found):
            raise Wrong(f"{what} were made, and are not there: {missing}")
        if left := sorted(found - there - unsure):
            raise Wrong(f"{what} were dropped, and are there: {left}")

    def _still_takes_rows(self, name: str) -> None:
        try:
            self._ask(rq.Upsert(collection=name, rows=rows_of(TABLES[0], 1, 2)))
        except CollectionNotFound as error:
            raise Wrong(f"{name} was made, and cannot be written to: {error.message}") from error

    def _still_flushes(self, name: str) -> None:
        limit = self._world.now + SETTLING_SECONDS
        while not self._done(rq.Flush(collections=(name,))):
            if self._world.now > limit:
                raise Wrong(f"{name} cannot be flushed for {SETTLING_SECONDS:g} s, though nothing fails")
            self._world.sleep(0.5)

    def _until_tidy(self, keys: Callable[[], list[str]], numbers: set[str]) -> None:
        """Nothing is left of a collection that is gone, and no change is half carried out."""
        limit = self._world.now + SETTLING_SECONDS
        while left := [key for key in keys() if _is_left(key, numbers)]:
            if self._world.now > limit:
                raise Wrong(f"{len(left)} keys of the catalog are left for ever: {left[:5]}")
            self._world.sleep(0.5)


def _is_left(key: str, numbers: set[str]) -> bool:
    kind, _, rest = key.partition("/")
    if kind == "broadcast":
        return True
    if kind == "channel":
        return rest.rpartition("_")[2].partition("v")[0] not in numbers
    return kind in ("segment", "load") and rest.partition("/")[0] not in numbers
