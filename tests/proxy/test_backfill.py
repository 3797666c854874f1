"""A function that asks a model comes to rows that are there: their values are made in the background."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine import result
from tests.functions.embedding_server import DIM, Answer, EmbeddingServer, vector

from redkite.cluster.local import Database, open_database
from redkite.env import Env
from redkite.errors import FunctionFailed, ImportFailed
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import vectors_to_arrow
from redkite.model.imports import CommitImport, DescribeImport, ImportFiles, ImportState
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType, FunctionType, IndexState, JobState
from redkite.proxy import backfill
from redkite.proxy.backfill import Backfills
from redkite.proxy.rules.row_rules import RowRules

NAME, ROWS = "texts", 700


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "LOOK_SECONDS", 0.05)


@pytest.fixture
def model() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        yield server


class Texts:
    """A database with rows of text."""

    def __init__(self, path: Path, shards: int = 1) -> None:
        self.path = path
        self.database: Database = open_database(str(path), env=Env.real())
        if shards:
            self._create(shards)

    def call(self, request: rq.Request) -> Any:
        return result(self.database.service.call(request))

    def _create(self, shards: int) -> None:
        fields = (
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
            FieldSchema(name="text", data_type=DataType.VARCHAR, params={"max_length": "60"}),
            FieldSchema(name="other", data_type=DataType.FLOAT_VECTOR, params={"dim": "2"}),
        )
        self.call(rq.CreateCollection(schema=CollectionSchema(name=NAME, fields=fields), shards=shards))
        self.call(rq.CreatePartition(collection=NAME, partition="p"))
        self.call(rq.CreateIndex(collection=NAME, field="other", params={"index_type": "FLAT", "metric_type": "L2"}))
        self.call(rq.LoadCollection(collection=NAME))

    def insert(self, ids: range, partition: str = "", text: str = "word") -> None:
        rows = pa.RecordBatch.from_arrays(
            [
                pa.array(list(ids), pa.int64()),
                pa.array([f"{text} {i}" for i in ids]),
                vectors_to_arrow(np.ones((len(ids), 2), np.float32)),
            ],
            ["id", "text", "other"],
        )
        self.call(rq.Insert(collection=NAME, rows=rows, partition=partition))

    def add(self, endpoint: str) -> None:
        function = FunctionSchema(
            name="embed", type=FunctionType.TEXTEMBEDDING, input_field_names=("text",),
            output_field_names=("vector",), params={"provider": "tei", "endpoint": endpoint},
        )  # fmt: skip
        field = FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)})
        self.call(
            rq.AddFunctionField(
                collection=NAME,
                field=field,
                function=function,
                index_params={"index_type": "HNSW", "metric_type": "L2"},
            )
        )
        self.call(rq.LoadCollection(collection=NAME))

    def index(self) -> rs.IndexInfo:
        (found,) = self.call(rq.DescribeIndex(collection=NAME, field="vector")).indexes
        info: rs.IndexInfo = found
        return info

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + 120
        while not until():
            assert time.monotonic() < end, self.index()
            time.sleep(0.02)

    def done(self) -> bool:
        return self.index().state is IndexState.FINISHED

    def found(self, limit: int = 2000) -> dict[int, list[float]]:
        rows = self.call(
            rq.Query(collection=NAME, filter="id >= 0", limit=limit, output_fields=("vector", "text"))
        ).rows
        return dict(zip(rows["id"].to_pylist(), rows["vector"].to_pylist(), strict=True))

    def schema(self) -> CollectionSchema:
        schema: CollectionSchema = self.call(rq.DescribeCollection(collection=NAME)).schema
        return schema


def right(found: dict[int, Any], text: str = "word") -> bool:
    return all(made is not None and np.allclose(made, vector(f"{text} {key}")) for key, made in found.items())


@pytest.mark.parametrize("shards", [1, 2])
def test_rows_that_were_there_get_their_vectors_and_searches_find_all(
    tmp_path: Path, model: EmbeddingServer, shards: int
) -> None:
    texts = Texts(tmp_path / "db", shards)
    texts.insert(range(400))
    texts.call(rq.Flush(collections=(NAME,)))
    texts.insert(range(400, ROWS), "p")
    texts.add(model.endpoint)
    field = texts.schema().field("vector")
    assert field is not None
    texts.insert(range(ROWS, ROWS + 10))  # new ones have theirs at once
    texts.wait(texts.done)
    found = texts.found()
    assert len(found) == ROWS + 10
    assert right(found)
    field = texts.schema().field("vector")
    assert field is not None
    assert not field.nullable
    in_p = texts.call(rq.Query(collection=NAME, filter="id >= 0", limit=2000, partitions=("p",))).rows
    assert sorted(in_p["id"].to_pylist()) == list(range(400, ROWS))
    asked = rq.Queries(data_type=DataType.VARCHAR, raw=(b"word 3", b"word 650"))
    hits = texts.call(rq.Search(collection=NAME, anns_field="vector", queries=asked, limit=1))
    assert hits.scores.tolist() == pytest.approx([0, 0], abs=1e-5)
    texts.database.close()


def test_a_model_that_fails_is_told_and_asked_again(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(ROWS))
    model.answers.append(Answer(body=json.dumps([vector("dimension")]).encode()))  # to look whether it is there
    model.always = Answer(status=400, body=b'{"error": "no such thing"}')
    texts.add(model.endpoint)
    texts.wait(lambda: texts.index().state is IndexState.FAILED)
    info = texts.index()
    assert "no such thing" in info.fail_reason
    assert info.pending_rows > 0
    assert texts.call(rq.Query(collection=NAME, filter="id < 5", limit=10)).rows.num_rows == 5
    field = texts.schema().field("vector")
    assert field is not None
    assert field.nullable
    model.always = None
    texts.wait(texts.done)
    assert right(texts.found())
    texts.database.close()


def test_a_model_that_cannot_be_asked_adds_nothing(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(5))
    model.always = Answer(status=400, body=b"no")
    with pytest.raises(FunctionFailed):
        texts.add(model.endpoint)
    assert texts.schema().field("vector") is None
    texts.database.close()


def test_what_was_not_done_goes_on_at_the_next_start(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(ROWS))
    model.answers += [
        Answer(body=json.dumps([vector("dimension")]).encode()),
        Answer(body=json.dumps([vector(f"word {i}") for i in range(32)]).encode()),
    ]
    model.always = Answer(status=400, body=b"no")
    texts.add(model.endpoint)
    texts.wait(lambda: texts.index().state is IndexState.FAILED)
    texts.database.close()
    model.always = None
    texts = Texts(tmp_path / "db", 0)
    texts.wait(texts.done)
    assert right(texts.found())
    texts.database.close()


def test_rows_that_change_or_go_meanwhile_keep_what_they_became(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(ROWS))
    reply = model.reply
    changed = False

    def replying(path: str, body: Any) -> Any:
        nonlocal changed
        if not changed and len(body.get("inputs", ())) > 1:
            changed = True
            texts.insert(range(100, 110), text="other")
            texts.call(rq.Delete(collection=NAME, filter="id in [1, 2, 3]"))
        return reply(path, body)

    model.reply = replying  # type: ignore[method-assign]
    texts.add(model.endpoint)
    texts.wait(texts.done)
    assert changed
    found = texts.found()
    assert len(found) == ROWS - 3
    assert right({key: made for key, made in found.items() if 100 <= key < 110}, "other")
    assert right({key: made for key, made in found.items() if not 100 <= key < 110})
    texts.database.close()


def test_a_collection_that_is_not_loaded_is_waited_for(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(50))
    texts.call(rq.ReleaseCollection(collection=NAME))
    function = FunctionSchema(
        name="embed", type=FunctionType.TEXTEMBEDDING, input_field_names=("text",), output_field_names=("vector",),
        params={"provider": "tei", "endpoint": model.endpoint},
    )  # fmt: skip
    field = FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": str(DIM)})
    texts.call(rq.AddFunctionField(collection=NAME, field=field, function=function))
    texts.call(rq.CreateIndex(collection=NAME, field="vector", params={"index_type": "FLAT", "metric_type": "L2"}))
    texts.wait(lambda: "not loaded" in texts.index().fail_reason)
    texts.call(rq.LoadCollection(collection=NAME))
    texts.wait(texts.done)
    assert right(texts.found())
    texts.database.close()


def test_a_function_that_is_dropped_meanwhile_ends_the_work(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(ROWS))
    model.answers.append(Answer(body=json.dumps([vector("dimension")]).encode()))
    model.always = Answer(status=400, body=b"no")
    texts.add(model.endpoint)
    texts.call(rq.DropFunctionField(collection=NAME, function="embed"))
    model.always = None
    texts.add(model.endpoint)
    texts.wait(texts.done)
    assert right(texts.found())
    texts.call(rq.DropCollection(collection=NAME))
    texts.database.close()


@pytest.mark.parametrize("shards", [1, 2])
def test_rows_that_were_checked_before_the_function_came_get_their_vectors_however_late_they_are(
    tmp_path: Path, model: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    texts = Texts(tmp_path / "db", shards)
    texts.insert(range(50))
    check, checked, go_on = RowRules.check, threading.Event(), threading.Event()

    def slow(rules: RowRules, rows: pa.RecordBatch, **options: Any) -> pa.RecordBatch:
        done = check(rules, rows, **options)
        if rows.num_rows == 30:
            checked.set()
            assert go_on.wait(30)
        return done

    monkeypatch.setattr(RowRules, "check", slow)
    late = threading.Thread(target=texts.insert, args=(range(100, 130),))
    late.start()
    assert checked.wait(30)
    texts.add(model.endpoint)
    texts.wait(texts.done)
    go_on.set()
    late.join()
    found = texts.found()
    assert len(found) == 80
    assert right(found)
    texts.database.close()


def test_an_import_whose_rows_no_model_would_ever_see_is_refused(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(50))
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"id": i, "text": f"word {i}", "other": [1, 1]}) for i in range(100, 110)))
    request = ImportFiles(collection=NAME, groups=((str(file),),), options={"auto_commit": "false"})
    job = texts.call(request).job_id
    texts.wait(lambda: texts.call(DescribeImport(job_id=job)).state is ImportState.UNCOMMITTED)
    texts.add(model.endpoint)
    texts.wait(texts.done)
    with pytest.raises(ImportFailed, match="field vector of collection texts came while the rows were imported"):
        texts.call(CommitImport(job_id=job))
    assert texts.call(DescribeImport(job_id=job)).state is ImportState.FAILED
    assert len(texts.found()) == 50
    texts.database.close()


def test_a_function_of_the_same_name_is_not_taken_for_the_one_that_is_done(
    tmp_path: Path, model: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(50))
    end, there, exchanged = Backfills._end, threading.Event(), threading.Event()

    def late(backfills: Backfills, *args: Any) -> None:
        assert there.wait(30)
        if not exchanged.is_set():
            texts.call(rq.DropFunctionField(collection=NAME, function="embed"))
            texts.add(model.endpoint)
            exchanged.set()
        end(backfills, *args)

    monkeypatch.setattr(Backfills, "_end", late)
    texts.add(model.endpoint)
    there.set()
    assert exchanged.wait(30)
    texts.wait(texts.done)
    found = texts.found()
    assert len(found) == 50
    assert right(found)
    texts.database.close()


def test_a_copy_that_was_made_in_the_middle_of_it_is_filled_when_it_is_loaded(
    tmp_path: Path, model: EmbeddingServer
) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(50))
    model.answers.append(Answer(body=json.dumps([vector("dimension")]).encode()))
    model.always = Answer(status=400, body=b"no")
    texts.add(model.endpoint)
    texts.wait(lambda: texts.index().state is IndexState.FAILED)
    texts.call(rq.CreateSnapshot(collection=NAME, name="half"))
    model.always = None
    texts.wait(texts.done)
    texts.call(rq.RenameCollection(collection=NAME, new_name="first"))
    request = rq.RestoreSnapshot(collection="first", name="half", target_collection=NAME)
    job = texts.call(request).job_id
    texts.wait(lambda: texts.call(rq.GetRestoreSnapshotState(job_id=job)).state is JobState.COMPLETED)
    texts.call(rq.LoadCollection(collection=NAME))
    texts.wait(texts.done)
    assert right(texts.found())
    texts.database.close()


def test_a_model_that_takes_its_time_does_not_keep_the_database_open(tmp_path: Path, model: EmbeddingServer) -> None:
    texts = Texts(tmp_path / "db")
    texts.insert(range(50))
    model.answers.append(Answer(body=json.dumps([vector("dimension")]).encode()))
    model.always = Answer(wait=100.0)
    texts.add(model.endpoint)
    texts.wait(lambda: len(model.calls) > 1)  # the first was to look whether it is there
    began = time.monotonic()
    texts.database.close()
    assert time.monotonic() - began < 60
    model.always = None
    texts = Texts(tmp_path / "db", 0)
    texts.wait(texts.done)
    assert right(texts.found())
    texts.database.close()
