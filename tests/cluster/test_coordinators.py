"""Coordinators that lead, and that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.cluster.clusters import ClusterEngine
from tests.patience import until

from redkite.cluster.leading import Leading
from redkite.cluster.roles import coordinator
from redkite.errors import Unavailable


def test_who_could_not_lead_is_well_again_when_another_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ClusterEngine(str(tmp_path / "objects"), streaming=1, query=1, coordinators=1)
    first: Any = engine.cluster.nodes("coordinator")[0].node

    def begin(node: Any, *more: Any) -> Leading:
        if node is first:
            raise Unavailable("the store does not answer")
        return Leading(node, *more)

    monkeypatch.setattr(coordinator, "Leading", begin)
    first._election.resign()
    until(lambda: any("was elected and cannot lead: the store" in reason for reason in first.health()))
    second: Any = engine.cluster.start_node("coordinator").node
    until(lambda: second.leading is not None)
    try:
        until(lambda: first.health() == ())
    finally:
        engine.close()
