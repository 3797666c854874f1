"""Whether checksums are compared is the choice of whoever opens a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from redkite import AsyncMilvusClient, MilvusClient
from redkite.errors import Corruption, ParamError

VECTORS = np.random.default_rng(1).random((200, 8), np.float32)


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    """A database of which one byte of a stored vector is another."""
    path = tmp_path / "a.db"
    client = MilvusClient(str(path))
    client.create_collection("c", dimension=8, metric_type="L2")
    client.insert("c", {"id": np.arange(200), "vector": VECTORS})
    client.flush("c")
    client.close()
    (rows,) = path.glob("objects/segments/*/*/rows.arrow")
    data = bytearray(rows.read_bytes())
    at = data.find(VECTORS[7].tobytes())
    data[at] ^= 1
    rows.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("options", [{}, {"verify": "open"}, {"read_only": True}])
def test_damage_is_found_when_a_file_is_opened(damaged: str, options: Any) -> None:
    client = MilvusClient(damaged, **options)
    with pytest.raises(Corruption, match=r"rows\.arrow"):
        client.search("c", [VECTORS[7]], limit=1)
    client.close()


@pytest.mark.parametrize("options", [{}, {"read_only": True}])
def test_who_does_without_checksums_is_not_told_of_it(damaged: str, options: Any) -> None:
    client = MilvusClient(damaged, verify="off", **options)
    assert len(client.search("c", [VECTORS[7]], limit=1)[0]) == 1
    client.close()


def test_an_asynchronous_client_may_do_without_checksums_too(damaged: str) -> None:
    async def search(**options: Any) -> int:
        client = AsyncMilvusClient(damaged, **options)
        try:
            return len((await client.search("c", [VECTORS[7]], limit=1))[0])
        finally:
            await client.close()

    assert asyncio.run(search(verify="off")) == 1
    with pytest.raises(Corruption):
        asyncio.run(search())


def test_what_one_client_does_without_another_does_not_get_by_surprise(damaged: str) -> None:
    with pytest.raises(ParamError, match="neither 'open' nor 'off'"):
        MilvusClient(damaged, verify="sometimes")  # type: ignore[arg-type]
    client = MilvusClient(damaged, verify="off")
    MilvusClient(damaged, verify="off").close()
    with pytest.raises(ParamError, match="verify='off'"):
        MilvusClient(damaged)
    client.close()
