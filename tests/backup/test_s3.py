"""Backups in a store of objects, against a server that plays S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.backup.test_backups import backup, files, finish, names, numbers, restore, verify
from tests.engine import DIM, NAME, Engine
from tests.objects import PlayedStore, played_store

from redkite.env import Env
from redkite.errors import Conflict, Corruption, InvalidParameter, ObjectNotFound, PathLocked, StorageError
from redkite.model import requests as rq
from redkite.storage.remote_objects import open_remote

VECTORS = np.random.default_rng(3).random((200, DIM), dtype=np.float32)


@pytest.fixture(scope="module")
def store() -> Iterator[PlayedStore]:
    with played_store() as played:
        yield played


@pytest.fixture
def place(store: PlayedStore, monkeypatch: pytest.MonkeyPatch) -> str:
    bucket = store.bucket_of(monkeypatch)
    return f"s3://{bucket}/some/where?endpoint={store.endpoint}&region=us-east-1"


@pytest.fixture
def engine(database_path: str) -> Iterator[Engine]:
    made = Engine(database_path)
    made.create()
    made.insert(list(range(200)), VECTORS, [0] * 200)
    yield made
    made.close()


def test_a_backup_goes_there_and_comes_back(engine: Engine, place: str, tmp_path: Path) -> None:
    first = backup(engine, place, "first")
    assert first.copied_objects == first.objects > 0
    assert backup(engine, place, "again").copied_objects == 0
    assert names(engine, place) == ["first", "again"]
    verify(engine, place, "first")
    other = Engine(str(tmp_path / "other.db"))
    assert restore(other, place, "again") == (f"default.{NAME}",)
    assert numbers(other) == dict.fromkeys(range(200), 0)
    other.close()
    for name in ("first", "again"):
        engine.call(rq.DeleteBackup(destination=place, name=name))
    assert open_remote(place).list() == []


def test_a_damaged_object_is_found(engine: Engine, place: str) -> None:
    backup(engine, place)
    store = open_remote(place)
    name = next(n for n in store.list("objects/") if "rows.arrow" in n)
    content = bytearray(store.get(name))
    content[100] ^= 1
    store.put(name, [bytes(content)])
    with pytest.raises(Corruption, match=r"rows\.arrow"):
        verify(engine, place)
    with pytest.raises(Corruption, match=r"rows\.arrow"):
        restore(engine, place, suffix="_old")


def test_a_second_writer_is_told_to_wait(engine: Engine, place: str) -> None:
    from redkite.backup.place import writing

    with writing(Env.real(), place), pytest.raises(PathLocked):
        backup(engine, place)
    backup(engine, place)


def test_objects_behave_as_those_of_a_folder(place: str) -> None:
    store = open_remote(place)
    stored = store.put("a/b", [b"one", b"two"])
    assert store.get("a/b") == b"onetwo"
    assert store.size("a/b") == 6
    assert (store.info("a/b").size, store.info("a/b").crc32) == (stored.size, stored.crc32)
    store.verify("a/b", stored.size, stored.crc32)
    with pytest.raises(Corruption):
        store.verify("a/b", stored.size, stored.crc32 ^ 1)
    with pytest.raises(Conflict):
        store.put_if("a/b", [b"x"], None)
    with pytest.raises(Conflict):
        store.put_if("a/b", [b"x"], '"0000"')
    store.put_if("a/b", [b"three"], store.info("a/b").etag)
    store.copy("a/b", "a/bc")
    assert store.list("a/b") == ["a/b", "a/bc"]
    assert store.list("a/bc") == ["a/bc"]
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    with pytest.raises(ObjectNotFound):
        store.get("a/b")
    large = bytes(range(256)) * 80_000
    assert store.put("large", [large]).size == len(large)
    assert store.get("large") == large


def test_what_is_no_place_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="unknown setting endpont"):
        open_remote("s3://bucket/x?endpont=y")
    with pytest.raises(InvalidParameter, match="is no place for objects"):
        open_remote("ftp://bucket/x")


def test_a_place_that_does_not_answer_is_a_storage_error(place: str, engine: Engine) -> None:
    with pytest.raises(StorageError):
        finish(engine, rq.CreateBackup(destination=place.replace("s3://bucket", "s3://other"), name="b"))
    assert files(engine.path)
