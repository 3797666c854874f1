"""`redkite backup`: what it prints, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from redkite import MilvusClient, cli


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["backup", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "birds.db")
    with MilvusClient(path) as client:
        client.create_collection("birds", dimension=4)
        client.insert("birds", [{"id": n, "vector": [n, 1, 2, 3]} for n in range(7)])
    return path


def test_a_database_is_copied_listed_checked_brought_back_and_the_copy_deleted(
    capsys: pytest.CaptureFixture[str], database: str, tmp_path: Path
) -> None:
    place = str(tmp_path / "copies")
    status, out, _ = run(capsys, "create", database, place, "--name", "monday")
    assert status == 0
    assert "monday" in out
    assert "1 collection, 7 rows" in out
    assert "copied 1 objects" in out
    status, out, _ = run(capsys, "create", database, place)
    assert "copied 0 objects" in out
    assert "1 were there already" in out
    status, out, _ = run(capsys, "list", place)
    assert [line.split()[0] for line in out.splitlines()][:2] == ["monday", "default.birds"]
    status, out, _ = run(capsys, "verify", place, "monday")
    assert (status, out.splitlines()[-1]) == (0, "Everything is as it was written.")
    status, out, _ = run(capsys, "restore", place, str(tmp_path / "other.db"), "--suffix", "_old")
    assert (status, out) == (0, "default.birds_old is back, not loaded\n")
    with MilvusClient(str(tmp_path / "other.db")) as client:
        assert client.get_collection_stats("birds_old")["row_count"] == 7
    status, out, _ = run(capsys, "delete", place, "monday")
    assert (status, out) == (0, "monday is deleted\n")


def test_damage_is_named_and_ends_with_status_1(
    capsys: pytest.CaptureFixture[str], database: str, tmp_path: Path
) -> None:
    place = tmp_path / "copies"
    run(capsys, "create", database, str(place))
    rows = next(place.rglob("rows.arrow-*"))
    content = bytearray(rows.read_bytes())
    content[50] ^= 1
    rows.write_bytes(content)
    status, _, errors = run(capsys, "verify", str(place))
    assert status == 1
    assert rows.name in errors
    status, _, errors = run(capsys, "restore", str(place), str(tmp_path / "other.db"))
    assert status == 1
    assert rows.name in errors


def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "create", str(tmp_path / "none.db"), str(tmp_path))[0] == 1
    assert not (tmp_path / "none.db").exists()
    status, out, _ = run(capsys, "list", str(tmp_path / "nowhere"))
    assert (status, out) == (0, f"no backups at {tmp_path / 'nowhere'}\n")
    assert run(capsys, "verify", str(tmp_path))[0] == 1
    assert run(capsys, "restore", str(tmp_path), str(tmp_path / "x.db"), "--rename", "nonsense")[0] == 2


def test_without_an_action_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys)
    assert status == 0
    assert "redkite backup restore" in out
