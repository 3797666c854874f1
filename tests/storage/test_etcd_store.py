"""Copies of a catalog that is in a real etcd."""

from __future__ import annotations

import random
import threading
import time

import pytest
from tests.brokers import etcd_server

from redkite.env import Env
from redkite.errors import Conflict, Unavailable
from redkite.storage.coordination import Fenced
from redkite.storage.etcd import Etcd, EtcdSettings
from redkite.storage.etcd_catalog import MAX_OPERATIONS, EtcdCatalog
from redkite.storage.etcd_coordination import EtcdCoordination
from redkite.storage.etcd_store import EtcdStore
from redkite.storage.followed import FollowedCatalog, follow

MANY = {f"many/{number:04d}": b"x" * 50 for number in range(3 * MAX_OPERATIONS)}


class Process:
    def __init__(self, endpoint: str, root: str, timeout: float = 5.0) -> None:
        self.env = Env.real()
        self.etcd = Etcd(EtcdSettings(endpoints=(endpoint,), root=root, timeout_seconds=timeout), self.env.clock)
        self.copy, self.catalog = follow(EtcdStore(self.etcd, self.env), self.env)
        self.told: dict[str, bytes | None] = dict(self.catalog.scan())
        self.catalog.when_changed(self.told.update)

    def knows(self) -> list[tuple[str, bytes]]:
        return sorted((key, value) for key, value in self.told.items() if value is not None)

    def close(self) -> None:
        self.copy.close()
        self.etcd.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with etcd_server(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
def processes(server, request):
    made = [Process(server.endpoint, f"{request.node.name}/") for _ in range(3)]
    yield made
    for process in made:
        process.close()


def truth(process: Process) -> list[tuple[str, bytes]]:
    return EtcdCatalog(process.etcd, process.env).scan()


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_what_one_commits_is_here_at_once_and_with_others_soon(processes):
    one, two, three = (process.catalog for process in processes)
    one.commit({"a": b"1"})
    assert one.get("a") == b"1"
    two.refresh()
    assert two.get("a") == b"1"
    eventually(lambda: three.get("a") == b"1" and processes[2].told == {"a": b"1"})
    with pytest.raises(Conflict):
        three.commit({"a": b"3"}, expect={"a": None})
    three.commit({}, ["a"], expect={"a": b"1"})
    three.refresh()
    one.wait_for(three.revision, 5)
    assert one.scan() == []


def test_nobody_sees_half_of_a_large_commit(processes):
    writer, reader = processes[0].catalog, processes[1]
    writer.commit({"old": b"1"})
    reader.catalog.refresh()
    seen: list[int] = []
    reader.catalog.when_changed(lambda changes: seen.append(len(changes)))
    stop = threading.Event()
    counts: set[int] = set()

    def look():
        while not stop.is_set():
            counts.add(len(reader.catalog.scan()))

    thread = threading.Thread(target=look)
    thread.start()
    writer.commit(MANY, deletes=["old"])
    assert dict(writer.scan()) == MANY
    reader.catalog.refresh()
    assert dict(reader.catalog.scan()) == MANY
    stop.set()
    thread.join()
    assert counts <= {1, len(MANY)}
    assert seen == [len(MANY) + 1]


def test_a_large_commit_whose_writer_died_is_finished_by_whoever_looks(processes):
    dying = EtcdCatalog(processes[0].etcd, processes[0].env)
    dying._finish_pending = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        dying.commit(MANY)
    assert processes[1].catalog.scan() == []
    processes[1].catalog.refresh()
    assert dict(processes[1].catalog.scan()) == MANY
    processes[2].catalog.commit({"more": b"1"})
    for process in processes:
        process.catalog.refresh()
        assert process.catalog.scan() == truth(process) == process.knows()


def test_a_copy_begins_anew_where_etcd_has_forgotten_what_it_missed(processes, server):
    one, two = processes[:2]
    one.catalog.commit({"a": b"1", "b": b"1"})
    two.catalog.refresh()
    before = two.copy._watched
    before._take = lambda *_: None  # as if it had been cut off since
    one.catalog.commit({"a": b"2"}, ["b"])
    one.catalog.refresh()
    etcd = one.etcd
    etcd.call("KV", "Compact", etcd.messages.CompactionRequest(revision=one.catalog.revision))
    before._watch._next = 1
    before._watch._call.cancel()
    one.catalog.commit({"c": b"3"})
    eventually(lambda: two.catalog.scan() == truth(two) == two.knows())
    eventually(lambda: two.copy._watched is not before)


def test_copies_of_writers_at_once_end_as_what_etcd_has(processes):
    def write(process: Process, seed: int) -> None:
        rng, done = random.Random(seed), 0
        while done < 40:
            keys = rng.sample("abcdefgh", 2)
            try:
                if rng.random() < 0.3:
                    process.catalog.commit({}, keys)
                elif rng.random() < 0.3:
                    process.catalog.commit({keys[0]: b"%d" % done}, expect={keys[1]: process.catalog.get(keys[1])})
                else:
                    process.catalog.commit(dict.fromkeys(keys, b"%d %d" % (seed, done)))
            except Conflict:
                continue
            done += 1

    threads = [threading.Thread(target=write, args=(process, n)) for n, process in enumerate(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for process in processes:
        process.catalog.refresh()
        assert process.catalog.scan() == truth(process) == process.knows()


def test_a_copy_goes_on_across_a_kill_and_a_pause_of_etcd(tmp_path):
    with etcd_server(tmp_path) as server:
        one, two = (Process(server.endpoint, "r/", timeout=2) for _ in range(2))
        one.catalog.commit({"a": b"1"})
        two.catalog.refresh()
        server.kill()
        assert two.catalog.get("a") == b"1"
        with pytest.raises(Unavailable):
            two.catalog.refresh()
        with pytest.raises(Unavailable):
            one.catalog.commit({"a": b"lost"})
        server.start()
        eventually(lambda: _commits(one.catalog, {"a": b"2"}))
        eventually(lambda: two.catalog.get("a") == b"2")
        server.pause()
        with pytest.raises(Unavailable):
            two.catalog.commit({"b": b"unknown"})
        server.go_on()
        eventually(lambda: _commits(two.catalog, {"c": b"1"}))
        for process in (one, two):
            process.catalog.refresh()
            assert process.catalog.scan() == truth(process) == process.knows()
            process.close()


def _commits(catalog: FollowedCatalog, puts: dict[str, bytes]) -> bool:
    try:
        catalog.commit(puts)
    except Unavailable:
        return False
    return True


def test_faces_with_fences_share_what_is_known(processes):
    process, other = processes[:2]
    coordination = EtcdCoordination(process.etcd, process.env)
    lease = coordination.lease(5)
    term = coordination.claim("leader", b"me", lease)
    leading = process.catalog.fenced(coordination.fence("leader", term))
    leading.commit({"a": b"1"})
    assert process.catalog.get("a") == b"1"
    lease.close()
    with pytest.raises(Fenced):
        leading.commit({"a": b"2"})
    other.catalog.commit({"a": b"3"})
    leading.refresh()
    assert leading.get("a") == b"3"
