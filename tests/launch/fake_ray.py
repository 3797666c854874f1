"""The calls of Ray that Redkite makes, on actors and tasks in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class GetTimeoutError(Exception):
    """Nobody has answered yet."""


class RayError(Exception):
    """What Ray itself could not do."""


class WorkerCrashedError(RayError):
    """The process of a task has ended."""


class NodeDiedError(RayError):
    """The machine of a task is gone."""


class OutOfMemoryError(RayError):
    """The process of a task had to end."""


class RayActorError(RayError):
    """The actor is gone."""


class ActorUnavailableError(RayActorError):
    """It is being started again."""


@dataclass(eq=False)
class Reference:
    """What was answered: it was done when it was asked for."""

    value: Any = None
    error: Exception | None = None
    is_done: bool = True
    cancelled: bool = False

    @classmethod
    def of(cls, ask: Callable[[], Any]) -> Reference:
        try:
            return cls(ask())
        except (RayError, GetTimeoutError) as error:
            return cls(error=error)


@dataclass(eq=False)
class Actor:
    """One that was started, or waits for room."""

    made: Callable[[], Any]
    options: dict[str, Any]
    has_room: bool = True
    is_dead: bool = False
    is_restarting: bool = False
    instance: Any = None
    asked: list[str] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether it was asked to leave."""
        return "leave" in self.asked

    def __getattr__(self, method: str) -> Any:
        def asked() -> Any:
            self.asked.append(method)
            if self.is_dead:
                raise RayActorError(f"{self.options['name']} has died")
            if self.is_restarting:
                raise ActorUnavailableError(f"{self.options['name']} is away")
            if not self.has_room:
                raise GetTimeoutError("in vain")
            if self.instance is None:
                self.instance = self.made()
            return getattr(self.instance, method)()

        return SimpleNamespace(remote=lambda: Reference.of(asked))


@dataclass
class FakeRay:
    """One cluster of Ray's with all the room that a test leaves it."""

    actors: dict[str, Actor] = field(default_factory=dict)
    inits: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[tuple[dict[str, Any], tuple[Any, ...]]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    has_room: bool = True
    unreachable: bool = False
    tasks_hang: bool = False
    task_error: Exception | None = None
    is_open: bool = False
    exceptions = SimpleNamespace(
        GetTimeoutError=GetTimeoutError, RayActorError=RayActorError, RayError=RayError,
        ActorUnavailableError=ActorUnavailableError, WorkerCrashedError=WorkerCrashedError,
        NodeDiedError=NodeDiedError, OutOfMemoryError=OutOfMemoryError,
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.util = SimpleNamespace(
            list_named_actors=lambda: [name for name, actor in self.actors.items() if not actor.is_dead],
            get_node_ip_address=lambda: "127.0.0.1",
        )

    def init(self, **options: Any) -> None:
        if self.unreachable:
            raise ConnectionError("could not find Ray\nand much more")
        self.inits.append(options)
        self.is_open = True

    def shutdown(self) -> None:
        self.is_open = False

    def remote(self, what: Any) -> Any:
        def options(**given: Any) -> Any:
            return SimpleNamespace(remote=lambda *arguments: self._begin(what, given, arguments))

        return SimpleNamespace(options=options)

    def _begin(self, what: Any, given: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
        if isinstance(what, type):
            if given["name"] in self.actors:
                raise ValueError(f"the name {given['name']} is taken")
            actor = Actor(lambda: what(*arguments), given, self.has_room)
            self.actors[given["name"]] = actor
            return actor
        self.tasks.append((given, arguments))
        reference = Reference(is_done=False) if self.tasks_hang else Reference.of(lambda: self._run(what, arguments))
        self.references.append(reference)
        return reference

    def _run(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if self.task_error is not None:
            raise self.task_error
        return work(*arguments)

    def get_actor(self, name: str) -> Actor:
        actor = self.actors.get(name)
        if actor is None:
            raise ValueError(f"no actor {name}")
        return actor

    def get(self, reference: Reference, timeout: float | None = None) -> Any:
        if reference.error is not None:
            raise reference.error
        return reference.value

    def wait(
        self, references: list[Reference], num_returns: int = 1, timeout: float | None = None
    ) -> tuple[list[Reference], list[Reference]]:
        return [one for one in references if one.is_done], [one for one in references if not one.is_done]

    def cancel(self, reference: Reference, force: bool = False) -> None:
        reference.cancelled = force

    def kill(self, actor: Actor, no_restart: bool = False) -> None:
        assert no_restart, "Ray would start it again"
        self.actors = {name: one for name, one in self.actors.items() if one is not actor}

    def get_runtime_context(self) -> Any:
        """Of the actor that has ended."""
        return SimpleNamespace(current_actor=next(actor for actor in self.actors.values() if actor.has_ended))
