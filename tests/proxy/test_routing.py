"""Rows of equal key always go to the same shard and partition, and keys spread evenly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from redkite.proxy.routing import hashes


def test_the_hash_of_a_key_never_changes() -> None:
    """Stored rows were placed by it."""
    keys = pa.array([0, 1, -1, 2**63 - 1])
    assert hashes(keys).tolist() == [0, 6238072747940578789, 13029008266876403067, 6514504133438201533]
    assert hashes(pa.array(["a", "é"])).tolist() == [3904355907, 235179326]


def test_sequential_keys_spread_over_the_shards() -> None:
    for keys in (pa.array(np.arange(10_000)), pa.array([f"user-{i}" for i in range(10_000)])):
        counts = np.bincount((hashes(keys) % np.uint64(8)).astype(int), minlength=8)
        assert counts.min() > 1_000
