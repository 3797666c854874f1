"""The real world behind the seam: files, locks, threads, timers, forks."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from redkite import realenv
from redkite.env import Env
from redkite.errors import DiskLimitExceeded, ObjectNotFound, StorageError, Unavailable
from redkite.realenv import RealFiles, RealTasks


@pytest.fixture
def files() -> RealFiles:
    return RealFiles()


@pytest.fixture
def tasks() -> RealTasks:
    return RealTasks()


def in_child(work) -> int:
    """Run in a forked child; its exit status: 0 when `work` returned True."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 3
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_real_clock_and_randomness_are_the_systems():
    env = Env.real()
    assert abs(env.clock.now_ms() - time.time() * 1000) < 5_000
    assert env.clock.monotonic() <= env.clock.monotonic()
    assert Env.real().random.random() != env.random.random()


# -- files --------------------------------------------------------------------------------------
def test_appends_go_to_the_end_whatever_their_number_and_shape(files, tmp_path):
    path = str(tmp_path / "f")
    file = files.append(path)
    buffers = [bytes([i % 256]) * (i % 5) for i in range(3_000)]
    assert file.write(buffers) == sum(map(len, buffers))
    assert file.write([memoryview(b"abcdefgh").cast("I"), bytearray(b"x"), b""]) == 9
    assert file.write([]) == 0
    file.sync()
    assert file.size() == os.path.getsize(path)
    file.close()
    again = files.append(path)
    again.write([b"more"])
    again.close()
    assert files.read(path) == b"".join(buffers) + b"abcdefghxmore"


def test_a_system_that_takes_few_bytes_at_a_time_gets_them_all(files, tmp_path, monkeypatch):
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, views: real(fd, [views[0][:3]]))
    files.write_new(str(tmp_path / "f"), [b"hello", b"", b" world"])
    assert files.read(str(tmp_path / "f")) == b"hello world"


