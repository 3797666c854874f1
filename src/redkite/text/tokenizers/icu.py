"""Words by ICU: Unicode's rules for word boundaries (UAX 29), with dictionaries for Chinese, Japanese and Thai."""

from __future__ import annotations

from redkite.text.characters import word_characters
from redkite.text.extras import library
from redkite.text.filters.base import Chain, Keep
from redkite.text.texts import Texts
from redkite.text.tokenizers.segments import tokens_of_pieces
from redkite.text.tokens import Tokens, renumbered


class IcuTokenizer:
    """Every piece between two boundaries is a token, blanks and punctuation too."""

    def __init__(self) -> None:
        self._breaker = library("icu4py.breakers", "the icu tokenizer").WordBreaker

    def tokenize(self, texts: Texts) -> Tokens:
        return tokens_of_pieces([list(self._breaker(text, "en")) for text in texts.strings()], by_character=True)


class ThaiTokenizer:
    """The same boundaries, and only the pieces that hold a letter or a number."""

    def __init__(self) -> None:
        self._breaker = library("icu4py.breakers", "the thai tokenizer").WordBreaker
        self._words = Chain([Keep(_is_word)])

    def tokenize(self, texts: Texts) -> Tokens:
        pieces = tokens_of_pieces([list(self._breaker(text, "th")) for text in texts.strings()], by_character=False)
        return renumbered(self._words.apply(pieces))


def _is_word(piece: str) -> bool:
    table = word_characters()
    return any(table[ord(character)] for character in piece)
