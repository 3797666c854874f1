"""The inverted index against an evaluator that tries every way, and against tantivy."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.match_oracle import edits, holds_near, holds_phrase, holds_words

from redkite.filter.matching import Matching, MatchKind, evaluate_matching
from redkite.filter.word_column import WordColumn
from redkite.text import inverted
from redkite.text import words as spelling
from redkite.text.inverted import Inverted, invert
from redkite.text.slop import least_slops
from redkite.text.specs import analyzer_of
from redkite.text.words import sorted_words, united

STANDARD = analyzer_of(None)
words = st.sampled_from(["a", "b", "c", "ab", "ba", "abc", "ä", "日本"])
texts = st.lists(st.none() | st.lists(words, max_size=9), max_size=12)
queries = st.lists(words | st.just("missing"), min_size=1, max_size=4)


def index_of(given_texts: list[list[str] | None]) -> Inverted:
    column = pa.array([None if text is None else " ".join(text) for text in given_texts], pa.string())
    made = invert(column, STANDARD)
    assert made is not None
    return made


@settings(max_examples=300, deadline=None)
@given(texts, queries, st.integers(0, 6))
def test_every_question_is_answered_as_by_trying_every_way(
    given_texts: list[list[str] | None], query: list[str], number: int
) -> None:
    index, held = index_of(given_texts), [text or [] for text in given_texts]
    places = range(len(query))
    phrases = [holds_phrase(text, query, number) for text in held]
    assert index.phrase(query, places, number).tolist() == phrases
    wide = dataclasses.replace(index, positions=index.positions.astype(np.uint32))
    assert wide.phrase(query, places, number).tolist() == phrases
    told = least_slops(STANDARD.analyze([" ".join(query)]), STANDARD.analyze([" ".join(text) for text in held]))
    assert [0 <= least <= number for least in told] == phrases
    least = min(max(1, number), len(query))
    assert index.any_of(query, least).tolist() == [holds_words(text, query, least) for text in held]
    assert index.near(query, number % 3).tolist() == [holds_near(text, query, number % 3) for text in held]


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), queries, st.integers(0, 4))
def test_texts_that_came_in_parts_answer_as_if_they_had_come_at_once(
    parts: list[list[list[str] | None]], query: list[str], slop: int
) -> None:
    whole = index_of([text for part in parts for text in part])
    column = WordColumn(0, (), None)
    for part in parts:
        strings = pa.array([None if text is None else " ".join(text) for text in part], pa.string())
        column = column.and_more(WordColumn.from_texts(strings, STANDARD))
    places = range(len(query))
    found = [part.phrase(query, places, slop) for part in column.parts]
    assert np.concatenate(found).tolist() == whole.phrase(query, places, slop).tolist()
    assert np.concatenate([part.any_of(query) for part in column.parts]).tolist() == whole.any_of(query).tolist()
    sizes = [part.texts for part in column.parts]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes), "parts double"


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), words, st.data())
def test_the_first_rows_of_a_column_are_asked_alone(
    parts: list[list[list[str] | None]], word: str, data: st.DataObject
) -> None:
    column = WordColumn(0, (), None)
    for part in parts:
        strings = pa.array([None if text is None else " ".join(text) for text in part], pa.string())
        column = column.and_more(WordColumn.from_texts(strings, STANDARD))
    rows = data.draw(st.integers(0, column.rows))
    held = [text for part in parts for text in part][:rows]
    for negated in (False, True):
        asked = Matching("f", MatchKind.WORDS, (word,), (0,), 1, STANDARD, negated)
        right = [text is not None and (word in text) != negated for text in held]
        assert evaluate_matching(asked, column.head(rows)).tolist() == right


def test_a_word_that_was_left_out_leaves_a_gap_in_the_phrase() -> None:
    index = index_of([["a", "x", "b"], ["a", "b"], ["a", "x", "y", "b"]])
    assert index.phrase(["a", "b"], [0, 2], 0).tolist() == [True, False, False]
    assert index.phrase(["a", "b"], [0, 2], 1).tolist() == [True, True, True]


def test_two_words_in_one_place_must_both_be_there() -> None:
    index = index_of([["a", "b"], ["a"], ["b", "a"]])
    assert index.phrase(["a", "b"], [0, 0], 1).tolist() == [True, False, True]


def test_a_word_given_twice_counts_twice() -> None:
    index = index_of([["a"], ["b"], ["a", "b"]])
    assert index.any_of(["a", "a", "b"], 2).tolist() == [True, False, True]


def test_texts_are_analysed_in_blocks_and_the_build_stops_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inverted, "BLOCK_TEXTS", 7)
    held = [[random.Random(n).choice("abcde") for _ in range(n % 9)] for n in range(50)]
    index = index_of(held)
    assert index.phrase(["a", "b"], [0, 1], 1).tolist() == [holds_phrase(text, ["a", "b"], 1) for text in held]
    asked: list[bool] = []

    def wanted() -> bool:
        asked.append(True)
        return len(asked) < 3

    assert invert(pa.array([" ".join(text) for text in held]), STANDARD, wanted) is None
    assert len(asked) == 3


def test_strings_by_dictionary_and_slices_are_read_as_they_are() -> None:
    plain = pa.array(["a b", "b", None, "a", "b"])
    for column in (plain.slice(1), plain.dictionary_encode().slice(1)):
        made = invert(column, STANDARD)
        assert made is not None
        assert made.any_of(["b"]).tolist() == [True, False, False, True]


def test_many_occurrences_of_few_words_do_not_multiply() -> None:
    index = index_of([["a"] * 20_000, ["a", "b"] * 10_000, ["b"] * 9 + ["a"] * 5_000])
    assert index.phrase(["a", "a", "a", "b"], range(4), 3).tolist() == [False, True, False]
    assert index.phrase(["a"] * 5_000, range(5_000), 0).tolist() == [True, False, True]
    assert index.phrase(["a"] * 5_001, range(5_001), 0).tolist() == [True, False, False]
    assert index.phrase(["a"] * 5_001, range(5_001), 1).tolist() == [True, True, True]
    assert index.phrase(["a", "a"], range(2), 2**32 - 1).tolist() == [True, True, True]


# -- words ----------------------------------------------------------------------------------------
@settings(max_examples=200, deadline=None)
@given(st.sets(st.text(alphabet="abü日", max_size=5)), st.text(alphabet="abü日", max_size=5), st.integers(0, 2))
def test_words_are_found_exactly_and_by_their_edits(known: set[str], word: str, distance: int) -> None:
    held, ranks = sorted_words(known)
    spelled = held.texts.to_pylist()
    assert spelled == sorted(known, key=str.encode) and [spelled[n] for n in ranks] == list(known)
    assert held.find(word) == (spelled.index(word) if word in known else -1)
    assert held.near(word, distance).tolist() == [n for n, one in enumerate(spelled) if edits(one, word) <= distance]


@settings(max_examples=200, deadline=None)
@given(st.sets(st.text(alphabet="abü", max_size=6)), st.text(alphabet="abü", max_size=6), st.integers(0, 2))
def test_long_words_are_near_as_short_ones_are(known: set[str], word: str, distance: int) -> None:
    held = sorted_words(known)[0]
    short = held.near(word, distance).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spelling, "LONGEST", -1)
        assert held.near(word, distance).tolist() == short


def test_many_words_are_found_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    held = sorted_words([f"w{n}" for n in range(900)])[0]
    asked = {f"w{n}": None for n in range(0, 2_000, 3)}
    many = held.find_all(asked)
    monkeypatch.setattr(spelling, "MOST_SEARCHES", 10_000)
    assert many == held.find_all(asked)
    assert sum(number >= 0 for number in many.values()) == 300


@given(st.sets(words), st.sets(words))
def test_the_words_of_two_parts_are_united(one: set[str], other: set[str]) -> None:
    first, second = sorted_words(one)[0], sorted_words(other)[0]
    both, mine, theirs = united(first, second)
    spelled = both.texts.to_pylist()
    assert spelled == sorted(one | other, key=str.encode)
    assert [spelled[n] for n in mine] == first.texts.to_pylist()
    assert [spelled[n] for n in theirs] == second.texts.to_pylist()


# -- tantivy --------------------------------------------------------------------------------------
class Tantivy:
    """The same texts in an index of tantivy's."""

    def __init__(self, held: list[str]) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", index_option="position")
        builder.add_unsigned_field("row", stored=True)
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        writer = self._index.writer(15_000_000, 1)
        for row, text in enumerate(held):
            writer.add_document(tantivy.Document(text=text, row=row))
        writer.commit()
        self._index.reload()

    def phrase(self, query: list[str], slop: int) -> set[int]:
        return self._rows(tantivy.Query.phrase_query(self._schema, "text", query, slop=slop))

    def any_of(self, query: list[str], least: int) -> set[int]:
        terms = [(tantivy.Occur.Should, tantivy.Query.term_query(self._schema, "text", word)) for word in query]
        return self._rows(tantivy.Query.boolean_query(terms, minimum_number_should_match=least))

    def near(self, word: str, distance: int) -> set[int]:
        return self._rows(tantivy.Query.fuzzy_term_query(self._schema, "text", word, distance, True))

    def _rows(self, query: Any) -> set[int]:
        searcher = self._index.searcher()
        return {searcher.doc(place)["row"][0] for _, place in searcher.search(query, 10_000).hits}


