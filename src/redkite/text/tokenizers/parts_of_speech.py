"""What the filters of Lindera's tokenizer do: words are kept, dropped or joined by what part of speech they are.

They are the library's own rules, written again: it would load its dictionary anew for each list of filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redkite.errors import InvalidParameter

_LEVELS = 4
"""Of a Japanese tag: 助詞,格助詞,一般 is one of three."""
_ANY = "*"
_COMPOUND = "複合語"
"""The tag of what was joined, where no other is wanted."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A word with its part of speech. `begin` and `end` are bytes of its text, `position` counts words and `length`
    says how many of them it was; `japanese` and `korean` are its tag as filters for these languages compare it."""

    word: str
    begin: int
    end: int
    position: int
    length: int
    japanese: str
    korean: str


PieceFilter = Callable[[Sequence[Piece]], list[Piece]]


def piece_of(word: str, begin: int, end: int, position: int, details: Sequence[str]) -> Piece:
    """`details` are what the dictionary says of the word, its tags first."""
    korean = details[0] if details else ""
    japanese = ",".join(details[:_LEVELS]) if len(details) >= _LEVELS else korean
    return Piece(word, begin, end, position, 1, japanese, korean)


def piece_filters(given: object) -> list[PieceFilter]:
    """The filters that `filter` of the tokenizer names. Raises InvalidParameter."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise InvalidParameter("lindera filters should be array")
    return [_filter(one) for one in given]


def _filter(given: object) -> PieceFilter:
    if isinstance(given, str):
        given = {"kind": given}
    if not isinstance(given, dict):
        raise InvalidParameter("lindera tokenizer filter params must be object")
    kind = given.get("kind")
    if kind is None:
        raise InvalidParameter("lindera tokenizer filter must have type")
    if not isinstance(kind, str):
        raise InvalidParameter("lindera tokenizer filter type should be string")
    if kind not in _KINDS:
        raise InvalidParameter(f"unknown lindera filter type: {kind}, there are {', '.join(_KINDS)}")
    known = {"kind", "tags", "new_tag"} if kind == _COMPOUND_KIND else {"kind", "tags"}
    for key in given:
        if key not in known:
            raise InvalidParameter(f"unknown option {key} of lindera filter {kind}")
    return _KINDS[kind](given)


def _tags(given: Mapping[str, Any]) -> list[str]:
    """The tags of a filter, as they were written."""
    kind, tags = given["kind"], given.get("tags")
    if tags is None:
        raise InvalidParameter(f"lindera {kind} filter tags must be set")
    if not isinstance(tags, list):
        raise InvalidParameter(f"lindera {kind} filter tags must be array")
    if not all(isinstance(tag, str) for tag in tags):
        raise InvalidParameter(f"lindera {kind} filter tags must be string")
    return tags


def _whole(tag: str) -> str:
    """A Japanese tag with all its levels: 助詞 is 助詞,*,*,* and no other particle."""
    levels = tag.split(",")[:_LEVELS]
    return ",".join(levels + [_ANY] * (_LEVELS - len(levels)))


def _japanese(given: Mapping[str, Any], *, stop: bool) -> PieceFilter:
    tags = frozenset(map(_whole, _tags(given)))
    return lambda pieces: [piece for piece in pieces if (piece.japanese in tags) is not stop]


def _korean(given: Mapping[str, Any], *, stop: bool) -> PieceFilter:
    tags = frozenset(_tags(given))
    return lambda pieces: [piece for piece in pieces if (piece.korean in tags) is not stop]


def _compounds(given: Mapping[str, Any]) -> PieceFilter:
    tags, new_tag = frozenset(map(_whole, _tags(given))), given.get("new_tag", _COMPOUND)
    if not isinstance(new_tag, str):
        raise InvalidParameter(f"lindera {_COMPOUND_KIND} filter new_tag must be string")
    tag = _whole(new_tag)

    def join(pieces: Sequence[Piece]) -> list[Piece]:
        made: list[Piece] = []
        run: list[Piece] = []
        for piece in pieces:
            if piece.japanese in tags:
                run.append(piece)
                continue
            made += [*_joined(run, tag), piece]
            run = []
        return made + _joined(run, tag)

    return join


def _joined(run: Sequence[Piece], tag: str) -> list[Piece]:
    """The pieces of a run as one; a piece alone stays what it is."""
    if len(run) < 2:
        return list(run)
    first, last = run[0], run[-1]
    word, length = "".join(piece.word for piece in run), sum(piece.length for piece in run)
    return [Piece(word, first.begin, last.end, first.position, length, tag, tag.split(",", 1)[0])]


_COMPOUND_KIND = "japanese_compound_word"
_KINDS: dict[str, Callable[[Mapping[str, Any]], PieceFilter]] = {
    "japanese_stop_tags": lambda given: _japanese(given, stop=True),
    "japanese_keep_tags": lambda given: _japanese(given, stop=False),
    _COMPOUND_KIND: _compounds,
    "korean_stop_tags": lambda given: _korean(given, stop=True),
    "korean_keep_tags": lambda given: _korean(given, stop=False),
}
