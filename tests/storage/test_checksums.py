"""Checksums of files that are read in pieces, by one thread or several."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from redkite.env import Env, Executor
from redkite.errors import Corruption, ObjectNotFound
from redkite.storage.checksums import CHUNK_BYTES, READERS, file_crc32
from redkite.storage.objects import FolderObjects


@pytest.fixture
def readers() -> Iterator[Executor]:
    made = Env.real().tasks.executor("checksums", READERS)
    yield made
    made.shutdown()


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 5 * CHUNK_BYTES + 77])
def test_pieces_read_side_by_side_have_the_checksum_of_the_whole(
    tmp_path: Path, readers: Executor, size: int, seed: int
) -> None:
    data = random.Random(seed).randbytes(size)
    (tmp_path / "file").write_bytes(data)
    files = Env.real().files
    wanted = (size, zlib.crc32(data))
    assert file_crc32(files, str(tmp_path / "file"), readers) == wanted
    assert file_crc32(files, str(tmp_path / "file")) == wanted


@pytest.mark.parametrize("at", [0, CHUNK_BYTES, 2 * CHUNK_BYTES + 5])
def test_a_changed_byte_in_any_piece_is_noticed(tmp_path: Path, readers: Executor, at: int) -> None:
    stored = FolderObjects(Env.real().files, str(tmp_path)).put("large", [bytes(2 * CHUNK_BYTES + 9)])
    path = tmp_path / "large"
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
    store = FolderObjects(Env.real().files, str(tmp_path), readers=readers)
    with pytest.raises(Corruption, match="large"):
        store.verify("large", stored.size, stored.crc32)


def test_a_file_that_is_missing_is_said_to_be(tmp_path: Path, readers: Executor) -> None:
    with pytest.raises(ObjectNotFound):
        file_crc32(Env.real().files, str(tmp_path / "none"), readers)
