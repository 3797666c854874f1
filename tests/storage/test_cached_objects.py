"""Copies of far objects on the disk: fetched once, kept as long as there is room, never wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.env import AppendFile, Buffer, Env
from redkite.errors import Corruption, DiskLimitExceeded, ObjectNotFound, StorageError, Unavailable
from redkite.simulated import simulated_env
from redkite.storage.cached_objects import CachedObjects, open_cache
from redkite.storage.checksums import crc32
from redkite.storage.objects import FilePart, FolderObjects, ObjectInfo


class Far(FolderObjects):
    """A store that counts what is read from it, and fails when told."""

    def __init__(self, env: Env, root: str) -> None:
        super().__init__(env.files, root)
        self.reads: list[str] = []
        self.broken = False
        self.damaged: set[str] = set()
        self.gate: threading.Event | None = None

    def map(self, name: str) -> memoryview:
        self.reads.append(name)
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.broken:
            raise Unavailable("the store does not answer")
        found = bytearray(super().map(name))
        if name in self.damaged:
            self.damaged.discard(name)
            found[0] ^= 1
        return memoryview(bytes(found))

    def get(self, name: str) -> bytes:
        return bytes(self.map(name))


def put(far: Far, name: str, size: int) -> ObjectInfo:
    return far.put(name, [bytes(range(256)) * (size // 256) + bytes(size % 256)])


@pytest.fixture
def env() -> Env:
    return Env.real()


@pytest.fixture
def far(env: Env, tmp_path: Path) -> Far:
    return Far(env, str(tmp_path / "far"))


@pytest.fixture
def cache(env: Env, far: Far, tmp_path: Path) -> Iterator[CachedObjects]:
    made = open_cache(far, env, str(tmp_path / "cache"), 10_000)
    yield made
    made.close()


def test_an_object_is_fetched_once_and_read_here_from_then_on(cache: CachedObjects, far: Far) -> None:
    info = put(far, "a/b", 3000)
    for _ in range(3):
        cache.verify("a/b", info.size, info.crc32)
        assert bytes(cache.map("a/b")) == far.get("a/b") == cache.get("a/b")
    assert far.reads.count("a/b") == 1 + 3
    path = cache.local_path("a/b")
    assert path is not None
    assert Path(path).read_bytes() == far.get("a/b")
    assert cache.size("a/b") == 3000


def test_many_who_want_one_object_have_it_fetched_once(cache: CachedObjects, far: Far) -> None:
    put(far, "a", 3000)
    far.gate = threading.Event()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(cache.get("a")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    far.gate.set()
    for thread in threads:
        thread.join()
    assert (found, far.reads) == ([3000] * 8, ["a"])


def test_the_longest_unused_goes_first_and_the_limit_holds(cache: CachedObjects, far: Far) -> None:
    for name in "abc":
        put(far, name, 3000)
        cache.get(name)
    cache.get("a")
    put(far, "d", 3000)
    cache.get("d")
    far.reads.clear()
    for name in "acd":
        cache.get(name)
    assert far.reads == []
    cache.get("b")
    assert far.reads == ["b"]
    assert cache.figures().held_bytes <= 10_000
    assert cache.figures().evicted == 2


def test_what_is_mapped_stays_and_what_finds_no_room_is_read_from_afar(cache: CachedObjects, far: Far) -> None:
    views = []
    for name in "abc":
        put(far, name, 3000)
        views.append(cache.map(name))
    put(far, "d", 3000)
    assert len(cache.get("d")) == 3000
    assert cache.figures().uncached == 1
    assert "no room" in cache.health()[0]
    far.reads.clear()
    cache.get("a")
    assert far.reads == []
    del views[1:]
    cache.get("d")
    assert (cache.figures().evicted, cache.health()) == (1, ())
    put(far, "huge", 20_000)
    assert len(cache.get("huge")) == 20_000
    assert cache.figures().held_bytes <= 10_000


def test_a_file_given_to_native_code_stays_until_it_is_let_go(cache: CachedObjects, far: Far) -> None:
    for name in "abc":
        put(far, name, 3000)
        assert cache.local_path(name)
        assert cache.local_path(name)
    put(far, "d", 3000)
    assert cache.local_path("d") is None
    cache.let_go(["a", "a", "nothing"])
    assert cache.local_path("d")
    assert not Path(str(cache.local_path("b"))).with_name("a").exists()


def test_copies_survive_a_restart_and_what_was_used_last_is_known(env: Env, far: Far, tmp_path: Path) -> None:
    first = open_cache(far, env, str(tmp_path / "cache"), 10_000)
    infos = {name: put(far, name, 3000) for name in "abc"}
    for name in "cba":
        first.get(name)
    first.close()
    far.reads.clear()
    second = open_cache(far, env, str(tmp_path / "cache"), 10_000)
    for name, info in infos.items():
        second.verify(name, info.size, info.crc32)
    assert far.reads == []
    second.close()
    smaller = open_cache(far, env, str(tmp_path / "cache"), 6_500)
    smaller.get("c")
    smaller.get("b")
    assert far.reads == [], "c and b were used last"
    smaller.get("a")
    assert far.reads == ["a"]
    smaller.close()


def test_two_processes_have_two_caches(env: Env, far: Far, tmp_path: Path) -> None:
    one = open_cache(far, env, str(tmp_path / "cache"), 10_000)
    two = open_cache(far, env, str(tmp_path / "cache"), 10_000)
    put(far, "a", 100)
    one.get("a")
    two.get("a")
    assert far.reads == ["a", "a"]
    one.close()
    again = open_cache(far, env, str(tmp_path / "cache"), 10_000)
    again.get("a")
    assert far.reads == ["a", "a"]
    again.close()
    two.close()


def test_a_damaged_copy_is_fetched_anew_and_a_damaged_object_is_an_error(cache: CachedObjects, far: Far) -> None:
    info = put(far, "a", 3000)
    path = Path(str(cache.local_path("a")))
    cache._sound.clear()
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    cache.verify("a", info.size, info.crc32)
    assert cache.get("a") == far.get("a")
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    data = far.get("a")
    cache.verify_parts("a", 3000, [FilePart(0, 100, crc32(data[:100])), FilePart(100, 50, crc32(data[100:150]))])
    assert cache.get("a") == data
    with pytest.raises(Corruption):
        cache.verify("a", info.size, info.crc32 ^ 1)


def test_what_came_damaged_over_the_network_is_fetched_once_more(cache: CachedObjects, far: Far) -> None:
    info = put(far, "a", 3000)
    far.damaged.add("a")
    cache.verify("a", info.size, info.crc32)
    assert cache.get("a") == far.get("a")


def test_a_missing_object_and_a_broken_store_are_told(cache: CachedObjects, far: Far) -> None:
    for read in (cache.get, cache.map, cache.local_path, cache.size):
        with pytest.raises(ObjectNotFound):
            read("none")
    with pytest.raises(Corruption, match="missing"):
        cache.verify("none", 1, 1)
    put(far, "a", 300)
    far.broken = True
    with pytest.raises(Unavailable):
        cache.get("a")
    far.broken = False
    assert len(cache.get("a")) == 300
    far.broken = True
    assert len(cache.get("a")) == 300, "it is here"


def test_what_is_written_through_it_is_there_and_here(cache: CachedObjects, far: Far) -> None:
    cache.put("a", [b"one", b"two"])
    assert cache.get("a") == b"onetwo"
    assert far.reads == []
    cache.put("a", [b"three"])
    assert (cache.get("a"), far.get("a")) == (b"three", b"three")
    etag = cache.put_if("b", [b"1"], None).etag
    cache.put_if("b", [b"2"], etag)
    assert cache.get("b") == b"2"
    cache.delete("a")
    with pytest.raises(ObjectNotFound):
        cache.get("a")
    cache.put("p/x", [b"1"])
    cache.delete_prefix("p/")
    assert cache.list() == ["b"]
    with pytest.raises(ObjectNotFound):
        cache.get("p/x")


def test_objects_that_will_be_wanted_are_fetched_before(cache: CachedObjects, far: Far) -> None:
    for name in "abc":
        put(far, name, 1000)
    cache.fetch_soon("abc")
    for name in "abc":
        cache.get(name)
    assert sorted(far.reads) == ["a", "b", "c"]


def test_a_full_disk_is_no_error_and_its_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simulated_env(1)
    far = Far(env, "/far")
    cache = CachedObjects(far, env, "/cache", 100_000)
    put(far, "a", 300)
    put(far, "b", 300)
    assert len(cache.get("a")) == 300

    def full(_path: str) -> AppendFile:
        raise DiskLimitExceeded("No space left on device")

    monkeypatch.setattr(type(env.files), "append", lambda _, path: full(path))
    assert len(cache.get("b")) == 300
    assert "keeps nothing new" in cache.health()[0]
    monkeypatch.undo()
    assert len(cache.get("b")) == 300
    assert cache.health() == ()


def test_a_power_loss_leaves_no_wrong_copy() -> None:
    for at in range(1, 40):
        env = simulated_env(at)
        far = Far(env, "/far")
        infos = {name: put(far, name, 5000) for name in "abc"}
        env.disk.crash_at(at)
        try:
            cache = CachedObjects(far, env, "/cache", 12_000)
            for name in "abcab":
                cache.get(name)
            cache.close()
        except BaseException as error:
            if type(error).__name__ != "SimulatedCrash":
                raise
        env.disk.restart()
        env = simulated_env(at, env.disk)
        far = Far(env, "/far")
        cache = CachedObjects(far, env, "/cache", 12_000)
        for name, info in infos.items():
            cache.verify(name, info.size, info.crc32)
            assert cache.get(name) == far.get(name)


ACTION = st.tuples(st.sampled_from(["get", "map", "drop", "path", "let go", "put", "reopen"]), st.integers(0, 7))


@given(st.lists(ACTION, max_size=40))
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_bytes_are_right_and_the_books_are_kept(actions: Sequence[tuple[str, int]]) -> None:
    env = simulated_env(1)
    far = Far(env, "/far")
    cache = CachedObjects(far, env, "/cache", 5_000)
    content: dict[str, bytes] = {}
    views: list[Any] = []
    for what, number in actions:
        name = f"o{number}"
        if what == "put":
            content[name] = bytes([number]) * (number * 700 + len(content))
            data: list[Buffer] = [content[name]]
            cache.put(name, data)
        elif what == "reopen":
            cache.close()
            cache = CachedObjects(far, env, "/cache", 5_000)
        elif what == "drop":
            views.clear()
        elif name not in content:
            with pytest.raises((ObjectNotFound, StorageError)):
                cache.get(name)
        elif what == "get":
            assert cache.get(name) == content[name]
        elif what == "map":
            views.append(cache.map(name))
            assert bytes(views[-1]) == content[name]
        elif what == "path":
            cache.local_path(name)
        else:
            cache.let_go([name])
        figures = cache.figures()
        kept = env.files.walk("/cache/objects")
        assert figures.held_bytes == sum(env.files.size(f"/cache/objects/{file}") for file in kept)
        assert figures.held_bytes <= 5_000
        assert figures.objects == len(kept)


def test_room_on_the_disk_is_noticed_by_what_is_written_too(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simulated_env(1)
    cache = CachedObjects(Far(env, "/far"), env, "/cache", 100_000)

    def full(_path: str) -> AppendFile:
        raise DiskLimitExceeded("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(type(env.files), "append", lambda _, path: full(path))
        cache.put("a", [b"x" * 300])
        assert "keeps nothing new" in cache.health()[0]
    cache.put("b", [b"x" * 300])
    assert cache.health() == ()


def test_room_on_the_disk_is_noticed_where_nothing_more_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    env = simulated_env(1)
    cache = CachedObjects(Far(env, "/far"), env, "/cache", 100_000)

    def full(_path: str) -> AppendFile:
        raise DiskLimitExceeded("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(type(env.files), "append", lambda _, path: full(path))
        cache.put("a", [b"x" * 300])
        assert all("keeps nothing new" in cache.health()[0] for _ in range(2))
    assert cache.health() == ()
    assert env.files.walk("/cache/tmp") == []


def test_room_within_the_limit_is_noticed_where_nothing_more_is_kept(cache: CachedObjects, far: Far) -> None:
    put(far, "a", 6000)
    put(far, "b", 6000)
    assert cache.local_path("a") is not None
    assert len(cache.get("b")) == 6000
    assert "no room for an object of 6000 bytes" in cache.health()[0]
    cache.let_go(["a"])
    assert cache.health() == ()
    assert cache.figures().objects == 1, "looking takes nothing away"
