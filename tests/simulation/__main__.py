"""Clusters in a simulated world, one for each seed.

python -m tests.simulation --seeds 10000
python -m tests.simulation --seed 4711             # one again, with all that it logs
python -m tests.simulation --scenario catalog --seeds 500 --jobs 2
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import traceback

from tests.simulation import primitives


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--scenario", action="append", help="which to run: all, where none is named")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--plant", default="", help="break the code in a way that must be found")
    parser.add_argument("--plants", action="store_true", help="which seed finds each of the faults that can be planted")
    parser.add_argument("--twice", action="store_true", help="run each seed twice: both must be the same")
    parser.add_argument("--traces", action="store_true", help="tell of each seed what it did, as a checksum")
    parser.add_argument("--until-found", action="store_true", help="stop at the first failure")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no seed after so long")
    parser.add_argument("--progress", type=int, default=100, help="tell the sums so far after every so many seeds")
    parser.add_argument("--verbose", action="store_true", help="show what is logged")
    return parser


def main() -> int:
    chosen = _parser().parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1" or "PYTHONHASHSEED" not in os.environ:
        # Nothing depends on how texts are hashed, a test sees to that; should it, a seed is repeated all the same.
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], _fixed_environment())
    if chosen.plants:
        return _each_plant(chosen)
    if chosen.jobs > 1 and chosen.seed is None:
        return _side_by_side(chosen)
    primitives.install()
    return _run(chosen)


def _fixed_environment() -> dict[str, str]:
    return {"PYTHONHASHSEED": "0"} | os.environ | {"OMP_NUM_THREADS": "1"}


def _run(chosen: argparse.Namespace) -> int:
    from tests.simulation import plants, runs

    from redkite.logs import configure

    if chosen.verbose or chosen.seed is not None:
        configure("DEBUG" if chosen.verbose else "WARNING")
    else:
        configure("CRITICAL")
    root = logging.getLogger("redkite")
    plain = logging.StreamHandler()  # which writes in this thread: one of its own would wait for the locks of a world
    plain.setFormatter(root.handlers[0].formatter)
    root.handlers = [plain]
    scenarios = chosen.scenario or list(runs.SCENARIOS)
    for scenario in scenarios:
        runs.run(scenario, 0)  # whatever is only done once is done
    if chosen.plant:
        plants.plant(chosen.plant)
    seeds = [chosen.seed] if chosen.seed is not None else range(chosen.first, chosen.first + chosen.seeds)
    began = time.monotonic()
    total = {"seeds": 0, "failed": 0, "operations": 0, "answered": 0, "kills": 0, "faults": 0, "seconds": 0.0}
    busy = time.process_time()
    for scenario in scenarios:
        for seed in seeds:
            if time.monotonic() - began > chosen.seconds:
                break
            text, outcome = _one(runs, scenario, seed, chosen.twice)
            total["seeds"] += 1
            if outcome is not None:
                for name in ("operations", "answered", "kills", "faults", "seconds"):
                    total[name] += getattr(outcome, name)
            if outcome is not None and (chosen.traces or chosen.seed is not None):
                print(scenario, seed, outcome, flush=True)
            if text:
                total["failed"] += 1
                again = f"python -m tests.simulation --scenario {scenario} --seed {seed}"
                found = f"{scenario}, seed {seed}, commit {runs.commit()}: {text}\nagain: {again}"
                print(found, file=sys.stderr, flush=True)  # at once, also where several processes run side by side
                if chosen.until_found:
                    break
            if chosen.progress and total["seeds"] % chosen.progress == 0:  # who ends this by hand knows what was done
                print(f"{scenario}, up to seed {seed}: {_sums(total, began, busy)}", file=sys.stderr, flush=True)
    print(_sums(total, began, busy), flush=True)
    return 1 if total["failed"] else 0


def _sums(total: dict[str, float], began: float, busy: float) -> str:
    """`began`, `busy`: what the clock, and that of the processor, said at first."""
    seconds = round(total["seconds"], 1)
    took, processor = round(time.monotonic() - began, 1), round(time.process_time() - busy, 1)
    return json.dumps(total | {"seconds": seconds, "took": took, "processor": processor})


def _one(runs, scenario: str, seed: int, twice: bool):  # type: ignore[no-untyped-def]
    try:
        outcome = runs.run(scenario, seed)
        if twice and (again := runs.run(scenario, seed)) != outcome:
            return f"two runs differ: {outcome} and {again}", outcome
    except Exception:  # noqa: BLE001  whatever it is, it is what the seed found
        return traceback.format_exc(), None
    return "\n".join(outcome.wrong[:3]), outcome


def _each_plant(chosen: argparse.Namespace) -> int:
    """The seeds once for each planted fault, until it is found; one that is not is a failure."""
    from tests.simulation.plants import PLANTS

    missed = 0
    for name, plant in PLANTS.items():
        command = [sys.executable, "-m", "tests.simulation", "--scenario", plant.scenario, "--plant", name]
        command += ["--first", str(chosen.first), "--seeds", str(chosen.seeds), "--until-found"]
        done = subprocess.run(command, env=_fixed_environment(), capture_output=True, text=True, check=False)
        sums = json.loads(done.stdout.splitlines()[-1])
        missed += not sums["failed"]
        found = "found" if sums["failed"] else "NOT FOUND"
        print(f"{name:28} {found} by {sums['seeds']} seeds of {plant.scenario}, {sums['processor']} s", flush=True)
    return 1 if missed else 0


def _side_by_side(chosen: argparse.Namespace) -> int:
    """A part of the seeds for each of several processes."""
    children = []
    for number in range(chosen.jobs):
        first = chosen.first + chosen.seeds * number // chosen.jobs
        count = chosen.first + chosen.seeds * (number + 1) // chosen.jobs - first
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(count), "--first", str(first)]
        command += ["--seconds", str(chosen.seconds)] if chosen.seconds < float("inf") else []
        command += ["--plant", chosen.plant] if chosen.plant else []
        command += ["--twice"] if chosen.twice else []
        command += ["--progress", str(chosen.progress)]
        command += ["--until-found"] if chosen.until_found else []
        for scenario in chosen.scenario or ():
            command += ["--scenario", scenario]
        children.append(subprocess.Popen(command, env=_fixed_environment(), stdout=subprocess.PIPE, text=True))
    total: dict[str, float] = {}
    for child in children:
        output, _ = child.communicate()
        *told, last = output.splitlines() or ["nothing was run"]
        print("\n".join(told), end="\n" if told else "")
        if not last.startswith("{"):
            print(last)
            return 1
        for name, value in json.loads(last).items():
            total[name] = max(total.get(name, 0), value) if name == "took" else total.get(name, 0) + value
    print(json.dumps(total), flush=True)
    return 1 if any(child.returncode for child in children) else 0


if __name__ == "__main__":
    sys.exit(main())
