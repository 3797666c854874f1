"""Which rows a read may see, while others are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.filter import Filter, compile_filter
from redkite.model import requests as rq
from redkite.node.querying import QueryNode
from redkite.query import allowed
from redkite.segment.sealed import SealedSegment


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(str(tmp_path / "db"))
    engine.create(index="FLAT")
    engine.insert(range(10), np.ones((10, DIM), np.float32), range(10))
    engine.flush()
    yield engine
    engine.close()


def passing(segment: SealedSegment, condition: Filter | None, timestamp: int) -> int:
    found = allowed.allowed_rows(segment, condition, "", timestamp)
    return 10 if found is None else found.count


@pytest.mark.parametrize("text", ["", "number >= 0"])
@pytest.mark.parametrize("others_read", [False, True])
def test_a_delete_that_comes_just_as_somebody_reads_is_seen_by_those_after_it_and_not_by_him(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, text: str, others_read: bool
) -> None:
    topology = engine.database.topology
    (node,) = topology.querying
    assert isinstance(node, QueryNode)
    (segment,) = node._segments.values()
    schema = topology.root.find("", NAME).schema
    condition = compile_filter(text, schema) if text else None
    engine.delete("id in [9]")
    then = engine.call(rq.AllocTimestamp()).timestamp
    looked = allowed.expired_of

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(allowed, "expired_of", looked)
        engine.delete("id in [3]")
        if others_read:
            assert passing(segment, condition, engine.call(rq.AllocTimestamp()).timestamp) == 8
        return looked(*given)

    monkeypatch.setattr(allowed, "expired_of", meanwhile)
    assert passing(segment, condition, then) == 9
    assert passing(segment, condition, engine.call(rq.AllocTimestamp()).timestamp) == 8
    assert passing(segment, condition, then) == 9
