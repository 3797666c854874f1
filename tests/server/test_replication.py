"""Two servers, one of which follows the other: rows, schemas, users, and who leads afterwards."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymilvus
import pytest
from tests.patience import until
from tests.servers import ProcessServer, alone, wire_server

from redkite import DataType, MilvusClient, errors

DIM = 4


def serve(folder: Path, name: str, *settings: str) -> ProcessServer:
    folder.mkdir(exist_ok=True)
    config = folder / f"{name}.toml"
    config.write_text("\n".join([f'cluster_id = "{name}"', *settings]) + "\n")
    return wire_server(folder / name, "--config", str(config))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[ProcessServer, ProcessServer]]:
    with serve(tmp_path, "north") as north, serve(tmp_path, "south") as south:
        yield north, south


def topology(source: str, *servers: tuple[str, ProcessServer]) -> dict[str, Any]:
    clusters = [{"cluster_id": n, "connection_param": {"uri": s.uri, "token": "root:Milvus"}} for n, s in servers]
    edges = [{"source_cluster_id": source, "target_cluster_id": n} for n, _ in servers if source not in ("", n)]
    return {"clusters": clusters, "cross_cluster_topology": edges}


def both(north: ProcessServer, south: ProcessServer) -> tuple[tuple[str, ProcessServer], tuple[str, ProcessServer]]:
    return ("north", north), ("south", south)


def row(key: int, word: str = "w") -> dict[str, Any]:
    return {"id": key, "vector": [float(key)] * DIM, "word": word}


def make(client: Any, name: str, shards: int = 2) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("word", DataType.VARCHAR, max_length=16)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, num_shards=shards)


def rows(client: Any, name: str, *more: str) -> list[dict[str, Any]]:
    found = client.query(name, filter="id >= 0", output_fields=["*", *more], consistency_level="Strong")
    return sorted((dict(r) for r in found), key=lambda r: r["id"])


def test_a_secondary_has_what_the_primary_has_and_takes_no_writes(pair: tuple[ProcessServer, ProcessServer]) -> None:
    north, south = pair
    primary, secondary = MilvusClient(north.uri), MilvusClient(south.uri)
    make(primary, "before")
    primary.insert("before", [row(i) for i in range(50)])
    primary.flush("before")
    primary.insert("before", [row(i, "again") for i in range(40, 60)])
    for client in (secondary, primary):
        client.update_replicate_configuration(**topology("north", *both(north, south)))
    make(primary, "after", shards=1)
    primary.insert("after", [row(1), row(2), row(3)])
    primary.delete("after", ids=[2])
    primary.create_alias("after", "other")
    primary.create_database("db")
    primary.create_user("ann", "secret-1")
    until(lambda: rows(secondary, "after") == rows(primary, "after") and "ann" in secondary.list_users())
    assert rows(secondary, "before") == rows(primary, "before") and len(rows(primary, "before")) == 60
    assert secondary.describe_alias("other")["collection_name"] == "after" and "db" in secondary.list_databases()
    assert secondary.describe_index("after", "vector")["index_type"] == "HNSW"
    assert (
        secondary.describe_collection("after")["collection_id"] == primary.describe_collection("after")["collection_id"]
    )
    for refused in (
        lambda: secondary.insert("after", [row(9)]),
        lambda: secondary.delete("after", ids=[1]),
        lambda: secondary.drop_collection("after"),
        lambda: secondary.create_user("bob", "secret-2"),
    ):
        with pytest.raises(errors.StandbyMode, match=r"standby mode.*follows 'north'") as caught:
            refused()
        assert caught.value.code == 108
    primary.add_collection_field("after", "price", DataType.INT64, nullable=True)
    primary.insert("after", [row(7) | {"price": 5}])
    primary.truncate_collection("before")
    primary.insert("before", [row(1)])
    until(lambda: rows(secondary, "after") == rows(primary, "after") and len(rows(secondary, "before")) == 1)
    stamped = rows(secondary, "before", "$version")
    assert stamped == rows(primary, "before", "$version"), "a write has the time that its primary gave it"
    primary.drop_collection("before")
    until(lambda: not secondary.has_collection("before"))
    with urllib.request.urlopen(f"http://127.0.0.1:{north.metrics_port}/metrics") as page:
        told = page.read().decode()
    assert 'redkite_replication_up{cluster_id="south"} 1' in told
    assert 'redkite_replication_lag_seconds{cluster_id="south"}' in told


def test_official_clients_see_who_follows_whom(pair: tuple[ProcessServer, ProcessServer]) -> None:
    north, south = pair
    primary, secondary = pymilvus.MilvusClient(north.uri), pymilvus.MilvusClient(south.uri)
    for client in (secondary, primary):
        client.update_replicate_configuration(**topology("north", *both(north, south)))
    shown = primary.get_replicate_configuration()
    assert [c.cluster_id for c in shown.clusters] == ["north", "south"]
    assert all(not c.connection_param.token for c in shown.clusters)
    make(MilvusClient(north.uri), "c")
    primary.insert("c", [row(1)])
    until(lambda: secondary.get_replicate_info("north", "p")["checkpoint"] is not None)
    until(lambda: len(MilvusClient(south.uri).query("c", filter="id > 0")) == 1)
    checkpoint = secondary.get_replicate_info("north", "p")["checkpoint"]
    assert checkpoint["cluster_id"] == "north" and checkpoint["time_tick"] > 0
    with pytest.raises(pymilvus.MilvusException, match="standby"):
        secondary.insert("c", [row(2)])


@alone
def test_a_killed_secondary_goes_on_where_it_was(tmp_path: Path) -> None:
    with serve(tmp_path, "north") as north:
        primary = MilvusClient(north.uri)
        make(primary, "c")
        south = serve(tmp_path, "south")
        port = south.port
        try:
            for uri in (south.uri, north.uri):
                MilvusClient(uri).update_replicate_configuration(**topology("north", *both(north, south)))
            for round_ in range(3):
                primary.upsert("c", [row(i, f"r{round_}") for i in range(200)])
                primary.delete("c", ids=[round_])
                south.stop(signal.SIGKILL)
                primary.insert("c", [row(1_000 + round_)])
                config = tmp_path / "south.toml"
                south = ProcessServer(tmp_path / "south", "--config", str(config), "--port", str(port))
            secondary = MilvusClient(south.uri)
            until(lambda: rows(secondary, "c") == rows(primary, "c"), seconds=60)
            assert len(rows(primary, "c")) == 202
        finally:
            south.stop()


def test_the_secondary_becomes_the_primary_and_the_primary_follows_it(
    pair: tuple[ProcessServer, ProcessServer],
) -> None:
    north, south = pair
    first, second = MilvusClient(north.uri), MilvusClient(south.uri)
    for client in (second, first):
        client.update_replicate_configuration(**topology("north", *both(north, south)))
    make(first, "c")
    first.insert("c", [row(i) for i in range(100)])
    first.update_replicate_configuration(**topology("south", *both(north, south)))
    with pytest.raises(errors.StandbyMode):
        first.insert("c", [row(500)])
    second.update_replicate_configuration(**topology("south", *both(north, south)))
    assert len(rows(second, "c")) == 100, "it has everything before it is the primary"
    second.upsert("c", [row(5, "south"), row(500)])
    until(lambda: rows(first, "c") == rows(second, "c"))
    assert len(rows(first, "c")) == 101


def test_a_secondary_is_promoted_by_force_when_the_primary_is_gone(tmp_path: Path) -> None:
    north, south = serve(tmp_path, "north"), serve(tmp_path, "south")
    try:
        first, second = MilvusClient(north.uri), MilvusClient(south.uri)
        for client in (second, first):
            client.update_replicate_configuration(**topology("north", *both(north, south)))
        make(first, "c")
        first.insert("c", [row(1)])
        until(lambda: len(rows(second, "c")) == 1)
        north.stop(signal.SIGKILL)
        second.update_replicate_configuration(**topology("", ("south", south)), force_promote=True)
        second.insert("c", [row(2)])
        assert [r["id"] for r in rows(second, "c")] == [1, 2]
        info = second.get_replicate_info("north", "")
        assert info["checkpoint"] is None and info["salvage_checkpoint"]["cluster_id"] == "north"
    finally:
        north.stop()
        south.stop()


def test_a_configuration_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with serve(tmp_path, "north") as north:
        client = MilvusClient(north.uri)
        both_north = [("north", north), ("north", north)]
        for wrong, why in (
            (topology("", *both_north), "duplicate"),
            (topology("", ("south", north)), "current cluster 'north'"),
            (topology("west", ("north", north)), "not among the clusters: 'west'"),
        ):
            with pytest.raises(errors.InvalidParameter, match=why):
                client.update_replicate_configuration(**wrong)
        make(client, "own")
        with pytest.raises(errors.InvalidParameter, match=r"must be empty; this one has default\.own"):
            client.update_replicate_configuration(**topology("south", ("north", north), ("south", north)))
