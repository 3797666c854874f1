"""Measure Redkite beside its peers: the same data, the same calls, one after another on this machine.

    python benchmarks/run.py --workload w1
    python benchmarks/run.py --workload w1 --targets server sdk embedded faiss milvus=ENV milvus-lite=ENV
    python benchmarks/run.py --workload tiny --targets faiss embedded --phases search filters

README.md beside this file says how to install the peers and how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import measure
import report
from phases import ALWAYS, PHASES, Run
from targets import Target, make
from workloads import SPECS, Workload

OURS = ("server", "sdk", "embedded", "faiss")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=SPECS, default="w1", help="w1 100k x 128 L2, w2 50k x 768 COSINE, tiny")
    parser.add_argument("--targets", nargs="+", default=OURS, metavar="TARGET", help=f"default: {' '.join(OURS)}")
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES), metavar="PHASE",
                        help=f"some of: {' '.join(PHASES)}")  # fmt: skip
    parser.add_argument("--seconds", type=float, help="length of each repeated measurement (3; tiny: 0.3)")
    parser.add_argument("--recall", type=float, default=0.95, help="recall@10 that ef is chosen for")
    parser.add_argument("--singles", type=int, help="single-row inserts and searches (1000; tiny: 50)")
    parser.add_argument("--folder", type=Path, help="where databases are made (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="also write every number as JSON")
    return parser.parse_args()


def measure_one(target: Target, workload: Workload, chosen: argparse.Namespace) -> dict[str, dict[str, Any]]:
    tiny = workload.name == "tiny"
    seconds = chosen.seconds or (0.3 if tiny else 3.0)
    singles = chosen.singles or (50 if tiny else 1_000)
    run = Run(target, workload, seconds, chosen.recall, singles)
    target.workload = workload
    try:
        for name, phase in PHASES.items():
            if name in ALWAYS or name in chosen.phases:
                run.results[name] = attempt(target.label, name, phase, run)
                if "error" in run.results[name] and name in ALWAYS:
                    break
    finally:
        target.close()
        if target.server is not None:
            stopped = target.server.stop()
            run.results["stop"] = {"stop_s": round(stopped, 3)}
    return run.results


def attempt(label: str, name: str, phase: Any, run: Run) -> dict[str, Any]:
    """One phase; a failure is part of the result and does not end the others."""
    started = time.perf_counter()
    try:
        numbers: dict[str, Any] = phase(run)
    except Exception as error:  # noqa: BLE001  the failure of a target is what this program reports
        traceback.print_exc()
        return {"error": repr(error)[:300]}
    shown = ", ".join(f"{key} {value}" for key, value in numbers.items())
    if numbers:
        print(f"[{label}] {name} ({time.perf_counter() - started:.1f} s): {shown}", flush=True)
    return numbers


def main() -> None:
    chosen = arguments()
    workload = Workload(chosen.workload)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="redkite-bench-") as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in chosen.targets:
            target = make(name, folder)
            results[target.label] = measure_one(target, workload, chosen)
    spec, machine = workload.spec, measure.machine()
    print(f"\n{chosen.workload}: {spec.rows:,} x {spec.dim} {spec.metric}, HNSW M=16 efConstruction=200")
    print(f"{machine['cores']} cores, {machine['cpu']}, load {machine['load']} at the end\n")
    print(report.table(results))
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        everything = {"workload": chosen.workload, "machine": machine, "results": results}
        chosen.out.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
