"""Reading one log file from its beginning, every record checked."""

from __future__ import annotations

from collections.abc import Iterator

from redkite.env import Files
from redkite.errors import Corruption, StorageError
from redkite.storage import log_format as fmt

WINDOW_BYTES = 4 << 20
"""Bytes read at a time; a longer record is read whole."""


class SegmentScan:
    """A walk over the records of one file. `offset` is the end of the last good record passed."""

    def __init__(self, files: Files, path: str, base: int) -> None:
        self._files = files
        self._path = path
        self._file_bytes = files.size(path)
        self._window = memoryview(b"")
        self._window_at = 0
        self._load(0, fmt.FILE_HEADER_BYTES)
        header = fmt.decode_file_header(bytes(self._window[: fmt.FILE_HEADER_BYTES]))
        if header is None:
            raise Corruption(f"'{path}' is damaged at byte 0: it does not begin with a log file's header")
        if header.format > fmt.FORMAT:
            raise StorageError(
                f"'{path}' has format {header.format}, written by a newer Redkite; this one reads up to {fmt.FORMAT}"
            )
        if header.base != base:
            raise Corruption(f"'{path}' is damaged at byte 0: its header says that it begins with record {header.base}")
        self.salt = header.salt
        self.offset = fmt.FILE_HEADER_BYTES
        self.is_proven = False
        """Is the last thing passed a mark, which says that everything before it is durable?"""
        self._next = base
        self._commit = (base, fmt.FILE_HEADER_BYTES)
        """Where the last commit passed begins: sequence and offset."""

    def entries(self, stop: int) -> Iterator[fmt.Entry]:
        """The records up to sequence `stop`, all of which are known to be durable. Raises `Corruption`."""
        while self._next < stop:
            entry = self._advance()
            if entry is None:
                raise Corruption(f"'{self._path}' is damaged at byte {self.offset}: record {self._next} does not hold")
            if not entry.is_mark:
                yield entry

    def recover(self) -> int:
        """Find the end of a last file, before a torn commit if there is one: the sequence after the last good record.

        Raises `Corruption` when a later record says that a damaged one was durable.
        """
        while self.offset < self._file_bytes and self._advance() is not None:
            pass
        if self.offset < self._file_bytes:
            rest = self._files.read(self._path, self.offset)
            witness = fmt.find_witness(rest, self.salt, self._next)
            if witness is not None:
                raise Corruption(
                    f"'{self._path}' is damaged at byte {self.offset}: record {self._next} does not hold, "
                    f"and a later one at byte {self.offset + witness} shows that it was durable"
                )
        return self._next

    def last_commit(self) -> tuple[int, list[fmt.Entry]]:
        """Sequence and records of the last commit passed, which nothing in the file proves to be durable."""
        end = self._next
        self._next, self.offset = self._commit
        return self._next, list(self.entries(end))

    def _advance(self) -> fmt.Entry | None:
        """Pass the record at `offset`; None, and no move, when it is damaged or not the one expected."""
        local = self._local(self.offset)
        entry = fmt.decode_record(self._window, local, self.salt)
        if entry is None or entry.sequence != self._next:
            return None
        if entry.durable == entry.sequence:
            self._commit = (entry.sequence, self.offset)
        self.is_proven = entry.is_mark
        self.offset += entry.next_offset - local
        self._next += not entry.is_mark
        return entry

    def _local(self, offset: int) -> int:
        """Where `offset` lies in the window, after reading on if the record there is not wholly in it."""
        need = fmt.RECORD_HEADER_BYTES
        while True:
            local = offset - self._window_at
            have = len(self._window) - local
            if have >= fmt.RECORD_HEADER_BYTES:
                need = fmt.needed_bytes(self._window, local)
            if need <= have or self._window_at + len(self._window) >= self._file_bytes:
                return local
            self._load(offset, need)

    def _load(self, offset: int, need: int) -> None:
        length = min(max(need, WINDOW_BYTES), self._file_bytes - offset)
        self._window = memoryview(self._files.read(self._path, offset, length))
        self._window_at = offset
        if len(self._window) < length:  # the end of a commit that failed was cut off meanwhile
            self._file_bytes = offset + len(self._window)
