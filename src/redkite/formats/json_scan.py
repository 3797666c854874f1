"""Finding the rows in a stream of JSON without parsing it: where each object of the outermost level begins and ends.

Looked at with numpy, a block at a time, so that a file of any size takes the memory of a block and of its longest row.
Only quotes, backslashes and brackets matter, and in rows of numbers there are few.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.formats.faults import BadFile

BLOCK_BYTES = 1 << 20
MAX_ROW_BYTES = 64 << 20
_QUOTE, _SLASH, _CLOSE = (ord(c) for c in '"\\]')
_STEP = np.zeros(256, np.int8)
_STEP[[ord("{"), ord("[")]] = 1
_STEP[[ord("}"), ord("]")]] = -1
_MATTERS = _STEP != 0
_MATTERS[[_QUOTE, _SLASH]] = True
_WHITE = b" \t\r\n"
Rows = list[bytes]
_Places = npt.NDArray[np.int64]


def line_rows(file: BinaryIO) -> Iterator[Rows]:
    """The rows of a file with one on each line, some at a time. Raises BadFile."""
    held = _behind_mark(file)
    at = 0
    while block := file.read(BLOCK_BYTES):
        whole, found, rest = (held + block).rpartition(b"\n")
        if found:
            rows = [line for line in whole.split(b"\n") if line.strip(_WHITE)]
            if rows:
                yield rows
            at += len(rows)
        held = rest
        _check_length(held, at)
    if held.strip(_WHITE):
        yield [held]


def array_rows(file: BinaryIO) -> Iterator[Rows]:
    """The rows of a file that is an array of them, or `{"rows": [...]}`, some at a time: JSON objects as they stand
    there. Raises BadFile."""
    held = _begin(file)
    at = 0
    while True:
        block = file.read(BLOCK_BYTES)
        data = held + block
        found = _scan(data, at)
        rows = _rows(data, found, at)
        if rows:
            yield rows
            at += len(rows)
        if found.end >= 0:
            _check_tail(data[found.end + 1 :], at)
            return
        held = data[found.used :]
        if not block:
            raise BadFile("invalid JSON format, the array of rows does not end", at)
        _check_length(held, at)


def _check_length(held: bytes, at: int) -> None:
    if len(held) > MAX_ROW_BYTES:
        raise BadFile(f"a row is longer than {MAX_ROW_BYTES >> 20} MiB", at)


def _behind_mark(file: BinaryIO) -> bytes:
    """The first bytes of a file, unless they are the mark that some programs put before UTF-8."""
    return file.read(len(BOM_UTF8)).removeprefix(BOM_UTF8)


def _begin(file: BinaryIO) -> bytes:
    """What was read behind the `[` of the rows."""
    head = _behind_mark(file)
    while True:
        block = file.read(4096)
        head += block
        text = head.lstrip(_WHITE)
        if text[:1] == b"[":
            return text[1:]
        if text[:1] == b"{":
            rest = _behind_key(text[1:].lstrip(_WHITE))
            if rest is not None:
                return rest
        elif text:
            raise BadFile("invalid JSON format, it should be an array of rows, or an object whose key is 'rows'")
        if not block or len(head) > BLOCK_BYTES:
            raise BadFile("invalid JSON format, there are no rows in it")


def _behind_key(text: bytes) -> bytes | None:
    """The rest behind `"rows": [`; None when more has to be read."""
    if b'"' not in text[1:]:
        return None
    key, _, rest = text[1:].partition(b'"')
    if text[:1] != b'"' or key != b"rows":
        raise BadFile(
            f"invalid JSON format, the root key should be 'rows', but get '{key[:80].decode(errors='replace')}'"
        )
    rest = rest.lstrip(_WHITE)
    if rest[:1] not in (b":", b""):
        raise BadFile("invalid JSON format, 'rows' has no value")
    rest = rest[1:].lstrip(_WHITE)
    if not rest:
        return None
    if rest[:1] != b"[":
        raise BadFile("invalid JSON format, 'rows' should be an array")
    return rest[1:]


class _Found(NamedTuple):
    """What is in a piece of an array."""

    starts: list[int]
    stops: list[int]
    used: int
    """Bytes up to the end of the last whole row."""
    end: int
    """Where the array ends; -1: not here."""


def _scan(data: bytes, row: int) -> _Found:
    """The whole rows at the beginning of `data`, which begins between two rows."""
    codes = np.frombuffer(data, np.uint8)
    places: _Places = np.flatnonzero(_MATTERS[codes])
    kinds = codes[places]
    steps = np.where(_in_strings(places, kinds), 0, _STEP[kinds])
    depth = np.cumsum(steps, dtype=np.int64)
    over = np.flatnonzero(depth < 0)
    last = int(over[0]) if len(over) else len(places)
    if len(over) and kinds[last] != _CLOSE:
        raise BadFile("invalid JSON format, a bracket closes that none opened", row)
    steps, depth = steps[:last], depth[:last]
    starts = places[:last][(steps == 1) & (depth == 1)]
    stops = places[:last][(steps == -1) & (depth == 0)] + 1
    used = int(stops[-1]) if len(stops) else 0
    end = int(places[last]) if len(over) else -1
    return _Found(starts[: len(stops)].tolist(), stops.tolist(), used, end)


def _in_strings(places: _Places, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which of the bytes that matter belong to strings, opening quotes included."""
    quotes = kinds == _QUOTE
    slashes = np.flatnonzero(kinds == _SLASH)
    if len(slashes):
        at = places[slashes]
        begins = np.flatnonzero(np.diff(at, prepend=-2) != 1)
        lengths = np.diff(begins, append=len(at))
        behind = at[begins] + lengths  # a quote there is escaped when their number is odd
        odd = behind[lengths % 2 == 1]
        quotes &= ~np.isin(places, odd, assume_unique=True)
    inside: npt.NDArray[np.bool_] = (np.cumsum(quotes, dtype=np.int64) & 1).astype(np.bool_)
    return inside


def _rows(data: bytes, found: _Found, at: int) -> Rows:
    """The rows, between which there is one comma and blanks."""
    starts, stops = found.starts, found.stops
    gaps = [data[stop:start].strip(_WHITE) for stop, start in zip([0, *stops], starts, strict=False)]
    if found.end >= 0:
        gaps.append(data[found.used : found.end].strip(_WHITE))
    for number, gap in enumerate(gaps):
        row = at + number
        wanted = b"" if row == 0 or number == len(starts) else b","
        if gap != wanted:
            shown = gap[:40].decode(errors="replace")
            if gap.strip(b"," + _WHITE):
                raise BadFile(f"invalid JSON format, a row is an object, not {shown!r}", row)
            raise BadFile("invalid JSON format, rows have one comma between them", row)
    return [data[start:stop] for start, stop in zip(starts, stops, strict=True)]


def _check_tail(rest: bytes, row: int) -> None:
    """Behind the array there may be the `}` of its object, and blanks."""
    text = rest.strip(_WHITE)
    if text not in (b"", b"}"):
        raise BadFile(f"invalid JSON format, behind the rows stands {text[:40].decode(errors='replace')!r}", row)
