"""The message classes of the protocol, from a descriptor pool of our own.

The default pool is never touched: other packages put files named `common.proto` there, and a second one of that name
would fail to import. Classes are made on first use and then are plain attributes: `milvus.SearchRequest`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from redkite.errors import WireError

__all__ = ["common", "find_method", "message_class", "milvus", "own_service", "parse", "pool", "schema", "service"]


_classes: dict[str, Any] = {}


def message_class(descriptor: Any) -> Any:
    """Message descriptor -> its class, which stays for good, as do those of its parts: the library remembers classes
    without holding them, and gives one out that a collection of garbage is just taking apart in another thread."""
    made = _classes.get(descriptor.full_name)
    if made is None:
        made = _classes[descriptor.full_name] = message_factory.GetMessageClass(descriptor)
        for field in descriptor.fields:
            if field.message_type is not None:
                message_class(field.message_type)
    return made


def _load() -> Any:
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("milvus.pb").read_bytes())
    loaded = descriptor_pool.DescriptorPool()
    for file in files.file:
        loaded.AddSerializedFile(file.SerializeToString())
    return loaded


# Loaded with the module, under its import lock: two pools in one process would make messages that do not mix.
pool: Any = _load()
service: Any = pool.FindServiceByName("milvus.proto.milvus.MilvusService")
own_service: Any = pool.FindServiceByName("redkite.Redkite")


def find_method(name: str) -> Any:
    """The descriptor of an RPC of Milvus's service or of Redkite's own; None when neither has it."""
    return service.methods_by_name.get(name) or own_service.methods_by_name.get(name)


class _Package:
    """The messages of one protobuf package, as attributes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, message: str) -> Any:
        try:
            descriptor = pool.FindMessageTypeByName(f"{self._name}.{message}")
        except KeyError:
            raise AttributeError(f"{self._name} has no message {message}") from None
        cls = message_class(descriptor)
        setattr(self, message, cls)
        return cls


common = _Package("milvus.proto.common")
schema = _Package("milvus.proto.schema")
milvus = _Package("milvus.proto.milvus")


def parse(cls: Any, data: bytes) -> Any:
    """Bytes -> message, or WireError when they are not one (truncated, overlong, too deep, not UTF-8)."""
    if len(data) > _LARGE:
        _check_records(cls, data)
    try:
        return cls.FromString(data)
    except DecodeError as error:
        raise WireError(f"cannot parse {cls.DESCRIPTOR.name}: {error}") from None


_LARGE = 1 << 20
_MAX_RECORDS = 16_384
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def _check_records(cls: Any, data: bytes) -> None:
    """Refuse a large message of very many small fields: an empty sub-message takes two bytes on the wire and forty
    times as much in memory. What is large in earnest has few fields, each of them long."""
    position = records = 0
    while position < len(data):
        records += 1
        if records > _MAX_RECORDS:
            raise WireError(f"cannot parse {cls.DESCRIPTOR.name}: more than {_MAX_RECORDS} fields in {len(data)} bytes")
        tag, position = _varint(cls, data, position)
        kind = tag & 7
        if kind == _VARINT:
            _, position = _varint(cls, data, position)
        elif kind == _LENGTH:
            length, position = _varint(cls, data, position)
            position += length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise WireError(f"cannot parse {cls.DESCRIPTOR.name}: wire type {kind} at byte {position}")


def _varint(cls: Any, data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    value = shift = 0
    for octet in data[position : position + 10]:
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
    raise WireError(f"cannot parse {cls.DESCRIPTOR.name}: a number without an end at byte {position}")
