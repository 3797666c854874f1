"""Which node owns which physical channel: rules on plain data, without effects.

What costs a node work are the virtual channels: each is a shard with writes and reads. So a layout is even when nodes
have the same number of them. The number of physical channels counts as well, for those still to be made are put on the
emptiest ones; and shards of one collection are better on different nodes, which can then work for it side by side.

How uneven a layout is, is one number (`unbalance`): 0 when nothing could be better, and growing with the square of
what a node has too much. Channels without an owner go one after another, the heaviest first, to where that number grows
least. A channel that has an owner is moved only where it shrinks by more than moving is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """How much each unevenness counts."""

    vchannels: float = 0.5
    pchannels: float = 0.4
    together: float = 0.1
    """Shards of one collection on the same node."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Who owns what. The nodes are those that may own something; a channel of another node has no owner."""

    nodes: tuple[int, ...]
    owners: Mapping[str, int]
    """Of physical channels. 0, or a node that is not there: nobody."""
    carried: Mapping[str, Sequence[int]] = {}
    """The collections whose shards are on a physical channel, each as often as it has shards there."""

    def moved(self, owners: Mapping[str, int]) -> Layout:
        """The same with other owners of some channels."""
        return msgspec.structs.replace(self, owners={**self.owners, **owners})


class Move(NamedTuple):
    channel: str
    source: int
    target: int


WEIGHTS: Final = Weights()
TOLERANCE: Final = 0.01
"""A move that makes the layout better by less is not worth handing a channel over."""
MOVES: Final = 3
"""So many channels are moved at once."""


class Unbalance(msgspec.Struct, frozen=True, kw_only=True):
    """How uneven a layout is, in parts; 0 is best."""

    vchannels: float
    """The mean square of how far nodes are from the mean, as parts of the mean."""
    pchannels: float
    together: float
    """Of all pairs of shards of one collection, the part whose shards are on the same node."""
    score: float
    """Their weighted sum."""


def unbalance(layout: Layout, weights: Weights = WEIGHTS) -> Unbalance:
    return _Board(layout, weights).unbalance()


def placed(layout: Layout, weights: Weights = WEIGHTS) -> dict[str, int]:
    """Owners for the channels that have none. Empty when there are no nodes."""
    if not layout.nodes:
        return {}
    board = _Board(layout, weights)
    found = {}
    for channel in sorted(board.homeless, key=lambda name: (-len(layout.carried.get(name, ())), name)):
        best = int(np.argmin(board.growth(channel)))
        board.put(channel, best)
        found[channel] = layout.nodes[best]
    return found


def moves(layout: Layout, most: int = MOVES, tolerance: float = TOLERANCE, weights: Weights = WEIGHTS) -> list[Move]:
    """At most so many moves of channels that have an owner, each of which makes the layout better by more than
    `tolerance` of what one channel weighs."""
    if len(layout.nodes) < 2:
        return []
    board = _Board(layout, weights)
    found: list[Move] = []
    while len(found) < most:
        move = board.best_move(tolerance)
        if move is None:
            break
        found.append(move)
    return found


def channels_for(shards: int, layout: Layout) -> list[str]:
    """Physical channels for the shards of a new collection: those with the fewest virtual ones, of different nodes
    where that is possible. A channel is taken twice only when there are fewer than shards."""
    count = {name: len(layout.carried.get(name, ())) for name in layout.owners}
    on_node: dict[int, int] = {}
    chosen: list[str] = []
    for _ in range(shards if count else 0):
        taken = {name: chosen.count(name) for name in chosen}
        best = min(
            count,
            key=lambda name: (taken.get(name, 0), on_node.get(layout.owners[name], 0), count[name], _numbered(name)),
        )
        chosen.append(best)
        on_node[layout.owners[best]] = on_node.get(layout.owners[best], 0) + 1
        count[best] += 1
    return chosen


def _numbered(name: str) -> tuple[int, str]:
    return len(name), name


