"""`doctor` says what is wrong and what it would cost, and mends what it is told to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.integrity import sample
from tests.ops.test_verification import flip, one

import redkite
from redkite import MilvusClient
from redkite.cli import main
from redkite.ops.report import Kind


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("doctor") / "sample.db"
    return root, sample.make(str(root))


@pytest.fixture
def database(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "sample.db"))


@pytest.fixture
def right(made):
    return made[1]


def read(database: Path):
    with sample.small_indexes(), MilvusClient(str(database)) as client:
        return sample.answers(client)


def count(database: Path, collection: str) -> int:
    with MilvusClient(str(database)) as client:
        return client.query(collection, filter="", output_fields=["count(*)"])[0]["count(*)"]


def test_a_sound_database_needs_nothing(database):
    diagnosis = redkite.doctor(str(database), repair=True, accept_loss=True)
    assert diagnosis.is_sound
    assert diagnosis.treatments == ()


@pytest.mark.parametrize("pattern", ["order.u32", "index-*"])
def test_what_is_derived_is_mended_without_loss(database, right, pattern):
    flip(database, one(database, pattern))
    (looked,) = redkite.doctor(str(database)).treatments
    assert not looked.loss
    assert not looked.done
    assert not redkite.verify(str(database)).is_intact
    (treated,) = redkite.doctor(str(database), repair=True).treatments
    assert treated.done
    assert redkite.verify(str(database)).is_intact
    assert read(database) == right


def test_a_damaged_index_is_built_again_by_itself(database, right):
    flip(database, one(database, "index-*"))
    assert read(database) == right
    with sample.small_indexes(), MilvusClient(str(database)) as client:
        client.query("books", filter="", limit=1)
        sample.wait_for_index(client)
    assert redkite.verify(str(database)).is_intact


@pytest.mark.parametrize("pattern", ["rows.arrow", "deletes-*-5.arrow"])
def test_a_damaged_object_is_taken_from_a_backup_under_any_name(database, made, right, tmp_path, pattern):
    path = one(database, pattern)
    backup = tmp_path / "backup"
    backup.mkdir()
    shutil.copy(made[0] / path.relative_to(database), backup / "something-else.bin")
    flip(database, path)
    assert not redkite.doctor(str(database), repair=True).is_sound
    assert redkite.doctor(str(database), repair=True, backup=str(backup)).is_sound
    assert read(database) == right


def test_damaged_rows_leave_only_when_the_loss_is_accepted(database, right):
    segment = next(p for p in sorted(database.rglob("rows.arrow")) if list(p.parent.glob("index-*")))
    flip(database, segment)
    with MilvusClient(str(database)) as client:
        with pytest.raises(redkite.Corruption, match=r"rows\.arrow"):
            client.query("books", filter="", limit=1)
        assert client.query("words", filter="", output_fields=["count(*)"])[0]["count(*)"] == 31
    (refused,) = redkite.doctor(str(database), repair=True).treatments
    assert "65 rows of default.books" in refused.loss
    assert not refused.done
    assert redkite.doctor(str(database), repair=True, accept_loss=True).is_sound
    assert count(database, "books") == right["books"]["count"] - 64, "one of the 65 was replaced by a newer row"
    assert list((database / "quarantine").rglob("rows.arrow"))


def test_lost_deletes_of_replaced_rows_are_found_from_the_keys(tmp_path):
    path = tmp_path / "twice.db"
    rows = [{"id": number, "vector": [float(number), 1.0]} for number in range(20)]
    with MilvusClient(str(path)) as client:
        client.create_collection("pairs", dimension=2)
        client.insert("pairs", rows)
        client.flush("pairs")
        client.upsert("pairs", rows[:10])
        client.delete("pairs", ids=[15])
        client.flush("pairs")
    flip(path, one(path, "deletes-*-11.arrow"))
    (treatment,) = redkite.doctor(str(path), repair=True, accept_loss=True).treatments
    assert treatment.loss.startswith("1 deletes")
    assert redkite.verify(str(path)).is_intact
    assert count(path, "pairs") == 20


def test_a_damaged_log_record_costs_itself_and_nothing_else(database, right):
    log = max(database.rglob("*.log"), key=lambda path: path.stat().st_size)
    flip(database, log, 0.2)
    (treatment,) = redkite.doctor(str(database)).treatments
    assert treatment.finding.kind is Kind.LOG
    assert treatment.loss == "1 record (4) of 5 in this page"
    assert redkite.doctor(str(database), repair=True, accept_loss=True).is_sound
    found = read(database)
    assert found["words"] == right["words"]
    lost = {r["id"] for r in right["books"]["rows"]} - {r["id"] for r in found["books"]["rows"]}
    assert len(lost) <= 4


def test_a_log_header_is_mended_without_loss(database, right):
    log = max(database.rglob("*.log"), key=lambda path: path.stat().st_size)
    flip(database, log, 0)
    assert redkite.doctor(str(database), repair=True).is_sound
    assert read(database) == right


def test_a_log_that_lost_its_end_takes_writes_again(database):
    log = max(database.rglob("*.log"), key=lambda path: path.stat().st_size)
    log.write_bytes(log.read_bytes()[:2000])
    assert not redkite.doctor(str(database), repair=True).is_sound
    assert redkite.doctor(str(database), repair=True, accept_loss=True).is_sound
    with MilvusClient(str(database)) as client:
        client.delete("books", ids=[30])
    with MilvusClient(str(database)) as client:
        assert client.get("books", ids=[30, 31], output_fields=["id"]) == [{"id": 31}]


def test_the_readable_entries_of_a_damaged_catalog_are_kept(database, right):
    data = bytearray((database / "catalog").read_bytes())
    # What is noted for feeds names the key too, behind a quotation mark.
    entry = re.search(rb'[^"]root/collection/\d+[^/]{,150}?schema.{,10}words', bytes(data), re.DOTALL)
    data[entry.end() - 1] ^= 1
    (database / "catalog").write_bytes(bytes(data))
    diagnosis = redkite.doctor(str(database), repair=True, accept_loss=True)
    assert diagnosis.is_sound
    assert list((database / "quarantine").glob("catalog*"))
    with MilvusClient(str(database)) as client:
        assert client.list_collections() == ["books"]
        assert client.query("books", filter="", output_fields=["count(*)"])[0]["count(*)"] == right["books"]["count"]


def test_an_older_catalog_is_taken_when_the_loss_is_accepted(database, right, tmp_path):
    shutil.copy(database / "catalog", tmp_path / "older")
    with MilvusClient(str(database)) as client:
        client.create_collection("late", dimension=2)
    shutil.copy(tmp_path / "older", database / "catalog")
    assert not redkite.doctor(str(database), repair=True).is_sound
    assert redkite.doctor(str(database), repair=True, accept_loss=True).is_sound
    assert read(database) == right


def test_orphans_go_and_the_shell_says_so(database, capsys):
    orphan = one(database, "rows.arrow").parent.parent / "77" / "rows.arrow"
    orphan.parent.mkdir()
    orphan.write_bytes(b"left behind")
    flip(database, one(database, "index-*"))
    assert main(["verify", str(database)]) == 3
    assert "index damaged" in capsys.readouterr().out
    assert main(["doctor", str(database), "--accept-loss"]) == 2
    assert main(["doctor", str(database)]) == 3
    assert "does what loses nothing" in capsys.readouterr().out
    assert main(["doctor", str(database), "--repair"]) == 0
    assert "Nothing is wrong" in capsys.readouterr().out
    assert not orphan.exists()
    assert main(["verify", str(database)]) == 0
    assert main(["verify", str(database / "none")]) == 1
