"""What is left out of the tests against a cluster is written down."""

from __future__ import annotations

from pathlib import Path

from tests.server.alone import FILES


def test_the_documentation_lists_the_files_that_a_cluster_is_not_asked(repository: Path) -> None:
    lines = (repository / "docs" / "testing.md").read_text().splitlines()
    listed = [line for line in lines if line.startswith("| test_")]
    assert listed == [f"| {name} | {why} |" for name, why in FILES.items()]
    assert {name for name in FILES if not (repository / "tests" / "server" / name).exists()} == set()
