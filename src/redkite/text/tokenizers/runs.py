"""Words that are runs of characters of one kind: `standard`, `whitespace`, `char_group`."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.text.characters import Table
from redkite.text.texts import Texts
from redkite.text.tokens import Tokens, joined, no_tokens

_CHUNK = 1 << 22
"""Bytes looked at in one go: what is in flight stays some hundred megabytes."""
_FEW = 512
"""Bytes up to which one look after another is quicker: a search's words, a short row."""
_ASCII = 128
_ASCII_BYTES = bytes(range(_ASCII))
_FIRST_BYTE = 0xC0
"""The least first byte of a character of several bytes; those after it are less."""
Array = npt.NDArray[Any]


class RunTokenizer:
    """A word is a longest run of characters whose place in `table` is true. No loop runs over characters or words: one
    look at a table for all texts, and Arrow counts the words apart."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.parts_at_spaces = not table[ord(" ")]
        """Whether no word goes on beyond a space."""
        self._ascii = table[:_ASCII].astype(np.uint8).tobytes() + bytes(_ASCII)
        self._ascii_run = _pattern(table[:_ASCII])

    @cached_property
    def _run(self) -> re.Pattern[str]:
        return _pattern(self.table)

    def tokenize(self, texts: Texts) -> Tokens:
        if len(texts.data) <= _FEW:
            return self._few(texts)
        if len(texts.data) <= _CHUNK:
            return self._chunk(texts)
        parts, first = [], 0
        while first < len(texts):
            last = int(np.searchsorted(texts.bounds, texts.bounds[first] + _CHUNK, "right")) - 1
            last = min(max(last, first + 1), len(texts))
            bounds = texts.bounds[first : last + 1]
            parts.append(self._chunk(Texts(texts.data[bounds[0] : bounds[-1]], bounds - bounds[0])))
            first = last
        return joined(parts)

    def _few(self, texts: Texts) -> Tokens:
        """For little text."""
        run = self._ascii_run if texts.data.isascii() else self._run
        starts, codes, positions, begins, ends = [0], [], [], [], []
        places: dict[str, int] = {}
        for text in texts.strings():
            for position, match in enumerate(run.finditer(text)):
                codes.append(places.setdefault(match.group(), len(places)))
                positions.append(position)
                begins.append(match.start())
                ends.append(match.end())
            starts.append(len(codes))
        narrow = np.array((codes, positions, begins, ends), np.int32)
        return Tokens(np.array(starts, np.int64), narrow[0], list(places), narrow[1], narrow[2], narrow[3])

    def _chunk(self, texts: Texts) -> Tokens:
        data, bounds = texts.data, texts.bounds
        if not data:
            return no_tokens(len(texts))
        wide = None if data.isascii() else _Wide(texts)
        inside: Array = np.frombuffer(data.translate(self._ascii), np.bool_)
        if wide is not None:
            inside = inside.copy()
            inside[wide.places] = self.table[wide.points][wide.characters]
        begins, ends = _runs(inside, bounds)
        starts = np.searchsorted(begins, bounds)
        vocabulary, codes = _words(data, begins, ends)
        counts = np.diff(starts)
        shift = np.repeat(bounds[:-1], counts)
        if wide is not None:
            rows = np.flatnonzero(np.repeat(wide.texts(bounds), counts))
            begins, ends = begins - shift, ends - shift
            before = shift[rows]
            begins[rows] -= wide.excess(before, begins[rows])
            ends[rows] -= wide.excess(before, ends[rows])
        else:
            begins, ends = begins - shift, ends - shift
        return Tokens(
            starts=starts.astype(np.int64, copy=False),
            codes=codes,
            vocabulary=vocabulary,
            positions=(np.arange(len(begins)) - np.repeat(starts[:-1], counts)).astype(np.int32),
            begins=begins.astype(np.int32),
            ends=ends.astype(np.int32),
        )


def _pattern(table: Array) -> re.Pattern[str]:
    """Finds the longest runs of characters whose place in the table is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], table, [False]))))
    ranges = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    inside = "".join(f"\\U{begin:08x}-\\U{end - 1:08x}" for begin, end in ranges)
    return re.compile(f"[{inside}]+" if inside else r"(?!)")


class _Wide:
    """The characters of several bytes among some texts: `points`, their code points; `places`, where their bytes are;
    `characters`, to which of them each of these bytes belongs. Raises InvalidParameter for invalid UTF-8."""

    def __init__(self, texts: Texts) -> None:
        texts.check()
        data = np.frombuffer(texts.data, np.uint8)
        alone = texts.data.translate(None, _ASCII_BYTES).decode()
        self.points = np.frombuffer(alone.encode("utf-32-le"), np.uint32)
        self.places = np.flatnonzero(data >= _ASCII)
        first = data[self.places] >= _FIRST_BYTE
        self.characters = np.cumsum(first) - 1
        self._later = self.places[~first]

    def texts(self, bounds: Array) -> Array:
        """Which texts have any of these characters."""
        return np.diff(np.searchsorted(self.places, bounds)) > 0

    def excess(self, begin: Array, size: Array) -> Array:
        """How many more bytes than characters there are in `size` bytes from `begin` on."""
        return np.searchsorted(self._later, begin + size) - np.searchsorted(self._later, begin)


def _runs(inside: Array, bounds: Array) -> tuple[Array, Array]:
    """Begin and end of each run of true values; a bound between two texts ends a run."""
    begins, ends = np.empty(len(inside), np.bool_), np.empty(len(inside) + 1, np.bool_)
    begins[0], ends[0], ends[-1] = inside[0], False, inside[-1]
    np.greater(inside[1:], inside[:-1], out=begins[1:])
    np.less(inside[1:], inside[:-1], out=ends[1:-1])
    inner = bounds[(bounds > 0) & (bounds < len(inside))]
    torn = inner[inside[inner] & inside[inner - 1]]
    begins[torn] = True
    ends[torn] = True
    return np.flatnonzero(begins), np.flatnonzero(ends)


def _words(data: bytes, begins: Array, ends: Array) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The words between these bytes, each once, and which of them each is. Words and the gaps between them follow one
    another as an Arrow array does, so nothing is copied."""
    import pyarrow as pa

    if not len(begins):
        return [], np.empty(0, np.int32)
    bounds = np.empty(2 * len(begins), np.int32)
    bounds[::2] = begins
    bounds[1::2] = ends
    pieces = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))
    words = pieces.take(pa.array(np.arange(0, len(bounds), 2))).dictionary_encode()
    return words.dictionary.to_pylist(), words.indices.to_numpy()
