"""A copy of the catalog in every process: whatever happens to connections, all become what the store has."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.env import Env
from redkite.errors import Conflict, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.coordination import Fenced
from redkite.storage.followed import Copy, FollowedCatalog, follow
from redkite.storage.memory_connection import MemoryConnection
from redkite.storage.shared_memory import SharedMemory


class Cluster:
    """Processes of one simulated world, each with a connection and a copy."""

    def __init__(self, seed: int = 0, processes: int = 3, history: int = 10_000) -> None:
        self.env = simulated_env(seed)
        self.shared = SharedMemory(self.env, history)
        self.connections = [MemoryConnection(self.shared, self.env, str(n)) for n in range(processes)]
        self.copies: list[Copy] = []
        self.catalogs: list[FollowedCatalog] = []
        self.told: list[dict[str, bytes | None]] = []
        for connection in self.connections:
            copy, catalog = follow(connection.store, self.env)
            told: dict[str, bytes | None] = dict(catalog.scan())
            catalog.when_changed(told.update)
            self.copies.append(copy)
            self.catalogs.append(catalog)
            self.told.append(told)

    def truth(self) -> list[tuple[str, bytes]]:
        return [(c.key, c.value) for c in MemoryConnection(self.shared, self.env).store.everything()[1]]

    def told_to(self, process: int) -> list[tuple[str, bytes]]:
        return sorted((key, value) for key, value in self.told[process].items() if value is not None)


KEYS = st.sampled_from(["a", "b", "b/1", "b/2", "c"])
BEFALLS = st.sampled_from(["cut", "mend", "hold", "let_go", "lose_replies", "refresh"])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 2), st.dictionaries(KEYS, st.binary(min_size=1, max_size=2), max_size=3)),
    st.tuples(st.just("delete"), st.integers(0, 2), st.frozensets(KEYS, min_size=1, max_size=3)),
    st.tuples(st.just("step"), st.integers(1, 4), st.none()),
    st.tuples(BEFALLS, st.integers(0, 2), st.none()),
    st.tuples(st.just("compact"), st.none(), st.none()),
    st.tuples(st.just("advance"), st.none(), st.none()),
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1000), st.lists(STEPS, max_size=40), st.sampled_from([2, 10_000]))
def test_every_follower_becomes_what_the_store_is_whatever_happens_in_between(seed, steps, history):
    cluster = Cluster(seed, history=history)
    for what, process, detail in steps:
        try:
            if what == "put":
                cluster.catalogs[process].commit(detail)
                for key, value in detail.items():
                    assert cluster.catalogs[process].get(key) == value
            elif what == "delete":
                cluster.catalogs[process].commit({}, detail)
                assert all(cluster.catalogs[process].get(key) is None for key in detail)
            elif what == "refresh":
                cluster.catalogs[process].refresh()
                assert cluster.catalogs[process].scan() == cluster.truth()
                assert cluster.told_to(process) == cluster.truth()
            elif what == "step":
                for _ in range(process):
                    cluster.env.scheduler.step()
            elif what == "compact":
                cluster.shared.compact()
            elif what == "advance":
                cluster.env.advance(0.3)
            else:
                getattr(cluster.connections[process], what)()
        except Unavailable:
            continue
    for connection in cluster.connections:
        connection.mend()
        connection.let_go()
    cluster.env.advance(2)
    for process, catalog in enumerate(cluster.catalogs):
        assert catalog.scan() == cluster.truth()
        assert cluster.told_to(process) == cluster.truth()
        assert catalog.scan("b/") == [pair for pair in cluster.truth() if pair[0].startswith("b/")]
        for key in ("a", "b", "b/1", "b/2", "c"):
            assert catalog.get(key) == dict(cluster.truth()).get(key)


def test_a_late_event_does_not_undo_what_this_process_has_committed_since():
    cluster = Cluster()
    mine, other = cluster.catalogs[:2]
    cluster.connections[0].hold()
    other.commit({"a": b"theirs"})
    mine.commit({"a": b"mine"})
    mine.commit({}, ["b"])
    assert mine.get("a") == b"mine"
    cluster.connections[0].let_go()
    cluster.env.run_until_idle()
    assert mine.get("a") == other.get("a") == b"mine"


def test_what_was_deleted_here_is_not_brought_back_by_its_own_late_events():
    cluster = Cluster()
    mine = cluster.catalogs[0]
    cluster.connections[0].hold()
    mine.commit({"a": b"1"})
    mine.commit({}, ["a"])
    cluster.connections[0].let_go()
    while cluster.env.scheduler.step():
        assert mine.get("a") is None


def test_a_reply_that_is_slower_than_the_watch_undoes_nothing():
    cluster = Cluster()
    mine, other = cluster.catalogs[:2]

    def late() -> None:
        other.commit({"b": b"theirs"}, ["a"])
        cluster.env.run_until_idle()

    cluster.connections[0].reply = late
    mine.commit({"a": b"mine", "b": b"mine"})
    assert mine.scan() == other.scan() == [("b", b"theirs")]


def test_what_was_read_and_is_old_by_now_undoes_nothing():
    cluster = Cluster()
    mine, other = cluster.catalogs[:2]
    connection = cluster.connections[0]
    read = connection.store.everything
    other.commit({"a": b"1", "b": b"1"})
    connection.hold()

    def slow():
        found = read()
        other.commit({"c": b"2"}, ["a"])
        connection.let_go()
        cluster.env.run_until_idle()
        return found

    connection.store.everything = slow
    mine.refresh()
    assert mine.scan() == other.scan() == [("b", b"1"), ("c", b"2")]


def test_refresh_brings_what_others_committed_although_the_watch_is_silent():
    cluster = Cluster()
    mine, other = cluster.catalogs[:2]
    cluster.connections[0].hold()
    other.commit({"a": b"1"})
    assert mine.get("a") is None
    revision = mine.refresh()
    assert mine.get("a") == b"1"
    assert mine.revision >= revision
    assert cluster.told[0] == {"a": b"1"}


def test_events_that_come_after_everything_was_read_bring_back_nothing_that_is_gone_since():
    cluster = Cluster()
    mine, other = cluster.catalogs[:2]
    cluster.connections[0].hold()
    other.commit({"a": b"1"})
    other.commit({"a": b"2"})
    other.commit({}, ["a"])
    mine.refresh()  # reads all there is, as the watch brings nothing
    cluster.connections[0].let_go()
    while cluster.env.scheduler.step():
        assert mine.get("a") is None


def test_waiting_for_what_does_not_come_ends():
    cluster = Cluster()
    with pytest.raises(Unavailable, match="behind"):
        cluster.catalogs[0].wait_for(cluster.shared.revision + 1, 0.01)
    cluster.catalogs[1].commit({"a": b"1"})
    cluster.catalogs[0].wait_for(cluster.shared.revision, 0.01)
    assert cluster.catalogs[0].get("a") == b"1"


def test_a_commit_with_an_unknown_outcome_lets_nothing_be_decided_on_what_is_not_known():
    cluster = Cluster()
    mine, connection = cluster.catalogs[0], cluster.connections[0]
    reach, down = connection.reach, []

    def lost():
        if down:
            raise Unavailable("etcd does not answer")
        return reach()

    connection.reach = lost

    def no_reply():
        down.append(1)
        raise Unavailable("no reply")

    connection.reply = no_reply
    with pytest.raises(Unavailable, match="no reply"):
        mine.commit({"a": b"1"})
    connection.reply = lambda: None
    with pytest.raises(Unavailable, match="does not answer"):
        mine.commit({"b": b"1"})
    down.clear()
    with pytest.raises(Unavailable, match="not known until now"):
        mine.commit({"b": b"1"})
    assert mine.scan() == [("a", b"1")]
    mine.commit({"b": b"1"})
    assert mine.scan() == [("a", b"1"), ("b", b"1")]


def test_a_commit_whose_reply_is_lost_is_known_at_once_where_the_store_answers_again():
    cluster = Cluster()
    cluster.connections[0].lose_replies()
    with pytest.raises(Unavailable):
        cluster.catalogs[0].commit({"a": b"1"})
    assert cluster.catalogs[0].get("a") == b"1"
    cluster.catalogs[0].commit({"b": b"1"})


def test_faces_of_one_copy_commit_under_fences_of_their_own():
    cluster = Cluster()
    coordination = cluster.connections[0].coordination
    lease = coordination.lease(3)
    term = coordination.claim("leader", b"me", lease)
    leading = cluster.catalogs[0].fenced(coordination.fence("leader", term))
    leading.commit({"a": b"1"})
    assert cluster.catalogs[0].get("a") == b"1"
    lease.close()
    with pytest.raises(Fenced):
        leading.commit({"a": b"2"})
    cluster.catalogs[0].commit({"b": b"1"}, expect={"a": b"1"})
    with pytest.raises(Conflict):
        cluster.catalogs[1].commit({"b": b"2"}, expect={"a": None})
    assert leading.scan() == [("a", b"1"), ("b", b"1")]


def test_a_listener_may_hold_what_a_committer_waits_with():
    """As coordinators do: they commit under a lock that they take when they are told, too."""
    env = Env.real()
    shared = SharedMemory(env)
    connections = [MemoryConnection(shared, env) for _ in range(3)]
    copies = [follow(connection.store, env) for connection in connections]
    lock, seen = threading.Lock(), []

    def told(changes):
        with lock:
            seen.append(changes)

    copies[0][1].when_changed(told)

    def write(catalog, name):
        for number in range(100):
            if catalog is copies[0][1]:
                with lock:
                    if number == 50:
                        connections[0].lose_replies()
                        with pytest.raises(Unavailable):
                            catalog.commit({f"{name}/{number}": b"x"})
                    else:
                        catalog.commit({f"{name}/{number}": b"x"})
            else:
                catalog.commit({f"{name}/{number}": b"x"})

    threads = [threading.Thread(target=write, args=(copies[n][1], str(n))) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for _, catalog in copies:
        catalog.refresh()
        assert len(catalog.scan()) == 300
    assert {key for changes in seen for key in changes} == {f"{n}/{i}" for n in range(3) for i in range(100)}
    for (copy, _), connection in zip(copies, connections, strict=True):
        copy.close()
        connection.close()
    shared.close()


def test_a_process_that_is_killed_waits_for_nobody_who_is_just_being_told():
    cluster = Cluster(processes=2)
    told, killed, in_time = threading.Event(), threading.Event(), []
    tell = lambda *_: (told.set(), in_time.append(killed.wait(3)))
    cluster.connections[0].feed("", cluster.shared.revision, tell, lambda: None)
    kills = threading.Thread(target=lambda: (told.wait(10), cluster.connections[0].abandon(), killed.set()))
    kills.start()
    cluster.catalogs[1].commit({"a": b"1"})
    while cluster.env.scheduler.step():
        pass
    kills.join()
    assert in_time == [True]
