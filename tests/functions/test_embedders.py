"""What embeds: the vectors that are taken, and those that are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.functions.embedding_server import DIM, Answer, EmbeddingServer, vector
from tests.functions.test_providers import embedding, filled

from redkite.env import Env
from redkite.errors import FunctionFailed, InvalidParameter
from redkite.functions.embedders import CallableEmbedder, Shape, stacked
from redkite.functions.models import Models
from redkite.functions.providers.base import Purpose
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.types import DataType

FLOATS = Shape(DataType.FLOAT_VECTOR, DIM)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"not json", "answered what are not vectors"),
        (b"", "answered what are not vectors"),
        (b"{}", "answered what are not vectors"),
        (b'[["a", 1, 2, 3], [1, 2, 3, 4]]', "answered what are not vectors"),
        (b"[[1, 2, 3, 4]]", "1 vectors for 2 texts"),
        (b"[[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]", "3 vectors for 2 texts"),
        (b"[[1, 2], [3, 4]]", r"required embedding dim is \[4\], but the embedding obtained from the model is \[2\]"),
        (b"[[1, 2, 3, 4], [1, 2]]", "vectors of different lengths"),
        (b"[[1, 2, 3, 1e300], [1, 2, 3, 4]]", "numbers that are not finite"),
        (b"[[1, 2, 3, null], [1, 2, 3, 4]]", "answered what are not vectors"),
        (b"\xff\xfe[[", "answered what are not vectors"),
        (b"[" * 100_000, "answered what are not vectors"),
    ],
)
def test_a_reply_that_is_no_vectors_is_an_error_of_the_function(body: bytes, text: str) -> None:
    with EmbeddingServer(always=Answer(body=body)) as server:
        function = embedding({"provider": "tei", "endpoint": server.endpoint})
        with pytest.raises(FunctionFailed, match=text) as caught:
            filled(function, ["red", "kite"])
        assert caught.value.code == 2400
        assert f"embedding provider tei at {server.endpoint}/embed" in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        [{"index": 0, "embedding": [1, 2, 3, 4]}, {"index": 0, "embedding": [1, 2, 3, 4]}],
        [{"index": 0, "embedding": [1, 2, 3, 4]}, {"index": 2, "embedding": [1, 2, 3, 4]}],
        [{"index": 0, "embedding": [1, 2, 3, 4]}, {"index": -1, "embedding": [1, 2, 3, 4]}],
    ],
)
def test_vectors_that_are_not_of_all_texts_are_refused(data: list[Any]) -> None:
    import json

    with EmbeddingServer(always=Answer(body=json.dumps({"data": data}).encode())) as server:
        function = embedding({"provider": "vllm", "model_name": "m", "endpoint": server.endpoint})
        with pytest.raises(FunctionFailed, match="no vector, or two, for one of 2 texts"):
            filled(function, ["red", "kite"])


# -- callables --------------------------------------------------------------------------------------
def called(documents: Any, queries: Any = None, batch: int = 0, shape: Shape = FLOATS) -> CallableEmbedder:
    models = Models(Env.real())
    models.register(
        "mine", RegisterEmbedding(name="mine", documents=documents, queries=queries or documents, batch=batch)
    )
    return CallableEmbedder(models, "mine", shape)


class _Tensor:
    """As a tensor of a deep learning library behaves."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def detach(self) -> _Tensor:
        return self

    def cpu(self) -> _Tensor:
        return self

    def numpy(self) -> Any:
        return np.array(self.rows)


@pytest.mark.parametrize(
    "make",
    [
        list,
        np.array,
        lambda rows: np.array(rows, np.float16),
        lambda rows: [np.array(row) for row in rows],
        lambda rows: (row for row in rows),
        np.asfortranarray,
        _Tensor,
    ],
)
def test_a_callable_may_give_vectors_in_any_form(make: Any) -> None:
    found = called(lambda texts: make([vector(text) for text in texts])).embed(["red", "kite"], Purpose.DOCUMENT)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tolist() == [vector("red"), vector("kite")]


def test_a_callable_gets_as_many_texts_as_it_wants_and_queries_apart() -> None:
    sizes: list[int] = []

    def documents(texts: list[str]) -> Any:
        sizes.append(len(texts))
        return [vector(text) for text in texts]

    mine = called(documents, lambda texts: [[9.0] * DIM for _ in texts], batch=3)
    assert len(mine.embed(["a"] * 7, Purpose.DOCUMENT)) == 7
    assert sizes == [3, 3, 1]
    assert mine.embed(["a"], Purpose.QUERY).tolist() == [[9.0] * DIM]


@pytest.mark.parametrize(
    ("give", "text"),
    [
        (lambda texts: [[1.0] * 3] * len(texts), r"required embedding dim is \[4\]"),
        (lambda texts: [[1.0] * DIM], "answered 1 vectors for 2 texts"),
        (lambda texts: [1.0, 2.0], "are not 2 vectors of numbers"),
        (lambda texts: [["a"] * DIM] * 2, "are not 2 vectors of numbers"),
        (lambda texts: [[float("nan")] * DIM] * 2, "numbers that are not finite"),
        (lambda texts: None, "raised|are not 2 vectors"),
        (lambda texts: 1 / 0, "embedding mine raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_callable_that_gives_no_vectors_is_an_error_of_the_function(give: Any, text: str) -> None:
    with pytest.raises(FunctionFailed, match=text):
        called(give).embed(["red", "kite"], Purpose.DOCUMENT)


def test_what_is_not_registered_is_told() -> None:
    with pytest.raises(InvalidParameter, match="embedding mine is not registered in this process"):
        CallableEmbedder(Models(Env.real()), "mine", FLOATS).embed(["a"], Purpose.DOCUMENT)


def test_a_server_says_that_it_runs_no_code_of_clients() -> None:
    from redkite.model.calling import ModelSettings

    models = Models(Env.real(), ModelSettings(any_folder=False))
    with pytest.raises(InvalidParameter, match="a server runs no Python code of its clients"):
        CallableEmbedder(models, "mine", FLOATS).embed(["a"], Purpose.DOCUMENT)


def test_an_int8_field_takes_small_whole_numbers() -> None:
    small = Shape(DataType.INT8_VECTOR, 2)
    assert called(lambda texts: [[-128, 127.0]], shape=small).embed(["a"], Purpose.DOCUMENT).tolist() == [[-128, 127]]
    for wrong in ([[0.5, 1]], [[128, 0]], [[-129, 0]], [[float("nan"), 0]]):
        with pytest.raises(FunctionFailed, match="not of int8"):
            called(lambda texts, wrong=wrong: wrong, shape=small).embed(["a"], Purpose.DOCUMENT)


def test_rows_that_have_no_length_are_read() -> None:
    assert stacked(iter([[1], [2]])) == [[1], [2]]
