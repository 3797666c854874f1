"""Tokenizers as users write them: a name, or an object with a `type`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from redkite.errors import InvalidParameter, Unimplemented
from redkite.text.analyzer import Analyzer
from redkite.text.characters import ASCII_SPACES, group, without, word_characters
from redkite.text.languages import UNKNOWN, Identifier, Lingua, Whatlang
from redkite.text.options import Options
from redkite.text.resources import Resources
from redkite.text.tokenizers.base import Tokenizer
from redkite.text.tokenizers.icu import IcuTokenizer, ThaiTokenizer
from redkite.text.tokenizers.jieba import DEFAULT_DICTIONARY, Entry, JiebaTokenizer, Mode, read_entry
from redkite.text.tokenizers.language import LanguageTokenizer
from redkite.text.tokenizers.lindera import LinderaTokenizer
from redkite.text.tokenizers.parts_of_speech import piece_filters
from redkite.text.tokenizers.runs import RunTokenizer

BuildAnalyzer = Callable[[dict[str, Any]], Analyzer]
"""Makes an analyzer of params, for tokenizers that consist of analyzers."""


def tokenizer_of(given: object, resources: Resources, build: BuildAnalyzer) -> Tokenizer:
    """The tokenizer that `tokenizer` stands for. Raises InvalidParameter."""
    if given is None:
        raise InvalidParameter("tokenizer name or type must be set")
    if not isinstance(given, str | dict):
        raise InvalidParameter("tokenizer name should be string or dict")
    written: dict[str, Any] = {"type": given} if isinstance(given, str) else given
    kind = written.get("type")
    if kind is None:
        raise InvalidParameter("tokenizer name or type must be set")
    if not isinstance(kind, str):
        raise InvalidParameter("tokenizer type should be string")
    options = Options(f"{kind} tokenizer", written, resources)
    if kind == "language_identifier":
        made: Tokenizer = _language(options, build)
    elif kind == "grpc":
        raise Unimplemented("the grpc tokenizer, which asks another server for words, is not built in this version")
    elif kind in _BY_TYPE:
        made = _BY_TYPE[kind](options)
    else:
        raise InvalidParameter(f"unsupported tokenizer: {kind}")
    options.finish()
    return made


@cache
def standard_tokenizer() -> Tokenizer:
    """Words are runs of letters and numbers."""
    return RunTokenizer(word_characters())


def jieba_tokenizer() -> Tokenizer:
    """Jieba with what it brings: search mode, guessing."""
    return JiebaTokenizer([(DEFAULT_DICTIONARY, None, None)], "search", hmm=True)


def _jieba(options: Options) -> Tokenizer:
    entries: list[Entry] = [(DEFAULT_DICTIONARY, None, None)]
    if options.has("dict"):
        entries = [(word, None, None) for word in options.strings("dict", "jieba tokenizer dict")]
    entries += map(read_entry, options.lines("extra_dict_file", "jieba extra dict file"))
    mode = options.text("mode") or "search"
    if mode not in ("exact", "search"):
        raise InvalidParameter('jieba tokenizer mode must be "exact" or "search"')
    return JiebaTokenizer(entries, cast(Mode, mode), hmm=options.flag("hmm", True))


def _char_group(options: Options) -> Tokenizer:
    if not options.has("delimiters"):
        raise InvalidParameter("char group tokenizer delimiters can't be empty")
    characters, tables = "", []
    for delimiter in options.strings("delimiters", "char group tokenizer delimiters"):
        if len(delimiter) == 1:
            characters += delimiter
            continue
        table = group(delimiter)
        if table is None:
            raise InvalidParameter(f"{delimiter} not a char or name of build-in char group")
        tables.append(table)
    return RunTokenizer(without(characters, tables))


def _lindera(options: Options) -> Tokenizer:
    if not options.has("dict_kind"):
        raise InvalidParameter("lindera tokenizer dict_kind must be set")
    kind = options.take("dict_kind")
    if not isinstance(kind, str):
        raise InvalidParameter("lindera tokenizer dict kind should be string")
    return LinderaTokenizer(kind, piece_filters(options.take("filter")))


def _language(options: Options, build: BuildAnalyzer) -> Tokenizer:
    identifier = _identifier(options.take("identifier"))
    if not options.has("analyzers"):
        raise InvalidParameter("analyzers must be set")
    analyzers: dict[str, Analyzer] = {}
    for name, params in options.table("analyzers").items():
        if not isinstance(params, dict):
            raise InvalidParameter(f'sub analyzer "{name}" params must be dict')
        analyzers[name] = build(params)
    if UNKNOWN not in analyzers:
        raise InvalidParameter("default sub analyzer for language identifier analyzer must be set")
    mapping = options.table("mapping")
    if not all(isinstance(name, str) for name in mapping.values()):
        raise InvalidParameter("mapping must be dict of string")
    return LanguageTokenizer(identifier, analyzers, mapping)


def _identifier(given: object) -> Identifier:
    if given is None or given == "whatlang":
        return Whatlang()
    if isinstance(given, str):
        if given == "lingua":
            return Lingua()
        raise InvalidParameter(f"unknown identifier name: {given}")
    if not isinstance(given, dict):
        raise InvalidParameter("identifier params must be string or dict")
    kind = given.get("type")
    if kind is None:
        raise InvalidParameter("identifier type must be set")
    if kind == "whatlang":
        confidence = given.get("confidence", 0.0)
        if isinstance(confidence, bool) or not isinstance(confidence, int | float):
            raise InvalidParameter("confidence must be float")
        return Whatlang(float(confidence))
    if kind == "lingua":
        return Lingua()
    raise InvalidParameter(f"unknown identifier type: {kind}")


_BY_TYPE: dict[str, Callable[[Options], Tokenizer]] = {
    "standard": lambda _: standard_tokenizer(),
    "whitespace": lambda _: RunTokenizer(without(ASCII_SPACES)),
    "char_group": _char_group,
    "chargroup": _char_group,
    "jieba": _jieba,
    "icu": lambda _: IcuTokenizer(),
    "thai": lambda _: ThaiTokenizer(),
    "lindera": _lindera,
}
