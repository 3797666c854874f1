"""Health and metrics of the nodes of a cluster that clients do not ask."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.clusters import ClusterEngine
from tests.cluster.test_in_process import fill, vectors
from tests.engine import NAME
from tests.leftovers import nothing_left

from redkite.cluster.config import Role
from redkite.cluster.roles.node import NodeRole
from redkite.launch.pages import Pages, metrics_text
from redkite.server.gauges import engine_samples


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
        with urllib.request.urlopen(f"http://127.0.0.1:{pages.port}{path}", timeout=30) as answer:
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
    engine.search(vectors(1), 3)
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
    steps = ('req_latency_count{%s,scope="FromLeader"}', "core_latency_count{%s}")
    for number in (0, 1):
        found = of(engine, "query", number)
        labels = f'node_id="{engine.cluster.nodes("query")[number].node.node_id}",query_type="search"'
        asked_here = [found.get("milvus_querynode_sq_" + step % labels, 0) for step in steps]
        assert asked_here[0] == asked_here[1] and bool(asked_here[0]) == bool(found["redkite_segments_held"])
    channels = [name for one in streaming for name in one if name.startswith("milvus_datacoord_channel_checkpoint")]
    assert len(channels) == len(set(channels)) >= 1
    everybody = [*streaming, of(engine, "data"), *(of(engine, "query", number) for number in (0, 1))]
    stored = 'milvus_storage_op_count{persistent_data_op_type="put",status="success"}'
    assert sum(one.get(stored, 0) for one in everybody) >= 1
    assert of(engine, "data")["redkite_node_alive"] == 1
    assert of(engine, "proxy")['redkite_nodes{role="streaming"}'] == 2
    assert any(name.startswith('redkite_node_messages_total{side="asked"') for name in leading)


def test_each_row_is_told_by_the_nodes_that_have_it_and_none_by_a_proxy(engine: ClusterEngine) -> None:
    fill(engine, 50)
    engine.flush()
    engine.insert(range(50, 70), vectors(20), range(20))
    topology = engine.cluster.proxy().topology
    owners = [of(engine, "streaming", number) for number in (0, 1)]
    holders = [of(engine, "query", number) for number in (0, 1)]
    number = topology.root.find("default", NAME).collection_id

    def told(nodes: list[dict[str, float]], name: str, *labels: str) -> float:
        wanted = (f'collection_id="{number}"', *labels)
        return sum(
            value
            for node in nodes
            for key, value in node.items()
            if key.startswith(name + "{") and all(label in key for label in wanted)
        )

    assert sum(one["redkite_rows"] for one in owners) == 70
    assert told(owners, "milvus_rootcoord_entity_num", 'status="loaded"') == 70
    assert told(owners, "milvus_querynode_entity_num", 'segment_state="Growing"') == 20
    assert told(owners, "milvus_querynode_entity_size", 'segment_state="Growing"') > 20 * 4 * 4
    assert told(holders, "milvus_querynode_entity_num", 'segment_state="Sealed"') == 50
    assert told(holders, "milvus_querynode_segment_num", 'segment_state="Sealed"') >= 1
    proxy = {sample.name for sample in engine_samples(topology)}
    assert {"redkite_collections", "milvus_datacoord_stored_rows_num"} <= proxy
    assert not {name for name in proxy if name.startswith("milvus_querynode_")}
    elsewhere = {"redkite_rows", "redkite_garbage_objects", "milvus_rootcoord_entity_num", "milvus_rootcoord_proxy_num"}
    assert not proxy & elsewhere
    for role, name in (("coordinator", "mixcoord"), ("proxy", "proxy")):
        counted = [key for key in of(engine, role) if key.startswith("milvus_num_node{")]
        assert len(counted) == 1
        assert f'role_name="{name}"' in counted[0]


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
