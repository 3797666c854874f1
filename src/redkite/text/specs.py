"""Analyzers as users write them: `analyzer_params` and `multi_analyzer_params`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from threading import Lock
from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.schema import FieldSchema
from redkite.text.analyzer import DEFAULT, Analyzer, MultiAnalyzer, Pipeline
from redkite.text.filters.base import Filter
from redkite.text.filters.building import filter_of
from redkite.text.filters.plain import plain_filter
from redkite.text.filters.stemmer import Stemming
from redkite.text.filters.stop import stop_filter
from redkite.text.options import Options
from redkite.text.resources import FILES_PARAM, NONE, PackedFiles, Resources, packed_files
from redkite.text.tokenizers.building import jieba_tokenizer, standard_tokenizer, tokenizer_of
from redkite.text.tokenizers.icu import ThaiTokenizer

__all__ = ["NONE", "Resources", "analyzer_of", "field_analyzer", "multi_analyzer_of", "read_params"]

ANALYZER_PARAMS = "analyzer_params"
MULTI_PARAMS = "multi_analyzer_params"
_DEEPEST = 64
"""Objects and lists within one another."""
_KEPT = 256
"""So many analyzers are kept; who asks for an older one waits for it to be made again."""


class _Kept:
    """The analyzers made last, by what they were made of."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable) -> Any:
        return self._made.get(key)

    def put(self, key: Hashable, made: Any) -> None:
        with self._lock:
            self._made[key] = made
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)


_ANALYZERS = _Kept()


def analyzer_of(params: str | Mapping[str, Any] | None, resources: Resources = NONE) -> Analyzer:
    """The analyzer of these params (JSON, or what it says); without any, `standard`. Equal params give the same one.
    Raises InvalidParameter."""
    text = params if isinstance(params, str) else _as_text(params or {})
    key = (text, resources.key)
    made: Analyzer | None = _ANALYZERS.get(key)
    if made is None:
        made = _built(read_params(text, ANALYZER_PARAMS), resources)
        if _is_settled(text, resources):
            _ANALYZERS.put(key, made)
    return made


def _is_settled(text: str, resources: Resources) -> bool:
    """Whether an analyzer stays what it is: a file that params name may be another one tomorrow, a packed one not."""
    return isinstance(resources, PackedFiles) or '"local"' not in text


def multi_analyzer_of(params: str | Mapping[str, Any], resources: Resources = NONE) -> MultiAnalyzer:
    """The analyzers of `multi_analyzer_params`. Equal params give the same ones. Raises InvalidParameter."""
    text = params if isinstance(params, str) else _as_text(params)
    key = (text, resources.key, MULTI_PARAMS)
    made: MultiAnalyzer | None = _ANALYZERS.get(key)
    if made is None:
        made = _several(read_params(text, MULTI_PARAMS), resources)
        if _is_settled(text, resources):
            _ANALYZERS.put(key, made)
    return made


def field_analyzer(field: FieldSchema, resources: Resources = NONE) -> Analyzer:
    """The analyzer of a field. What it reads from files lies in the field's own params; `resources` are for a field
    that does not have them yet."""
    files = field.params.get(FILES_PARAM, "")
    return analyzer_of(field.params.get(ANALYZER_PARAMS), packed_files(files) if files else resources)


def field_analyzers(field: FieldSchema, resources: Resources = NONE) -> MultiAnalyzer | None:
    """The analyzers of a field that has one for each language; None for other fields."""
    params = field.params.get(MULTI_PARAMS)
    if not params:
        return None
    files = field.params.get(FILES_PARAM, "")
    return multi_analyzer_of(params, packed_files(files) if files else resources)


def read_params(text: str, name: str) -> dict[str, Any]:
    """What params say; raises InvalidParameter for what is no JSON object."""
    if not text:
        return {}
    try:
        read = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"{name} is no valid JSON: {error}") from None
    if not isinstance(read, dict):
        raise InvalidParameter(f"{name} should be a json map")
    level: list[Any] = [read]
    for _ in range(_DEEPEST):
        level = [part for whole in level for part in _parts(whole)]
    if level:
        raise InvalidParameter(f"{name} is nested more than {_DEEPEST} deep")
    return read


