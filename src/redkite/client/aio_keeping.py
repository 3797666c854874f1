"""The awaited methods that keep collections as they are. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.operations import backups, snapshots
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.model.results import BackupInfo

T = TypeVar("T")


class AsyncKeeping(ClientBase):
    """Named snapshots and backups, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    # -- snapshots ---------------------------------------------------------------------------
    async def create_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        description: str = "",
        compaction_protection_seconds: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            snapshots.create_snapshot(
                self._session, snapshot_name, collection_name, db_name, description, compaction_protection_seconds
            ),
            timeout,
            unknown,
        )

    async def drop_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            snapshots.drop_snapshot(self._session, snapshot_name, collection_name, db_name), timeout, unknown
        )

    async def list_snapshots(
        self,
        collection_name: str | None = "",
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(snapshots.list_snapshots(self._session, collection_name, db_name), timeout, unknown)

    async def describe_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> snapshots.SnapshotInfo:
        return await self._run(
            snapshots.describe_snapshot(self._session, snapshot_name, collection_name, db_name), timeout, unknown
        )

    async def restore_snapshot(
        self,
        snapshot_name: str,
        source_collection_name: str,
        target_collection_name: str,
        source_db_name: str = "",
        target_db_name: str = "",
        timeout: float | None = None,
        *,
        rewrite_data: bool = False,
        **unknown: Never,
    ) -> int:
        return await self._run(
            snapshots.restore_snapshot(
                self._session,
                snapshot_name,
                source_collection_name,
                target_collection_name,
                source_db_name,
                target_db_name,
                rewrite_data,
            ),
            timeout,
            unknown,
        )

    async def get_restore_snapshot_state(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> snapshots.RestoreSnapshotJobInfo:
        return await self._run(snapshots.get_restore_snapshot_state(self._session, job_id), timeout, unknown)

    async def list_restore_snapshot_jobs(
        self,
        collection_name: str | None = "",
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[snapshots.RestoreSnapshotJobInfo]:
        return await self._run(
            snapshots.list_restore_snapshot_jobs(self._session, collection_name, db_name), timeout, unknown
        )

    async def export_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        target_path: str,
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        return await self._run(
            snapshots.export_snapshot(self._session, snapshot_name, collection_name, target_path, db_name),
            timeout,
            unknown,
        )

    async def get_export_snapshot_state(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> snapshots.ExportSnapshotJobInfo:
        return await self._run(snapshots.get_export_snapshot_state(self._session, job_id), timeout, unknown)

    async def restore_external_snapshot(
        self,
        snapshot_metadata_uri: str,
        target_collection_name: str,
        target_db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        return await self._run(
            snapshots.restore_external_snapshot(
                self._session, snapshot_metadata_uri, target_collection_name, target_db_name
            ),
            timeout,
            unknown,
        )

    async def pin_snapshot_data(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        ttl_seconds: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        return await self._run(
            snapshots.pin_snapshot_data(self._session, snapshot_name, collection_name, db_name, ttl_seconds),
            timeout,
            unknown,
        )

    async def unpin_snapshot_data(
        self,
        pin_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(snapshots.unpin_snapshot_data(self._session, pin_id), timeout, unknown)

    # -- backups -----------------------------------------------------------------------------
    async def create_backup(
        self,
        destination: backups.Destination,
        name: str | None = None,
        collections: str | Sequence[str] | None = None,
        databases: str | Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        progress: backups.Progress | None = None,
        **unknown: Never,
    ) -> BackupInfo:
        return await self._run(
            backups.create_backup(self._session, destination, name, collections, databases, progress), timeout, unknown
        )

    async def list_backups(
        self,
        destination: backups.Destination,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[BackupInfo]:
        return await self._run(backups.list_backups(self._session, destination), timeout, unknown)

    async def verify_backup(
        self,
        destination: backups.Destination,
        name: str,
        timeout: float | None = None,
        *,
        progress: backups.Progress | None = None,
        **unknown: Never,
    ) -> BackupInfo:
        return await self._run(backups.verify_backup(self._session, destination, name, progress), timeout, unknown)

    async def restore_backup(
        self,
        destination: backups.Destination,
        name: str,
        collections: str | Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        renames: Mapping[str, str] | None = None,
        suffix: str = "",
        into_database: str = "",
        progress: backups.Progress | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(
            backups.restore_backup(
                self._session, destination, name, collections, renames, suffix, into_database, progress
            ),
            timeout,
            unknown,
        )

    async def delete_backup(
        self,
        destination: backups.Destination,
        name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(backups.delete_backup(self._session, destination, name), timeout, unknown)
