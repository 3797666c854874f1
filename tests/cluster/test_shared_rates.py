"""Rates hold for a cluster: its proxies divide them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.cluster.clusters import ClusterEngine


def sharers(engine: ClusterEngine, number: int) -> int:
    service: Any = engine.cluster.service(number)
    found: int = service._proxy._gate._sharers()
    return found


def test_proxies_that_live_and_stay_divide_the_rates(tmp_path: Path) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), proxies=2, lease_seconds=1.0)
    try:
        await_(engine, 2)
        engine.cluster.proxy(1).drain()
        await_(engine, 1)
        engine.cluster.kill(engine.cluster.nodes("proxy")[1])
        engine.cluster.start_node("proxy")
        await_(engine, 2)
    finally:
        engine.close()


def await_(engine: ClusterEngine, count: int) -> None:
    until = time.monotonic() + 120
    while sharers(engine, 0) != count:
        assert time.monotonic() < until
        time.sleep(0.01)
