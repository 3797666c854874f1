"""What is tried again soon: what goes wrong with one must not be the end of the others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

import pytest

from redkite.cluster.forwarding import Forwarded, Forwarder
from redkite.cluster.network import Remote
from redkite.cluster.retries import Retries
from redkite.cluster.service import ClusterService
from redkite.cluster.shards.calling import Caller, Follows, Ids, Routes
from redkite.cluster.shards.upkeep import AskFacts
from redkite.env import Env
from redkite.errors import InvalidParameter, NotOwner, WireError
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.storage.followed import FollowedCatalog

SECONDS = 20


def fails() -> None:
    raise WireError("this cannot be sent")


@pytest.mark.parametrize("again", [Retries.now, Retries.close])
def test_one_that_raises_keeps_no_other_from_being_tried(again: Callable[[Retries], None]) -> None:
    retries, tried = Retries(Env.real().tasks), list[int]()
    retries.later(lambda: tried.append(1))
    retries.later(fails)
    retries.later(lambda: tried.append(2))
    again(retries)
    assert tried == [1, 2]
    retries.close()


class Elsewhere:
    """A node that takes what is not `bad`."""

    def ask_soon(self, message: Any, seconds: float) -> Future[Any]:
        if getattr(message, "channel", "") == "bad" or getattr(message, "request", None) == rq.GetVersion(user="bad"):
            fails()
        answer: Future[Any] = Future()
        answer.set_result("well" if hasattr(message, "channel") else self.forwarded())
        return answer

    @staticmethod
    def forwarded() -> Any:
        return Forwarded(rs.Done(), 0)


class Missed:
    """Routes, and a leader, that are not known at first."""

    def __init__(self) -> None:
        self.missing = 2

    def route(self, channel: str) -> Remote:
        if self.missing:
            self.missing -= 1
            raise NotOwner.of(channel)
        return cast(Remote, Elsewhere())

    def remote(self) -> Remote | None:
        if self.missing:
            self.missing -= 1
            return None
        return cast(Remote, Elsewhere())

    def last(self, _: str) -> Remote | None:
        return None


def test_a_write_that_cannot_be_sent_is_told_so_and_others_go_on() -> None:
    caller = Caller(Env.real(), cast(Routes, Missed()), cast(Ids, None), cast(Follows, None))
    bad, good = (caller.send(name, AskFacts(channel=name)) for name in ("bad", "good"))
    assert good.result(SECONDS) == "well"
    with pytest.raises(WireError, match="cannot be sent"):
        bad.result(SECONDS)
    caller.close()


def test_a_request_that_cannot_be_sent_is_told_so_and_others_go_on() -> None:
    class Catalog:
        revision = 0

    forwarder = Forwarder(Env.real(), Missed(), cast(FollowedCatalog, Catalog()))
    bad, good = forwarder.send(rq.GetVersion(user="bad")), forwarder.send(rq.GetVersion())
    assert good.result(SECONDS) == rs.Done()
    with pytest.raises(WireError, match="cannot be sent"):
        bad.result(SECONDS)
    forwarder.close()


def test_a_reply_that_comes_when_the_node_has_closed_is_an_error_and_no_silence() -> None:
    """The catalog is behind the reply, and nobody waits for it any more."""

    class Late:
        def __init__(self) -> None:
            self.reply: Future[Any] = Future()

        def ask_soon(self, *_: Any) -> Future[Any]:
            return self.reply

        def remote(self) -> Any:
            return self

    class Catalog:
        revision = 0

    late = Late()
    forwarder = Forwarder(Env.real(), late, cast(FollowedCatalog, Catalog()))
    answer = forwarder.send(rq.GetVersion())
    forwarder.close()
    late.reply.set_result(Forwarded(rs.Done(), 7))
    assert answer.result(SECONDS) == rs.Done()


def test_a_write_that_fails_when_the_node_has_closed_is_an_error_and_no_silence() -> None:
    service = object.__new__(ClusterService)
    tasks = Env.real().tasks
    service._tasks, service._again = tasks, tasks.executor("ask-again", 1)
    service._again.shutdown()
    write: Future[rs.Result] = Future()
    answer = service._followed(rq.GetVersion(), write, 0)
    write.set_exception(InvalidParameter("no"))
    with pytest.raises(InvalidParameter):
        answer.result(SECONDS)
