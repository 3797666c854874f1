"""What is fuzzed: readers of stored bytes. Each takes any bytes and returns, or raises an error of Redkite's tree."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa

from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import CollectionMeta, DatabaseMeta
from redkite.coordinator.snapshots import SnapshotMeta
from redkite.env import Env
from redkite.errors import MilvusException
from redkite.model.limits import LIMITS
from redkite.model.segments import ChannelState, IndexMeta, IndexSpec, LoadEntry, SegmentMeta
from redkite.node.records import DELETE, INSERT, RecordHeader, decode_record, encode_keys, with_header
from redkite.ops.log_rescue import rescue_page
from redkite.segment.files import open_deletes, open_stored
from redkite.storage import log_format as fmt
from redkite.storage.catalog import MemoryCatalog
from redkite.storage.catalog_state import CatalogState, Witness
from redkite.storage.checksums import crc32
from redkite.storage.log_pages import Page, encode_page
from redkite.storage.log_scan import PageScan
from redkite.storage.log_state import STATE, TopicState, load_state, save_state
from redkite.storage.objects import FolderObjects
from redkite.storage.sqlite_catalog import SqliteCatalog, salvage

_MEMORY = Path("/dev/shm")
_ROOT = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
ROOT = Path(_ROOT.name)
_ENV = Env.real()


def _file(name: str, data: bytes) -> str:
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def log_page(data: bytes) -> None:
    """A page as recovery reads it, and as `doctor` reads around its damage."""
    page = Page(0, _file("page/00000000000000000000.log", data))
    with contextlib.suppress(MilvusException):
        scan = PageScan(_ENV.files, page.path, 0)
        end = scan.recover()
        assert scan.offset <= len(data)
        assert [e.sequence for e in PageScan(_ENV.files, page.path, 0).entries(end) if not e.is_mark] == [*range(end)]
    rescued = rescue_page(_ENV, page, None)
    assert all(first <= last for first, last in rescued.lost)


def log_record(data: bytes) -> None:
    """The header of a record, before a body that is sound: Arrow's reader sees checked bytes only."""
    header, batch = decode_record(data[:4000] + _KEYS)
    assert header.kind in (INSERT, DELETE)
    assert batch.num_rows >= 0


def topic_state(data: bytes) -> None:
    path = _file(f"topic/{STATE}", data)
    load_state(_ENV.files, path.rpartition("/")[0])


def catalog_entries(data: bytes) -> None:
    """Each entry of the catalog, whose checksum holds but whose content is anything."""
    for key in ("segment/1/2", "index/1/2", "channel/c_0v0"):
        with contextlib.suppress(MilvusException):
            DataCoordinator(MemoryCatalog(_table({key: data})), lambda: 1, LIMITS)
    with contextlib.suppress(MilvusException):
        QueryCoordinator(MemoryCatalog(_table({"load/1": data})), [1])
    for kind in (CollectionMeta, DatabaseMeta, SnapshotMeta):
        with contextlib.suppress(MilvusException):
            kind.from_bytes(data)


def _table(entries: dict[str, bytes]):
    catalog = MemoryCatalog()
    catalog.commit(entries)
    return catalog._table


def catalog_file(data: bytes) -> None:
    """A whole SQLite file, as it is opened and as `doctor` salvages it."""
    path = _file("catalog/catalog", data)
    for suffix in ("-wal", "-shm"):
        Path(path + suffix).unlink(missing_ok=True)
    with contextlib.suppress(MilvusException):
        SqliteCatalog(path).close()
    salvage(path)


def witness(data: bytes) -> None:
    assert Witness(_ENV.files, _file("witness", data)).newest() >= 0
    state = CatalogState.from_bytes(data)
    assert state is None or state.to_bytes() == data


def segment_rows(data: bytes) -> None:
    """A rows file that is not what was stored: Arrow must never see it."""
    store = FolderObjects(_ENV.files, str(ROOT / "objects"))
    _file("objects/segments/1/2/rows.arrow", data)
    meta = SegmentMeta(
        segment_id=2,
        collection_id=1,
        partition_id=3,
        channel="c_0v0",
        rows=3,
        size=len(_ROWS),
        rows_object="segments/1/2/rows.arrow",
        rows_crc=crc32(_ROWS),
        deletes_object="segments/1/2/rows.arrow",
        deletes_size=len(_ROWS),
        deletes_crc=crc32(_ROWS),
    )
    for read in (open_stored, open_deletes):
        try:
            read(store, meta)
        except MilvusException:
            assert data != _ROWS
        else:
            assert data == _ROWS


def _rows() -> bytes:
    batch = pa.RecordBatch.from_pydict(
        {
            "0": pa.array([1, 2, 3], pa.uint64()),
            "row": pa.array([0, 1, 2]),
            "timestamp": pa.array([5, 6, 7], pa.uint64()),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


_ROWS = _rows()
_KEYS = b"".join(encode_keys(pa.array([1, 2, 3])))

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (log_page, log_record, topic_state, catalog_entries, catalog_file, witness, segment_rows)
}


def run(name: str, data: bytes) -> None:
    """One case: an error of Redkite's is as good as an answer, anything else is a finding."""
    with contextlib.suppress(MilvusException):
        TARGETS[name](data)


# -- what to begin with -------------------------------------------------------------------------
def seeds(name: str) -> list[bytes]:
    """Sound bytes for a target, to be mutated."""
    return _SEEDS[name]()


def _pages() -> list[bytes]:
    payloads = [b"".join(bytes(b) for b in with_header(RecordHeader(DELETE, 7, 1), [_KEYS])), b"", b"x" * 9]
    entries = [fmt.Entry(n, n, False, memoryview(payload), 0) for n, payload in enumerate(payloads)]
    return [b"".join(bytes(b) for b in encode_page(0, 99, entries[:count])) for count in (0, 1, 3)]


def _states() -> list[bytes]:
    save_state(_ENV.files, str(ROOT / "seed"), TopicState(truncated=5, groups={"a": 3}, unwanted={0: 9}))
    return [(ROOT / "seed" / STATE).read_bytes()]


def _entries() -> list[bytes]:
    segment = SegmentMeta(
        segment_id=2, collection_id=1, partition_id=3, channel="c", rows=1, size=1, rows_object="r", rows_crc=1
    )
    index = IndexMeta(
        index_id=1, collection_id=1, field_id=100, field="v", name="v", params={}, spec=IndexSpec(index_type="FLAT"),
        created_timestamp=1,
    )  # fmt: skip
    made = [segment, index, ChannelState(checkpoint=3), LoadEntry(collection_id=1)]
    return [*map(msgspec.json.encode, made), DatabaseMeta(name="d", database_id=1, created_timestamp=2).to_bytes()]


def _catalogs() -> list[bytes]:
    path = str(ROOT / "seed-catalog")
    catalog = SqliteCatalog(path)
    catalog.commit({f"segment/1/{number}": b"value %d" % number for number in range(4)})
    catalog.close()
    data = Path(path).read_bytes()
    Path(path).unlink()
    return [data]


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "log_page": _pages,
    "log_record": lambda: [with_header(RecordHeader(1, 7, 1, ((2, 3),)), [])[0]],
    "topic_state": _states,
    "catalog_entries": _entries,
    "catalog_file": _catalogs,
    "witness": lambda: [CatalogState(commits=4, entries=2, digest=77).to_bytes(), bytes(24)],
    "segment_rows": lambda: [_ROWS],
}
