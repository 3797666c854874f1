"""The whole public API, called at random and compared with a model after every step.

One machine drives any door: `doors.py` says which there are. What a version of the client cannot do is left out.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.proof.doors import Door
from tests.proof.oracle import DIM, WORDS, Condition, Key, Model, Row, conditions, keys_in, moment_text, quoted

import redkite
from redkite.errors import Conflict

NAMES = ["alpha", "beta"]
PARTITIONS = ["", "p", "q"]
FIELDS = ["extra_a", "extra_b"]
TTL_SECONDS = 1_000
RETENTION_MS = 3_600_000
"""For so long deleted rows can be read at an earlier moment, at least."""
MANY = 120
"""Rows of a large insert: enough for an index that walks."""
LEAST_RECALL = 0.9
CAPACITY = 4
"""Elements an array may have."""
LIVES = [None, -TTL_SECONDS, TTL_SECONDS // 2, 3 * TTL_SECONDS]
"""Seconds from now until a row expires. Where time cannot be told to pass, none of these comes by itself."""

numbers = st.integers(0, 11)
keys = st.lists(numbers, min_size=1, max_size=6, unique=True)
vectors = st.lists(st.integers(-3, 3), min_size=DIM, max_size=DIM)
words = st.one_of(st.none(), st.sampled_from(WORDS))
tags = st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=CAPACITY))
names = st.sampled_from(NAMES)
partitions = st.sampled_from(PARTITIONS)
endings = st.sampled_from(["never", "written", "until"])
lives = st.sampled_from(LIVES)
fillings = st.sampled_from([12, 7, 40, 0])
within = st.sampled_from([[], [], ["_default"], ["p"], ["p", "q"]])


class Machine(RuleBasedStateMachine):
    """Rules are calls of the client; each is made of the model too, and their answers are compared."""

    make_door: ClassVar[type[Door]]

    def __init__(self) -> None:
        super().__init__()
        self.door = self.make_door()
        self.models: dict[str, Model] = {}
        self.hits = self.wanted = 0

    @property
    def client(self) -> Any:
        return self.door.client

    def can(self, method: str) -> bool:
        """Whether this version of Redkite has an operation at all."""
        return hasattr(redkite.MilvusClient, method)

    def model(self, name: str) -> Model:
        """A collection that there is: the other one if there is only that."""
        self.expire()
        return self.models.get(name) or next(iter(self.models.values()))

    def loaded(self, name: str) -> Model:
        """The same, loaded."""
        model = self.model(name)
        if not model.loaded:
            self.client.load_collection(model.name)
            model.loaded = True
        return model

    def expire(self) -> None:
        for model in self.models.values():
            model.expire(self.now())

    def key(self, model: Model, number: int) -> Key:
        if number < len(model.made):
            return model.made[number]
        return f"k{number:03}" if model.text_keys else number

    def now(self) -> int:
        return self.door.now_ms()

    # -- definitions ----------------------------------------------------------------------------
    @initialize(
        index=st.sampled_from(["FLAT", "HNSW"]), shards=st.integers(1, 2), ends=endings, clustered=st.booleans(),
        filled=fillings,
    )  # fmt: skip
    def begin(self, index: str, shards: int, ends: str, clustered: bool, filled: int) -> None:
        model = Model("alpha", False, "L2", index, shards)
        self._choose(model, ends, clustered)
        self._create(model, filled)

    @rule(
        name=names, index=st.sampled_from(["FLAT", "HNSW"]), metric=st.sampled_from(["L2", "IP", "COSINE"]),
        shards=st.integers(1, 2), text_keys=st.booleans(), makes_keys=st.booleans(), forgets=st.booleans(),
        ends=endings, clustered=st.booleans(), filled=fillings,
    )  # fmt: skip
    def create(
        self, name: str, index: str, metric: str, shards: int, text_keys: bool, makes_keys: bool, forgets: bool,
        ends: str, clustered: bool, filled: int,
    ) -> None:  # fmt: skip
        if name not in self.models:
            model = Model(name, False, metric, index, shards)
            model.forgets = forgets and self.can("compact")
            self._choose(model, ends, clustered)
            if self.door.module is redkite:  # Milvus's client remembers a schema, also when another takes its name
                model.text_keys, model.makes_keys = text_keys, makes_keys
            self._create(model, filled)

    def _choose(self, model: Model, ends: str, clustered: bool) -> None:
        """How rows expire, and whether they are clustered, as far as this door knows it."""
        model.ages = ends == "written" and self.door.can_wait and self.can("compact")
        model.expires = ends == "until" and self.door.module is redkite
        model.clustered = clustered and self.can("compact")

    def _create(self, model: Model, filled: int) -> None:
        """A collection with so many rows from the start, the first of them sealed: else most steps would be spent on
        collections that are empty."""
        types = self.door.module.DataType
        schema = self.client.create_schema()
        if model.text_keys:
            schema.add_field("id", types.VARCHAR, is_primary=True, max_length=24, auto_id=model.makes_keys)
        else:
            schema.add_field("id", types.INT64, is_primary=True, auto_id=model.makes_keys)
        schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
        schema.add_field("number", types.INT64, is_clustering_key=model.clustered)
        schema.add_field("word", types.VARCHAR, max_length=16, nullable=True)
        schema.add_field("tags", types.ARRAY, element_type=types.INT64, max_capacity=CAPACITY, nullable=True)
        if model.expires:
            schema.add_field("until", types.TIMESTAMPTZ, nullable=True)
        indexes = self.client.prepare_index_params()
        indexes.add_index(
            "vector", index_type=model.index, metric_type=model.metric, params={} if model.exact else {"M": 8}
        )
        properties = {}
        if model.forgets:
            properties["collection.retention.seconds"] = "0"
        if model.ages:
            properties["collection.ttl.seconds"] = str(TTL_SECONDS)
        if model.expires:
            properties["ttl_field"] = "until"
        self.client.create_collection(
            model.name, schema=schema, index_params=indexes, num_shards=model.shards, properties=properties
        )
        self.models[model.name] = model
        first = range(min(filled, 12) // 2 + 1)
        for some in (first, range(len(first), filled)):
            if filled:
                self._put(model, [self._plain_row(model, number) for number in some], "", False)
            if some is first and filled:
                self.client.flush(model.name)

    def _plain_row(self, model: Model, number: int) -> Row:
        row = {"id": self.key(model, number), "vector": [number % 7 - 3, number % 5, number % 3, 1], "number": number}
        row |= {"word": WORDS[number % len(WORDS)]} if number % 3 else {}
        row |= {"until": self._until(LIVES[number % len(LIVES)])} if model.expires else {}
        return row | ({"tags": [number % 4] * (number % 3)} if number % 4 else {})

    @precondition(lambda self: len(self.models) > 1)
    @rule(name=names)
    def drop(self, name: str) -> None:
        model = self.model(name)
        self.forget_alias(model)
        self.client.drop_collection(model.name)
        del self.models[model.name]

    def forget_alias(self, model: Model) -> None:
        """What has to be done before a collection may go; further rules know more."""

    @rule(name=names)
    def rename(self, name: str) -> None:
        model = self.model(name)
        free = [other for other in NAMES if other not in self.models]
        if free:
            self.client.rename_collection(model.name, free[0])
            del self.models[model.name]
            model.name = free[0]
            self.models[model.name] = model

    @rule(name=names)
    def truncate(self, name: str) -> None:
        model = self.model(name)
        self.client.truncate_collection(model.name)
        model.rows = {}
        model.forget_moments()

    @rule(name=names, partition=st.sampled_from(["p", "q"]))
    def change_partition(self, name: str, partition: str) -> None:
        model = self.model(name)
        if partition not in model.partitions:
            self.client.create_partition(model.name, partition)
            model.partitions.append(partition)
            return
        self.client.release_collection(model.name)
        self.client.drop_partition(model.name, partition)
        self.client.load_collection(model.name)
        model.loaded = True
        model.partitions.remove(partition)
        model.remove(lambda kept: kept.partition == partition)
        model.forget_moments()

    @rule(name=names)
    def release(self, name: str) -> None:
        model = self.loaded(name)
        self.client.release_collection(model.name)
        model.loaded = False
        with pytest.raises(self.door.module.MilvusException) as refused:
            self.client.query(model.name, "number >= 0")
        assert refused.value.code == 101

    @precondition(lambda self: self.can("add_collection_field"))
    @rule(name=names, field=st.sampled_from(FIELDS), default=st.one_of(st.none(), numbers))
    def change_field(self, name: str, field: str, default: int | None) -> None:
        model = self.model(name)
        if field in model.added:
            self.client.drop_collection_field(model.name, field)
            model.drop_field(field)
            return
        settings = {} if default is None else {"default_value": default}
        self.client.add_collection_field(model.name, field, self.door.module.DataType.INT64, nullable=True, **settings)
        model.add_field(field, default)

    # -- writing --------------------------------------------------------------------------------
    @rule(
        name=names, some=st.lists(numbers, min_size=1, max_size=6), data=st.data(), partition=partitions,
        upsert=st.booleans(),
    )  # fmt: skip
    def write(self, name: str, some: list[int], data: st.DataObject, partition: str, upsert: bool) -> None:
        model = self.model(name)
        if upsert:
            some = list(dict.fromkeys(some))
        self._put(model, [self._row(model, number, data) for number in some], partition, upsert)

    def _row(self, model: Model, number: int, data: st.DataObject) -> Row:
        row = {"id": self.key(model, number), "vector": data.draw(vectors), "number": data.draw(numbers)}
        if data.draw(st.booleans()):
            row["word"] = data.draw(words)
        if data.draw(st.booleans()):
            row["tags"] = data.draw(tags)
        if model.expires:
            row["until"] = self._until(data.draw(lives))
        for added in model.added:
            if data.draw(st.booleans()):
                row[added] = data.draw(numbers)
        return row

    def _until(self, life: int | None) -> str | None:
        return None if life is None else moment_text(self.now() + life * 1000)

    @rule(name=names, first=st.integers(1, 3), seed=st.integers(0, 99), partition=partitions)
    def write_many(self, name: str, first: int, seed: int, partition: str) -> None:
        model = self.model(name)
        rng = np.random.default_rng(seed)
        rows = [
            {"id": self.key(model, 100 * first + n), "vector": v, "number": int(n % 12), "word": WORDS[n % len(WORDS)]}
            for n, v in enumerate(rng.integers(-9, 10, (MANY, DIM)).tolist())
        ]
        self._put(model, rows, partition, False)

    def _put(self, model: Model, rows: list[Row], partition: str, upsert: bool) -> None:
        partition = partition if partition in model.partitions else ""
        call = self.client.upsert if upsert else self.client.insert
        makes_keys = model.makes_keys and not upsert
        given = [{name: row[name] for name in row if name != "id" or not makes_keys} for row in rows]
        answer = call(model.name, given, partition_name=partition)
        assert answer["upsert_count" if upsert else "insert_count"] == len(rows)
        if makes_keys:
            fresh = list(answer["ids"])
            assert len({*fresh, *model.made}) == len(fresh) + len(model.made), "a key is made once"
            model.made += fresh
            rows = [{**row, "id": key} for row, key in zip(rows, fresh, strict=True)]
        assert list(answer["ids"]) == [row["id"] for row in rows]
        model.put(rows, partition)
        self.expire()

    @rule(name=names, some=keys, data=st.data())
    def write_partly(self, name: str, some: list[int], data: st.DataObject) -> None:
        model = self.loaded(name)
        there = [key for key in (self.key(model, number) for number in some) if key in model.rows]
        if not there or not self.can("add_collection_field"):
            return
        makers = {"vector": vectors, "number": numbers, "word": words, "tags": tags}
        makers |= dict.fromkeys(model.added, numbers)
        makers |= {"until": lives.map(self._until)} if model.expires else {}
        fields = data.draw(st.lists(st.sampled_from(sorted(makers)), min_size=1, unique=True))
        rows = [{"id": key, **{field: data.draw(makers[field]) for field in fields}} for key in there]
        answer = self.client.upsert(model.name, [dict(row) for row in rows], partial_update=True)
        assert answer["upsert_count"] == len(rows)
        model.change(rows)
        self.expire()

    @precondition(lambda self: self.door.module is redkite)
    @rule(name=names, some=keys, data=st.data(), condition=conditions, deletes=st.booleans())
    def change_where(
        self, name: str, some: list[int], data: st.DataObject, condition: Condition, deletes: bool
    ) -> None:
        """A write that is done only when each of its rows is there and passes a filter."""
        model = self.loaded(name)
        rows = [self._row(model, number, data) for number in some]
        passes = all(row["id"] in model.rows and condition.means(model.rows[row["id"]].values) for row in rows)
        self._change_if(model, rows, deletes, passes, {"where": condition.text})

    @precondition(lambda self: self.door.module is redkite)
    @rule(name=names, some=keys, data=st.data(), stale=st.booleans(), deletes=st.booleans())
    def change_version(self, name: str, some: list[int], data: st.DataObject, stale: bool, deletes: bool) -> None:
        """A write that is done only when each of its rows has the version that was seen, or is not there yet."""
        model = self.loaded(name)
        rows = [self._row(model, number, data) for number in some]
        seen = self.client.get(model.name, [row["id"] for row in rows], output_fields=["$version"])
        known = {row["id"]: row["$version"] for row in seen}
        versions = [known.get(row["id"], 0) for row in rows]
        self._change_if(model, rows, deletes, not stale, {"if_version": [version + stale for version in versions]})

    def _change_if(self, model: Model, rows: list[Row], deletes: bool, passes: bool, condition: dict[str, Any]) -> None:
        gone = [row["id"] for row in rows]
        try:
            if deletes:
                self.client.delete(model.name, ids=gone, **condition)
            else:
                self.client.upsert(model.name, [dict(row) for row in rows], **condition)
        except Conflict:
            assert not passes, f"{condition} holds"
            return
        assert passes, f"{condition} does not hold"
        if deletes:
            model.remove(lambda kept: kept.values["id"] in gone)
        else:
            model.put(rows, "")
            self.expire()

    @rule(name=names, some=keys)
    def delete_ids(self, name: str, some: list[int]) -> None:
        model = self.model(name)
        gone = [self.key(model, number) for number in some]
        self.client.delete(model.name, ids=gone)
        model.remove(lambda kept: kept.values["id"] in gone)

    @rule(name=names, condition=conditions, partition=partitions)
    def delete_where(self, name: str, condition: Condition, partition: str) -> None:
        model = self.loaded(name)
        partition = partition if partition in model.partitions else ""
        answer = self.client.delete(model.name, filter=condition.text, partition_name=partition or None)
        places = [partition] if partition else []
        gone = {row["id"] for row in model.matching(condition, places)}
        assert answer["delete_count"] == len(gone)
        model.remove(lambda kept: kept.values["id"] in gone)

    # -- storage --------------------------------------------------------------------------------
    @rule(name=names)
    def flush(self, name: str) -> None:
        self.client.flush(self.model(name).name)

    @rule()
    def idle(self) -> None:
        self.door.idle()

    @precondition(lambda self: self.door.can_wait)
    @rule()
    def grow_old(self) -> None:
        self.door.wait(2 * TTL_SECONDS)
        for model in self.models.values():
            if model.ages:
                model.remove(lambda kept: True)

    @rule()
    def restart(self) -> None:
        self.door.restart()
        self.compare_all()

    @precondition(lambda self: self.door.can_crash)
    @rule()
    def crash(self) -> None:
        self.door.crash()
        self.compare_all()

    @precondition(lambda self: self.can("compact"))
    @rule(name=names, level0=st.booleans(), waits=st.booleans())
    def compact(self, name: str, level0: bool, waits: bool) -> None:
        model = self.model(name)
        self.client.flush(model.name)
        self.client.compact(model.name, is_l0=level0)
        if waits:
            self.door.idle()

    @precondition(lambda self: self.can("compact"))
    @rule(name=names)
    def cluster(self, name: str) -> None:
        """Rows are parted by ranges of the clustering key. Without one that is refused, and nothing changes."""
        model = self.model(name)
        if model.clustered:
            self.client.compact(model.name, is_clustering=True)
            self.door.idle()
            return
        with pytest.raises(self.door.module.MilvusException, match="clustering compaction"):
            self.client.compact(model.name, is_clustering=True)

    # -- reading --------------------------------------------------------------------------------
    @rule(name=names, some=keys)
    def get(self, name: str, some: list[int]) -> None:
        model = self.loaded(name)
        wanted = [self.key(model, number) for number in some]
        found = self.client.get(model.name, wanted)
        assert plain(found) == model.matching(keys_in(wanted), [])

    @rule(
        name=names, condition=conditions, places=within, limit=st.one_of(st.none(), st.integers(1, 8)),
        offset=st.integers(0, 3),
    )  # fmt: skip
    def query(self, name: str, condition: Condition, places: list[str], limit: int | None, offset: int) -> None:
        model = self.loaded(name)
        places = [p for p in places if p in model.partitions]
        options = {} if limit is None else {"limit": limit, "offset": offset}
        found = self.client.query(model.name, condition.text, output_fields=["*"], partition_names=places, **options)
        expected = model.matching(condition, places)
        assert plain(found) == (expected if limit is None else expected[offset : offset + limit])
        (counted,) = self.client.query(model.name, condition.text, ["count(*)"], partition_names=places)
        assert counted["count(*)"] == len(expected)

    @rule(
        name=names, asked=st.lists(vectors, min_size=1, max_size=3), limit=st.sampled_from([1, 3, 10, 50, 500]),
        condition=st.one_of(st.none(), conditions), places=within,
    )  # fmt: skip
    def search(
        self, name: str, asked: list[list[int]], limit: int, condition: Condition | None, places: list[str]
    ) -> None:
        model = self.loaded(name)
        places = [p for p in places if p in model.partitions]
        rows = model.matching(condition, places)
        self._search(model, rows, asked, limit, condition, partition_names=places)

    def _search(
        self, model: Model, rows: list[Row], asked: list[list[int]], limit: int, condition: Condition | None,
        **options: Any,
    ) -> None:  # fmt: skip
        text = "" if condition is None else condition.text
        answers = self.client.search(
            model.name, [[float(x) for x in vector] for vector in asked], filter=text, limit=limit,
            output_fields=["number"], **options,
        )  # fmt: skip
        assert len(answers) == len(asked)
        by_key = {row["id"]: row for row in rows}
        for vector, hits in zip(asked, answers, strict=True):
            found = [(hit["distance"], hit["id"]) for hit in hits]
            assert all(hit["entity"]["number"] == by_key[hit["id"]]["number"] for hit in hits)
            self.compare_hits(model, found, model.scores(rows, vector), limit)

    def compare_hits(self, model: Model, found: list[tuple[float, Key]], scores: dict[Key, float], limit: int) -> None:
        """Whole, true, in order; and the best there are, exactly or but for the recall of the index."""
        wanted = model.ranked(scores)[:limit]
        assert len(found) == len(wanted), f"{len(found)} hits, there are {len(wanted)}"
        assert len({key for _, key in found}) == len(found)
        near = 1e-5 if model.metric == "COSINE" else 0.0
        assert all(abs(score - scores[key]) <= near for score, key in found)
        sign = 1 if model.metric == "L2" else -1
        if not near:
            assert found == sorted(found, key=lambda hit: (sign * hit[0], hit[1]))
        else:
            assert all(sign * a[0] <= sign * b[0] for a, b in pairwise(found))
        if not wanted:
            return
        worst = sign * wanted[-1][0] + near
        good = sum(sign * scores[key] <= worst for _, key in found)
        if model.exact:
            assert good == len(found)
        self.hits += good
        self.wanted += len(wanted)

    # -- other moments --------------------------------------------------------------------------
    @precondition(lambda self: self.door.knows_time)
    @rule(name=names)
    def remember(self, name: str) -> None:
        self.model(name).remember(self.door.timestamp(), self.now())

    @precondition(lambda self: self.door.knows_time)
    @rule(name=names, choice=st.integers(0, 7), condition=conditions, vector=vectors, limit=st.sampled_from([3, 500]))
    def look_back(self, name: str, choice: int, condition: Condition, vector: list[int], limit: int) -> None:
        model = self.loaded(name)
        if not model.moments:
            return
        moment = model.moments[choice % len(model.moments)]
        rows = model.matching(condition, [], moment.rows)
        try:
            found = self.client.query(model.name, condition.text, output_fields=["*"], as_of=moment.timestamp)
        except redkite.MilvusException as refused:
            too_late = model.forgets or self.now() - moment.taken_ms > RETENTION_MS
            assert too_late and "no longer kept" in refused.message, refused
            return
        assert plain(found) == rows
        self._search(model, rows, [vector], limit, condition, as_of=moment.timestamp)

    @precondition(lambda self: self.can("create_snapshot"))
    @rule(name=names, number=st.integers(1, 3))
    def snapshot(self, name: str, number: int) -> None:
        model, called = self.model(name), f"snap{number}"
        if called in model.snapshots:
            self.client.drop_snapshot(called, model.name)
            del model.snapshots[called]
        elif not model.ages:
            self.client.create_snapshot(called, model.name)
            model.snapshots[called] = model.copy()

    @precondition(lambda self: self.can("create_snapshot"))
    @rule(name=names, choice=st.integers(0, 2))
    def restore(self, name: str, choice: int) -> None:
        model = self.model(name)
        free = [other for other in NAMES if other not in self.models]
        if not free or not model.snapshots:
            return
        called = sorted(model.snapshots)[choice % len(model.snapshots)]
        job = self.client.restore_snapshot(called, model.name, free[0])
        deadline = time.monotonic() + 120
        while (state := self.client.get_restore_snapshot_state(job).state) != "RestoreSnapshotCompleted":
            assert "Failed" not in state
            assert time.monotonic() < deadline
            self.door.idle()
            time.sleep(0.002)
        restored = model.snapshots[called].copy()
        restored.name, restored.loaded = free[0], False
        self.models[restored.name] = restored

    # -- always ---------------------------------------------------------------------------------
    @invariant()
    def counts_are_exact(self) -> None:
        self.expire()
        for model in self.models.values():
            if model.loaded:
                (counted,) = self.client.query(model.name, output_fields=["count(*)"])
                assert counted["count(*)"] == len(model.matching(None, []))

    def compare_all(self) -> None:
        """Every collection and every row."""
        self.expire()
        assert sorted(self.client.list_collections()) == sorted(self.models)
        for model in self.models.values():
            assert sorted(self.client.list_partitions(model.name)) == sorted(model.partitions)
            state = self.client.get_load_state(model.name)["state"]
            assert state.name == ("Loaded" if model.loaded else "NotLoad")
            if model.loaded:
                self.compare_rows(model)

    def compare_rows(self, model: Model) -> None:
        least = quoted("" if model.text_keys else 0)
        found = self.client.query(model.name, f"id >= {least}", output_fields=["*"])
        assert plain(found) == model.matching(None, [])

    def teardown(self) -> None:
        try:
            self.compare_all()
            note(f"{self.hits} of the {self.wanted} best hits were found")
            assert self.hits >= LEAST_RECALL * self.wanted
        finally:
            self.door.close()


def plain(rows: Any) -> list[Row]:
    """Rows as dicts of plain values; vectors as lists of whole numbers."""

    def value(name: str, given: Any) -> Any:
        return [int(x) for x in given] if name in {"vector", "tags"} and given is not None else given

    return [{name: value(name, given) for name, given in row.items()} for row in rows]
