"""A service that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from redkite.errors import Unimplemented
from redkite.model.requests import CheckHealth, Connect, GetVersion, ListDatabases, Request
from redkite.model.results import Databases, Health, Result, ServerInfo, Version

Answer = Callable[[Any], Result | Future[Result]]


class FakeService:
    """Answers by type of request, and remembers what it was asked. `slow` types are not quick."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.slow: set[type[Request]] = set()
        self.answers: dict[type[Request], Answer] = {
            Connect: lambda _: ServerInfo(version="v2.6.0", identifier=7),
            GetVersion: lambda _: Version(version="v2.6.0"),
            CheckHealth: lambda _: Health(healthy=True),
            ListDatabases: lambda _: Databases(names=("default",), ids=(1,), created_timestamps=(1,)),
        }

    def call(self, request: Request) -> Result | Future[Result]:
        self.asked.append(request)
        answer = self.answers.get(type(request))
        if answer is None:
            raise Unimplemented(f"{type(request).__name__} is not built")
        return answer(request)

    def is_quick(self, request: Request) -> bool:
        return type(request) not in self.slow

    def last(self, kind: type[Request]) -> Any:
        """The last request of a type."""
        return next(request for request in reversed(self.asked) if type(request) is kind)
