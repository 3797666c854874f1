"""The simulated world: the same seed gives the same run, and a crash loses what was not synced."""

from __future__ import annotations

import random

import pytest

from redkite.errors import DiskLimitExceeded, ObjectNotFound, StorageError, Unavailable
from redkite.simulated import SimulatedCrash, SimulatedDisk, Stalled, simulated_env


def after_crash(disk: SimulatedDisk, seed: int = 0):
    disk.restart(random.Random(seed))
    return simulated_env(seed, disk).files


# -- disk ---------------------------------------------------------------------------------------
def test_synced_bytes_survive_and_others_are_lost_torn_or_kept():
    sizes = set()
    for seed in range(60):
        env = simulated_env(1)
        env.files.make_dirs("/d")
        file = env.files.append("/d/f")
        env.files.sync_dir("/d")
        file.write([b"a" * 700])
        file.sync()
        file.write([b"b" * 3000])
        data = after_crash(env.disk, seed).read("/d/f")
        assert data[:700] == b"a" * 700
        assert set(data[700:]) <= set(b"b\0")
        sizes.add(len(data))
    assert 700 in sizes
    assert 3700 in sizes
    assert len(sizes) > 5


def test_folders_that_are_to_last_do_and_others_may():
    left = set()
    for seed in range(10):
        env = simulated_env(1)
        env.files.make_dirs("/a/b/c", "/a/b/d")
        env.files.make_dirs("/a/b/c/e", durable=False)
        files = after_crash(env.disk, seed)
        assert files.list("/a/b") == ["c", "d"]
        left.add(tuple(files.list("/a/b/c")))
    assert left == {(), ("e",)}


def test_a_name_is_lost_unless_its_folder_was_synced():
    found = set()
    for seed in range(30):
        env = simulated_env(1)
        env.files.make_dirs("/d")
        env.files.write_new("/d/kept", [b"1"])
        env.files.sync_dir("/d")
        env.files.write_new("/d/new", [b"2"])
        found.add(tuple(after_crash(env.disk, seed).list("/d")))
    assert found == {("kept",), ("kept", "new")}


def test_a_rename_is_atomic_and_durable_after_sync_dir():
    found = set()
    for seed in range(30):
        env = simulated_env(1)
        env.files.make_dirs("/d/tmp")
        env.files.write_new("/d/f", [b"old"])
        env.files.sync_dir("/d")
        env.files.write_new("/d/tmp/0", [b"new"])
        env.files.rename("/d/tmp/0", "/d/f")
        if seed % 2:
            env.files.sync_dir("/d")
        data = after_crash(env.disk, seed).read("/d/f")
        assert data in ((b"new",) if seed % 2 else (b"old", b"new"))
        found.add((seed % 2, data))
    assert len(found) == 3


def test_a_removed_file_may_be_back_until_the_folder_is_synced():
    back = set()
    for seed in range(20):
        env = simulated_env(1)
        env.files.make_dirs("/d")
        env.files.write_new("/d/f", [b"x"])
        env.files.sync_dir("/d")
        env.files.remove("/d/f")
        back.add(after_crash(env.disk, seed).exists("/d/f"))
    assert back == {True, False}


def test_bytes_of_a_failed_sync_are_not_saved_by_a_later_one():
    env = simulated_env(1)
    env.files.make_dirs("/d")
    file = env.files.append("/d/f")
    env.files.sync_dir("/d")
    file.write([b"x" * 10])
    env.disk.fail_at(env.disk.operations + 1, "eio")
    with pytest.raises(StorageError, match="Input/output"):
        file.sync()
    with pytest.raises(StorageError, match="earlier"):
        file.write([b"y"])
    again = env.files.append("/d/f")
    again.write([b"z" * 5])
    again.sync()
    assert env.files.read("/d/f") == b"x" * 10 + b"z" * 5
    assert after_crash(env.disk).read("/d/f") == b"\0" * 10 + b"z" * 5


def test_a_mapped_file_outlives_its_name_and_later_writes():
    env = simulated_env(1)
    env.files.make_dirs("/d")
    env.files.write_new("/d/f", [b"abc"])
    view = env.files.map("/d/f")
    env.files.remove("/d/f")
    assert bytes(view) == b"abc"
    assert env.files.local_path("/d/f") is None


def test_faults_come_at_the_chosen_operation():
    env = simulated_env(1)
    env.files.make_dirs("/d")
    before = env.disk.operations
    for kind, error in (("eio", StorageError), ("enospc", DiskLimitExceeded), ("short", DiskLimitExceeded)):
        file = env.files.append(f"/d/{kind}")
        env.disk.fail_at(env.disk.operations + 2, kind)
        file.write([b"fine"])
        with pytest.raises(error, match=f"/d/{kind}"):
            file.write([b"0123456789"])
        assert env.files.read(f"/d/{kind}") == (b"fine01234" if kind == "short" else b"fine")
    assert env.disk.operations == before + 12


def test_after_a_crash_every_operation_raises_until_the_restart_and_old_handles_stay_dead():
    env = simulated_env(1)
    env.files.make_dirs("/d")
    file = env.files.append("/d/f")
    env.disk.crash_at(env.disk.operations + 1)
    for work in (lambda: file.write([b"x"]), file.sync, lambda: env.files.read("/d/f"), lambda: env.files.exists("/d")):
        with pytest.raises(SimulatedCrash):
            work()
    env.disk.restart()
    with pytest.raises(SimulatedCrash):
        file.write([b"x"])
    with pytest.raises(SimulatedCrash):
        env.files.list("/d")
    assert simulated_env(1, env.disk).files.list("/") == ["d"]


