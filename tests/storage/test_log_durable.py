"""What is noted of a topic outside of its pages: how far it is durable."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from tests.storage.log_model import ROOT, Ledger, Trace, check

from redkite.env import Env
from redkite.errors import Corruption, StorageError
from redkite.realenv import RealFiles
from redkite.simulated import SimulatedCrash, SimulatedDisk, SimulatedEnv, simulated_env
from redkite.simulated.files import SimulatedFiles
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings
from redkite.storage.log_durable import DurableNote, encode_note, read_note

FOLDER, NOTE = f"{ROOT}/t", f"{ROOT}/t/durable"
PAYLOADS = [random.Random(number).randbytes(40 * number % 331) + b"#%d" % number for number in range(9)]


def written(end: str, page_bytes: int = 1 << 20) -> SimulatedEnv:
    """A topic whose process was closed, or was killed: when it had nothing to do, or just after it answered."""
    env = simulated_env(1)
    log = LocalLog(env, ROOT, LogSettings(page_bytes=page_bytes))
    for payload in PAYLOADS:
        log.topic("t").append([payload]).result()
    if end == "closed":
        log.close()
    elif end == "idle":
        env.run_until_idle()
    return env


def found_in(env: SimulatedEnv, *, read_only: bool = False) -> list[bytes]:
    return [bytes(record.payload) for record in LocalLog(env, ROOT, read_only=read_only).topic("t").read()]


def last_page(env: SimulatedEnv) -> str:
    return max(f"{FOLDER}/{name}" for name in env.files.list(FOLDER) if name.endswith(".log"))


def inverted(data: bytes, start: int, length: int) -> bytes:
    return data[:start] + bytes(byte ^ 0xFF for byte in data[start : start + length]) + data[start + length :]


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
@pytest.mark.parametrize("end", ["closed", "idle", "answered"])
@pytest.mark.parametrize("block", [64, 512, 4096])
def test_whatever_block_of_a_page_is_lost_nothing_acknowledged_is_gone_without_a_word(block, end, read_only):
    damaged = 0
    env = written(end)
    page = last_page(env)
    whole = env.files.read(page)
    records = whole.rstrip(b"\0")  # behind them is room set aside
    for start in range(0, len(records), block):
        for content in (inverted(whole, start, block), whole[:start], whole[:start] + bytes(len(whole) - start)):
            env.files.write_new(page, [content])
            with contextlib.suppress(Corruption):
                assert found_in(env, read_only=read_only) == PAYLOADS
                continue
            damaged += 1
    assert damaged >= 3


def test_a_damaged_note_says_nothing():
    env = written("answered")
    whole = env.files.read(NOTE)
    assert read_note(env.files, FOLDER) == len(PAYLOADS)
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        env.files.write_new(NOTE, [flipped])
        assert read_note(env.files, FOLDER) == 0
    for size in range(len(whole)):
        env.files.write_new(NOTE, [whole[:size]])
        assert read_note(env.files, FOLDER) == 0
    assert found_in(env) == PAYLOADS


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_a_note_that_the_disk_does_not_give_keeps_nobody_from_the_records(
    read_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = written("answered")
    read = SimulatedFiles.read

    def broken(self: SimulatedFiles, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if path == NOTE:
            raise StorageError(f"cannot read '{path}': Input/output error")
        return read(self, path, offset, length)

    monkeypatch.setattr(SimulatedFiles, "read", broken)
    assert read_note(env.files, FOLDER) == 0
    assert found_in(env, read_only=read_only)[: len(PAYLOADS) - 1] == PAYLOADS[:-1]


def test_a_note_of_a_newer_format_is_refused_and_left_as_it_is(monkeypatch):
    env = written("closed")
    monkeypatch.setattr("redkite.storage.log_durable.FORMAT", 2)
    env.files.write_new(NOTE, [encode_note(3)])
    monkeypatch.undo()
    kept = env.files.read(NOTE)
    for read_only in (False, True):
        with pytest.raises(StorageError, match="written by a newer Redkite"):
            found_in(env, read_only=read_only)
    assert env.files.read(NOTE) == kept


@pytest.mark.parametrize("end", ["closed", "idle", "answered"])
def test_a_topic_of_which_nothing_was_noted_is_noted_when_it_is_opened(end):
    env = written(end)
    env.files.remove(NOTE)
    assert found_in(env) == PAYLOADS
    assert read_note(env.files, FOLDER) == len(PAYLOADS)


def test_every_commit_is_noted_before_anybody_hears_of_it():
    env = simulated_env(1)
    topic = LocalLog(env, ROOT, LogSettings(page_bytes=300)).topic("t")
    heard: list[tuple[int, int]] = []
    for _ in range(12):
        topic.append([b"x" * 40], lambda position: heard.append((position, read_note(env.files, FOLDER)))).result()
    assert heard == [(position, position + 1) for position in range(12)]


def test_a_topic_that_is_dropped_takes_its_note_with_it():
    env = simulated_env(1)
    log = LocalLog(env, ROOT)
    for payload in PAYLOADS:
        log.topic("t").append([payload]).result()
    log.drop("t")
    assert log.topic("t").append([b"new"]).result() == 0
    log.close()
    assert found_in(env) == [b"new"]


@pytest.mark.parametrize("read_only", [False, True], ids=["writer", "reader"])
def test_pages_that_are_gone_are_missed(read_only):
    env = written("idle", page_bytes=300)
    pages = [name for name in env.files.list(FOLDER) if name.endswith(".log")]
    assert len(pages) > 2
    env.files.remove(f"{FOLDER}/{pages[-1]}")
    with pytest.raises(Corruption):
        found_in(env, read_only=read_only)
    for name in pages[:-1]:
        env.files.remove(f"{FOLDER}/{name}")
    with pytest.raises(Corruption, match="has no page"):
        found_in(env, read_only=read_only)


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_a_note_that_cannot_be_written_fails_nothing_and_is_written_the_next_time(kind):
    env = simulated_env(1)
    topic = LocalLog(env, ROOT).topic("t")
    topic.append([b"one"]).result()
    env.run_until_idle()
    env.disk.fail_at(env.disk.operations + 3, kind)  # behind a write and a sync
    assert topic.append([b"two"]).result() == 1
    assert read_note(env.files, FOLDER) == 1
    assert topic.append([b"three"]).result() == 2
    assert read_note(env.files, FOLDER) == 3


def test_a_note_never_speaks_of_what_a_crash_may_take():
    """Cut at every operation, then again and again: a topic that was not damaged is never called so."""
    disk = SimulatedDisk(3)
    Trace(simulated_env(3, disk), Ledger()).run()
    noted = 0
    for operation in range(1, disk.operations + 1):
        for loss in range(12):
            again = SimulatedDisk(3)
            again.crash_at(operation)
            ledger = Ledger()
            with contextlib.suppress(SimulatedCrash):
                Trace(simulated_env(3, again), ledger).run()
            again.restart(random.Random(loss))
            env = simulated_env(loss, again)
            end = read_note(env.files, FOLDER)
            noted += end > 0
            assert end <= max(ledger.acked, default=-1) + 1 + 4, "not beyond a commit that was under way"
            check(env, ledger)
    assert noted > 100


def test_the_note_of_a_process_that_was_killed_outlives_it(tmp_path: Path):
    files = RealFiles()
    note = DurableNote(files, str(tmp_path))
    for end in (1, 2, 3_000_000_000):
        note.say(end)
        assert read_note(files, str(tmp_path)) == end
    assert (tmp_path / "durable").stat().st_size == 24


def test_a_note_costs_no_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []

    def counted(name: str) -> Any:
        call = getattr(RealFiles, name)
        return lambda self, *arguments: [calls.append(name), call(self, *arguments)][1]

    topic = LocalLog(Env.real(), str(tmp_path / "log")).topic("t")
    topic.append([b"first"]).result()
    for name in ("overwrite", "write_new", "sync_dir", "append", "rename"):
        monkeypatch.setattr(RealFiles, name, counted(name))
    for _ in range(5):
        topic.append([b"more"]).result()
    assert calls == ["overwrite"] * 5
