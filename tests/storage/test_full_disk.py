"""A disk that is full, for real: a small one of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import redkite
from redkite.errors import DiskLimitExceeded, MilvusException

NAME, DIM, ROWS = "things", 128, 500


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own wants root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def rows(first: int) -> list[dict[str, object]]:
    vectors = np.random.default_rng(first).normal(size=(ROWS, DIM)).astype(np.float32)
    return [{"id": first + at, "vector": vector} for at, vector in enumerate(vectors)]


def count(client: redkite.MilvusClient) -> int:
    found: int = client.query(NAME, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
    return found


def test_a_full_disk_refuses_writes_by_name_loses_none_and_takes_them_again_when_there_is_room(disk: Path) -> None:
    path = disk / "a.db"
    client = redkite.MilvusClient(str(path))
    client.create_collection(NAME, dimension=DIM, metric_type="L2")
    acknowledged = 0
    with pytest.raises(DiskLimitExceeded, match=rf"cannot write '{path}/log/.*': No space left on device"):
        while True:
            client.insert(NAME, rows(acknowledged))
            acknowledged += ROWS
    assert acknowledged > 0
    for _ in range(3):
        with pytest.raises(DiskLimitExceeded):
            client.insert(NAME, rows(10**6))
    assert count(client) == acknowledged
    (hits,) = client.search(NAME, [rows(0)[7]["vector"]], limit=1)
    assert hits[0]["id"] == 7
    subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)
    client.insert(NAME, rows(10**6))
    client.close()
    client = redkite.MilvusClient(str(path))
    client.load_collection(NAME)
    assert count(client) == acknowledged + ROWS
    client.close()


def test_a_disk_without_room_for_a_database_is_an_error_in_one_line(disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(12 << 20))
    with pytest.raises(MilvusException, match=r"No space left on device") as told:
        redkite.MilvusClient(str(disk / "a.db")).create_collection(NAME, dimension=DIM)
    assert len(str(told.value).splitlines()) == 1
