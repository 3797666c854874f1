"""The values that literals stand for."""

from __future__ import annotations

import re

from redkite.filter.diagnostics import Source

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
UINT64_MAX = 2**64 - 1

_SIMPLE = {
    "'": b"'", '"': b'"', "?": b"?", "\\": b"\\", "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r",
    "t": b"\t", "v": b"\v", "\n": b"", "\r\n": b"",
}  # fmt: skip
_ESCAPE = re.compile(
    r"\\(?:u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|x(?P<x>[0-9a-fA-F]{1,2})|(?P<o>[0-7]{1,3})|(?P<c>\r\n|[\s\S]))"
)


def integer(text: str) -> int:
    """The value of an integer literal: decimal, `0x` hexadecimal, `0b` binary, octal after a leading 0.

    Any size: whether it fits is known only after a minus in front of it is seen. More digits than an int64 can need are
    cut, which keeps the value out of range without computing it.
    """
    if text[:2] in ("0x", "0X"):
        return int(text[:40], 16)
    if text[:2] in ("0b", "0B"):
        return int(text[:100], 2)
    if len(text) > 1 and text[0] == "0":
        return int(text[:60], 8)
    return int(text[:40])


def fits_int64(value: int) -> bool:
    return INT64_MIN <= value <= INT64_MAX


def fits_json(value: int) -> bool:
    """Whether a JSON number can be this integer: what no field holds may still be compared with JSON."""
    return INT64_MIN <= value <= UINT64_MAX


def floating(text: str) -> float | None:
    """The value of a float literal; None when it is beyond a double."""
    try:
        value = float.fromhex(text) if text[:2] in ("0x", "0X") else float(text)
    except (OverflowError, ValueError):
        return None
    return value if value - value == 0 else None


def text_value(source: Source, body: str, raw: bool, start: int) -> str:
    """The string a literal stands for; an escape outside the language is an error."""
    return body if raw or "\\" not in body else _unescape(source, body, start, keep_unknown=False)


def pattern_value(source: Source, body: str, raw: bool, start: int) -> str:
    r"""The pattern a literal stands for: escapes outside the language (`\%`, `\_`) are the pattern's own and stay."""
    return body if raw or "\\" not in body else _unescape(source, body, start, keep_unknown=True)


def _unescape(source: Source, body: str, start: int, keep_unknown: bool) -> str:
    pieces: list[bytes] = []
    position = 0
    for match in _ESCAPE.finditer(body):
        pieces.append(body[position : match.start()].encode())
        pieces.append(_escaped(source, match, start, keep_unknown))
        position = match.end()
    pieces.append(body[position:].encode())
    try:
        # Escaped halves of a surrogate pair come as two escapes and make one character together.
        return b"".join(pieces).decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise source.syntax_error("string literal is not valid UTF-8", start) from None


def _escaped(source: Source, match: re.Match[str], start: int, keep_unknown: bool) -> bytes:
    wide = match["u"] or match["U"]
    if wide:
        code = int(wide, 16)
        if code > 0x10FFFF:
            raise source.syntax_error(f"invalid character in escape {match.group()}", start)
        return chr(code).encode("utf-8", "surrogatepass")
    byte = match["x"] or match["o"]
    if byte:
        value = int(byte, 16 if match["x"] else 8)
        if value > 0xFF:
            raise source.syntax_error(f"invalid escape {match.group()}", start)
        return bytes([value])
    character = match["c"]
    known = _SIMPLE.get(character)
    if known is not None:
        return known
    if keep_unknown:
        return match.group().encode()
    raise source.syntax_error(
        f"invalid escape {match.group()!r} in string literal", start, "write \\\\ for a backslash"
    )
