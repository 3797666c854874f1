"""Models of this machine that take their time, and everybody else who wants something meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from tests.servers import ThreadServer

from redkite.cluster.local import Database, open_database
from redkite.env import Env
from redkite.errors import FunctionFailed
from redkite.functions.embedders import TOGETHER, CallableEmbedder, LocalEmbedder, Shape
from redkite.functions.models import Models
from redkite.functions.providers.base import Purpose
from redkite.model.calling import ModelSettings
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.types import DataType
from redkite.server.calls import WORKERS

FLOATS = Shape(DataType.FLOAT_VECTOR, 2)


def vectors(texts: Sequence[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


class Slow:
    """Embeds when it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.running = self.most = 0
        self.asked: list[int] = []
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.asked.append(len(texts))
            self.threads.add(threading.current_thread().name)
        assert self.go_on.wait(60)
        with self._lock:
            self.running -= 1
        return vectors(texts)


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go_on.set()


def models_with(slow: Any, **settings: Any) -> Models:
    models = Models(Env.real(), ModelSettings(**settings))
    models.register("mine", RegisterEmbedding("mine", slow, slow))
    return models


def test_a_callable_that_does_not_answer_in_time_is_an_error_and_the_next_call_finds_the_thread_free_when_it_ends(
    slow: Slow,
) -> None:
    models = models_with(slow, local_threads=1, local_seconds=0.1)
    embedder = CallableEmbedder(models, "mine", FLOATS)
    with pytest.raises(FunctionFailed, match=r"embedding mine did not answer in 0\.1 s"):
        embedder.embed(["a"], Purpose.DOCUMENT)
    with pytest.raises(FunctionFailed, match=r"was busy: none of 1 threads was free in 0\.1 s"):
        embedder.embed(["b"], Purpose.DOCUMENT)
    slow.go_on.set()
    while slow.running:
        time.sleep(0.01)
    models.settings = ModelSettings(local_threads=1, local_seconds=30)
    assert embedder.embed(["abc"], Purpose.DOCUMENT).tolist() == [[3, 1]]
    assert slow.asked == [1, 1], "who gave up before its turn is not served any more"
    models.close()


def test_no_more_calls_run_at_once_than_there_are_threads(slow: Slow) -> None:
    models = models_with(slow, local_threads=2, local_seconds=60)
    embedder = CallableEmbedder(models, "mine", FLOATS)
    threads = [threading.Thread(target=embedder.embed, args=(["a"], Purpose.DOCUMENT)) for _ in range(6)]
    for thread in threads:
        thread.start()
    while slow.running < 2:
        time.sleep(0.01)
    slow.go_on.set()
    for thread in threads:
        thread.join(60)
    assert (slow.most, len(slow.asked)) == (2, 6)
    models.close()


def test_a_timeout_of_the_callable_itself_is_its_own_error() -> None:
    def fails(_: Sequence[str]) -> Any:
        raise TimeoutError("the line is busy")

    for threads in (0, 1):
        models = models_with(fails, local_threads=threads)
        with pytest.raises(FunctionFailed, match="raised TimeoutError: the line is busy"):
            CallableEmbedder(models, "mine", FLOATS).embed(["a"], Purpose.QUERY)
        models.close()


def test_a_program_runs_its_callables_itself_unless_it_says_otherwise(slow: Slow) -> None:
    slow.go_on.set()
    models = models_with(slow)
    CallableEmbedder(models, "mine", FLOATS).embed(["a"], Purpose.QUERY)
    assert slow.threads == {threading.current_thread().name}


def test_a_model_in_a_folder_takes_some_texts_at_a_time(monkeypatch: pytest.MonkeyPatch, slow: Slow) -> None:
    slow.go_on.set()
    models = models_with(slow, local_threads=1)

    class Model:
        dim = 2

        def embed(self, texts: Sequence[str]) -> Any:
            return np.array(slow(texts), np.float32)

    monkeypatch.setattr(Models, "local", lambda *_: Model())

    class Place:
        name = "small"

    embedder = LocalEmbedder(models, Place(), {Purpose.QUERY: "> "}, FLOATS)
    found = embedder.embed(["x" * (n % 5) for n in range(TOGETHER + 10)], Purpose.QUERY)
    assert slow.asked == [TOGETHER, 10]
    assert found[:, 0].tolist() == [2 + n % 5 for n in range(TOGETHER + 10)]
    models.close()


@pytest.fixture
def served(tmp_path: Any, slow: Slow) -> Iterator[tuple[Database, ThreadServer]]:
    database = open_database(str(tmp_path / "db"), models=ModelSettings(local_threads=2, local_seconds=60))
    database.service.call(RegisterEmbedding("mine", slow, vectors))
    with ThreadServer(database.service) as server:
        yield database, server
        slow.go_on.set()
    database.close()


def ask(server: ThreadServer, path: str, body: dict[str, Any]) -> Any:
    reply = httpx.post(f"{server.uri}/v2/vectordb/{path}", json=body, timeout=60).json()
    assert reply["code"] == 0, reply
    return reply["data"]


def test_a_server_goes_on_while_more_inserts_than_it_has_threads_wait_for_a_callable(
    served: tuple[Database, ThreadServer], slow: Slow
) -> None:
    _, server = served
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": {"max_length": "50"}},
        {"fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": {"dim": "2"}},
    ]
    function = {
        "name": "embed", "type": "TextEmbedding", "inputFieldNames": ["text"], "outputFieldNames": ["vector"],
        "params": {"provider": "python", "model_name": "mine"},
    }  # fmt: skip
    slow.go_on.set()
    ask(server, "collections/create", {
        "collectionName": "c", "schema": {"fields": fields, "functions": [function]},
        "indexParams": [{"fieldName": "vector", "indexName": "v", "metricType": "L2"}],
    })  # fmt: skip
    slow.go_on.clear()
    rows = [[{"id": number, "text": "x" * (1 + number % 40)}] for number in range(WORKERS + 10)]
    inserts = [
        threading.Thread(target=ask, args=(server, "entities/insert", {"collectionName": "c", "data": data}))
        for data in rows
    ]
    for thread in inserts:
        thread.start()
    while slow.running < 2:
        time.sleep(0.01)
    time.sleep(0.2)
    count = {"collectionName": "c", "filter": "", "outputFields": ["count(*)"]}
    assert ask(server, "entities/query", count) == [{"count(*)": 0}]
    # A search by words uses the other callable, but the same threads: by a vector it needs none.
    search = {"collectionName": "c", "data": [[1.0, 1.0]], "annsField": "vector", "limit": 3}
    assert ask(server, "entities/search", {**search, "filter": "text like '%x%'"}) == []
    assert slow.most == 2
    slow.go_on.set()
    for thread in inserts:
        thread.join(60)
    assert ask(server, "entities/query", count) == [{"count(*)": len(rows)}]
    assert slow.most == 2
