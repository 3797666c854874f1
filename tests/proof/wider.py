"""More of the public API for the machine: arrays that change, pages of one moment, orders, aliases, backups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.proof.machine import CAPACITY, NAMES, Machine, keys, names, numbers, partitions, plain, vectors, within
from tests.proof.oracle import Condition, Key, Model, Row, conditions

import redkite

ALIAS = "gamma"
OPS = ["array_append", "array_remove"]
Pages = Iterable[list[Row]]


class WiderMachine(Machine):
    """The machine with further rules."""

    def __init__(self) -> None:
        super().__init__()
        self.named: Model | None = None
        """The collection that the alias stands for."""
        self.made = 0
        """Backups, so far."""

    # -- much at once ---------------------------------------------------------------------------
    @rule(name=names, seed=st.integers(0, 1 << 30), count=st.integers(2, 12))
    def churn(self, name: str, seed: int, count: int) -> None:
        """Several writes in a row, of one seed; then every row is compared."""
        model, chance = self.loaded(name), Random(seed)
        for _ in range(count):
            self._churn_once(model, chance)
        self.compare_rows(model)

    def _churn_once(self, model: Model, chance: Random) -> None:
        some = chance.sample(range(14), chance.randint(1, 4))
        ids = [self.key(model, number) for number in some]
        match chance.choice(("put", "put", "put", "change", "arrays", "delete", "flush")):
            case "put":
                partition = chance.choice(["", "p", "q"])
                rows = [self._plain_row(model, number) | {"number": chance.randrange(12)} for number in some]
                self._put(model, rows, partition, chance.random() < 0.5)
            case "change":
                rows = [{"id": key, "word": chance.choice([None, "a", "b"])} for key in ids if key in model.rows]
                if rows:
                    self.client.upsert(model.name, [dict(row) for row in rows], partial_update=True)
                    model.change(rows)
            case "arrays":
                given = [chance.randrange(4) for _ in range(chance.randrange(3))]
                op, null, says_so = chance.choice(OPS), chance.random() < 0.2, chance.random() < 0.5
                self._change_arrays(model, [key for key in ids if key in model.rows], op, given, null, says_so)
            case "delete":
                self.client.delete(model.name, ids=ids)
                model.remove(lambda kept: kept.values["id"] in ids)
            case "flush":
                self.client.flush(model.name)

    # -- arrays ---------------------------------------------------------------------------------
    @rule(
        name=names, some=keys, op=st.sampled_from(OPS), given=st.lists(st.integers(0, 3), max_size=3),
        null=st.booleans(), says_so=st.booleans(),
    )  # fmt: skip
    def change_arrays(self, name: str, some: list[int], op: str, given: list[int], null: bool, says_so: bool) -> None:
        """Rows that are there have elements added or taken away. If one of them becomes too long, none changes."""
        model = self.loaded(name)
        there = [key for key in (self.key(model, number) for number in some) if key in model.rows]
        self._change_arrays(model, there, op, given, null, says_so)

    def _change_arrays(
        self, model: Model, there: list[Key], op: str, given: list[int], null: bool, says_so: bool
    ) -> None:
        if not there:
            return
        rows = [{"id": key, "tags": None if null and key == there[0] else given} for key in there]
        after = [{"id": row["id"], "tags": self._after(model.rows[row["id"]].values, row["tags"], op)} for row in rows]
        options: dict[str, Any] = {"partial_update": True} if says_so else {}

        def write() -> Any:
            return self.client.upsert(model.name, rows, field_ops={"tags": op}, **options)

        if any(len(row["tags"] or ()) > CAPACITY for row in after):
            with pytest.raises(self.door.module.MilvusException, match="capacity"):
                write()
            return
        assert write()["upsert_count"] == len(rows)
        model.change(after)

    @staticmethod
    def _after(before: Row, given: list[int] | None, op: str) -> list[int] | None:
        held = before["tags"]
        if given is None:
            return None if held is None else list(held)
        if op == "array_append":
            return [*(held or ()), *given]
        return [item for item in held or () if item not in given]

    # -- pages ----------------------------------------------------------------------------------
    def _pages(self, iterator: Any, meanwhile: Callable[[], None]) -> Pages:
        """What an iterator of either SDK gives; `meanwhile` happens behind the first page."""
        first = True
        try:
            while page := iterator.next():
                yield list(page)
                if first:
                    meanwhile()
                first = False
        finally:
            iterator.close()

    @contextmanager
    def _unless_forgotten(self, model: Model) -> Iterator[None]:
        """Where deleted rows may go at once, a compaction may end what is read by pages."""
        try:
            yield
        except self.door.module.MilvusException as refused:
            if not (model.forgets and "no longer kept" in refused.message):
                raise

    def _changing(self, model: Model, number: int, partition: str) -> Callable[[], None]:
        """A write that a reader of pages must not see."""
        key = self.key(model, number)

        def change() -> None:
            if key in model.rows:
                self.client.delete(model.name, ids=[key])
                model.remove(lambda kept: kept.values["id"] == key)
            else:
                self._put(model, [{"id": key, "vector": [1, 2, 3, 0], "number": 5}], partition, False)

        return change

    @rule(name=names, condition=conditions, size=st.integers(1, 40), number=numbers, partition=partitions)
    def turn_pages(self, name: str, condition: Condition, size: int, number: int, partition: str) -> None:
        model = self.loaded(name)
        expected = [dict(row) for row in model.matching(condition, [])]
        iterator = self.client.query_iterator(
            model.name, batch_size=size, filter=condition.text, output_fields=["*"]
        )  # fmt: skip
        found = []
        with self._unless_forgotten(model):
            for page in self._pages(iterator, self._changing(model, number, partition)):
                assert len(page) <= size
                found += plain(page)
            assert found == expected

    @rule(name=names, asked=vectors, places=within, size=st.integers(1, 40), number=numbers, partition=partitions)
    def turn_pages_of_hits(
        self, name: str, asked: list[int], places: list[str], size: int, number: int, partition: str
    ) -> None:
        """Every row comes once, and the nearest first: an iterator leaves none out, whatever the index."""
        model = self.loaded(name)
        places = [p for p in places if p in model.partitions]
        scores = model.scores(model.matching(None, places), asked)
        if self.door.module is not redkite and (model.metric != "L2" or not scores):
            return  # Milvus's client makes a radius of the last hit, which cannot part hits at equal distance below 0
        iterator = self.client.search_iterator(
            model.name, data=[[float(x) for x in asked]], batch_size=size, partition_names=places
        )  # fmt: skip
        pages = self._pages(iterator, self._changing(model, number, partition))
        with self._unless_forgotten(model):
            found = [(hit["distance"], hit["id"]) for page in pages for hit in page]
            assert sorted(key for _, key in found) == sorted(scores)
            near = 1e-5 if model.metric == "COSINE" else 0.0
            sign = 1 if model.metric == "L2" else -1
            assert all(abs(score - scores[key]) <= near for score, key in found)
            ordered = [sign * score for score, _ in found]
            assert all(a <= b + near for a, b in pairwise(ordered))

    @precondition(lambda self: self.door.knows_time)
    @rule(name=names, choice=st.integers(0, 7), size=st.integers(1, 40), asked=vectors)
    def turn_pages_of_the_past(self, name: str, choice: int, size: int, asked: list[int]) -> None:
        model = self.loaded(name)
        if not model.moments or model.forgets or model.ages:
            return
        moment = model.moments[choice % len(model.moments)]
        if self.now() - moment.taken_ms > 3_000_000:
            return
        expected = model.matching(None, [], moment.rows)
        options = {"batch_size": size, "as_of": moment.timestamp}
        found = [row for page in self.client.query_iterator(model.name, output_fields=["*"], **options) for row in page]
        assert plain(found) == expected
        hits = self.client.search_iterator(model.name, data=[float(x) for x in asked], **options)
        assert sorted(hit["id"] for page in hits for hit in page) == [row["id"] for row in expected]
        wanted = [row["id"] for row in expected][: CAPACITY * 2]
        if wanted:
            assert plain(self.client.get(model.name, wanted, as_of=moment.timestamp)) == expected[: len(wanted)]

    # -- orders and groups ----------------------------------------------------------------------
    @rule(name=names, condition=conditions, down=st.booleans(), limit=st.integers(1, 200))
    def sort(self, name: str, condition: Condition, down: bool, limit: int) -> None:
        model = self.loaded(name)
        found = self.client.query(
            model.name, condition.text, output_fields=["*"], limit=limit,
            order_by_fields=[{"field": "number", "order": "desc" if down else "asc"}],
        )  # fmt: skip
        rows = sorted(model.matching(condition, []), key=lambda r: (-r["number"] if down else r["number"], r["id"]))
        assert plain(found) == rows[:limit]

    @rule(name=names, condition=conditions)
    def group(self, name: str, condition: Condition) -> None:
        model = self.loaded(name)
        found = self.client.query(
            model.name, condition.text, group_by_fields=["number"], output_fields=["number", "count(*)", "max(number)"],
            limit=1000,
        )  # fmt: skip
        counts: dict[int, int] = {}
        for row in model.matching(condition, []):
            counts[row["number"]] = counts.get(row["number"], 0) + 1
        assert {(row["number"], row["count(*)"], row["max(number)"]) for row in found} == {
            (number, count, number) for number, count in counts.items()
        }

    # -- names ----------------------------------------------------------------------------------
    @rule(name=names)
    def point(self, name: str) -> None:
        """The alias stands for a collection; for another; for none."""
        model = self.model(name)
        if self.named is model:
            self.forget_alias(model)
        else:
            call = self.client.create_alias if self.named is None else self.client.alter_alias
            call(model.name, ALIAS)
            self.named = model

    def forget_alias(self, model: Model) -> None:
        if self.named is model:
            self.client.drop_alias(ALIAS)
            self.named = None

    @precondition(lambda self: self.named is not None)
    @rule(some=keys, data=st.data())
    def write_by_alias(self, some: list[int], data: st.DataObject) -> None:
        model = self.named
        assert model is not None
        if self.door.module is not redkite and (model.text_keys or model.added):
            return  # Milvus's client keeps the schema it saw of an alias
        rows = [self._row(model, number, data) for number in some]
        self.client.upsert(ALIAS, [dict(row) for row in rows])
        model.put(rows, "")
        self.expire()

    @invariant()
    def the_alias_stands_for_its_collection(self) -> None:
        if self.named is not None and self.named.loaded:
            (counted,) = self.client.query(ALIAS, output_fields=["count(*)"])
            assert counted["count(*)"] == len(self.named.rows)

    # -- copies ---------------------------------------------------------------------------------
    @precondition(lambda self: self.door.module is redkite and not self.door.can_wait)
    @rule(name=names)
    def back_up(self, name: str) -> None:
        """A backup of everything, and one of its collections back under another name. Whoever asks for it waits, so
        nobody would let time pass in a world that moves when told."""
        model = self.model(name)
        if self.made >= 4 or model.ages:
            return
        self.made += 1
        called = f"b{self.made}"
        self.client.create_backup(self.door.backups, called)
        self.client.verify_backup(self.door.backups, called)
        assert [b.name for b in self.client.list_backups(self.door.backups)] == [f"b{n + 1}" for n in range(self.made)]
        free = [other for other in NAMES if other not in self.models]
        if free:
            self.client.restore_backup(
                self.door.backups, called, collections=[model.name], renames={model.name: free[0]}
            )  # fmt: skip
            restored = model.copy()
            restored.name, restored.loaded = free[0], False
            self.models[restored.name] = restored
