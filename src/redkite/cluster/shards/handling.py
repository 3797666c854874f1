"""How an owner takes what it is asked: whoever asks goes on to the next owner when this one has let go meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from redkite.env import Executor
from redkite.errors import NotOwner, TopicClosed, Unavailable

R = TypeVar("R")


class OfChannel(Protocol):
    """A message about a channel."""

    @property
    def channel(self) -> str: ...


def owned(act: Callable[[Any], R]) -> Callable[[Any], R]:
    """What is done for a message. Where the log of its channel was closed before anything was logged, the channel is
    being let go of: NotOwner."""

    def done(message: OfChannel) -> R:
        try:
            return act(message)
        except TopicClosed:
            raise NotOwner.of(message.channel) from None

    return done


def begun(worker: Executor, act: Callable[..., R], message: OfChannel, *more: Any) -> Future[R]:
    """Have `worker` call `act` with a message and what else there is. Raises NotOwner where the node is being closed:
    nothing was begun."""
    try:
        return worker.submit(act, message, *more)
    except Unavailable:
        raise NotOwner.of(message.channel) from None
