"""What a node knows of who owns which channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.cluster.clusters import ClusterEngine
from tests.engine import DIM, NAME

from redkite.model import requests as rq


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    made = ClusterEngine(str(tmp_path / "objects"), streaming=1, query=1)
    yield made
    made.close()


def test_of_collections_that_are_gone_nothing_is_kept(engine: ClusterEngine) -> None:
    """Also not who owned their channels last: a proxy sees many come and go."""
    routes = engine.cluster.proxy().routes
    for _ in range(3):
        engine.create(index="FLAT", shards=2)
        engine.insert(range(9), np.ones((9, DIM), np.float32), range(9))
        assert len(routes._last) == 2
        engine.call(rq.DropCollection(collection=NAME))
    assert routes._last == {}
