"""The log under power cuts and I/O errors at every single operation."""

from __future__ import annotations

import contextlib
import random

import pytest
from tests.storage.log_model import Ledger, Trace, check

from redkite.errors import DiskLimitExceeded, MilvusException, StorageError
from redkite.simulated import SimulatedCrash, SimulatedDisk, simulated_env


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


def test_a_failed_sync_ends_the_topic_until_it_is_reopened():
    env = simulated_env(1)
    trace = Trace(env, Ledger())
    trace.open()
    topic = trace.log.topic("t")
    topic.append([b"one"]).result()
    env.disk.fail_at(env.disk.operations + 2, "eio")
    with pytest.raises(StorageError):
        topic.append([b"two"]).result()
    with pytest.raises(StorageError, match="reopen"):
        topic.append([b"three"])
    topic.close()
    again = trace.log.topic("t")
    assert again is not topic
    again.append([b"four"]).result()
    found = [bytes(record.payload) for record in again.read()]
    assert found in ([b"one", b"four"], [b"one", b"two", b"four"])


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

    monkeypatch.setattr("redkite.storage.log_format.encode_record_header", fail)
    futures = [topic.append([b"two"]), topic.append([b"three"])]
    for future in futures:
        with pytest.raises(MemoryError):
            future.result()
    with pytest.raises(StorageError, match="no memory"):
        topic.append([b"four"])
