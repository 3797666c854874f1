"""Japanese, Korean and Chinese words, by Lindera's dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from redkite.errors import InvalidParameter, Unimplemented
from redkite.text.extras import library
from redkite.text.texts import Texts
from redkite.text.tokenizers.parts_of_speech import Piece, PieceFilter, piece_of
from redkite.text.tokenizers.segments import tokens_of
from redkite.text.tokens import Tokens

_TOGETHER = ("ipadic", "ko-dic", "cc-cedict")
"""In one package."""
DICTIONARIES = ("ipadic", "ipadic-neologd", "unidic", "ko-dic", "cc-cedict")


class LinderaTokenizer:
    """`dictionary` is one of `DICTIONARIES`; those that are not in one package come in one of their own, which takes
    the place of it. `filters` see the words of each text, one filter after another."""

    def __init__(self, dictionary: str, filters: Sequence[PieceFilter] = ()) -> None:
        self._tokenizer = _load(dictionary)
        self._filters = tuple(filters)

    def tokenize(self, texts: Texts) -> Tokens:
        """Lindera leaves out blanks."""
        if self._filters:
            return self._filtered(texts)
        counts: list[int] = []
        words: list[str] = []
        begins: list[int] = []
        for text in texts.strings():
            pieces = self._tokenizer.tokenize(text) if text else ()
            counts.append(len(pieces))
            words += [piece.surface for piece in pieces]
            begins += _characters(text, [piece.byte_start for piece in pieces])
        return tokens_of(counts, words, begins, by_character=False)

    def _filtered(self, texts: Texts) -> Tokens:
        """The same, with what the filters leave. A dropped word leaves a gap between positions."""
        counts: list[int] = []
        kept: list[Piece] = []
        begins: list[int] = []
        ends: list[int] = []
        for text in texts.strings():
            pieces = [
                piece_of(found.surface, found.byte_start, found.byte_end, position, found.details)
                for position, found in enumerate(self._tokenizer.tokenize(text) if text else ())
            ]
            for apply in self._filters:
                pieces = apply(pieces)
            counts.append(len(pieces))
            kept += pieces
            begins += _characters(text, [piece.begin for piece in pieces])
            ends += _characters(text, [piece.end for piece in pieces])
        tokens = tokens_of(counts, [piece.word for piece in kept], begins, by_character=False)
        lengths = np.array([piece.length for piece in kept], np.int32)
        return replace(
            tokens,
            positions=np.array([piece.position for piece in kept], np.int32),
            ends=np.array(ends, np.int32),
            lengths=lengths if (lengths > 1).any() else None,
        )


def _characters(text: str, places: list[int]) -> list[int]:
    """Places among the bytes of a text as places among its characters; its end is one too."""
    if text.isascii():
        return places
    first = np.frombuffer(text.encode(), np.uint8) & 0xC0 != 0x80
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(first)))
    characters: list[int] = before[places].tolist()
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
