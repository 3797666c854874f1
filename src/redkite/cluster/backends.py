"""What the nodes of one cluster share: the catalog and who is alive (etcd), the log (Kafka or Pulsar), objects (a store
or a folder). `open_backends` connects one process to them; `MemoryWorld` has all of them in memory, for tests."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from redkite.cluster.config import ClusterConfig
from redkite.cluster.places import LogPlace, is_folder, read_log
from redkite.cluster.probing import Probes
from redkite.env import Env
from redkite.errors import InvalidParameter, MilvusException, StorageError, Unavailable
from redkite.node.counted_objects import CountedObjects
from redkite.storage.broker import Broker
from redkite.storage.checksums import READERS
from redkite.storage.coordination import Coordination, Fence
from redkite.storage.followed import Copy, FollowedCatalog, Store
from redkite.storage.memory_broker import BrokerWorld, MemoryBroker
from redkite.storage.memory_connection import MemoryConnection
from redkite.storage.objects import FolderObjects, ObjectStore
from redkite.storage.shared_memory import SharedMemory

if TYPE_CHECKING:
    from redkite.storage.etcd import Etcd, EtcdSettings

_ETCD_SECONDS: Final = 5.0
"""So long a call may look for a member of etcd that answers."""
_PULSAR_OPTIONS: Final = ("admin_url", "token", "tls_ca")
_PROBE: Final = "probe/"
"""Nothing is there; listing it shows that the store answers."""


class Backends(Protocol):
    """One process's connections. Everything here may be called from any thread."""

    @property
    def coordination(self) -> Coordination: ...

    def catalog(self, fence: Fence | None = None) -> FollowedCatalog:
        """The process's copy of the catalog, committing only as long as a fence holds."""
        ...

    def broker(self) -> Broker:
        """The process's one client of the log."""
        ...

    def objects(self) -> ObjectStore:
        """The process's one client of the store."""
        ...

    def health(self) -> tuple[str, ...]:
        """Which of them do not answer, and why; it may take seconds."""
        ...

    def close(self) -> None: ...


class _Shared:
    """A copy of the catalog that is begun when it is first wanted, and known to be well or not."""

    def __init__(self, store: Store, env: Env) -> None:
        self._store, self._env = store, env
        self._lock = threading.Lock()
        self._copy: Copy | None = None

    def catalog(self, fence: Fence | None) -> FollowedCatalog:
        with self._lock:
            if self._copy is None:
                self._copy = Copy(self._store, self._env)
            return FollowedCatalog(self._copy, self._store, fence)

    def close(self) -> None:
        with self._lock:
            if self._copy is not None:
                self._copy.close()


def _reason(what: str, ask: Callable[[], object]) -> tuple[str, ...]:
    try:
        ask()
    except MilvusException as error:
        return (f"{what}: {error.message}",)
    return ()


# -- in memory ----------------------------------------------------------------------------------
class MemoryWorld:
    """Everything that a cluster stands on, in memory or in a folder; it outlives the nodes."""

    def __init__(self, env: Env, folder: str = "/objects", seed: int = 0) -> None:
        """`env` is the world of what is shared: its clock times leases, its files are the objects', below `folder`."""
        self.env, self.folder = env, folder
        self.shared = SharedMemory(env)
        self.log = BrokerWorld(random.Random(seed))  # noqa: TID251  made from a seed

    def backends(self, env: Env, name: str = "") -> MemoryBackends:
        """For one node, whose world is `env`; no two that live have one name."""
        return MemoryBackends(self, env, name)

    def close(self) -> None:
        self.shared.close()


class MemoryBackends:
    """One node's connections to a `MemoryWorld`."""

    def __init__(self, world: MemoryWorld, env: Env, name: str = "") -> None:
        self.connection = MemoryConnection(world.shared, env, name)
        self._shared = _Shared(self.connection.store, env)
        self._broker = MemoryBroker(world.log, env)
        self._objects = CountedObjects(FolderObjects(world.env.files, world.folder, writer=name), env.clock)

    @property
    def coordination(self) -> Coordination:
        return self.connection.coordination

    def catalog(self, fence: Fence | None = None) -> FollowedCatalog:
        return self._shared.catalog(fence)

    def broker(self) -> MemoryBroker:
        return self._broker

    def objects(self) -> ObjectStore:
        return self._objects

    def health(self) -> tuple[str, ...]:
        return (*_reason("etcd", self.connection.store.newest), *_reason("the log", self._broker.topics))

    def cut(self) -> None:
        """Nothing comes through to what is shared until `mend`; objects do."""
        self.connection.cut()
        self._broker.cut()

    def mend(self) -> None:
        self.connection.mend()
        self._broker.mend()

    def abandon(self) -> None:
        """The process was killed."""
        self.connection.abandon()
        self._broker.close()

    def close(self) -> None:
        self._shared.close()
        self.connection.close()
        self._broker.close()


# -- over the network ---------------------------------------------------------------------------
def open_backends(config: ClusterConfig, env: Env, name: str = "") -> RemoteBackends:
    """Connect to what a config names. Raises InvalidParameter for what cannot be, Unavailable or StorageError for what
    does not answer or refuses, each saying which of the three it is and where it was looked for."""
    opened: list[Callable[[], None]] = []
    try:
        etcd = _etcd(config, env, opened)
        broker = _answering_broker(config, env, opened)
        return RemoteBackends(config, env, etcd, broker, _objects(config, env, name))
    except BaseException:
        for close in reversed(opened):
            close()
        raise


