"""etcd as catalog and as the place where processes tell that they live, with a real etcd."""

from __future__ import annotations

import random
import threading
import time
from collections import deque

import pytest
from tests.brokers import etcd_server, free_ports

from redkite.env import Env
from redkite.errors import Conflict, InvalidParameter, MilvusException, NotAuthenticated, StorageError, Unavailable
from redkite.storage import etcd_catalog
from redkite.storage.etcd import Compacted, Etcd, EtcdSettings, after_prefix
from redkite.storage.etcd_catalog import MAX_OPERATIONS, EtcdCatalog, Fence, Fenced
from redkite.storage.etcd_coordination import EtcdCoordination


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with etcd_server(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
def env():
    return Env.real()


@pytest.fixture
def etcd(server, env, request):
    made = Etcd(EtcdSettings(endpoints=(server.endpoint,), root=f"{request.node.name}/", timeout_seconds=5), env.clock)
    yield made
    made.close()


@pytest.fixture
def catalog(etcd, env):
    return EtcdCatalog(etcd, env)


MANY = {f"many/{number:04d}": b"x" * 50 for number in range(3 * MAX_OPERATIONS)}


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_a_commit_of_more_keys_than_one_transaction_takes_is_all_or_nothing(catalog):
    catalog.commit({"old": b"1"})
    with pytest.raises(Conflict, match="'old'"):
        catalog.commit(MANY, expect={"old": b"2"})
    assert catalog.scan() == [("old", b"1")]
    catalog.commit(MANY, deletes=["old"], expect={"old": b"1"})
    assert dict(catalog.scan()) == MANY


@pytest.mark.parametrize("reached", range(14))
def test_a_large_commit_that_is_cut_off_anywhere_is_whole_or_absent_to_everybody(etcd, env, reached):
    before = {"many/0000": b"before", "gone": b"before"}
    EtcdCatalog(etcd, env).commit(before)
    writer = EtcdCatalog(etcd, env)
    ask, calls = etcd.transaction, []

    def cut_off(*args):
        calls.append(args)
        if len(calls) > reached:
            raise KeyboardInterrupt
        return ask(*args)

    etcd.transaction = cut_off
    try:
        writer.commit(MANY, deletes=["gone"])
    except KeyboardInterrupt:
        pass
    finally:
        etcd.transaction = ask
    found = dict(EtcdCatalog(etcd, env).scan())
    assert found in (before, MANY)
    if len(calls) <= reached:
        assert found == MANY
    leader = EtcdCatalog(etcd, env)
    leader.settle()
    root = etcd.settings.root.encode()
    left = etcd.transaction([], [etcd.range(root, after_prefix(root))]).responses[0].response_range.kvs
    assert {pair.key for pair in left if not pair.key.startswith(leader.data)} == {root + b"stamp"}
    leader.commit({"new": b"1"})
    assert leader.get("new") == b"1"


def test_the_cut_off_test_reaches_the_end_of_a_large_commit(etcd, env):
    calls = []
    ask, etcd.transaction = etcd.transaction, lambda *args: (calls.append(1), ask(*args))[1]
    EtcdCatalog(etcd, env).commit(MANY)
    assert 6 < len(calls) < 14


@pytest.mark.parametrize("written", [1, 3])
def test_a_large_commit_is_whole_though_another_began_to_lead_while_its_parts_were_written(etcd, env, written):
    writer, leader = EtcdCatalog(etcd, env), EtcdCatalog(etcd, env)
    ask, calls = etcd.transaction, []

    def tidied(*args):
        answer = ask(*args)
        calls.append(args)
        if len(calls) == written:
            leader.settle()
        return answer

    etcd.transaction = tidied
    try:
        writer.commit(MANY)
    finally:
        etcd.transaction = ask
    assert dict(EtcdCatalog(etcd, env).scan()) == MANY
    leader.commit({"new": b"1"})
    assert leader.get("new") == b"1"


def test_a_commit_whose_reply_is_lost_is_done_once(catalog, etcd):
    catalog.commit({"n": b"0"})
    ask, lose = etcd.transaction, deque([True])

    def lossy(*args):
        answer = ask(*args)
        if lose and lose.popleft():
            return ask(*args)  # as a client does that got no reply
        return answer

    etcd.transaction = lossy
    catalog.commit({"n": b"1"}, expect={"n": b"0"})
    etcd.transaction = ask
    assert catalog.get("n") == b"1"


def test_a_commit_whose_reply_is_lost_is_done_once_when_others_commit_meanwhile(etcd, env):
    first, second = EtcdCatalog(etcd, env), EtcdCatalog(etcd, env)
    first.commit({"n": b"0"})
    ask, lose = etcd.transaction, deque([True, True])

    def lossy(*args):
        answer = ask(*args)
        if lose and answer.succeeded and args[0] and lose.popleft():
            etcd.transaction = ask
            second.commit({"n": b"2"})
            return ask(*args)  # as a client does that got no reply
        return answer

    etcd.transaction = lossy
    first.commit({"n": b"1"})
    assert first.get("n") == b"2"
    etcd.transaction = lossy
    first.commit({"new": b"1"}, expect={"new": None})
    assert first.get("new") == b"1"


def test_a_commit_that_failed_cannot_happen_later(catalog, etcd, env):
    catalog.commit({"n": b"0"})
    ask, late = etcd.transaction, []

    def delayed(*args):
        late.append(args)
        raise Unavailable("no reply")

    etcd.transaction = delayed
    with pytest.raises(Unavailable):
        catalog.commit({"n": b"late"})
    etcd.transaction = ask
    assert catalog.get("n") == b"0"
    assert not ask(*late[0]).succeeded
    assert catalog.get("n") == b"0"


def test_writers_at_once_lose_nothing(etcd, env):
    catalogs = [EtcdCatalog(etcd, env) for _ in range(3)]
    catalogs[0].commit({"count": b"0"})

    def count(catalog):
        done = 0
        while done < 10:
            value = catalog.get("count")
            try:
                catalog.commit({"count": str(int(value) + 1).encode()}, expect={"count": value})
                done += 1
            except Conflict:
                continue

    threads = [threading.Thread(target=count, args=(catalog,)) for catalog in catalogs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalogs[0].get("count") == b"30"


def test_whoever_leads_no_more_commits_nothing(etcd, env):
    coordination = EtcdCoordination(etcd, env)
    first, second = coordination.lease(5), coordination.lease(5)
    term = coordination.claim("leader", b"one", first)
    assert term is not None
    assert coordination.claim("leader", b"two", second) is None
    assert coordination.claim("leader", b"one", first) == term
    old = EtcdCatalog(etcd, env, Fence(coordination.key("leader"), term))
    old.commit({"a": b"1"})
    first.close()
    later = coordination.claim("leader", b"two", second)
    assert later is not None
    assert later > term
    for commit in ({"a": b"2"}, MANY):
        with pytest.raises(Fenced):
            old.commit(commit)
    EtcdCatalog(etcd, env, Fence(coordination.key("leader"), later)).commit({"b": b"2"})
    assert old.scan() == [("a", b"1"), ("b", b"2")]
    second.close()


def test_a_value_that_etcd_cannot_take_is_refused_by_name(catalog):
    noise = random.Random(1).randbytes(2_000_000)
    with pytest.raises(StorageError, match="'big' has 200"):
        catalog.commit({"small": b"1", "big": noise})
    assert catalog.scan() == []


def test_a_large_value_that_says_little_is_kept_small_and_read_as_it_was(catalog, etcd):
    image = b'{"segment_id": 470630619451673279, "rows": 100000}' * 100_000
    wrapped = etcd_catalog._COMPRESSED + b"no zlib at all"
    catalog.commit({"image": image, "wrapped": wrapped, "small": b"1"})
    assert catalog.get("image") == image
    assert dict(catalog.scan()) == {"image": image, "wrapped": wrapped, "small": b"1"}
    (kept,) = etcd.transaction([], [etcd.range(catalog.data + b"image")]).responses[0].response_range.kvs
    assert len(kept.value) < 1 << 20
    catalog.commit({"image": b"2"}, expect={"image": image, "wrapped": wrapped})
    with pytest.raises(Conflict):
        catalog.commit({"image": b"3"}, expect={"image": image})
    assert catalog.get("image") == b"2"


def test_a_scan_of_many_pages_is_one_state(etcd, env, catalog):
    pairs = {f"k/{number:05d}": bytes(8) for number in range(2_500)}
    catalog.commit(pairs)
    assert dict(catalog.scan("k/")) == pairs


def test_an_endpoint_that_is_down_is_passed_over(server, env):
    (nobody,) = free_ports(1)
    settings = EtcdSettings(endpoints=(f"127.0.0.1:{nobody}", server.endpoint), root="over/", timeout_seconds=5)
    etcd = Etcd(settings, env.clock)
    EtcdCatalog(etcd, env).commit({"a": b"1"})
    assert EtcdCatalog(etcd, env).get("a") == b"1"
    etcd.close()
    with pytest.raises(Unavailable):
        EtcdCatalog(etcd, env).get("a")


def test_nobody_there_is_told_with_the_endpoint_in_time(env):
    (nobody,) = free_ports(1)
    pytest.importorskip("aetcd")
    etcd = Etcd(EtcdSettings(endpoints=(f"127.0.0.1:{nobody}",), timeout_seconds=0.5), env.clock)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=str(nobody)):
        EtcdCatalog(etcd, env).get("a")
    assert time.monotonic() - began < 30
    etcd.close()


@pytest.mark.parametrize("wrong", ["localhost", "http://localhost:2379", "localhost:0", ":1", ""])
def test_an_endpoint_that_is_none_is_refused(wrong):
    with pytest.raises(InvalidParameter, match="host:port"):
        EtcdSettings(endpoints=(wrong,))


def test_who_watches_sees_members_come_and_go(etcd, env):
    coordination = EtcdCoordination(etcd, env)
    told = []
    watched = coordination.watch("nodes/", lambda present: told.append(dict(present)))
    eventually(lambda: told == [{}])
    lease = coordination.lease(5)
    coordination.put("nodes/1", b"here", lease)
    eventually(lambda: told[-1] == {"nodes/1": b"here"})
    assert coordination.present("nodes/") == {"nodes/1": b"here"}
    lease.close()
    assert not lease.is_held
    eventually(lambda: told[-1] == {})
    watched.close()
    count = len(told)
    other = coordination.lease(5)
    coordination.put("nodes/2", b"here", other)
    other.close()
    assert len(told) == count


def test_a_watch_goes_on_behind_what_was_compacted_and_across_a_restart(tmp_path, env):
    with etcd_server(tmp_path) as server:
        etcd = Etcd(EtcdSettings(endpoints=(server.endpoint,), timeout_seconds=10), env.clock)
        catalog = EtcdCatalog(etcd, env)
        catalog.commit({"a": b"1"})
        for number in range(5):
            catalog.commit({"a": str(number).encode()})
        revision = etcd.transaction([], []).header.revision
        etcd.call("KV", "Compact", etcd.messages.CompactionRequest(revision=revision))
        with pytest.raises(Compacted):
            list(etcd.watch(catalog.data, after_prefix(catalog.data), 1))
        seen: list[bytes | None] = []

        def follow():
            for _, events in etcd.watch(catalog.data, after_prefix(catalog.data), revision + 1):
                seen.extend(event.value for event in events)

        thread = threading.Thread(target=follow)
        thread.start()
        catalog.commit({"a": b"before"})
        eventually(lambda: seen == [b"before"])
        server.kill()
        server.start()
        catalog.commit({"a": b"after"})
        catalog.commit({}, deletes=["a"])
        eventually(lambda: seen == [b"before", b"after", None])
        etcd.close()
        thread.join(60)
        assert not thread.is_alive()


def test_a_watch_leaves_no_threads_behind_where_it_was_cut_off(tmp_path, env):
    with etcd_server(tmp_path) as server:
        etcd = Etcd(EtcdSettings(endpoints=(server.endpoint,)), env.clock)
        present, before = [], threading.active_count()
        watched = EtcdCoordination(etcd, env).watch("a/", present.append)
        counts = []
        for number in range(3):
            put = etcd.put(EtcdCoordination(etcd, env).key("a/b"), b"%d" % number)
            etcd.transaction([], [put])
            eventually(lambda number=number: present and present[-1] == {"a/b": b"%d" % number})
            eventually(lambda: etcd._watches)
            counts.append(threading.active_count())
            server.kill()
            time.sleep(0.3)
            server.start()
        assert max(counts) <= counts[0] + 1
        watched.close()
        etcd.close()
        eventually(lambda: threading.active_count() <= before)


def test_a_watch_survives_what_it_tells_and_tells_nothing_when_it_is_closed(etcd, env):
    coordination, told, go_on = EtcdCoordination(etcd, env), [], threading.Event()

    def tell(present):
        told.append(present)
        if len(told) == 1:
            raise ValueError("no")
        go_on.wait(1)
        told.append("done")

    watched = coordination.watch("a/", tell)
    eventually(lambda: len(told) == 1)
    etcd.transaction([], [etcd.put(coordination.key("a/b"), b"1")])
    eventually(lambda: len(told) == 2)
    watched.close()
    assert told == [{}, {"a/b": b"1"}, "done"]


def test_a_password_is_not_in_what_settings_look_like():
    assert "secret" not in repr(EtcdSettings(user="root", password="very secret"))


def test_a_lease_that_cannot_be_renewed_is_known_to_be_lost_before_somebody_else_gets_the_key(tmp_path, env):
    with etcd_server(tmp_path) as server:
        etcd = Etcd(EtcdSettings(endpoints=(server.endpoint,), timeout_seconds=2), env.clock)
        coordination = EtcdCoordination(etcd, env)
        lease = coordination.lease(2)
        coordination.claim("leader", b"me", lease)
        lost = threading.Event()
        lease.when_lost(lost.set)
        time.sleep(lease.seconds * 1.5)
        assert lease.is_held  # it is renewed
        server.pause()
        eventually(lambda: not lease.is_held)
        assert lost.wait(30)
        server.go_on()
        other = coordination.lease(2)
        eventually(lambda: coordination.claim("leader", b"other", other) is not None)
        again = threading.Event()
        lease.when_lost(again.set)
        assert again.is_set()
        other.close()
        etcd.close()


def test_etcd_with_users_takes_the_right_password_only(tmp_path, env):
    with etcd_server(tmp_path) as server:
        plain = Etcd(EtcdSettings(endpoints=(server.endpoint,), timeout_seconds=5), env.clock)
        kinds = plain.messages
        plain.call("Auth", "UserAdd", kinds.AuthUserAddRequest(name="root", password="right"))
        plain.call("Auth", "RoleAdd", kinds.AuthRoleAddRequest(name="root"))
        plain.call("Auth", "UserGrantRole", kinds.AuthUserGrantRoleRequest(user="root", role="root"))
        plain.call("Auth", "AuthEnable", kinds.AuthEnableRequest())
        for user, password in (("", ""), ("root", "wrong")):
            settings = EtcdSettings(endpoints=(server.endpoint,), user=user, password=password, timeout_seconds=2)
            stranger = Etcd(settings, env.clock)
            with pytest.raises((NotAuthenticated, StorageError)) as refused:
                EtcdCatalog(stranger, env).commit({"a": b"1"})
            assert not isinstance(refused.value, Unavailable)
            stranger.close()
        # gRPC may wait for seconds before it tries a server again that was away.
        settings = EtcdSettings(endpoints=(server.endpoint,), user="root", password="right", timeout_seconds=60)
        known = Etcd(settings, env.clock)
        EtcdCatalog(known, env).commit({"a": b"1"})
        server.kill()
        server.start()  # tokens are forgotten
        assert EtcdCatalog(known, env).get("a") == b"1"
        known.close()
        plain.close()


def test_a_call_on_a_closed_connection_says_so(etcd, catalog):
    etcd.close()
    with pytest.raises(MilvusException):
        catalog.get("a")
