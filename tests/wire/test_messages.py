"""The protocol's text: facts equal to Milvus's, kept out of the default descriptor pool."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pymilvus.grpc_gen import common_pb2, feder_pb2, milvus_pb2, msg_pb2, rg_pb2, schema_pb2

from redkite.errors import WireError
from redkite.wire import compile as compiler
from redkite.wire.messages import milvus, parse, pool, schema, service
from redkite.wire.numbers import packed

FILES = [common_pb2, rg_pb2, schema_pb2, feder_pb2, msg_pb2, milvus_pb2]
# Messages that no call of the protocol reaches.
UNREACHABLE = {
    "StringResponse", "GetStatisticsRequest", "GetStatisticsResponse", "DescribeSegmentRequest",
    "DescribeSegmentResponse", "ShowSegmentsRequest", "ShowSegmentsResponse", "Hits", "QueryCursor",
    "GrantPrivilegeEntity", "MilvusExt", "ImportAuthPlaceholder", "GetImportProgressAuthPlaceholder",
    "ListImportsAuthPlaceholder", "PrivilegeLevel",
}  # fmt: skip


def names_of(kind: str) -> list[str]:
    return [
        descriptor.full_name
        for module in FILES
        for name, descriptor in getattr(module.DESCRIPTOR, f"{kind}_types_by_name").items()
        if name not in UNREACHABLE
    ]


def theirs(full_name: str, kind: str) -> Any:
    package, name = full_name.rsplit(".", 1)
    module = next(module for module in FILES if module.DESCRIPTOR.package == package)
    return getattr(module.DESCRIPTOR, f"{kind}_types_by_name")[name]


def shape_of_enum(descriptor: Any) -> dict[str, int]:
    return {value.name: value.number for value in descriptor.values}


def is_repeated(field: Any) -> bool:
    # protobuf 7 has dropped labels, protobuf 5 has nothing else.
    return bool(field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED)


OUR_OWN = 1000
"""Fields from this number on are Redkite's own: no client of Milvus sends or reads them."""


def shape_of_message(descriptor: Any) -> dict[str, Any]:
    """Everything about a message that decides how it looks on the wire."""
    fields = {}
    for field in descriptor.fields:
        if field.number >= OUR_OWN:
            continue
        kind = field.message_type or field.enum_type
        oneof = field.containing_oneof
        fields[field.name] = (
            field.number, field.type, is_repeated(field), field.has_presence, kind and kind.full_name,
            oneof and oneof.name, bool(field.message_type and field.message_type.GetOptions().map_entry),
        )  # fmt: skip
    return {
        "fields": fields,
        "nested": {nested.name: shape_of_message(nested) for nested in descriptor.nested_types},
        "enums": {enum.name: shape_of_enum(enum) for enum in descriptor.enum_types},
        "oneofs": {oneof.name: [field.name for field in oneof.fields] for oneof in descriptor.oneofs},
    }


@pytest.mark.parametrize("name", names_of("message"))
def test_a_message_has_the_names_numbers_and_types_of_milvus(name: str) -> None:
    assert shape_of_message(pool.FindMessageTypeByName(name)) == shape_of_message(theirs(name, "message"))


@pytest.mark.parametrize("name", names_of("enum"))
def test_an_enumeration_has_the_values_of_milvus(name: str) -> None:
    assert shape_of_enum(pool.FindEnumTypeByName(name)) == shape_of_enum(theirs(name, "enum"))


@pytest.mark.parametrize("name", ["MilvusService", "ClientTelemetryService", "ProxyService"])
def test_a_service_has_the_calls_of_milvus(name: str) -> None:
    def shape(descriptor: Any) -> dict[str, tuple[str, str, bool, bool]]:
        return {
            method.name: (
                method.input_type.full_name, method.output_type.full_name, method.client_streaming,
                method.server_streaming,
            )
            for method in descriptor.methods
        }  # fmt: skip

    ours = pool.FindServiceByName(f"milvus.proto.milvus.{name}")
    assert shape(ours) == shape(milvus_pb2.DESCRIPTOR.services_by_name[name])


