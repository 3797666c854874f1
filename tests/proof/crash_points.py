"""Cut the power at every operation of many traces, and make every operation fail, on the simulated disk.

    python -m tests.proof.crash_points --seeds 100

Prints what it counted. A failure names the seed, the operation and the step, which is all it takes to see it again.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import get_args

from tests.proof.traces import Sweep, Tally, Trace

from redkite.simulated import FaultKind


def run(first: int, seeds: int, length: int, faults_every: int) -> dict[str, float]:
    """Sweep the traces of so many seeds. Raises at the first thing that is lost."""
    tally = Tally()
    started = time.monotonic()
    for seed in range(first, first + seeds):
        Sweep(Trace(seed, length, shards=1 + seed % 4 // 3), tally).crash_everywhere()
        for kind in get_args(FaultKind):
            Sweep(Trace(seed, length), tally).fail_everywhere(kind, every=faults_every, first=1 + seed % faults_every)
        if seed % 5 == 0:
            print(f"seed {seed}: {tally.crashes:,} crashes, {tally.faults:,} faults", flush=True)
    return {
        "traces": seeds,
        "crash_points": tally.crashes,
        "faults": tally.faults,
        "calls_that_failed": tally.refused,
        "longest_trace_operations": tally.operations,
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--length", type=int, default=16, help="steps of a trace")
    parser.add_argument("--faults-every", type=int, default=1, help="of the operations that are made to fail")
    chosen = parser.parse_args()
    print(json.dumps(run(chosen.first, chosen.seeds, chosen.length, chosen.faults_every), indent=1))


if __name__ == "__main__":
    main()
