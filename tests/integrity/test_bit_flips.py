"""A flipped bit gives the right answer or a named corruption. `python -m tests.integrity.flips` tries every one."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from tests.integrity import flips

BITS = 6
"""Tried in each file; and blocks of each size, one."""


@pytest.fixture(scope="module")
def scratch():
    """In memory where there is such a folder: nothing here is about what a disk keeps."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        yield Path(place)


@pytest.fixture(scope="module")
def databases(scratch):
    return flips.make(scratch)


@pytest.mark.parametrize("name", ["closed", "killed"])
def test_a_flipped_bit_is_detected_or_harmless(databases, scratch, name):
    root, right = databases[name]
    judge = flips.Judge(root, right, scratch)
    outcomes = [judge.judge(flip) for flip in _some(root, random.Random(name))]
    assert [o for o in outcomes if not o.is_good] == []
    kinds = Counter(o.kind for o in outcomes)
    assert min(kinds["right"], kinds["corruption"]) >= 10, "the flips were to hit what matters and what does not"


def test_a_database_that_nobody_touched_gives_the_right_answers(databases, scratch):
    for name, (root, right) in databases.items():
        untouched = flips.Flip("LOCK", 0)
        (root / "LOCK").write_bytes(b" ")
        assert flips.Judge(root, right[:1], scratch).judge(untouched).kind == "right", name


@pytest.mark.parametrize("name", ["closed", "killed"])
def test_the_last_block_of_each_log_is_missed(databases, scratch, name):
    """It holds the last record and the mark behind it, and nothing else in the page tells that they were there."""
    root, right = databases[name]
    judge = flips.Judge(root, right, scratch)
    for page in sorted(root.glob("log/*/*.log")):
        end = len(page.read_bytes().rstrip(b"\0"))
        for sector in flips.SECTORS:
            outcome = judge.judge(flips.Flip(str(page.relative_to(root)), (end - 1) // sector * sector, sector))
            assert outcome.kind == "corruption", outcome


@pytest.mark.parametrize("name", ["closed", "killed"])
def test_what_the_reader_of_a_file_says_of_a_flip_the_whole_database_says_too(databases, scratch, name):
    root, right = databases[name]
    place = scratch / f"glances-{name}"
    place.mkdir()
    judge = flips.Judge(root, right, place)
    rng = random.Random(f"again {name}")
    some = [flip for flip in _some(root, rng) if rng.random() < 0.25]
    for flip in some:
        glanced = judge.glance(flip)
        if glanced.text == flips.GLANCED:
            opened = judge.judge(flip)
            assert opened.is_good, opened
            assert glanced.kind == "corruption" or opened.kind == "right", (glanced, opened)


def _some(root: Path, rng: random.Random) -> list[flips.Flip]:
    chosen = []
    for name in flips.files_of(root):
        size = (root / name).stat().st_size
        chosen += [flips.Flip(name, rng.randrange(size)) for _ in range(BITS)]
        chosen += [flips.Flip(name, rng.randrange(size), sector) for sector in flips.SECTORS]
    return chosen
