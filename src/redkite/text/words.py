"""Distinct words in the order of their UTF-8 bytes, as two arrays that may be mapped from a file."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]
MOST_SEARCHES = 256
"""So many words are looked for one by one; for more, all words are hashed."""
LONGEST = 256
"""Longer words are compared one by one: there are few of them."""
_OFFSETS = np.dtype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """`data[offsets[n]:offsets[n + 1]]` is word n."""

    offsets: npt.NDArray[np.int32]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        return self.offsets.nbytes + self.data.nbytes

    @property
    def texts(self) -> pa.Array:
        """The words as an Arrow array over the same bytes."""
        buffers = [None, pa.py_buffer(self.offsets), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.string(), len(self), buffers)

    def find(self, word: str) -> int:
        """The number of a word, -1 when it is not there."""
        wanted = word.encode()
        low, high, offsets, data = 0, len(self), self.offsets, self.data.data
        while low < high:
            middle = (low + high) // 2
            if bytes(data[offsets[middle] : offsets[middle + 1]]) < wanted:
                low = middle + 1
            else:
                high = middle
        if low == len(self) or bytes(data[offsets[low] : offsets[low + 1]]) != wanted:
            return -1
        return low

    def find_all(self, words: Collection[str]) -> dict[str, int]:
        """The numbers of distinct words, -1 of those that are not there."""
        if len(words) <= MOST_SEARCHES:
            return {word: self.find(word) for word in words}
        found = pc.fill_null(pc.index_in(pa.array(words, pa.string()), value_set=self.texts), -1)
        return dict(zip(words, found.to_pylist(), strict=True))

    def near(self, word: str, distance: int) -> Numbers:
        """The numbers of the words at most so many edits away; an edit puts in, takes out or replaces one character,
        or swaps two neighbours."""
        texts = self.texts
        lengths, sizes = pc.utf8_length(texts).to_numpy(), np.diff(self.offsets)
        found = [np.zeros(0, np.int64)]
        for length in range(max(0, len(word) - distance), len(word) + distance + 1):
            alike = lengths == length
            if length > LONGEST:
                some = np.flatnonzero(alike)
                spelled = texts.take(pa.array(some)).to_pylist()
                found.append(some[[_is_near(one, word, distance) for one in spelled]])
                continue
            plain = np.flatnonzero(alike & (sizes == length))
            found.append(plain[_edits(self._bytes(plain, length), word, distance) <= distance])
            others = np.flatnonzero(alike & (sizes > length))
            if len(others):
                characters = _characters(texts.take(pa.array(others)), length)
                found.append(others[_edits(characters, word, distance) <= distance])
        return np.sort(np.concatenate(found))

    def _bytes(self, numbers: Numbers, length: int) -> npt.NDArray[np.uint8]:
        """(length, words) the bytes of words that all have so many."""
        found: npt.NDArray[np.uint8] = self.data[self.offsets[numbers] + np.arange(length)[:, None]]
        return found


def sorted_words(words: Iterable[str] | pa.Array) -> tuple[Words, Numbers]:
    """Distinct words put in order, and for each word given its number."""
    given = words if isinstance(words, pa.Array) else pa.array(words, pa.string())
    order = pc.sort_indices(given).to_numpy().astype(np.int64)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    texts = given.take(pa.array(order))
    _, places, content = texts.buffers()
    if not len(texts) or places is None:
        return Words(np.zeros(1, _OFFSETS), np.zeros(0, np.uint8)), ranks
    offsets = np.frombuffer(places, _OFFSETS, len(texts) + 1, texts.offset * _OFFSETS.itemsize)
    held = np.zeros(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return Words(offsets - offsets[0], held[offsets[0] : offsets[-1]]), ranks


def united(first: Words, second: Words) -> tuple[Words, Numbers, Numbers]:
    """The words of both, and the new numbers of the words of each."""
    coded = pa.concat_arrays([first.texts, second.texts]).dictionary_encode()
    words, ranks = sorted_words(coded.dictionary)
    renamed = ranks[coded.indices.to_numpy()]
    return words, renamed[: len(first)], renamed[len(first) :]


# -- edits ----------------------------------------------------------------------------------------
def _characters(texts: pa.Array, length: int) -> npt.NDArray[np.uint32]:
    """(length, words) code points of words that all have so many."""
    coded = "".join(texts.to_pylist()).encode("utf-32-le")
    return np.ascontiguousarray(np.frombuffer(coded, np.uint32).reshape(len(texts), length).T)


def _shared(one: str, other: str) -> int:
    """How many characters two words have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _is_near(one: str, other: str, most: int) -> bool:
    """Whether at most so many edits lie between two words."""
    shared = _shared(one, other)
    left, right = one[shared:], other[shared:]
    if not left or not right:
        return len(left) + len(right) <= most
    if not most:
        return False
    rest = most - 1
    if _is_near(left[1:], right[1:], rest) or _is_near(left[1:], right, rest) or _is_near(left, right[1:], rest):
        return True
    return left[:2] == right[1::-1] and len(left) > 1 and len(right) > 1 and _is_near(left[2:], right[2:], rest)


def _edits(words: npt.NDArray[Any], wanted: str, most: int) -> npt.NDArray[np.uint8]:
    """(words,) how many edits lie between each word, a column of characters, and one other; `most` + 1 where there are
    more. For all words at once, over the places of two beginnings that are no further apart than `most`: entry k of a
    row is about so many characters of the words as of the other, and k - `most`."""
    length, count = words.shape
    wide, cap = 2 * most + 1, most + 1
    before = np.full((wide, count), cap, np.uint8)
    row = before.copy()
    for place in range(most + 1):
        if place <= length:
            row[place + most] = place
    for at, character in enumerate(map(ord, wanted), 1):
        following = np.full((wide, count), cap, np.uint8)
        for k in range(wide):
            place = at + k - most
            if place == 0:
                following[k] = min(at, cap)
            if not 0 < place <= length:
                continue
            cheapest = row[k] + (words[place - 1] != character)
            if k + 1 < wide:
                np.minimum(cheapest, row[k + 1] + 1, out=cheapest)
            if k:
                np.minimum(cheapest, following[k - 1] + 1, out=cheapest)
            if at > 1 and place > 1:
                swapped = (words[place - 2] == character) & (words[place - 1] == ord(wanted[at - 2]))
                np.minimum(cheapest, np.where(swapped, before[k] + 1, cheapest), out=cheapest)
            following[k] = np.minimum(cheapest, cap)
        before, row = row, following
    edits: npt.NDArray[np.uint8] = row[length - len(wanted) + most]
    return edits
