"""Feed readers of stored bytes with damaged ones, for long: `python -m tests.integrity.fuzz [TARGET …] --seconds 600`.

Inputs that reach new code are kept in the corpus and mutated further. What reaches new code is told by atheris
(libFuzzer) where it is installed, and by a trace of lines, much slower, where it is not. An input that fails is written
beside the corpus as `failure-<target>-<hash>` and ends the run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import random
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
MOST_BYTES = 1 << 16


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """A few random changes: bits, bytes, numbers, cut, repeated and foreign pieces."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(made) + 1)
        length = rng.choice((1, 2, 4, 8, 32))
        match rng.randrange(6):
            case 0 if at < len(made):
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                made[at : at + length] = rng.randbytes(length)
            case 2:
                made[at : at + length] = rng.choice((0, 1, 0x7F, 0xFF)).to_bytes(1, "little") * length
            case 3:
                del made[at : at + length]
            case 4:
                made[at:at] = made[at : at + length] * rng.choice((1, 3))
            case _:
                other = rng.choice(others)
                begin = rng.randrange(len(other) + 1)
                made[at : at + length] = other[begin : begin + length]
    return bytes(made[:MOST_BYTES])


def load(target: str) -> list[bytes]:
    from tests.integrity import targets

    kept = [path.read_bytes() for path in sorted((CORPUS / target).glob("*"))]
    return [*targets.seeds(target), *kept]


def keep(target: str, data: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


class Lines:
    """Which lines of Redkite a call reached."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, int]] = set()
        self.now: set[tuple[str, int]] = set()

    def __enter__(self) -> Lines:
        self.now = set()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if "/redkite/" in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.now.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def is_new(self) -> bool:
        fresh = self.now - self.seen
        self.seen |= fresh
        return bool(fresh)


def traced(target: str, seconds: float, seed: int) -> int:
    """Mutate and trace; returns how many inputs were tried."""
    from tests.integrity import targets

    rng, pool, lines, tried = random.Random(seed), load(target), Lines(), 0
    until = time.monotonic() + seconds
    for data in _inputs(pool, rng, until):
        tried += 1
        try:
            with lines:
                targets.run(target, data)
        except Exception:
            _failed(target, data)
            raise
        if tried > len(pool) and lines.is_new():
            pool.append(data)
            keep(target, data)
    print(f"{target}: {tried:,} inputs, {len(lines.seen):,} lines reached, corpus of {len(pool)}", flush=True)
    return tried


def _inputs(pool: list[bytes], rng: random.Random, until: float) -> Iterator[bytes]:
    yield from list(pool)
    while time.monotonic() < until:
        yield mutated(rng.choice(pool), rng, pool)


def _failed(target: str, data: bytes) -> None:
    name = CORPUS.parent / f"failure-{target}-{hashlib.sha256(data).hexdigest()[:16]}"
    name.write_bytes(data)
    traceback.print_exc()
    print(f"{target}: the input is in {name}", file=sys.stderr)


def guided(target: str, seconds: float, seed: int) -> int:
    """libFuzzer takes over its process, so each target has one. Returns its exit status."""
    code = (
        "import sys, atheris\n"
        "with atheris.instrument_imports(include=['redkite']):\n"
        "    from tests.integrity import targets\n"
        f"atheris.Setup(sys.argv, lambda data: targets.run({target!r}, data))\n"
        "atheris.Fuzz()\n"
    )
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    for data in load(target):
        keep(target, data)
    options = [f"-max_total_time={int(seconds)}", f"-seed={seed}", f"-max_len={MOST_BYTES}", "-print_final_stats=1"]
    prefix = f"-artifact_prefix={CORPUS.parent}/failure-{target}-"
    return subprocess.run([sys.executable, "-c", code, *options, prefix, str(folder)], check=False).returncode


def main() -> int:
    from tests.integrity.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"))
    parser.add_argument("--plain", action="store_true", help="do without atheris even where it is installed")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    with_atheris = not chosen.plain and importlib.util.find_spec("atheris") is not None
    status = 0
    for target in chosen.targets or TARGETS:
        if with_atheris:
            status |= guided(target, chosen.seconds, chosen.seed)
        else:
            traced(target, chosen.seconds, chosen.seed)
    return status


if __name__ == "__main__":
    sys.exit(main())
