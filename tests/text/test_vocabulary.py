"""Words of texts, numbered as they are first seen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.text.characters import ASCII_SPACES, without, word_characters
from redkite.text.texts import Texts, texts_of
from redkite.text.tokenizers.runs import RunTokenizer
from redkite.text.vocabulary import Vocabulary

SOME = "abcdefghijKL9_. \t\né́ßΣяж中文ไทย𠮷🎉\u0000"
TABLES = (word_characters(), without(ASCII_SPACES))
texts = st.lists(st.one_of(st.text(alphabet=SOME, max_size=60), st.text(max_size=20)), max_size=12)


def spelled(vocabulary: Vocabulary, given: Texts) -> list[list[str]]:
    """The words that the numbers of each text stand for."""
    starts, codes = vocabulary.numbers(given)
    words = vocabulary.words(0)
    assert len(words) == len(set(words)) == len(vocabulary)
    return [[words[code] for code in codes[starts[at] : starts[at + 1]]] for at in range(len(given))]


@settings(max_examples=40, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), st.sampled_from(TABLES))
def test_numbers_stand_for_the_words_that_the_tokenizer_finds(parts: list[list[str]], table: object) -> None:
    vocabulary = Vocabulary(table)  # type: ignore[arg-type]
    for part in parts:  # words that are new, and known
        given = texts_of(part)
        tokens = RunTokenizer(table).tokenize(given)  # type: ignore[arg-type]
        assert spelled(vocabulary, given) == [tokens.words(at) for at in range(len(part))]


def test_words_of_every_length_are_told_apart_by_any_byte() -> None:
    words = [front + "a" * size + back for size in range(40) for front in ("", "b", "é") for back in ("", "c", "é")]
    words += ["a" * place + "d" + "a" * (30 - place) for place in range(31)]
    wanted = list(dict.fromkeys(word for word in words if word))
    vocabulary = Vocabulary(word_characters())
    for _ in range(2):
        assert spelled(vocabulary, texts_of([" ".join(wanted)])) == [wanted]
    assert vocabulary.words(0) == wanted


def test_numbers_stay_when_there_come_more_words_than_there_is_room_for() -> None:
    vocabulary = Vocabulary(word_characters())
    given = [f"w{number} word{number:09} {'x' * (number % 70)}y" for number in range(20_000)]
    for step in (1, 7_000, 13_000):
        assert spelled(vocabulary, texts_of(given[:step])) == [text.split() for text in given[:step]]
    assert len(vocabulary) == len({word for text in given[:13_000] for word in text.split()})
    assert vocabulary.word_bytes == sum(map(len, vocabulary.words(0)))


def test_one_long_text_finds_room_at_once() -> None:
    words = [f"w{number}" for number in range(100_000)]
    assert spelled(Vocabulary(word_characters()), texts_of([" ".join(words), ""])) == [words, []]
