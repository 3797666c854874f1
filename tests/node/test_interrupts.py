"""Ctrl-C in the middle of a call, again and again, in a process that goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.interrupts import Interrupted, elsewhere

import redkite
from redkite.storage.sqlite_catalog import SqliteCatalog

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


VECTOR = np.ones(4, np.float32)


CALLS: dict[str, tuple[Callable[[redkite.MilvusClient, int], object], int]] = {
    "insert": (lambda client, key: client.insert("c", {"id": key, "vector": VECTOR}), 13),
    "insert into shards": (
        lambda client, key: client.insert("c", [{"id": key + more, "vector": VECTOR} for more in range(6)]), 53
    ),
    "delete": (lambda client, key: client.delete("c", ids=[key]), 43),
    "search": (lambda client, key: client.search("c", data=[VECTOR], limit=3), 41),
    "create and drop": (
        lambda client, key: (client.create_collection("d", dimension=4), client.drop_collection("d")), 61
    ),
}  # fmt: skip
"""Each with the points that are left out between two interrupts."""


@pytest.mark.parametrize("name", list(CALLS))
def test_after_a_call_that_was_interrupted_anywhere_writes_and_the_close_go_on(name: str, tmp_path: Path) -> None:
    call, step = CALLS[name]
    client = redkite.MilvusClient(str(tmp_path / "a.db"))
    client.create_collection("c", dimension=4, num_shards=2)
    acknowledged = []
    for at in range(1, 20_000, step):
        interrupted = Interrupted(at)
        key = 10 * at
        try:
            interrupted.run(lambda key=key: call(client, key))
        except KeyboardInterrupt:
            elsewhere(lambda: client.drop_collection("d"))
        elsewhere(lambda key=key: client.insert("c", {"id": key + 9, "vector": VECTOR}))
        acknowledged.append(key + 9)
        if interrupted.points < at:
            break
    assert len(acknowledged) > 4
    elsewhere(client.close)
    with redkite.MilvusClient(str(tmp_path / "a.db")) as client:
        found = client.query("c", filter="id >= 0", output_fields=["id"], limit=16_000)
        assert {row["id"] for row in found} >= set(acknowledged)


def test_a_collection_whose_creation_was_interrupted_behind_its_commit_is_there_at_once_and_not_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redkite.MilvusClient(str(tmp_path / "a.db"))
    commit = SqliteCatalog.commit

    def torn(self: SqliteCatalog, puts: Any, *arguments: Any) -> None:
        commit(self, puts, *arguments)
        if any(key.startswith("root/collection/") for key in puts):
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(SqliteCatalog, "commit", torn)
    with pytest.raises(KeyboardInterrupt):
        client.create_collection("d", dimension=4)
    assert client.list_collections() == ["d"]
    client.drop_collection("d")
    client.close()
    with redkite.MilvusClient(str(tmp_path / "a.db")) as client:
        assert client.list_collections() == []


def test_an_index_whose_creation_was_interrupted_behind_its_commit_is_known_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redkite.MilvusClient(str(tmp_path / "a.db"))
    schema = client.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=4)
    client.create_collection("c", schema=schema)
    params = client.prepare_index_params()
    params.add_index("vector", index_type="FLAT", metric_type="L2")
    commit = SqliteCatalog.commit

    def torn(self: SqliteCatalog, puts: Any, *arguments: Any) -> None:
        commit(self, puts, *arguments)
        if any(key.startswith("index/") for key in puts):
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(SqliteCatalog, "commit", torn)
    with pytest.raises(KeyboardInterrupt):
        client.create_index("c", params)
    assert client.list_indexes("c") == ["vector"]
    client.drop_index("c", "vector")
    assert client.list_indexes("c") == []
    client.close()
    with redkite.MilvusClient(str(tmp_path / "a.db")) as client:
        assert client.list_indexes("c") == []
