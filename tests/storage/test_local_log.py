"""The local log: what it promises while nothing goes wrong, and what it says of damaged files."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.env import Env
from redkite.errors import Corruption, InvalidParameter, ParameterTooLarge, StorageError
from redkite.simulated import simulated_env
from redkite.storage import local_topic, log_format, log_room
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings, Topic
from redkite.storage.log_writer import PageWriter

FIRST = "/data/t/00000000000000000000.log"


def contents(topic: Topic, position: int = 0) -> list[bytes]:
    return [bytes(record.payload) for record in topic.read(position)]


def fill(topic: Topic, payloads: list[bytes]) -> None:
    for payload in payloads:
        topic.append([payload]).result()


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def test_a_record_made_of_several_buffers_is_read_back_as_one(root):
    log = LocalLog(Env.real(), root)
    topic = log.topic("a")
    future = topic.append([b"one ", memoryview(b"two "), bytearray(b"three"), b""])
    assert future.result() == 0
    assert contents(topic) == [b"one two three"]
    log.close()


def test_a_record_of_many_buffers_and_many_megabytes_survives_a_restart(root):
    pieces = [random.Random(i).randbytes(7_001) for i in range(1_500)]
    log = LocalLog(Env.real(), root)
    log.topic("a").append(pieces).result()
    log.topic("a").append([b"small"]).result()
    log.close()
    log = LocalLog(Env.real(), root)
    assert contents(log.topic("a")) == [b"".join(pieces), b"small"]
    log.close()


def test_nothing_is_created_until_the_first_append(root):
    log = LocalLog(Env.real(), root)
    threads = threading.active_count()
    topic = log.topic("idle")
    assert (topic.start, topic.end, contents(topic)) == (0, 0, [])
    assert log.topics() == []
    assert threading.active_count() == threads
    log.close()


def test_on_durable_is_called_in_log_order_before_the_future_is_done(root):
    log = LocalLog(Env.real(), root)
    topic = log.topic("a")
    applied: list[int] = []
    done_too_early = []
    futures = []
    for number in range(500):

        def apply(position: int, number: int = number) -> None:
            applied.append(position)
            done_too_early.extend([number] if number < len(futures) and futures[number].done() else [])

        futures.append(topic.append([b"x" * number], apply))
    assert [future.result() for future in futures] == list(range(500))
    assert applied == list(range(500))
    assert done_too_early == []
    log.close()


def test_after_an_error_while_applying_nothing_more_is_applied_or_written_until_the_topic_is_reopened():
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    topic = log.topic("t")
    applied: list[int] = []

    def fail(position: int) -> None:
        raise ValueError(f"cannot apply {position}")

    first = topic.append([b"1"], applied.append)
    second, third = topic.append([b"2"], fail), topic.append([b"3"], applied.append)
    assert first.result() == 0
    for future in (second, third):
        with pytest.raises(ValueError, match="cannot apply 1"):
            future.result()
    assert applied == [0]
    with pytest.raises(StorageError, match="could not be applied"):
        topic.append([b"4"])
    topic.close()
    assert contents(log.topic("t")) == [b"1", b"2", b"3"]


def test_appends_that_wait_together_share_one_sync():
    env = simulated_env(1)
    topic = LocalLog(env, "/data").topic("t")
    topic.append([b"first"]).result()
    before = env.disk.syncs
    for future in [topic.append([b"x" * 100]) for _ in range(1000)]:
        future.result()
    assert env.disk.syncs == before + 1
    topic.append([b"alone"]).result()
    assert env.disk.syncs == before + 2


def test_a_commit_does_not_grow_without_bound(monkeypatch):
    monkeypatch.setattr(local_topic, "COMMIT_BYTES", 1_000)
    env = simulated_env(1)
    topic = LocalLog(env, "/data").topic("t")
    topic.append([b""]).result()
    before = env.disk.syncs
    for future in [topic.append([b"x" * 100]) for _ in range(95)]:
        future.result()
    assert env.disk.syncs == before + 10


def test_reading_begins_at_a_position_in_any_file():
    topic = LocalLog(simulated_env(1), "/data", LogSettings(page_bytes=500)).topic("t")
    payloads = [b"%d" % number * 40 for number in range(40)]
    fill(topic, payloads)
    for position in range(42):
        assert contents(topic, position) == payloads[position:]
        assert [record.position for record in topic.read(position)] == list(range(position, 40))


def test_truncation_deletes_whole_files_and_is_remembered():
    env = simulated_env(1)
    log = LocalLog(env, "/data", LogSettings(page_bytes=500))
    fill(log.topic("t"), [b"%d" % number * 40 for number in range(40)])
    files = len(env.files.list("/data/t"))
    log.topic("t").truncate(30)
    start = log.topic("t").start
    assert 20 < start <= 30
    assert len(env.files.list("/data/t")) < files
    log.close()
    topic = LocalLog(env, "/data").topic("t")
    assert (topic.start, topic.end) == (start, 40)
    assert len(contents(topic)) == 40 - start


def test_truncation_to_the_end_keeps_the_positions():
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    fill(log.topic("t"), [b"a", b"b", b"c"])
    log.topic("t").truncate(3)
    assert (log.topic("t").start, log.topic("t").end) == (3, 3)
    assert env.files.list("/data/t") == [f"{3:020d}.log", "durable"]
    log.close()
    topic = LocalLog(env, "/data").topic("t")
    assert (topic.start, topic.end) == (3, 3)
    assert topic.append([b"d"]).result() == 3
    with pytest.raises(InvalidParameter, match="ends at 4"):
        topic.truncate(5)


def test_a_dropped_topic_is_forgotten_and_its_name_may_be_used_again():
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    fill(log.topic("a"), [b"old"])
    fill(log.topic("b"), [b"other"])
    log.drop("a")
    log.drop("never there")
    assert log.topics() == ["b"]
    fill(log.topic("a"), [b"new"])
    env.disk.restart(random.Random(1))
    log = LocalLog(simulated_env(1, env.disk), "/data")
    assert log.topics() == ["a", "b"]
    assert contents(log.topic("a")) == [b"new"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\0b", "x" * 201])
def test_a_name_that_is_no_file_name_is_refused(name):
    log = LocalLog(simulated_env(1), "/data")
    with pytest.raises(InvalidParameter):
        log.topic(name)
    with pytest.raises(InvalidParameter):
        log.drop(name)


def test_a_closed_log_takes_nothing(root):
    log = LocalLog(Env.real(), root)
    topic = log.topic("a")
    future = topic.append([b"last"])
    log.close()
    assert future.result(0) == 0
    with pytest.raises(StorageError, match="closed"):
        topic.append([b"too late"])
    with pytest.raises(StorageError, match="closed"):
        log.topic("a")


def test_a_record_over_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(log_room, "MAX_RECORD_BYTES", 100)
    topic = LocalLog(simulated_env(1), "/data").topic("t")
    with pytest.raises(ParameterTooLarge, match="101"):
        topic.append([b"x" * 101])


def test_many_threads_append_to_many_topics(root):
    log = LocalLog(Env.real(), root, LogSettings(page_bytes=20_000))

    def work(number: int) -> None:
        topic = log.topic(f"topic{number % 3}")
        for future in [topic.append([b"%d-%d" % (number, i)]) for i in range(200)]:
            future.result()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    log = LocalLog(Env.real(), root)
    found = [contents(log.topic(name)) for name in log.topics()]
    assert [len(payloads) for payloads in found] == [400, 400, 400]
    for number in range(6):
        mine = [payload for payload in found[number % 3] if payload.startswith(b"%d-" % number)]
        assert mine == [b"%d-%d" % (number, i) for i in range(200)]
    log.close()


def test_readers_see_whole_records_in_order_while_others_append(root):
    log = LocalLog(Env.real(), root, LogSettings(page_bytes=700))
    topic = log.topic("t")
    done = threading.Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            while not done.is_set():
                least = topic.end
                found = list(topic.read())
                assert [record.position for record in found] == list(range(len(found)))
                assert len(found) >= least
                assert all(bytes(record.payload) == b"%d" % record.position * 9 for record in found)
        except BaseException as error:  # noqa: BLE001  the test shows it
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(150):
        topic.append([b"%d" % number * 9]).result()
    done.set()
    for reader in readers:
        reader.join()
    log.close()
    assert errors == []


# -- against a model ----------------------------------------------------------------------------
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.binary(max_size=300), min_size=1, max_size=5)),
        st.tuples(st.just("truncate"), st.floats(0, 1)),
        st.tuples(st.sampled_from(["reopen", "crash"]), st.none()),
    ),
    max_size=25,
)


@given(steps=steps, seed=st.integers(0, 1000))
def test_any_sequence_of_operations_leaves_what_a_list_would_hold(steps, seed):
    env = simulated_env(seed)
    log = LocalLog(env, "/data", LogSettings(page_bytes=400))
    model: list[bytes] = []
    forgotten = 0
    for action, value in steps:
        if action == "append":
            futures = [log.topic("t").append([payload]) for payload in value]
            assert [f.result() for f in futures] == list(range(len(model), len(model) + len(value)))
            model += value
        elif action == "truncate":
            position = int(value * len(model))
            log.topic("t").truncate(position)
            forgotten = max(forgotten, position)
        else:
            if action == "reopen":
                log.close()
            else:
                env.disk.restart()
            env = simulated_env(seed, env.disk)
            log = LocalLog(env, "/data", LogSettings(page_bytes=400))
        topic = log.topic("t")
        assert topic.end == len(model)
        assert topic.start <= forgotten
        assert contents(topic) == model[topic.start :]


# -- damage -------------------------------------------------------------------------------------
@pytest.mark.parametrize("ending", ["closed", "killed", "killed at once"])
def test_no_flipped_bit_is_ever_read_as_data(ending, monkeypatch):
    if ending == "killed at once":  # before the page says that the last commit is durable: only the note does
        monkeypatch.setattr(PageWriter, "mark", lambda writer: None)
    env = simulated_env(1)
    log = LocalLog(env, "/data", LogSettings(page_bytes=600))
    payloads = [random.Random(i).randbytes(60 + i) for i in range(16)]
    for start in range(0, 16, 2):
        for future in [log.topic("t").append([payload]) for payload in payloads[start : start + 2]]:
            future.result()
    if ending == "closed":
        log.close()
    originals = {name: env.files.read(f"/data/t/{name}") for name in env.files.list("/data/t")}
    outcomes = {"whole": 0, "corruption": 0}
    for name, original in originals.items():
        for at in range(len(original)):
            copy = simulated_env(at)
            copy.files.make_dirs("/data/t")
            for other, data in originals.items():
                damaged = bytearray(data)
                damaged[at if other == name else 0] ^= (1 << (at % 8)) if other == name else 0
                copy.files.write_new(f"/data/t/{other}", [damaged])
            try:
                found = contents(LocalLog(copy, "/data").topic("t"))
            except (Corruption, StorageError):
                outcomes["corruption"] += 1
            else:
                assert found == payloads
                outcomes["whole"] += 1
    assert outcomes["corruption"] > 1_000
    assert outcomes["whole"] >= len(originals["durable"]), "a note that does not hold says nothing"


def test_a_torn_end_of_any_length_is_left_out_and_written_on():
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    fill(log.topic("t"), [b"one" * 20, b"two" * 20])
    whole = env.files.size(FIRST)
    fill(log.topic("t"), [b"three" * 20])
    data = env.files.read(FIRST)
    for size in range(whole, len(data)):
        copy = simulated_env(2)
        copy.files.make_dirs("/data/t")
        copy.files.write_new(FIRST, [data[:size]])
        topic = LocalLog(copy, "/data").topic("t")
        assert contents(topic) == [b"one" * 20, b"two" * 20]
        fill(topic, [b"again"])
        assert contents(LocalLog(copy, "/data").topic("t")) == [b"one" * 20, b"two" * 20, b"again"]


def test_damage_before_a_durable_record_names_the_file_and_the_byte():
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    fill(log.topic("t"), [b"one", b"two", b"three"])
    data = bytearray(env.files.read(FIRST))
    data[32 + 32 + 8 + 5] ^= 1
    env.files.write_new(FIRST, [data])
    with pytest.raises(Corruption, match=r"00000000000000000000\.log' is damaged at byte 72: record 1 .*durable"):
        _ = LocalLog(env, "/data").topic("t").end


def test_a_record_of_another_file_is_not_taken_for_a_record():
    env = simulated_env(1)
    log = LocalLog(env, "/data")
    for name in ("t", "u"):
        fill(log.topic(name), [b"zero " + name.encode(), b"first " + name.encode()])
    log.close()
    mine, other = env.files.read(FIRST), env.files.read(FIRST.replace("/t/", "/u/"))
    assert len(mine) == len(other)
    env.files.write_new(FIRST, [mine[:72] + other[72:]])
    with pytest.raises(Corruption, match="record 1 does not hold"):
        contents(LocalLog(env, "/data").topic("t"))
    env.files.remove("/data/t/durable")
    assert contents(LocalLog(env, "/data").topic("t")) == [b"zero t"]


def test_a_missing_file_in_the_middle_is_corruption():
    env = simulated_env(1)
    log = LocalLog(env, "/data", LogSettings(page_bytes=200))
    fill(log.topic("t"), [b"x" * 100] * 10)
    names = env.files.list("/data/t")
    env.files.remove(f"/data/t/{names[2]}")
    with pytest.raises(Corruption, match=r"record \d does not hold"):
        contents(LocalLog(env, "/data").topic("t"))


def test_a_file_that_is_not_of_the_log_is_refused():
    env = simulated_env(1)
    fill(LocalLog(env, "/data").topic("t"), [b"x"])
    env.files.write_new("/data/t/notes.txt", [b"hello"])
    with pytest.raises(Corruption, match=r"notes\.txt"):
        _ = LocalLog(env, "/data").topic("t").end


def test_a_file_of_a_newer_format_is_refused_as_such(monkeypatch):
    env = simulated_env(1)
    monkeypatch.setattr(log_format, "FORMAT", 9)
    fill(LocalLog(env, "/data").topic("t"), [b"x"])
    monkeypatch.undo()
    with pytest.raises(StorageError, match="format 9, written by a newer Redkite"):
        _ = LocalLog(env, "/data").topic("t").end
