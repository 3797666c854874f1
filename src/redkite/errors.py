"""The error tree: one class per situation a caller can act on.

    MilvusException                    every error Redkite raises; `.code`, `.message`
    ├── ServiceError                   the system cannot answer now (code 1..12)
    │   ├── NotReady (1) · Unavailable (2) · NotOwner (2) · MemoryLimitExceeded (3) · UnknownOutcome (5)
    │   ├── CrossCluster (6) · DiskLimitExceeded (7) · RateLimited (8) · QuotaExceeded (9) · Unimplemented (10)
    │   └── ImportFailed (2100) · FunctionFailed (2400)
    ├── NotFound                       (also KeyError)
    │   ├── CollectionNotFound (100) · PartitionNotFound (200) · IndexNotFound (700)
    │   ├── DatabaseNotFound (800) · AliasNotFound (1600) · FieldNotFound (1700)
    │   └── ResourceGroupNotFound (300) · SnapshotNotFound (2600) · BackupNotFound
    ├── NotLoaded                      CollectionNotLoaded (101) · PartitionNotLoaded (201) · SegmentGone (601)
    │   └── CollectionNotFullyLoaded (103, 202)
    ├── InvalidInput                   the caller's fault (also ValueError)
    │   ├── InvalidParameter (1100) · MissingParameter (1101) · ParameterTooLarge (1102)
    │   ├── StandbyMode (108)          a write to a cluster that follows another
    │   ├── IllegalSchema (105) · SchemaMismatch (109) · CollectionAlreadyLoaded (104)
    │   ├── InvalidFieldName (1701) · InvalidDatabaseName (802) · LimitReached (102, 801)
    │   ├── AliasConflict (1601) · AliasExists (1602) · SnapshotPinned (2601)
    │   ├── ResourceGroupExists (301) · TooManyResourceGroups (302) · IllegalResourceGroup (303)
    │   └── ParamError · DataNotMatch · DataTypeNotMatch   raised by the SDK before any call (code 1)
    ├── WireError (1004)               bytes that are not a valid message (also ValueError)
    ├── StorageError (1008)            (also OSError)
    │   ├── ObjectNotFound (1000)      no stored object of that name (also FileNotFoundError)
    │   ├── Conflict (2700)            a conditional write whose condition does not hold
    │   ├── ChangesGone (2702)         what a change feed is to read next is kept no longer
    │   ├── PartlyWritten              a disk failed under some shards of a write (code of what it said)
    │   ├── Corruption (1009)          a checksum or format that does not hold
    │   ├── PathLocked (3001)          another process writes this path
    │   └── ReadOnlyDatabase (3002)    a write to a database that was opened for reading (also PermissionError)
    ├── AccessError                    NotAuthenticated (1400) · NotPermitted (1401) (also PermissionError)
    │   └── Refused                    at the door: Unauthenticated · PermissionDenied
    ├── ConnectError (2)               (also ConnectionError)
    ├── Timeout (10001)                (also TimeoutError)
    └── Unexpected (65535)

Codes and wording are Milvus's. `legacy_code` is the `error_code` old clients read.
An error is raised once and never logged by the raiser.
"""

from __future__ import annotations

from typing import ClassVar

SUCCESS = 0

_LEGACY: dict[int, int] = {
    1: 56, 3: 52, 7: 54, 8: 49, 9: 48, 11: 55, 100: 4, 109: 62, 110: 56, 200: 15, 400: 15, 401: 46, 501: 15,
    503: 46, 505: 55, 506: 46, 600: 47, 700: 25, 904: 50, 905: 46, 1100: 5, 1101: 5, 1102: 5,
}  # fmt: skip


def legacy_code(code: int) -> int:
    """The `error_code` of old clients for a Milvus code: 0 for success, 1 (unexpected) when it has none."""
    return 0 if code == SUCCESS else _LEGACY.get(code, 1)


class MilvusException(Exception):
    """Root of the tree. `code` and `message` are what travels; `retriable` says that the same call may work later."""

    default_code: ClassVar[int] = 65535
    retriable: ClassVar[bool] = False
    is_input_error: ClassVar[bool] = False

    def __init__(self, message: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.code = self.default_code if code is None else code
        self.message = message

    @property
    def compatible_code(self) -> int:
        """The code in the numbering of clients older than 2.3."""
        return legacy_code(self.code)

    def __str__(self) -> str:
        return f"<{type(self).__name__}: (code={self.code}, message={self.message})>"

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.message, self.code)


