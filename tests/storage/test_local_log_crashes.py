"""The log under power cuts and I/O errors at every single operation."""

from __future__ import annotations

import contextlib
import random

import pytest
from tests.storage.log_model import ROOT, Ledger, Trace, check, open_log

from redkite.errors import Corruption, DiskLimitExceeded, MilvusException, StorageError
from redkite.simulated import SimulatedCrash, SimulatedDisk, simulated_env
from redkite.storage.log import Topic


def payloads_of(topic: Topic) -> list[bytes]:
    return [bytes(record.payload) for record in topic.read()]


def operations_of_a_quiet_run(seed: int) -> int:
    disk = SimulatedDisk(seed)
    ledger = Ledger()
    Trace(simulated_env(seed, disk), ledger).run()
    assert not ledger.errors
    assert len(ledger.acked) == 15
    return disk.operations


def test_nothing_acknowledged_is_lost_whichever_operation_the_power_is_cut_at():
    crashes = 0
    for operation in range(1, operations_of_a_quiet_run(1) + 1):
        for loss in range(20):
            disk = SimulatedDisk(1)
            disk.crash_at(operation)
            ledger = Ledger()
            with pytest.raises(SimulatedCrash):
                Trace(simulated_env(1, disk), ledger).run()
            disk.restart(random.Random(loss))
            end = check(simulated_env(2, disk), ledger)
            disk.restart(random.Random(loss))
            ledger.tried.add(b"after")
            assert check(simulated_env(3, disk), ledger) == end + 1
            crashes += 1
    assert crashes > 300


def test_a_crash_during_recovery_loses_nothing_either():
    for first in range(1, operations_of_a_quiet_run(1) + 1, 3):
        for second in range(1, 12):
            disk = SimulatedDisk(1)
            disk.crash_at(first)
            ledger = Ledger()
            with pytest.raises(SimulatedCrash):
                Trace(simulated_env(1, disk), ledger).run()
            disk.restart(random.Random(first))
            disk.crash_at(disk.operations + second)
            ledger.tried.add(b"after")
            with contextlib.suppress(SimulatedCrash):
                check(simulated_env(2, disk), ledger)
            disk.restart(random.Random(second))
            check(simulated_env(3, disk), ledger)


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_an_io_error_at_any_operation_is_a_clean_error_and_loses_nothing_acknowledged(kind):
    failures = 0
    for operation in range(1, operations_of_a_quiet_run(1) + 1):
        disk = SimulatedDisk(1)
        disk.fail_at(operation, kind)
        ledger = Ledger()
        Trace(simulated_env(1, disk), ledger).run()
        failures += bool(ledger.errors)
        assert all(isinstance(error, (StorageError, DiskLimitExceeded)) for error in ledger.errors)
        if operation % 2:
            disk.restart(random.Random(operation))
        check(simulated_env(2, disk), ledger)
    assert failures > 20


@pytest.mark.parametrize("seed", range(60))
def test_random_faults_followed_by_random_crashes_lose_nothing_acknowledged(seed):
    rng = random.Random(seed)
    disk = SimulatedDisk(seed)
    ledger = Ledger()
    for life in range(6):
        base = disk.operations
        disk.fail_at(base + rng.randint(1, 60), rng.choice(("eio", "enospc", "short")))
        disk.crash_at(base + rng.randint(1, 80))
        trace = Trace(simulated_env(seed + life, disk), ledger)
        trace.number = 100 * life
        with contextlib.suppress(SimulatedCrash):
            trace.run()
        disk.restart(rng)
        ledger.tried.add(b"after")
        env = simulated_env(seed + life, disk)
        end = check(env, ledger)
        ledger.acked[end - 1] = b"after"


def test_a_full_disk_fails_one_commit_and_the_next_one_works():
    env = simulated_env(1)
    trace = Trace(env, Ledger())
    trace.open()
    topic = trace.log.topic("t")
    topic.append([b"before"]).result()
    env.disk.fail_at(env.disk.operations + 1, "short")
    with pytest.raises(DiskLimitExceeded):
        topic.append([b"x" * 1000]).result()
    assert topic.append([b"room again"]).result() == 1
    assert [bytes(record.payload) for record in topic.read()] == [b"before", b"room again"]


def failing_log(kind: str, offset: int) -> tuple[Trace, Topic]:
    """A log with a record in it, in which the operation so many ahead fails."""
    trace = Trace(simulated_env(1), Ledger())
    trace.open()
    topic = trace.log.topic("t")
    topic.append([b"one"]).result()
    trace.env.run_until_idle()
    trace.env.disk.fail_at(trace.env.disk.operations + offset, kind)
    return trace, topic


@pytest.mark.parametrize("loss", range(12))
def test_after_a_failed_sync_the_next_append_goes_on_and_what_failed_never_comes_back(loss):
    trace, topic = failing_log("eio", 2)
    with pytest.raises(StorageError, match="Input/output"):
        topic.append([b"two"]).result()
    assert topic.append([b"three"]).result() == 1
    assert payloads_of(topic) == [b"one", b"three"]
    disk = trace.env.disk
    disk.restart(random.Random(loss))
    again = open_log(simulated_env(2, disk)).topic("t")
    assert payloads_of(again) == [b"one", b"three"]