def test_files_behave_like_the_systems():
    files = simulated_env(1).files
    files.make_dirs("/a/b")
    files.write_new("/a/b/f", [b"0123", b"456"])
    assert files.read("/a/b/f", 2, 3) == b"234"
    assert files.list("/a") == ["b"]
    assert files.walk("/a") == ["b/f"]
    assert files.size("/a/b/f") == 7
    files.truncate("/a/b/f", 3)
    files.rename("/a/b", "/a/c")
    assert files.read("/a/c/f") == b"012"
    files.remove_tree("/a/c")
    files.remove_tree("/a/c")
    assert files.list("/a") == files.list("/nowhere") == []
    for work in (
        lambda: files.read("/a/x"),
        lambda: files.size("/a/x"),
        lambda: files.append("/no/x"),
        lambda: files.write_new("/no/x", [b""]),
        lambda: files.rename("/a/x", "/a/y"),
        lambda: files.sync_dir("/no"),
        lambda: files.lock("/no/x", "me"),
    ):
        with pytest.raises(ObjectNotFound, match="No such file"):
            work()
    with pytest.raises(StorageError, match="directory"):
        files.read("/a")


# -- tasks and time -----------------------------------------------------------------------------
def order_of_jobs(seed: int) -> list[str]:
    env = simulated_env(seed)
    seen: list[str] = []
    for name in "abc":
        executor = env.tasks.executor(name)
        for number in range(3):
            executor.submit(seen.append, f"{name}{number}")
    env.run_until_idle()
    return seen


def test_the_seed_decides_the_order_and_one_worker_keeps_its_own():
    orders = {tuple(order_of_jobs(seed)) for seed in range(20)}
    assert len(orders) > 5
    assert order_of_jobs(3) == order_of_jobs(3)
    for order in orders:
        for name in "abc":
            assert [job for job in order if job[0] == name] == [f"{name}{n}" for n in range(3)]


def test_several_workers_may_overtake_each_other():
    orders = set()
    for seed in range(20):
        env = simulated_env(seed)
        executor = env.tasks.executor("pool", 2)
        seen: list[int] = []
        for number in range(3):
            executor.submit(seen.append, number)
        env.run_until_idle()
        orders.add(tuple(seen))
    assert (0, 1, 2) in orders
    assert (1, 0, 2) in orders
    assert (2, 0, 1) not in orders


def test_waiting_on_a_future_runs_the_work_it_needs():
    env = simulated_env(1)
    done = env.tasks.future()
    executor = env.tasks.executor("worker")
    executor.submit(lambda: env.tasks.executor("other").submit(done.set_result, 7))
    assert done.result() == 7
    failing = executor.submit(lambda: 1 // 0)
    assert isinstance(failing.exception(), ZeroDivisionError)


def test_a_wait_that_would_hang_is_an_error():
    env = simulated_env(1)
    env.tasks.every(1, lambda: None, "heartbeat")
    with pytest.raises(Stalled, match="heartbeat"):
        env.tasks.future().result()
    with pytest.raises(TimeoutError):
        env.tasks.future().result(timeout=1)


def test_a_job_that_waits_for_its_own_executor_is_a_deadlock():
    env = simulated_env(1)
    executor = env.tasks.executor("single")
    with pytest.raises(Stalled, match="single"):
        executor.submit(lambda: executor.submit(int, 1).result()).result()


def test_time_moves_only_when_told_and_timers_fire_in_order():
    env = simulated_env(1)
    start = env.clock.now_ms()
    fired: list[tuple[str, float]] = []
    env.tasks.every(2, lambda: fired.append(("two", env.clock.monotonic())), "two")
    three = env.tasks.every(3, lambda: fired.append(("three", env.clock.monotonic())), "three")
    env.run_until_idle()
    assert fired == []
    env.advance(5)
    assert fired == [("two", 2), ("three", 3), ("two", 4)]
    three.cancel()
    env.advance(2)
    assert fired[3:] == [("two", 6)]
    assert env.clock.now_ms() == start + 7000


def test_a_failing_timer_goes_on():
    env = simulated_env(1)
    calls: list[int] = []

    def tick() -> None:
        calls.append(1)
        raise ValueError

    env.tasks.every(1, tick, "bad")
    env.advance(3)
    assert len(calls) == 3


def test_a_shut_down_executor_finishes_its_jobs_and_takes_no_more():
    env = simulated_env(1)
    executor = env.tasks.executor("worker")
    seen: list[int] = []
    executor.submit(seen.append, 1)
    executor.shutdown()
    assert seen == [1]
    with pytest.raises(Unavailable):
        executor.submit(seen.append, 2)


def test_a_crash_in_a_job_reaches_whoever_drives_the_world():
    env = simulated_env(1)
    env.files.make_dirs("/d")
    env.disk.crash_at(env.disk.operations + 1)
    future = env.tasks.executor("worker").submit(env.files.write_new, "/d/f", [b"x"])
    with pytest.raises(SimulatedCrash):
        future.result()


def test_the_same_seed_gives_the_same_random_numbers():
    assert simulated_env(5).random.random() == simulated_env(5).random.random()
    assert simulated_env(5).random.random() != simulated_env(6).random.random()
