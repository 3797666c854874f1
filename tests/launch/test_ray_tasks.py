"""The work of data nodes as tasks of a real Ray, whose processes are killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.test_segments_written_elsewhere import growing
from tests.patience import until

from redkite.cluster import data_work
from redkite.cluster.backends import open_objects
from redkite.cluster.config import ClusterConfig, Resources
from redkite.cluster.data_work import SharedDataNode
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.work_messages import GiveRows
from redkite.cluster.workbench import Workbench
from redkite.env import Env
from redkite.launch.ray_work import ray_place
from redkite.node.memory import MemoryBudget

ray = pytest.importorskip("ray", reason="make cluster CLUSTER_RUNTIME=ray installs it")
pytestmark = pytest.mark.slow
TASK = b"ray::redkite-data-work"
ASKER, WORKER = 1, 2


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray of this machine alone."""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else it would leave a token in the home of the user
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def processes_at_work() -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().startswith(TASK):
                    found.append(int(folder.name))
            except OSError:
                continue  # it has ended
    return found


def test_a_segment_whose_task_is_killed_is_written_by_another_under_another_name(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_work, "LEAST_BYTES", 1)
    config = ClusterConfig(name="ray-tasks", objects=str(tmp_path / "objects"), resources={"data": Resources(cpus=1)})
    env, numbers = Env.real(), count(1000)
    store = open_objects(config, env, "asker")
    asks, works = GrpcNetwork(env, config.name, ASKER), GrpcNetwork(env, config.name, WORKER)
    bench = Workbench(env, WORKER, ray_place(config), {ASKER}.__contains__, 1)
    works_at = works.serve("127.0.0.1:0", bench.handlers()).address
    node = SharedDataNode(
        ASKER, env, store, 1, MemoryBudget(env), asks, lambda: [(WORKER, works_at)], lambda: next(numbers),
        lambda: asks_at,
    )  # fmt: skip
    handlers = node.handlers()
    tries: list[int] = []

    def give(message: Any) -> Any:
        """Whoever asks for rows first is killed as it waits for them."""
        tries.append(message.work_id)
        if len(tries) == 1:
            until(lambda: bool(processes_at_work()), 60)
            for pid in processes_at_work():
                os.kill(pid, signal.SIGKILL)
        return handlers[GiveRows](message)

    asks_at = asks.serve("127.0.0.1:0", {**handlers, GiveRows: give}).address
    try:
        made = node.write_segment(3, "channel", growing(), lambda: True)
        assert made is not None
        assert (bench.failed, bench.done) == (1, 1)
        assert sorted(set(tries)) == [1000, 1001]
        assert made.meta.rows_object.endswith("/rows-1001.arrow")
        assert store.exists(made.meta.rows_object)
    finally:
        for part in (bench, node, asks, works):
            part.close()
