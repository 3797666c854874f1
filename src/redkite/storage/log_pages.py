"""The pages of a topic: files named after the sequence of their first record, each read from any place in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from redkite.env import Buffer, Files
from redkite.errors import Corruption
from redkite.storage import log_format as fmt
from redkite.storage.log import LogRecord
from redkite.storage.log_scan import PageScan

SUFFIX = ".log"
TEMPORARY = ".tmp"
STATE, DURABLE = "state", "durable"
"""The files of a topic's folder that are no pages."""
_PLACES = 64
"""Places that are remembered, so that each consumer goes on where it was without reading a page from its beginning."""


class Page(NamedTuple):
    base: int
    path: str


def page_path(folder: str, base: int) -> str:
    return f"{folder}/{base:020d}{SUFFIX}"


def find_pages(files: Files, folder: str) -> tuple[list[Page], list[str]]:
    """The pages, in order, and the paths of files that were never finished. Raises `Corruption` for anything else."""
    pages, unfinished = [], []
    for name in files.list(folder):
        path, stem = f"{folder}/{name}", name.removesuffix(SUFFIX)
        if name.endswith(TEMPORARY):
            unfinished.append(path)
        elif stem != name and stem.isdecimal():
            pages.append(Page(int(stem), path))
        elif name not in (STATE, DURABLE):
            raise Corruption(f"'{path}' is no file of the log")
    return pages, unfinished


def encode_page(base: int, salt: int, records: Sequence[fmt.Entry]) -> list[Buffer]:
    """The content of a page that begins with these records, which are durable when it is."""
    buffers: list[Buffer] = [fmt.encode_file_header(base, salt)]
    for record in records:
        length, crc = len(record.payload), fmt.payload_crc([record.payload])
        buffers.append(fmt.encode_record_header(salt, crc, length, record.sequence, base))
        buffers += (record.payload, fmt.padding(length))
    if records:
        buffers.append(fmt.encode_mark(salt, records[-1].sequence + 1))
    return buffers


class PageReader:
    """Reads across pages. Safe from any thread."""

    def __init__(self, files: Files, over: Container[str] = ()) -> None:
        """`over`: paths of pages that nobody writes or cuts any more."""
        self._files = files
        self._over = over
        self._places: OrderedDict[tuple[int, int, int], int] = OrderedDict()

    def read(self, pages: Sequence[Page], position: int, end: int) -> Iterator[LogRecord]:
        """The records from `position` up to `end`, all of them durable. Raises `Corruption`."""
        for index, page in enumerate(pages):
            stop = pages[index + 1].base if index + 1 < len(pages) else end
            if position >= stop:
                continue
            scan = PageScan(self._files, page.path, page.base, is_over=page.path in self._over)
            # The salt tells a page from one of the same name that took its place.
            offset = self._places.get((scan.base, scan.salt, position))
            if offset is not None:
                scan.jump(position, offset)
            try:
                for entry in scan.entries(stop):
                    if entry.sequence >= position:
                        yield LogRecord(entry.sequence, entry.payload)
            finally:
                self._remember(scan)

    def _remember(self, scan: PageScan) -> None:
        self._places[scan.base, scan.salt, scan.next] = scan.offset
        while len(self._places) > _PLACES:
            self._places.popitem(last=False)
