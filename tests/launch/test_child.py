"""Processes that are known by their id and the moment they began."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from redkite.errors import Unavailable
from redkite.launch import child
from redkite.launch.child import ProcessId, start


def test_a_process_that_ended_before_it_was_looked_at_is_not_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it may take longer to look than the process lives."""
    real = subprocess.Popen

    def slow(*words: object, **more: object) -> object:
        process = real(*words, **more)  # type: ignore[call-overload]
        process.wait()
        return process

    monkeypatch.setattr(child.subprocess, "Popen", slow)
    ended = start([sys.executable, "-c", ""], tmp_path / "log")
    assert not ended.is_alive
    assert ended.wait(0)
    assert not ended.tell(9)


def test_no_process_at_all_is_not_alive() -> None:
    assert not ProcessId(2**22 - 1, 0).is_alive


def test_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(Unavailable, match=rf"cannot start true: {tmp_path}/logs/query-1.log cannot be written"):
        start(["true"], tmp_path / "logs" / "query-1.log")
