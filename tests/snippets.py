"""The fenced blocks of the documentation, and the marks that say where one is not run.

`<!-- skip: reason -->` on the line before a block keeps it from running anywhere, `<!-- skip server: reason -->` and
`<!-- skip embedded: reason -->` in one of the two ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")),
    *REPOSITORY.glob("docs/**/*.md"),
    REPOSITORY / "benchmarks" / "README.md",
])  # fmt: skip
_BLOCK = re.compile(
    r"^(?:<!-- skip(?: (?P<way>server|embedded))?: (?P<reason>.+?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_URI = "http://localhost:19530"
_FILE = re.compile(r"""(?<=MilvusClient\()(?:uri=)?["']\./[\w.-]+\.db["']""")


@dataclass(frozen=True)
class Block:
    """One fenced block, with the line that its text begins at."""

    page: Path
    line: int
    kind: str
    text: str
    reason: str
    way: str

    def is_skipped(self, way: str) -> bool:
        return bool(self.reason) and self.way in ("", way)


def blocks(page: Path, *kinds: str) -> list[Block]:
    """The blocks of a page that are of these kinds."""
    text = page.read_text()
    return [
        Block(
            page, text.count("\n", 0, found.start("text")) + 1, found["kind"], found["text"], found["reason"] or "",
            found["way"] or "",
        )
        for found in _BLOCK.finditer(text)
        if found["kind"] in kinds
    ]  # fmt: skip


def in_process(code: str) -> str:
    """The same program, with a file in the place of a server and Redkite's SDK in the place of pymilvus."""
    return code.replace("from pymilvus", "from redkite").replace(_URI, "./server.db")


def over_the_wire(code: str, uri: str) -> str:
    """The same program, with a server in the place of a file."""
    return _FILE.sub(repr(uri), code).replace(_URI, uri)
