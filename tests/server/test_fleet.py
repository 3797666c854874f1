"""Several processes behind one port: `redkite serve --workers N`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pymilvus
import pytest
from tests.patience import until
from tests.servers import ProcessServer

from redkite import MilvusClient
from redkite.errors import MilvusException

DIM = 4
WORKERS = 3


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("fleet") / "data", "--workers", str(WORKERS)) as process:
        yield process


def row(number: int) -> dict[str, object]:
    return {"id": number, "vector": [float(number), 1, 1, 1], "color": "red"}


def others(server: ProcessServer) -> list[int]:
    """The processes that the first one started."""
    path = f"/proc/{server.process.pid}/task/{server.process.pid}/children"
    return [int(text) for text in Path(path).read_text().split()]


def connections(server: ProcessServer, count: int = 8) -> list[MilvusClient]:
    return [MilvusClient(server.uri, dedicated=True) for _ in range(count)]


def test_whoever_asks_sees_what_anybody_wrote_before_whichever_process_answers(fleet: ProcessServer) -> None:
    clients = connections(fleet)
    clients[0].create_collection("shared", dimension=DIM, metric_type="L2")
    for number in range(60):
        writer, reader = clients[number % 8], clients[(number + 3) % 8]
        writer.insert("shared", [row(number)])
        assert [hit["id"] for hit in reader.query("shared", f"id == {number}")] == [number]
        assert reader.search("shared", data=[row(number)["vector"]], limit=1)[0][0]["id"] == number
        if number % 3 == 0:
            writer.delete("shared", ids=[number])
            assert reader.query("shared", f"id == {number}") == []
        if number == 30:
            writer.flush("shared")
    for client in clients:
        assert client.query("shared", output_fields=["count(*)"]) == [{"count(*)": 40}]


def test_definitions_are_known_to_all_processes_at_once(fleet: ProcessServer) -> None:
    clients = connections(fleet)
    for number in range(6):
        name = f"defined_{number}"
        clients[number].create_collection(name, dimension=DIM)
        assert all(client.has_collection(name) for client in clients)
        clients[number].insert(name, [row(1)])
        clients[(number + 1) % 8].release_collection(name)
        with pytest.raises(MilvusException, match="not loaded"):
            clients[(number + 2) % 8].query(name, "id == 1")
        clients[(number + 3) % 8].drop_collection(name)
        assert not any(client.has_collection(name) for client in clients)


def test_an_iterator_goes_on_where_it_was_whichever_process_gets_its_pages(fleet: ProcessServer) -> None:
    client = MilvusClient(fleet.uri)
    client.create_collection("pages", dimension=DIM, metric_type="L2")
    client.insert("pages", [row(number) for number in range(50)])
    pages = client.search_iterator("pages", data=[row(0)["vector"]], batch_size=7)
    found = [hit["id"] for page in pages for hit in page]
    assert found == list(range(50))


def test_the_official_client_is_served_by_every_process(fleet: ProcessServer) -> None:
    clients = [pymilvus.MilvusClient(fleet.uri) for _ in range(4)]
    clients[0].create_collection("official", dimension=DIM)
    for number, client in enumerate(clients):
        client.insert("official", [row(number)])
        assert clients[number - 1].query("official", filter="id >= 0", output_fields=["count(*)"]) == [
            {"count(*)": number + 1}
        ]


def test_a_worker_that_is_killed_is_replaced_and_nobody_misses_a_write(tmp_path: Path) -> None:
    with ProcessServer(tmp_path / "data", "--workers", "2") as server:
        client = MilvusClient(server.uri)
        client.create_collection("kept", dimension=DIM)
        client.insert("kept", [row(1)])
        (worker,) = others(server)
        os.kill(worker, signal.SIGKILL)
        limit = time.monotonic() + 120
        while (now := others(server)) in ([], [worker]):
            assert time.monotonic() < limit, "no worker was started again"
            time.sleep(0.05)
        assert now != [worker]
        for number, fresh in enumerate(connections(server), 2):
            fresh.insert("kept", [row(number)])
            assert len(fresh.query("kept", "id > 0")) == number
        assert server.stop(signal.SIGTERM) == 0
        assert not Path(f"/proc/{now[0]}").exists()


def test_workers_end_when_the_writer_is_killed(tmp_path: Path) -> None:
    with ProcessServer(tmp_path / "data", "--workers", "3") as server:
        workers = others(server)
        assert len(workers) == 2
        server.process.kill()
        server.process.wait()
        limit = time.monotonic() + 120
        while any(Path(f"/proc/{worker}/fd/0").exists() for worker in workers):
            assert time.monotonic() < limit, "a worker outlived the writer"
            time.sleep(0.05)


def test_many_connections_are_spread_over_the_processes(fleet: ProcessServer) -> None:
    clients = connections(fleet, 24)
    clients[0].create_collection("spread", dimension=DIM)
    clients[0].insert("spread", [row(1)])
    stop = threading.Event()

    def ask(client: MilvusClient) -> None:
        while not stop.is_set():
            client.query("spread", "id == 1")

    before = {pid: ticks(pid) for pid in (fleet.process.pid, *others(fleet))}
    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        until(lambda: sum(ticks(pid) > spent for pid, spent in before.items()) >= 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def ticks(pid: int) -> int:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
