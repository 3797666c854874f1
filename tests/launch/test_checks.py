"""What keeps a node from starting, and what is told while it runs."""

from __future__ import annotations

import datetime as dt
import os
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.launch.authority import DAY, Authority

from redkite.cluster.backends import MemoryBackends, MemoryWorld
from redkite.cluster.config import ClusterConfig, TlsFiles
from redkite.env import Env
from redkite.errors import DiskLimitExceeded, InvalidParameter, MilvusException, StorageError
from redkite.launch import checks, node
from redkite.launch.checks import Watch, before_start, disk_reasons, folders_of, same_log, same_store
from redkite.node.counted_objects import CountedObjects
from redkite.simulated import simulated_env
from redkite.storage.memory_broker import MemoryBroker

Usage = namedtuple("Usage", "total used free")
FULL = Usage(100 << 30, (100 << 30) - (10 << 20), 10 << 20)


def config(folder: Path, tls: TlsFiles | None = None) -> ClusterConfig:
    return ClusterConfig(state=str(folder / "state"), objects=str(folder / "objects"), tls=tls)


def test_a_host_with_room_and_sound_files_is_fit_for_every_role(tmp_path: Path) -> None:
    tls = Authority(tmp_path).issue("node")
    for role in ("coordinator", "streaming", "query", "data", "proxy"):
        before_start(config(tmp_path, tls), role)


def test_a_full_disk_is_an_error_that_names_the_setting_and_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: FULL)
    with pytest.raises(DiskLimitExceeded, match=r"the disk of state = '.*/state' is full: 10 MB are free.*make room"):
        before_start(config(tmp_path), "query")


def test_a_disk_that_fills_up_is_told_while_a_node_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: FULL)
    assert disk_reasons({"cache_path": "/cache"}) == (
        "the disk of cache_path = '/cache' is nearly full: 10 MB are free",
    )


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StorageError, match=r"state = '.*/state' cannot be made"):
        before_start(config(tmp_path), "proxy")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="cannot be written to by this user"):
        before_start(config(tmp_path), "proxy")


@pytest.mark.parametrize(("begins", "ends"), [(-30 * DAY, -DAY), (5 * DAY, 9 * DAY)])
def test_certificates_that_are_not_valid_now_are_an_error_at_the_start(
    begins: dt.timedelta, ends: dt.timedelta, tmp_path: Path
) -> None:
    files = Authority(tmp_path).issue("node", begins=begins, ends=ends)
    with pytest.raises(InvalidParameter, match=r"certificate (has expired|is not yet valid)"):
        before_start(config(tmp_path, files), "proxy")


def test_nodes_that_read_objects_keep_copies_and_proxies_touch_none(tmp_path: Path) -> None:
    far = ClusterConfig(objects="s3://bucket")
    for role in ("query", "streaming"):
        assert set(folders_of(far, role)) == {"state", "cache_path"}
        assert set(folders_of(config(tmp_path), role)) == {"state", "objects"}, "a folder is read where it is"
    for role in ("proxy", "coordinator", "data"):
        assert set(folders_of(far, role)) == {"state"}
    assert set(folders_of(config(tmp_path), "proxy")) == {"state"}


def test_parts_that_stop_answering_are_told_while_a_node_runs(tmp_path: Path) -> None:
    env = Env.real()
    world = MemoryWorld(env)
    backends = MemoryBackends(world, env, "node")
    (tmp_path / "state").mkdir()
    watch = Watch(env, config(tmp_path), "proxy", backends, lambda: ("the certificate expires in 2.0 days",))
    watch.look()
    assert watch.reasons() == ("the certificate expires in 2.0 days",)
    backends.cut()
    watch.look()
    assert [reason.partition(":")[0] for reason in watch.reasons()][:2] == ["etcd", "the log"]
    watch.close()
    backends.close()
    world.close()


def test_etcd_that_nobody_runs_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aetcd")
    monkeypatch.setattr("redkite.cluster.backends._ETCD_SECONDS", 0.3)
    unreachable = ClusterConfig(etcd=("127.0.0.1:1",), state=str(tmp_path), objects=str(tmp_path))
    with pytest.raises(MilvusException, match=r"etcd at 127\.0\.0\.1:1 cannot be reached"):
        node.Node(unreachable, "proxy")


def test_a_node_with_another_store_of_objects_than_the_others_does_not_start() -> None:
    env = simulated_env(1)
    world, other = MemoryWorld(env, "/objects"), MemoryWorld(env, "/elsewhere")
    etcd, other.shared = other.shared, world.shared
    etcd.close()
    right, wrong = ClusterConfig(objects="/objects"), ClusterConfig(objects="/elsewhere")
    for _ in range(2):
        same_store(right, world.backends(env))
    with pytest.raises(StorageError, match=r"objects = '/elsewhere' is not where .*'cluster-mark' is not there"):
        same_store(wrong, other.backends(env))
    other.backends(env).objects().put("cluster-mark", [b"of another"])
    with pytest.raises(StorageError, match="is that of another cluster; set objects as the other nodes have it"):
        same_store(wrong, other.backends(env))
    same_store(right, world.backends(env))
    world.close()


def test_a_node_with_another_etcd_than_the_others_does_not_sweep_their_objects_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "_SEEN_SECONDS", 0.1)
    env = simulated_env(1)
    right, wrong = MemoryWorld(env), MemoryWorld(env)
    same_store(ClusterConfig(), right.backends(env))
    lost = ClusterConfig(etcd=("elsewhere:2379",), objects="/objects")
    with pytest.raises(StorageError, match=r"etcd at elsewhere:2379 does not know.* delete its object 'cluster-mark'"):
        same_store(lost, wrong.backends(env))
    same_store(ClusterConfig(), right.backends(env))
    wrong.backends(env).objects().delete("cluster-mark")
    for _ in range(2):
        same_store(lost, wrong.backends(env))
    right.close()
    wrong.close()


def test_a_node_with_another_log_than_the_others_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_SEEN_SECONDS", 0.1)
    env = simulated_env(1)
    world, other = MemoryWorld(env), MemoryWorld(env)
    etcd, other.shared = other.shared, world.shared
    etcd.close()
    for _ in range(2):
        same_log(ClusterConfig(), world.backends(env))
    with pytest.raises(StorageError, match=r"log = 'kafka://elsewhere:9092' is not .* 'cluster-mark-\w+' is not there"):
        same_log(ClusterConfig(log="kafka://elsewhere:9092"), other.backends(env))
    assert len(world.log.topics) == 1
    assert not other.log.topics
    world.close()


@pytest.mark.parametrize(
    ("check", "owner", "mark"), [(same_store, CountedObjects, "put_if"), (same_log, MemoryBroker, "create")]
)
def test_of_two_nodes_that_are_the_first_one_marks_for_both(
    monkeypatch: pytest.MonkeyPatch, check: Callable[..., None], owner: type, mark: str
) -> None:
    env = simulated_env(1)
    world = MemoryWorld(env)
    slow, quick = (world.backends(env, name) for name in ("slow", "quick"))
    marking = getattr(owner, mark)

    def overtaken(*given: Any) -> Any:
        monkeypatch.undo()
        check(ClusterConfig(), quick)
        return marking(*given)

    monkeypatch.setattr(owner, mark, overtaken)
    check(ClusterConfig(), slow)
    check(ClusterConfig(), quick)
    assert len(world.log.topics) == (check is same_log)
    world.close()
