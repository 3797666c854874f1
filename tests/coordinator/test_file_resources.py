"""Files that analyzers read, in the catalog."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from redkite.coordinator import file_resources
from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.env import Env
from redkite.errors import InvalidParameter
from redkite.storage.catalog import Catalog, MemoryCatalog

_IDS = itertools.count(1)


def files(folder: Path, catalog: Catalog) -> FileResourceCoordinator:
    return FileResourceCoordinator(catalog, Env.real().files, str(folder), None, lambda: next(_IDS))


@pytest.fixture
def catalog() -> Catalog:
    return MemoryCatalog()


def test_a_copy_is_kept_whatever_becomes_of_the_file(tmp_path: Path, catalog: Catalog) -> None:
    known = files(tmp_path, catalog)
    (tmp_path / "a.txt").write_text("one\n")
    known.add("absolute", str(tmp_path / "a.txt"))
    known.add("relative", "a.txt")
    (tmp_path / "a.txt").unlink()
    again = files(tmp_path, catalog)
    assert [(meta.name, meta.path) for meta in again.all()] == [
        ("absolute", str(tmp_path / "a.txt")), ("relative", "a.txt"),
    ]  # fmt: skip
    assert again.read("absolute") == again.read("relative") == b"one\n"


def test_the_same_again_changes_nothing_and_another_path_is_refused(tmp_path: Path, catalog: Catalog) -> None:
    known = files(tmp_path, catalog)
    (tmp_path / "a").write_text("one")
    first = known.add("a", "a")
    (tmp_path / "a").write_text("two")
    assert known.add("a", "a") == first
    assert known.read("a") == b"one"
    with pytest.raises(InvalidParameter, match="file resource a already exists with path a"):
        known.add("a", "b")


def test_a_removed_file_is_gone_with_its_bytes(tmp_path: Path, catalog: Catalog) -> None:
    known = files(tmp_path, catalog)
    (tmp_path / "a").write_text("one")
    known.add("a", "a")
    key = known.key
    known.remove("a")
    known.remove("a")
    assert known.all() == () and catalog.scan("files/") == [] and known.key != key
    with pytest.raises(InvalidParameter, match="file resource a not found"):
        known.read("a")
    (tmp_path / "a").write_text("two")
    known.add("a", "a")
    assert known.read("a") == b"two" and known.key != key


def test_another_process_sees_it_after_a_reload(tmp_path: Path, catalog: Catalog) -> None:
    writer, reader = files(tmp_path, catalog), files(tmp_path, catalog)
    (tmp_path / "a").write_text("one")
    writer.add("a", "a")
    assert reader.all() == ()
    reader.reload()
    assert reader.read("a") == b"one"


@pytest.mark.parametrize(("name", "path"), [("a", "missing"), ("a", "/no/such/file"), ("a", "."), ("a", "bad\0name")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, catalog: Catalog, name: str, path: str) -> None:
    with pytest.raises(InvalidParameter, match="file resource path not exist"):
        files(tmp_path, catalog).add(name, path)
    assert catalog.scan("files/") == []


def test_names_and_paths_are_not_empty_and_files_not_too_large(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = files(tmp_path, catalog)
    (tmp_path / "a").write_text("four")
    for name, path in (("", "a"), ("a", "")):
        with pytest.raises(InvalidParameter, match="is empty"):
            known.add(name, path)
    monkeypatch.setattr(file_resources, "MOST_BYTES", 3)
    with pytest.raises(InvalidParameter, match="file a is larger than 3 bytes"):
        known.add("a", "a")


@pytest.mark.parametrize(
    "path", ["{0}/secret", "../secret", "x/../../secret", "/etc/passwd", "{0}/files", "{0}/files/", "", "."]
)
def test_a_server_reads_no_files_but_those_below_its_folder(tmp_path: Path, catalog: Catalog, path: str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "secret").write_text("one")
    (tmp_path / "files" / "a").write_text("one")
    home, below = str(tmp_path / "db"), str(tmp_path / "files")
    known = FileResourceCoordinator(catalog, Env.real().files, home, below, lambda: next(_IDS))
    assert known.read_local("a") == known.read_local(f"{below}/a") == b"one"
    with pytest.raises(InvalidParameter, match="files of this server lie below"):
        known.read_local(path.format(tmp_path))
