"""Asking the owner of a channel, whoever that is by now.

A channel moves while it is asked: its owner died, or handed it over. Then the old owner answers `NotOwner`, or nobody
answers, and the call waits for the next owner until its deadline. What may not be done twice is asked again only where
it is certain that it was not done.
"""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from redkite.cluster.network import ASK_SECONDS, Message, NotReached, Remote, Unanswered
from redkite.cluster.retries import Retries
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Env, away
from redkite.errors import NotOwner, UnknownOutcome
from redkite.node.face import Answer

RETRY_SECONDS: Final = 0.05
"""How long a call waits at most for news of who owns its channel before it looks again."""
FIND_SECONDS: Final = 10.0
"""How long a call that has missed the owner of its channel goes after the next one."""
LOOK_SECONDS: Final = 0.25
"""How often a call that is under way looks whether it was sent to somebody who does not own the channel any more."""
LAST_SECONDS: Final = 0.5
"""How long who was the owner is waited for, where it is not known who is now."""
WRITE_TRY_SECONDS: Final = 3.0
"""After so long without an answer a write is sent once more: its owner may be stopped, or another by now."""


class Routes(Protocol):
    """Who owns which channel, as far as that is known here."""

    def route(self, channel: str) -> Remote:
        """The owner. Raises NotOwner when the channel has none now."""
        ...

    def last(self, channel: str) -> Remote | None:
        """Who was the owner of a channel that seems to have none, if that may only not be known here; None else."""
        ...

    def news(self) -> Future[None]:
        """Done when somebody else owns a channel, or a node comes or goes."""
        ...


class Ids(Protocol):
    """Who gives numbers that nobody else has."""

    def allocate_ids(self, n: int) -> int: ...


class Follows(Protocol):
    """The catalog, as far as it is waited for."""

    @property
    def own_revision(self) -> int: ...

    def wait_for(self, revision: int, seconds: float) -> None: ...


def may_repeat(error: BaseException, message: Message) -> bool:
    """Whether a call that failed so is to be made again, at the owner that there will be then."""
    if isinstance(error, NotOwner | NotReached):
        return True
    return isinstance(error, Unanswered) and message.idempotent


def _doubted(message: Message) -> Message:
    """A write to be sent again although it may have come through."""
    return msgspec.structs.replace(message, doubtful=True) if hasattr(message, "doubtful") else message


def _is_doubtful(message: Message) -> bool:
    return getattr(message, "doubtful", False)


def _takes_old(message: Message) -> bool:
    """Whether an answer may do that is not of the owner, but of who was the owner a moment ago."""
    return getattr(message, "lapse", None) is not None


class _Sent(NamedTuple):
    """A call that no thread waits for."""

    channel: str
    message: Message
    deadline: float
    try_seconds: float
    answer: Future[Any]


