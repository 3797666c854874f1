"""Words that are runs of characters: the standard tokenizer and its kin."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import regex
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.views import column, each_alone, places, words

from redkite.errors import InvalidParameter
from redkite.text.characters import CODE_POINTS, HAN, group, word_characters
from redkite.text.specs import analyzer_of
from redkite.text.tokenizers import runs

STANDARD = {"tokenizer": "standard"}
SOME = "aBZ9_. \t\né́ßΣяж中文ไทยกำहिन्दी𠮷🎉👩‍👩‍👧\u0000\u200d\ufeff١²Ⅷ"
texts = st.lists(st.one_of(st.text(alphabet=SOME, max_size=40), st.text(max_size=20), st.none()), max_size=12)


@settings(max_examples=150, deadline=None)
@given(texts)
def test_words_are_the_runs_of_letters_and_numbers(given: list[str | None]) -> None:
    pattern = regex.compile(r"[\p{Alphabetic}\p{N}]+")
    expected = [[(m.group(), *m.span(), i) for i, m in enumerate(pattern.finditer(text or ""))] for text in given]
    analyzer = analyzer_of(STANDARD)
    assert places(analyzer.analyze(given)) == expected
    assert places(analyzer.analyze(column(given))) == expected
    assert each_alone(analyzer, given) == expected


@settings(max_examples=60, deadline=None)
@given(texts)
def test_offsets_cut_the_word_out_of_its_text_and_positions_ascend(given: list[str | None]) -> None:
    for text, found in zip(given, places(analyzer_of(STANDARD).analyze(given)), strict=True):
        assert [(text or "")[begin:end] for _, begin, end, _ in found] == [word for word, *_ in found]
        assert [position for *_, position in found] == list(range(len(found)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=SOME, max_size=30), max_size=8))
def test_tantivy_finds_the_same_words(given: list[str]) -> None:
    theirs = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build()
    assert words(STANDARD, *given) == [theirs.analyze(text) for text in given]


def test_tantivy_finds_the_same_words_in_long_english() -> None:
    theirs = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase()).build()
    given = [text for text in (str.__doc__, re.__doc__, np.__doc__, unicodedata.__doc__) if text] * 3
    assert words({"type": "standard"}, *given) == [theirs.analyze(text) for text in given]


def test_the_table_of_letters_and_numbers_is_unicodes() -> None:
    pattern = regex.compile(r"[\p{Alphabetic}\p{N}]")
    table = word_characters()
    differing = [
        hex(point)
        for point in range(CODE_POINTS)
        if not 0xD800 <= point < 0xE000 and bool(pattern.match(chr(point))) is not bool(table[point])
    ]
    assert differing == []


def test_chinese_characters_are_those_of_the_script_han() -> None:
    ours, theirs = re.compile(f"[{HAN}]"), regex.compile(r"\p{Han}")
    points = [point for point in range(CODE_POINTS) if not 0xD800 <= point < 0xE000]
    assert [p for p in points if bool(ours.match(chr(p))) is not bool(theirs.match(chr(p)))] == []


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("whitespace", r"\p{White_Space}"), ("letter", r"\p{Alphabetic}"), ("digit", "[0-9]"),
        ("ascii_punctuation", "[!-/:-@\\[-`{-~]"),
    ],
)  # fmt: skip
def test_groups_of_characters(name: str, pattern: str) -> None:
    table, theirs = group(name), regex.compile(pattern)
    assert table is not None
    points = [point for point in range(0x3100) if bool(theirs.match(chr(point))) is not bool(table[point])]
    assert points == []


def test_whitespace_divides_at_blanks_of_ascii_only() -> None:
    assert words({"tokenizer": "whitespace"}, "a,b  c\td\ne\u00a0f\x0bg\r") == [["a,b", "c", "d", "e\u00a0f\x0bg"]]


def test_char_group_divides_at_characters_and_groups() -> None:
    params = {"tokenizer": {"type": "char_group", "delimiters": ["o", "punctuation", "digit"]}}
    assert words(params, "testotest,test1test “x”") == [["test", "test", "test", "test ", "x"]]
    assert words({"tokenizer": {"type": "char_group", "delimiters": ["é"]}}, "aéb") == [["a", "b"]]


def test_null_has_no_words_and_a_word_ends_with_its_text() -> None:
    given = ["ab", "cd", None, "", "ef", "é", "f"]
    expected = [["ab"], ["cd"], [], [], ["ef"], ["é"], ["f"]]
    assert words(STANDARD, *given) == expected
    sliced = pa.concat_arrays([column(["zz", "y"]), column(given), column(["x"])]).slice(2, len(given))
    for texts in (sliced, sliced.cast(pa.large_string()), pa.chunked_array([sliced.slice(0, 3), sliced.slice(3)])):
        tokens = analyzer_of(STANDARD).analyze(texts)
        assert [tokens.words(place) for place in range(len(given))] == expected
    assert len(analyzer_of(STANDARD).analyze([])) == 0
    assert places(analyzer_of(STANDARD).analyze(column([None, None]))) == [[], []]


@pytest.mark.parametrize("filler", ["x", "é"])
def test_a_word_of_a_megabyte_is_one_word(filler: str) -> None:
    huge = filler * 1_000_000
    assert places(analyzer_of(STANDARD).analyze([huge, "a"])) == [[(huge, 0, 1_000_000, 0)], [("a", 0, 1, 0)]]


def test_many_texts_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [f"word{i} wörter {i % 7}" for i in range(200)] + ["long " * 50, "", "é"]
    whole = places(analyzer_of(STANDARD).analyze(given))
    monkeypatch.setattr(runs, "_CHUNK", 64)
    assert places(analyzer_of(STANDARD).analyze(given)) == whole


@settings(max_examples=80, deadline=None)
@given(texts)
def test_lower_case_comes_out_the_same_wherever_it_is_done(given: list[str | None]) -> None:
    first = analyzer_of({"tokenizer": "standard", "filter": ["lowercase"]})
    second = analyzer_of({"tokenizer": "standard", "filter": [{"type": "length", "max": 999}, "lowercase"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_FEW", 0)
        assert places(first.analyze(given)) == places(second.analyze(given))


def test_little_text_is_read_as_much_text_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["The cat, the hat", "", "x", "The"]
    little = places(analyzer_of(STANDARD).analyze(given))
    monkeypatch.setattr(runs, "_FEW", 0)
    assert places(analyzer_of(STANDARD).analyze(given)) == little


@pytest.mark.parametrize("params", [STANDARD, {"tokenizer": "jieba"}], ids=str)
@pytest.mark.parametrize("few", [0, 512])
@pytest.mark.parametrize("bad", [b"ab\xff", b"\xed\xa0\x80", b"a\xc3", b"\xf8\x88\x80\x80\x80"])
def test_bytes_that_are_no_text_are_refused_and_named(
    params: object, few: int, bad: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_FEW", few)
    offsets = pa.array([0, 2, 2 + len(bad), 3 + len(bad)], pa.int32()).buffers()[1]
    # The character that ends text 1 too early would be whole with the byte of text 2.
    texts = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"ok" + bad + b"\xa9"))
    with pytest.raises(InvalidParameter, match="text 1 is not valid UTF-8"):
        analyzer_of(params).analyze(texts)  # type: ignore[arg-type]


def test_a_lone_surrogate_is_refused_and_named() -> None:
    with pytest.raises(InvalidParameter, match="text 1 is not valid Unicode: surrogates not allowed at 1"):
        analyzer_of(STANDARD).analyze(["fine", "a\ud800"])


@pytest.mark.parametrize("wrong", [[1], ["a", b"b"], pa.array([1, 2]), pa.array([b"x"])])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidParameter, match="an analyzer takes texts"):
        analyzer_of(STANDARD).analyze(wrong)  # type: ignore[arg-type]
