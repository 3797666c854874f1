"""The catalog as a streaming node commits to it: what is about a channel, only as long as the channel is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from redkite.coordinator.pchannels import PREFIX
from redkite.errors import Conflict, Corruption
from redkite.storage.coordination import Fenced
from redkite.storage.followed import FollowedCatalog
from redkite.storage.log_channel_format import physical_name

_CHANNEL: Final = "channel/"
_SEGMENT: Final = "segment/"


class _OfChannel(msgspec.Struct, frozen=True):
    """What a segment's record says, as far as it matters here."""

    channel: str


_channel_of = msgspec.json.Decoder(_OfChannel).decode


class OwnedCatalog(FollowedCatalog):
    """A `FollowedCatalog`. A commit that changes the state of a channel, or a segment of one, holds only while the
    record that gives the channel to this node is what it was, and while others take this node for alive."""

    def __init__(
        self,
        followed: FollowedCatalog,
        fenced: Callable[[], FollowedCatalog | None],
        record_of: Callable[[str], tuple[str, bytes] | None],
    ) -> None:
        """`fenced` gives the catalog that commits under this node's lease, None while it has none; `record_of` the key
        and the value of the record by which this node owns a physical channel."""
        super().__init__(followed._copy, followed._store)
        self._fenced, self._record_of = fenced, record_of

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """See `Catalog`. Raises Fenced when a channel is not this node's any more, and nothing was committed then."""
        gone = list(deletes)
        records: dict[str, bytes] = {}
        for physical in {physical_name(channel) for channel in self._channels(puts, gone)}:
            record = self._record_of(physical)
            if record is None:
                raise Fenced(f"channel '{physical}' is not this node's any more: nothing about it was committed")
            records[record[0]] = record[1]
        catalog = self._fenced()
        if catalog is None:
            raise Fenced("this node lost its lease: it may not change the catalog until it has another")
        try:
            catalog.commit(puts, gone, {**(expect or {}), **records})
        except Conflict:
            catalog.refresh(told=False)
            for key, value in records.items():
                if self.get(key) != value and self._record_of(key.removeprefix(PREFIX)) == (key, value):
                    raise Fenced(f"'{key}' names another owner by now: nothing about it was committed") from None
            raise

    def refresh(self, *, told: bool = True) -> int:
        """See `FollowedCatalog`: also of a commit of this node whose outcome is not known."""
        catalog = self._fenced()
        return super().refresh(told=told) if catalog is None else catalog.refresh(told=told)

    def _channels(self, puts: Mapping[str, bytes], gone: Iterable[str]) -> Iterable[str]:
        """The virtual channels that a commit is about."""
        found = {key.removeprefix(_CHANNEL) for key in (*puts, *gone) if key.startswith(_CHANNEL)}
        for key in (*puts, *gone):
            if key.startswith(_SEGMENT):
                value = puts.get(key) or self.get(key)
                if value is not None:
                    found.add(_channel(key, value))
        return found


def _channel(key: str, value: bytes) -> str:
    try:
        return _channel_of(value).channel
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"the catalog's '{key}' cannot be read: {error}") from error
