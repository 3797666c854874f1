"""Chinese words, by jieba-rs, the library that Milvus uses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, Literal

from redkite.errors import InvalidParameter, Unimplemented
from redkite.text.extras import library
from redkite.text.texts import Texts
from redkite.text.tokenizers.segments import tokens_of
from redkite.text.tokens import Tokens

Mode = Literal["exact", "search"]
Entry = tuple[str, int | None, str | None]
"""A word, how often it occurs in texts and its part of speech, where these are known."""
DEFAULT_DICTIONARY = "_default_"
_OTHER_DICTIONARY = "_extend_default_"


class JiebaTokenizer:
    """`dictionary`: words, and `_default_` for those that the library brings. `search` also gives the words within long
    ones, before them. With `hmm` words that are in no dictionary are guessed."""

    def __init__(self, dictionary: Sequence[Entry], mode: Mode, *, hmm: bool) -> None:
        with _LOADING:
            self._jieba = _load(tuple(dictionary))
        self._mode = "search" if mode == "search" else "default"
        self._hmm = hmm

    def tokenize(self, texts: Texts) -> Tokens:
        cut, mode, hmm = self._jieba.tokenize, self._mode, self._hmm
        found = [cut(text, mode, hmm) if text else () for text in texts.strings()]
        words, begins, _ = zip(*chain.from_iterable(found), strict=True) if any(found) else ((), (), ())
        return tokens_of(list(map(len, found)), words, begins, by_character=True)


def read_entry(line: str) -> Entry:
    """A line of a dictionary file: a word, and perhaps its frequency and part of speech."""
    word, *more = line.split()
    if not more:
        return word, None, None
    if not more[0].isdecimal():
        raise InvalidParameter(f"line {line!r} of a jieba dictionary: the frequency {more[0]} is no number")
    return word, int(more[0]), more[1] if len(more) > 1 else None


_LOADING = Lock()


@lru_cache(maxsize=8)
def _load(dictionary: tuple[Entry, ...]) -> Any:
    """A dictionary takes some 100 ms to load, so equal ones are loaded once."""
    words = {word for word, _, _ in dictionary}
    if _OTHER_DICTIONARY in words:
        raise Unimplemented(
            f'the dictionary "{_OTHER_DICTIONARY}" of the jieba tokenizer is not in this version: list its words in '
            "dict, or in a file for extra_dict_file"
        )
    kind = library("rjieba", "the jieba tokenizer").Jieba
    jieba = kind() if DEFAULT_DICTIONARY in words else kind.empty()
    for word, frequency, tag in dictionary:
        if word and word != DEFAULT_DICTIONARY:
            jieba.add_word(word, frequency, tag)
    return jieba
