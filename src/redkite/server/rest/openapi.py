"""The OpenAPI document of REST: made from the very types that the endpoints read, so that the two cannot differ.

What a type cannot say stands in `openapi_data.py`: what each endpoint answers, and values for examples.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import orjson
from msgspec.structs import FieldInfo

from redkite import __version__
from redkite.server.rest.bodies import Body, Part
from redkite.server.rest.endpoints import BASE, ENDPOINTS
from redkite.server.rest.exchange import Endpoint
from redkite.server.rest.openapi_data import ANSWERS, EXAMPLES, MORE, VALUES
from redkite.server.rest.v1 import V1

OPENAPI_PATH: Final = "/v2/openapi.json"
_REFERENCE: Final = "#/components/schemas/{name}"
_DESCRIPTION: Final = """\
Redkite's REST interface: that of Milvus. Every endpoint of v2 takes a JSON object by POST and answers HTTP 200 with an
envelope: `{"code": 0, "data": …}` for a success, `{"code": …, "message": …}` otherwise. Keys that an endpoint does not
know are refused. Other statuses: 401 when nobody known asks, 403 when whoever asks may not, 408 when time was up."""
_HEADERS: Final[list[dict[str, Any]]] = [
    {
        "name": "DB-Name", "in": "header", "schema": {"type": "string"},
        "description": "The database, where the body names none.",
    },
    {
        "name": "Request-Timeout", "in": "header", "schema": {"type": "integer", "minimum": 1, "maximum": 86_400},
        "description": "Seconds that the call may take.",
    },
    {
        "name": "Accept-Type-Allow-Int64", "in": "header", "schema": {"type": "boolean"},
        "description": "`false`: 64-bit integers are answered as texts.",
    },
    {
        "name": "Client-Request-Id", "in": "header", "schema": {"type": "string", "maxLength": 128},
        "description": "Stands in the server's log, and comes back.",
    },
]  # fmt: skip


@functools.cache
def openapi_bytes() -> bytes:
    """The document as JSON."""
    return orjson.dumps(openapi(), option=orjson.OPT_INDENT_2)


def openapi() -> dict[str, Any]:
    """The document (OpenAPI 3.1)."""
    bodies = {endpoint.body for endpoint in (*ENDPOINTS.values(), *V1.values())}
    components = _components(bodies)
    names = _names(bodies)
    paths = {path: {"post": _operation("POST", path, endpoint, names)} for path, endpoint in sorted(ENDPOINTS.items())}
    for (method, path), endpoint in V1.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, endpoint, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Redkite", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{}, {"bearer": []}, {"basic": []}],
        "tags": [{"name": tag} for tag in sorted({_tag(path) for path in paths})],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "parameters": {header["name"]: header for header in _HEADERS},
            "headers": {
                "X-Milvus-Trace-Id": {
                    "description": "The id of the request in the server's logs.", "schema": {"type": "string"},
                }
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "`user:password`, or an API key. Needed where the server asks who calls.",
                },
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }  # fmt: skip


# -- operations -----------------------------------------------------------------------------------
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer", "minimum": 1, "description": "Milvus's code of the error."},
        "message": {"type": "string"},
    },
    "additionalProperties": False,
    "examples": [{"code": 100, "message": "collection not found[database=default][collection=books]"}],
}


def _operation(method: str, path: str, endpoint: Endpoint, names: dict[type, str]) -> dict[str, Any]:
    short = path.removeprefix(BASE)
    operation: dict[str, Any] = {
        "operationId": short.strip("/").replace("/", "_"),
        "tags": [_tag(path)],
        "parameters": [{"$ref": f"#/components/parameters/{header['name']}"} for header in _HEADERS],
        "responses": _responses(short),
    }
    if method == "GET":
        operation["parameters"] = [*operation["parameters"], *_query(endpoint.body)]
    else:
        operation["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REFERENCE.format(name=names[endpoint.body])},
                    "examples": {"example": {"value": example(short, endpoint.body)}},
                }
            },
        }
    return operation


def _tag(path: str) -> str:
    return path.removeprefix(BASE).split("/")[0] if path.startswith(BASE) else "v1"


def _query(body: type[Body]) -> Iterator[dict[str, Any]]:
    """The keys of a body that stand in the query of a GET."""
    for field in msgspec.structs.fields(body):
        yield {
            "name": field.encode_name,
            "in": "query",
            "required": field.name in body.required,
            "schema": {"type": "string"},
        }


def _responses(short: str) -> dict[str, Any]:
    success: dict[str, Any] = {
        "type": "object",
        "required": ["code", "data"],
        "properties": {"code": {"const": 200 if short.startswith("/v1/") else 0}, "data": ANSWERS.get(short, {})},
    }
    success["properties"] |= MORE.get(short, {})
    failed = {"application/json": {"schema": {"$ref": _REFERENCE.format(name="Error")}}}
    headers = {"X-Milvus-Trace-Id": {"$ref": "#/components/headers/X-Milvus-Trace-Id"}}
    either = {"anyOf": [success, {"$ref": _REFERENCE.format(name="Error")}]}
    return {
        "200": {
            "description": "The answer, or what is wrong.",
            "headers": headers,
            "content": {"application/json": {"schema": either}},
        },
        "401": {"description": "Nobody that is known asks.", "content": failed},
        "403": {"description": "Whoever asks may not.", "content": failed},
        "408": {"description": "The time was up.", "content": failed},
    }


# -- schemas ----------------------------------------------------------------------------------------
def _components(bodies: set[type[Body]]) -> dict[str, Any]:
    """The schema of each body, and of the structs inside."""
    ordered = sorted(bodies, key=lambda body: (body.__module__, body.__name__))
    _, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    names = _names(bodies)
    for kind in _structs(bodies):
        schema = components[names[kind]]
        for field in _wanted(kind):
            schema.setdefault("required", []).append(field.encode_name)
            _not_empty(schema["properties"][field.encode_name])
    return dict(sorted(components.items()))


def _wanted(kind: type[Body] | type[Part]) -> list[FieldInfo]:
    """The keys that must be given: those that are required, and objects that have such keys."""
    return [
        field for field in msgspec.structs.fields(kind)
        if field.name in kind.required
        or (isinstance(field.type, type) and issubclass(field.type, Part) and field.type.required)
    ]  # fmt: skip


def _not_empty(schema: dict[str, Any]) -> None:
    for kind, key in (("string", "minLength"), ("array", "minItems"), ("object", "minProperties")):
        if schema.get("type") == kind:
            schema[key] = 1
            schema.pop("default", None)


def _structs(bodies: set[type[Body]]) -> set[type[Body] | type[Part]]:
    """The bodies and all structs inside them."""
    found: set[type[Body] | type[Part]] = set()
    waiting: list[Any] = list(bodies)
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, Body | Part):
            if kind in found:
                continue
            found.add(kind)
            waiting += [field.type for field in msgspec.structs.fields(kind)]
        waiting += getattr(kind, "__args__", ())
    return found


def _names(bodies: set[type[Body]]) -> dict[type, str]:
    """What the schema of each struct is called: its name, with its module where two share one."""
    kinds = _structs(bodies)
    ordered = sorted(kinds, key=lambda kind: (kind.__module__, kind.__name__))
    references, _ = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    return {kind: str(ref["$ref"]).rpartition("/")[2] for kind, ref in zip(ordered, references, strict=True)}


# -- examples ---------------------------------------------------------------------------------------
def example(short: str, body: type[Body]) -> dict[str, Any]:
    """A body that an endpoint takes: its own example, or one of what it requires."""
    return EXAMPLES.get(short) or _example(body)


def _example(kind: type[Body] | type[Part]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in _wanted(kind):
        name = field.encode_name
        inner = field.type if isinstance(field.type, type) else None
        if inner is not None and issubclass(inner, Part):
            found[name] = _example(inner)
            continue
        parts = [arg for arg in getattr(field.type, "__args__", ()) if isinstance(arg, type) and issubclass(arg, Part)]
        if parts:
            part = _example(parts[0])
            found[name] = {"books": part} if getattr(field.type, "__origin__", None) is dict else [part]
        else:
            found[name] = 1 if inner is int else VALUES.get(name, "books")
    return found
