"""The snippets of docs/integrations.md run, each where its library is installed."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "integrations.md"
SNIPPETS = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def library(snippet: str) -> str:
    """What the snippet is about: the last thing it imports."""
    return re.findall(r"^from (\w+)", snippet, re.MULTILINE)[-1]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=library)
def test_a_snippet_of_the_page_runs(
    snippet: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = library(snippet)
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed here: make integrations")
    if "./demo.db" in snippet and find_spec("redkite_dropin") is None:
        pytest.skip("redkite-lite-dropin is not installed here: make integrations")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet.replace("http://localhost:19530", uri), str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "kite" in printed or "-" in printed  # the row that was written, or its id
