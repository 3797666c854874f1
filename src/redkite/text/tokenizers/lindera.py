"""Japanese, Korean and Chinese words, by Lindera's dictionaries."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from redkite.errors import InvalidParameter, Unimplemented
from redkite.text.extras import library
from redkite.text.texts import Texts
from redkite.text.tokenizers.segments import tokens_of
from redkite.text.tokens import Tokens

_TOGETHER = ("ipadic", "ko-dic", "cc-cedict")
"""In one package."""
DICTIONARIES = ("ipadic", "ipadic-neologd", "unidic", "ko-dic", "cc-cedict")


class LinderaTokenizer:
    """`dictionary` is one of `DICTIONARIES`; those that are not in one package come in one of their own, which takes
    the place of it."""

    def __init__(self, dictionary: str) -> None:
        self._tokenizer = _load(dictionary)

    def tokenize(self, texts: Texts) -> Tokens:
        """Lindera leaves out blanks."""
        counts: list[int] = []
        words: list[str] = []
        begins: list[int] = []
        for text in texts.strings():
            pieces = self._tokenizer.tokenize(text) if text else ()
            counts.append(len(pieces))
            words += [piece.surface for piece in pieces]
            begins += _characters(text, [piece.byte_start for piece in pieces])
        return tokens_of(counts, words, begins, by_character=False)


def _characters(text: str, places: list[int]) -> list[int]:
    """Places among the bytes of a text as places among its characters."""
    if text.isascii():
        return places
    first = np.frombuffer(text.encode(), np.uint8) & 0xC0 != 0x80
    characters: list[int] = (np.cumsum(first) - 1)[places].tolist()
    return characters


@lru_cache(maxsize=len(DICTIONARIES))
def _load(dictionary: str) -> Any:
    lindera = library("lindera", "the lindera tokenizer")
    if dictionary not in DICTIONARIES:
        raise InvalidParameter(f"unsupported lindera dict type: {dictionary}")
    try:
        return lindera.Tokenizer(lindera.load_dictionary(f"embedded://{dictionary}"), mode="normal")
    except (ValueError, RuntimeError, OSError) as error:
        package = f"lindera-python-{'cjk' if dictionary in _TOGETHER else dictionary}"
        raise Unimplemented(
            f"lindera is installed without the dictionary {dictionary}: pip install {package} in the place of the "
            "lindera package that is there"
        ) from error
