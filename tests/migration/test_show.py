"""`redkite migrate` as a shell sees it: the plan, the outcome, the exit status, and a run that is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from redkite import MilvusClient, cli
from redkite.migration import show
from redkite.migration.run import Outcome


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_birds(path: str, rows: int) -> None:
    with MilvusClient(path) as client:
        client.create_collection("birds", dimension=2, metric_type="L2")
        client.create_partition("birds", "old")
        client.create_alias("birds", "kites")
        client.insert("birds", [{"id": n, "vector": [n, 1], "name": f"bird {n}"} for n in range(rows)])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["migrate", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_plan_is_printed_before_anything_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_birds("./from.db", 30)
    status, out, _ = run(capsys, "from.db", "to.db", "--dry-run", "--rename", "birds=fowl")
    assert status == 0
    assert out.splitlines() == [
        "From from.db (redkite) to to.db:",
        "  birds as fowl: 30 rows",
        "    id  INT64  key",
        "    vector  FLOAT_VECTOR dim=2",
        "    and dynamic keys",
        "    index of vector: AUTOINDEX L2",
        "    partitions: _default, old",
        "    aliases: kites",
        "  ! users, roles, keys, policies, snapshots and the history of rows stay behind",
        "Nothing was written: this was a dry run.",
    ]
    assert not (here / "to.db").exists()


def test_what_was_done_is_printed_at_the_end(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_birds("./from.db", 30)
    status, out, _ = run(capsys, "from.db", "to.db", "--batch", "10")
    assert status == 0
    assert out.splitlines()[-1] == "birds: 30 rows, 30 of them read again and compared"


def test_a_migration_that_is_not_whole_ends_with_status_3(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_birds("./from.db", 3)
    monkeypatch.setattr("redkite.migration.run.differing", lambda *_: iter(["field name is another in 2 rows"]))
    status, out, _ = run(capsys, "from.db", "to.db")
    assert status == 3
    assert out.splitlines()[-2:] == ["birds: NOT as it was", "  field name is another in 2 rows"]
    assert list(show.outcome_lines(Outcome("a", "a", 1, 1, 0, ()))) == ["a: 1 rows"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "to.db"], 1, "there is nothing at nowhere"),
        (["from.db", "to.db", "--rename", "birds"], 2, "--rename takes OLD=NEW"),
        (["from.db", "to.db", "--batch", "0"], 1, "batch=0 must be in [1, 16384]"),
        (["from.db", "to.db", "--from", "pinecone"], 1, "there is no kind of source called pinecone"),
        (["from.db", "to.db", "--collection", "bird"], 1, "the source has no collection bird; it has birds"),
        (["from.db", "from.db"], 1, "the source and the target are the same"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    make_birds("./from.db", 1)
    ended, _, err = run(capsys, *arguments)
    assert (ended, message in err, err.count("\n")) == (status, True, 1), err


@pytest.mark.slow
def test_a_migration_that_is_killed_goes_on_when_it_is_started_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_birds("./from.db", 4_000)
    command = [sys.executable, "-m", "redkite", "migrate", "from.db", "to.db", "--batch", "10"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(here.glob("redkite-migration-*.json")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL, "it was too quick to be killed"
    status, out, _ = run(capsys, "from.db", "to.db", "--batch", "500")
    assert status == 0
    assert out.splitlines()[-1].startswith("birds: 4,000 rows")
    with MilvusClient("./from.db") as old, MilvusClient("./to.db") as new:
        mine, theirs = ([dict(row) for page in client.query_iterator("birds") for row in page] for client in (old, new))
    assert mine == theirs
    assert not list(here.glob("redkite-migration-*"))


def test_a_target_that_is_a_file_may_be_given_a_limit_of_memory(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_birds("./from.db", 500)
    status, out, _ = run(capsys, "from.db", "to.db", "--memory-limit", "512MB")
    assert status == 0, out
