"""A cluster that another follows: it sends what is written through any of its proxies, hands over, and moves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.patience import until
from tests.servers import ThreadServer

from redkite import DataType, MilvusClient, errors
from redkite.cluster.in_process import SMALL, InProcessCluster, MemoryNodes
from redkite.cluster.roles.coordinator import CoordinatorRole
from redkite.cluster.roles.proxy import ProxyRole
from redkite.config import Settings
from redkite.migration.promote import promote

pytestmark = pytest.mark.timeout(180)
DIM = 4


class ProxyServer(ThreadServer):
    """Ports of one proxy; `stop` also ends what it sends."""

    def __init__(self, role: ProxyRole) -> None:
        self.replication, self.access, self.topology = role.replication, role.access, role.topology
        super().__init__(role.service)


class Cluster:
    """A cluster of threads that has a name, and a port for each proxy."""

    def __init__(self, folder: Path, name: str, **counts: int) -> None:
        settings = Settings(cluster_id=name, data=str(folder / name), backups=str(folder / f"{name}-backups"))
        config = msgspec.structs.replace(SMALL, settings=settings)
        self.name = name
        self.clients: list[MilvusClient] = []
        self.nodes = InProcessCluster(MemoryNodes(str(folder / name / "objects")), config, **counts)
        self.nodes.start()
        self.servers = [ProxyServer(self.nodes.proxy(number)) for number in range(self.nodes.config.proxies)]

    @property
    def uri(self) -> str:
        return self.servers[-1].uri

    def client(self, number: int = 0) -> MilvusClient:
        self.clients.append(MilvusClient(self.servers[number].uri))
        return self.clients[-1]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for server in self.servers:
            server.stop()
        self.nodes.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Cluster, Cluster]]:
    north, south = Cluster(tmp_path, "north", proxies=2, coordinators=2), Cluster(tmp_path, "south")
    yield north, south
    north.close()
    south.close()


def topology(source: str, *clusters: Cluster) -> dict[str, Any]:
    known = [{"cluster_id": c.name, "connection_param": {"uri": c.uri, "token": "root:Milvus"}} for c in clusters]
    edges = [{"source_cluster_id": source, "target_cluster_id": c.name} for c in clusters if source not in ("", c.name)]
    return {"clusters": known, "cross_cluster_topology": edges}


def row(key: int) -> dict[str, Any]:
    return {"id": key, "vector": [float(key)] * DIM, "word": f"w{key}"}


def make(client: MilvusClient, name: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("word", DataType.VARCHAR, max_length=16)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, num_shards=2)


def rows(client: MilvusClient, name: str = "c") -> list[dict[str, Any]]:
    found = client.query(name, filter="id >= 0", output_fields=["*"], consistency_level="Strong")
    return sorted((dict(r) for r in found), key=lambda r: r["id"])


def test_a_cluster_follows_a_cluster_whoever_of_it_goes_and_takes_over(pair: tuple[Cluster, Cluster]) -> None:
    north, south = pair
    one, other, there = north.client(0), north.client(1), south.client()
    make(one, "c")
    one.insert("c", [row(i) for i in range(50)])
    one.flush("c")
    for client in (there, one):
        client.update_replicate_configuration(**topology("north", north, south))
    other.insert("c", [row(i) for i in range(50, 60)])
    other.delete("c", ids=[3])
    until(lambda: rows(there) == rows(one) and len(rows(there)) == 59)
    with pytest.raises(errors.StandbyMode, match="follows 'north'"):
        there.insert("c", [row(1000)])
    # The proxy that sends goes, and whoever leads.
    one.close()
    north.servers.pop(0).stop()
    north.nodes.kill(min(north.nodes.nodes("proxy"), key=lambda running: running.node_id))
    leader = next(
        node
        for node in north.nodes.nodes("coordinator")
        if isinstance(node.node, CoordinatorRole) and node.node.leading
    )
    north.nodes.kill(leader)
    other.insert("c", [row(i) for i in range(60, 70)])
    until(lambda: rows(there) == rows(other) and len(rows(there)) == 69)
    # They change places.
    other.update_replicate_configuration(**topology("south", north, south))
    there.update_replicate_configuration(**topology("south", north, south))
    with pytest.raises(errors.StandbyMode, match="follows 'south'"):
        other.insert("c", [row(2000)])
    there.insert("c", [row(100)])
    until(lambda: rows(other) == rows(there) and len(rows(other)) == 70)


def test_a_cluster_moves_to_another_with_everything_in_it(pair: tuple[Cluster, Cluster]) -> None:
    north, south = pair
    one, other, there = north.client(0), north.client(1), south.client()
    make(one, "c")
    one.insert("c", [row(i) for i in range(300)])
    one.flush("c")
    other.delete("c", ids=[1, 2])
    out = io.StringIO()
    assert promote(north.uri, south.uri, "", "", out) == 0, out.getvalue()
    assert len(rows(there)) == 298
    for client in (one, other):
        with pytest.raises(errors.StandbyMode, match=f"this database is at {south.uri} now"):
            client.insert("c", [row(1)])
    there.insert("c", [row(1)])
