"""MinHash functions: signatures of texts, and how well equal elements estimate what texts share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.env import Env
from redkite.errors import InvalidParameter
from redkite.functions.base import Services
from redkite.functions.minhash import MinHashFunction, drawn
from redkite.functions.models import Models
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType, FunctionType

HASHES = 256


def minhash(
    params: Mapping[str, str] | None = None, dim: int = 32 * HASHES, kind: DataType = DataType.BINARY_VECTOR
) -> MinHashFunction:
    schema = CollectionSchema(
        name="texts",
        fields=(
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
            FieldSchema(name="text", data_type=DataType.VARCHAR, params={"max_length": "1000"}),
            FieldSchema(name="signature", data_type=kind, params={"dim": str(dim)}),
        ),
    )
    function = FunctionSchema(
        name="hash",
        type=FunctionType.MINHASH,
        input_field_names=("text",),
        output_field_names=("signature",),
        params=dict(params or {}),
    )
    env = Env.real()
    return MinHashFunction(schema, function, Services(env, Models(env)))


def shared(function: MinHashFunction, one: str, other: str) -> float:
    found = function.signatures(pa.array([one, other]))
    return float((found[0] == found[1]).mean())


def jaccard(one: list[str], other: list[str], size: int) -> float:
    first, second = ({tuple(x[i : i + size]) for i in range(len(x) - size + 1)} for x in (one, other))
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("changed", [0, 2, 10, 30, 80, 200])
@pytest.mark.parametrize("params", [{}, {"hash_function": "sha1"}, {"shingle_size": "1"}, {"seed": "7"}])
def test_equal_elements_estimate_the_jaccard_similarity_of_words(changed: int, params: dict[str, str]) -> None:
    rng = np.random.default_rng(changed)
    words = [f"word{number}" for number in rng.integers(0, 500, 200)]
    other = list(words)
    for place in rng.choice(200, changed, replace=False).tolist():
        other[place] = f"other{place}"
    true = jaccard(words, other, int(params.get("shingle_size", 3)))
    found = shared(minhash(params), " ".join(words), " ".join(other))
    assert found == pytest.approx(true, abs=4 * (true * (1 - true) / HASHES) ** 0.5 + 1e-9)


@pytest.mark.parametrize("level", ["char", "character", "CHAR"])
def test_equal_elements_estimate_the_jaccard_similarity_of_characters(level: str) -> None:
    one = "the quick brown fox jumps over the lazy dog and the grey heron watches from the reeds – 白鷺 é"
    other = one.replace("brown", "red").replace("heron", "stork")
    true = jaccard(list(one), list(other), 4)
    found = shared(minhash({"token_level": level, "shingle_size": "4"}), one, other)
    assert found == pytest.approx(true, abs=0.13)


def test_words_are_those_of_the_fields_analyzer() -> None:
    assert shared(minhash(), "The Red Kite flies", "the red kite, flies!") == 1.0
    assert shared(minhash({"token_level": "char"}), "The Red Kite flies", "the red kite, flies!") < 1.0


@settings(max_examples=30)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_a_text_has_one_signature_whatever_stands_beside_it(texts: list[str]) -> None:
    for params in ({"token_level": "char"}, {}):
        function = minhash(params, dim=32 * 16)
        together = function.signatures(pa.array(texts, pa.string()))
        alone = [function.signatures(pa.array([text], pa.string()))[0] for text in texts]
        assert np.array_equal(together, np.array(alone))


def test_the_column_and_the_queries_hold_the_same_bytes() -> None:
    function = minhash()
    texts = ["red kite over the hills", "", None, "a"]
    column = function.fill([pa.array(texts)])
    assert column.type == pa.binary(4 * HASHES)
    assert column.null_count == 0
    queries = function.queries([text or "" for text in texts])
    assert queries.data_type is DataType.BINARY_VECTOR
    assert list(queries.raw) == column.to_pylist()
    assert queries.raw[1] == b"\xff" * 4 * HASHES, "an empty text has no shingle"
    assert function.fill([pa.array([], pa.string())]).type == pa.binary(4 * HASHES)


def test_a_slice_of_a_column_is_read_where_it_lies() -> None:
    texts = pa.array(["zero", "one two three", "four five", "six"])
    for params in ({}, {"token_level": "char"}):
        function = minhash(params)
        assert function.fill([texts.slice(1, 2)]).to_pylist() == function.fill([texts]).to_pylist()[1:3]


def test_another_seed_gives_other_signatures() -> None:
    text = pa.array(["red kite over the hills"])
    assert not np.array_equal(minhash().signatures(text), minhash({"seed": "1"}).signatures(text))
    assert np.array_equal(minhash().signatures(text), minhash({"seed": "1234"}).signatures(text))


def test_signatures_do_not_change_between_versions() -> None:
    """They are stored: what is written today must be found by the queries of tomorrow."""
    text = pa.array(["information retrieval is a field of study"])
    words = minhash({"num_hashes": "4"}, dim=128).signatures(text)[0].tolist()
    characters = minhash({"num_hashes": "4", "token_level": "char"}, dim=128).signatures(text)[0].tolist()
    digests = minhash({"num_hashes": "4", "hash_function": "sha1"}, dim=128).signatures(text)[0].tolist()
    assert (words, characters, digests) == (WORDS, CHARACTERS, DIGESTS)


WORDS = [306837308, 75524256, 196152606, 642461211]
CHARACTERS = [65325736, 20487542, 37475638, 19792594]
DIGESTS = [31077103, 226916610, 1320029279, 234299865]


def test_words_are_hashed_by_xxh64() -> None:
    from redkite.functions.shingle_kernels import hash_texts

    known = {"": 0xEF46DB3751D8E999, "a": 0xD24EC4F1A98C6E5B, "abc": 0x44BC2CF5AD770999,
             "Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1}  # fmt: skip
    column = pa.array(list(known), pa.large_string())
    out = np.empty(len(known), np.uint64)
    starts = np.frombuffer(column.buffers()[1], np.int64, len(known) + 1)
    hash_texts(np.frombuffer(column.buffers()[2], np.uint8), starts, np.uint64(0), out)
    assert out.tolist() == list(known.values())


def test_drawn_numbers_are_those_of_splitmix64() -> None:
    assert drawn(0, 3).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize(
    ("params", "dim", "text"),
    [
        ({"num_hashes": "100"}, 8192, r"must have dimension 32 \* num_hashes = 3200, but got 8192"),
        ({}, 8, "must have a dimension that is a multiple of 32, but got 8"),
        ({"num_hashes": "many"}, 8192, r"num_hashes \[many\] should be a number from 1"),
        ({"shingle_size": "0"}, 8192, r"shingle_size \[0\] should be a number from 1"),
        ({"token_level": "page"}, 8192, r"token_level \[page\] should be one of word, char, character"),
        ({"hash_function": "md5"}, 8192, r"hash_function \[md5\] should be one of xxhash, sha1"),
        ({"seed": "-1"}, 8192, r"seed \[-1\] should be a number from 0"),
        ({"colour": "red"}, 8192, "unknown parameter colour"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params: dict[str, str], dim: int, text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        minhash(params, dim)


def test_only_a_binary_vector_can_be_filled() -> None:
    with pytest.raises(InvalidParameter, match="output field must be a BinaryVector field"):
        minhash(kind=DataType.FLOAT_VECTOR)