def test_the_shipped_descriptors_are_compiled_from_the_text(tmp_path: Path) -> None:
    compiler.descriptor_set(tmp_path / "fresh.pb")
    assert (tmp_path / "fresh.pb").read_bytes() == compiler.DESCRIPTORS.read_bytes()


ORDERS = list(permutations(["redkite.wire.messages", "pymilvus", "qdrant_client"]))
_IMPORTS = """
import importlib, json, os, sys, traceback
import numpy, pandas, pydantic, grpc, httpx  # they take long, and know no messages

said = []
for order in json.loads(sys.argv[1]):  # each in a process of its own
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            for name in order:
                importlib.import_module(name)
            from redkite.wire.messages import milvus
            milvus.SearchRequest(nq=1).SerializeToString()
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-4000:])
        os._exit(status)
    os.close(writing)
    with open(reading) as told:
        problem = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said.append(problem or (f"exit status {status}" if status else ""))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def imported() -> dict[tuple[str, ...], str]:
    """What went wrong with each order of imports, each in a process that had imported none of the three."""
    finished = subprocess.run(
        [sys.executable, "-c", _IMPORTS, json.dumps(ORDERS)], check=False, capture_output=True, text=True, timeout=100
    )
    assert finished.returncode == 0, finished.stderr
    return dict(zip(ORDERS, json.loads(finished.stdout), strict=True))


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_redkite_pymilvus_and_qdrant_import_together_in_any_order(
    order: tuple[str, ...], imported: dict[tuple[str, ...], str]
) -> None:
    assert not imported[order]


def test_the_default_pool_is_left_alone() -> None:
    code = (
        "from google.protobuf import descriptor_pool; import redkite.wire.methods\n"
        "try: descriptor_pool.Default().FindMessageTypeByName('milvus.proto.milvus.SearchRequest')\n"
        "except KeyError: print('alone')"
    )
    finished = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert finished.stdout.strip() == "alone", finished.stderr


def test_a_message_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"milvus\.proto\.milvus has no message Nonsense"):
        _ = milvus.Nonsense


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x7f", b"\xff" * 20, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x12\x02\xc3\x28", b"\x0b"],
    ids=["no length", "too short", "endless number", "huge length", "not UTF-8", "open group"],
)
def test_bytes_that_are_no_message_are_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError, match="cannot parse SearchRequest"):
        parse(milvus.SearchRequest, data)


def test_a_message_nested_too_deep_is_a_wire_error() -> None:
    data = b""
    for _ in range(200):
        data = packed(b"\x0a", packed(b"\x2a", data))
    with pytest.raises(WireError):
        parse(schema.TemplateArrayValueArray, data)


@pytest.mark.parametrize("record", [b"\x2a\x00", b"\x38\x01", b"\x3d\x00\x00\x00\x00", b"\x39" + bytes(8)])
def test_a_large_message_of_countless_fields_is_refused_before_it_takes_memory(record: bytes) -> None:
    with pytest.raises(WireError, match="more than 16384 fields"):
        parse(milvus.InsertRequest, record * (2 << 20))


@pytest.mark.parametrize("tail", [b"\x0b", b"\xff" * 11, b"\x0a\xff"], ids=["group", "endless", "cut"])
def test_a_large_message_with_a_broken_field_is_a_wire_error(tail: bytes) -> None:
    with pytest.raises(WireError):
        parse(milvus.InsertRequest, packed(b"\x12", bytes(2 << 20)) + tail)


def test_every_call_of_the_service_names_messages_that_exist() -> None:
    assert len(service.methods) == 144
    for method in service.methods:
        assert pool.FindMessageTypeByName(method.input_type.full_name) is method.input_type


def test_classes_of_parts_stay_when_no_message_of_them_is_left() -> None:
    message = milvus.SearchResults()
    classes = [weakref.ref(type(message.results.fields_data.add())), weakref.ref(type(message.status))]
    del message
    gc.collect()
    assert [made() is None for made in classes] == [False, False]
