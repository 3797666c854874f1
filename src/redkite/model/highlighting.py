"""Words that stand out: what is marked in the texts of the hits of a search, and how the marked texts are shown."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model.semantics import MODEL_KEYS, OWN_KEYS, Semantics, read_semantics, write_semantics

MOST_SLOP = (1 << 32) - 1
LEXICAL, SEMANTIC = "lexical", "semantic"
_KINDS = {0: LEXICAL, 1: SEMANTIC}
_TAGS = ("pre_tags", "post_tags")
_KEYS = frozenset({
    "pre_tags", "post_tags", "fragment_offset", "fragment_size", "num_of_fragments", "highlight_search_text",
    "highlight_query",
})  # fmt: skip
_KNOWN = {LEXICAL: _KEYS, SEMANTIC: frozenset({*_TAGS, *OWN_KEYS, *MODEL_KEYS})}


class HighlightKind(StrEnum):
    """Which words of a query are marked."""

    WORDS = "TextMatch"
    """Each, wherever it stands."""
    PHRASE = "PhraseMatch"
    """Those that stand as in the query, moved by no more than its slop."""


class HighlightQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Words to be marked in a field of every hit."""

    kind: HighlightKind
    field: str
    text: str
    slop: int = 0


class Highlighter(msgspec.Struct, frozen=True, kw_only=True):
    """Mark words in the hits' texts. The n-th word of a fragment stands between the n-th tags, over and over."""

    queries: tuple[HighlightQuery, ...] = ()
    search_text: bool = False
    """Mark the words that the search itself is for, in the field that its BM25 function reads."""
    pre_tags: tuple[str, ...] = ("<em>",)
    post_tags: tuple[str, ...] = ("</em>",)
    fragment_offset: int = 0
    """Characters shown before the first marked word of a fragment."""
    fragment_size: int = 100
    """Characters of a fragment, tags not counted; a marked word is not cut off."""
    fragments: int = 5
    """Of one text, at most."""
    semantics: Semantics | None = None
    """Mark whole sentences instead, and nothing else."""

    @property
    def kind(self) -> int:
        """Its number on the wire."""
        return 0 if self.semantics is None else 1


class Highlighted(msgspec.Struct, frozen=True):
    """The marked parts of one field of the hits."""

    field: str
    fragments: pa.ListArray
    """Of strings, one list for each hit; empty where no word stands out."""
    scores: pa.ListArray | None = None
    """Of float32, for each fragment one; None where words are marked."""

    def shown(self, start: int = 0, count: int | None = None) -> list[dict[str, Any]]:
        """What is said of each hit from one on: `{"fragments": […], "scores": […]}`."""
        fragments = self.fragments.slice(start, count).to_pylist()
        scores = [[]] * len(fragments) if self.scores is None else self.scores.slice(start, count).to_pylist()
        return [{"fragments": f, "scores": list(s)} for f, s in zip(fragments, scores, strict=True)]


def read_highlighter(kind: int | str, params: Mapping[str, Any]) -> Highlighter:
    """A highlighter as users state it; values may be JSON texts, as they travel. Raises InvalidParameter."""
    name = _KINDS.get(kind) if isinstance(kind, int) else kind.lower()
    if name not in _KNOWN:
        raise InvalidParameter(f"unsupported highlight type: {kind}")
    unknown = min(params.keys() - _KNOWN[name], default=None)
    if unknown is not None:
        raise InvalidParameter(f"highlighter parameter {unknown} is not known")
    given: dict[str, Any] = {key: _tags(key, params[key]) for key in _TAGS if key in params}
    if name == SEMANTIC:
        return Highlighter(**given, semantics=read_semantics(params, _list))
    for key, least, name in (
        ("fragment_offset", 0, "fragment_offset"), ("fragment_size", 1, "fragment_size"),
        ("num_of_fragments", 0, "fragments"),
    ):  # fmt: skip
        if key in params:
            given[name] = _count(key, params[key], least)
    if "highlight_search_text" in params:
        given["search_text"] = _flag(params["highlight_search_text"])
    if "highlight_query" in params:
        given["queries"] = tuple(_query(item) for item in _list("highlight queries", params["highlight_query"]))
    return Highlighter(**given)


def write_highlighter(highlighter: Highlighter) -> dict[str, str]:
    """The parameters of a highlighter, as `read_highlighter` reads them."""
    if highlighter.semantics is not None:
        tags = {"pre_tags": _text(highlighter.pre_tags), "post_tags": _text(highlighter.post_tags)}
        given = write_semantics(highlighter.semantics)
        return tags | {key: value if isinstance(value, str) else _text(value) for key, value in given.items()}
    queries = [
        {"type": str(q.kind), "field": q.field, "text": q.text} | ({"slop": q.slop} if q.slop else {})
        for q in highlighter.queries
    ]
    return {
        "pre_tags": _text(highlighter.pre_tags),
        "post_tags": _text(highlighter.post_tags),
        "fragment_offset": str(highlighter.fragment_offset),
        "fragment_size": str(highlighter.fragment_size),
        "num_of_fragments": str(highlighter.fragments),
        "highlight_search_text": str(highlighter.search_text).lower(),
        "highlight_query": _text(queries),
    }


# -- values ---------------------------------------------------------------------------------------
def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _list(what: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise InvalidParameter(f"unmarshal {what} as json array failed: {error}") from None
    if not isinstance(value, list | tuple):
        raise InvalidParameter(f"unmarshal {what} as json array failed: got {str(value)[:100]}")
    return list(value)


def _tags(key: str, value: Any) -> tuple[str, ...]:
    tags = _list(key, value)
    if not tags:
        raise InvalidParameter(f"{key} cannot be empty list")
    for tag in tags:
        if not isinstance(tag, str):
            raise InvalidParameter(f"unmarshal {key} as string list failed: got {str(tag)[:100]}")
    return tuple(tags)


def _count(key: str, value: Any, least: int) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 1 << 63:
        raise InvalidParameter(f"invalid {key}: {str(value)[:100]}")
    return number


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidParameter(f"unmarshal highlight_search_text as bool failed: {text[:100]}")
    return text in ("true", "1", "t")


def _query(item: Any) -> HighlightQuery:
    start = "unmarshal highlight queries failed:"
    if not isinstance(item, Mapping):
        raise InvalidParameter(f"{start} item in array is not json object")
    for key in ("text", "type", "field"):
        if key not in item:
            raise InvalidParameter(f"{start} must set `{key}` in query")
        if not isinstance(item[key], str):
            raise InvalidParameter(f"{start} `{key}` must be string")
    if item["type"] not in tuple(HighlightKind):
        raise InvalidParameter(f"{start} invalid highlight query type: {item['type'][:100]}")
    slop = _count("slop", item.get("slop", 0), 0)
    if slop > MOST_SLOP:
        raise InvalidParameter(f"invalid slop: {slop}")
    return HighlightQuery(kind=HighlightKind(item["type"]), field=item["field"], text=item["text"], slop=slop)
