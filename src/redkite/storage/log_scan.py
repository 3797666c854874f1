"""Reading one page of the log, every record checked."""

from __future__ import annotations

from collections.abc import Iterator

from redkite.env import Files
from redkite.errors import Corruption, StorageError
from redkite.storage import log_format as fmt

FIRST_WINDOW_BYTES = 64 << 10
WINDOW_BYTES = 4 << 20
"""Bytes read at a time: few at first, in case few are wanted. A longer record is read whole."""


class PageScan:
    """A walk over the records of one file. `offset` is the end of the last good record passed."""

    def __init__(self, files: Files, path: str, base: int, *, is_over: bool = False) -> None:
        """`is_over`: nobody writes or cuts this file any more, so it may be mapped: its records are then where the
        system has them anyway, rather than copied."""
        self._files = files
        self._path = path
        self._file_bytes = files.size(path)
        self._window = files.map(path) if is_over else memoryview(b"")
        self._window_at = 0
        self._window_bytes = FIRST_WINDOW_BYTES
        self.salt = _read_header(files, path, base).salt
        self.base = base
        self.offset = fmt.FILE_HEADER_BYTES
        self.next = base
        """Sequence of the record at `offset`."""
        self.durable = base
        """Everything before this sequence was durable when something that was passed was written."""
        self.is_proven = False
        """Is the last thing passed a mark, which says that everything before it is durable?"""
        self._commit = (base, fmt.FILE_HEADER_BYTES)

    @property
    def proven(self) -> tuple[int, int]:
        """Sequence and offset behind the last record that is proven to be durable by what was passed."""
        return (self.next, self.offset) if self.is_proven else self._commit

    @property
    def is_blocked(self) -> bool:
        """Is there something at `offset`, rather than nothing or room that was set aside?"""
        local = self.offset - self._window_at
        return any(self._window[local : local + fmt.RECORD_HEADER_BYTES])

    def jump(self, sequence: int, offset: int) -> None:
        """Go on at a record whose place is known."""
        self.next, self.offset = sequence, offset
        self._commit = (sequence, offset)
        self.is_proven = False

    def look_again(self) -> None:
        """Read afresh from here on: the file may have grown, or have been cut."""
        self._file_bytes = self._files.size(self._path)
        self._window = memoryview(b"")
        self._window_at = self.offset
        self._window_bytes = FIRST_WINDOW_BYTES

    def entries(self, stop: int) -> Iterator[fmt.Entry]:
        """The records up to sequence `stop`, all of which are known to be durable. Raises `Corruption`."""
        while self.next < stop:
            entry = self.advance()
            if entry is None:
                raise Corruption(f"'{self._path}' is damaged at byte {self.offset}: record {self.next} does not hold")
            if not entry.is_mark:
                yield entry

    def recover(self, known: int = 0) -> int:
        """Find the end of a last file, before a torn commit if there is one: the sequence after the last good record.

        Raises `Corruption` when a later record says that a damaged one was durable, or all before `known` are.
        """
        self.pass_all()
        self.check_rest(known)
        return self.next

    def pass_all(self) -> None:
        """Pass every record up to the first that does not hold."""
        while self.offset < self._file_bytes and self.advance() is not None:
            pass

    def check_rest(self, known: int = 0) -> None:
        """Raises `Corruption` when something behind `offset` shows that the record there was durable, or all before
        `known` are."""
        if self.next < known:
            raise Corruption(
                f"'{self._path}' is damaged at byte {self.offset}: record {self.next} does not hold, and it is noted "
                f"that all before {known} were durable"
            )
        at = self.offset
        while at < self._file_bytes:
            rest = self._files.read(self._path, at, WINDOW_BYTES)
            if rest.count(0) != len(rest):
                break
            at += len(rest) or WINDOW_BYTES
        else:
            return  # room that was set aside and not used
        rest = self._files.read(self._path, at)
        witness = fmt.find_witness(rest, self.salt, self.next)
        if witness is not None:
            raise Corruption(
                f"'{self._path}' is damaged at byte {self.offset}: record {self.next} does not hold, "
                f"and a later one at byte {at + witness} shows that it was durable"
            )

    def last_commit(self) -> tuple[int, list[fmt.Entry]]:
        """Sequence and records of the last commit passed, which nothing in the file proves to be durable."""
        end = self.next
        self.next, self.offset = self._commit
        return self.next, list(self.entries(end))

    def advance(self) -> fmt.Entry | None:
        """Pass the record at `offset`; None, and no move, when it is damaged or not the one expected."""
        local = self._local(self.offset)
        entry = fmt.decode_record(self._window, local, self.salt)
        if entry is None or entry.sequence != self.next:
            return None
        if entry.durable == entry.sequence:
            self._commit = (entry.sequence, self.offset)
        self.durable = max(self.durable, entry.durable)
        self.is_proven = entry.is_mark
        self.offset += entry.next_offset - local
        self.next += not entry.is_mark
        return entry

    def _local(self, offset: int) -> int:
        """Where `offset` lies in the window, after reading on if the record there is not wholly in it."""
        need = fmt.RECORD_HEADER_BYTES
        while True:
            local = offset - self._window_at
            if local < 0:
                self._load(offset, need)
                continue
            have = len(self._window) - local
            if have >= fmt.RECORD_HEADER_BYTES:
                need = fmt.needed_bytes(self._window, local)
            if need <= have or self._window_at + len(self._window) >= self._file_bytes:
                return local
            self._load(offset, need)

    def _load(self, offset: int, need: int) -> None:
        length = min(max(need, self._window_bytes), self._file_bytes - offset)
        self._window_bytes = min(2 * self._window_bytes, WINDOW_BYTES)
        self._window = memoryview(self._files.read(self._path, offset, length))
        self._window_at = offset
        if len(self._window) < length:  # the end of a commit that failed was cut off meanwhile
            self._file_bytes = offset + len(self._window)


def _read_header(files: Files, path: str, base: int) -> fmt.FileHeader:
    header = fmt.decode_file_header(files.read(path, 0, fmt.FILE_HEADER_BYTES))
    if header is None:
        raise Corruption(f"'{path}' is damaged at byte 0: it does not begin with a log file's header")
    if header.format > fmt.FORMAT:
        raise StorageError(
            f"'{path}' has format {header.format}, written by a newer Redkite; this one reads up to {fmt.FORMAT}"
        )
    if header.base != base:
        raise Corruption(f"'{path}' is damaged at byte 0: its header says that it begins with record {header.base}")
    return header
