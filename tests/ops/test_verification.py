"""`verify` reads everything, changes nothing and names what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from tests.integrity import sample
from tests.integrity.flips import Flip

import redkite
from redkite import MilvusClient, PathLocked, StorageError
from redkite.env import Env
from redkite.model.segments import ChannelState, SegmentMeta
from redkite.ops.log_check import TopicCheck
from redkite.ops.report import Harm, Kind
from redkite.storage.log_durable import read_note
from redkite.storage.sqlite_catalog import SqliteCatalog


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("verify") / "sample.db"
    sample.make(str(root))
    return root


@pytest.fixture
def database(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "sample.db"))


def one(database: Path, pattern: str) -> Path:
    return min(database.rglob(pattern))


def flip(database: Path, path: Path, at: float = 0.5) -> None:
    Flip(str(path.relative_to(database)), int(path.stat().st_size * at)).apply(database)


def change_segment(database: Path, **changes: object) -> SegmentMeta:
    """As a fault of the engine itself would: with a good checksum."""
    catalog = SqliteCatalog(str(database / "catalog"))
    key, value = next((k, v) for k, v in catalog.scan("segment/") if b"order.u32" in v and b"index-" in v)
    meta = msgspec.json.decode(value, type=SegmentMeta)
    catalog.commit({key: msgspec.json.encode(msgspec.structs.replace(meta, **changes))})
    catalog.close()
    return meta


def test_a_sound_database_is_read_to_the_last_byte(database):
    seen = []
    report = redkite.verify(str(database), progress=lambda done, total, what: seen.append((done, total)))
    assert report.findings == ()
    assert report.is_intact
    assert (report.collections, report.segments, report.rows) == (2, 3, sample.SEALED + 30)
    assert report.log_records == 6
    done, total = seen[-1]
    objects = sum(p.stat().st_size for p in (database / "objects").rglob("*") if p.is_file())
    assert done == report.bytes
    assert objects < done <= total


@pytest.mark.parametrize(
    ("pattern", "kind", "harm"),
    [
        ("rows.arrow", Kind.ROWS, Harm.DAMAGE),
        ("deletes-*-5.arrow", Kind.DELETES, Harm.DAMAGE),
        ("order.u32", Kind.ORDER, Harm.HARMLESS),
        ("index-*", Kind.INDEX, Harm.HARMLESS),
    ],
)
def test_a_damaged_object_is_named_with_its_collection(database, pattern, kind, harm):
    path = one(database, pattern)
    flip(database, path)
    (finding,) = redkite.verify(str(database)).findings
    assert (finding.kind, finding.harm) == (kind, harm)
    assert finding.name == str(path.relative_to(database / "objects"))
    assert finding.collection.startswith("default.")


def test_a_missing_object_is_damage(database):
    one(database, "rows.arrow").unlink()
    (finding,) = redkite.verify(str(database)).findings
    assert finding.kind is Kind.ROWS
    assert "is missing" in finding.text


def test_a_damaged_log_record_is_named_with_its_place(database):
    log = max(database.rglob("*.log"), key=lambda path: path.stat().st_size)
    flip(database, log, 0.2)
    (finding,) = redkite.verify(str(database)).findings
    assert finding.kind is Kind.LOG
    assert finding.name == str(log)
    assert "is damaged at byte" in finding.text


def test_a_log_that_lost_its_end_is_noticed(database):
    log = max(database.rglob("*.log"), key=lambda path: path.stat().st_size)
    log.write_bytes(log.read_bytes()[:2000])
    (log.parent / "durable").unlink()
    kinds = {finding.kind for finding in redkite.verify(str(database)).findings}
    assert Kind.LOG_SHORT in kinds
    with pytest.raises(redkite.Corruption, match="ends at record"), MilvusClient(str(database)) as client:
        client.query("books", filter="", output_fields=["count(*)"])


def test_a_log_that_ends_before_what_is_noted_of_it_is_damaged(database):
    log = max(database.rglob("*.log"), key=lambda path: path.stat().st_size)
    log.write_bytes(log.read_bytes()[:2000])
    (finding,) = redkite.verify(str(database)).findings
    assert (finding.kind, finding.name) == (Kind.LOG, str(log))
    assert "were durable" in finding.text
    with pytest.raises(redkite.Corruption, match="were durable"), MilvusClient(str(database)) as client:
        client.query("books", filter="", output_fields=["count(*)"])


def test_a_log_without_the_pages_that_were_noted_is_short(database):
    folder = max(database.rglob("*.log"), key=lambda path: path.stat().st_size).parent
    for page in folder.glob("*.log"):
        page.unlink()
    (finding,) = redkite.verify(str(database)).findings
    noted = read_note(Env.real().files, str(folder))
    assert noted > 0
    assert (finding.kind, finding.missing) == (Kind.LOG_SHORT, (0, noted))
    with pytest.raises(redkite.Corruption, match="has no page"), MilvusClient(str(database)) as client:
        client.query("books", filter="", output_fields=["count(*)"])


def test_a_topic_whose_first_page_was_never_written_is_sound(tmp_path):
    # Its folder is made first, and a process may end between the two.
    check = TopicCheck(Env.real().files, str(tmp_path), ChannelState(), None)
    assert list(check.findings()) == []


def test_a_damaged_catalog_is_named(database):
    data = bytearray((database / "catalog").read_bytes())
    data[data.find(b"segment/") + 40] ^= 2
    (database / "catalog").write_bytes(bytes(data))
    findings = redkite.verify(str(database)).findings
    assert [finding.kind for finding in findings] == [Kind.CATALOG]


def test_an_older_copy_of_the_catalog_is_noticed(database, tmp_path):
    shutil.copy(database / "catalog", tmp_path / "older")
    with MilvusClient(str(database)) as client:
        client.create_alias("words", "vocabulary")
    shutil.copy(tmp_path / "older", database / "catalog")
    findings = redkite.verify(str(database)).findings
    assert Kind.CATALOG_OLD in {finding.kind for finding in findings}
    with pytest.raises(redkite.Corruption, match="newest commits are missing"):
        MilvusClient(str(database))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"max_timestamp": 5}, "the catalog says"),
        ({"min_key": -4}, "keys are not those"),
        ({"deleted_rows": 2}, "the catalog says 2"),
        ({"rows": 50}, "50"),
        ({"channel": "elsewhere_0v0"}, "is not the collection's"),
    ],
)
def test_a_catalog_that_contradicts_the_objects_is_noticed(database, change, text):
    change_segment(database, **change)
    report = redkite.verify(str(database))
    assert not report.is_intact
    assert any(text in finding.text for finding in report.findings)


def test_a_file_that_nothing_names_is_a_note(database):
    orphan = one(database, "rows.arrow").parent.parent / "77" / "rows.arrow"
    orphan.parent.mkdir()
    orphan.write_bytes(b"left behind")
    report = redkite.verify(str(database))
    assert report.is_intact
    assert [(f.kind, f.harm) for f in report.findings] == [(Kind.ORPHAN, Harm.NOTE)]


def test_verifying_changes_nothing(database):
    def content() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in database.rglob("*") if p.is_file()}

    before = content()
    redkite.verify(str(database))
    assert content() == before


def test_a_database_in_use_is_refused(database):
    with MilvusClient(str(database)), pytest.raises(PathLocked):
        redkite.verify(str(database))


def test_a_folder_without_a_database_is_refused(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        redkite.verify(str(tmp_path / "none"))
    with pytest.raises(StorageError, match="there is no database"):
        redkite.verify(str(tmp_path))
