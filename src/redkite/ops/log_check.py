"""Is a topic of the log whole? Every record of every page is read, and those that recovery would apply are decoded."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import zip_longest

from redkite.coordinator.meta import CollectionMeta
from redkite.env import Files
from redkite.errors import Corruption, MilvusException
from redkite.model.segments import ChannelState
from redkite.node.records import decode_record
from redkite.ops.report import Finding, Kind
from redkite.segment.evolution import conform
from redkite.storage.log_durable import read_note
from redkite.storage.log_pages import STATE, Page, find_pages
from redkite.storage.log_scan import PageScan
from redkite.storage.log_state import load_state


class TopicCheck:
    """One look at one topic. `findings` yields what is wrong; the counts are right when it is exhausted."""

    def __init__(self, files: Files, folder: str, state: ChannelState, collection: CollectionMeta) -> None:
        self.records = 0
        self.bytes = 0
        self._files = files
        self._folder = folder
        self._channel = folder.rpartition("/")[2]
        self._checkpoint = state.checkpoint
        self._known_end = state.known_end
        self._noted = 0
        self._collection = collection
        self._newest = 0

    def findings(self) -> Iterator[Finding]:
        try:
            load_state(self._files, self._folder)
        except MilvusException as error:
            yield self._finding(Kind.LOG, f"{self._folder}/{STATE}", error.message)
        try:
            self._noted = read_note(self._files, self._folder)
            self._known_end = max(self._known_end, self._noted)
            pages, unfinished = find_pages(self._files, self._folder)
        except MilvusException as error:
            yield self._finding(Kind.LOG, self._folder, error.message)
            return
        for path in unfinished:
            yield self._finding(Kind.ORPHAN, path, "a log file that was never finished")
        end = 0
        for page, following in zip_longest(pages, pages[1:]):
            if end and page.base != end:
                text = f"records {end} to {page.base - 1} are in no page"
                yield self._finding(Kind.LOG_SHORT, page.path, text, (end, page.base))
            end = yield from self._page(page, following)
        if pages and pages[0].base > self._checkpoint:
            text = f"records {self._checkpoint} to {pages[0].base - 1} are needed for recovery and in no page"
            yield self._finding(Kind.LOG_SHORT, self._folder, text, (self._checkpoint, pages[0].base))
        if end < self._known_end:
            text = f"it ends at record {end}, and {self._known_end} records are known to have been acknowledged"
            yield self._finding(Kind.LOG_SHORT, self._folder, text, (end, self._known_end))

    def _page(self, page: Page, following: Page | None) -> Generator[Finding, None, int]:
        """Yields findings, returns where the next page has to begin."""
        size = self._files.size(page.path)
        self.bytes += size
        try:
            scan = PageScan(self._files, page.path, page.base)
            while (following is None or scan.next < following.base) and (entry := scan.advance()) is not None:
                if not entry.is_mark:
                    self.records += 1
                    if entry.sequence >= self._checkpoint:
                        self._decode(entry.payload)
            if following is not None:
                for _ in scan.entries(following.base):
                    pass  # raises, as the next record does not hold
            else:
                blocked = scan.offset < size and scan.is_blocked
                scan.check_rest(self._noted)
                if blocked:
                    text = (
                        f"behind record {scan.next - 1} lie bytes that were never acknowledged, from a write that was "
                        "cut off; they are passed over"
                    )
                    yield self._finding(Kind.TORN, page.path, text)
        except MilvusException as error:
            yield self._finding(Kind.LOG, page.path, error.message)
            return following.base if following is not None else max(self._known_end, page.base)
        return scan.next

    def _decode(self, payload: memoryview) -> None:
        header, batch = decode_record(payload)
        if header.collection_id != self._collection.collection_id:
            raise Corruption(f"a record is of collection {header.collection_id}, which has another channel")
        if header.timestamp < self._newest:
            raise Corruption(f"a record of {header.timestamp} stands behind one of {self._newest}")
        self._newest = header.timestamp
        if header.parts:
            conform(batch, self._collection.schema)
            batch.validate(full=True)

    def _finding(self, kind: Kind, name: str, text: str, missing: tuple[int, int] | None = None) -> Finding:
        where = f"{self._collection.database}.{self._collection.name}"
        return Finding(kind=kind, name=name, text=text, collection=where, channel=self._channel, missing=missing)
