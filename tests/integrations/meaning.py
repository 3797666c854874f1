"""Vectors of texts without a model: texts that share words are near each other."""

from __future__ import annotations

import math
import random
import zlib
from functools import cache

DIM = 64


@cache
def _vector_of_word(word: str) -> tuple[float, ...]:
    drawn = random.Random(zlib.crc32(word.encode()))
    return tuple(drawn.gauss(0, 1) for _ in range(DIM))


def vector_of(text: str) -> list[float]:
    """The unit vector along the sum of the words' vectors, each drawn from the word alone."""
    sums = [sum(numbers) for numbers in zip(*map(_vector_of_word, text.lower().split()), strict=True)]
    length = math.hypot(*sums)
    return [number / length for number in sums]


TEXTS = (
    "a red kite circles over the hill",
    "a black kite fishes in the lake",
    "the wren sings in the hedge",
    "an owl hunts mice at night",
    "children fly a paper kite at the beach",
    "the heron waits in the shallow lake",
)
