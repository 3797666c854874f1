"""Objects in a store that speaks S3, over connections that break; and a node's cache before it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.objects import PlayedStore, played_store

from redkite.cluster.caching import node_store
from redkite.cluster.config import ClusterConfig
from redkite.env import Env
from redkite.errors import Conflict, Corruption, MilvusException, StorageError
from redkite.storage import remote_objects
from redkite.storage.cached_objects import CachedObjects
from redkite.storage.objects import FolderObjects
from redkite.storage.remote_objects import RemoteObjects, open_remote


class Wire:
    """A way to a server, which can be cut: at once, or after so many bytes of each answer."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_after: int | None = None
        self.cuts = 0
        self.most_cuts = 1 << 30
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.cut_after == 0 and self._may_cut():
            client.close()
            return
        server = socket.create_connection(self._target)
        self._open |= {client, server}
        threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
        self._copy(server, client, True)

    def _may_cut(self) -> bool:
        if self.cuts >= self.most_cuts:
            return False
        self.cuts += 1
        return True

    def _copy(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        passed = 0
        try:
            while data := source.recv(1 << 16):
                limit = self.cut_after
                if counted and limit is not None and passed + len(data) > limit and self._may_cut():
                    target.sendall(data[: limit - passed])
                    break
                target.sendall(data)
                passed += len(data)
        except OSError:
            pass
        for end in (source, target):
            _end(end)

    def close(self) -> None:
        for one in (self._listener, *self._open):
            _end(one)


def _end(one: socket.socket) -> None:
    """Also for who waits for it in another thread."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@pytest.fixture(scope="module")
def store() -> Iterator[PlayedStore]:
    with played_store() as played:
        yield played


@pytest.fixture
def wire(store: PlayedStore) -> Iterator[Wire]:
    made = Wire(store.host, store.port)
    yield made
    made.close()


@pytest.fixture
def url(store: PlayedStore, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> str:
    bucket = store.bucket_of(monkeypatch)
    return f"s3://{bucket}/cluster?endpoint=http://127.0.0.1:{wire.port}&region=us-east-1"


@pytest.fixture
def far(url: str) -> RemoteObjects:
    return open_remote(url)


def big(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


def test_one_of_many_who_put_on_a_condition_wins(far: RemoteObjects) -> None:
    def put(number: int) -> str:
        try:
            return far.put_if("leader", [str(number).encode()], None).etag
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        etags = [etag for etag in pool.map(put, range(16)) if etag]
    assert len(etags) == 1
    first = far.get("leader")
    second = far.put_if("leader", [b"next"], etags[0])
    with pytest.raises(Conflict):
        far.put_if("leader", [first], etags[0])
    far.put_if("leader", [b"last"], second.etag)
    assert far.get("leader") == b"last"


def test_a_connection_that_is_cut_is_made_again(far: RemoteObjects, wire: Wire) -> None:
    far.put("a", [b"x" * 1000])
    wire.cut_after, wire.most_cuts = 0, 2
    far.put("b", [b"y" * 1000])
    assert far.get("a") == b"x" * 1000
    assert far.get("b") == b"y" * 1000


def test_an_answer_that_is_cut_short_is_an_error_or_whole_never_a_part(far: RemoteObjects, wire: Wire) -> None:
    data = big(3_000_000)
    far.put("a", [data])
    wire.cut_after, wire.most_cuts = 100_000, 3
    try:
        assert far.get("a") == data
    except StorageError as error:
        assert "'" in error.message
    wire.cut_after = None
    assert far.get("a") == data


def test_a_cache_holds_nothing_of_an_object_that_did_not_come_whole(
    far: RemoteObjects, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_objects, "_RETRIES", {"max_retries": 0})
    data = big(20_000_000)
    info = far.put("rows.arrow", [data])
    cache = CachedObjects(far, Env.real(), str(tmp_path), 1 << 30)
    wire.cut_after = 5_000_000
    try:
        cache.verify("rows.arrow", info.size, info.crc32)
    except MilvusException:
        assert cache.figures().objects == 0
        assert not list(tmp_path.rglob("tmp/*"))
    wire.cut_after = None
    cache.verify("rows.arrow", info.size, info.crc32)
    assert bytes(cache.map("rows.arrow")) == data
    assert cache.figures().objects == 1
    with pytest.raises(Corruption):
        cache.verify("rows.arrow", info.size, info.crc32 ^ 1)
    cache.close()


def test_a_store_that_is_gone_is_told_and_what_is_here_is_still_read(url: str, wire: Wire, tmp_path: Path) -> None:
    config = ClusterConfig(objects=url, cache_path=str(tmp_path), cache_bytes=64 << 20)
    store, cache = node_store(config, Env.real(), open_remote(url))
    assert cache is not None
    store.put("a", [b"1" * 1000])
    far_only = open_remote(url)
    far_only.put("b", [b"2" * 1000])
    wire.close()
    assert store.get("a") == b"1" * 1000
    with pytest.raises(StorageError, match="s3://bucket"):
        _without_retries(url).size("b")
    cache.close()


def _without_retries(url: str) -> RemoteObjects:
    before = remote_objects._RETRIES
    remote_objects._RETRIES = {"max_retries": 0}
    try:
        return open_remote(url)
    finally:
        remote_objects._RETRIES = before


def test_a_folder_is_read_where_it_is(tmp_path: Path) -> None:
    env = Env.real()
    folder = FolderObjects(env.files, str(tmp_path))
    assert node_store(ClusterConfig(objects=str(tmp_path)), env, folder) == (folder, None)