def test_what_lay_in_one_block_with_the_lost_bytes_is_written_anew():
    trace, topic = failing_log("eio", 2)
    with pytest.raises(StorageError):
        topic.append([b"two"]).result()
    files = trace.env.files
    before, _ = files.list(f"{ROOT}/t")
    data = files.read(f"{ROOT}/t/{before}")
    topic.append([b"three"]).result()
    after, note = files.list(f"{ROOT}/t")
    assert note == "durable"
    assert files.read(f"{ROOT}/t/{after}")[:32] != data[:32]
    assert payloads_of(open_log(simulated_env(2, trace.env.disk)).topic("t")) == [b"one", b"three"]


def test_records_that_do_not_hold_after_a_failed_sync_are_not_built_upon():
    trace, topic = failing_log("eio", 2)
    with pytest.raises(StorageError):
        topic.append([b"two"]).result()
    path = f"{ROOT}/t/{0:020d}.log"
    files = trace.env.files
    good = files.read(path)
    files.write_new(path, [good.replace(b"one", b"eno")])
    for _ in range(2):
        with pytest.raises(Corruption, match="record 0 does not hold"):
            topic.append([b"three"]).result()
    files.write_new(path, [good])
    assert topic.append([b"four"]).result() == 1
    assert payloads_of(topic) == [b"one", b"four"]


def test_a_disk_that_stays_broken_fails_every_append_and_none_once_it_works():
    trace, topic = failing_log("eio", 2)
    with pytest.raises(StorageError):
        topic.append([b"two"]).result()
    disk = trace.env.disk
    for operation in range(1, 40):
        disk.fail_at(disk.operations + operation, "eio")
    failures = 0
    for _ in range(40):
        try:
            topic.append([b"three"]).result()
        except StorageError:
            failures += 1
        else:
            break
    assert failures >= 5
    assert payloads_of(topic) == [b"one", b"three"]


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
@pytest.mark.parametrize("seed", range(4))
def test_a_topic_that_is_never_reopened_loses_nothing_acknowledged_whatever_fails(kind, seed):
    first = operations_of_a_quiet_run(seed)
    for operation in range(1, first + 1):
        disk = SimulatedDisk(seed)
        disk.fail_at(operation, kind)
        disk.fail_at(operation + 4 + seed, "eio")
        ledger = Ledger()
        trace = Trace(simulated_env(seed, disk), ledger, heals=True)
        trace.run()
        disk.restart(random.Random(operation))
        check(simulated_env(2, disk), ledger)


def test_the_power_may_go_at_any_moment_of_the_mending():
    cuts = 0
    for cut in range(1, 24):
        for loss in range(8):
            trace, topic = failing_log("eio", 2)
            with pytest.raises(StorageError):
                topic.append([b"two"]).result()
            disk = trace.env.disk
            disk.crash_at(disk.operations + cut)
            acknowledged = []
            with contextlib.suppress(SimulatedCrash):
                for payload in (b"three", b"four"):
                    topic.append([payload]).result()
                    acknowledged.append(payload)
            cuts += disk.crashed
            disk.restart(random.Random(loss))
            found = payloads_of(open_log(simulated_env(2, disk)).topic("t"))
            assert found[:1] == [b"one"]
            assert [payload for payload in found if payload in acknowledged] == acknowledged
            if acknowledged:
                assert b"two" not in found
    assert cuts > 60


def test_an_error_while_reading_is_not_taken_for_a_torn_end():
    env = simulated_env(1)
    trace = Trace(env, Ledger())
    trace.open()
    trace.log.topic("t").append([b"kept"]).result()
    trace.log.close()
    size = env.files.size("/data/log/t/00000000000000000000.log")
    failed = 0
    for offset in range(1, 8):
        env.disk.fail_at(env.disk.operations + offset, "eio")
        try:
            trace.open()
            assert trace.log.topic("t").end == 1
        except MilvusException:
            failed += 1
        env.disk.restart()
        env = trace.env = simulated_env(1, env.disk)
        assert env.files.size("/data/log/t/00000000000000000000.log") == size
    assert failed >= 3


def test_an_error_nobody_foresaw_leaves_no_waiter_behind(monkeypatch):
    env = simulated_env(1)
    trace = Trace(env, Ledger())
    trace.open()
    topic = trace.log.topic("t")
    topic.append([b"one"]).result()

    def fail(*args):
        raise MemoryError("no memory for the header")

    with monkeypatch.context() as patch:
        patch.setattr("redkite.storage.log_format.encode_record_header", fail)
        futures = [topic.append([b"two"]), topic.append([b"three"])]
        for future in futures:
            with pytest.raises(MemoryError):
                future.result()
    assert topic.append([b"four"]).result() == 1
    assert payloads_of(topic) == [b"one", b"four"]
