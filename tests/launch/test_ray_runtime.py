"""Nodes as actors of Ray, and their work as its tasks: on calls of Ray that are kept in this process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.cluster.test_segments_written_elsewhere import growing
from tests.launch import fake_ray
from tests.launch.fake_ray import FakeRay

from redkite.cluster import data_work
from redkite.cluster.backends import open_objects
from redkite.cluster.config import ClusterConfig, Resources, Role, encode
from redkite.cluster.data_work import SharedDataNode
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.work_messages import BuildIndex, BuiltIndex, WorkLost
from redkite.cluster.workbench import Workbench
from redkite.env import Env
from redkite.errors import DiskLimitExceeded, InvalidParameter, MilvusException, Unavailable
from redkite.launch import ray_runtime, ray_work
from redkite.launch.control import Control
from redkite.launch.parts import free_ports
from redkite.launch.ray_runtime import RayNode, RayRuntime
from redkite.launch.runtime import Placed
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexMeta, IndexSpec, SegmentMeta
from redkite.model.types import Metric
from redkite.node.data import DataNode
from redkite.node.memory import MemoryBudget

CONFIG = ClusterConfig(
    name="shop", query=2, data=0, resources={"query": Resources(cpus=3, memory=5 << 20, labels={"big": 1})}
)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


class FakeNode:
    """A node that takes no time."""

    failures: list[MilvusException] = []
    made: list[FakeNode] = []
    drained = closed = started = False

    def __init__(self, config: ClusterConfig, role: Role, address: str) -> None:
        self.role = SimpleNamespace(bench=SimpleNamespace(place=None))
        self.kind, self.address = role, address
        FakeNode.made.append(self)

    def start(self) -> None:
        if FakeNode.failures:
            raise FakeNode.failures.pop(0)
        self.started = True

    def facts(self) -> Any:
        return SimpleNamespace(node_id=7, address="127.0.0.1:5", port=0, metrics_port=0)

    def drain(self, seconds: float) -> bool:
        self.drained = True
        return True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[FakeNode]:
    monkeypatch.setattr(ray_runtime, "Node", FakeNode)
    monkeypatch.setattr(ray_runtime, "_AGAIN_SECONDS", 0.01)
    FakeNode.failures, FakeNode.made = [], []
    return FakeNode.made


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- the runtime --------------------------------------------------------------------------------
def test_each_place_is_an_actor_that_ray_starts_again_for_ever(ray: FakeRay, nodes: list[FakeNode]) -> None:
    config = msgspec.structs.replace(CONFIG, coordinators=1, streaming=1, proxies=0)
    runtime = RayRuntime(config, "auto")
    placed = Control(runtime, lambda _: None).up(config)
    assert sorted(placed) == ["coordinator-1", "query-1", "query-2", "streaming-1"]
    options = ray.actors["query-1"].options
    assert (options["max_restarts"], options["lifetime"], options["scheduling_strategy"]) == (-1, "detached", "SPREAD")
    assert (options["num_cpus"], options["memory"], options["resources"]) == (3, 5 << 20, {"big": 1})
    assert ray.inits[0]["namespace"] == "redkite-shop"
    runtime.close()
    assert not ray.is_open


def test_other_actors_of_the_namespace_are_no_places(ray: FakeRay, nodes: list[FakeNode]) -> None:
    runtime = RayRuntime(CONFIG, "auto")
    for name in ("query", "query-x", "someone-1"):
        ray.actors[name] = fake_ray.Actor(lambda: None, {"name": name})
    assert runtime.placed() == {}


def test_a_node_for_which_ray_has_no_room_is_told_with_what_it_needs(ray: FakeRay, nodes: list[FakeNode]) -> None:
    ray.has_room = False
    runtime = RayRuntime(CONFIG, "auto")
    runtime.start("query-1", "query")
    (placed,) = runtime.placed().values()
    assert placed.stage == "starting"
    assert placed.error == "Ray has not started it: it may have no room. It needs 3 cores and 5 MB on one host."


def test_an_actor_that_has_died_for_good_is_no_place(ray: FakeRay, nodes: list[FakeNode]) -> None:
    runtime = RayRuntime(CONFIG, "auto")
    runtime.start("query-1", "query")
    ray.util.list_named_actors = lambda: ["query-1"]
    ray.actors["query-1"].is_dead = True
    assert runtime.placed() == {}


def test_an_actor_that_ray_starts_again_keeps_its_place_and_no_other_gets_its_name(
    ray: FakeRay, nodes: list[FakeNode]
) -> None:
    runtime = RayRuntime(CONFIG, "auto")
    runtime.start("query-1", "query")
    ray.actors["query-1"].is_restarting = True
    assert runtime.placed()["query-1"].stage == "starting"
    with pytest.raises(Unavailable, match="query-1"):
        Control(runtime, lambda _: None).scale({"query": 1}, seconds=0)
    assert list(ray.actors) == ["query-1"]


def test_a_node_that_is_stopped_hands_over_and_its_actor_is_not_started_again(
    ray: FakeRay, nodes: list[FakeNode]
) -> None:
    runtime = RayRuntime(CONFIG, "auto")
    runtime.start("query-1", "query")
    until(lambda: runtime.placed()["query-1"].stage == "ready")
    runtime.stop("query-1")
    until(lambda: runtime.placed() == {})
    assert nodes[0].drained
    assert nodes[0].closed
    runtime.stop("query-1")  # it is gone: nothing to do


def test_at_the_end_nothing_is_handed_over_and_no_actor_is_left(ray: FakeRay, nodes: list[FakeNode]) -> None:
    runtime = RayRuntime(CONFIG, "auto")
    for name in ("query-1", "query-2"):
        runtime.start(name, "query")
    until(lambda: {one.stage for one in runtime.placed().values()} == {"ready"})
    runtime.end()
    assert ray.actors == {}
    assert [node.closed for node in nodes] == [True, True]
    assert not any(node.drained for node in nodes)


def test_where_nobody_listens_that_is_told_at_once(ray: FakeRay) -> None:
    port = free_ports(1)[0]
    with pytest.raises(Unavailable, match=f"Ray at 127.0.0.1:{port} cannot be reached: nobody listens there"):
        RayRuntime(CONFIG, f"127.0.0.1:{port}")
    assert ray.inits == []


def test_of_what_ray_says_one_line_is_told(ray: FakeRay) -> None:
    ray.unreachable = True
    with pytest.raises(Unavailable) as told:
        RayRuntime(CONFIG, "auto")
    assert told.value.message == "Ray at auto cannot be reached: could not find Ray"


def test_an_error_of_ray_without_words_is_told_by_its_name(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(**_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(ray, "init", silent)
    with pytest.raises(Unavailable, match="Ray at auto cannot be reached: TimeoutError"):
        RayRuntime(CONFIG, "auto")


def test_a_ray_that_wants_another_token_is_told_of(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise fake_ray.RayError("Authentication token is missing")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(Unavailable, match="Ray at auto cannot be reached: Authentication token is missing"):
        RayRuntime(CONFIG, "auto")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidParameter, match=r"pip install 'redkite\[ray\]'"):
        RayRuntime(CONFIG, "auto")


# -- the actor ----------------------------------------------------------------------------------
def described(node: RayNode) -> Placed:
    return msgspec.json.decode(node.describe(), type=Placed)


def test_an_actor_is_there_at_once_and_tries_until_its_node_can_be(ray: FakeRay, nodes: list[FakeNode]) -> None:
    FakeNode.failures = [Unavailable("etcd does not answer")] * 3
    node = RayNode(encode(CONFIG), "query-1", "query")
    until(lambda: described(node).stage == "ready")
    assert [one.closed for one in nodes] == [True, True, True, False]
    assert described(node).error == ""
    assert (described(node).node_id, described(node).address) == (7, "127.0.0.1:5")
    assert nodes[-1].address == "127.0.0.1:0"
    node.end()


def test_the_ports_of_a_proxy_that_could_not_be_started_are_given_back(
    ray: FakeRay, nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next try would find the port of its metrics taken, and have clients come to who does not answer."""
    made: list[FakeDoors] = []

    class FakeDoors:
        def __init__(self, node: FakeNode) -> None:
            self.node, self.closed = node, 0
            made.append(self)

        async def open(self) -> None:
            self.node.start()

        async def close(self) -> None:
            self.closed += 1
            self.node.close()

    monkeypatch.setattr(ray_runtime, "Doors", FakeDoors)
    FakeNode.failures = [Unavailable("etcd does not answer")] * 2
    node = RayNode(encode(CONFIG), "proxy-1", "proxy")
    until(lambda: described(node).stage == "ready")
    assert [(one.closed, one.node.closed) for one in made] == [(1, True), (1, True), (0, False)]
    node.end()


