"""What goes wrong where a cluster is brought up, and while it runs: each is told in one line, or mended, and nothing is
lost. With real processes; `make cluster` runs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.launch.authority import Authority
from tests.launch.real import RUNTIME, Cluster

from redkite.cluster.backends import open_backends
from redkite.cluster.config import encode
from redkite.env import Env
from redkite.launch.parts import Part, free_ports, part_named
from redkite.launch.state import State

pytestmark = [
    pytest.mark.skipif(RUNTIME != "processes", reason="`make cluster` runs it, with nodes as processes"),
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]
NAME, DIM = "things", 16
CACHE_BYTES = 100 << 20
SMALL = ("coordinators=1", "streaming=1", "query=1", "data=0", "proxies=1")
OTHER_PROTOCOL = (
    "import redkite.cluster.frames as frames; frames.PROTOCOL += 1\n"
    "import sys; from redkite.cli import main; sys.exit(main())"
)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own, of little room."""
    folder.mkdir(parents=True)
    line = ["mount", "-t", "tmpfs", "-o", f"size={CACHE_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("a small disk wants root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def until(there: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def part(cluster: Cluster, name: str) -> Part:
    return part_named(name, State(cluster.state).part(name))


def reasons(cluster: Cluster) -> str:
    return " | ".join(reason for node in cluster.status()["nodes"] for reason in node["health"])


def node(cluster: Cluster, role: str, *words: str, config: str = "", command: tuple[str, ...] = ()) -> str:
    """What one more node says that cannot join."""
    begin = command or ("-m", "redkite")
    line = [sys.executable, *begin, "cluster", "node", "--role", role, "--config",
            config or str(cluster.state / "cluster.json"), *words]  # fmt: skip
    environment = {**os.environ, **part(cluster, "s3").credentials}
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1, done.stderr
    return done.stderr


# -- while it is brought up ---------------------------------------------------------------------
@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One that had every trouble while it was brought up."""
    folder = tmp_path_factory.mktemp("bad")
    options = [word for one in SMALL for word in ("--set", one)]
    with small_disk(folder / "cache") as cache:
        made = Cluster(folder / "state", free_ports(1)[0], (*options, "--set", f"cache_path={cache}"))
        try:
            yield made
        finally:
            made.command("down", "--delete-data")


def test_a_port_that_is_taken_is_named_by_up(cluster: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cluster.port))
        taken.listen()
        said = cluster.up(fails=True).splitlines()[-1]
    assert said.startswith("redkite: proxy-1 did not come up: ")
    assert str(cluster.port) in said


def test_after_its_supervisor_was_killed_up_says_so_and_the_next_goes_on(cluster: Cluster) -> None:
    cluster.command("down")
    line = [sys.executable, "-m", "redkite", "cluster", "up", "--state", str(cluster.state), *cluster.words()]
    up = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    state = State(cluster.state)
    until(lambda: state.is_supervised and bool(state.wanted().nodes))
    supervisor = state.present().supervisor
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    _, error = up.communicate(timeout=120)
    assert up.returncode == 1
    assert "`redkite cluster up` brings it up again" in error
    assert len(error.splitlines()) == 1
    cluster.up()


@pytest.mark.parametrize("name", ["etcd", "log"])
def test_a_part_that_is_killed_while_all_comes_up_is_started_again(name: str, cluster: Cluster) -> None:
    cluster.command("down")
    line = [sys.executable, "-m", "redkite", "cluster", "up", "--state", str(cluster.state), *cluster.words()]
    up = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    state = State(cluster.state)
    until(lambda: "streaming-1" in state.present().nodes)
    kind = os.environ.get("CLUSTER_LOG", "kafka") if name == "log" else name
    part(cluster, kind).kill()
    said, error = up.communicate(timeout=240)
    assert up.returncode == 0, (said, error)
    cluster.wait_well()


# -- while it runs ------------------------------------------------------------------------------
def rows(first: int, count: int) -> list[dict[str, Any]]:
    vectors = np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)
    return [{"id": first + n, "vector": vector.tolist()} for n, vector in enumerate(vectors)]


def insert(cluster: Cluster, first: int, count: int) -> None:
    client = cluster.client()
    if not client.has_collection(NAME):
        client.create_collection(NAME, dimension=DIM, metric_type="L2", consistency_level="Strong")
    client.insert(NAME, rows(first, count))
    client.flush(NAME)
    client.close()


def count(cluster: Cluster) -> int:
    client = cluster.client()
    found: int = client.query(NAME, output_fields=["count(*)"])[0]["count(*)"]
    client.close()
    return found


def test_a_query_node_whose_disk_is_full_says_so_and_goes_on(cluster: Cluster) -> None:
    insert(cluster, 0, 1000)
    cache = Path(State(cluster.state).config().cache_path)
    ballast = cache / "ballast"
    try:
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        insert(cluster, 10_000, 1000)
        assert count(cluster) == 2000
        client = cluster.client()
        (hits,) = client.search(NAME, [rows(10_000, 1)[0]["vector"]], limit=1)
        assert hits[0]["id"] == 10_000
        until(lambda: f"the disk of cache_path = '{cache}' is nearly full" in reasons(cluster))
    finally:
        ballast.unlink(missing_ok=True)
    assert count(cluster) == 2000


@pytest.mark.parametrize("name", ["log", "objects"])
def test_a_part_that_stands_still_is_a_reason_of_health(name: str, cluster: Cluster) -> None:
    parts = State(cluster.state).wanted().parts
    kind = os.environ.get("CLUSTER_LOG", "kafka") if name == "log" else "s3"
    if kind not in parts:
        pytest.skip("objects are in a folder")
    still = part(cluster, kind)
    still.pause()
    try:
        until(lambda: f"the {name} at " in reasons(cluster))
    finally:
        still.go_on()
    cluster.wait_well()
    assert count(cluster) == 2000


def test_without_etcd_status_says_so_in_one_line_above_what_the_supervisor_knows(cluster: Cluster) -> None:
    etcd = part(cluster, "etcd")
    etcd.pause()
    try:
        said = cluster.command("status", fails=True).splitlines()
    finally:
        etcd.go_on()
    assert said[0].startswith(f"redkite: etcd at {etcd.place} cannot be reached")
    assert said[1].startswith("PLACE")
    cluster.wait_well()
    assert count(cluster) == 2000


def test_a_node_that_speaks_another_protocol_does_not_join(cluster: Cluster) -> None:
    said = node(cluster, "query", command=("-c", OTHER_PROTOCOL))
    assert "all nodes of a cluster must speak the same" in said
    assert len(said.splitlines()) == 1


def test_a_node_of_another_authority_does_not_join(cluster: Cluster, tmp_path: Path) -> None:
    tls = Authority(tmp_path).issue("stranger")
    config = tmp_path / "cluster.json"
    config.write_bytes(encode(msgspec.structs.replace(State(cluster.state).config(), tls=tls)))
    said = node(cluster, "streaming", config=str(config))
    assert "refuses to be asked by this one" in said
    assert len(said.splitlines()) == 1
    assert len([one for one in cluster.status()["nodes"] if one["role"] == "streaming"]) == 1


def test_a_node_that_does_not_find_the_log_of_the_others_does_not_join(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in part(cluster, "s3").credentials.items():
        monkeypatch.setenv(name, value)
    backends = open_backends(State(cluster.state).config(), Env.real())
    broker = backends.broker()
    (mark,) = [topic for topic in broker.topics() if topic.startswith("cluster-mark-")]
    broker.drop(mark)  # as if it were another's
    said = node(cluster, "streaming")
    assert f"its topic '{mark}' is not there; set log as the other nodes have it" in said
    assert len(said.splitlines()) == 1
    broker.create(mark)
    backends.close()


def test_an_address_that_is_taken_is_named(cluster: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        said = node(cluster, "query", "--address", place)
    assert place in said
    assert len(said.splitlines()) == 1
