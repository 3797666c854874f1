"""Words that a regular expression chooses."""

from __future__ import annotations

from redkite.errors import InvalidParameter
from redkite.text.extras import library
from redkite.text.filters.base import Filter, Keep

SECONDS = 0.1
"""How long one word may be looked at: an expression can be written so that it takes for ever."""


def regex_filter(expression: str) -> Filter:
    """Keeps words in which the expression is found, and those for which that takes too long to say."""
    regex = library("regex", "the regex filter")
    try:
        search = regex.compile(expression).search
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise InvalidParameter(f"regex expression invalid, expr:{expression}, err: {error}") from None

    def found(word: str) -> bool:
        try:
            return search(word, timeout=SECONDS, concurrent=True) is not None
        except TimeoutError:
            return True

    return Keep(found)