def rows_of(mask: Any) -> set[int]:
    return set(np.flatnonzero(mask).tolist())


@pytest.mark.parametrize("seed", range(6))
def test_phrases_are_found_where_tantivy_finds_them(seed: int) -> None:
    chance = random.Random(seed)
    held = [" ".join(chance.choices("abcde", k=chance.randint(0, 9))) for _ in range(80)]
    theirs, ours = Tantivy(held), index_of([text.split() for text in held])
    for _ in range(40):
        query, slop = chance.choices("abcde", k=chance.randint(2, 4)), chance.choice([0, 0, 1, 2, 3, 5])
        found, wanted = rows_of(ours.phrase(query, range(len(query)), slop)), theirs.phrase(query, slop)
        if not slop or len(query) == 2:
            assert found == wanted, (query, slop)
        elif len(query) == 3:
            # It adds up moves in the order of its posting lists, so it may count more of them than there are.
            assert wanted <= found, (query, slop)


@pytest.mark.parametrize("seed", range(3))
def test_words_are_found_where_tantivy_finds_them(seed: int) -> None:
    chance = random.Random(seed)
    vocabulary = ["".join(chance.choices("abc", k=chance.randint(1, 5))) for _ in range(30)]
    held = [" ".join(chance.choices(vocabulary, k=chance.randint(0, 9))) for _ in range(80)]
    theirs, ours = Tantivy(held), index_of([text.split() for text in held])
    for _ in range(25):
        query = chance.choices(vocabulary, k=chance.randint(1, 4))
        least = chance.randint(1, len(query))
        assert rows_of(ours.any_of(query, least)) == theirs.any_of(query, least), (query, least)
        distance = chance.randint(0, 2)
        assert rows_of(ours.near(query[:1], distance)) == theirs.near(query[0], distance), (query[0], distance)


def test_words_given_more_often_than_a_short_number_counts_are_counted() -> None:
    index = index_of([["a"], ["b"], ["a", "b"], None])
    assert index.any_of(["a"] * 70_000, 1_000).tolist() == [True, False, True, False]
    assert index.any_of(["a"] * 65_536, 1_000).tolist() == [True, False, True, False]
    twice = ["a"] * 40_000 + ["b"] * 40_000
    assert index.any_of(twice, 70_000).tolist() == [False, False, True, False]
