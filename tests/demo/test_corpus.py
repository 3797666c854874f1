"""The corpus: enough real text, each once, the same in every run."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from redkite.demo.corpus import MAX_CHARACTERS, MIN_CHARACTERS, Text, read_corpus


@pytest.fixture(scope="module")
def corpus() -> list[Text]:
    return read_corpus()


def test_the_standard_library_gives_thousands_of_texts_of_every_kind(corpus: list[Text]) -> None:
    kinds = Counter(text.kind for text in corpus)
    assert set(kinds) <= {"module", "class", "function", "method", "topic"}
    assert min(kinds["module"], kinds["class"], kinds["function"], kinds["method"]) > 200
    assert len(corpus) > 7_000


def test_every_text_is_there_once_and_of_a_sensible_length(corpus: list[Text]) -> None:
    texts = [text.text for text in corpus]
    assert len(set(texts)) == len(texts)
    assert all(MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS for text in texts)


def test_os_path_goes_by_the_name_people_know(corpus: list[Text]) -> None:
    join = next(text for text in corpus if text.name == "os.path.join")
    assert join.module == "os.path"
    assert os.path.__name__ not in {text.module for text in corpus}


def test_functions_written_in_c_are_found(corpus: list[Text]) -> None:
    names = {text.name for text in corpus}
    assert {"math.sqrt", "itertools.chain", "builtins.str.split"} <= names


def test_reading_twice_gives_the_same_texts_in_the_same_order(corpus: list[Text]) -> None:
    seen: list[tuple[int, int]] = []
    assert read_corpus(lambda done, total: seen.append((done, total))) == corpus
    assert seen[-1][0] == seen[-1][1] == len(seen)
