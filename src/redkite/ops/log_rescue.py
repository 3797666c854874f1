"""What can still be read of a damaged page of the log, and a page without the damage in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.env import Env
from redkite.errors import Corruption
from redkite.model.batch import arrow_type
from redkite.node.records import DELETE, RecordHeader, decode_record, encode_keys, with_header
from redkite.storage import log_format as fmt
from redkite.storage.log_durable import read_note
from redkite.storage.log_pages import TEMPORARY, Page, encode_page

_SALT_AT = 12
_SALT_BYTES = 4


class Rescue(NamedTuple):
    """The good records of a page, and the sequences (first, last) of those that are lost between and behind them."""

    page: Page
    records: tuple[fmt.Entry, ...]
    lost: tuple[tuple[int, int], ...]

    @property
    def loss(self) -> str:
        """In words."""
        if not self.lost:
            return "no record"
        count = sum(last - first + 1 for first, last in self.lost)
        spans = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in self.lost)
        return f"{count} record{'s' * (count > 1)} ({spans}) of {count + len(self.records)} in this page"


def rescue_page(env: Env, page: Page, following: int | None) -> Rescue:
    """Read around the damage. `following`: where the next page begins; None for the last page, whose end is what its
    own records and the note beside it say was durable."""
    data = env.files.read(page.path)
    found = [*_good_entries(data, page.base)]
    records = tuple(e for e in found if not e.is_mark)
    end = following
    if end is None:
        noted = read_note(env.files, page.path.rpartition("/")[0])
        end = max([page.base, noted, *(e.durable for e in found), *(e.sequence + 1 for e in records[-1:])])
    lost = []
    expected = page.base
    for sequence in (*(e.sequence for e in records), end):
        if sequence > expected:
            lost.append((expected, sequence - 1))
        expected = sequence + 1
    return Rescue(page, records, tuple(lost))


def _good_entries(data: bytes, base: int) -> Iterator[fmt.Entry]:
    view = memoryview(data)
    for salt in _salts(data):
        entries = [*_walk(data, view, salt, base)]
        if entries:
            yield from entries
            return


def _salts(data: bytes) -> Iterator[int]:
    """What the header says, then what it says with one bit turned back."""
    said = int.from_bytes(data[_SALT_AT : _SALT_AT + _SALT_BYTES], "little")
    yield said
    if fmt.decode_file_header(data) is None:
        yield from (said ^ (1 << bit) for bit in range(8 * _SALT_BYTES))


def _walk(data: bytes, view: memoryview, salt: int, base: int) -> Iterator[fmt.Entry]:
    """Good records in ascending sequence, wherever they stand."""
    offset, expected = fmt.FILE_HEADER_BYTES, base
    while offset < len(data):
        entry = fmt.decode_record(view, offset, salt)
        if entry is not None and entry.sequence >= expected:
            yield entry
            offset = entry.next_offset
            expected = entry.sequence + (not entry.is_mark)
        else:
            at = [found for magic in fmt.MAGIC_BYTES if (found := data.find(magic, offset + 1)) >= 0]
            if not at:
                return
            offset = min(at)


def write_rescued(env: Env, rescue: Rescue, collection: CollectionMeta) -> None:
    """Put a whole page in the place of the damaged one: lost records become deletes of nothing, so that the others
    keep their positions."""
    by_sequence = {record.sequence: record for record in rescue.records}
    for first, last in rescue.lost:
        for sequence in range(first, last + 1):
            by_sequence[sequence] = _placeholder(sequence, rescue.records, collection)
    records = [by_sequence[sequence] for sequence in sorted(by_sequence)]
    write_page(env, rescue.page, records)


def write_page(env: Env, page: Page, records: list[fmt.Entry]) -> None:
    """Durable, and in the place of an older one at once."""
    salt = env.random.getrandbits(8 * _SALT_BYTES)
    env.files.write_new(page.path + TEMPORARY, encode_page(page.base, salt, records))
    env.files.rename(page.path + TEMPORARY, page.path)
    env.files.sync_dir(page.path.rpartition("/")[0])


def placeholders(first: int, end: int, collection: CollectionMeta) -> list[fmt.Entry]:
    """Records that stand for missing ones and do nothing."""
    return [_placeholder(sequence, (), collection) for sequence in range(first, end)]


def _placeholder(sequence: int, records: tuple[fmt.Entry, ...], collection: CollectionMeta) -> fmt.Entry:
    """A delete of no keys at the time of the record before it."""
    timestamp = collection.created_timestamp
    for record in records:
        if record.sequence > sequence:
            break
        try:
            timestamp = decode_record(record.payload)[0].timestamp
        except Corruption:
            continue
    header = RecordHeader(DELETE, timestamp, collection.collection_id)
    keys = encode_keys(pa.array([], arrow_type(collection.schema.primary)))
    payload = memoryview(b"".join(with_header(header, keys)))
    return fmt.Entry(sequence, sequence, False, payload, 0)
