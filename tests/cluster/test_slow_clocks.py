"""Nodes whose clocks are behind those of others."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_in_process import vectors
from tests.engine import NAME

from redkite.model import requests as rq
from redkite.model.timestamps import LOGICAL_BITS


def test_the_time_of_an_answered_write_is_no_future_for_a_proxy_whose_clock_is_behind(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), proxies=2)
    try:
        engine.create()
        slow = engine.cluster.proxy(1).oracle
        fast = [running.node.oracle for running in engine.cluster.nodes("streaming")]  # type: ignore[attr-defined]
        for oracle in fast:
            oracle.observe(oracle.now() + (5_000 << LOGICAL_BITS))  # five seconds ahead
        inserted = engine.ask(0, rq.Insert(collection=NAME, rows=engine.batch([1], vectors(1), [1])))
        asked = rq.Query(collection=NAME, filter="id >= 0", output_fields=("count(*)",), as_of=inserted.timestamp)
        assert slow.now() < asked.as_of
        assert engine.ask(1, asked).rows.to_pydict() == {"count(*)": [1]}
    finally:
        engine.close()
