"""Places on a real Ray of several nodes: whose labels they go by, and what becomes of them when a node of Ray dies.

What a cluster stands on is not there, so that each place goes on trying: it is Ray that is asked here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.patience import until

from redkite.cluster.config import ClusterConfig, Resources
from redkite.launch.parts import free_ports
from redkite.launch.ray_runtime import RayRuntime
from redkite.launch.runtime import Placed

ray = pytest.importorskip("ray", reason="make cluster CLUSTER_RUNTIME=ray installs it")
pytestmark = pytest.mark.slow
STARTING = 240.0


@pytest.fixture
def hosts() -> Iterator[Any]:
    """A Ray whose head takes no places, and a node for query nodes alone."""
    utilities = pytest.importorskip("ray.cluster_utils")
    cluster = utilities.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def runtime(hosts: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayRuntime]:
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    config = ClusterConfig(
        name="ray-nodes",
        etcd=(f"127.0.0.1:{free_ports(1)[0]}",),
        resources={"query": Resources(cpus=1, labels={"query": 1}), "streaming": Resources(cpus=1)},
    )
    made = RayRuntime(config, hosts.address)
    yield made
    made.end()
    made.close()


def test_a_place_goes_where_its_label_is_and_elsewhere_when_that_node_of_ray_dies(
    hosts: Any, runtime: RayRuntime
) -> None:
    labelled, _ = hosts.add_node(num_cpus=1, resources={"query": 1}), hosts.add_node(num_cpus=1)
    hosts.wait_for_nodes()

    def tried(name: str) -> Placed | None:
        place = runtime.placed().get(name)
        return place if place is not None and place.stage == "failed" else None

    runtime.start("query-1", "query")
    until(lambda: tried("query-1") is not None, STARTING)  # the other waits, so that it does not take its room
    runtime.start("streaming-1", "streaming")
    until(lambda: tried("streaming-1") is not None, STARTING)
    before = runtime.placed()
    assert all("etcd" in place.error for place in before.values())

    hosts.remove_node(labelled, allow_graceful=False)
    until(lambda: "no room" in runtime.placed()["query-1"].error, STARTING)
    hosts.add_node(num_cpus=1, resources={"query": 1})
    until(lambda: tried("query-1") is not None, STARTING)
    after = runtime.placed()
    assert after["query-1"].where != before["query-1"].where
    assert after["streaming-1"].where == before["streaming-1"].where
