"""The catalog: both kinds keep the same promises."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.brokers import etcd_server

from redkite.env import Env
from redkite.errors import Conflict, Corruption, StorageError
from redkite.realenv import RealFiles
from redkite.simulated import SimulatedCrash, simulated_env
from redkite.storage.catalog import MemoryCatalog, open_catalog
from redkite.storage.catalog_state import CatalogState
from redkite.storage.etcd import Etcd, EtcdSettings
from redkite.storage.etcd_catalog import EtcdCatalog
from redkite.storage.sqlite_catalog import SqliteCatalog


@pytest.fixture(params=["sqlite", "memory", "etcd"])
def catalog(request, tmp_path):
    if request.param == "etcd":
        with etcd_server(tmp_path) as server:
            etcd = Etcd(EtcdSettings(endpoints=(server.endpoint,)), Env.real().clock)
            yield EtcdCatalog(etcd, Env.real())
            etcd.close()
        return
    made = SqliteCatalog(str(tmp_path / "catalog.db")) if request.param == "sqlite" else MemoryCatalog()
    yield made
    made.close()


def test_a_commit_puts_and_deletes_together(catalog):
    catalog.commit({"a/1": b"one", "a/2": b"two", "b": b""})
    assert catalog.get("a/1") == b"one"
    assert catalog.get("b") == b""
    assert catalog.get("c") is None
    catalog.commit({"a/3": b"three"}, deletes=["a/1", "never there"])
    assert catalog.scan("a/") == [("a/2", b"two"), ("a/3", b"three")]
    assert [key for key, _ in catalog.scan()] == ["a/2", "a/3", "b"]


def test_a_commit_whose_expectation_fails_changes_nothing(catalog):
    catalog.commit({"a": b"1", "b": b"2"})
    for expect in ({"a": b"other"}, {"a": None}, {"missing": b"x"}, {"b": b"2", "a": b"2"}):
        with pytest.raises(Conflict):
            catalog.commit({"a": b"9", "c": b"9"}, deletes=["b"], expect=expect)
    assert catalog.scan() == [("a", b"1"), ("b", b"2")]
    catalog.commit({"c": b"3"}, expect={"a": b"1", "new": None})
    assert catalog.get("c") == b"3"


def test_a_key_both_put_and_deleted_is_refused(catalog):
    with pytest.raises(ValueError, match="'a'"):
        catalog.commit({"a": b"1"}, deletes=["a"])


keys = st.text(st.sampled_from("ab/\ud7ff\ue000\U0010ffff\x00"), max_size=4)


@given(data=st.dictionaries(keys, st.binary(max_size=5), max_size=12), prefix=keys)
def test_a_scan_gives_the_keys_with_the_prefix_in_order(tmp_path_factory, data, prefix):
    expected = sorted((key, value) for key, value in data.items() if key.startswith(prefix))
    for catalog in (MemoryCatalog(), SqliteCatalog(":memory:")):
        catalog.commit(data)
        assert catalog.scan(prefix) == expected
        assert all(catalog.get(key) == value for key, value in data.items())
        catalog.close()


def test_one_of_many_threads_wins_an_expectation(catalog):
    won = []

    def work(number: int) -> None:
        try:
            catalog.commit({"leader": b"%d" % number}, expect={"leader": None})
        except Conflict:
            return
        won.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert catalog.get("leader") == b"%d" % won[0]


def test_what_was_committed_is_there_after_reopening(tmp_path):
    path = str(tmp_path / "catalog.db")
    catalog = SqliteCatalog(path)
    catalog.commit({"a": b"1"})
    catalog.close()
    catalog.close()
    with pytest.raises(StorageError, match="closed"):
        catalog.get("a")
    again = open_catalog(Env.real().files, path)
    assert again.scan() == [("a", b"1")]
    again.close()


def test_a_new_catalog_gets_its_name_when_it_is_durable(tmp_path, monkeypatch):
    files, path = RealFiles(), str(tmp_path / "catalog")
    (tmp_path / "catalog.new").write_bytes(b"half of one that was being made when the power went")
    steps: list[str] = []

    def renamed(old: str, new: str) -> None:
        steps.append("renamed")
        shutil.copy(old, tmp_path / "durable")
        os.replace(old, new)

    monkeypatch.setattr("redkite.realenv._datasync", lambda fd: (os.fsync(fd), steps.append("synced")))
    monkeypatch.setattr(files, "rename", renamed)
    made = open_catalog(files, path)
    assert steps == ["synced", "renamed"]
    made.commit({"a": b"1"})
    made.close()
    assert sorted(os.listdir(tmp_path)) == ["catalog", "catalog-commits", "durable"]
    for name, entries in (("durable", []), ("catalog", [("a", b"1")])):
        again = SqliteCatalog(str(tmp_path / name))
        assert again.scan() == entries
        again.close()


def test_a_catalog_that_is_gone_is_not_replaced_beside_its_log(tmp_path):
    files, path = Env.real().files, str(tmp_path / "catalog")
    lost = open_catalog(files, path)
    lost.commit({"a": b"1"})
    for name in os.listdir(tmp_path):
        shutil.copy(tmp_path / name, tmp_path / f"old-{name}")
    os.remove(tmp_path / "old-catalog")
    with pytest.raises(Corruption, match="newest commits are missing"):
        open_catalog(files, str(tmp_path / "old-catalog"))
    lost.close()


def test_a_simulated_catalog_survives_the_crash_of_its_process():
    env = simulated_env(1)
    catalog = open_catalog(env.files, "/data/catalog")
    catalog.commit({"a": b"1"})
    env.disk.crash_at(env.disk.operations + 1)
    with pytest.raises(SimulatedCrash):
        catalog.commit({"a": b"2", "b": b"2"})
    with pytest.raises(SimulatedCrash):
        catalog.commit({"c": b"3"})
    env.disk.restart(random.Random(1))
    again = open_catalog(simulated_env(2, env.disk).files, "/data/catalog")
    assert again.scan() == [("a", b"1")]
    env.disk.fail_at(env.disk.operations + 1, "eio")
    with pytest.raises(StorageError):
        again.commit({"a": b"3"})
    assert again.get("a") == b"1"
    assert open_catalog(env.files, "/data/other").scan() == []


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    path = str(tmp_path / "catalog.db")
    SqliteCatalog(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
        newer = msgspec.structs.replace(CatalogState(), format=99).to_bytes()
        raw.execute("UPDATE state SET value = ?", (newer,))
    with pytest.raises(StorageError, match="format 99, written by a newer Redkite"):
        SqliteCatalog(path)


def test_a_damaged_value_is_corruption_and_names_its_key(tmp_path):
    path = str(tmp_path / "catalog.db")
    catalog = SqliteCatalog(path)
    catalog.commit({"a": b"hello", "b": b"fine"})
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE entries SET value = CAST(replace(value, 'hello', 'jello') AS BLOB) WHERE key = 'a'")
    with pytest.raises(Corruption, match="'a'"):
        catalog.get("a")
    with pytest.raises(Corruption):
        catalog.scan()
    assert catalog.get("b") == b"fine"
    catalog.close()


def test_a_file_that_is_no_catalog_is_corruption(tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"this is not a database" * 500)
    with pytest.raises(Corruption, match=r"catalog\.db"):
        SqliteCatalog(str(path))


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="missing"):
        SqliteCatalog(str(tmp_path / "missing" / "catalog.db"))


def test_a_forked_child_is_refused(tmp_path):
    catalog = SqliteCatalog(str(tmp_path / "catalog.db"))
    child = os.fork()
    if child == 0:
        try:
            catalog.get("a")
        except StorageError as error:
            os._exit(0 if "forked" in error.message else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    catalog.commit({"a": b"1"})
    catalog.close()
