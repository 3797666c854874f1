"""Links in the documentation lead somewhere: files are there, and headings of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from tests.snippets import PAGES, REPOSITORY

LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
NO_WORD = re.compile(r"[^\w\- ]")


def prose(page: Path) -> str:
    """A page without its blocks."""
    return FENCED.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The places in a page that a link may name, as they are shown on the web."""
    text = prose(page)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in found]
    made = [NO_WORD.sub("", heading.lower()).strip().replace(" ", "-") for heading in plain]
    return frozenset((*made, *re.findall(r'<a id="([^"]+)">', text)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    dead: list[str] = []
    for target in LINK.findall(CODE.sub(lambda found: "`" * (found[0].count("`") > 0), prose(page))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            dead.append(target)
    assert not dead


def test_the_front_page_leads_to_every_page() -> None:
    front = REPOSITORY / "docs" / "index.md"
    linked = {(front.parent / target.partition("#")[0]).resolve() for target in LINK.findall(front.read_text())}
    pages = {page.resolve() for page in REPOSITORY.glob("docs/**/*.md")} - {front.resolve()}
    assert sorted(str(page.relative_to(REPOSITORY)) for page in pages - linked) == []
