"""A tokenizer that reads each text by the rules of its language."""

from __future__ import annotations

from collections.abc import Mapping

from redkite.text.analyzer import Analyzer, by_name
from redkite.text.languages import UNKNOWN, Identifier
from redkite.text.texts import Texts
from redkite.text.tokens import Tokens


class LanguageTokenizer:
    """`mapping` says which analyzer a language has, where it is not the one of the language's own name. A language that
    has none gets `default`."""

    def __init__(self, identifier: Identifier, analyzers: Mapping[str, Analyzer], mapping: Mapping[str, str]) -> None:
        self._identifier = identifier
        self._analyzers = dict(analyzers)
        self._mapping = dict(mapping)

    def tokenize(self, texts: Texts) -> Tokens:
        strings = texts.strings()
        languages = self._identifier.languages(strings)
        names = [self._analyzer_of(language) for language in languages]
        return by_name(self._analyzers, names, strings)

    def _analyzer_of(self, language: str) -> str:
        name = self._mapping.get(language, language)
        return name if name in self._analyzers else UNKNOWN
