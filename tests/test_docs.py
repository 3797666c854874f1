"""The documentation tells the truth: each page's Python runs from top to bottom, in process and against a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import ProcessServer
from tests.snippets import PAGES, REPOSITORY, Block, blocks, in_process, over_the_wire

from redkite import MilvusClient

RUN = [page for page in PAGES if blocks(page, "python")]
MOST_SKIPPED = 12


def title(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("docs") / "data") as process:
        yield process


@pytest.fixture
def clean_server(server: ProcessServer) -> ProcessServer:
    """The server as a reader's is at the top of a page: empty."""
    with MilvusClient(server.uri) as client:
        for database in client.list_databases():
            client.use_database(database)
            for collection in client.list_collections():
                for alias in client.list_aliases(collection)["aliases"]:
                    client.drop_alias(alias)
                for snapshot in client.list_snapshots(collection):
                    client.drop_snapshot(snapshot, collection)
                client.drop_collection(collection)
            client.use_database("default")
            if database != "default":
                client.drop_database(database)
        for user in set(client.list_users()) - {"root"}:
            client.drop_user(user)
        for role in set(client.list_roles()) - {"admin", "public"}:
            client.drop_role(role, force_drop=True)
    return server


def run(block: Block, code: str, namespace: dict[str, object]) -> None:
    """Run a block so that a failure shows its line of the page."""
    lines = "\n" * (block.line - 1) + code
    exec(compile(lines, str(block.page), "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize("page", RUN, ids=title)
def test_the_python_of_a_page_runs_in_process(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        if not block.is_skipped("embedded"):
            run(block, in_process(block.text), namespace)


@pytest.mark.parametrize("page", RUN, ids=title)
def test_the_python_of_a_page_runs_against_a_server(
    page: Path, clean_server: ProcessServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        if not block.is_skipped("server"):
            run(block, over_the_wire(block.text, clean_server.uri), namespace)


def test_few_blocks_are_skipped_and_each_says_why() -> None:
    skipped = [block for page in PAGES for block in blocks(page, "python", "bash") if block.reason]
    assert len(skipped) <= MOST_SKIPPED
    assert all(len(block.reason.split()) >= 3 for block in skipped)


def test_the_readme_names_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text
