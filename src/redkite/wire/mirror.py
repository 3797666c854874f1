"""RPCs as HTTP asks them with names and texts: a request from its fields, a reply as the JSON of its message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from redkite.errors import InvalidParameter
from redkite.wire.messages import parse
from redkite.wire.methods import METHODS


def message_of(method: str, fields: Mapping[str, str], body: Any = None) -> bytes:
    """The message of an RPC: of a JSON object, and of fields by their names, whatever their case and underscores;
    several values of a field stand with commas between them.

    Raises InvalidParameter for a name that the message has not, or a value that the field cannot have.
    """
    made = METHODS[method][0]()
    known = {_plain(field.name): field for field in made.DESCRIPTOR.fields}
    given: dict[str, Any] = {}
    for name, text in fields.items():
        field = known.get(_plain(name))
        if field is None or field.type == FieldDescriptor.TYPE_MESSAGE:
            raise InvalidParameter(f"{method} has no parameter {name:.80}")
        given[field.name] = (
            [_value(field, one) for one in text.split(",")] if field.is_repeated else _value(field, text)
        )
    try:
        ParseDict({} if body is None else body, made)
        ParseDict(given, made)
    except (ParseError, TypeError, ValueError) as error:
        raise InvalidParameter(f"{method}: {error}") from None
    data: bytes = made.SerializeToString()
    return data


def shown(method: str, reply: bytes) -> dict[str, Any]:
    """A reply as JSON: the names of the protocol, numbers of 64 bits as texts, nothing left out."""
    message = parse(METHODS[method][1], reply)
    told: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return told


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _value(field: Any, text: str) -> object:
    if field.type != FieldDescriptor.TYPE_BOOL:
        return text
    if text.lower() not in ("true", "false"):
        raise InvalidParameter(f"{field.name} should be true or false, got {text:.40}")
    return text.lower() == "true"
