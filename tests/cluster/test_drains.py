"""A node that could not hand over everything says so: who hears that nothing is left ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM

from redkite.cluster.roles import data, streaming
from redkite.cluster.workbench import Workbench
from redkite.errors import Unavailable


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterEngine]:
    """One node of each role: nobody is there to take anything."""
    made = ClusterEngine(str(Path(tmp_path_factory.mktemp("drains")) / "objects"), streaming=1, query=1, data=1)
    made.create(index="FLAT")
    made.insert(range(9), np.ones((9, DIM), np.float32), range(9))
    made.flush()
    yield made
    made.close()


def node(engine: ClusterEngine, role: Any) -> Any:
    return engine.cluster.nodes(role)[0].node


def test_a_query_node_whose_segments_nobody_takes(engine: ClusterEngine) -> None:
    with pytest.raises(Unavailable, match=r"query node \d+ still serves 1 segments: no other node has taken them"):
        node(engine, "query").drain(0.2)


def test_a_streaming_node_whose_channels_nobody_takes(engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "DRAIN_SECONDS", 0.2)
    with pytest.raises(Unavailable, match=r"streaming node \d+ still owns .*dml_0.*: no other node has taken them"):
        node(engine, "streaming").drain()


def test_a_data_node_whose_work_does_not_end(engine: ClusterEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DRAIN_SECONDS", 0.2)
    monkeypatch.setattr(Workbench, "pieces", property(lambda _: 2))
    with pytest.raises(Unavailable, match=r"data node \d+ still has 2 pieces of work"):
        node(engine, "data").drain()
