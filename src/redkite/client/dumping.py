"""The messages of a cluster's logs, one by one: what a primary that was lost had written, and its successor has not.

A message is what one write did in one shard, or a change of definitions. Its id is a place to go on from: that of the
last message of a page is behind it, that of another one before the page that it came in, so that reading on from it
brings messages of that page again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from redkite.client import arguments
from redkite.client.arguments import illegal
from redkite.client.session import Operation, Session, ask
from redkite.errors import InvalidParameter
from redkite.model import replication as rp

EARLIEST: Final = "earliest"
"""The id that stands before everything there is."""
_BYTES: Final = 16 << 20
_KINDS: Final = {
    rp.NOTE: "definition", rp.STATE: "definitions", rp.ROWS: "rows", rp.TRUNCATION: "truncation",
}  # fmt: skip
_DEFINITIONS: Final = frozenset({rp.NOTE, rp.STATE})


class Range(msgspec.Struct, frozen=True):
    """Which messages are wanted."""

    channel: str
    """Physical; definitions, which concern all channels, come with each."""
    begin: int = 0
    end: int = 0
    """Hybrid timestamps, both included; 0: no limit."""

    def has(self, item: rp.ReplicationItem) -> bool:
        if self.begin and item.timestamp < self.begin:
            return False
        if self.end and item.timestamp > self.end:
            return False
        return item.kind in _DEFINITIONS or item.channel.rpartition("_")[0] == self.channel


class Message(msgspec.Struct, frozen=True):
    """One message, as clients see it."""

    id: str
    payload: bytes
    """Rows and keys: an Arrow IPC stream, its columns named by field ids. Definitions: MessagePack."""
    properties: dict[str, str]

    def shown(self) -> dict[str, Any]:
        """As Milvus's SDK has it."""
        return {
            "message_id": {"id": self.id, "wal_name": "Unknown"},
            "payload": self.payload,
            "properties": self.properties,
        }


def request_of(position: str, database: str = "") -> rp.ReadReplication:
    """What to ask for the page behind a position."""
    start = "" if position == EARLIEST else position
    return rp.ReadReplication(database=database, name="", position=start, max_bytes=_BYTES)


def messages(wanted: Range, position: str, page: rp.ReplicationPage) -> list[Message]:
    """Those of a page that are wanted. `position`: what it was read behind."""
    found = [item for item in page.items if wanted.has(item)]
    last = page.items[-1] if page.items else None
    return [_message(item, page.end if item is last else position) for item in found]


def is_over(wanted: Range, page: rp.ReplicationPage) -> bool:
    """Whether nothing that is wanted can come behind a page."""
    ended = bool(wanted.end) and bool(page.items) and page.items[-1].timestamp > wanted.end
    return ended or not page.more


def _message(item: rp.ReplicationItem, position: str) -> Message:
    properties = {"timetick": str(item.timestamp)}
    payload = item.payload
    kind = _KINDS.get(item.kind, "")
    if item.channel:
        properties["vchannel"] = item.channel
    if item.kind in (rp.RECORD, rp.ROWS):
        from redkite.node.records import DELETE, decode_header, record_body

        header = decode_header(payload)
        kind = kind or ("delete" if header.kind == DELETE else "insert")
        properties["collection_id"] = str(header.collection_id)
        payload = bytes(record_body(payload))
    return Message(position, payload, {"type": kind, **properties})


# -- for clients --------------------------------------------------------------------------------
def read_page(session: Session, position: str) -> Operation[rp.ReplicationPage]:
    return (yield from ask(request_of(position, session.database), rp.ReplicationPage))


def asked(pchannel: str, start_message_id: Mapping[str, object], begin: int, end: int) -> tuple[Range, str]:
    """What a caller wants, and from where. Raises ParamError."""
    given: Any = start_message_id
    if not isinstance(given, Mapping) or not isinstance(given.get("id"), str) or not given["id"]:
        raise illegal("start_message_id", start_message_id)
    wanted = Range(
        arguments.name("pchannel", pchannel),
        arguments.integer("start_timetick", begin),
        arguments.integer("end_timetick", end),
    )
    check(wanted)
    return wanted, given["id"]


def check(wanted: Range) -> None:
    """Raises InvalidParameter for a range that nothing can be in."""
    if not wanted.channel:
        raise InvalidParameter("pchannel of the messages to dump is empty")
    if wanted.begin < 0 or wanted.end < 0 or (wanted.end and wanted.begin > wanted.end):
        raise InvalidParameter(f"there is no time from start_timetick={wanted.begin} to end_timetick={wanted.end}")


def every(wanted: Range, position: str, read: Callable[[str], rp.ReplicationPage]) -> Iterator[dict[str, Any]]:
    """All messages there are now."""
    while True:
        page = read(position)
        yield from (message.shown() for message in messages(wanted, position, page))
        if is_over(wanted, page):
            return
        position = page.end


async def every_awaited(
    wanted: Range, position: str, read: Callable[[str], Awaitable[rp.ReplicationPage]]
) -> AsyncIterator[dict[str, Any]]:
    """The same, awaited."""
    while True:
        page = await read(position)
        for message in messages(wanted, position, page):
            yield message.shown()
        if is_over(wanted, page):
            return
        position = page.end