def rebuilt(cls: type[MilvusException], message: str, code: int) -> MilvusException:
    """An error of a class with the message and code that one had elsewhere."""
    try:
        error = cls.__new__(cls)
    except TypeError:  # a MemoryError has a `__new__` for itself alone
        error = Exception.__new__(cls)
    MilvusException.__init__(error, message, code)
    return error


# -- the system cannot answer now ---------------------------------------------------------------
class ServiceError(MilvusException):
    default_code = 5


class NotReady(ServiceError):
    default_code, retriable = 1, True


class Unavailable(ServiceError):
    default_code, retriable = 2, True


class ConnectionClosed(Unavailable):
    """This process has closed its own way to what was asked: no further try can succeed here."""


class NotOwner(Unavailable):
    """Another node owns the channel by now, or none does yet. Nothing was done; asked again, the new owner does it."""

    @classmethod
    def of(cls, channel: str, node_id: int = 0, term: int = 0) -> NotOwner:
        """`node_id` and `term`: of the owner as it is known where it was asked; 0 where that is not known."""
        known = f": node {node_id} does, since term {term}" if node_id else ""
        return cls(f"this node does not own channel '{channel}'{known}")


class UnknownOutcome(ServiceError):
    """Nobody can say whether a write was done. Whoever needs to know reads; with primary keys of its own the same write
    may be made again."""

    @classmethod
    def of_write(cls) -> UnknownOutcome:
        return cls("the write was sent and no answer came in time: it may have been done or not")


class MemoryLimitExceeded(ServiceError, MemoryError):
    default_code = 3


class CrossCluster(ServiceError):
    """The request names the cluster that is to answer it, and this is another one."""

    default_code = 6

    @classmethod
    def between(cls, wanted: str, here: str) -> CrossCluster:
        return cls(f"cross cluster routing[expectedCluster={wanted}][actualCluster={here}]")


class DiskLimitExceeded(ServiceError):
    default_code = 7


class RateLimited(ServiceError):
    default_code, retriable = 8, True

    @classmethod
    def by_quota(cls, rate: float) -> RateLimited:
        text = "request is rejected by grpc RateLimiter middleware, please retry later"
        return cls(f"{text}: rate limit exceeded[rate={rate:g}]")


class QuotaExceeded(ServiceError):
    """What an administrator set is used up, or denies it."""

    default_code = 9

    @classmethod
    def because(cls, reason: str) -> QuotaExceeded:
        return cls(f"quota exceeded[reason={reason}]")


class Unimplemented(ServiceError, NotImplementedError):
    """The call exists in the protocol and is not built in this version."""

    default_code = 10


class NodesNotEnough(ServiceError):
    """A resource group has fewer nodes than what is asked for takes."""

    default_code = 304

    @classmethod
    def of(cls, group: str, there: int, wanted: int) -> NodesNotEnough:
        return cls(f"resource group node not enough[rg={group}][currentNodeNum={there}][expectedNodeNum={wanted}]")


class ImportFailed(ServiceError):
    """Files that could not be made rows of, or a job of imports that is not what it should be."""

    default_code = 2100

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: importing data failed")


class FunctionFailed(ServiceError):
    """A service that a function asks did not answer as it should."""

    default_code = 2400

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: function execution failed")


# -- not found ----------------------------------------------------------------------------------
class NotFound(MilvusException, KeyError):
    is_input_error = True


class CollectionNotFound(NotFound):
    default_code = 100

    @classmethod
    def named(cls, database: str, collection: object) -> CollectionNotFound:
        return cls(f"collection not found[database={database}][collection={collection}]")


class PartitionNotFound(NotFound):
    default_code = 200

    @classmethod
    def named(cls, partition: str) -> PartitionNotFound:
        return cls(f"partition not found[partition={partition}]")


class IndexNotFound(NotFound):
    default_code = 700

    @classmethod
    def named(cls, index: str) -> IndexNotFound:
        return cls(f"index not found[indexName={index}]")

    @classmethod
    def of_collection(cls, collection: str) -> IndexNotFound:
        return cls(f"index not found[collection={collection}]")


class DatabaseNotFound(NotFound):
    default_code = 800

    @classmethod
    def named(cls, database: str) -> DatabaseNotFound:
        return cls(f"database not found[database={database}]")


class AliasNotFound(NotFound):
    default_code = 1600

    @classmethod
    def named(cls, database: str, alias: str) -> AliasNotFound:
        return cls(f"alias not found[database={database}][alias={alias}]")


