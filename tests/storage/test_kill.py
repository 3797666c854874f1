"""Processes that are killed for real: what they acknowledged is there, and their locks are gone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from redkite.env import Env
from redkite.errors import PathLocked
from redkite.storage.local_log import LocalLog
from redkite.storage.lock import lock_path

APPENDER = """
import random, sys
from redkite.env import Env
from redkite.storage.local_log import LocalLog
from redkite.storage.log import LogSettings

log = LocalLog(Env.real(), sys.argv[1], LogSettings(page_bytes=200_000))
topic = log.topic("t")
print("open", topic.end, flush=True)
number = topic.end
rng = random.Random(number)
while True:
    batch = []
    for _ in range(rng.choice((1, 3, 40))):
        batch.append((number, topic.append([b"%d:" % number, bytes([number % 251]) * rng.choice((10, 700, 9000))])))
        number += 1
    for expected, future in batch:
        assert future.result() == expected
        print("ack", expected, flush=True)
"""

HOLDER = """
import os, sys, time
from redkite.env import Env
from redkite.storage.lock import lock_path

env = Env.real()
lock = lock_path(env.files, env.clock, sys.argv[1], os.getpid(), "python holder.py")
print("held", flush=True)
time.sleep(60)
"""


def start(script: str, *args: str) -> subprocess.Popen[str]:
    source = str(Path(__file__).resolve().parents[2] / "src")
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source},
    )


@pytest.mark.parametrize("seed", [11])
def test_no_acknowledged_record_is_lost_when_the_process_is_killed(tmp_path, seed):
    rng = random.Random(seed)
    acked = -1
    for _ in range(10):
        child = start(APPENDER, str(tmp_path / "log"))
        assert child.stdout is not None
        assert child.stdout.readline().startswith("open")
        time.sleep(rng.uniform(0.001, 0.08))
        child.send_signal(signal.SIGKILL)
        output = child.stdout.read()
        child.wait()
        complete = output[: output.rfind("\n") + 1].splitlines()
        acked = max([acked, *(int(line.split()[1]) for line in complete)])
        log = LocalLog(Env.real(), str(tmp_path / "log"))
        topic = log.topic("t")
        assert topic.end > acked
        for record in topic.read():
            number, _, rest = bytes(record.payload).partition(b":")
            assert int(number) == record.position
            assert len(rest) in (10, 700, 9000)
            assert set(rest) == {record.position % 251}
        log.close()
    assert acked > 100


def test_a_path_held_by_another_process_names_it_and_is_free_when_that_is_killed(tmp_path):
    env = Env.real()
    child = start(HOLDER, str(tmp_path))
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(PathLocked) as caught:
            lock_path(env.files, env.clock, str(tmp_path), os.getpid(), "me")
        assert f"process {child.pid} (python holder.py) since 20" in caught.value.message
        assert str(tmp_path) in caught.value.message
        assert caught.value.code == 3001
    finally:
        child.kill()
        child.wait()
    lock_path(env.files, env.clock, str(tmp_path), os.getpid(), "me").release()
