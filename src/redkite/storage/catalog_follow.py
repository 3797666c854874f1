"""The catalog of a database that another process writes: one consistent copy in memory, renewed when it changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redkite.errors import ReadOnlyDatabase
from redkite.storage.catalog import MemoryCatalog, MemoryTable
from redkite.storage.sqlite_catalog import SqliteCatalog


class FollowedCatalog(MemoryCatalog):
    """Everything read between two `refresh` is of one commit."""

    def __init__(self, path: str) -> None:
        self._source = SqliteCatalog(path, read_only=True)
        self._version = -1
        super().__init__()
        self.refresh()

    def refresh(self) -> bool:
        """Whether the writer committed since; asking costs some microseconds."""
        version = self._source.version()
        if version == self._version:
            return False
        table = MemoryTable()
        table.entries = dict(self._source.scan())
        self._table = table
        self._version = version
        return True

    def commit(
        self,
        puts: Mapping[str, bytes],  # noqa: ARG002  refused whatever it is
        deletes: Iterable[str] = (),  # noqa: ARG002
        expect: Mapping[str, bytes | None] | None = None,  # noqa: ARG002
    ) -> None:
        raise ReadOnlyDatabase("the catalog cannot be written: the database was opened with read_only=True")

    def close(self) -> None:
        self._source.close()
