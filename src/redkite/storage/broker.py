"""What a distributed log is asked for: ordered messages in topics, kept until they are given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

from redkite.env import Buffer
from redkite.errors import InvalidParameter, MilvusException

LEAST_MESSAGE_BYTES: Final = 1024


def check_limits(kind: str, message_bytes: int, timeout_seconds: float) -> None:
    """Raises InvalidParameter for a message without room for a record, or no time to answer."""
    if message_bytes < LEAST_MESSAGE_BYTES:
        raise InvalidParameter(f"{kind} message_bytes must be at least {LEAST_MESSAGE_BYTES}, not {message_bytes}")
    if timeout_seconds <= 0:
        raise InvalidParameter(f"{kind} timeout_seconds must be positive, not {timeout_seconds:g}")


class Message(NamedTuple):
    position: int
    """A later message of the topic has a larger one; they need not be dense."""
    payload: Buffer


class Following(Protocol):
    def close(self) -> None:
        """Nothing is delivered when this has returned, unless it is called from a delivery."""
        ...


class Broker(Protocol):
    """Kafka, Pulsar, or one in memory. Every method may be called from any thread; one that cannot reach anybody raises
    Unavailable in time."""

    message_bytes: int
    """A message may be so long."""

    def create(self, topic: str) -> None:
        """Existing is not an error."""
        ...

    def send(self, topic: str, payload: bytes, done: Callable[[MilvusException | None], None]) -> None:
        """Append a message. `done(None)`: it is kept, replicated and durable; `done(error)`: perhaps not, and perhaps
        it comes later. Messages of one sender are kept in the order of the calls, but for those that failed. The broker
        may keep one twice."""
        ...

    def follow(
        self,
        topic: str,
        position: int,
        deliver: Callable[[Message], None],
        failed: Callable[[MilvusException], None],
    ) -> Following:
        """Every message from a position on, in order, as they come. After `failed` nothing more is delivered."""
        ...

    def read(self, topic: str, position: int) -> Iterator[Message]:
        """Every message from a position on that is there at the time of the call."""
        ...

    def bounds(self, topic: str) -> tuple[int, int]:
        """The position of the first message that is kept, and the one behind the last; (0, 0) for no such topic."""
        ...

    def forget(self, topic: str, position: int) -> None:
        """Messages before a position may go; the one at it, and all behind, stay."""
        ...

    def topics(self) -> list[str]: ...

    def drop(self, topic: str) -> None:
        """Missing is not an error."""
        ...

    def close(self) -> None: ...
