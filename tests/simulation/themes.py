"""What a run is about: which faults befall the cluster, what its clients do, and how it is set up.

Rare paths want several things at once: a proxy that has heard of nothing, and an owner that stands still, and writes of
the same row through others. Where everything happens a little, such things hardly ever meet. So each seed has a theme.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

Weights = dict[str, int]


@dataclass(frozen=True)
class Theme:
    """How often each fault is among those of a run, by its name in `faults.Faults`; and what else is drawn from."""

    name: str
    faults: Weights
    seconds: float = 9.0
    trouble: float = 1.5
    """Seconds between two faults, on average."""
    clients: int = 3
    pause: float = 0.12
    """Seconds between two requests of a client, on average."""
    hot: float = 0.4
    """The share of what is asked that concerns the first register of its table."""
    swaps: float = 0.14
    """The share of what is asked that is a write on a condition."""
    upkeep: Weights = field(default_factory=lambda: {"flush": 1, "compact": 1, "collection": 2, "partition": 2})
    upkeep_pause: float = 0.8
    skew_us: float = 4e5
    """How far clocks are off, at most."""
    seal_rows: tuple[int, ...] = (30, 60, 1000)
    garbage_seconds: tuple[float, ...] = (0.5, 60.0)
    channels: tuple[int, ...] = (2, 4)


OF_DATA_NODES: Final[Weights] = {"kill in a write of a segment": 1, "stop in a write of a segment": 2}
"""Beside those of its theme, of a run that has data nodes."""

OF_IMPORTS: Final[Weights] = {
    "kill in an import": 1, "stop in an import": 1, "lose answers in an import": 1,
    "kill the coordinator in an admission": 1, "stop the coordinator in an admission": 1,
    "kill an owner in an admission": 1, "stop an owner in an admission": 1,
}  # fmt: skip
"""The same of a run that imports."""

MIXED: Final = Theme(
    "mixed",
    {
        "kill one": 3, "pause one": 2, "cut one": 2, "cut from shared": 1, "bad weather": 1, "lose replies": 1,
        "broker trouble": 1, "step a clock": 2, "etcd away": 1, "forget two": 2, "lose answers": 2,
        "kill at an answer": 1, "stop at an answer": 1, "stop in a read": 2, "stop as it logs": 1,
        "kill the coordinator at a commit": 2, "stop the coordinator at a commit": 1,
        "kill the streaming at a commit": 1, "stop the streaming at a commit": 1,
        "stop the streaming before it commits": 2, "stop the coordinator before it commits": 2,
    },
)  # fmt: skip
"""A little of everything."""

OWNERS: Final = Theme(
    "owners",
    {
        "forget two": 3, "late record": 2, "clock ahead": 2, "stop as it logs": 1,
        "kill at the answer to a swap": 3, "kill at an answer": 1, "stop the streaming before it commits": 2,
        "stop in a read": 1, "step a clock": 1, "etcd away": 1,
    },
    seconds=8.0, trouble=0.9, clients=4, hot=0.7, swaps=0.3, skew_us=4e6, seal_rows=(12, 30, 1000), channels=(2,),
    upkeep={"flush": 2, "collection": 1}, upkeep_pause=0.6,
)  # fmt: skip
"""Who owns a channel, and who only believes it: few channels, many writes of few rows, clocks that are far off."""

HANDOVERS: Final = Theme(
    "handovers",
    {"late seal": 1, "future record": 1, "late answers": 1, "clock ahead": 1},
    seconds=18.0, trouble=0.3, clients=2, pause=0.25, hot=0.7, channels=(2,), upkeep={"collection": 1},
    upkeep_pause=3.0,
)  # fmt: skip
"""Owners that stand still at the wrong moment, one after another, and little else."""

LEADERS: Final = Theme(
    "leaders",
    {
        "kill the coordinator at a decision": 5, "stop the coordinator at a decision": 3, "forget a leader": 2,
        "stop the coordinator before it commits": 2, "kill one": 1, "lose replies": 1, "cut from shared": 1,
    },
    seconds=8.0, trouble=0.8, clients=2, pause=0.3, upkeep={"collection": 3, "partition": 3}, upkeep_pause=0.1,
)  # fmt: skip
"""What is decided, by whom, and whether it is once."""

SEGMENTS: Final = Theme(
    "segments",
    {
        "bad weather": 4, "slow moment": 2, "late reads": 5, "kill one": 2, "cut one": 1, "pause one": 1,
        "lose replies": 1, "stop the streaming before it commits": 1, "stop in a read": 1, "cut from shared": 1,
    },
    seconds=4.5, trouble=0.4, clients=4, pause=0.1, upkeep={"flush": 3, "compact": 3}, upkeep_pause=0.15,
    seal_rows=(6, 12), garbage_seconds=(0.5,),
)  # fmt: skip
"""Rows that are sealed, moved, compacted and deleted all the time, in bad weather."""

AWAY: Final = Theme(
    "away",
    {
        "etcd long away": 3, "two without etcd": 4, "pause one": 2, "cut one": 1, "kill one": 1, "stop in a read": 2,
        "stop as it logs": 2, "broker trouble": 1, "lose answers": 1, "kill at the answer to a swap": 1,
        "stop the streaming before it commits": 1, "step a clock": 1, "forget two": 1, "lose replies": 1,
    },
    seconds=20.0, trouble=1.2, clients=4, hot=0.7, swaps=0.3, skew_us=2e6, seal_rows=(12, 30), channels=(2,),
    upkeep={"flush": 3, "compact": 1, "collection": 1}, upkeep_pause=0.8,
)  # fmt: skip
"""Nobody reaches etcd, or not all do: owners go on by the log, while others are named or not."""

THEMES: Final = (MIXED, OWNERS, HANDOVERS, LEADERS, SEGMENTS)


def theme_of(seed: int) -> Theme:
    """Half of the seeds that would have a little of everything are about etcd."""
    rng = random.Random(f"theme {seed}")
    theme = rng.choice(THEMES)
    return AWAY if theme is MIXED and rng.random() < 0.5 else theme
