"""The indexes of one shard's sealed segments: built, attached, dropped, built again."""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Future
from functools import partial
from threading import Lock

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.meta import CollectionMeta
from redkite.logs import get_logger
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.data import DataNode
from redkite.node.holdings import Holdings
from redkite.storage.coordination import Fenced

log = get_logger(__name__)


class Indexing:
    """What a shard does about indexes."""

    collection: CollectionMeta
    _apply: Lock
    _data: DataCoordinator
    _data_node: DataNode
    _garbage: Garbage
    _sealed: Holdings

    @abstractmethod
    def segments(self) -> list[SegmentMeta]: ...

    def build_missing(self, segment_id: int) -> list[Future[None]]:
        """Queue the builds that a sealed segment still wants."""
        sealed = self._sealed.get(segment_id)
        if sealed is None:
            return []
        return [
            self._data_node.build_index(
                sealed.meta,
                index,
                self.collection.schema,
                wanted=partial(self._wants, segment_id, index),
                built=partial(self._built, segment_id, index),
            )
            for index in self._data.indexes(self.collection.collection_id)
            if self._data.wants_build(sealed.meta, index)
        ]

    def build_all(self) -> None:
        for segment_id in self._sealed.ids():
            self.build_missing(segment_id)

    def _wants(self, segment_id: int, index: IndexMeta) -> bool:
        sealed = self._sealed.get(segment_id)
        known = self._data.indexes(self.collection.collection_id)
        return sealed is not None and index in known and self._data.wants_build(sealed.meta, index)

    def _built(self, segment_id: int, index: IndexMeta, file: IndexFile) -> None:
        try:
            is_taken = self._data.add_index_file(self.collection.collection_id, segment_id, file)
        except Fenced as error:
            log.info("an index of segment %d is its next owner's to build: %s", segment_id, error.message)
            is_taken = False
        if not is_taken:
            self._garbage.discard([file.object])
            return
        with self._apply:
            self._sealed.refresh(self.segments())
            sealed = self._sealed.get(segment_id)
            for peer in () if sealed is None else sealed.peers:
                peer.attach_index(segment_id, index, file)
            self._sealed.count(self.collection.collection_id)

    def drop_index(self, index: IndexMeta) -> None:
        with self._apply:
            self._sealed.refresh(self.segments())
            for holding in self._sealed:
                for peer in holding.peers:
                    peer.detach_index(holding.meta.segment_id, index)
            self._sealed.count(self.collection.collection_id)
