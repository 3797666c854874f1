"""From texts to tokens: one tokenizer, then filters over the words it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from redkite.text.characters import Table
from redkite.text.filters.base import Chain, Filter, Words
from redkite.text.texts import Texts, texts_of
from redkite.text.tokenizers.base import Tokenizer
from redkite.text.tokenizers.runs import RunTokenizer
from redkite.text.tokens import Tokens, no_tokens, woven

if TYPE_CHECKING:
    import pyarrow as pa


DEFAULT = "default"
"""The name of the analyzer for what names none."""


class Analyzer(Protocol):
    """Finds the words of texts. Any thread may call it; equal texts always have equal tokens."""

    @property
    def parts_at_spaces(self) -> bool:
        """Whether the words of a text are those of its parts between spaces, each by itself."""
        ...

    def analyze(self, texts: pa.Array | Sequence[str | None]) -> Tokens:
        """The tokens of each text. Null has none. Raises InvalidParameter for what is no valid text."""
        ...


class Pipeline:
    """A tokenizer and the filters behind it."""

    def __init__(self, tokenizer: Tokenizer, filters: Sequence[Filter] = ()) -> None:
        self._tokenizer = tokenizer
        self._filters = Chain(filters)

    @property
    def parts_at_spaces(self) -> bool:
        return isinstance(self._tokenizer, RunTokenizer) and self._tokenizer.parts_at_spaces

    @property
    def letters(self) -> Table | None:
        """Of each character, whether it belongs to words, where these are the longest runs of such characters."""
        return self._tokenizer.table if isinstance(self._tokenizer, RunTokenizer) else None

    @property
    def lowers_ascii(self) -> bool | None:
        """Whether small letters are all that the filters make of words of ASCII (True), or nothing (False); None:
        neither."""
        return self._filters.lowers_ascii

    def analyze(self, texts: pa.Array | Sequence[str | None]) -> Tokens:
        return self._filters.apply(self.cut(texts_of(texts)))

    def cut(self, texts: Texts) -> Tokens:
        """The words as they stand in the texts, before the filters."""
        return self._tokenizer.tokenize(texts)

    def made_of(self, words: list[str]) -> Words:
        """What the filters make of some words."""
        return self._filters.made_of(words)


class MultiAnalyzer:
    """An analyzer for each language; the field `by_field` of a row names the one it gets. What it names may be an alias
    of another; what has no analyzer gets `default`."""

    def __init__(self, by_field: str, analyzers: Mapping[str, Analyzer], alias: Mapping[str, str]) -> None:
        self.by_field = by_field
        self._analyzers = dict(analyzers)
        self._alias = dict(alias)

    @property
    def names(self) -> frozenset[str]:
        """What a row or a search may name."""
        return frozenset(self._analyzers) | frozenset(self._alias)

    def analyze(self, texts: pa.Array | Sequence[str | None], names: Sequence[str | None]) -> Tokens:
        """The tokens of each text by the analyzer beside it."""
        return by_name(self._analyzers, [self._known(name) for name in names], texts_of(texts).strings())

    def analyzer(self, name: str | None) -> Analyzer:
        """The analyzer that a row or a search names."""
        return self._analyzers[self._known(name)]

    def _known(self, name: str | None) -> str:
        wanted = self._alias.get(name or DEFAULT, name or DEFAULT)
        return wanted if wanted in self._analyzers else DEFAULT


def by_name(analyzers: Mapping[str, Analyzer], names: Sequence[str], texts: Sequence[str]) -> Tokens:
    """The tokens of each text by the analyzer of the name beside it; each looks at all of its texts at once."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    if not places:
        return no_tokens(0)
    return woven([(at, analyzers[name].analyze([texts[place] for place in at])) for name, at in places.items()])
