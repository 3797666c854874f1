"""Nodes whose clocks are behind those of others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_in_process import vectors
from tests.engine import NAME

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model.timestamps import LOGICAL_BITS
from redkite.model.types import ConsistencyLevel, DataType


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    engine = ClusterEngine(str(tmp_path / "objects"), proxies=2)
    try:
        engine.create()
        yield engine
    finally:
        engine.close()


def insert_with_a_clock_ahead(engine: ClusterEngine, seconds: int) -> int:
    """The timestamp of a row that proxy 0 inserted, by an owner whose clock is so far ahead of that of proxy 1."""
    for running in engine.cluster.nodes("streaming"):
        oracle = running.node.oracle  # type: ignore[attr-defined]
        oracle.observe(oracle.now() + (seconds * 1000 << LOGICAL_BITS))
    inserted: int = engine.ask(0, rq.Insert(collection=NAME, rows=engine.batch([1], vectors(1), [1]))).timestamp
    assert engine.cluster.proxy(1).oracle.now() < inserted
    return inserted


def test_the_time_of_an_answered_write_is_no_future_for_a_proxy_whose_clock_is_behind(engine: ClusterEngine) -> None:
    noted = insert_with_a_clock_ahead(engine, 5)
    asked = rq.Query(collection=NAME, filter="id >= 0", output_fields=("count(*)",), as_of=noted)
    assert engine.ask(1, asked).rows.to_pydict() == {"count(*)": [1]}


def session_query(timestamp: int) -> rq.Query:
    session = ConsistencyLevel.Session
    return rq.Query(
        collection=NAME, filter="id >= 0", output_fields=("id",), consistency_level=session,
        guarantee_timestamp=timestamp,
    )  # fmt: skip


def test_a_writer_sees_its_own_write_by_a_proxy_whose_clock_is_far_behind(engine: ClusterEngine) -> None:
    wrote = insert_with_a_clock_ahead(engine, 15)
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors(1))
    search = rq.Search(
        collection=NAME, queries=queries, limit=1, consistency_level=ConsistencyLevel.Session, guarantee_timestamp=wrote
    )
    assert engine.ask(1, search).ids.to_pylist() == [1]
    assert engine.ask(1, session_query(wrote)).rows.column("id").to_pylist() == [1]


def test_a_time_that_no_owner_has_reached_is_refused(engine: ClusterEngine) -> None:
    wrote = insert_with_a_clock_ahead(engine, 15)
    with pytest.raises(InvalidParameter, match="in the future"):
        engine.ask(1, session_query(wrote + (15_000 << LOGICAL_BITS)))
