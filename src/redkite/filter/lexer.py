"""Text to tokens, one at a time: a fault late in a long text costs nothing before it is reached."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

import orjson

from redkite.filter.diagnostics import Source


class Kind(StrEnum):
    INTEGER = "integer"
    FLOAT = "float"
    STRING = "string"
    RAW_STRING = "raw"
    WORD = "word"
    TEMPLATE = "template"
    IS_NULL = "is null"
    IS_NOT_NULL = "is not null"
    TRUE = "true"
    FALSE = "false"
    AND = "and"
    OR = "or"
    NOT = "not"
    IN = "in"
    LIKE = "like"
    EXISTS = "exists"
    SYMBOL = "symbol"
    END = "<EOF>"


class Token(NamedTuple):
    kind: Kind
    text: str
    """As written; of a WORD its decoded name, of a TEMPLATE the name inside the braces."""
    start: int
    end: int


_KEYWORDS: dict[str, Kind] = {
    "true": Kind.TRUE, "True": Kind.TRUE, "TRUE": Kind.TRUE,
    "false": Kind.FALSE, "False": Kind.FALSE, "FALSE": Kind.FALSE,
    "and": Kind.AND, "AND": Kind.AND, "or": Kind.OR, "OR": Kind.OR, "not": Kind.NOT, "NOT": Kind.NOT,
    "in": Kind.IN, "IN": Kind.IN, "like": Kind.LIKE, "LIKE": Kind.LIKE, "exists": Kind.EXISTS, "EXISTS": Kind.EXISTS,
}  # fmt: skip
_SYMBOL_KEYWORDS: dict[str, Kind] = {"&&": Kind.AND, "||": Kind.OR, "!": Kind.NOT}
KEYWORDS = frozenset(_KEYWORDS)

_WORD = r"(?:[^\W\d]|\\u[0-9a-fA-F]{4})(?:\w|\\u[0-9a-fA-F]{4})*+"
_DOUBLE = r'"[^"\\\r\n]*+(?:\\(?:\r\n|[\s\S])[^"\\\r\n]*+)*+"'
_SINGLE = r"'[^'\\\r\n]*+(?:\\(?:\r\n|[\s\S])[^'\\\r\n]*+)*+'"
_TOKEN = re.compile(
    rf"""
      (?P<float>  0[xX](?:[0-9a-fA-F]*\.[0-9a-fA-F]+|[0-9a-fA-F]+\.?)[pP][+-]?\d+
                | (?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ )
    | (?P<integer> 0[xX][0-9a-fA-F]+ | 0[bB][01]+ | 0[0-7]* | [1-9][0-9]* )
    | (?P<raw>     [rR](?:{_DOUBLE}|{_SINGLE}) )
    | (?P<string>  (?:u8|u|U|L)?(?:{_DOUBLE}|{_SINGLE}) )
    | (?P<isnull>  (?:is[ ]null|IS[ ]NULL)(?!\w) )
    | (?P<isnotnull> (?:is[ ]not[ ]null|IS[ ]NOT[ ]NULL)(?!\w) )
    | (?P<word>    {_WORD} | \$(?:meta|score|id)(?!\w) | \$ )
    | (?P<template> \{{[ \t]*(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*\}} )
    | (?P<symbol>  \*\*|==|!=|<=|>=|<<|>>|&&|\|\||=~|!~|[-+*/%&|^~!<>=()\[\],] )
    """,
    re.VERBOSE | re.ASCII,
)
# Words may hold letters of any alphabet, digits and numbers of the grammar are ASCII: two patterns, one fallback.
_FOREIGN_WORD = re.compile(_WORD)
_BLANK = re.compile(r"[ \t\r\n]*+")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")

_INT = r"-?(?:0|[1-9][0-9]{0,18})"
_INTEGERS = re.compile(rf"\[\s*+{_INT}(?:\s*+,\s*+{_INT})*+\s*+,?\s*+\]", re.ASCII)
_IN_DOUBLE = r'"[^"\\\x00-\x1f]*+"'
_DOUBLE_TEXTS = re.compile(rf"\[\s*+{_IN_DOUBLE}(?:\s*+,\s*+{_IN_DOUBLE})*+\s*+\]", re.ASCII)
_IN_SINGLE = r"'[^'\"\\\x00-\x1f]*+'"
_SINGLE_TEXTS = re.compile(rf"\[\s*+{_IN_SINGLE}(?:\s*+,\s*+{_IN_SINGLE})*+\s*+\]", re.ASCII)

_GROUPS = {
    "float": Kind.FLOAT, "integer": Kind.INTEGER, "raw": Kind.RAW_STRING, "string": Kind.STRING,
    "isnull": Kind.IS_NULL, "isnotnull": Kind.IS_NOT_NULL,
}  # fmt: skip


class Lexer:
    """Hands out the tokens of one text in order; after the last one, END for ever."""

    __slots__ = ("_count", "_limit", "_position", "_source", "_text")

    def __init__(self, source: Source, max_tokens: int) -> None:
        self._source = source
        self._text = source.text
        self._position = 0
        self._count = 0
        self._limit = max_tokens

    def next(self) -> Token:
        text = self._text
        blank = _BLANK.match(text, self._position)
        start = blank.end() if blank else self._position
        if start >= len(text):
            self._position = start
            return Token(Kind.END, "<EOF>", start, start)
        self._count += 1
        if self._count > self._limit:
            raise self._source.error(f"expression has more than {self._limit} tokens", start)
        match = _TOKEN.match(text, start)
        if match is None:
            return self._foreign_word(start)
        end = match.end()
        group = match.lastgroup or ""
        if group == "word" and end < len(text) and not text[end].isascii():
            return self._foreign_word(start)
        self._position = end
        return self._token(group, match, start, end)

    def plain_list(self, start: int) -> tuple[tuple[int, ...] | tuple[str, ...], int] | None:
        """The values of a list of only integers or only plain strings that opens at `start`, and its end.

        None when the list is of another kind; the lexer then has not moved.
        """
        text = self._text
        if match := _INTEGERS.match(text, start):
            body = match.group()[1:-1].rstrip().removesuffix(",")
            self._position = match.end()
            return tuple(map(int, body.split(","))), match.end()
        for pattern, quote in ((_DOUBLE_TEXTS, '"'), (_SINGLE_TEXTS, "'")):
            if match := pattern.match(text, start):
                self._position = match.end()
                return tuple(orjson.loads(match.group().replace(quote, '"'))), match.end()
        return None

    def _token(self, group: str, match: re.Match[str], start: int, end: int) -> Token:
        text = match.group()
        if group == "word":
            return self._word(text, start, end)
        if group == "symbol":
            return Token(_SYMBOL_KEYWORDS.get(text, Kind.SYMBOL), text, start, end)
        if group in ("template", "name"):
            return Token(Kind.TEMPLATE, match.group("name"), start, end)
        return Token(_GROUPS[group], text, start, end)

    def _foreign_word(self, start: int) -> Token:
        match = _FOREIGN_WORD.match(self._text, start)
        if match is None:
            raise self._unrecognised(start)
        self._position = match.end()
        return self._word(match.group(), start, match.end())

    def _word(self, text: str, start: int, end: int) -> Token:
        if "\\" in text:
            text = _ESCAPED.sub(lambda m: chr(int(m.group(1), 16)), text)
            if not text.isidentifier():
                raise self._unrecognised(start)
        return Token(_KEYWORDS.get(text, Kind.WORD), text, start, end)

    def _unrecognised(self, start: int) -> Exception:
        character = self._text[start]
        hint = ""
        if character in "\"'":
            hint = "this string is not closed"
        elif character in "{}":
            hint = "a template is a name in braces: {name}"
        elif character in "\u201c\u201d\u2018\u2019":
            hint = "use straight quotes"
        return self._source.syntax_error(f"token recognition error at: {character!r}", start, hint)
