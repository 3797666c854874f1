"""Ctrl-C in the middle of a write, again and again, in a process that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, random, signal, sys, threading, time
import numpy as np
import redkite

client = redkite.MilvusClient(sys.argv[1])
client.create_collection("c", dimension=8, metric_type="L2")
vector = np.ones(8, np.float32)
armed = over = False

def interrupt(number, frame):
    if armed:
        raise KeyboardInterrupt

def again_and_again():
    while not over:
        time.sleep(0.0005 + 0.003 * random.random())
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

signal.signal(signal.SIGINT, interrupt)
thread = threading.Thread(target=again_and_again)
thread.start()
acknowledged, errors, interrupts, key = [], [], 0, 0
until = time.monotonic() + 2
while time.monotonic() < until:
    key += 1
    try:
        armed = True
        client.insert("c", {"id": key, "vector": vector})
        armed = False
        acknowledged.append(key)
    except KeyboardInterrupt:
        interrupts += 1
    except Exception as error:
        errors.append(repr(error))
    armed = False
over = True
thread.join()
client.insert("c", {"id": 0, "vector": vector})
found = [[row["id"] for row in client.query("c", filter="id >= 0", output_fields=["id"])]]
client.close()
client = redkite.MilvusClient(sys.argv[1])
found.append([row["id"] for row in client.query("c", filter="id >= 0", output_fields=["id"])])
client.close()
print(json.dumps([acknowledged, errors, interrupts, key, found]))
"""


def test_what_was_acknowledged_between_interrupts_is_there_and_nothing_hangs(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "a.db")], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    acknowledged, errors, interrupts, tried, found = json.loads(run.stdout)
    assert errors == []
    assert interrupts > 20
    for ids in found:
        assert set(acknowledged) | {0} <= set(ids) <= set(range(tried + 1))
        assert len(ids) == len(set(ids))
    assert sorted(found[0]) == sorted(found[1])