class _Board:
    """A layout in numbers, which changes as channels are put somewhere.

    Squares of what nodes have are compared, not of how far they are from the mean: with a fixed sum that is the same.
    """

    def __init__(self, layout: Layout, weights: Weights) -> None:
        self.layout, self.weights = layout, weights
        size = len(layout.nodes)
        at = {node: place for place, node in enumerate(layout.nodes)}
        self.homeless: list[str] = []
        self._on: list[dict[str, None]] = [{} for _ in range(size)]
        self._pchannels, self._vchannels = np.zeros(size), np.zeros(size)
        self._together: dict[int, Numbers] = {}
        self._several = _several(layout.carried.values())
        shards = sum(len(layout.carried.get(name, ())) for name in layout.owners)
        self._mean_p = max(len(layout.owners) / size, 1.0) if size else 1.0
        self._mean_v = max(shards / size, 1.0) if size else 1.0
        pairs = sum(n * (n - 1) / 2 for n in self._several.values())
        # Each part as `unbalance` weighs it: a mean over nodes of squares of parts of the mean; a part of all pairs.
        self._weight_p = weights.pchannels / (max(size, 1) * self._mean_p**2)
        self._weight_v = weights.vchannels / (max(size, 1) * self._mean_v**2)
        self._weight_t = weights.together / max(pairs, 1.0)
        self._pairs = pairs
        for name, node in layout.owners.items():
            if node in at:
                self.put(name, at[node])
            else:
                self.homeless.append(name)

    def _carried(self, channel: str) -> Sequence[int]:
        return self.layout.carried.get(channel, ())

    def put(self, channel: str, place: int, sign: int = 1) -> None:
        """Give a channel to the node at a place, or (sign -1) take it from there."""
        self._pchannels[place] += sign
        self._vchannels[place] += sign * len(self._carried(channel))
        for collection in self._carried(channel):
            if collection in self._several:
                there = self._together.get(collection)
                if there is None:
                    there = self._together[collection] = np.zeros(len(self.layout.nodes))
                there[place] += sign
        if sign > 0:
            self._on[place][channel] = None
        else:
            del self._on[place][channel]

    def growth(self, channel: str) -> Numbers:
        """How much worse the layout becomes when a node gets a channel, for each node."""
        carried = self._carried(channel)
        count = len(carried)
        grown = self._weight_p * (2 * self._pchannels + 1) + self._weight_v * count * (2 * self._vchannels + count)
        for collection in carried:
            there = self._together.get(collection)
            if there is not None:
                grown = grown + self._weight_t * there
        return grown

    def best_move(self, tolerance: float) -> Move | None:
        """Carry out the best move from the first node that has one, the fullest first."""
        fullness = self._weight_p * self._pchannels**2 + self._weight_v * self._vchannels**2
        worth = tolerance * (self._weight_p + self._weight_v)
        for source in np.argsort(-fullness, kind="stable"):
            names = list(self._on[source])
            if not names:
                continue
            grown = self._growths(names, int(source))
            targets = np.argmin(grown, axis=1)
            rows = np.arange(len(names))
            gains = grown[rows, source] - grown[rows, targets]
            best = int(np.argmax(gains))
            if gains[best] > worth:
                name, target = names[best], int(targets[best])
                self.put(name, int(source), -1)
                self.put(name, target)
                return Move(name, self.layout.nodes[source], self.layout.nodes[target])
        return None

    def _growths(self, names: Sequence[str], source: int) -> Numbers:
        """`growth` of each of these channels (rows) for each node, were it taken from the node that has it."""
        counts = np.array([len(self._carried(name)) for name in names], np.float64)[:, None]
        pchannels, vchannels = np.tile(self._pchannels, (len(names), 1)), np.tile(self._vchannels, (len(names), 1))
        pchannels[:, source] -= 1
        vchannels[:, source] -= counts[:, 0]
        grown = self._weight_p * (2 * pchannels + 1) + self._weight_v * counts * (2 * vchannels + counts)
        for row, name in enumerate(names):
            for collection in self._carried(name):
                there = self._together.get(collection)
                if there is not None:
                    grown[row] += self._weight_t * there
                    grown[row, source] -= self._weight_t * self._carried(name).count(collection)
        result: Numbers = grown
        return result

    def unbalance(self) -> Unbalance:
        if not self.layout.nodes:
            return Unbalance(vchannels=0.0, pchannels=0.0, together=0.0, score=0.0)
        pchannels, vchannels = _unevenness(self._pchannels), _unevenness(self._vchannels)
        same = sum(float(np.sum(there * (there - 1))) / 2 for there in self._together.values())
        together = same / self._pairs if self._pairs else 0.0
        weights = self.weights
        score = weights.vchannels * vchannels + weights.pchannels * pchannels + weights.together * together
        return Unbalance(vchannels=vchannels, pchannels=pchannels, together=together, score=score)


def _several(carried: Iterable[Sequence[int]]) -> dict[int, int]:
    """Collections with more than one shard, and how many."""
    count: dict[int, int] = {}
    for collections in carried:
        for collection in collections:
            count[collection] = count.get(collection, 0) + 1
    return {collection: shards for collection, shards in count.items() if shards > 1}


def _unevenness(counts: Numbers) -> float:
    mean = float(counts.mean())
    return float(np.mean((counts / mean - 1) ** 2)) if mean else 0.0
