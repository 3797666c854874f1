"""What the catalog keeps of jobs: that they were asked for, and how they ended. So a job that a restart cut off is told
as what it is, rather than as one that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from redkite.errors import MilvusException
from redkite.logs import get_logger
from redkite.storage.catalog import Catalog

log = get_logger(__name__)

KEPT_JOBS: Final = 256
"""Finished jobs of a kind that can still be asked for."""


def why(error: BaseException) -> str:
    """What a job that ended in this error says."""
    return error.message if isinstance(error, MilvusException) else f"{type(error).__name__}: {error}"


class JobRecords:
    """Of one kind of jobs, by their ids. Safe from any thread."""

    def __init__(self, catalog: Catalog, kind: str, *, resumes: bool = False) -> None:
        """`resumes`: what another process did not finish is done here, rather than told as failed."""
        self._catalog = catalog
        self.resumes = resumes
        self._prefix = f"{kind}-job/"

    def all(self) -> list[tuple[int, bytes]]:
        """Ids and records, the oldest first."""
        found = [(int(key.removeprefix(self._prefix)), value) for key, value in self._catalog.scan(self._prefix)]
        return sorted(found)

    def key(self, job_id: int) -> str:
        """Where the catalog has a job, for whoever commits it together with other things."""
        return f"{self._prefix}{job_id}"

    def save(self, job_id: int, record: bytes, gone: Iterable[int] = ()) -> None:
        """Remember a job, and forget others; durable on return."""
        self._catalog.commit({self.key(job_id): record}, [self.key(i) for i in gone])

    def get(self, job_id: int) -> bytes | None:
        """As the catalog is known here to have it."""
        return self._catalog.get(self.key(job_id))

    def replace(self, job_id: int, record: bytes, known: bytes | None) -> None:
        """Remember how a job goes on that the catalog has as `known`; durable on return. Raises Conflict where it has
        another."""
        self._catalog.commit({self.key(job_id): record}, (), {self.key(job_id): known})

    def note(self, job_id: int, record: bytes) -> None:
        """Remember how a job goes on. When that cannot be written now, it is told as cut off after a restart."""
        try:
            self.save(job_id, record)
        except MilvusException as error:
            log.warning("how job %d ended could not be noted: %s", job_id, error.message)
