"""Whatever is done to a page of the log, reading it gives a true prefix or says that it is damaged."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redkite.errors import Corruption, MilvusException, StorageError
from redkite.simulated import SimulatedEnv, simulated_env
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings

FOLDER = "/data/t"
PAYLOADS = [random.Random(number).randbytes(3 * number % 97) + b"#%d" % number for number in range(24)]


def written(clean: bool) -> dict[str, bytes]:
    """The files of a topic of several pages, in which commits of one and of many records alternate."""
    env = simulated_env(3)
    log = LocalLog(env, "/data", LogSettings(page_bytes=900))
    at = 0
    for count in (1, 1, 4, 1, 7, 2, 1, 1, 6):
        for future in [log.topic("t").append([payload]) for payload in PAYLOADS[at : at + count]]:
            future.result()
        at += count
    if clean:
        log.close()
    else:
        env.run_until_idle()
    return {name: env.files.read(f"{FOLDER}/{name}") for name in env.files.list(FOLDER)}


NOTE = "durable"
NOTED = {True: written(True), False: written(False)}
FILES = {clean: {name: data for name, data in files.items() if name != NOTE} for clean, files in NOTED.items()}


def changed(data: bytes, change: tuple[Any, ...]) -> bytes:
    kind, share, value = change
    at = min(int(share * len(data)), max(len(data) - 1, 0))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << value % 8)]) + data[at + 1 :] if data else data
    if kind == "cut":
        return data[:at]
    if kind == "zero":
        return data[:at] + bytes(min(value, len(data) - at)) + data[at + value :]
    if kind == "drop":
        return data[:at] + data[at + value :]
    if kind == "double":
        return data[: at + value] + data[at:]
    return data + random.Random(value).randbytes(value)


changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "zero", "drop", "double", "add"]), st.floats(0, 0.9999), st.integers(1, 600)
    ),
    min_size=1,
    max_size=4,
)


def put(files: dict[str, bytes]) -> SimulatedEnv:
    env = simulated_env(1)
    env.files.make_dirs(FOLDER)
    for name, data in files.items():
        env.files.write_new(f"{FOLDER}/{name}", [data])
    return env


@given(changes=changes, page=st.integers(0, 99), clean=st.booleans(), noted=st.booleans())
@example(changes=[("drop", 0.5, 40)], page=0, clean=True, noted=False)
@example(changes=[("cut", 0.5, 1)], page=-1, clean=True, noted=True)
def test_a_changed_page_gives_a_true_prefix_or_is_called_damaged(
    changes: Any, page: int, clean: bool, noted: bool
) -> None:
    """Nothing is missing without a word, but the end of the last page where nothing was noted of it."""
    files = dict(FILES[clean])
    name = sorted(files)[page % len(files)]
    may_be_shorter = name == max(files) and not noted
    for change in changes:
        files[name] = changed(files[name], change)
    if noted:
        files[NOTE] = NOTED[clean][NOTE]
    for read_only in (True, False):
        env = put(files)
        log = LocalLog(env, "/data", read_only=read_only)
        found: list[bytes] = []
        try:
            for record in log.topic("t").read():
                assert record.position == len(found)
                found.append(bytes(record.payload))
        except (Corruption, StorageError):
            continue
        finally:
            assert found == PAYLOADS[: len(found)]
        if not may_be_shorter:
            assert len(found) == len(PAYLOADS)


@given(data=st.binary(max_size=3_000), header=st.booleans())
def test_noise_is_never_taken_for_records(data: bytes, header: bool) -> None:
    name, first = min(FILES[True].items())
    env = put({name: (first[:32] if header else b"") + data})
    try:
        found = [bytes(record.payload) for record in LocalLog(env, "/data").topic("t").read()]
    except MilvusException:
        return
    assert found == []


@given(order=st.permutations(range(len(FILES[True]))))
def test_pages_under_each_others_names_are_called_damaged(order: list[int]) -> None:
    names = sorted(FILES[True])
    env = put({name: FILES[True][names[at]] for name, at in zip(names, order, strict=True)})
    if order == sorted(order):
        assert LocalLog(env, "/data").topic("t").end == len(PAYLOADS)
        return
    with pytest.raises(Corruption, match="begins with record"):
        list(LocalLog(env, "/data").topic("t").read())


# -- after a failed write -----------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["eio", "short", "enospc"])
def test_a_failed_write_fails_its_own_commit_only(kind: Any) -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    topic = log.topic("t")
    topic.append([b"before"]).result()
    env.run_until_idle()
    env.disk.fail_at(env.disk.operations + 1, kind)
    with pytest.raises(MilvusException):
        topic.append([b"x" * 1_000]).result()
    assert topic.append([b"after"]).result() == 1
    assert [bytes(record.payload) for record in topic.read()] == [b"before", b"after"]
    env.disk.restart(random.Random(1))
    env = simulated_env(2, env.disk)
    again = LocalLog(env, "/data").topic("t")
    assert [bytes(record.payload) for record in again.read()] == [b"before", b"after"]


def test_a_disk_that_fails_every_write_for_a_while_is_survived_without_reopening() -> None:
    env = simulated_env(1)
    topic = LocalLog(env, "/data").topic("t")
    kept: list[bytes] = []
    for number in range(60):
        env.run_until_idle()
        if number % 20 < 8:
            env.disk.fail_at(env.disk.operations + 1, "eio")
        try:
            topic.append([b"%d" % number]).result()
        except StorageError as error:
            assert "reopen" not in error.message
        else:
            kept.append(b"%d" % number)
    assert len(kept) == 37  # the first failure is met by the note beside the pages, which can be done without
    assert [bytes(record.payload) for record in topic.read()] == kept
    env.disk.restart()
    again = LocalLog(simulated_env(1, env.disk), "/data").topic("t")
    assert [bytes(record.payload) for record in again.read()] == kept


def test_room_set_aside_is_given_back_at_a_clean_close() -> None:
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    log.topic("t").append([b"x"]).result()
    path = f"{FOLDER}/{0:020d}.log"
    assert env.files.size(path) > 100_000
    log.close()
    assert env.files.size(path) < 200


def test_a_disk_that_sets_nothing_aside_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from redkite.simulated.files import SimulatedAppendFile

    monkeypatch.setattr(SimulatedAppendFile, "reserve", lambda file, size: False)
    env = simulated_env(1)
    topic = LocalLog(env, "/data").topic("t")
    for number in range(5):
        topic.append([b"%d" % number]).result()
    assert env.files.size(f"{FOLDER}/{0:020d}.log") < 1_000
    env.disk.restart()
    assert LocalLog(simulated_env(1, env.disk), "/data").topic("t").end == 5
