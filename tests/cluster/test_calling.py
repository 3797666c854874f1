"""Asking the owner of a channel again, when the first call has missed it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

from redkite.cluster.network import Remote
from redkite.cluster.shards.calling import Caller, Follows, Ids, Routes
from redkite.cluster.shards.upkeep import AskFacts
from redkite.env import Env
from redkite.errors import NotOwner


class Owner:
    """Is not the owner when it is asked first; notes how long it is given."""

    def __init__(self) -> None:
        self.given: list[float] = []

    def ask(self, _: Any, seconds: float) -> Any:
        self.given.append(seconds)
        raise NotOwner.of("c")

    def ask_soon(self, _: Any, seconds: float) -> Future[Any]:
        self.given.append(seconds)
        answer: Future[Any] = Future()
        answer.set_result("well")
        return answer


class Places:
    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def route(self, _: str) -> Remote:
        return cast(Remote, self._owner)

    def news(self) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(None)
        return done


def test_the_second_call_is_given_as_long_as_the_first() -> None:
    owner = Owner()
    routes: Routes = Places(owner)
    caller = Caller(Env.real(), routes, cast(Ids, None), cast(Follows, None))
    assert caller.ask("c", AskFacts(channel="c"), 7.0) == "well"
    assert owner.given == [7.0, 7.0]
