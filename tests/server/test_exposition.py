"""The text that Prometheus reads: names that people scrape of Milvus, each with a number that was counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import ProcessServer, ThreadServer, alone, engine_here

import redkite
from redkite import MilvusClient
from redkite.cluster.figures import progress_of
from redkite.env import Env
from redkite.model.quotas import Quotas, Rates
from redkite.node.counted_objects import CountedObjects
from redkite.node.tallies import Durations
from redkite.query.timing import BOUNDS, Bins
from redkite.server.exposition import exposition
from redkite.server.limits import limit_samples, state_samples
from redkite.server.metrics import MILLISECONDS, OK, Counted, Metrics
from redkite.simulated import simulated_env
from redkite.storage.objects import FolderObjects

DIM = 4
_LINE = re.compile(r"([a-z_:0-9A-Z]+)(\{.*\})? (\S+)$")


def samples(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def scraped(server: ThreadServer | ProcessServer) -> str:
    answer = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics")
    assert answer.status_code == 200
    return answer.text


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[ThreadServer]:
    """A server that has written, flushed, indexed, compacted, searched, imported and refused."""
    database = engine_here(str(tmp_path / "data"))
    quotas = Quotas(insert=Rates(cluster=50.0), search=Rates(cluster=900.0))
    server = ThreadServer(database.service, quotas=quotas)
    server.server.observation._topology = database.topology
    client: Any = MilvusClient(server.uri)
    client.create_collection("docs", dimension=DIM)
    for start in (0, 2_000):
        client.insert("docs", [{"id": start + n, "vector": [n, 1.0, 2.0, 3.0]} for n in range(2_000)])
        client.flush("docs")
    client.optimize("docs")
    client.search("docs", [[1.0, 2.0, 3.0, 4.0]] * 3, limit=5)
    client.search("docs", [[1.0, 2.0, 3.0, 4.0]], limit=100)
    client.query("docs", "id < 10")
    client.query("docs", "id < 10")
    client.query("docs", "id < {most}", filter_params={"most": 20})
    client.delete("docs", ids=[1, 2, 3])
    with pytest.raises(redkite.MilvusException):
        client.query("docs", "id <")
    (tmp_path / "more.json").write_text('[{"id": 9999, "vector": [1, 2, 3, 4]}]')
    client.wait_for_import(client.start_import("docs", [[str(tmp_path / "more.json")]]))
    yield server
    client.close()
    server.stop()
    database.close()


@alone
def test_what_a_server_has_done_is_under_the_names_that_are_scraped(busy: ThreadServer) -> None:
    found = samples(scraped(busy))
    node = 'node_id="1"'
    reads = f'milvus_querynode_sq_req_count{{{node},query_type="%s",status="%s"}}'
    assert found[reads % ("search", "total")] == found[reads % ("search", "success")] == 2
    assert found[reads % ("query", "total")] == 3, "the wrong filter never came to a query node"
    assert found[f"milvus_querynode_search_nq_sum{{{node}}}"] == 4
    assert found[f'milvus_querynode_search_nq_bucket{{{node},le="2"}}'] == 1
    assert found[f'milvus_querynode_search_nq_bucket{{{node},le="4"}}'] == 2
    assert found[f"milvus_querynode_search_topk_sum{{{node}}}"] == 105
    assert found[f'milvus_querynode_search_topk_bucket{{{node},le="64"}}'] == 1
    assert found[f'milvus_proxy_grpc_latency_count{{{node},function_name="Search"}}'] == 2
    assert found[f'milvus_datanode_flush_req_count{{{node},status="success"}}'] == 2
    assert found[f'milvus_datanode_flushed_data_rows{{{node},segment_level="L1"}}'] == 4_000
    assert found[f'milvus_datanode_flushed_data_size{{{node},segment_level="L1"}}'] > 4_000 * DIM * 4
    assert found[f"milvus_datanode_build_index_latency_count{{{node}}}"] >= 1
    assert found[f"milvus_datanode_compaction_latency_count{{{node}}}"] >= 1
    assert found[f"milvus_datacoord_compaction_latency_count{{{node}}}"] >= 1
    assert found['milvus_datacoord_import_jobs{import_state="Completed"}'] == 1
    assert found['milvus_datacoord_import_tasks{task_type="ImportTask",import_state="Completed"}'] == 1
    assert found["milvus_datacoord_bulk_insert_vectors_count"] == 1
    assert found["milvus_querycoord_task_num"] == 0
    assert found['milvus_proxy_queue_task_num{node_id="1",queue_type="calls",task_state="unissued"}'] == 0
    limiter = 'milvus_proxy_limiter_rate{node_id="1",collection_id="cluster",msg_type="%s"}'
    assert found[limiter % "DMLInsert"] == 50 * 1024 * 1024 and found[limiter % "DQLSearch"] == 900
    assert limiter % "DQLQuery" not in found, "no rate is set for it"
    assert found[f'milvus_proxy_max_insert_rate{{{node},scope="cluster"}}'] == 50 * 1024 * 1024
    tasks = f'milvus_datanode_index_task_count{{{node},status="%s"}}'
    assert found[tasks % "total"] == found[tasks % "success"] >= 1 and found[tasks % "fail"] == 0
    assert found["milvus_rootcoord_id_alloc_count"] >= 2, "a collection and its partition"
    waited = f'milvus_proxy_req_in_queue_latency_count{{{node},function_name="CreateCollection"}}'
    assert found[waited] == 1, "it waited for a thread, however shortly"
    assert found[f"milvus_querynode_disk_used_size{{{node}}}"] * (1 << 20) > 4_000 * DIM * 4
    loads = f"milvus_querynode_load_segment_latency_count{{{node}}}"
    assert found[loads] >= 3, "two flushed, and one made of both"
    parsed = f"milvus_proxy_parse_expr_latency_count{{{node}}}"
    assert found[parsed] == 2, "what is known already is not read again, and what cannot be read is no time"
    assert found[f"milvus_querynode_delete_buffer_row_num{{{node}}}"] == 3
    assert found[f"milvus_querynode_delete_buffer_size{{{node}}}"] == 96
    (size,) = (v for k, v in found.items() if k.startswith("milvus_querynode_entity_size") and "Sealed" in k)
    assert size > 4_000 * DIM * 4
    assert not any(name.startswith("milvus_rootcoord_quota_states") for name in found), "nothing is denied"


@alone
def test_steps_of_reads_and_what_is_asked_of_the_store_have_the_names_of_milvus(busy: ThreadServer) -> None:
    found = samples(scraped(busy))
    node = 'node_id="1"'
    timed = "milvus_querynode_sq_%s_latency_count{" + node + ',query_type="%s"%s}'
    assert found[timed % ("req", "search", ',scope="OnLeader"')] == 2
    assert found[timed % ("req", "search", ',scope="FromLeader"')] == 2
    assert found[timed % ("req", "query", ',scope="OnLeader"')] == 3
    assert found[timed % ("core", "search", "")] == 2
    assert 1 <= found[timed % ("core", "query", "")] <= 3, "segments in which no key can be are not asked"
    assert found[timed % ("segment", "search", ',segment_state="Sealed"')] == 2
    assert found[timed % ("reduce", "search", ',reduce_type="segments"')] == 2
    whole, core = (f'milvus_querynode_sq_{of}_latency_sum{{{node},query_type="search"%s}}' for of in ("req", "core"))
    assert found[whole % ',scope="FromLeader"'] == found[core % ""] > 0
    assert found[f'milvus_proxy_retry_search_cnt{{{node},query_type="search"}}'] == 0
    plans = f'milvus_proxy_cache_hit_count{{{node},cache_name="plan",cache_state="%s"}}'
    assert (found[plans % "hit"], found[plans % "miss"]) == (0, 2), "two searches that were not alike"
    assert found[f'milvus_proxy_cache_update_latency_count{{{node},cache_name="plan"}}'] == 2
    stored = 'milvus_storage_op_count{persistent_data_op_type="%s",status="%s"}'
    assert found[stored % ("put", "total")] == found[stored % ("put", "success")] >= 3
    assert found[stored % ("get", "fail")] == 0
    assert found['milvus_storage_kv_size_sum{persistent_data_op_type="put"}'] > 4_000 * DIM * 4
    assert found['milvus_storage_request_latency_count{persistent_data_op_type="put"}'] >= 3


@alone
def test_searches_of_a_plan_that_is_known_are_hits_and_growing_rows_count_with_their_owner(tmp_path: Path) -> None:
    database = engine_here(str(tmp_path / "data"))
    server = ThreadServer(database.service)
    server.server.observation._topology = database.topology
    with MilvusClient(server.uri) as client:
        client.create_collection("docs", dimension=DIM)
        client.insert("docs", [{"id": n, "vector": [n, 1.0, 2.0, 3.0]} for n in range(5)])
        for _ in range(3):
            client.search("docs", [[1.0, 2.0, 3.0, 4.0]], limit=3)
        found = samples(scraped(server))
    server.stop()
    database.close()
    plans = 'milvus_proxy_cache_hit_count{node_id="1",cache_name="plan",cache_state="%s"}'
    assert (found[plans % "hit"], found[plans % "miss"]) == (2, 1)
    timed = 'milvus_querynode_sq_req_latency_count{node_id="1",query_type="search",scope="%s"}'
    assert found[timed % "OnLeader"] == 3
    assert timed % "FromLeader" not in found, "no query node had anything to look at"


@alone
def test_a_channel_is_sealed_up_to_its_first_row_that_is_in_the_log_alone(tmp_path: Path) -> None:
    def progress(name: str) -> float:
        figures = {f.name: f.value for f in progress_of(1, database.topology.open_shards(meta), now)}
        return figures[name]

    checkpoint = "milvus_datacoord_channel_checkpoint_unix_seconds"
    database = engine_here(str(tmp_path / "data"))
    server = ThreadServer(database.service)
    with MilvusClient(server.uri) as client:
        client.create_collection("docs", dimension=DIM)
        (meta,) = database.topology.root.all_collections()
        first = database.topology.env.clock.now_ms()
        client.insert("docs", [{"id": 1, "vector": [1.0, 1.0, 2.0, 3.0]}])
        last = database.topology.env.clock.now_ms()
        now = last + 60_000
        assert first <= progress(checkpoint) * 1000 <= last, "not now: the row is not sealed"
        assert progress("milvus_querynode_consume_tt_lag_ms") == progress("milvus_proxy_tt_lag_ms") == 0
        client.flush("docs")
        assert progress(checkpoint) * 1000 == now
        client.delete("docs", ids=[1])
        assert first <= progress(checkpoint) * 1000 < now, "a delete is a write"
    server.stop()
    database.close()
    database = engine_here(str(tmp_path / "data"))
    (meta,) = database.topology.root.all_collections()
    database.topology.shards(meta)
    names = [f.name for f in progress_of(1, database.topology.open_shards(meta), now)]
    assert checkpoint not in names, "of what was read from the log, nobody knows when it was deleted"
    assert "milvus_proxy_tt_lag_ms" in names
    database.close()


def test_what_a_store_answers_is_counted_by_its_kind_and_what_it_cannot_do_as_a_failure() -> None:
    env = simulated_env(1)
    store = CountedObjects(FolderObjects(env.files, "objects"), env.clock)
    store.put("a/b", [b"12345"])
    store.put_if("c", [b"1"], None)
    with pytest.raises(redkite.errors.Conflict):
        store.put_if("c", [b"1"], None)
    with pytest.raises(redkite.errors.InvalidParameter):
        store.get("/")
    assert (bytes(store.get("a/b")), bytes(store.map("a/b"))) == (b"12345", b"12345")
    assert (store.size("a/b"), store.exists("d"), store.info("c").size) == (5, False, 1)
    store.copy("a/b", "d")
    assert store.list("a/") == ["a/b"]
    store.delete("d")
    store.delete_prefix("a/")
    counted = {kind: (of.lasted.total, of.failed, of.sizes.milliseconds) for kind, of in store.counted()}
    assert counted == {
        "get": (2, 1, 10), "put": (3, 0, 6), "stat": (3, 0, 0), "copy": (1, 0, 0), "walk": (1, 0, 0),
        "remove": (2, 0, 0),
    }  # fmt: skip
    assert Bins().total == 0


@alone
def test_every_line_is_as_prometheus_reads_it(busy: ThreadServer) -> None:
    kinds: dict[str, str] = {}
    counts: dict[tuple[str, str], list[float]] = {}
    for line in scraped(busy).splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds, f"{name} is described twice"
            kinds[name] = kind
        elif not line.startswith("#"):
            match = _LINE.match(line)
            assert match is not None, line
            name, labels = match[1], match[2] or ""
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            owner = family if kinds.get(family) == "histogram" else name
            assert owner in kinds, f"{name} is of no kind"
            if kinds[owner] == "histogram" and name.endswith("_bucket"):
                series = re.sub(r',?le="[^"]*"', "", labels).replace("{}", "")
                counts.setdefault((owner, series), []).append(float(match[3]))
    assert "histogram" in kinds.values() and counts
    found = samples(scraped(busy))
    for (name, labels), bins in counts.items():
        assert bins == sorted(bins), f"{name}{labels} goes down"
        assert bins[-1] <= found[f"{name}_count{labels}"], "the last bucket holds all, when it was scraped first"


def test_users_are_counted_by_name_where_they_are_known(tmp_path: Path) -> None:
    config = tmp_path / "redkite.toml"
    config.write_text('authorization = "on"\nroot_password = "password1"\n')
    with ProcessServer(tmp_path / "data", "--config", str(config)) as server:
        with MilvusClient(server.uri, token="root:password1") as client:
            client.create_user("bob", "password2")
        with MilvusClient(server.uri, token="bob:password2") as client:
            client.list_collections()
            client.list_collections()
        answer = httpx.get(f"http://127.0.0.1:{server.metrics_port}/metrics", auth=("root", "password1"))
    found = samples(answer.text)
    assert found['milvus_proxy_user_rpc_count{username="bob"}'] >= 2
    assert found['milvus_proxy_user_rpc_count{username="root"}'] >= 1


def test_sizes_of_searches_fall_into_the_first_bound_that_holds_them_and_are_summed() -> None:
    counters, others = Metrics(), Metrics()
    for metrics, sizes in ((counters, (1, 2, 3, 131_072)), (others, (4, 131_073, 0))):
        for size in sizes:
            counts = metrics.of("grpc", "Search", "Search", "default", "docs")
            counts.observe(0.1, OK)
            counts.observe_search(size, size)
    counted: Counted = counters.counted()
    counted.users = {"bob": 1}
    other = others.counted()
    other.users = {"bob": 2, "eve": 1}
    counted.add(other)
    found = samples(exposition(counted))
    label = 'milvus_querynode_search_topk_bucket{node_id="1",le="%s"}'
    assert [found[label % bound] for bound in (1, 2, 4, 131_072, "+Inf")] == [2, 3, 5, 6, 7]
    assert found['milvus_querynode_search_topk_count{node_id="1"}'] == 7
    assert found['milvus_proxy_user_rpc_count{username="bob"}'] == 3
    assert found['milvus_proxy_user_rpc_count{username="eve"}'] == 1


def test_durations_fall_into_the_first_bound_that_holds_them_and_failures_into_none() -> None:
    class Steps:
        """A clock that moves by what is next when it is looked at a second time."""

        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock: Any = Steps()
    durations = Durations(clock)
    for milliseconds in (0.5, 1.0, 1.5, 2.0, 131_072.0, 131_073.0):
        clock.now = 0.0
        with durations.timed():
            clock.now = milliseconds / 1000
    clock.now = 0.0
    with pytest.raises(ValueError, match="no"), durations.timed():
        raise ValueError("no")
    assert len(MILLISECONDS) == BOUNDS
    assert (durations.bins[0], durations.bins[1], durations.bins[BOUNDS - 1], durations.bins[BOUNDS]) == (2, 2, 1, 1)
    assert durations.milliseconds == pytest.approx(262_150)
    assert durations.failed == 1
    assert Env.real().clock.monotonic() > 0


def test_denials_and_rates_have_the_names_of_milvus() -> None:
    (denied,) = state_samples([5])
    assert (denied.name, denied.labels) == ("milvus_rootcoord_quota_states", (("quota_states", "DenyToWrite"),))
    every = Quotas(**{kind: Rates(cluster=1.0) for kind in ("insert", "query", "flush", "compaction")})
    assert [dict(s.labels).get("msg_type") for s in limit_samples(every) if s.name.endswith("limiter_rate")] == [
        "DMLInsert", "DQLQuery", "DDLFlush", "DDLCompaction",
    ]  # fmt: skip
    assert list(limit_samples(Quotas())) == []
