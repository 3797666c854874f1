"""Words that a regular expression chooses.

An expression can be written so that it takes for ever. So the steps of each look at a word are counted, not its time:
what stays does not depend on how busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redkite.errors import InvalidParameter
from redkite.text.extras import library
from redkite.text.filters.base import Filter, Words

STEPS = 1_000
"""Of one look at a word: enough for what people write."""
MORE_STEPS = 100_000
"""Of a second look at the words for which that was too little, …"""
HARD_WORDS = 100
"""… of which there may be so many at a time."""
MOST_CHARACTERS = 4_096
_HEAP_KIB = 16_384
_Look = Callable[[str], bool | None]


class Chosen:
    """Keeps words in which an expression is found, and those for which it cannot be said in `MORE_STEPS`."""

    def __init__(self, expression: str, look: _Look, look_longer: _Look) -> None:
        self._expression = expression
        self._look = look
        self._look_longer = look_longer

    def apply(self, words: Words) -> Words:
        """Raises InvalidParameter when too many words are too hard."""
        found = [self._look(word) for word in words.words]
        hard = [place for place, answer in enumerate(found) if answer is None]
        if len(hard) > HARD_WORDS:
            raise InvalidParameter(
                f"regex filter: expr:{self._expression} takes more than {STEPS} steps for each of {len(hard)} words, "
                f"such as {words.words[hard[0]][:40]!r}; at most {HARD_WORDS} words at a time may be so hard"
            )
        for place in hard:
            found[place] = self._look_longer(words.words[place])
        kept = [place for place, answer in enumerate(found) if answer is not False]
        return Words([words.sources[place] for place in kept], [words.words[place] for place in kept])


def regex_filter(expression: str) -> Filter:
    """Raises InvalidParameter for what is no expression."""
    pcre2 = library("pcre2", "the regex filter")
    if len(expression) > MOST_CHARACTERS:
        raise InvalidParameter(
            f"regex expression invalid, expr:{expression[:40]}…, err: it is longer than {MOST_CHARACTERS} characters"
        )
    try:
        pcre2.compile(expression)  # alone, so that a fault is where the user sees it
        return Chosen(expression, *(_looking(pcre2, expression, steps) for steps in (STEPS, MORE_STEPS)))
    except (pcre2.LibraryError, ValueError) as error:
        raise InvalidParameter(f"regex expression invalid, expr:{expression}, err: {error}") from None


def _looking(pcre2: Any, expression: str, steps: int) -> _Look:
    """Says whether the expression is found in a word; None when so many steps do not tell."""
    # Limits that the expression itself begins with can only lower these. Compiled code would count other steps.
    limits = f"(*LIMIT_MATCH={steps})(*LIMIT_DEPTH={steps})(*LIMIT_HEAP={_HEAP_KIB})(*NO_JIT)(*UCP)"
    search = pcre2.compile(limits + expression).search
    error = pcre2.LibraryError

    def look(word: str) -> bool | None:
        try:
            return search(word) is not None
        except error:
            return None

    return look
