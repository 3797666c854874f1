"""How far do the words of a phrase have to move to be found in a text?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redkite.text.tokens import Tokens

_NOWHERE = np.iinfo(np.int64).max


def least_slops(phrase: Tokens, texts: Tokens) -> list[int]:
    """For each text the least slop with which it holds the phrase, the one text of `phrase`; -1 where a word is
    missing, or where the phrase has none."""
    known = {word: code for code, word in enumerate(texts.vocabulary)}
    wanted = {
        (known.get(phrase.vocabulary[code], -1), place)
        for code, place in zip(phrase.codes.tolist(), phrase.positions.tolist(), strict=True)
    }
    if not wanted or any(code < 0 for code, _ in wanted):
        return [-1] * len(texts)
    return [
        _least(wanted, texts.codes[begin:end], texts.positions[begin:end])
        for begin, end in zip(texts.starts[:-1].tolist(), texts.starts[1:].tolist(), strict=True)
    ]


def _least(wanted: set[tuple[int, int]], codes: npt.NDArray[np.int32], positions: npt.NDArray[np.int32]) -> int:
    """Each word moves from its place in the phrase by some number; of the texts' words those are taken whose greatest
    and least numbers differ by the least."""
    moves = [np.sort(positions[codes == code].astype(np.int64) - place) for code, place in wanted]
    if any(not len(found) for found in moves):
        return -1
    starts = np.unique(np.concatenate(moves))
    furthest = starts
    for found in moves:
        at = np.searchsorted(found, starts)
        beyond = np.where(at < len(found), found[np.minimum(at, len(found) - 1)], _NOWHERE)
        furthest = np.maximum(furthest, beyond)
    reached = furthest < _NOWHERE
    return int((furthest[reached] - starts[reached]).min())