class FieldNotFound(NotFound):
    default_code = 1700


class ResourceGroupNotFound(NotFound):
    default_code = 300

    @classmethod
    def named(cls, group: str) -> ResourceGroupNotFound:
        return cls(f"resource group not found[rg={group}]")


class SnapshotNotFound(NotFound):
    default_code = 2600

    @classmethod
    def named(cls, snapshot: str) -> SnapshotNotFound:
        return cls(f"snapshot not found[snapshot={snapshot}]")


class BackupNotFound(NotFound):
    """There is no whole backup of that name at that place. (The code is Redkite's own.)"""

    default_code = 2701

    @classmethod
    def named(cls, destination: str, backup: str) -> BackupNotFound:
        return cls(f"backup not found[destination={destination}][backup={backup}]")


# -- not loaded ---------------------------------------------------------------------------------
class NotLoaded(MilvusException):
    is_input_error = True


class CollectionNotLoaded(NotLoaded):
    default_code = 101

    @classmethod
    def named(cls, collection: object) -> CollectionNotLoaded:
        return cls(f"collection not loaded[collection={collection}]")


class CollectionNotFullyLoaded(NotLoaded):
    """It is being loaded: the same call may work in a moment."""

    default_code, retriable = 103, True

    @classmethod
    def named(cls, collection: object) -> CollectionNotFullyLoaded:
        return cls(f"collection not fully loaded[collection={collection}]")

    @classmethod
    def of_partition(cls, partition: object) -> CollectionNotFullyLoaded:
        return cls(f"partition not fully loaded[partition={partition}]", 202)


class PartitionNotLoaded(NotLoaded):
    default_code = 201

    @classmethod
    def named(cls, partition: object) -> PartitionNotLoaded:
        return cls(f"partition not loaded[partition={partition}]")


# -- the caller's fault -------------------------------------------------------------------------
class SegmentGone(NotLoaded):
    """A segment of an older view is no longer held: the read is made again on the present view."""

    default_code, retriable = 601, True


class InvalidInput(MilvusException, ValueError):
    is_input_error = True


class InvalidParameter(InvalidInput):
    """Text always ends in `: invalid parameter`; `expected`/`actual` add Milvus's bracketed pair."""

    default_code = 1100

    def __init__(self, message: str, *, expected: object = None, actual: object = None) -> None:
        text = f"{message}: invalid parameter" if message else "invalid parameter"
        if expected is not None or actual is not None:
            text += f"[expected={expected}][actual={actual}]"
        super().__init__(text)


class MissingParameter(InvalidInput):
    default_code = 1101

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: missing parameter")


class ParameterTooLarge(InvalidInput):
    default_code = 1102

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: parameter too large")


class IllegalSchema(InvalidInput):
    default_code = 105


class SchemaMismatch(InvalidInput):
    """The client's cached schema is older than the collection's: fetch it again and retry once."""

    default_code = 109

    @classmethod
    def named(cls, collection: str) -> SchemaMismatch:
        return cls(f"collection schema mismatch[collection={collection}]")


class StandbyMode(InvalidInput):
    """A write to a cluster that follows another, or whose writes were stopped."""

    default_code = 108


class CollectionAlreadyLoaded(InvalidInput):
    default_code = 104


class LimitReached(InvalidInput):
    default_code = 102


class InvalidDatabaseName(InvalidInput):
    default_code = 802


class InvalidFieldName(InvalidInput):
    default_code = 1701

    def __init__(self, message: str, field: str) -> None:
        super().__init__(f"{message}: field name invalid[field={field}]")


class SnapshotPinned(InvalidInput):
    default_code = 2601

    @classmethod
    def named(cls, snapshot: str, pins: int, what: str = "") -> SnapshotPinned:
        before = f"dropping {what}" if what else "dropping"
        return cls(f"{pins} active pins, unpin before {before}: snapshot is pinned[snapshot={snapshot}]")


class AliasConflict(InvalidInput):
    default_code = 1601


class AliasExists(InvalidInput):
    default_code = 1602


class ResourceGroupExists(InvalidInput):
    default_code = 301

    @classmethod
    def named(cls, group: str) -> ResourceGroupExists:
        return cls(f"resource group already exist, but create with different config[rg={group}]")


class TooManyResourceGroups(InvalidInput):
    default_code = 302

    @classmethod
    def of(cls, group: str, limit: int) -> TooManyResourceGroups:
        return cls(f"resource group num reach limit[rg={group}][limit={limit}]")


