"""A whole cluster on this machine, with everything real that it has: brought up by the command, used through pymilvus,
hurt, restarted under load. `make cluster` runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from tests.launch.real import RUNTIME, Cluster

from redkite.launch.parts import free_ports, part_named
from redkite.launch.state import State

pytestmark = [
    pytest.mark.skipif(not RUNTIME, reason="`make cluster` runs it"),
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]
NAME = "things"
DIM = 16
ROWS = 3000
VECTORS = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster") / "state", free_ports(1)[0])
    try:
        made.up()
        client = made.client()
        client.create_collection(NAME, dimension=DIM, metric_type="L2", consistency_level="Strong", num_shards=2)
        rows = [{"id": i, "vector": vector.tolist(), "n": i % 7} for i, vector in enumerate(VECTORS)]
        for start in range(0, ROWS, 500):
            client.insert(NAME, rows[start : start + 500])
        client.flush(NAME)
        client.close()
        yield made
    finally:
        made.command("down", "--delete-data")


@dataclass
class Use:
    """Clients that go on while something happens."""

    cluster: Cluster
    errors: list[str] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    searches: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Use:
        self.threads = [threading.Thread(target=self.search), threading.Thread(target=self.insert)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(60)

    def search(self) -> None:
        client, number = self.cluster.client(), 0
        while not self.stop.is_set():
            number = (number + 1) % ROWS
            try:
                (hits,) = client.search(NAME, [VECTORS[number].tolist()], limit=1)
                if [hit["id"] for hit in hits] != [number]:
                    self.errors.append(f"row {number} was not found: {hits}")
                self.searches += 1
            except Exception as error:  # noqa: BLE001  whatever a client is told counts
                self.errors.append(f"search: {error}")
            time.sleep(0.02)

    def insert(self) -> None:
        client, first = self.cluster.client(), int(time.time() * 1000) * 1000
        while not self.stop.is_set():
            first += 1
            try:
                client.insert(NAME, [{"id": first, "vector": [50.0] * DIM, "n": -1}])
                self.acknowledged.append(first)
            except Exception as error:  # noqa: BLE001  whatever a client is told counts
                self.errors.append(f"insert: {error}")
            time.sleep(0.02)

    def check_nothing_lost(self) -> None:
        client = self.cluster.client()
        found: list[int] = []
        for start in range(0, len(self.acknowledged), 500):
            some = self.acknowledged[start : start + 500]
            found += [row["id"] for row in client.query(NAME, ids=some, output_fields=["id"])]
        assert sorted(found) == self.acknowledged


@contextmanager
def stranger(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """A program that uses pymilvus meanwhile; what it saw, afterwards."""
    command = [sys.executable, "-m", "tests.launch.stranger", f"http://127.0.0.1:{cluster.port}"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    found: dict[str, Any] = {}
    try:
        yield found
    finally:
        said, _ = process.communicate("", timeout=120)
        found.update(json.loads(said.splitlines()[-1]))


def test_every_row_is_found_counted_and_deleted(cluster: Cluster) -> None:
    client = cluster.client()
    assert client.query(NAME, filter="n >= 0", output_fields=["count(*)"])[0]["count(*)"] == ROWS
    (hits,) = client.search(NAME, [VECTORS[5].tolist()], limit=3, filter="n == 5", output_fields=["n"])
    assert hits[0]["id"] == 5
    assert {hit["entity"]["n"] for hit in hits} == {5}
    client.insert(NAME, [{"id": 10**9, "vector": [9.0] * DIM, "n": -2}])
    client.delete(NAME, ids=[10**9])
    assert client.query(NAME, ids=[10**9]) == []


def test_status_shows_every_role_well_and_every_channel_owned(cluster: Cluster) -> None:
    cluster.wait_well()
    status = cluster.status()
    assert {node["role"] for node in status["nodes"]} == {"coordinator", "streaming", "query", "data", "proxy"}
    assert sum(node["leads"] for node in status["nodes"]) == 1
    assert {channel["state"] for channel in status["channels"]} == {"assigned"}
    assert "is well" in cluster.command("status", "--channels")


def answered(cluster: Cluster, message: str) -> int:
    """How many messages of a kind the data nodes have answered."""
    found = 0
    for node in cluster.status()["nodes"]:
        if node["role"] == "data":
            with urlopen(f"http://127.0.0.1:{node['metrics_port']}/metrics") as page:
                lines = page.read().decode().splitlines()
            words = 'redkite_node_messages_total{side="answered",message="' + message
            found += sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith(words))
    return found


def test_a_data_node_writes_what_is_flushed_and_reads_what_is_imported(cluster: Cluster) -> None:
    cluster.wait_well()
    client, name, rows = cluster.client(), "large", 20_000
    client.create_collection(name, dimension=64, metric_type="L2", consistency_level="Strong")
    vectors = np.random.default_rng(1).normal(size=(rows + 1000, 64)).astype(np.float32).round(3)
    for start in range(0, rows, 5000):
        some = [{"id": i, "vector": vectors[i].tolist()} for i in range(start, start + 5000)]
        client.insert(name, some)
    client.flush(name)
    assert answered(cluster, "WriteSegment") >= 1
    file = cluster.state.parent / "more.jsonl"
    file.write_text("\n".join(json.dumps({"id": i, "vector": vectors[i].tolist()}) for i in range(rows, rows + 1000)))
    job = cluster.client_of_redkite().import_files(name, str(file))
    assert (job.state, job.imported_rows) == ("Completed", 1000)
    assert answered(cluster, "ReadFiles") == 1
    assert client.query(name, filter="id >= 0", output_fields=["count(*)"])[0]["count(*)"] == rows + 1000
    for key in (7, rows + 7):
        (hits,) = client.search(name, [vectors[key].tolist()], limit=1)
        assert hits[0]["id"] == key
    client.drop_collection(name)


@pytest.mark.parametrize("role", ["query", "streaming", "coordinator", "data"])
def test_a_node_that_is_killed_is_started_again_and_nothing_is_lost(cluster: Cluster, role: str) -> None:
    cluster.wait_well()
    victim = cluster.node(role)
    with Use(cluster) as use:
        time.sleep(2)
        os.kill(victim["pid"], signal.SIGKILL)
        time.sleep(12)
    assert use.errors == []
    use.check_nothing_lost()
    cluster.wait_well()
    assert victim["node_id"] not in [node["node_id"] for node in cluster.status()["nodes"]]


def test_a_rolling_restart_fails_no_request(cluster: Cluster) -> None:
    cluster.wait_well()
    before = {node["node_id"] for node in cluster.status()["nodes"]}
    with stranger(cluster) as saw, Use(cluster) as use:
        time.sleep(1)
        cluster.command("restart", "--rolling")
        time.sleep(1)
    assert use.errors == []
    assert (saw["errors"], saw["wrong"]) == ([], [])
    assert min(saw["done"].values()) > 5, saw
    assert use.searches > 50
    use.check_nothing_lost()
    cluster.wait_well()
    assert not before & {node["node_id"] for node in cluster.status()["nodes"]}


def test_scaling_up_and_down_fails_no_request(cluster: Cluster) -> None:
    with Use(cluster) as use:
        cluster.command("scale", "query=3", "streaming=3")
        cluster.command("scale", "query=2", "streaming=2")
    assert use.errors == []
    use.check_nothing_lost()
    cluster.wait_well()


def test_a_drained_node_has_nothing_left_and_goes_first(cluster: Cluster) -> None:
    cluster.wait_well()
    with stranger(cluster) as saw:
        for role in ("streaming", "query"):
            node = cluster.node(role)
            assert "has nothing left" in cluster.command("drain", str(node["node_id"]))
            owners = {channel["node_id"] for channel in cluster.status()["channels"]}
            assert node["node_id"] not in owners
            cluster.command("scale", f"{role}=1")
            assert node["node_id"] not in [one["node_id"] for one in cluster.status()["nodes"]]
            cluster.command("scale", f"{role}=2")
    assert (saw["errors"], saw["wrong"]) == ([], [])


def test_a_node_that_systemd_starts_says_when_it_is_ready_and_hands_over_when_it_is_to_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(tmp_path / "notify"))
    told.settimeout(60)
    line = [sys.executable, "-m", "redkite", "cluster", "node", "--role", "query", "--config",
            str(cluster.state / "cluster.json")]  # fmt: skip
    credentials = part_named("s3", State(cluster.state).part("s3")).credentials
    environment = {**os.environ, **credentials, "NOTIFY_SOCKET": str(tmp_path / "notify")}
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE)
    assert told.recv(100) == b"READY=1"
    assert process.pid in [node["pid"] for node in cluster.status()["nodes"]]
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    told.close()


def test_after_down_and_up_everything_is_there(cluster: Cluster) -> None:
    cluster.command("down")
    cluster.up()
    client = cluster.client()
    assert client.query(NAME, filter="n >= 0", output_fields=["count(*)"])[0]["count(*)"] == ROWS
    cluster.wait_well()
