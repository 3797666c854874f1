"""How well, and how fast, is it decided which query node serves which segment? The cluster's own rules, without nodes.

    python benchmarks/placement.py [--segments 10000] [--nodes 100] [--replicas 2] [--plot placement.svg]

Segments of very different sizes are placed; then a tenth of the nodes dies, as many new ones come, and nodes are evened
out. Each step prints the processor time that deciding took, how many segments moved and what the fullest node has of
the mean. `--plot` draws the load of every node after each step.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from redkite.coordinator.placing import Piece, balanced, divided, placed
from redkite.model.segments import ReplicaRecord

GROUP = "all"
MIB = 1 << 20


class Step(NamedTuple):
    title: str
    seconds: float
    """Processor time of deciding."""
    moved: int
    loads: list[int]
    """Of each node, sorted."""

    @property
    def fullest(self) -> float:
        """The load of the fullest node over the mean."""
        return max(self.loads) * len(self.loads) / sum(self.loads)


class Cluster:
    """Segments on nodes, as the rules have them."""

    def __init__(self, costs: dict[int, int], nodes: Sequence[int], replicas: int) -> None:
        self.costs = costs
        self.nodes = list(nodes)
        self.records = [ReplicaRecord(replica_id=1000 + i, group=GROUP) for i in range(replicas)]
        self.on: dict[int, dict[int, int]] = {segment: {} for segment in costs}

    def replicas(self) -> dict[int, tuple[int, ...]]:
        found = divided(self.records, {GROUP: self.nodes})
        self.records = [ReplicaRecord(replica_id=r, group=GROUP, nodes=nodes) for r, nodes in found.items()]
        return found

    def pieces(self) -> list[Piece]:
        return [Piece(segment, self.costs[segment], on) for segment, on in self.on.items()]

    def load(self) -> dict[int, int]:
        found = dict.fromkeys(self.nodes, 0)
        for segment, on in self.on.items():
            for node in on.values():
                found[node] += self.costs[segment]
        return found

    def place(self, title: str) -> Step:
        load, began = self.load(), time.process_time()
        plan = placed(self.pieces(), self.replicas(), load)
        seconds = time.process_time() - began
        for segment, opened in plan.opened.items():
            self.on[segment].update(opened)
        assert not plan.short, "there are nodes enough"
        return Step(title, seconds, sum(map(len, plan.opened.values())), sorted(self.load().values()))

    def balance(self, title: str) -> Step:
        load, replicas, began = self.load(), self.replicas(), time.process_time()
        moves = balanced(self.pieces(), replicas, load)
        seconds = time.process_time() - began
        for move in moves:
            self.on[move.segment_id][move.replica] = move.target
        return Step(title, seconds, len(moves), sorted(self.load().values()))

    def lose(self, nodes: Sequence[int]) -> None:
        gone = set(nodes)
        self.nodes = [node for node in self.nodes if node not in gone]
        for on in self.on.values():
            for replica in [r for r, node in on.items() if node in gone]:
                del on[replica]


def steps(segments: int, nodes: int, replicas: int, seed: int) -> list[Step]:
    chance = random.Random(seed)
    costs = {i: int(MIB * min(2048.0, chance.lognormvariate(5.0, 1.2))) for i in range(segments)}
    cluster = Cluster(costs, range(1, nodes + 1), replicas)
    done = [cluster.place("placed")]
    tenth = max(1, nodes // 10)
    cluster.lose(chance.sample(cluster.nodes, tenth))
    done.append(cluster.place(f"{tenth} nodes died"))
    cluster.nodes += range(nodes + 1, nodes + 1 + tenth)
    done.append(cluster.place(f"{tenth} nodes came"))
    done.append(cluster.balance("evened out"))
    return done


def drawn(done: Sequence[Step], title: str) -> str:
    """One small chart for each step: nodes from the emptiest to the fullest, and their load."""
    wide, high, gap = 230, 150, 24
    most = max(max(step.loads) for step in done)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(done) * (wide + gap) + gap} {high + 86}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{gap}" y="20" font-size="14">{title}</text>',
    ]
    for at, step in enumerate(done):
        left, top = gap + at * (wide + gap), 56
        bar = wide / len(step.loads)
        parts.append(f'<text x="{left}" y="44">{step.title}: {step.moved} moved, {step.seconds * 1000:.0f} ms</text>')
        for number, load in enumerate(step.loads):
            tall = high * load / most
            parts.append(
                f'<rect x="{left + number * bar:.1f}" y="{top + high - tall:.1f}" width="{bar * 0.85:.2f}" '
                f'height="{tall:.1f}" fill="#3b6ea5"/>'
            )
        mean = top + high - high * sum(step.loads) / len(step.loads) / most
        parts.append(f'<path d="M{left} {mean:.1f}h{wide}" stroke="#c0392b" stroke-dasharray="4 3"/>')
        parts.append(f'<text x="{left}" y="{top + high + 18}">fullest node: {step.fullest:.3f} of the mean</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="draw it: .svg")
    options = parser.parse_args()
    done = steps(options.segments, options.nodes, options.replicas, options.seed)
    for step in done:
        print(f"{step.title:<20} {step.seconds * 1000:8.1f} ms  {step.moved:6} moved  fullest {step.fullest:.3f}")
    if options.plot is not None:
        what = f"{options.segments} segments, {options.nodes} nodes, {options.replicas} replicas: load of every node"
        options.plot.write_text(drawn(done, what))
        print(f"{options.plot} is drawn", file=sys.stderr)


if __name__ == "__main__":
    main()
