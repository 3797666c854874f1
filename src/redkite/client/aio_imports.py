"""The asynchronous methods that make rows of files, and files of rows."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.operations import imports, reads
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.formats.writers import BulkFileType

T = TypeVar("T")


class AsyncImports(ClientBase):
    """Imports, asynchronous."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def import_files(
        self,
        collection_name: str,
        files: imports.Files,
        partition_name: str = "",
        timeout: float | None = None,
        *,
        sep: str | None = None,
        nullkey: str | None = None,
        auto_commit: bool = True,
        job_timeout: float | None = None,
        progress: imports.Progress | None = None,
        **unknown: Never,
    ) -> imports.ImportJobInfo:
        """Make rows of files, and come back when all of them are there. None can be seen before that, and a failed
        import leaves none.

        The server reads the files: it takes paths below its setting `imports`. A database file in this process takes
        any path, and URLs such as `s3://bucket/rows.parquet?endpoint=http://localhost:9000`.

        Args:
            collection_name: What the rows are for.
            files: A Parquet, JSON (`.json`, `.jsonl`), CSV or NumPy file, several, or lists of those that belong
                together: NumPy files, one for each field and called like it.
            partition_name: Where the rows go; by default `_default`, or where their partition key says.
            sep: What separates the columns of CSV files, by default a comma.
            nullkey: What a cell of a CSV file holds in place of null, by default nothing.
            auto_commit: False: the rows wait, unseen, for `commit_import` or `abort_import`.
            job_timeout: Seconds that the import may take in all.
            progress: Called with how far the import is.
            timeout: Seconds to wait; the import goes on when they are over.

        Raises:
            ImportFailed: It says which file, column and row are at fault.
        """
        return await self._run(
            imports.import_files(
                self._session, collection_name, files, partition_name, sep, nullkey, auto_commit, job_timeout, progress
            ),
            timeout,
            unknown,
        )

    async def start_import(
        self,
        collection_name: str,
        files: imports.Files,
        partition_name: str = "",
        timeout: float | None = None,
        *,
        sep: str | None = None,
        nullkey: str | None = None,
        auto_commit: bool = True,
        job_timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        """Begin what `import_files` does, and return the id of the job at once."""
        return await self._run(
            imports.start_import(
                self._session, collection_name, files, partition_name, sep, nullkey, auto_commit, job_timeout
            ),
            timeout,
            unknown,
        )

    async def wait_for_import(
        self,
        job_id: int,
        timeout: float | None = None,
        *,
        progress: imports.Progress | None = None,
        **unknown: Never,
    ) -> imports.ImportJobInfo:
        """Come back when an import is complete or waits to be committed. Raises ImportFailed."""
        return await self._run(
            imports.wait_for_import(self._session, job_id, progress),
            timeout,
            unknown,
        )

    async def describe_import(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> imports.ImportJobInfo:
        """How far an import is."""
        return await self._run(
            imports.describe_import(self._session, job_id),
            timeout,
            unknown,
        )

    async def list_imports(
        self,
        collection_name: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[imports.ImportJobInfo]:
        """The imports of a collection, or of the database, the oldest first."""
        return await self._run(
            imports.list_imports(self._session, collection_name),
            timeout,
            unknown,
        )

    async def commit_import(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Make the rows of an import visible that was begun with `auto_commit=False`."""
        return await self._run(
            imports.commit_import(self._session, job_id),
            timeout,
            unknown,
        )

    async def abort_import(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Give such an import up: nothing of it stays."""
        return await self._run(
            imports.abort_import(self._session, job_id),
            timeout,
            unknown,
        )

    async def export_files(
        self,
        collection_name: str,
        folder: str | os.PathLike[str],
        file_type: BulkFileType | str = "parquet",
        filter: str | None = "",
        output_fields: Sequence[str] | None = None,
        partition_names: Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        chunk_size: int = 128 * 1024 * 1024,
        sep: str = ",",
        nullkey: str = "",
        as_of: reads.Moment | None = None,
        filter_params: dict[str, Any] | None = None,
        **unknown: Never,
    ) -> list[list[str]]:
        """Write the rows of a collection into files of this machine, as they are at one moment; returns the files, in
        the groups that `import_files` takes.

        Args:
            collection_name: Name or alias.
            folder: Where the files go, `1.parquet` and so on; NumPy's into a folder for each group.
            file_type: `parquet`, `json`, `jsonl`, `csv` or `numpy`.
            filter: Only rows that match this expression.
            output_fields: Fields to write. By default all that an import into a collection of the same schema takes:
                neither automatic primary keys nor what functions fill.
            partition_names: Only these partitions.
            chunk_size: Bytes of rows that become a file, about.
            sep: What separates the columns of CSV files.
            nullkey: What stands for null in CSV files.
            as_of: The rows as they were then, see `query`.
            filter_params: Values of `{placeholders}` in the filter.
            timeout: Seconds, in all.
        """
        from redkite.client.operations import exports

        return await self._run(
            exports.export_files(
                self._session,
                collection_name,
                folder,
                file_type,
                filter,
                output_fields,
                partition_names,
                chunk_size,
                sep,
                nullkey,
                as_of,
                filter_params,
            ),
            timeout,
            unknown,
        )