class Caller:
    """Asks owners. One for all remote shards of a process; safe from any thread."""

    def __init__(self, env: Env, routes: Routes, ids: Ids, catalog: Follows) -> None:
        self.tasks = env.tasks
        self.catalog = catalog
        """Of this process: what an owner has committed is waited for here."""
        self._routes = routes
        self._ids = ids
        self._now = env.clock.monotonic
        self._retries = Retries(env.tasks)

    def new_id(self) -> int:
        """For a write."""
        return self._ids.allocate_ids(1)

    def ask(self, channel: str, message: Message, seconds: float = ASK_SECONDS) -> Any:
        """The reply of the channel's owner, or its error. Waits in this thread, which is quicker than `ask_soon`; a
        node whose record goes away is abandoned, and then another one is asked."""
        try:
            remote, seconds_there = self._route(channel, message, seconds)
            return remote.ask(message, seconds_there)
        except (NotOwner, NotReached, Unanswered) as error:
            return self._ask_again(channel, message, seconds, error)

    def ask_soon(self, channel: str, message: Message, seconds: float = ASK_SECONDS) -> Answer[Any]:
        """The same, begun now; whoever wants the answer waits for it: `seconds` once the owner is found."""
        try:
            remote, seconds_there = self._route(channel, message, seconds)
            asked = remote.ask_soon(message, seconds_there)
        except (NotOwner, NotReached) as error:
            return partial(self._ask_again, channel, message, seconds, error)

        def answer() -> Any:
            try:
                with away():
                    return self._awaited(channel, message, remote, asked)
            except (NotOwner, NotReached, Unanswered) as error:
                return self._ask_again(channel, message, seconds, error)

        return answer

    def _route(self, channel: str, message: Message, seconds: float) -> tuple[Remote, float]:
        """Whom to ask, and how long an answer is waited for. Raises NotOwner."""
        try:
            return self._routes.route(channel), seconds
        except NotOwner:
            last = self._routes.last(channel) if _takes_old(message) else None
            if last is None:
                raise
            return last, min(seconds, LAST_SECONDS)

    def _ask_again(self, channel: str, message: Message, seconds: float, error: BaseException) -> Any:
        """Go after the owner for `FIND_SECONDS` from now on, when it was first missed."""
        deadline = self._now() + FIND_SECONDS
        with away():
            while True:
                left = deadline - self._now()
                if left <= 0 or not may_repeat(error, message):
                    raise error
                self._pause(min(RETRY_SECONDS, left))
                try:
                    remote, seconds_there = self._route(channel, message, seconds)
                    return self._awaited(channel, message, remote, remote.ask_soon(message, seconds_there))
                except (NotOwner, NotReached, Unanswered) as next_error:
                    error = next_error

    def _awaited(self, channel: str, message: Message, remote: Remote, asked: Future[Any]) -> Any:
        """The reply; Unanswered as soon as somebody else owns the channel."""
        if not message.idempotent:
            return asked.result()
        while True:
            try:
                return asked.result(LOOK_SECONDS)
            except TimeoutError:
                if asked.done():
                    return asked.result()
                if self._moved(channel, remote):
                    raise Unanswered(f"channel {channel} went to another node meanwhile") from None

    def _moved(self, channel: str, remote: Remote) -> bool:
        try:
            return self._routes.route(channel) is not remote
        except NotOwner:
            return False  # its next owner is not known yet, and this one may still answer

    def send(
        self,
        channel: str,
        message: Message,
        seconds: float = ASK_SECONDS,
        *,
        try_seconds: float = WRITE_TRY_SECONDS,
    ) -> Future[Any]:
        """The same as a future, for which no thread waits: many may be under way. Goes on for `seconds`; an owner that
        has not answered for `try_seconds` is asked once more. UnknownOutcome when nobody can say what came of a
        write."""
        answer: Future[Any] = self.tasks.future()
        self._send(_Sent(channel, message, self._now() + seconds, try_seconds, answer))
        return answer

    def close(self) -> None:
        """Nothing is sent again from now on."""
        self._retries.close()

    # -- trying again -----------------------------------------------------------------------------
    def _send(self, sent: _Sent) -> None:
        try:
            remote, seconds = self._route(sent.channel, sent.message, sent.try_seconds)
            asked = remote.ask_soon(sent.message, seconds)
        except (NotOwner, NotReached) as error:
            self._failed(sent, error)
            return
        except Exception as error:  # noqa: BLE001  what cannot be sent at all: it is the answer
            sent.answer.set_exception(error)
            return

        def arrived(reply: Future[Any]) -> None:
            error = reply.exception()
            if error is None:
                sent.answer.set_result(reply.result())
            else:
                self._failed(sent, error)

        asked.add_done_callback(arrived)

    def _failed(self, sent: _Sent, error: BaseException) -> None:
        message = sent.message
        if isinstance(error, Unanswered):
            sent = sent._replace(message=_doubted(message))
        if self._now() >= sent.deadline or self._retries.is_closed or not may_repeat(error, message):
            unsure = _is_doubtful(sent.message) and may_repeat(error, message)
            sent.answer.set_exception(UnknownOutcome.of_write() if unsure else error)
            return
        self._retries.later(partial(self._send, sent))

    def _pause(self, seconds: float) -> None:
        try:
            self._routes.news().result(seconds)
        except TimeoutError:
            return


class CalledShard:
    """What the parts of a remote shard have in common."""

    def __init__(self, collection: CollectionMeta, channel: str, caller: Caller) -> None:
        self._collection = collection
        self.channel = channel
        self._caller = caller

    @property
    def collection(self) -> CollectionMeta:
        """As it is known here."""
        return self._collection

    def ask(self, message: Message, seconds: float = ASK_SECONDS) -> Any:
        """The owner's reply."""
        return self._caller.ask(self.channel, message, seconds)

    def ask_soon(self, message: Message, seconds: float = ASK_SECONDS) -> Answer[Any]:
        """The owner's reply, asked for now."""
        return self._caller.ask_soon(self.channel, message, seconds)
