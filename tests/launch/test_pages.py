"""Health and metrics of the nodes of a cluster that clients do not ask."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_in_process import fill
from tests.leftovers import nothing_left

from redkite.cluster.config import Role
from redkite.cluster.roles.node import NodeRole
from redkite.launch.pages import Pages, metrics_text


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ClusterEngine]:
    with nothing_left():
        made = ClusterEngine(str(tmp_path / "objects"), data=1)
        yield made
        made.close()


def numbers(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def asked(pages: Pages, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{pages.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def of(engine: ClusterEngine, role: Role, number: int = 0) -> dict[str, float]:
    node = engine.cluster.nodes(role)[number].node
    assert isinstance(node, NodeRole)
    return numbers(metrics_text(node.figures()))


def test_every_role_tells_its_numbers(engine: ClusterEngine) -> None:
    fill(engine, 50)
    engine.flush()
    leading = of(engine, "coordinator")
    assert leading["redkite_leads"] == 1
    assert leading["redkite_take_over_total"] == 1
    assert leading["redkite_take_over_seconds_last"] > 0
    assert leading['redkite_lock_taken_total{kind="collection"}'] >= 1
    assert leading["redkite_tasks_waiting"] == 0
    terms = {name: term for name, term in leading.items() if name.startswith("redkite_channel_term")}
    assert len(terms) == engine.cluster.config.pchannels
    assert all(term >= 1 and 'owner=""' not in name for name, term in terms.items())
    streaming = [of(engine, "streaming", number) for number in (0, 1)]
    assert sum(one["redkite_channel_open_total"] for one in streaming) >= len(terms)
    assert sum(name in one for name in terms for one in streaming) == len(terms)
    assert streaming[0]["redkite_reads_partial_total"] == 0
    assert sum(of(engine, "query", number)["redkite_segments_held"] for number in (0, 1)) >= 1
    assert of(engine, "data")["redkite_node_alive"] == 1
    assert of(engine, "proxy")['redkite_nodes{role="streaming"}'] == 2
    assert any(name.startswith('redkite_node_messages_total{side="asked"') for name in leading)


def test_health_and_metrics_are_served_and_a_port_that_is_taken_is_no_trouble() -> None:
    reasons: list[str] = []
    first = Pages("127.0.0.1", 0, lambda: tuple(reasons), lambda: iter(()))
    second = Pages("127.0.0.1", first.port, lambda: (), lambda: iter(()))
    try:
        assert second.port != first.port
        assert asked(first, "/healthz") == (200, "OK")
        reasons += ["the log is away", "no room"]
        assert asked(first, "/healthz?x=1") == (500, "the log is away; no room")
        assert asked(first, "/livez") == (200, "OK")
        assert "process_cpu_seconds_total" in numbers(asked(second, "/metrics")[1])
        assert asked(first, "/secret")[0] == 404
    finally:
        first.close()
        second.close()
