"""Databases of every format that was released are read as they were written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.golden.make import ANSWERS, DATABASE, HERE, MAX_BYTES, make
from tests.integrity import sample

import redkite
from redkite import MilvusClient
from redkite.storage.catalog_state import CATALOG_FORMAT

FORMATS = sorted(path.name for path in HERE.glob("format-*"))


@pytest.fixture(params=FORMATS)
def golden(request, tmp_path) -> tuple[Path, dict]:
    """A copy, because opening writes."""
    kept = HERE / request.param
    right = json.loads((kept / ANSWERS).read_text())
    return Path(shutil.copytree(kept / DATABASE, tmp_path / "sample.db")), right


def rounded(value: Any) -> Any:
    """Processors differ in the last digits of a distance."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def test_the_present_format_has_a_golden_database():
    assert f"format-{CATALOG_FORMAT}" in FORMATS
    for name in FORMATS:
        assert sum(path.stat().st_size for path in (HERE / name).rglob("*") if path.is_file()) <= MAX_BYTES


def test_every_row_search_filter_delete_and_log_record_is_read_as_it_was_written(golden):
    database, right = golden
    assert list(database.rglob("index-*")), "an index is among what is read"
    with MilvusClient(str(database)) as client:
        assert rounded(sample.answers(client)) == rounded(right)


def test_it_verifies(golden):
    assert redkite.verify(str(golden[0])).findings == ()


def test_it_takes_writes_and_is_flushed(golden):
    database, right = golden
    with MilvusClient(str(database)) as client:
        client.upsert("words", [sample.last_word()])
        client.flush("books")
        client.flush("words")
    with MilvusClient(str(database)) as client:
        found = sample.answers(client)
    assert rounded(found["books"]) == rounded(right["books"])
    assert found["words"]["count"] == right["words"]["count"] + 1
    assert redkite.verify(str(database)).is_sound


def test_a_database_made_now_gives_the_golden_answers(tmp_path):
    make(tmp_path / "now")
    now = json.loads((tmp_path / "now" / ANSWERS).read_text())
    assert rounded(now) == rounded(json.loads((HERE / f"format-{CATALOG_FORMAT}" / ANSWERS).read_text()))