def test_a_file_whose_sync_failed_is_never_written_again(files, tmp_path, monkeypatch):
    file = files.append(str(tmp_path / "f"))
    file.write([b"x"])

    def fail(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(realenv, "_datasync", fail)
    with pytest.raises(StorageError, match=r"cannot sync .*/f': Input/output error"):
        file.sync()
    monkeypatch.undo()
    for work in (lambda: file.write([b"y"]), file.sync):
        with pytest.raises(StorageError, match="an earlier sync failed"):
            work()
    file.close()
    with pytest.raises(StorageError):
        file.write([b"y"])


def test_a_full_disk_is_told_apart_and_ends_the_file(files, monkeypatch):
    file = files.append("/dev/full")
    with pytest.raises(DiskLimitExceeded, match=r"/dev/full.*No space left"):
        file.write([b"x"])
    with pytest.raises(StorageError, match="an earlier write failed"):
        file.write([b"x"])
    file.close()


def test_reads_cover_any_part_of_a_file(files, tmp_path):
    path = str(tmp_path / "f")
    files.write_new(path, [b"0123456789"])
    assert files.read(path) == b"0123456789"
    assert files.read(path, 4) == b"456789"
    assert files.read(path, 4, 3) == b"456"
    assert files.read(path, 8, 100) == b"89"
    assert files.read(path, 20) == b""
    assert files.size(path) == 10
    files.truncate(path, 4)
    assert files.read(path) == b"0123"
    files.write_new(path, [b"ab"])
    assert files.read(path) == b"ab"


def test_a_map_is_read_only_and_outlives_the_file(files, tmp_path):
    path = str(tmp_path / "f")
    files.write_new(path, [b"mapped"])
    view = files.map(path)
    files.remove(path)
    assert bytes(view) == b"mapped"
    assert view.readonly
    files.write_new(path, [])
    assert bytes(files.map(path)) == b""


def test_folders_are_made_listed_walked_and_removed(files, tmp_path):
    root = str(tmp_path / "a" / "b")
    files.make_dirs(f"{root}/c")
    files.make_dirs(f"{root}/c")
    files.write_new(f"{root}/z", [b""])
    files.write_new(f"{root}/c/y", [b""])
    assert files.list(root) == ["c", "z"]
    assert files.walk(root) == ["c/y", "z"]
    assert files.list(f"{root}/missing") == files.walk(f"{root}/missing") == []
    files.rename(f"{root}/z", f"{root}/c/z")
    files.sync_dir(f"{root}/c")
    assert files.exists(f"{root}/c/z")
    assert files.local_path(f"{root}/c/z") == f"{root}/c/z"
    files.remove_tree(root)
    files.remove_tree(root)
    files.remove(f"{root}/z")
    assert not files.exists(root)


def test_errors_name_the_path_and_the_cause(files, tmp_path):
    missing = str(tmp_path / "missing" / "f")
    for work in (
        lambda: files.read(missing),
        lambda: files.map(missing),
        lambda: files.size(missing),
        lambda: files.append(missing),
        lambda: files.write_new(missing, [b"x"]),
        lambda: files.rename(missing, missing + "2"),
        lambda: files.sync_dir(missing),
        lambda: files.lock(missing, "me"),
        lambda: files.truncate(missing, 0),
    ):
        with pytest.raises(ObjectNotFound, match=r"missing/f.*No such file"):
            work()
    Path(tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"file'.*Not a directory"):
        files.list(str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        files.make_dirs(str(tmp_path / "file" / "sub"))


def test_folders_that_are_made_together_wait_once_for_each_that_they_lie_in(tmp_path, monkeypatch):
    files, synced = RealFiles(), list[str]()
    there = [tmp_path / "a/b/c", tmp_path / "a/b/d"]

    def sync(path: str) -> None:
        assert all(folder.is_dir() for folder in there)
        synced.append(path)

    monkeypatch.setattr(files, "sync_dir", sync)
    files.make_dirs(*map(str, there))
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")]
    files.make_dirs(str(tmp_path / "e/f"), durable=False)
    assert (tmp_path / "e/f").is_dir()
    assert len(synced) == 3


def test_a_folder_is_durable_where_the_one_in_it_cannot_be_made(tmp_path, monkeypatch):
    files, synced = RealFiles(), list[str]()
    monkeypatch.setattr(files, "sync_dir", synced.append)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        files.make_dirs(str(tmp_path / "a"), str(tmp_path / "file" / "b"))
    assert synced == [str(tmp_path)]


def test_a_lock_shows_its_note_to_the_next_one(files, tmp_path):
    path = str(tmp_path / "LOCK")
    lock = files.lock(path, "held by me")
    assert files.lock(path, "another") == "held by me"
    lock.release()
    lock.release()
    again = files.lock(path, "another")
    assert files.lock(path, "third") == "another"
    again.release()


# -- tasks --------------------------------------------------------------------------------------
def test_threads_start_with_the_first_job_and_are_named(tasks):
    before = threading.active_count()
    executor = tasks.executor("worker", 2)
    assert threading.active_count() == before
    assert executor.submit(lambda: threading.current_thread().name).result(30).startswith("worker-")
    executor.shutdown()
    assert threading.active_count() == before


def test_an_executor_uses_its_workers_and_no_more(tasks):
    executor = tasks.executor("worker", 3)
    running, most, lock = 0, 0, threading.Lock()

    def work() -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return 1

    assert sum(future.result(30) for future in [executor.submit(work) for _ in range(12)]) == 12
    assert most == 3
    executor.shutdown()


def test_one_worker_keeps_the_order_and_reports_errors(tasks):
    executor = tasks.executor("worker")
    seen: list[int] = []
    futures = [executor.submit(seen.append, number) for number in range(100)]
    bad = executor.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        bad.result(30)
    assert seen == list(range(100))
    assert all(future.done() for future in futures)
    executor.shutdown()
    with pytest.raises(Unavailable, match="'worker' is shut down"):
        executor.submit(print)


def test_shutdown_finishes_what_was_submitted(tasks):
    executor = tasks.executor("worker")
    gate = threading.Event()
    first = executor.submit(gate.wait, 5)
    rest = [executor.submit(int, number) for number in range(10)]
    executor.shutdown(wait=False)
    gate.set()
    assert first.result(30)
    assert [future.result(30) for future in rest] == list(range(10))


def no_thread_once(monkeypatch) -> None:
    """The next thread cannot be started."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_an_executor_that_gets_no_thread_refuses_the_job_and_works_again_later(tasks, monkeypatch):
    executor = tasks.executor("worker")
    no_thread_once(monkeypatch)
    done = []
    with pytest.raises(Unavailable, match="executor 'worker' has no thread: can't start new thread"):
        executor.submit(done.append, "refused")
    assert executor.submit(int, 5).result(30) == 5
    assert done == [], "what was refused is not done later"
    executor.shutdown()


def test_a_job_that_gets_no_thread_of_its_own_waits_for_one_that_is_there(tasks, monkeypatch):
    executor = tasks.executor("worker", 2)
    started, gate = threading.Event(), threading.Event()
    executor.submit(lambda: started.set() or gate.wait(60))
    assert started.wait(30)
    no_thread_once(monkeypatch)
    second = executor.submit(int, 5)
    assert not second.done()
    gate.set()
    assert second.result(30) == 5
    executor.shutdown()


def test_idle_threads_end_and_come_back(tasks, monkeypatch):
    monkeypatch.setattr(realenv, "_IDLE_SECONDS", 0.02)
    executor = tasks.executor("idler", 2)
    for _ in range(3):
        assert executor.submit(int, 5).result(30) == 5
        deadline = time.monotonic() + 120
        while any(thread.name.startswith("idler") for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    executor.shutdown()


def test_at_exit_queued_jobs_are_cancelled_and_running_ones_are_waited_for(tasks):
    executor = tasks.executor("worker")
    started, done = threading.Event(), []

    def work() -> None:
        started.set()
        time.sleep(0.05)
        done.append(1)

    executor.submit(work)
    queued = executor.submit(done.append, 2)
    assert started.wait(30)
    executor.end(5)
    assert done == [1]
    with pytest.raises(CancelledError):
        queued.result(30)


def test_an_executor_works_in_a_forked_child(tasks):
    executor = tasks.executor("worker", 2)
    assert executor.submit(int, 7).result(30) == 7
    assert in_child(lambda: executor.submit(int, 8).result(30) == 8) == 0
    assert executor.submit(int, 9).result(30) == 9
    executor.shutdown()


def test_a_file_opened_by_the_parent_is_not_written_by_a_forked_child(files, tmp_path):
    file = files.append(str(tmp_path / "f"))

    def work() -> bool:
        try:
            file.write([b"child"])
        except StorageError as error:
            return "forked" in error.message
        return False

    assert in_child(work) == 0
    file.write([b"parent"])
    file.close()
    assert files.read(str(tmp_path / "f")) == b"parent"


def test_a_timer_goes_on_after_an_error_until_it_is_cancelled(tasks):
    calls: list[float] = []
    enough: Future[None] = tasks.future()

    def tick() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            enough.set_result(None)
        if len(calls) < 3:
            raise ValueError("this time not")

    timer = tasks.every(0.01, tick, "ticker")
    enough.result(30)
    timer.cancel()
    time.sleep(0.03)
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) == count


def test_many_timers_share_one_thread(tasks):
    before = threading.active_count()
    seen: set[int] = set()
    both: Future[None] = tasks.future()

    def tick(number: int) -> None:
        seen.add(number)
        if seen == {0, 1, 2} and not both.done():
            both.set_result(None)

    timers = [tasks.every(0.01 * (1 + n), lambda n=n: tick(n), f"t{n}") for n in range(3)]
    assert threading.active_count() == before + 1
    both.result(30)
    for timer in timers:
        timer.cancel()


def interrupt(thread):
    raise KeyboardInterrupt


def test_a_thread_whose_start_was_interrupted_does_not_count_as_one(tasks, monkeypatch):
    executor = tasks.executor("work", 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(int)
    assert executor.submit(lambda: threading.current_thread().name).result(30).startswith("work-")
    executor.shutdown()


def test_a_thread_that_begins_although_its_start_was_interrupted_takes_no_job(tasks, monkeypatch):
    executor = tasks.executor("work", 1)
    begun = []

    def later(thread):
        begun.append(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", later)
        executor.submit(int)
    names = {executor.submit(lambda: threading.current_thread().name).result(30) for _ in range(3)}
    begun[0].start()
    begun[0].join(60)
    assert not begun[0].is_alive()
    assert names == {"work-1"}
    executor.shutdown()


def test_timers_go_on_after_their_thread_was_interrupted_as_it_began(tasks, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tasks.every(0.01, int, "first")
    called = threading.Event()
    timer = tasks.every(0.01, called.set, "second")
    assert called.wait(30)
    timer.cancel()


@contextmanager
def interrupt_at(step: int, thrown: list[int]):
    """KeyboardInterrupt the so-manieth time that a signal could come through, which is where a function begins or has
    ended; it is noted in `thrown` if it came to that."""
    left = step

    def profile(frame, event, argument):
        nonlocal left
        if event != "c_call":
            left -= 1
            if left == 0:
                sys.setprofile(None)
                thrown.append(step)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_a_waiter_that_is_interrupted_anywhere_keeps_nobody_from_ending_the_future(tasks):
    for step in range(1, 200):
        future = tasks.future()
        thrown: list[int] = []
        with suppress(KeyboardInterrupt, RuntimeError, TimeoutError), interrupt_at(step, thrown):
            future.result(0.001)
        ending = threading.Thread(target=future.set_result, args=(1,), daemon=True)
        ending.start()
        ending.join(60)
        assert not ending.is_alive(), f"interrupted at step {step}"
        assert future.result(30) == 1
        if not thrown:
            assert step > 10
            return
    raise AssertionError("it has no end")


@pytest.mark.parametrize("ends", [lambda f: f.set_result(1), lambda f: f.set_exception(ValueError("no"))])
def test_who_ends_a_future_and_is_interrupted_leaves_nobody_waiting_for_one_that_is_done(tasks, ends):
    for step in range(1, 200):
        future = tasks.future()
        thrown: list[int] = []
        told: list[int] = []
        waiting = [threading.Thread(target=future.exception, daemon=True) for _ in range(2)]
        future.add_done_callback(lambda _, told=told: told.append(1))
        for thread in waiting:
            thread.start()
        until = time.monotonic() + 5
        while len(future._condition._waiters) < 2 and time.monotonic() < until:
            time.sleep(0.001)
        with suppress(KeyboardInterrupt), interrupt_at(step, thrown):
            ends(future)
        if not future.done():
            ends(future)
        for thread in waiting:
            thread.join(60)
            assert not thread.is_alive(), f"interrupted at step {step}"
        assert len(told) <= 1
        if not thrown:
            assert told == [1]
            assert step > 10
            return
    raise AssertionError("it has no end")
