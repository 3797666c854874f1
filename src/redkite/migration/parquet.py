"""Folders of Parquet files: one collection for each folder that has some."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from redkite.client.index_params import IndexParams
from redkite.errors import CollectionNotFound, ParamError
from redkite.migration.arrow_rows import mapped
from redkite.migration.plan import Found, Place, Portion, Wishes, renamed

_FIRST = 1000
DEFAULT_METRIC = "COSINE"


class ParquetSource:
    """A folder of files, which are one collection, or of such folders; or one file."""

    kind = "parquet"
    notes: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        here = Path(path)
        self._files: dict[str, list[Path]] = {}
        if here.is_file():
            self._files[here.stem] = [here]
        for folder in (here, *sorted(entry for entry in here.iterdir() if entry.is_dir())) if here.is_dir() else ():
            files = sorted(folder.glob("*.parquet"))
            if files:
                name = folder.resolve().name
                if name in self._files:
                    raise ParamError(f"two folders are called {name}: {self._files[name][0].parent} and {folder}")
                self._files[name] = files
        if not self._files:
            raise ParamError(f"there are no *.parquet files in {path} or in its folders")

    def found(self, wishes: Wishes) -> list[Found]:
        for name in wishes.collections:
            if name not in self._files:
                raise CollectionNotFound(f"there are no Parquet files of {name}; there are {', '.join(self._files)}")
        return [self._one(name, wishes) for name in wishes.collections or self._files]

    def _one(self, name: str, wishes: Wishes) -> Found:
        files = self._files[name]
        first = pq.ParquetFile(files[0])
        head = next(first.iter_batches(_FIRST), None)
        schema = first.schema_arrow
        for file in files[1:]:
            other = pq.read_schema(file)
            if not other.equals(schema):
                raise ParamError(f"{file} has other columns than {files[0]}: put it into a folder of its own")
        table = schema.empty_table() if head is None else pa.Table.from_batches([head])
        table_map = mapped(schema, table, wishes, str(files[0].parent))
        params = IndexParams()
        for vector in table_map.vectors:
            params.add_index(vector, "AUTOINDEX", metric_type=wishes.metric or DEFAULT_METRIC)
        target, notes = renamed(name, wishes)
        said = () if wishes.metric else (f"the metric is {DEFAULT_METRIC}: files say none (--metric names another)",)
        return Found(
            source=name, name=target, schema=table_map.schema, indexes=params, key=table_map.key,
            rows=sum(pq.read_metadata(file).num_rows for file in files),
            notes=(*notes, *table_map.notes, *said), own=table_map,
        )  # fmt: skip

    def portions(self, found: Found, place: Place, size: int) -> Iterator[Portion]:
        skip = int(place.get("offset", 0))
        done = 0
        files = [f"{path.name} {path.stat().st_size}" for path in self._files[found.source]]
        mark = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
        if place.get("files", mark) != mark:
            raise ParamError(f"the files of {found.source} are others than when this migration began")
        for path in self._files[found.source]:
            file = pq.ParquetFile(path)
            if done + file.metadata.num_rows <= skip:
                done += file.metadata.num_rows
                continue
            for batch in file.iter_batches(size):
                known = max(0, min(skip - done, batch.num_rows))
                done += batch.num_rows
                if known < batch.num_rows:
                    rows = batch.slice(known)
                    yield Portion(found.own.rows(rows), rows.num_rows, {"offset": done, "files": mark})

    def count(self, found: Found) -> int:
        return found.rows

    def close(self) -> None:
        """No file is kept open."""
