"""Readers, writers and flushes beside fields that come and go: nobody is told anything wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest
from tests.cluster.test_evolution import VECTORS, State, insert
from tests.engine import NAME, Engine

from redkite.errors import InvalidParameter, SchemaMismatch
from redkite.model import requests as rq
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

ROWS = 64
SHORT = {"max_length": "4"}
FIELDS = (
    FieldSchema(name="odd", data_type=DataType.INT64, default_value=5),
    FieldSchema(name="odd", data_type=DataType.VARCHAR, params=SHORT, nullable=True),
    FieldSchema(name="odd", data_type=DataType.VARCHAR, params=SHORT, default_value="x"),
)
"""One name, three fields: each row has the same value of each."""
ONE_OF = ({5}, {None}, {"x"})


class Crowd:
    """Threads that do one thing each, again and again, until told to stop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.wrong: list[BaseException] = []
        self.done: dict[str, int] = {}
        self._stop = threading.Event()
        works = (self.insert, self.update, self.write_as_a_client, self.read, self.search, self.count, self.flush)
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, work: Callable[[int], None]) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                work(number)
                self.done[work.__name__] = self.done.get(work.__name__, 0) + 1
            except BaseException as error:  # noqa: BLE001  whatever it is, the test names it
                self.wrong.append(error)
                return

    def insert(self, number: int) -> None:
        insert(self.engine, State(), [number % ROWS], number)

    def update(self, number: int) -> None:
        part = pa.RecordBatch.from_pydict({"id": [number % ROWS], "number": [number]})
        self.engine.call(rq.Upsert(collection=NAME, rows=part, partial=True))

    def write_as_a_client(self, number: int) -> None:
        known = self.engine.call(rq.DescribeCollection(collection=NAME)).update_timestamp
        time.sleep(0.002)
        row = self.engine.batch([number % ROWS], VECTORS[number % ROWS][None], [number])
        try:
            self.engine.call(rq.Upsert(collection=NAME, rows=row, schema_timestamp=known))
        except SchemaMismatch as error:
            assert error.code == 109  # the one error that somebody may meet, and only with an old schema

    def read(self, _: int) -> None:
        rows = self.engine.query("id >= 0", fields=("*",))
        assert sorted(rows["id"]) == list(range(ROWS))
        assert "odd" not in rows or set(rows["odd"]) in ONE_OF

    def search(self, number: int) -> None:
        hits = self.engine.search(VECTORS[number % ROWS], 10, "number >= 0", output_fields=("*",))
        assert len(hits.ids) == 10

    def count(self, _: int) -> None:
        try:
            assert self.engine.count("odd == 5") == ROWS
        except InvalidParameter as error:
            assert "odd" in error.message  # not there just now, or no number

    def flush(self, _: int) -> None:
        time.sleep(0.1)
        self.engine.flush()


@pytest.mark.parametrize("shards", [1, 3])
def test_nobody_sees_a_wrong_value_while_fields_come_and_go(database_path: str, shards: int) -> None:
    engine = Engine(database_path, options={"query_nodes": 2, "streaming_nodes": 2})
    engine.create(shards=shards)
    engine.insert(range(ROWS), VECTORS, range(ROWS), ["w"] * ROWS)
    engine.flush()
    with Crowd(engine) as crowd:
        for number in range(30):
            engine.call(rq.AddCollectionField(collection=NAME, field=FIELDS[number % 3]))
            time.sleep(0.01)
            engine.call(rq.DropCollectionField(collection=NAME, field="odd"))
    assert not crowd.wrong, crowd.wrong[0]
    assert len(crowd.done) >= 6, f"only {sorted(crowd.done)} ever came through"
    before = engine.query("id >= 0", fields=("*",))
    engine.reopen()
    assert engine.query("id >= 0", fields=("*",)) == before
    assert "odd" not in before
    engine.close()