def faults_of(config: ClusterConfig, env: Env) -> list[str]:
    """What keeps a node from working with each of the three; nothing when all answer."""
    opened: list[Callable[[], None]] = []
    faults = []
    tries: tuple[Callable[[], object], ...] = (
        lambda: _etcd(config, env, opened), lambda: _answering_broker(config, env, opened),
        lambda: _objects(config, env, ""),
    )  # fmt: skip
    try:
        for attempt in tries:
            try:
                attempt()
            except MilvusException as error:
                faults.append(error.message)
    finally:
        for close in reversed(opened):
            close()
    return faults


def _etcd(config: ClusterConfig, env: Env, opened: list[Callable[[], None]]) -> Etcd:
    """Here and below: whoever opens it closes what was `opened`."""
    from redkite.storage.etcd import Etcd

    etcd = Etcd(etcd_settings(config), env.clock)
    opened.append(etcd.close)
    _tried(f"etcd at {', '.join(config.etcd)}", lambda: etcd.transaction([], []))
    return etcd


def _answering_broker(config: ClusterConfig, env: Env, opened: list[Callable[[], None]]) -> Broker:
    broker = _broker(config, read_log(config.log), env)
    opened.append(broker.close)
    _tried(f"the log at {config.log}", broker.topics)
    return broker


def _objects(config: ClusterConfig, env: Env, name: str) -> ObjectStore:
    objects = open_objects(config, env, name)
    has_keys = not config.objects.startswith("s3://") or "AWS_ACCESS_KEY_ID" in os.environ
    hint = "" if has_keys else " (keys are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are not set)"
    _tried(f"the objects at {config.objects}", lambda: objects.list(_PROBE), hint)
    return objects


def _tried(what: str, ask: Callable[[], object], hint: str = "") -> None:
    try:
        ask()
    except Unavailable as error:
        raise Unavailable(f"{what} cannot be reached: {error.message}{hint}") from error
    except InvalidParameter:
        raise
    except MilvusException as error:
        raise StorageError(f"{what} cannot be used: {error.message}{hint}") from error


class RemoteBackends:
    """One process's connections to etcd, the log and the store."""

    def __init__(self, config: ClusterConfig, env: Env, etcd: Etcd, broker: Broker, objects: ObjectStore) -> None:
        from redkite.storage.etcd_coordination import EtcdCoordination
        from redkite.storage.etcd_store import EtcdStore

        self._etcd, self._broker = etcd, broker
        self._objects = CountedObjects(objects, env.clock)
        self._coordination = EtcdCoordination(etcd, env)
        self._store = EtcdStore(etcd, env)
        self._shared = _Shared(self._store, env)
        self._probes = Probes(env, {
            f"etcd at {', '.join(config.etcd)}": self._store.newest,
            f"the log at {config.log}": broker.topics,
            f"the objects at {config.objects}": lambda: objects.list(_PROBE),
        })  # fmt: skip

    @property
    def coordination(self) -> Coordination:
        return self._coordination

    def catalog(self, fence: Fence | None = None) -> FollowedCatalog:
        return self._shared.catalog(fence)

    def broker(self) -> Broker:
        return self._broker

    def objects(self) -> ObjectStore:
        return self._objects

    def health(self) -> tuple[str, ...]:
        return self._probes.reasons()

    def close(self) -> None:
        self._probes.close()
        self._shared.close()
        self._etcd.close()
        self._broker.close()


def etcd_settings(config: ClusterConfig) -> EtcdSettings:
    """What a cluster's config says about etcd. Raises InvalidParameter."""
    from redkite.storage.etcd import EtcdSettings

    return EtcdSettings(
        endpoints=config.etcd,
        root=f"{config.name}/",
        user=config.etcd_user,
        password=config.etcd_password,
        tls_ca=config.etcd_ca,
        tls_cert=config.etcd_certificate,
        tls_key=config.etcd_key,
        timeout_seconds=_ETCD_SECONDS,
    )


def _broker(config: ClusterConfig, place: LogPlace, env: Env) -> Broker:
    prefix = f"{config.name}-"
    if place.kind == "kafka":
        from redkite.storage.kafka import KafkaBroker, KafkaSettings

        kafka = KafkaSettings(
            servers=place.servers, prefix=prefix, replicas=config.log_replicas, options=config.log_options
        )
        return KafkaBroker(kafka, env)
    from redkite.storage.pulsar import PulsarBroker, PulsarSettings

    unknown = sorted(config.log_options.keys() - set(_PULSAR_OPTIONS))
    if unknown:
        raise InvalidParameter(
            f"log_options of Pulsar: unknown option {unknown[0]}, known are {', '.join(_PULSAR_OPTIONS)}"
        )
    options = config.log_options
    scheme, admin = ("pulsar+ssl", "https") if place.encrypted else ("pulsar", "http")
    host = place.servers[0].rpartition(":")[0]
    port = 8443 if place.encrypted else 8080
    pulsar = PulsarSettings(
        url=f"{scheme}://{','.join(place.servers)}",
        admin_url=options.get("admin_url", f"{admin}://{host}:{port}"),
        namespace=place.namespace,
        prefix=prefix,
        token=options.get("token", ""),
        tls_ca=options.get("tls_ca", ""),
    )
    return PulsarBroker(pulsar, env)


def open_objects(config: ClusterConfig, env: Env, name: str = "") -> ObjectStore:
    """The store alone. `name`: what this process is called as one that writes to it."""
    if not is_folder(config.objects):
        from redkite.storage.remote_objects import open_remote

        return open_remote(config.objects)
    readers = env.tasks.executor("checksums", READERS)
    writer = name or f"{env.random.getrandbits(64):016x}"
    return FolderObjects(env.files, config.objects.rstrip("/"), readers=readers, writer=writer)
