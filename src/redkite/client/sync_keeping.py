"""The blocking methods that keep collections as they are: named snapshots and backups."""

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


class SyncKeeping(ClientBase):
    """Named snapshots and backups, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    # -- snapshots ---------------------------------------------------------------------------
    def create_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        description: str = "",
        compaction_protection_seconds: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Keep the rows of a collection as they are now under a name that is unique within the collection.

        Writers are not held up. The snapshot stays until it or its collection is dropped, whatever is deleted,
        truncated or compacted meanwhile. `compaction_protection_seconds`, at most a week: compaction leaves its
        segments alone for so long.
        """
        return self._run(
            snapshots.create_snapshot(
                self._session, snapshot_name, collection_name, db_name, description, compaction_protection_seconds
            ),
            timeout,
            unknown,
        )

    def drop_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a snapshot. One that does not exist is no error; one that is pinned raises SnapshotPinned."""
        return self._run(
            snapshots.drop_snapshot(self._session, snapshot_name, collection_name, db_name), timeout, unknown
        )

    def list_snapshots(
        self,
        collection_name: str | None = "",
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of a collection's snapshots, or of all in the database."""
        return self._run(snapshots.list_snapshots(self._session, collection_name, db_name), timeout, unknown)

    def describe_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> snapshots.SnapshotInfo:
        """What a snapshot is of, and when it was made. Raises SnapshotNotFound."""
        return self._run(
            snapshots.describe_snapshot(self._session, snapshot_name, collection_name, db_name), timeout, unknown
        )

    def restore_snapshot(
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
        """Begin to make a new collection out of a snapshot, with its indexes, not loaded; returns a job id at once.

        The new collection shares files with the snapshot where the file system can do that; with `rewrite_data` every
        byte is written anew.
        """
        return self._run(
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

    def get_restore_snapshot_state(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> snapshots.RestoreSnapshotJobInfo:
        """How far a restore is: `state` is `RestoreSnapshotPending`, `…Executing`, `…Completed` or `…Failed`."""
        return self._run(snapshots.get_restore_snapshot_state(self._session, job_id), timeout, unknown)

    def list_restore_snapshot_jobs(
        self,
        collection_name: str | None = "",
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[snapshots.RestoreSnapshotJobInfo]:
        """Restores into a collection, or into any of the database."""
        return self._run(
            snapshots.list_restore_snapshot_jobs(self._session, collection_name, db_name), timeout, unknown
        )

    def export_snapshot(
        self,
        snapshot_name: str,
        collection_name: str,
        target_path: str,
        db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        """Begin to copy what a snapshot holds to a folder or a store of objects, as backups are; returns a job id at
        once. When the job is done, any database can make a collection of it: `restore_external_snapshot`."""
        return self._run(
            snapshots.export_snapshot(self._session, snapshot_name, collection_name, target_path, db_name),
            timeout,
            unknown,
        )

    def get_export_snapshot_state(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> snapshots.ExportSnapshotJobInfo:
        """How far an export is: `state` is `ExportSnapshotPending`, `…Executing`, `…Completed` or `…Failed`; and
        where the exported snapshot is described: `snapshot_metadata_uri`."""
        return self._run(snapshots.get_export_snapshot_state(self._session, job_id), timeout, unknown)

    def restore_external_snapshot(
        self,
        snapshot_metadata_uri: str,
        target_collection_name: str,
        target_db_name: str = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        """Begin to make a new collection out of an exported snapshot, with its indexes, not loaded; returns a job id at
        once, for `get_restore_snapshot_state`."""
        return self._run(
            snapshots.restore_external_snapshot(
                self._session, snapshot_metadata_uri, target_collection_name, target_db_name
            ),
            timeout,
            unknown,
        )

    def pin_snapshot_data(
        self,
        snapshot_name: str,
        collection_name: str,
        db_name: str = "",
        ttl_seconds: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        """Keep a snapshot (and its collection) from being dropped, for `ttl_seconds` or, with 0, until it is unpinned;
        returns the pin's id.
        """
        return self._run(
            snapshots.pin_snapshot_data(self._session, snapshot_name, collection_name, db_name, ttl_seconds),
            timeout,
            unknown,
        )

    def unpin_snapshot_data(
        self,
        pin_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take a pin away. One that does not exist is no error."""
        return self._run(snapshots.unpin_snapshot_data(self._session, pin_id), timeout, unknown)

    # -- backups -----------------------------------------------------------------------------
    def create_backup(
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
        """Copy collections as they are at one moment to another place, and come back when the copy is whole.

        Writers go on meanwhile. What an earlier backup brought to the same destination is not copied again.

        Args:
            destination: A folder, or a URL such as `s3://bucket/prefix?endpoint=http://localhost:9000`, whose
                credentials come from the environment. A server takes only what lies below its setting `backups`.
            name: Of the backup; by default made of the time.
            collections: Names in the client's database, or `database.collection`.
            databases: Whole databases. With neither, everything is copied.
            progress: Called with the bytes done and the bytes there are to do.
            timeout: Seconds; the backup goes on when they are over.
        """
        return self._run(
            backups.create_backup(self._session, destination, name, collections, databases, progress), timeout, unknown
        )

    def list_backups(
        self,
        destination: backups.Destination,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[BackupInfo]:
        """The whole backups at a destination, the oldest first."""
        return self._run(backups.list_backups(self._session, destination), timeout, unknown)

    def verify_backup(
        self,
        destination: backups.Destination,
        name: str,
        timeout: float | None = None,
        *,
        progress: backups.Progress | None = None,
        **unknown: Never,
    ) -> BackupInfo:
        """Read all of a backup and compare its checksums. Raises Corruption that names every damaged object."""
        return self._run(backups.verify_backup(self._session, destination, name, progress), timeout, unknown)

    def restore_backup(
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
        """Make new collections out of a backup, with their indexes, not loaded; returns them as `database.collection`.

        Nothing is made when any object of them is damaged (Corruption names it) or a name is taken.

        Args:
            destination: As for `create_backup`.
            name: Of the backup.
            collections: Which of its collections; by default all.
            renames: New names; key and value may be `database.collection`.
            suffix: Added to the name of every collection that `renames` leaves as it is.
            into_database: Where the collections go instead of the database they came from. Created when missing.
            progress: Called with the bytes done and the bytes there are to do.
            timeout: Seconds; the restore goes on when they are over.
        """
        return self._run(
            backups.restore_backup(
                self._session, destination, name, collections, renames, suffix, into_database, progress
            ),
            timeout,
            unknown,
        )

    def delete_backup(
        self,
        destination: backups.Destination,
        name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Delete a backup, and the objects that no other backup at the destination needs. Raises BackupNotFound."""
        return self._run(backups.delete_backup(self._session, destination, name), timeout, unknown)
