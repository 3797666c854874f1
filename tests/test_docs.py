"""The documentation tells the truth: each page's Python runs from top to bottom, in process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [
    page
    for page in (REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/*.md")))
    if "```python" in page.read_text()
]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    namespace: dict[str, object] = {"__name__": page.stem}
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        code = found.group(1).replace("from pymilvus", "from redkite").replace("http://localhost:19530", "./server.db")
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


def test_the_readme_names_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text
