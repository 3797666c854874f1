"""A runtime of Ray's: each place is a detached actor of that name, which Ray starts again when it ends.

Ray is asked where nodes are to be and starts their processes. It carries nothing of what nodes say to each other, and
they do not ask it who lives: when its head is gone, nodes go on, and only starting and ending them has to wait.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec

from redkite.cluster.config import ClusterConfig, Resources, Role, decode, encode
from redkite.errors import InvalidParameter, MilvusException, Unavailable
from redkite.launch.node import DRAIN_SECONDS, Doors, Node
from redkite.launch.parts import answers_at
from redkite.launch.runtime import Placed, Stage, role_of
from redkite.logs import get_logger
from redkite.server.process import begin_process

log = get_logger(__name__)

ASK_SECONDS: Final = 5.0
END_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 1.0
_ACTOR_THREADS: Final = 4
_FOREVER: Final = -1


class RayRuntime:
    """The nodes of a cluster on one Ray cluster."""

    def __init__(self, config: ClusterConfig, address: str) -> None:
        """Raises InvalidParameter without the library, Unavailable when nobody answers at the address."""
        self._ray = _library()
        self._config = config
        host, _, port = address.rpartition(":")
        if host and "/" not in host and port.isdecimal() and not answers_at(int(port), host):
            raise Unavailable(f"Ray at {address} cannot be reached: nobody listens there")  # Ray itself takes minutes
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            self._ray.init(
                address=address, namespace=namespace(config.name), log_to_driver=False, configure_logging=False,
                ignore_reinit_error=True,
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            raise Unavailable(f"Ray at {address} cannot be reached: {first_line(error)}") from error
        self._leaving: set[str] = set()

    def placed(self) -> dict[str, Placed]:
        names = [name for name in self._ray.util.list_named_actors() if _is_place(name)]
        asked = {name: self._asked(name, "describe") for name in names}
        found = {name: self._described(name, reference) for name, reference in asked.items()}
        return {name: placed for name, placed in found.items() if placed is not None}

    def _asked(self, name: str, method: str) -> Any:
        """What will be answered; None when there is no such actor any more."""
        with suppress(ValueError):
            return getattr(self._ray.get_actor(name), method).remote()
        return None

    def _described(self, name: str, reference: Any) -> Placed | None:
        role = role_of(name)
        if reference is None:
            return None
        try:
            content = self._ray.get(reference, timeout=ASK_SECONDS)
        except (self._ray.exceptions.GetTimeoutError, self._ray.exceptions.ActorUnavailableError):
            # It is still its place: Ray starts it again, elsewhere where that host is gone.
            room = self._config.resources.get(role)
            needs = "" if room is None else f" It needs {room.cpus:g} cores and {room.memory >> 20} MB on one host."
            return Placed(
                name=name, role=role, stage="starting", error=f"Ray has not started it: it may have no room.{needs}"
            )
        except self._ray.exceptions.RayActorError:
            return None
        placed = msgspec.json.decode(content, type=Placed)
        return msgspec.structs.replace(placed, stage="leaving") if name in self._leaving else placed

    def start(self, name: str, role: Role) -> None:
        resources = self._config.resources.get(role, Resources(cpus=0))
        actor: Any = self._ray.remote(RayNode)
        actor.options(
            name=name, lifetime="detached", max_restarts=_FOREVER, max_task_retries=0, num_cpus=resources.cpus,
            memory=resources.memory or None, resources=resources.labels, max_concurrency=_ACTOR_THREADS,
            scheduling_strategy="SPREAD",
        ).remote(encode(self._config), name, role)  # fmt: skip

    def stop(self, name: str) -> None:
        if self._asked(name, "leave") is not None:
            self._leaving.add(name)

    def end(self) -> None:
        references = [self._asked(name, "end") for name in self.placed()]
        waiting = [reference for reference in references if reference is not None]
        if waiting:
            self._ray.wait(waiting, num_returns=len(waiting), timeout=END_SECONDS)
        for name in [name for name in self._ray.util.list_named_actors() if _is_place(name)]:
            with suppress(ValueError):
                self._ray.kill(self._ray.get_actor(name), no_restart=True)

    def close(self) -> None:
        self._ray.shutdown()


def namespace(cluster: str) -> str:
    """In which the actors of a cluster have their names."""
    return f"redkite-{cluster}"


def first_line(error: Exception) -> str:
    """Of what Ray says, which may be pages, or nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _is_place(name: str) -> bool:
    try:
        role_of(name)
        return name.rpartition("-")[2].isdecimal()
    except StopIteration:
        return False


def _library() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InvalidParameter(
            "Ray runs the nodes, and is not installed: pip install 'redkite[ray]', or use --runtime processes"
        ) from error
    return ray


class RayNode:
    """The actor: one node in a process of Ray's. It is there at once, its node when it can be."""

    def __init__(self, content: bytes, name: str, role: Role) -> None:
        self._config, self._name, self._role = decode(content), name, role
        begin_process(self._config.settings)
        self._stage: Stage = "starting"
        self._error = ""
        self._node: Node | None = None
        self._doors: Doors | None = None
        self._ending = threading.Event()
        self._loop = asyncio.SelectorEventLoop()  # Ray would have another kind, whose transports are of other classes
        threading.Thread(target=self._loop.run_forever, name="doors", daemon=True).start()
        threading.Thread(target=self._begin, name="node", daemon=True).start()

    def _begin(self) -> None:
        """Again and again until it is there: a part may be late."""
        while not self._ending.is_set():
            try:
                self._start()
            except MilvusException as error:
                self._error, self._stage = error.message, "failed"
                log.error("%s could not be started: %s", self._name, error.message)
                self._ending.wait(_AGAIN_SECONDS)
            else:
                self._error, self._stage = "", "ready"
                return

    def _start(self) -> None:
        import ray

        utilities: Any = ray.util
        host = utilities.get_node_ip_address()
        node = Node(self._config, self._role, f"{host}:0")
        try:
            if self._role == "proxy":
                self._doors = self._opened(node)
            else:
                if self._role == "data":
                    from redkite.launch.ray_work import ray_place

                    node.role.bench.place = ray_place(self._config)
                node.start()
        except BaseException:
            node.close()
            raise
        self._node = node

    def _opened(self, node: Node) -> Doors:
        doors = Doors(node)
        try:
            self._await(doors.open())
        except BaseException:
            self._await(doors.close())  # some of the ports may be open
            raise
        return doors

    def _await(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def describe(self) -> bytes:
        """A `Placed`."""
        node = self._node
        facts = None if node is None else node.facts()
        return msgspec.json.encode(Placed(
            name=self._name, role=self._role, stage=self._stage, where=f"process {os.getpid()}", error=self._error,
            node_id=0 if facts is None else facts.node_id, address="" if facts is None else facts.address,
            port=0 if facts is None else facts.port, metrics_port=0 if facts is None else facts.metrics_port,
        ))  # fmt: skip

    def leave(self) -> None:
        """Hand over what the node has and end for good, in the background."""
        self._stage = "leaving"
        threading.Thread(target=self._leave, name="leave", daemon=True).start()

    def _leave(self) -> None:
        if self._node is not None:
            self._node.drain(DRAIN_SECONDS)
        self.end()
        import ray

        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def end(self) -> None:
        """End the node now."""
        self._ending.set()
        try:
            if self._doors is not None:
                self._await(self._doors.close())
            elif self._node is not None:
                self._node.close()
        except MilvusException as error:
            log.warning("%s did not end in good order: %s", self._name, error.message)
