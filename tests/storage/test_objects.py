"""Objects in a folder, real and simulated."""

from __future__ import annotations

import contextlib
import random
import threading
import zlib

import pytest

from redkite.env import Env
from redkite.errors import Conflict, DiskLimitExceeded, InvalidParameter, ObjectNotFound, StorageError
from redkite.simulated import SimulatedCrash, SimulatedDisk, simulated_env
from redkite.storage.objects import FolderObjects


@pytest.fixture(params=["real", "simulated"])
def store(request, tmp_path):
    if request.param == "real":
        return FolderObjects(Env.real().files, str(tmp_path / "objects"))
    return FolderObjects(simulated_env(1).files, "/objects")


def test_what_is_put_is_got_in_every_way(store):
    info = store.put("a/b/c", [b"one", memoryview(b"two"), b""])
    assert (info.size, info.crc32) == (6, zlib.crc32(b"onetwo"))
    assert store.get("a/b/c") == b"onetwo"
    assert bytes(store.map("a/b/c")) == b"onetwo"
    assert store.map("a/b/c").readonly
    assert store.size("a/b/c") == 6
    assert store.info("a/b/c") == info
    assert store.exists("a/b/c")
    store.put("a/b/c", [b"replaced"])
    assert store.get("a/b/c") == b"replaced"
    store.put("empty", [])
    assert (store.get("empty"), bytes(store.map("empty"))) == (b"", b"")


def test_a_mapped_object_outlives_its_deletion(store):
    store.put("x", [b"still here" * 1000])
    view = store.map("x")
    store.delete("x")
    assert bytes(view) == b"still here" * 1000
    assert not store.exists("x")
    store.delete("x")


def test_native_code_may_open_a_real_file_only(tmp_path):
    real = FolderObjects(Env.real().files, str(tmp_path))
    real.put("a/b", [b"x"])
    path = real.local_path("a/b")
    assert path is not None
    with open(path, "rb") as file:
        assert file.read() == b"x"
    assert FolderObjects(simulated_env(1).files, "/o").local_path("a/b") is None


def test_listing_is_by_prefix_sorted_and_whole(store):
    for name in ("b", "a/2", "a/1/x", "ab", "a/1/y", "c/d/e/f"):
        store.put(name, [b"."])
    assert store.list() == ["a/1/x", "a/1/y", "a/2", "ab", "b", "c/d/e/f"]
    assert store.list("a") == ["a/1/x", "a/1/y", "a/2", "ab"]
    assert store.list("a/") == ["a/1/x", "a/1/y", "a/2"]
    assert store.list("a/1") == ["a/1/x", "a/1/y"]
    assert store.list("nothing/") == []
    store.delete_prefix("a/1/")
    assert store.list() == ["a/2", "ab", "b", "c/d/e/f"]
    store.delete_prefix("a")
    assert store.list() == ["b", "c/d/e/f"]
    store.put("a/1/x", [b"again"])
    store.delete_prefix("")
    assert store.list() == []


def test_a_missing_object_is_named(store):
    for read in (store.get, store.map, store.size, store.info):
        with pytest.raises(ObjectNotFound, match="no/such"):
            read("no/such")


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "..", "a/../b", "a/.b", ".tmp/x", "a\0b", "x" * 1025])
def test_a_name_that_leads_elsewhere_is_refused(store, name):
    with pytest.raises(InvalidParameter):
        store.put(name, [b"x"])
    with pytest.raises(InvalidParameter):
        store.get(name)


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", ".tmp"])
def test_a_prefix_that_leads_elsewhere_is_refused(store, prefix):
    with pytest.raises(InvalidParameter):
        store.delete_prefix(prefix)


def test_a_conditional_put_writes_only_over_what_it_expects(store):
    first = store.put_if("m", [b"1"], None)
    with pytest.raises(Conflict, match="'m'"):
        store.put_if("m", [b"2"], None)
    second = store.put_if("m", [b"22"], first.etag)
    with pytest.raises(Conflict):
        store.put_if("m", [b"3"], first.etag)
    store.put_if("m", [b"4"], second.etag)
    assert store.get("m") == b"4"


def test_an_object_that_many_processes_want_to_make_is_made_by_one(tmp_path):
    """Each with a store of its own over the folder."""
    stores = [FolderObjects(Env.real().files, str(tmp_path), writer=str(number)) for number in range(4)]
    at_once = threading.Barrier(len(stores))

    def work(number: int, name: str, won: list[int]) -> None:
        at_once.wait(20)
        with contextlib.suppress(Conflict):
            stores[number].put_if(name, [str(number).encode()], None)
            won.append(number)

    for turn in range(20):
        won: list[int] = []
        workers = [threading.Thread(target=work, args=(number, f"mark{turn}", won)) for number in range(len(stores))]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(20)
        assert len(won) == 1
        assert stores[0].get(f"mark{turn}") == str(won[0]).encode()
    assert sorted(stores[0].list()) == sorted(f"mark{turn}" for turn in range(20))
    assert not list(tmp_path.glob(".tmp/*/*")), "what was written for nothing is gone"


def test_a_disk_without_links_still_has_conditional_puts(tmp_path, monkeypatch):
    store = FolderObjects(Env.real().files, str(tmp_path))
    monkeypatch.setattr(store._files, "link", lambda *_: False)
    store.put_if("m", [b"1"], None)
    with pytest.raises(Conflict):
        store.put_if("m", [b"2"], None)
    assert store.get("m") == b"1"


def test_one_of_many_conditional_puts_wins(tmp_path):
    store = FolderObjects(Env.real().files, str(tmp_path))
    won = []

    def work(number: int) -> None:
        with contextlib.suppress(Conflict):
            store.put_if("m", [b"%d" % number], None)
            won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("m") == b"%d" % won[0]


def test_an_object_is_whole_or_absent_whichever_operation_the_power_is_cut_at():
    def work(disk: SimulatedDisk, acked: dict[str, bytes]) -> None:
        store = FolderObjects(simulated_env(1, disk).files, "/objects")
        for name, data in (("a/b", b"1" * 700), ("a/c", b"2" * 2000), ("a/b", b"3" * 900)):
            store.put(name, [data[:100], data[100:]])
            acked[name] = data

    disk = SimulatedDisk(1)
    work(disk, {})
    for operation in range(1, disk.operations + 1):
        for loss in range(10):
            disk = SimulatedDisk(1)
            disk.crash_at(operation)
            acked: dict[str, bytes] = {}
            with pytest.raises(SimulatedCrash):
                work(disk, acked)
            disk.restart(random.Random(loss))
            files = simulated_env(1, disk).files
            store = FolderObjects(files, "/objects")
            assert files.walk("/objects/.tmp") == []
            found = {name: store.get(name) for name in store.list()}
            assert found.keys() >= acked.keys()
            for name, data in found.items():
                assert data in ([b"1" * 700, b"3" * 900] if name == "a/b" else [b"2" * 2000])
            if "a/c" in acked:
                assert acked["a/b"] == b"1" * 700 or found["a/b"] == b"3" * 900


@pytest.mark.parametrize("kind", ["eio", "enospc", "short"])
def test_a_failed_put_leaves_the_old_object_and_no_rubbish(kind):
    for offset in range(1, 5):
        env = simulated_env(1)
        store = FolderObjects(env.files, "/objects")
        store.put("a", [b"old"])
        env.disk.fail_at(env.disk.operations + offset, kind)
        with contextlib.suppress(StorageError, DiskLimitExceeded):
            store.put("a", [b"new" * 500])
        assert store.get("a") in (b"old", b"new" * 500)
        assert env.files.walk("/objects/.tmp") == []
