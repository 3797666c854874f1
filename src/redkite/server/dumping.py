"""`DumpMessages`: the one call that is answered by a stream of messages, which are gathered here and sent together."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

import msgspec

from redkite.client import dumping
from redkite.client.dumping import Message, Range
from redkite.errors import MilvusException
from redkite.model.replication import ReplicationPage
from redkite.model.results import Result
from redkite.server.calls import Calls
from redkite.server.observer import Call
from redkite.wire.messages import find_method, message_class, parse
from redkite.wire.methods import STREAMED, encode_error

MOST_BYTES: Final = 192 << 20
"""Of one answer. Whoever asks is told from where to go on."""
_PREFIX: Final = Struct(">BI")


class Frames(bytes):
    """An answer of any number of messages, each behind its prefix."""


def path() -> str:
    """Of the RPC."""
    descriptor = find_method(STREAMED)
    return f"/{descriptor.containing_service.full_name}/{STREAMED}"


class Dump:
    """One call. Belongs to the event loop's thread."""

    def __init__(self, calls: Calls, call: Call, finish: Callable[[bytes | MilvusException], None]) -> None:
        self._calls = calls
        self._call = call
        self._finish = finish
        self._reply = message_class(find_method(STREAMED).output_type)
        self._frames: list[bytes] = []
        self._size = 0

    def begin(self, data: bytes, user: str) -> None:
        """Read what is asked and go through the pages. Raises MilvusException for a message that asks for nothing."""
        asked: Any = parse(message_class(find_method(STREAMED).input_type), data)
        wanted = Range(asked.pchannel, asked.start_timetick, asked.end_timetick)
        dumping.check(wanted)
        self._call.user = user
        self._ask(wanted, asked.start_message_id.id or dumping.EARLIEST)

    def _ask(self, wanted: Range, position: str) -> None:
        request = msgspec.structs.replace(dumping.request_of(position), user=self._call.user)
        self._call.request = request

        def done(page: Result | MilvusException) -> None:
            if isinstance(page, MilvusException):
                self._fail(page)
                return
            assert isinstance(page, ReplicationPage)
            for message in dumping.messages(wanted, position, page):
                self._add(message)
            if self._call.gone or dumping.is_over(wanted, page):
                self._finish(Frames(b"".join(self._frames)))
            elif self._size > MOST_BYTES:
                self._fail(MilvusException(f"the messages are more than {MOST_BYTES} bytes: go on from {page.end}"))
            else:
                self._ask(wanted, page.end)

        self._calls.begin(request, _as_is, done)

    def _add(self, message: Message) -> None:
        reply = self._reply()
        reply.message.id.id = message.id
        reply.message.payload = message.payload
        reply.message.properties.update(message.properties)
        self._frame(reply.SerializeToString())

    def _frame(self, data: bytes) -> None:
        self._frames.append(_PREFIX.pack(0, len(data)) + data)
        self._size += len(data)

    def _fail(self, error: MilvusException) -> None:
        """Behind the messages that there were, say what is wrong."""
        if not self._frames:
            self._finish(error)
            return
        self._frame(encode_error(STREAMED, error))
        self._finish(Frames(b"".join(self._frames)))


def _as_is(result: Result) -> Result:
    return result
