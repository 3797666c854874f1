"""Copies of objects on the disks of nodes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cluster.clusters import ClusterEngine

from redkite.cluster.config import Role


@pytest.mark.parametrize("role", ["query", "streaming"])
def test_a_node_whose_cache_keeps_nothing_new_says_so(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, query=1)
    node = engine.cluster.nodes(role)[0].node
    assert node.health() == ()
    with monkeypatch.context() as patched:
        patched.setattr(node, "_cache", SimpleNamespace(health=lambda: ("the cache keeps nothing new: disk full",)))
        assert node.health() == ("the cache keeps nothing new: disk full",)
    engine.close()
