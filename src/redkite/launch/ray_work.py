"""The work of data nodes as tasks of Ray: it goes where there is room, and is done again where a process dies.

Whoever wants it asks again, under new names, and Ray does not: where it takes a machine for dead that it does not
reach, the task may be at work there still, and would write over what another try of the same names has made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from redkite.cluster.backends import open_objects
from redkite.cluster.codec import Codec
from redkite.cluster.config import ClusterConfig, Resources, decode, encode
from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.import_work import reader_of
from redkite.cluster.work_messages import Done, Work, WorkLost, stopped
from redkite.cluster.work_node import WorkNode
from redkite.cluster.workbench import Workplace
from redkite.env import Env
from redkite.errors import MilvusException, Unavailable
from redkite.launch.ray_runtime import first_line
from redkite.node.memory import MemoryBudget

_LOOK_SECONDS: Final = 0.25
_ASKING: Final = 0
"""The number by which a process asks that is no node."""


def ray_place(config: ClusterConfig) -> Workplace:
    """Has each piece of work done by a task."""
    import ray

    wanted_resources = config.resources.get("data", Resources())
    task: Any = ray.remote(_work).options(
        num_cpus=wanted_resources.cpus, memory=wanted_resources.memory or None, resources=wanted_resources.labels,
        max_retries=0, name="redkite-data-work",
    )  # fmt: skip
    content, codec = encode(config), Codec()
    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)

    def place(message: Work, wanted: Callable[[], bool]) -> Done:
        reference = task.remote(content, codec.encode(message))
        while True:
            done, _ = ray.wait([reference], timeout=_LOOK_SECONDS)
            if done:
                break
            if not wanted():
                ray.cancel(reference, force=True)
                return stopped(message)
        try:
            reply: Any = codec.decode(ray.get(reference))
        except lost as error:
            raise WorkLost(f"its process at Ray is gone: {first_line(error)}") from error
        except ray.exceptions.RayError as error:
            raise Unavailable(f"Ray could not do it: {first_line(error)}") from error
        if isinstance(reply, MilvusException):
            raise reply
        found: Done = reply
        return found

    return place


def _work(content: bytes, frame: bytes) -> bytes:
    """One piece, in a process of Ray's. An error of ours is an answer: Ray need not try it again."""
    worker, codec = _worker(content), Codec()
    try:
        return codec.encode(worker.do(codec.decode(frame), _always))
    except MilvusException as error:
        return codec.encode(error)


@cache
def _worker(content: bytes) -> WorkNode:
    """Of this process, for all its tasks."""
    config, env = decode(content), Env.real()
    settings = config.settings
    memory = MemoryBudget(env, settings.memory_limit, settings.memory_wait_seconds)
    threads = settings.threads or max(1, round(config.resources.get("data", Resources()).cpus)) or os.cpu_count() or 1
    network = GrpcNetwork(env, config.name, _ASKING, config.tls)
    store = open_objects(config, env)
    return WorkNode(_ASKING, env, store, threads, memory, network, reader_of(env, store, memory, settings))


def _always() -> bool:
    """Ray ends the process when the work is not wanted any more."""
    return True
