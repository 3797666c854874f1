"""What is left out of the tests against a cluster, and of those with Envoy, is written down."""

from __future__ import annotations

from pathlib import Path

from tests.server.alone import FILES, WITHOUT_ENVOY, WORKERS


def test_the_documentation_lists_the_files_that_a_cluster_is_not_asked(repository: Path) -> None:
    lines = (repository / "docs" / "testing.md").read_text().splitlines()
    listed = [line for line in lines if line.startswith("| test_")]
    assert listed == [f"| {name} | {why} |" for name, why in FILES.items()]
    assert {name for name in FILES if not (repository / "tests" / "server" / name).exists()} == set()


def test_what_is_skipped_with_envoy_is_there_and_written_down(repository: Path) -> None:
    for skipped in WITHOUT_ENVOY:
        name, _, test = skipped.partition("::")
        assert f"def {test}" in (repository / "tests" / "server" / name).read_text(), skipped
    page = " ".join((repository / "docs" / "testing.md").read_text().split())
    assert set(WITHOUT_ENVOY.values()) == {WORKERS}
    assert WORKERS in page
    assert [name for name in WITHOUT_ENVOY if f"`{name.partition('::')[0]}`" not in page] == []
