"""One process may write a path."""

from __future__ import annotations

import os

import pytest

from redkite.env import Env
from redkite.errors import PathLocked
from redkite.simulated import simulated_env
from redkite.storage.lock import LOCK_NAME, lock_path


def test_the_error_says_who_holds_the_path_since_when_and_what_to_do():
    env = simulated_env(1)
    lock_path(env.files, env.clock, "/data/demo.db", 4711, "python app.py")
    env.advance(60)
    with pytest.raises(PathLocked) as caught:
        lock_path(env.files, env.clock, "/data/demo.db", 4712, "python other.py")
    text = caught.value.message
    assert "'/data/demo.db' is in use by process 4711 (python app.py) since 2023-11-14T22:13:20Z" in text
    assert "redkite serve" in text


def test_a_second_client_in_the_same_process_is_told_so(tmp_path):
    env = Env.real()
    lock = lock_path(env.files, env.clock, str(tmp_path / "db"), os.getpid(), "me")
    with pytest.raises(PathLocked, match=f"this process {os.getpid()}"):
        lock_path(env.files, env.clock, str(tmp_path / "db"), os.getpid(), "me")
    lock.release()
    lock_path(env.files, env.clock, str(tmp_path / "db"), os.getpid(), "me").release()


def test_a_lock_file_with_garbage_still_gives_a_clear_error(tmp_path):
    env = Env.real()
    lock = env.files.lock(str(tmp_path / LOCK_NAME), "\x00garbage")
    with pytest.raises(PathLocked, match="another process"):
        lock_path(env.files, env.clock, str(tmp_path), 1, "me")
    lock.release()


def test_a_crash_frees_the_path():
    env = simulated_env(1)
    lock_path(env.files, env.clock, "/data", 1, "one")
    env.disk.restart()
    again = simulated_env(2, env.disk)
    lock_path(again.files, again.clock, "/data", 2, "two").release()
    lock_path(again.files, again.clock, "/data", 3, "three")


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path):
    env = Env.real()
    lock = lock_path(env.files, env.clock, str(tmp_path), os.getpid(), "parent")
    # As a child that has not come to close it yet, or one that is about to run another program.
    copy = os.dup(lock._fd)
    lock.release()
    lock_path(env.files, env.clock, str(tmp_path), os.getpid(), "parent").release()
    os.close(copy)


def test_a_forked_child_that_goes_on_leaves_its_parent_the_lock(tmp_path):
    env = Env.real()
    lock = lock_path(env.files, env.clock, str(tmp_path), os.getpid(), "parent")
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(PathLocked):
        lock_path(env.files, env.clock, str(tmp_path), os.getpid(), "parent")
    lock.release()
