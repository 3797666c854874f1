"""Chinese words, by jieba-rs, the library that Milvus uses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import msgspec

from redkite.errors import InvalidParameter, Unimplemented
from redkite.text.extras import library
from redkite.text.texts import Texts
from redkite.text.tokenizers.segments import tokens_of
from redkite.text.tokens import Tokens

Mode = Literal["exact", "search"]
Entry = tuple[str, int | None, str | None]
"""A word, how often it occurs in texts and its part of speech, where these are known."""
DEFAULT_DICTIONARY = "_default_"
EXTENDED_DICTIONARY = "_extend_default_"


class JiebaTokenizer:
    """`dictionary`: words, `_default_` for those that the library brings, and `_extend_default_` for these and those of
    its large dictionary. `search` also gives the words within long
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
    kind = library("rjieba", "the jieba tokenizer").Jieba
    jieba = kind() if DEFAULT_DICTIONARY in words or EXTENDED_DICTIONARY in words else kind.empty()
    if EXTENDED_DICTIONARY in words:
        for word, count in _extended().items():
            if count and not jieba.has_word(word):  # beginnings of words are there without one
                jieba.add_word(word, count, None)
    for word, frequency, tag in dictionary:
        if word and word not in (DEFAULT_DICTIONARY, EXTENDED_DICTIONARY):
            jieba.add_word(word, frequency, tag)
    return jieba


class _Dictionary(msgspec.Struct):
    freq: dict[str, int]


def _extended() -> dict[str, int]:
    """jieba's large dictionary, with words in traditional characters too, as the package `jieba3` has it."""
    found = find_spec("jieba3")
    if found is None or found.origin is None:
        raise Unimplemented(
            f'the dictionary "{EXTENDED_DICTIONARY}" of the jieba tokenizer needs a library that is not installed: pip '
            "install 'redkite[text]' (or jieba3)"
        )
    # Its code is not run: that would read three dictionaries, and slowly.
    return msgspec.json.decode((Path(found.origin).parent / "model.large.json").read_bytes(), type=_Dictionary).freq
