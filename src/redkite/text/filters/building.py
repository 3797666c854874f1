"""Filters as users write them: a name, or an object with a `type`."""

from __future__ import annotations

from collections.abc import Callable

from redkite.errors import InvalidParameter
from redkite.text.filters.base import Filter
from redkite.text.filters.compounds import decompounder
from redkite.text.filters.expressions import regex_filter
from redkite.text.filters.pinyin import pinyin_filter
from redkite.text.filters.plain import PLAIN_NAMES, longest, plain_filter
from redkite.text.filters.stemmer import STEMMER_LANGUAGES, Stemming
from redkite.text.filters.stop import stop_filter
from redkite.text.filters.synonyms import synonym_filter
from redkite.text.options import Options
from redkite.text.resources import Resources


def filter_of(given: object, resources: Resources) -> Filter:
    """The filter that one item of `filter` stands for. Raises InvalidParameter."""
    if isinstance(given, str):
        if given in PLAIN_NAMES:
            return plain_filter(given)
        if given == "pinyin":
            return _pinyin(Options("pinyin filter", {}, resources))
        raise InvalidParameter(f"build analyzer failed, filter not found :{given}")
    if not isinstance(given, dict):
        raise InvalidParameter("filter should be string or dict")
    kind = given.get("type")
    if kind is None:
        raise InvalidParameter("no type field in filter params")
    if not isinstance(kind, str):
        raise InvalidParameter("filter type should be string")
    options = Options(f"{kind} filter", given, resources)
    if kind in PLAIN_NAMES:
        made = plain_filter(kind)
    elif kind in _BY_TYPE:
        made = _BY_TYPE[kind](options)
    else:
        raise InvalidParameter(f"unsupport filter type: {kind}")
    options.finish()
    return made


def _length(options: Options) -> Filter:
    most = options.take("max")
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise InvalidParameter("length max param was none or not uint")
    return longest(most)


def _stop(options: Options) -> Filter:
    words = options.strings("stop_words", "stop_words")
    return stop_filter([*words, *options.lines("stop_words_file", "stop words dict file")])


def _stemmer(options: Options) -> Filter:
    language = options.take("language")
    if not isinstance(language, str):
        raise InvalidParameter("stemmer language field should be string")
    if language.lower() not in STEMMER_LANGUAGES:
        raise InvalidParameter(f"create stemmer failed : unsupport language: {language.lower()}")
    return Stemming(language.lower())


def _decompounder(options: Options) -> Filter:
    parts = options.strings("word_list", "decompounder word list")
    parts += options.lines("word_list_file", "decompounder word list file")
    if not any(parts):
        raise InvalidParameter("decompounder word list is empty")
    return decompounder(parts)


def _regex(options: Options) -> Filter:
    if not options.has("expr"):
        raise InvalidParameter("must set expr for regex filter")
    pattern = options.take("expr")
    if not isinstance(pattern, str):
        raise InvalidParameter("expr must be string")
    return regex_filter(pattern)


def _synonym(options: Options) -> Filter:
    expand = options.flag("expand", True)
    rules = options.strings("synonyms", "create synonym filter failed, `synonyms`")
    return synonym_filter([*rules, *options.lines("synonyms_file", "synonyms dict file")], expand=expand)


def _pinyin(options: Options) -> Filter:
    return pinyin_filter(
        original=options.flag("keep_original", True),
        full=options.flag("keep_full_pinyin", True),
        joined=options.flag("keep_joined_full_pinyin", False),
        first_letters=options.flag("keep_separate_first_letter", False),
    )


_BY_TYPE: dict[str, Callable[[Options], Filter]] = {
    "length": _length,
    "stop": _stop,
    "stemmer": _stemmer,
    "decompounder": _decompounder,
    "regex": _regex,
    "synonym": _synonym,
    "pinyin": _pinyin,
}