def test_an_actor_says_why_its_node_is_not_there(ray: FakeRay, nodes: list[FakeNode]) -> None:
    FakeNode.failures = [Unavailable("etcd does not answer")] * 10_000
    node = RayNode(encode(CONFIG), "query-1", "query")
    until(lambda: described(node).stage == "failed")
    assert described(node).error == "etcd does not answer"
    node.end()
    made = len(nodes)
    time.sleep(0.1)
    assert len(nodes) <= made + 1, "after its end it does not try any more"


def test_the_work_of_a_data_node_is_done_by_tasks(ray: FakeRay, nodes: list[FakeNode]) -> None:
    node = RayNode(encode(CONFIG), "data-1", "data")
    until(lambda: described(node).stage == "ready")
    assert nodes[0].role.bench.place is not None
    node.end()


# -- tasks --------------------------------------------------------------------------------------
class Worker:
    """Does what a test wants."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def do(self, message: Any, wanted: Callable[[], bool]) -> Any:
        assert wanted()
        self.asked.append(message)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


SEGMENT = SegmentMeta(
    segment_id=5, collection_id=3, partition_id=4, channel="c", rows=9, size=9, rows_object="o", rows_crc=1,
)  # fmt: skip
INDEX = IndexMeta(
    index_id=7, collection_id=3, field_id=101, field="vector", name="vector", params={}, created_timestamp=1,
    spec=IndexSpec(index_type="HNSW", metric=Metric.L2, build={"M": 8}),
)  # fmt: skip
MESSAGE = BuildIndex(
    work_id=1, meta=SEGMENT, index=INDEX, schema=CollectionSchema(name="things", fields=()), name="an object"
)


def test_work_goes_to_a_task_where_there_is_what_it_needs(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(BuiltIndex(None))
    monkeypatch.setattr(ray_work, "_worker", lambda _: worker)
    config = msgspec.structs.replace(CONFIG, resources={"data": Resources(cpus=2, labels={"fast": 1})})
    assert ray_work.ray_place(config)(MESSAGE, lambda: True) == BuiltIndex(None)
    ((options, _),) = ray.tasks
    assert (options["num_cpus"], options["resources"]) == (2, {"fast": 1})
    assert options["max_retries"] == 0, "a task that Ray takes for dead may be at work, and shares its names"
    assert worker.asked == [MESSAGE]


@pytest.mark.parametrize("kind", [fake_ray.WorkerCrashedError, fake_ray.NodeDiedError, fake_ray.OutOfMemoryError])
def test_work_whose_process_died_is_told_as_lost(ray: FakeRay, kind: type[fake_ray.RayError]) -> None:
    ray.task_error = kind("the process ended\nand a long story")
    with pytest.raises(WorkLost, match=r"its process at Ray is gone: the process ended\)"):
        ray_work.ray_place(CONFIG)(MESSAGE, lambda: True)


def test_an_error_of_the_work_is_told_as_it_was_and_not_tried_again(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(DiskLimitExceeded("no room"))
    monkeypatch.setattr(ray_work, "_worker", lambda _: worker)
    with pytest.raises(DiskLimitExceeded, match="no room"):
        ray_work.ray_place(CONFIG)(MESSAGE, lambda: True)


def test_what_ray_cannot_do_another_data_node_may(ray: FakeRay) -> None:
    ray.task_error = fake_ray.RayError("no such environment\nand a long story")
    with pytest.raises(Unavailable, match=r"Ray could not do it: no such environment\)"):
        ray_work.ray_place(CONFIG)(MESSAGE, lambda: True)


def test_work_that_is_not_wanted_any_more_is_stopped(ray: FakeRay) -> None:
    ray.tasks_hang = True
    assert ray_work.ray_place(CONFIG)(MESSAGE, lambda: False).is_stopped
    assert ray.references[0].cancelled


def test_a_task_takes_the_rows_of_a_segment_from_the_node_that_has_them(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over sockets, so that Ray carries the message alone; and under the names that the message gives."""
    monkeypatch.setattr(data_work, "LEAST_BYTES", 1)
    config = msgspec.structs.replace(CONFIG, objects=str(tmp_path / "objects"))
    env, numbers = Env.real(), count(1000)
    store = open_objects(config, env, "asker")
    asks, works = GrpcNetwork(env, config.name, 1), GrpcNetwork(env, config.name, 2)
    bench = Workbench(env, 2, ray_work.ray_place(config), {1}.__contains__, 1)
    works_at = works.serve("127.0.0.1:0", bench.handlers()).address
    node = SharedDataNode(
        1, env, store, 1, MemoryBudget(env), asks, lambda: [(2, works_at)], lambda: next(numbers), lambda: asks_at
    )
    asks_at = asks.serve("127.0.0.1:0", node.handlers()).address
    try:
        segment = growing()
        made = node.write_segment(3, "channel", segment, lambda: True)
        assert made is not None
        assert (bench.done, len(ray.tasks)) == (1, 1)
        assert made.meta.rows_object.endswith("/rows-1000.arrow")
        here = DataNode(9, env, store, 1, MemoryBudget(env))
        expected = here.write_segment(3, "channel", segment, lambda: True)
        here.close()
        assert expected is not None
        assert store.get(made.meta.rows_object) == store.get(expected.meta.rows_object)
        assert max(len(argument) for _, arguments in ray.tasks for argument in arguments) < 10_000
    finally:
        worker = ray_work._worker(encode(config))
        ray_work._worker.cache_clear()
        for part in (bench, node, worker, worker._network, asks, works):
            part.close()