class IllegalResourceGroup(InvalidInput):
    default_code = 303

    def __init__(self, message: str, group: str, config: object) -> None:
        super().__init__(f"{message}: resource group illegal config[rg={group}][config={config}]")


class ParamError(InvalidInput):
    """An argument the SDK refuses before any call."""

    default_code = 1


class DataNotMatchException(ParamError):
    """A row or column that does not fit the schema."""


class DataTypeNotMatchException(ParamError):
    """An argument of the wrong Python type."""


class DescribeCollectionException(MilvusException):
    """What `describe_collection` raises in the SDK."""


# -- bytes and disks ----------------------------------------------------------------------------
class WireError(MilvusException, ValueError):
    default_code = 1004
    is_input_error = True


class StorageError(MilvusException, OSError):
    default_code = 1008


class TopicClosed(StorageError):
    """A topic of the log that this process was asked for cannot be used by it: nothing was appended or read."""


class TopicBehind(TopicClosed):
    """A topic of the log takes no writes until what is in it has been read anew: nothing was appended. Whoever writes
    again has that done first."""


class ObjectNotFound(StorageError, FileNotFoundError):
    default_code = 1000


class Conflict(StorageError):
    """A conditional write found something else than it expected; nothing was written. (The code is Redkite's own.)"""

    default_code = 2700


class ChangesGone(StorageError):
    """What a change feed would have to read next is kept no longer. (The code is Redkite's own.)"""

    default_code = 2702


class PartlyWritten(StorageError):
    """A disk failed under some shards of a write. The rows at `written` are in, those at `failed` may not be."""

    def __init__(self, message: str, code: int, written: tuple[int, ...], failed: tuple[int, ...]) -> None:
        super().__init__(message, code)
        self.written = written
        self.failed = failed

    def __reduce__(self) -> tuple[object, ...]:
        return PartlyWritten, (self.message, self.code, self.written, self.failed)


class Corruption(StorageError):
    default_code = 1009


class PathLocked(StorageError):
    default_code = 3001


class ReadOnlyDatabase(StorageError, PermissionError):
    default_code = 3002

    @classmethod
    def of_collection(cls, name: str) -> ReadOnlyDatabase:
        return cls(f"collection {name} cannot be written: its database was opened with read_only=True")


# -- who may ------------------------------------------------------------------------------------
class AccessError(MilvusException, PermissionError):
    is_input_error = True


class NotAuthenticated(AccessError):
    default_code = 1400

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: not authenticated")


class NotPermitted(AccessError):
    default_code = 1401

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}: privilege not permitted")


class Refused(AccessError):
    """Refused at the door: gRPC tells it by its own status, REST by HTTP's."""

    grpc_status: ClassVar[int]

    def of_key(self, user: str, key: str) -> Refused:
        """The same to whoever showed an API key: its name stands where its owner's did."""
        return type(self)(self.message.replace(f"permission deny to {user} in", f"permission deny to apikey {key} in"))


class Unauthenticated(Refused):
    """Nobody that is known asks."""

    grpc_status = 16


class PermissionDenied(Refused):
    """Whoever asks may not."""

    grpc_status = 7

    @classmethod
    def of(cls, privilege: str, user: str, database: str) -> PermissionDenied:
        return cls(f"Privilege{privilege}: permission deny to {user} in the `{database}` database")


class ConnectError(MilvusException, ConnectionError):
    default_code = 2
    retriable = True


MilvusUnavailableException = ConnectError
"""The name that Milvus's SDK has for it."""


class SchemaNotReadyException(ParamError):
    """A schema that a collection cannot be made of, or that is not the collection's."""


class ConnectionNotExistException(ParamError):
    """The name of a connection that is not there."""


class ConnectionConfigException(ParamError):
    """A URI or connection argument that cannot be used."""


class Timeout(MilvusException, TimeoutError):
    default_code = 10001
    retriable = True


class Unexpected(MilvusException):
    default_code = 65535


_BY_CODE: dict[int, type[MilvusException]] = {}


def _index(cls: type[MilvusException]) -> None:
    for sub in cls.__subclasses__():
        if "default_code" in vars(sub):
            _BY_CODE.setdefault(sub.default_code, sub)
        _index(sub)


_index(MilvusException)


def from_code(code: int, message: str) -> MilvusException:
    """The error a peer sent as (code, message), as the class this tree has for it."""
    return rebuilt(_BY_CODE.get(code, Unexpected), message, code)
