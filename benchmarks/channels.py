"""How well, and how fast, is it decided which streaming node owns which channel? The policy alone, without nodes.

    python benchmarks/channels.py [--channels 10000] [--nodes 100] [--plot channels.svg]

Physical channels with different numbers of virtual ones are given out; then a tenth of the nodes dies, as many new ones
come, and channels are moved until no move is worth it. Each step prints the processor time that deciding took, how many
channels moved, and how uneven the layout is. `--plot` draws the virtual channels of every node after each step.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from redkite.coordinator.fairness import Layout, Unbalance, moves, placed, unbalance


class Step(NamedTuple):
    title: str
    seconds: float
    """Processor time of deciding."""
    moved: int
    uneven: Unbalance
    loads: list[int]
    """Virtual channels of each node, sorted."""


def step(title: str, layout: Layout, decide: Callable[[Layout], dict[str, int]]) -> tuple[Layout, Step]:
    began = time.process_time()
    found = decide(layout)
    seconds = time.process_time() - began
    after = layout.moved(found)
    loads = dict.fromkeys(after.nodes, 0)
    for channel, node in after.owners.items():
        if node in loads:
            loads[node] += len(after.carried.get(channel, ()))
    return after, Step(title, seconds, len(found), unbalance(after), sorted(loads.values()))


def evened(layout: Layout) -> dict[str, int]:
    return {move.channel: move.target for move in moves(layout, most=len(layout.owners))}


def steps(channels: int, nodes: int, seed: int) -> list[Step]:
    chance = random.Random(seed)
    names = [f"by-dev-rootcoord-dml_{number}" for number in range(channels)]
    carried: dict[str, list[int]] = {name: [] for name in names}
    for collection in range(channels):  # most have one shard, some have many
        shards = min(channels, chance.choices((1, 2, 4, 16), (0.7, 0.2, 0.08, 0.02))[0])
        for name in chance.sample(names, shards):
            carried[name].append(collection)
    layout = Layout(nodes=tuple(range(1, nodes + 1)), owners=dict.fromkeys(names, 0), carried=carried)
    layout, first = step("given out", layout, placed)
    tenth = max(1, nodes // 10)
    dead = set(chance.sample(layout.nodes, tenth))
    layout = msgspec.structs.replace(layout, nodes=tuple(node for node in layout.nodes if node not in dead))
    layout, second = step(f"{tenth} nodes died", layout, placed)
    layout = msgspec.structs.replace(layout, nodes=(*layout.nodes, *range(nodes + 1, nodes + 1 + tenth)))
    layout, third = step(f"{tenth} nodes came", layout, evened)
    return [first, second, third]


def drawn(done: Sequence[Step], title: str) -> str:
    """One small chart for each step: nodes from the emptiest to the fullest, and their virtual channels."""
    wide, high, gap = 260, 150, 24
    most = max(max(one.loads) for one in done) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(done) * (wide + gap) + gap} {high + 86}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{gap}" y="20" font-size="14">{title}</text>',
    ]
    for at, one in enumerate(done):
        left, top, bar = gap + at * (wide + gap), 56, wide / len(one.loads)
        parts.append(f'<text x="{left}" y="44">{one.title}: {one.moved} given, {one.seconds * 1000:.0f} ms</text>')
        for number, load in enumerate(one.loads):
            tall = high * load / most
            parts.append(
                f'<rect x="{left + number * bar:.1f}" y="{top + high - tall:.1f}" width="{bar * 0.85:.2f}" '
                f'height="{tall:.1f}" fill="#3b6ea5"/>'
            )
        parts.append(f'<text x="{left}" y="{top + high + 18}">unbalance: {one.uneven.score:.6f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="draw it: .svg")
    options = parser.parse_args()
    done = steps(options.channels, options.nodes, options.seed)
    for one in done:
        print(
            f"{one.title:<16} {one.seconds * 1000:8.1f} ms  {one.moved:6} given  "
            f"virtual channels per node {one.loads[0]}..{one.loads[-1]}  unbalance {one.uneven.score:.6f}"
        )
    if options.plot is not None:
        what = f"{options.channels} channels, {options.nodes} nodes: virtual channels of every node"
        options.plot.write_text(drawn(done, what))
        print(f"{options.plot} is drawn", file=sys.stderr)


if __name__ == "__main__":
    main()
