"""Where backups are kept: a folder or a store of objects, and who may write there."""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from redkite.env import Env
from redkite.errors import Conflict, InvalidParameter, ObjectNotFound, PathLocked
from redkite.model.decoding import from_json
from redkite.storage.lock import lock_path
from redkite.storage.objects import FolderObjects, ObjectStore

if TYPE_CHECKING:
    from redkite.storage.remote_objects import RemoteObjects

_LEASE = "lease.json"
_LEASE_MS = 300_000
"""After so long without a sign of life, whoever wrote to a store of objects is taken to be dead."""
_RENEW_MS = 60_000

Touch = Callable[[], None]
"""A sign of life, to be given from time to time while writing."""


def is_url(place: str) -> bool:
    return "://" in place


def resolve(place: str, root: str | None) -> str:
    """The place that a caller means. With a `root` (a folder or URL), only what lies below it may be meant: a name is
    looked up there. Raises InvalidParameter for anything else."""
    if place.startswith("file://"):
        place = urlsplit(place).path
    if root is None:
        return place
    allowed = f"destinations of this server lie below '{root}'"
    if is_url(root) or is_url(place):
        base = root.partition("?")[0].rstrip("/")
        inside = is_url(root) and (place.partition("?")[0] == base or place.startswith(f"{base}/"))
        if is_url(place) and inside and ".." not in place:
            return place
        if is_url(place) or posixpath.isabs(place) or ".." in place.split("/"):
            raise InvalidParameter(f"'{place}' may not be written: {allowed}")
        path, _, settings = root.partition("?")
        return f"{path.rstrip('/')}/{place}" + (f"?{settings}" if settings else "")
    home = os.path.abspath(root)
    found = os.path.abspath(os.path.join(home, place))
    if found != home and not found.startswith(f"{home}{os.sep}"):
        raise InvalidParameter(f"'{place}' may not be written: {allowed}")
    return found


def open_place(env: Env, place: str) -> ObjectStore:
    """To read what is there."""
    if is_url(place):
        return _remote(place)
    return FolderObjects(env.files, place, writes=False)


@contextmanager
def writing(env: Env, place: str) -> Iterator[tuple[ObjectStore, Touch]]:
    """To write there, alone. Raises PathLocked, naming who writes there now."""
    if is_url(place):
        with _leased(env, _remote(place), place) as held:
            yield held
        return
    lock = lock_path(env.files, env.clock, place, os.getpid(), _command())
    try:
        yield FolderObjects(env.files, place), lambda: None
    finally:
        lock.release()


def _remote(place: str) -> RemoteObjects:
    from redkite.storage.remote_objects import open_remote

    return open_remote(place)


def _command() -> str:
    return " ".join(sys.argv[:2]) or "python"


class _Lease(msgspec.Struct, frozen=True):
    pid: int
    command: str
    until_ms: int


@contextmanager
def _leased(env: Env, store: ObjectStore, place: str) -> Iterator[tuple[ObjectStore, Touch]]:
    """A store of objects has no locks that end with a process: an object says who writes, and until when."""
    state = _take(env, store, place)
    now = env.clock.now_ms()

    def touch() -> None:
        nonlocal state, now
        if env.clock.now_ms() - now >= _RENEW_MS:
            now = env.clock.now_ms()
            state = _sign(env, store, place, state)

    try:
        yield store, touch
    finally:
        store.delete(_LEASE)


def _take(env: Env, store: ObjectStore, place: str) -> str:
    etag: str | None = None
    try:
        found = from_json(store.get(_LEASE), _Lease)
        etag = store.info(_LEASE).etag
    except ObjectNotFound:
        found = None
    except msgspec.DecodeError:
        found = None
        etag = store.info(_LEASE).etag
    if found is not None and found.until_ms > env.clock.now_ms():
        raise PathLocked(f"'{place}' is in use by process {found.pid} ({found.command}); it may be free in 5 minutes")
    return _sign(env, store, place, etag)


def _sign(env: Env, store: ObjectStore, place: str, etag: str | None) -> str:
    lease = _Lease(os.getpid(), _command(), env.clock.now_ms() + _LEASE_MS)
    try:
        return store.put_if(_LEASE, [msgspec.json.encode(lease)], etag).etag
    except Conflict as error:
        raise PathLocked(f"'{place}' has just been taken by another process") from error
