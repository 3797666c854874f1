"""What the lowest reader of each kind of file makes of a changed one.

Whatever Redkite knows of a file it knows through one reader: objects through the comparison of their checksums, pages
of the log through a topic, the catalog through its opening. Where that reader gives exactly what it gave before, or
says that the file is corrupt, nothing above it can tell the cases apart, and it need not be opened. The bits of a
database can be tried one by one this way, thousands in a second. Everything else is for the whole database to judge.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from redkite import Corruption
from redkite.env import Env
from redkite.model.segments import SegmentMeta
from redkite.realenv import RealFiles
from redkite.storage.catalog import open_catalog
from redkite.storage.local_log import LocalLog
from redkite.storage.objects import FolderObjects
from redkite.storage.sqlite_catalog import SqliteCatalog

CATALOG = "catalog"
LOG, OBJECTS = "log/", "objects/"
SAME, CORRUPT, UNKNOWN = "right", "corruption", ""


class Readers:
    """Of one database at rest. `scratch` is a folder of this object's own."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self._catalog_files = sorted(p.name for p in root.glob(f"{CATALOG}*"))
        self._catalog = self._read_catalog(None)
        self._checksums = dict[str, tuple[int, int]]()
        for key, value in self._catalog.items():
            if key.startswith("segment/"):
                self._checksums |= checksums_of(msgspec.json.decode(value, type=SegmentMeta))
        self._logs = {p.name: self._read_log(p.name, None) for p in (root / "log").iterdir()}

    def judge(self, file: str, content: bytes) -> str:
        """With this content of one file: SAME, CORRUPT, or UNKNOWN when more has to be asked."""
        try:
            if file in self._catalog_files:
                return SAME if self._read_catalog((file, content)) == self._catalog else UNKNOWN
            if file.startswith(LOG):
                channel, _, page = file.removeprefix(LOG).partition("/")
                return SAME if self._read_log(channel, (page, content)) == self._logs[channel] else UNKNOWN
            if file.startswith(OBJECTS) and file.removeprefix(OBJECTS) in self._checksums:
                return self._compare(file.removeprefix(OBJECTS), content)
        except Corruption:
            return CORRUPT
        except Exception:  # noqa: BLE001  whatever else comes is for the whole database to judge
            return UNKNOWN
        return UNKNOWN

    def _compare(self, name: str, content: bytes) -> str:
        """The reader of an object is told of its damage, and knows what to do: make it anew, or say so."""
        place = self._scratch / OBJECTS
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
        FolderObjects(RealFiles(), str(place), writes=False).verify(name, *self._checksums[name])
        return SAME if content == (self._root / OBJECTS / name).read_bytes() else UNKNOWN

    def _read_log(self, channel: str, changed: tuple[str, bytes] | None) -> Any:
        place = self._scratch / "log"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self._root / LOG / channel, place / channel)
        if changed is not None:
            (place / channel / changed[0]).write_bytes(changed[1])
        topic = LocalLog(Env.real(), str(place)).topic(channel)
        records = [(record.position, bytes(record.payload)) for record in topic.read()]
        return topic.start, topic.end, topic.groups(), records

    def _read_catalog(self, changed: tuple[str, bytes] | None) -> dict[str, bytes]:
        place = self._scratch / CATALOG
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for name in self._catalog_files:
            shutil.copyfile(self._root / name, place / name)
        if changed is not None:
            (place / changed[0]).write_bytes(changed[1])
        catalog = open_catalog(RealFiles(), str(place / CATALOG))
        try:
            assert isinstance(catalog, SqliteCatalog)
            return dict(catalog.scan())
        finally:
            catalog.close()


def checksums_of(meta: SegmentMeta) -> dict[str, tuple[int, int]]:
    """Size and CRC-32 of each object of a segment."""
    found = {meta.rows_object: (meta.size, meta.rows_crc)}
    if meta.order_object:
        found[meta.order_object] = (4 * meta.rows, meta.order_crc)
    if meta.deletes_object:
        found[meta.deletes_object] = (meta.deletes_size, meta.deletes_crc)
    return found | {index.object: (index.size, index.crc) for index in meta.indexes}
