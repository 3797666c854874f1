"""How often texts have terms, counted many texts at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.texts import text_schema

from redkite.env import Env
from redkite.errors import InvalidParameter
from redkite.functions import bm25, counting
from redkite.functions.base import Services
from redkite.functions.bm25 import Bm25Function, term_frequencies
from redkite.functions.counting import TermCounter
from redkite.functions.models import Models
from redkite.model.sparse import SparseRows
from redkite.text.analyzer import Pipeline
from redkite.text.specs import analyzer_of
from redkite.text.texts import Texts, texts_of

STANDARD: dict[str, Any] = {"type": "standard"}
ENGLISH: dict[str, Any] = {"type": "english"}
PARTS: dict[str, Any] = {
    "tokenizer": "standard",
    "filter": ["lowercase", {"type": "decompounder", "word_list": ["ki", "te"]}, {"type": "stop", "stop_words": ["x"]}],
}
HARD: dict[str, Any] = {"tokenizer": "standard", "filter": [{"type": "regex", "expr": "^(a|aa)+$"}]}
SPACES: dict[str, Any] = {"tokenizer": "whitespace"}
FOLDED: dict[str, Any] = {"tokenizer": "standard", "filter": ["asciifolding", "lowercase", "decimaldigit"]}
BY_BYTES = (STANDARD, SPACES, {"tokenizer": "whitespace", "filter": ["lowercase"]}, FOLDED)
"""What these make of words of ASCII is computed from their bytes."""
CHARACTERS = st.text(alphabet="azAZ@[`{09_-.\t\n\u0000 éßÅΣяЖ中٣𠮷", max_size=40)
SPELLED = st.sampled_from(["The", "the", "kites", "KITE", "engine's", "naïve", "x", "…", "\t", "  ", "und"])


def counter(params: Mapping[str, Any]) -> TermCounter:
    analyzer = analyzer_of(params)
    assert isinstance(analyzer, Pipeline) and analyzer.letters is not None
    return TermCounter(analyzer, analyzer.letters)


def same(found: pa.Array, params: Mapping[str, Any], given: list[str]) -> bool:
    """Whether it is what the tokens of the texts come to."""
    return bool(found.equals(term_frequencies(analyzer_of(params).analyze(given)).to_arrow()))


@pytest.mark.parametrize("params", [STANDARD, ENGLISH, PARTS], ids=["standard", "english", "parts"])
@given(given=st.lists(st.lists(SPELLED, max_size=9).map(" ".join), max_size=6))
@settings(max_examples=30, deadline=None)
def test_terms_are_those_of_the_analyzer(params: Mapping[str, Any], given: list[str]) -> None:
    made = counter(params)
    for some in (given[:2], given, given):  # words that are new, known, and of both kinds
        assert same(made.column(texts_of(some)), params, some)


@pytest.mark.parametrize("params", BY_BYTES, ids=["standard", "spaces", "small letters", "folded"])
@given(given=st.lists(st.one_of(CHARACTERS, st.text(max_size=20)), max_size=5), many=st.booleans())
@settings(max_examples=40, deadline=None)
def test_terms_by_bytes_are_those_of_the_analyzer(params: Mapping[str, Any], given: list[str], many: bool) -> None:
    made = counter(params)
    assert made._lowers is not None
    # Among many words of ASCII a few others are looked up one by one; else all words are numbered.
    some = [*given, " ".join(f"Word{number}" for number in range(400 * many)), *given]
    for _ in range(2):
        assert same(made.column(texts_of(some)), params, some)


def test_terms_by_bytes_are_the_checksums_of_words_of_every_length() -> None:
    words = [letter * size + back for size in range(130) for letter in "aZ{" for back in "bY"]
    found = counter({"tokenizer": "whitespace", "filter": ["lowercase"]}).column(texts_of([*words, " ".join(words)]))
    terms = [crc32(word.lower().encode()[:100]) for word in words]
    rows = SparseRows.from_arrow(found)
    assert rows.indices[: len(words)].tolist() == terms
    assert rows.row(len(words))[0].tolist() == sorted(set(terms))
    (term,) = SparseRows.from_arrow(counter(SPACES).column(texts_of(["ejffhau"]))).row(0)[0]
    assert (term, crc32(b"ejffhau")) == (0, 2**32 - 1)


def test_words_are_remembered_only_where_more_becomes_of_them_than_small_letters() -> None:
    given = ["Red KITES over the naïve " + "sea " * 20]
    dropped = {"tokenizer": "standard", "filter": ["lowercase", {"type": "stop", "stop_words": ["the"]}]}
    for params, many in ((STANDARD, 1), (FOLDED, 1), (ENGLISH, 6), (dropped, 6)):
        made = counter(params)
        assert same(made.column(texts_of(given)), params, given)
        assert len(made._words) == many


def test_terms_that_are_no_even_hashes_ascend_as_well() -> None:
    crowd = [word for number in range(200_000) if crc32((word := f"w{number}").encode()) >> 22 == 7]
    assert len(crowd) > 3 * 48
    given = [" ".join(words) for words in (crowd[:47], crowd[:49], crowd * 2, ["the"] * 500 + crowd[:9])]
    for params in (STANDARD, ENGLISH):
        assert same(counter(params).column(texts_of(given)), params, given)


def test_terms_of_long_texts_ascend_and_equal_ones_are_counted_together() -> None:
    rng = np.random.default_rng(3)
    given = [
        " ".join(f"W{n}" if n % 3 else f"w{n}" for n in rng.integers(0, size, size)) for size in (47, 48, 49, 3000)
    ]
    for params in (STANDARD, PARTS):
        found = counter(params).column(texts_of(given))
        assert same(found, params, given)
        dims, counts = SparseRows.from_arrow(found).row(3)
        assert (np.diff(dims.astype(np.int64)) > 0).all() and counts.sum() == 3000


def test_words_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counter(ENGLISH)
    for name, most in (("MAX_WORDS", 8), ("MAX_BYTES", 40)):
        monkeypatch.setattr(counting, name, most)
        for start in range(0, 60, 5):
            given = [" ".join(f"words{number}" for number in range(start, start + 5))]
            assert same(made.column(texts_of(given)), ENGLISH, given)
            assert len(made._words) <= 8 and made._words.word_bytes <= 2 * 40


def test_a_text_that_is_refused_leaves_nothing_behind() -> None:
    pytest.importorskip("pcre2")
    made = counter(HARD)
    given = ["aaa b aa"]
    assert same(made.column(texts_of(given)), HARD, given)
    with pytest.raises(InvalidParameter, match="at most 100 words"):
        made.column(texts_of([" ".join("a" * 30 + "b" + str(number) for number in range(200))]))
    assert same(made.column(texts_of(given)), HARD, given)


@pytest.mark.parametrize(
    ("data", "bounds"),
    [
        (b"good \xff\xfe", [0, 5, 7]), (b"good \xed\xa0\x80", [0, 5, 8]), (b"good\xc3\xa9", [0, 5, 6]),
        (b"good \xc0\xaf", [0, 5, 7]), (b"good \xf4\x90\x80\x80", [0, 5, 9]),
    ],
    ids=["no bytes of a character", "half a pair", "torn in two", "longer than need be", "behind the last"],
)  # fmt: skip
def test_bytes_that_are_no_text_are_refused(data: bytes, bounds: list[int]) -> None:
    text = 0 if bounds[1] == 5 and data[4:5] == b"\xc3" else 1
    with pytest.raises(InvalidParameter, match=f"text {text} is not valid UTF-8"):
        counter(STANDARD).column(Texts(data, np.array(bounds)))


def test_threads_count_at_the_same_time() -> None:
    parts = [[f"Common words{(number * 7) % 400} of ïles {part}" for number in range(300)] for part in range(8)]
    for params in (ENGLISH, STANDARD):
        made = counter(params)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda part, made=made: made.column(texts_of(part)), parts))
        assert all(same(column, params, part) for column, part in zip(found, parts, strict=True))


def test_a_function_counts_many_texts_as_it_counts_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bm25, "QUICK_BYTES", 64)
    monkeypatch.setattr(bm25, "LITTLE", 16)
    schema = text_schema()
    made = Bm25Function(schema, schema.functions[0], Services(Env.real(), Models(Env.real(), None)))
    assert made._counter is not None
    for texts, ready in ((["red kite"], False), (["the red kite is a bird of prey"] * 3, True), (["kite " * 9], True)):
        found = made.fill([pa.array([*texts, None])])
        counted = [Counter(text.split()) for text in texts]
        wanted = [{crc32(word.encode()): float(often) for word, often in words.items()} for words in counted]
        rows = SparseRows.from_arrow(found)
        assert [dict(zip(*map(np.ndarray.tolist, rows.row(at)), strict=True)) for at in range(len(rows))] == [
            *wanted,
            {},
        ]
        assert made._counter.is_ready is ready


def test_words_of_the_hash_that_is_no_dimension_have_the_first_one_and_long_ones_go_by_how_they_begin() -> None:
    assert crc32(b"ejffhau") == 2**32 - 1
    begins = "x" * 100
    found = counter(STANDARD).column(texts_of([f"ejffhau {begins}y {begins}z"]))
    dims, counts = SparseRows.from_arrow(found).row(0)
    assert (dims.tolist(), counts.tolist()) == ([0, crc32(begins.encode())], [1.0, 2.0])
