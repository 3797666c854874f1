"""What is looked at before a node starts, and again and again while it runs: room on disks, certificates, the parts."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from redkite.cluster.backends import Backends
from redkite.cluster.config import ClusterConfig, Role
from redkite.cluster.places import is_folder
from redkite.cluster.tls import Certificates
from redkite.env import Env, Timer
from redkite.errors import Conflict, DiskLimitExceeded, MilvusException, ObjectNotFound, StorageError

LEAST_FREE: Final = 64 << 20
"""A node does not start with less room on a disk that it writes to, …"""
LOW_FREE: Final = 1 << 30
"""… and says so while it has less than this, or than a fiftieth of the disk, whichever is less."""
LOW_SHARE: Final = 1 / 50
LOOK_SECONDS: Final = 5.0
MARK: Final = "cluster-mark"
"""The object by which a store is known again, and the key of the catalog that has the same content."""
LOG_MARK: Final = "cluster-mark/log"
"""The key of the catalog that has the name of the topic by which a log is known again."""
_SEEN_SECONDS: Final = 2.0
_LOOKS: Final = 10
"""So long it may take until what another node makes is seen, as a topic by every broker, and so often one looks."""


def folders_of(config: ClusterConfig, role: Role) -> dict[str, str]:
    """The folders of this host that a node of a role writes to, by the setting that names each."""
    found = {"state": config.state}
    if role in ("query", "streaming") and not is_folder(config.objects):
        found["cache_path"] = cache_folder(config)
    if is_folder(config.objects) and role != "proxy":
        found["objects"] = config.objects
    return found


def cache_folder(config: ClusterConfig) -> str:
    """Where nodes of this host keep copies of objects."""
    return config.cache_path or f"{config.state.rstrip('/')}/cache"


def before_start(config: ClusterConfig, role: Role) -> None:
    """Raises MilvusException with one clear sentence when a node of a role cannot run here."""
    if config.tls is not None:
        Certificates(Env.real(), config.tls)
    for setting, folder in folders_of(config, role).items():
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{setting} = '{folder}' cannot be made: {error.strerror}") from None
        if not os.access(folder, os.W_OK):
            raise StorageError(f"{setting} = '{folder}' cannot be written to by this user")
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE:
            raise DiskLimitExceeded(
                f"the disk of {setting} = '{folder}' is full: {free >> 20} MB are free, and a node wants at least "
                f"{LEAST_FREE >> 20} MB; make room there, or set {setting} to a folder of another disk"
            )


def same_store(config: ClusterConfig, backends: Backends) -> None:
    """Raises StorageError where the store of objects is not that of the nodes that came before: what this one would
    write there no other would find, and what is there it would sweep away. The first of them marks the store, and notes
    its mark in the catalog."""
    catalog, store = backends.catalog(), backends.objects()

    def is_noted() -> bool:
        catalog.refresh()
        return catalog.get(MARK) is not None

    if catalog.get(MARK) is None:
        made = uuid.uuid4().hex.encode()
        try:
            store.put_if(MARK, [made], None)
            catalog.commit({MARK: made}, (), {MARK: None})
        except Conflict:  # another node was quicker, or somebody else's data are there
            if not _seen_soon(is_noted):
                raise StorageError(
                    f"objects = '{config.objects}' holds the data of a cluster that etcd at {', '.join(config.etcd)} "
                    "does not know; set etcd and objects as the other nodes have them, or, to begin anew there, delete "
                    f"its object '{MARK}'"
                ) from None
    noted = catalog.get(MARK)
    try:
        found = store.get(MARK)
    except ObjectNotFound:
        found = None
    if found != noted:
        there = "is not there" if found is None else "is that of another cluster"
        raise StorageError(
            f"objects = '{config.objects}' is not where the nodes of cluster '{config.name}' keep their data: its "
            f"object '{MARK}' {there}; set objects as the other nodes have it"
        )


def same_log(config: ClusterConfig, backends: Backends) -> None:
    """Raises StorageError where the log is not that of the nodes that came before: what is written there nobody would
    replay. The first of them makes a topic, and notes its name in the catalog."""
    catalog, broker = backends.catalog(), backends.broker()
    noted = catalog.get(LOG_MARK)
    if noted is None:
        made = f"{MARK}-{uuid.uuid4().hex}"
        broker.create(made)
        try:
            catalog.commit({LOG_MARK: made.encode()}, (), {LOG_MARK: None})
        except Conflict:  # another node was quicker
            broker.drop(made)
        catalog.refresh()
        noted = catalog.get(LOG_MARK) or b""
    topic = bytes(noted).decode()
    if not _seen_soon(lambda: topic in broker.topics()):
        raise StorageError(
            f"log = '{config.log}' is not where the nodes of cluster '{config.name}' write: its topic '{topic}' is not "
            "there; set log as the other nodes have it"
        )


def _seen_soon(look: Callable[[], bool]) -> bool:
    """Whether what another node has just made is there."""
    for _ in range(_LOOKS):
        if look():
            return True
        time.sleep(_SEEN_SECONDS / _LOOKS)
    return False


def disk_reasons(folders: dict[str, str]) -> tuple[str, ...]:
    """Which of the disks are nearly full."""
    reasons = []
    for setting, folder in folders.items():
        try:
            usage = shutil.disk_usage(folder)
        except OSError as error:
            reasons.append(f"{setting} = '{folder}': {error.strerror}")
            continue
        if usage.free < min(LOW_FREE, int(usage.total * LOW_SHARE)):
            reasons.append(f"the disk of {setting} = '{folder}' is nearly full: {usage.free >> 20} MB are free")
    return tuple(reasons)


class Watch:
    """Looks every few seconds, in the background, so that whoever asks for health does not wait."""

    def __init__(
        self, env: Env, config: ClusterConfig, role: Role, backends: Backends, network: Callable[[], tuple[str, ...]]
    ) -> None:
        """`network` says what is wrong with this node's way to others."""
        self._backends, self._network = backends, network
        self._folders = folders_of(config, role)
        self._reasons: tuple[str, ...] = ()
        # It waits for who does not answer, which nothing else of this node shall.
        self._timer: Timer = env.tasks.every(LOOK_SECONDS, self.look, "health", alone=True)

    def look(self) -> None:
        """Look now."""
        try:
            parts = self._backends.health()
        except MilvusException as error:
            parts = (error.message,)
        self._reasons = (*parts, *self._network(), *disk_reasons(self._folders))

    def reasons(self) -> tuple[str, ...]:
        """What was wrong when it was looked last."""
        return self._reasons

    def close(self) -> None:
        self._timer.cancel()
