"""How a coordinator asks the owner of a physical channel to let go of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, ClassVar, Final

import msgspec

from redkite.cluster.network import Handler, Message, Remote
from redkite.coordinator.pchannels import PChannel
from redkite.env import Executor
from redkite.errors import NotOwner

SEAL_SECONDS: Final = 60.0
"""How long an owner may take to write what is only in the log."""


class LetGo(Message, frozen=True, kw_only=True):
    """-> LetGoOf. Seal what is on a physical channel, then answer for it no more."""

    idempotent: ClassVar[bool] = True

    physical: str
    term: int
    """Under which the node owns it: a later one is not meant."""


class LetGoOf(msgspec.Struct, frozen=True):
    physical: str


def ask_to_let_go(channel: PChannel, owner: Remote | None) -> None:
    """Returns when the owner has let go. Raises Unavailable when it is not known to have."""
    if owner is None:
        raise NotOwner.of(channel.name, channel.node_id, channel.term)
    owner.ask(LetGo(physical=channel.name, term=channel.term), SEAL_SECONDS)


def let_go_handler(let_go: Callable[[str, int], None], worker: Executor) -> Mapping[type, Handler]:
    def handle(message: LetGo) -> Future[Any]:
        return worker.submit(done, message)

    def done(message: LetGo) -> LetGoOf:
        let_go(message.physical, message.term)
        return LetGoOf(message.physical)

    return {LetGo: handle}
