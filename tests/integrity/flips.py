"""Flip bits of a database, one at a time, and see what it says: `python -m tests.integrity.flips`.

Each case changes one place in one file of an untouched copy. First the reader of that file is asked (`readers.py`):
when it says that the file is corrupt, or gives just what it gave before, that is the outcome. Else, and in each N-th
case whatever the reader says, the database is opened and asked everything that `sample.answers` asks. The outcome must
be the right answers or an error that names the corruption. Cases run in processes of their own, so that a crash or a
hang of the interpreter is an outcome like any other.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integrity import sample
from tests.integrity.readers import UNKNOWN, Readers

from redkite import Corruption, MilvusClient

EXHAUSTIVE_BYTES = 64 << 10
"""A file up to this size has every byte flipped, a larger one every byte of sampled blocks."""
BLOCK = 64
SECTORS = 512, 4096
"""What disks lose at a time: as many bytes are inverted together, too."""
BATCH = 500
GLANCED = "by the reader of the file"
SECONDS = 60
"""More than any case needs: beyond it the interpreter hangs and is ended."""


@dataclass(frozen=True)
class Flip:
    """`length` bytes of a file from `offset` on are changed: one bit when it is 1, all of them inverted otherwise."""

    file: str
    offset: int
    length: int = 1

    def apply(self, root: Path) -> None:
        (root / self.file).write_bytes(self.content(root))

    def content(self, root: Path) -> bytes:
        """What the file is changed to."""
        data = bytearray((root / self.file).read_bytes())
        if self.length == 1:
            data[self.offset] ^= 1 << (self.offset * 5 + 3) % 8
        else:
            for at in range(self.offset, min(self.offset + self.length, len(data))):
                data[at] ^= 0xFF
        return bytes(data)


@dataclass(frozen=True)
class Outcome:
    flip: Flip
    kind: str
    """`right`, `corruption`, or what is wrong."""
    text: str = ""

    @property
    def is_good(self) -> bool:
        return self.kind in ("right", "corruption")


def files_of(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.stat().st_size)


def flips_of(root: Path, rng: random.Random) -> Iterator[Flip]:
    """All the cases for one database: single bits, then whole blocks."""
    for name in files_of(root):
        size = (root / name).stat().st_size
        starts = range(0, size, BLOCK)
        if size > EXHAUSTIVE_BYTES:
            starts = sorted(rng.sample(starts, EXHAUSTIVE_BYTES // BLOCK))
        for start in starts:
            for offset in range(start, min(start + BLOCK, size)):
                yield Flip(name, offset)
        for sector in SECTORS:
            for start in range(0, size, sector):
                yield Flip(name, start, sector)


class Judge:
    """Knows the right answers. `killed`: the files are those of a process that was killed, so that the log does not
    say whether its last commit was acknowledged; a database without it is right as well."""

    def __init__(self, root: Path, right: Sequence[dict[str, Any]], scratch: Path) -> None:
        self._root = root
        self._right = right
        self._scratch = scratch
        self._readers: Readers | None = None

    def glance(self, flip: Flip) -> Outcome:
        """By the reader of the file, where that is enough."""
        if self._readers is None:
            self._readers = Readers(self._root, self._scratch / "readers")
        kind = self._readers.judge(flip.file, flip.content(self._root))
        return self.judge(flip) if kind == UNKNOWN else Outcome(flip, kind, GLANCED)

    def judge(self, flip: Flip) -> Outcome:
        place = self._scratch / "flipped.db"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._root, place)
        flip.apply(place)
        try:
            with sample.small_indexes():
                client = MilvusClient(str(place))
                try:
                    found = sample.answers(client)
                finally:
                    client.close()
        except Corruption as error:
            return Outcome(flip, "corruption", error.message)
        except BaseException as error:  # noqa: BLE001  whatever else comes is a finding
            return Outcome(flip, f"error {type(error).__name__}", str(error)[:300])
        return (
            Outcome(flip, "right")
            if found in self._right
            else Outcome(flip, "WRONG ANSWER", _difference(found, self._right[0]))
        )


def _difference(found: dict[str, Any], right: dict[str, Any]) -> str:
    for name in right:
        if found.get(name) != right[name]:
            if isinstance(right[name], dict) and isinstance(found.get(name), dict):
                return f"{name}: {_difference(found[name], right[name])}"
            return f"{name}: {str(found.get(name))[:150]} instead of {str(right[name])[:150]}"
    return "something more"


def make(folder: Path) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """Two databases, closed cleanly and killed, each with the answers that are right."""
    with sample.small_indexes():
        client = sample.build(str(folder / "live.db"))
        before = sample.answers(client)
        client.insert("words", [sample.last_word()])
        right = sample.answers(client)
        shutil.copytree(folder / "live.db", folder / "killed.db")
        client.close()
    (folder / "live.db").rename(folder / "closed.db")
    return {"closed": (folder / "closed.db", [right]), "killed": (folder / "killed.db", [right, before])}


# -- the whole sweep ----------------------------------------------------------------------------
_judge: Judge | None = None


def _start(root: Path, right: list[dict[str, Any]], scratch: Path) -> None:
    global _judge
    faulthandler.enable()
    mine = scratch / str(os.getpid())
    mine.mkdir()
    _judge = Judge(root, right, mine)


def _run(flips: list[Flip], whole: int) -> list[Outcome]:
    assert _judge is not None
    outcomes = []
    for flip in flips:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcomes.append(_judge.judge(flip) if _is_whole(flip, whole) else _judge.glance(flip))
        faulthandler.cancel_dump_traceback_later()
    return outcomes


def _is_whole(flip: Flip, every: int) -> bool:
    """Whether the whole database is to be opened: in about each `every`-th case, and always the same ones."""
    return random.Random(f"{flip.file} {flip.offset} {flip.length}").randrange(every) == 0


def sweep(
    root: Path, right: list[dict[str, Any]], flips: list[Flip], scratch: Path, workers: int, whole: int
) -> Iterator[Outcome]:
    """Outcomes of all flips. One that ends its process is found by trying the flips of its batch alone."""
    batches = [flips[at : at + BATCH] for at in range(0, len(flips), BATCH)]
    while batches:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, _start, (root, right, scratch)) as pool:
            futures = [(batch, pool.submit(_run, batch, whole)) for batch in batches]
            batches = []
            for batch, future in futures:
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    if len(batch) == 1:
                        yield Outcome(batch[0], "CRASH OR HANG")
                    else:
                        batches += [[flip] for flip in batch]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th case")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="begin with case K: a long sweep in pieces")
    parser.add_argument(
        "--whole",
        type=int,
        default=250,
        metavar="N",
        help="open the database in each N-th case at least",
    )
    parser.add_argument("--database", choices=("closed", "killed", "both"), default="both")
    chosen = parser.parse_args()
    shm = Path("/dev/shm")
    failures = 0
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as place:
        databases = make(Path(place))
        for name, (root, right) in databases.items():
            if chosen.database not in (name, "both"):
                continue
            flips = list(flips_of(root, random.Random(1)))[chosen.first :: chosen.every]
            scratch = Path(place) / f"scratch-{name}"
            scratch.mkdir()
            counts: Counter[str] = Counter()
            started, opened = time.monotonic(), 0
            for outcome in sweep(root, right, flips, scratch, chosen.workers, chosen.whole):
                counts[outcome.kind] += 1
                opened += outcome.text != GLANCED
                if not outcome.is_good:
                    failures += 1
                    print(f"{outcome.kind}: {outcome.flip}: {outcome.text}", flush=True)
            size = sum((root / f).stat().st_size for f in files_of(root))
            print(
                f"{name}: {len(flips):,} flips in {len(files_of(root))} files of {size:,} bytes, "
                f"{time.monotonic() - started:.0f} s: {dict(counts)}; {opened:,} times the database was opened",
                flush=True,
            )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
