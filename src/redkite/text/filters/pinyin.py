"""Chinese words as they are spelled in Latin letters."""

from __future__ import annotations

import re

from redkite.text.characters import HAN
from redkite.text.extras import library
from redkite.text.filters.base import Expand, Filter

_CHINESE = re.compile(f"[{HAN}]")


def pinyin_filter(*, original: bool, full: bool, joined: bool, first_letters: bool) -> Filter:
    """Beside (or instead of) each word: the syllables of its Chinese characters one by one, joined, and their first
    letters. A word without any stays when `original` are kept, and is dropped when they are not."""
    spell = library("pypinyin", "the pinyin filter").lazy_pinyin

    def spelled(word: str) -> list[str]:
        made = [word] if original else []
        syllables = [] if word.isascii() else [item for c in word if _is_han(c) for item in spell(c)]
        if full:
            made += syllables
        if joined and syllables:
            made.append("".join(syllables))
        if first_letters and syllables:
            made.append("".join(syllable[0] for syllable in syllables))
        return made

    return Expand(spelled)


def _is_han(character: str) -> bool:
    return _CHINESE.match(character) is not None
