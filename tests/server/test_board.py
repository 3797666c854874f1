"""The board: numbers that one process publishes and others read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from redkite.server.board import SharedBoard


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "board")


def test_what_is_published_is_read_by_whoever_opened_the_board_before_or_after(path: str) -> None:
    written = SharedBoard.create(path)
    early = SharedBoard.open(path)
    assert early.read("a") == 0
    written.publish("a", 7)
    written.publish("b", 1 << 60)
    written.publish("a", 8)
    for reader in (early, SharedBoard.open(path)):
        assert (reader.read("a"), reader.read("b"), reader.read("c")) == (8, 1 << 60, 0)


def test_a_reader_cannot_publish(path: str) -> None:
    SharedBoard.create(path).publish("a", 1)
    with pytest.raises(ValueError, match="read-only"):
        SharedBoard.open(path).publish("a", 2)


def test_threads_that_publish_names_at_once_give_each_its_own_line(path: str) -> None:
    board = SharedBoard.create(path)

    def publish(first: int) -> None:
        for number in range(200):
            board.publish(f"name-{number}", 1)
            board.publish(f"own-{first}-{number}", first + number)

    threads = [threading.Thread(target=publish, args=(first,)) for first in (1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = SharedBoard.open(path)
    for first in (1000, 2000, 3000):
        assert [reader.read(f"own-{first}-{n}") for n in range(200)] == [first + n for n in range(200)]


def test_when_the_board_is_full_new_names_are_not_told_and_old_ones_go_on(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redkite.server.board.LINES", 3)
    board = SharedBoard.create(path)
    for number, name in enumerate("abc", 1):
        board.publish(name, number)
    board.publish("a", 9)
    reader = SharedBoard.open(path)
    assert [reader.read(name) for name in "abc"] == [9, 2, 0]
