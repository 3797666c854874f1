"""The index over words: it comes with the schema, is built behind the rows, and changes no answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine, schema
from tests.filter.match_oracle import holds_near, holds_phrase, holds_words, words_of

import redkite
from redkite.cluster.reading import open_for_reading
from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model.schema import FieldSchema
from redkite.model.segments import SegmentMeta
from redkite.model.types import DataType
from redkite.node.streaming import SealPolicy
from redkite.ops.report import Kind
from redkite.segment.sealed import SealedSegment
from redkite.simulated import simulated_env
from redkite.text.analyzer import Pipeline

ROWS = 1_500
WORDS = ["red", "kite", "blue", "wing", "tail", "wind", "kites"]
MATCH = {"enable_analyzer": "true", "enable_match": "true"}
QUESTIONS: dict[str, Callable[[list[str]], bool]] = {
    'text_match(word, "kite WING")': lambda w: holds_words(w, ["kite", "wing"]),
    'text_match(word, "kite wing blue", minimum_should_match=2)': lambda w: holds_words(w, ["kite", "wing", "blue"], 2),
    'phrase_match(word, "red kite")': lambda w: holds_phrase(w, ["red", "kite"], 0),
    'phrase_match(word, "red kite tail", 2)': lambda w: holds_phrase(w, ["red", "kite", "tail"], 2),
    'text_match_fuzzy(word, "kit", max_edit_distance=1)': lambda w: holds_near(w, ["kit"], 1),
    'not text_match(word, "red")': lambda w: "red" not in w,
    'text_match(word, "red") and not phrase_match(word, "red kite")': (
        lambda w: "red" in w and not holds_phrase(w, ["red", "kite"], 0)
    ),
}


def text(number: int) -> str | None:
    if number % 11 == 0:
        return None
    chosen = np.random.default_rng(number).choice(WORDS, number % 7)
    return ", ".join(chosen)


def wanted(count: int) -> dict[str, list[int]]:
    held = {n: None if (t := text(n)) is None else words_of(t) for n in range(count)}
    return {q: [n for n, w in held.items() if w is not None and means(w)] for q, means in QUESTIONS.items()}


def answers(engine: Engine) -> dict[str, list[int]]:
    return {question: engine.query(question, fields=("id",))["id"] for question in QUESTIONS}


def fill(engine: Engine, first: int = 0, rows: int = ROWS, flush: bool = True) -> None:
    ids = range(first, first + rows)
    vectors = np.random.default_rng(1).normal(size=(rows, DIM)).astype(np.float32)
    engine.insert(ids, vectors, [i % 100 for i in ids], [text(i) for i in ids])
    if flush:
        engine.flush()


def collection(engine: Engine) -> Any:
    return engine.database.topology.root.find("", NAME)


def metas(engine: Engine) -> list[SegmentMeta]:
    return list(engine.database.topology.data.segments(collection(engine).collection_id))


def segments(engine: Engine) -> list[SealedSegment]:
    topology = engine.database.topology
    placements = topology.shards(collection(engine))[0].view.placements
    return [p.peer._segments[i] for p in placements for i in p.all_ids]


def used(engine: Engine, field: str = "word") -> int:
    held = [s.under(collection(engine).schema) for s in segments(engine)]
    return sum(found.answers for s in held for found in s.columns(s.meta.rows).indexes_of(field))


def run(engine: Engine) -> None:
    assert engine.env is not None
    engine.env.run_until_idle()  # type: ignore[attr-defined]


def create(engine: Engine, shards: int = 1) -> None:
    plain = schema()
    fields = tuple(msgspec.structs.replace(f, params=f.params | MATCH) if f.name == "word" else f for f in plain.fields)
    engine.call(rq.CreateCollection(schema=msgspec.structs.replace(plain, fields=fields), shards=shards))
    params = {"index_type": "FLAT", "metric_type": "L2"}
    engine.call(rq.CreateIndex(collection=NAME, field="vector", params=params))
    engine.call(rq.LoadCollection(collection=NAME))


@pytest.fixture
def engine() -> Engine:
    engine = Engine("db", simulated_env(5), {"policy": SealPolicy(rows=1 << 30)})
    create(engine)
    return engine


def test_answers_are_equal_while_rows_grow_are_sealed_indexed_compacted_and_opened_again(engine: Engine) -> None:
    right = wanted(2 * ROWS)
    for first in range(0, ROWS, 300):
        fill(engine, first, 300, flush=False)
        assert answers(engine) == {q: [n for n in ids if n < first + 300] for q, ids in right.items()}
    engine.flush()
    assert [m.indexes for m in metas(engine)] == [()], "nothing is built yet"
    assert answers(engine) == {q: [n for n in ids if n < ROWS] for q, ids in right.items()}
    run(engine)
    fill(engine, ROWS)
    assert answers(engine) == right, "one segment has its index, the other none"
    run(engine)
    assert [len(m.indexes) for m in metas(engine)] == [1, 1]
    assert answers(engine) == right
    assert not used(engine), "what was asked before is known"
    assert engine.count('text_match(word, "tail")') > 0
    assert used(engine) == 2
    engine.call(rq.Compact(collection=NAME))
    run(engine)
    (meta,) = metas(engine)
    assert len(meta.indexes) == 1
    assert answers(engine) == right
    engine.reopen()
    engine.call(rq.LoadCollection(collection=NAME))
    assert answers(engine) == right
    assert used(engine) > 0


def test_rows_that_grow_are_analysed_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed: list[int] = []
    analyze = Pipeline.analyze

    def counted(self: Pipeline, texts: Any) -> Any:
        analysed.append(len(texts))
        return analyze(self, texts)

    monkeypatch.setattr(Pipeline, "analyze", counted)
    question = 'text_match(word, "kite")'
    for first in range(0, 600, 100):
        fill(engine, first, 100, flush=False)
        for _ in range(2):
            engine.count(f"{question} and number >= {first % 3}")
    assert sum(count for count in analysed if count > 1) == 600
    assert {count for count in analysed if count > 1} == {100}


def test_a_read_as_of_a_time_sees_the_words_of_then(engine: Engine) -> None:
    fill(engine, 0, 100, flush=False)
    then = engine.call(rq.AllocTimestamp()).timestamp
    before = engine.query('text_match(word, "kite")', fields=("id",))["id"]
    fill(engine, 100, 100, flush=False)
    assert engine.count('text_match(word, "kite")') > len(before)
    assert engine.query('text_match(word, "kite")', fields=("id",), as_of=then)["id"] == before


def test_it_is_no_index_that_users_see(engine: Engine) -> None:
    fill(engine)
    run(engine)
    assert [i.index_name for i in engine.call(rq.DescribeIndex(collection=NAME)).indexes] == ["vector"]
    grams = {"index_type": "NGRAM", "min_gram": "2", "max_gram": "3"}
    engine.call(rq.CreateIndex(collection=NAME, field="word", params=grams))
    run(engine)
    assert {i.index_name for i in engine.call(rq.DescribeIndex(collection=NAME)).indexes} == {"vector", "word"}
    right = [n for n in range(ROWS) if (t := text(n)) and "kite, w" in t]
    assert engine.query('word like "%kite, w%"', fields=("id",))["id"] == right
    both = [n for n in right if "blue" in words_of(text(n) or "")]
    assert engine.query('word like "%kite, w%" and text_match(word, "blue")', fields=("id",))["id"] == both
    engine.call(rq.DropIndex(collection=NAME, index_name="word"))
    assert answers(engine) == wanted(ROWS)


def test_a_field_that_is_added_later_gets_its_index_and_takes_it_along_when_it_goes(engine: Engine) -> None:
    fill(engine)
    run(engine)
    params = {"max_length": "99"} | MATCH
    added = FieldSchema(name="note", data_type=DataType.VARCHAR, default_value="No note", nullable=True, params=params)
    engine.call(rq.AddCollectionField(collection=NAME, field=added))
    assert engine.count('phrase_match(note, "no note")') == ROWS
    run(engine)
    assert [len(m.indexes) for m in metas(engine)] == [2]
    assert engine.count('text_match(note, "NOTE")') == ROWS
    assert used(engine, "note") > 0
    held = {name for m in metas(engine) for name in m.objects}
    engine.call(rq.DropCollectionField(collection=NAME, field="note"))
    run(engine)
    assert [len(m.indexes) for m in metas(engine)] == [1]
    left = {name for m in metas(engine) for name in m.objects}
    assert len(held - left) == 1
    assert not any(engine.database.topology.store.exists(name) for name in held - left)
    with pytest.raises(InvalidParameter, match="field note not exist"):
        engine.count('text_match(note, "NOTE")')
    assert answers(engine) == wanted(ROWS)


def test_a_crash_between_the_collection_and_its_index_leaves_no_trace(engine: Engine) -> None:
    data = engine.database.topology.data
    (implied,) = [i for i in data.indexes(collection(engine).collection_id) if i.is_implied]
    data.drop_index(implied)
    engine.reopen()
    engine.call(rq.LoadCollection(collection=NAME))
    fill(engine)
    run(engine)
    assert [len(m.indexes) for m in metas(engine)] == [1]


def test_every_shard_has_its_part_of_one_index() -> None:
    engine = Engine("db", simulated_env(6), {"policy": SealPolicy(rows=1 << 30)})
    create(engine, shards=2)
    fill(engine, 0, 3 * ROWS)
    run(engine)
    data, collection_id = engine.database.topology.data, collection(engine).collection_id
    assert len([i for i in data.indexes(collection_id) if i.is_implied]) == 1
    assert [len(m.indexes) for m in metas(engine)] == [1, 1]
    assert {q: sorted(ids) for q, ids in answers(engine).items()} == wanted(3 * ROWS)
    engine.close()


# -- on a real disk -------------------------------------------------------------------------------
def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


@pytest.fixture
def on_disk(tmp_path: Path) -> Engine:
    engine = Engine(str(tmp_path / "match.db"), None, {"policy": SealPolicy(rows=1 << 30)})
    create(engine)
    fill(engine)
    wait_until(lambda: [len(m.indexes) for m in metas(engine)] == [1])
    return engine


def test_a_damaged_index_is_found_passed_over_and_built_again(on_disk: Engine, tmp_path: Path) -> None:
    (file,) = metas(on_disk)[0].indexes
    on_disk.close()
    path = tmp_path / "match.db" / "objects" / file.object
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (finding,) = redkite.verify(on_disk.path).findings
    assert (finding.kind, finding.name) == (Kind.INDEX, file.object)
    on_disk.open()
    on_disk.call(rq.LoadCollection(collection=NAME))
    assert answers(on_disk) == wanted(ROWS)
    wait_until(lambda: [len(m.indexes) for m in metas(on_disk)] == [1])
    assert answers(on_disk) == wanted(ROWS)
    on_disk.close()
    assert redkite.verify(on_disk.path).is_intact


def test_a_reader_beside_the_writer_uses_it(on_disk: Engine) -> None:
    class Reader(Engine):
        def open(self) -> None:
            self.database = open_for_reading(self.path)  # type: ignore[assignment]  # the parts that are used here

    reader = Reader(on_disk.path)
    assert answers(reader) == wanted(ROWS)
    assert used(reader) > 0
    reader.close()
    on_disk.close()


def test_a_backup_takes_it_along(on_disk: Engine, tmp_path: Path) -> None:
    on_disk.close()
    client = redkite.MilvusClient(on_disk.path)
    client.create_backup(str(tmp_path / "backups"), "b")
    client.close()
    other = redkite.MilvusClient(str(tmp_path / "other.db"))
    assert other.restore_backup(str(tmp_path / "backups"), "b", suffix="_again") == [f"default.{NAME}_again"]
    other.load_collection(f"{NAME}_again")
    for question, right in wanted(ROWS).items():
        assert [row["id"] for row in other.query(f"{NAME}_again", question, ["id"])] == right
    assert other.list_indexes(f"{NAME}_again") == ["vector"]
    other.close()
    restored = Engine(str(tmp_path / "other.db"))
    (meta,) = restored.database.topology.root.all_collections()
    segments = restored.database.topology.data.segments(meta.collection_id)
    restored.close()
    assert [len(segment.indexes) for segment in segments] == [1], "it came with the rows"


def test_reads_and_writes_side_by_side_see_whole_rows(on_disk: Engine) -> None:
    stop = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        while not stop.is_set():
            matched = on_disk.count('text_match(word, "kite")')
            others = on_disk.count('not text_match(word, "kite")')
            if matched + others < ROWS * 10 // 11 - 1:
                wrong.append(f"{matched} + {others}")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for first in range(ROWS, ROWS + 500, 50):
        fill(on_disk, first, 50, flush=first % 200 == 0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert answers(on_disk) == wanted(ROWS + 500)
    on_disk.close()
