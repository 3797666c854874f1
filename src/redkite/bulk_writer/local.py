"""A bulk writer that writes to a folder of this machine."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from redkite.bulk_writer.buffer import Buffer
from redkite.client.schema import CollectionSchema
from redkite.errors import ParamError
from redkite.formats.writers import BulkFileType, write_files

MB = 1024 * 1024
CallBack = Callable[[list[str]], object]
"""Called with the files of a commit when they are written."""
_CONFIG = ("sep", "nullkey")
_NO_SEPARATORS = ("\0", "\r", "\n", '"')


class LocalBulkWriter:
    """Collects rows and writes them as files of about `chunk_size` bytes below a new folder in `local_path`.

    Rows are checked when they are appended, and kept as columns. Safe from several threads. A context manager, which
    writes what is left when its block ends without an error.
    """

    def __init__(
        self,
        schema: CollectionSchema,
        local_path: str | Path,
        chunk_size: int = 128 * MB,
        file_type: BulkFileType = BulkFileType.PARQUET,
        config: Mapping[str, str] | None = None,
        *,
        segment_size: int = 0,
    ) -> None:
        """Make the folder.

        Args:
            schema: Of the collection that the rows are for.
            local_path: Files lie in `local_path/uuid/1.parquet` and so on; NumPy's in `local_path/uuid/1/field.npy`.
            chunk_size: Bytes of rows that become a file.
            file_type: What kind of file.
            config: For CSV files `sep`, by default a comma, and `nullkey`, what stands for null.
            segment_size: The former name of `chunk_size`.
        """
        self._chunk_size = _positive("chunk_size", segment_size or chunk_size)
        self._kind = _file_type(file_type)
        self._sep, self._nullkey = _csv(config)
        self._buffer = Buffer(schema)
        self._lock = RLock()
        self._total = 0
        self._commits = 0
        self._files: list[list[str]] = []
        self._uuid = str(uuid.uuid4())
        self._folder = Path(local_path) / self._uuid
        self._folder.mkdir(parents=True, exist_ok=True)
        self._worker: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None
        self._late: Exception | None = None
        """What went wrong in the background, and nobody was told of yet."""
        self._unwritten: list[pa.RecordBatch] = []
        """What a commit that failed did not write."""

    # -- rows -----------------------------------------------------------------------------------
    def append_row(self, row: Mapping[str, Any]) -> None:
        """Take one row. Raises DataNotMatchException and its kin for what does not fit the schema."""
        if not isinstance(row, Mapping):
            raise ParamError(f"The input row must be a dict object, not {type(row).__name__}")
        self._take(row)

    def append_batch(self, rows: pa.RecordBatch | pa.Table | Mapping[str, Any] | list[Any] | Any) -> None:
        """Take many rows at once: an Arrow batch or table, a data frame, a dict of columns (lists, numpy arrays), or a
        list of dicts. All of them, or with an error none."""
        self._take(rows)

    def _take(self, given: Any) -> None:
        """What went wrong in the background is raised before anything is taken: who hears of it may give them again."""
        with self._lock:
            if self._late is not None or (self._pending is not None and self._pending.done()):
                self._wait()
            self._total += self._buffer.append(given)
            if self._buffer.bytes >= self._chunk_size:
                try:
                    self._wait()
                except Exception as error:  # noqa: BLE001  these rows were taken: the next call tells
                    self._late = error
                else:
                    self.commit(_async=True)

    # -- files ----------------------------------------------------------------------------------
    def commit(self, _async: bool = False, call_back: CallBack | None = None) -> None:
        """Write the rows taken since the last commit, if there are any. `_async`: in the background; an error of that
        is raised by the next call. Rows for which there was no room, or no connection, wait for the next commit."""
        with self._lock:
            self._wait()
            if not self._buffer.rows:
                return
            rows = self._buffer.take()
            self._commits += 1
            stem = self._folder / str(self._commits)
            if not _async:
                try:
                    self._write(rows, stem, call_back)
                finally:
                    self._put_back()
                return
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, "bulk-writer")
            self._pending = self._worker.submit(self._write, rows, stem, call_back)

    def _wait(self) -> None:
        """Until nothing is being written. Raises what went wrong in the background, once."""
        late, self._late = self._late, None
        if late is not None:
            raise late
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            finally:
                self._put_back()

    def _put_back(self) -> None:
        rows, self._unwritten = self._unwritten, []
        if rows:
            self._buffer.put_back(rows)

    def _write(self, rows: list[pa.RecordBatch], stem: Path, call_back: CallBack | None) -> None:
        try:
            made = write_files(rows, stem, self._kind, self._sep, self._nullkey, self._buffer.filled)
            files = self._keep(made)
        except ParamError:
            raise  # no file of this kind ever holds them
        except BaseException:
            self._unwritten = rows
            raise
        self._files.append(files)
        if call_back is not None:
            call_back(files)

    def _keep(self, files: list[Path]) -> list[str]:
        """What the files of a commit are called from now on."""
        return [str(file) for file in files]

    # -- what there is --------------------------------------------------------------------------
    @property
    def uuid(self) -> str:
        return self._uuid

    @property
    def data_path(self) -> Path:
        """The folder of the files."""
        return self._folder

    @property
    def batch_files(self) -> list[list[str]]:
        """The files of each commit, as `import_files` takes them."""
        with self._lock:
            self._wait()
            return [list(files) for files in self._files]

    @property
    def buffer_size(self) -> int:
        """Bytes of the rows that are not written yet."""
        return self._buffer.bytes

    @property
    def buffer_row_count(self) -> int:
        return self._buffer.rows

    @property
    def total_row_count(self) -> int:
        """Rows ever taken."""
        return self._total

    @property
    def chunk_size(self) -> int:
        return self._chunk_size

    # -- the end --------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
        finally:
            self.close()

    def close(self) -> None:
        """Wait for what is being written. Rows that were not committed are forgotten; an empty folder is removed."""
        with self._lock:
            try:
                self._wait()
            finally:
                if self._worker is not None:
                    self._worker.shutdown()
                    self._worker = None
                self._buffer.take()
                self._clear()

    def _clear(self) -> None:
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


def _positive(name: str, value: int) -> int:
    given: object = value
    if isinstance(given, bool) or not isinstance(given, int) or given <= 0:
        raise ParamError(f"{name}={value!r} is no positive number of bytes")
    return given


def _file_type(value: BulkFileType) -> BulkFileType:
    try:
        return BulkFileType(value)
    except ValueError:
        known = ", ".join(kind.name for kind in BulkFileType)
        raise ParamError(f"file_type {value!r} is none of {known}") from None


def _csv(config: Mapping[str, str] | None) -> tuple[str, str]:
    for key in config or {}:
        if key not in _CONFIG:
            raise ParamError(f"unknown config {key}, known are {', '.join(_CONFIG)}")
    sep = (config or {}).get("sep", ",")
    if len(sep) != 1 or sep in _NO_SEPARATORS or not sep.isascii():
        raise ParamError(f"sep={sep!r} is no separator of columns")
    return sep, (config or {}).get("nullkey", "")
