"""Analyzers that name files of the machine."""

from __future__ import annotations

from pathlib import Path

from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.env import Env
from redkite.storage.catalog import MemoryCatalog
from redkite.text.specs import analyzer_of


def test_a_local_dictionary_that_has_changed_is_read_again(tmp_path: Path) -> None:
    words = tmp_path / "stop.txt"
    files = FileResourceCoordinator(MemoryCatalog(), Env.real().files, str(tmp_path), None, lambda: 1)
    params = {
        "tokenizer": "standard",
        "filter": [{"type": "stop", "stop_words_file": {"type": "local", "path": str(words)}}],
    }
    words.write_text("red\n")
    assert analyzer_of(params, files).analyze(["red kite"]).words(0) == ["kite"]
    words.write_text("kite\n")
    assert analyzer_of(params, files).analyze(["red kite"]).words(0) == ["red"]
