"""Which requests an event loop may answer itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.engine import NAME, Engine

from redkite.model import requests as rq
from redkite.model.types import DataType


def test_what_only_describes_is_quick_and_so_is_a_small_search(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "db"))
    engine.create(dim=4)
    service = engine.database.service
    for kind in (
        rq.DescribeCollection, rq.DescribeIndex, rq.GetIndexState, rq.GetIndexBuildProgress, rq.GetIndexStatistics,
        rq.ListIndexedSegments,
    ):  # fmt: skip
        assert service.is_quick(kind(collection=NAME)), kind
    vector = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.ones((1, 4), np.float32))
    search = rq.Search(collection=NAME, queries=vector, limit=1)
    assert service.is_quick(search)
    assert not service.is_quick(rq.FlushAll())
    engine.close()