def _parts(whole: object) -> Iterable[object]:
    return whole.values() if isinstance(whole, dict) else whole if isinstance(whole, list) else ()


def _as_text(params: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(params, order="sorted").decode()
    except (TypeError, UnicodeError) as error:
        raise InvalidParameter(f"{ANALYZER_PARAMS} is no valid JSON: {error}") from None


# -- one analyzer -------------------------------------------------------------------------------
def _built(params: dict[str, Any], resources: Resources) -> Analyzer:
    if not params:
        return _built({"type": "standard"}, resources)
    if "type" in params:
        return _built_in(params, resources)
    tokenizer = tokenizer_of(params.get("tokenizer"), resources, lambda part: _built(part, resources))
    for key in params:
        if key not in ("tokenizer", "filter"):
            raise InvalidParameter(f"unknown analyzer option key: {key}")
    filters = params.get("filter", [])
    if not isinstance(filters, list):
        raise InvalidParameter("filter params should be array")
    return Pipeline(tokenizer, [filter_of(item, resources) for item in filters])


def _built_in(params: dict[str, Any], resources: Resources) -> Analyzer:
    kind = params["type"]
    if not isinstance(kind, str):
        raise InvalidParameter("analyzer type shoud be string")
    options = Options(f"{kind} analyzer", params, resources)
    words = options.strings("stop_words", "filter stop_words")
    lowercase = plain_filter("lowercase")
    filters: list[Filter]
    if kind == "standard":
        tokenizer, filters = standard_tokenizer(), [lowercase]
    elif kind == "english":
        tokenizer, filters = standard_tokenizer(), [lowercase, Stemming("english"), stop_filter(["_english_"])]
    elif kind == "chinese":
        tokenizer, filters = jieba_tokenizer(), [plain_filter("cnalphanumonly")]
    elif kind == "arabic":
        tokenizer = standard_tokenizer()
        filters = [lowercase, plain_filter("decimaldigit"), plain_filter("arabic_normalization")]
        filters += [Stemming("arabic"), stop_filter(["_arabic_"])]
    elif kind == "thai":
        tokenizer, filters = ThaiTokenizer(), [lowercase, plain_filter("decimaldigit"), stop_filter(["_thai_"])]
    else:
        raise InvalidParameter(f"unknown build-in analyzer type: {kind}")
    for key in params:
        if key not in ("type", "stop_words"):
            raise InvalidParameter(f"unknown analyzer option key: {key}")
    return Pipeline(tokenizer, [*filters, stop_filter(words)] if words else filters)


# -- one for each language ----------------------------------------------------------------------
def _several(params: dict[str, Any], resources: Resources) -> MultiAnalyzer:
    by_field = params.get("by_field")
    if by_field is None:
        raise InvalidParameter("multi analyzer params now must set by_field to specify with field decide analyzer")
    if not isinstance(by_field, str) or not by_field:
        raise InvalidParameter("multi analyzer params by_field must be string")
    written = params.get("analyzers")
    if not isinstance(written, dict):
        raise InvalidParameter("multi analyzer params must set analyzers, an analyzer of each name")
    if DEFAULT not in written:
        raise InvalidParameter("multi analyzer must set default analyzer for all unknown value")
    alias = params.get("alias", {})
    if not isinstance(alias, dict) or not all(isinstance(name, str) for name in alias.values()):
        raise InvalidParameter("multi analyzer params alias must be dict of string")
    for key in params:
        if key not in ("by_field", "analyzers", "alias"):
            raise InvalidParameter(f"unknown multi analyzer option key: {key}")
    for name, meant in alias.items():
        if meant not in written:
            raise InvalidParameter(f"alias {name} of multi analyzer params means {meant}, which has no analyzer")
    analyzers = {name: _named(name, part, resources) for name, part in written.items()}
    return MultiAnalyzer(by_field, analyzers, alias)


def _named(name: str, params: object, resources: Resources) -> Analyzer:
    if not isinstance(params, dict):
        raise InvalidParameter(f"analyzer {name} of multi analyzer params must be dict")
    try:
        return _built(params, resources)
    except InvalidParameter as error:
        raise InvalidParameter(f"analyzer {name}: {error.message.removesuffix(': invalid parameter')}") from None
