"""One REST call: from the bytes of its body to the bytes of its answer."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

from redkite.errors import InvalidInput, InvalidParameter, MilvusException, Unimplemented
from redkite.model.decoding import from_json
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.model.types import ConsistencyLevel
from redkite.server.calls import Calls
from redkite.server.observer import WRITES, Call
from redkite.server.rest.bodies import Body, Part
from redkite.server.rest.streams import Content

R = TypeVar("R", bound=Result)
T = TypeVar("T")

_UNKNOWN_KEY = re.compile(r"Object contains unknown field `([^`]*)`")


class NotJson(InvalidInput):
    """The body is not the JSON that the endpoint takes."""

    default_code = 1801

    def __init__(self, detail: str) -> None:
        super().__init__(f"can only accept json format request, error: {detail}")


class EmptyBody(InvalidInput):
    default_code = 1801

    def __init__(self) -> None:
        super().__init__("can only accept json format request, the request body should be nil, however {} is valid")


class MissingKeys(InvalidInput):
    """Keys that the endpoint requires."""

    default_code = 1802

    def __init__(self, detail: str) -> None:
        super().__init__(f"missing required parameters, error: {detail}")


class BadRows(InvalidInput):
    """Rows that do not fit the collection."""

    default_code = 1804

    def __init__(self, detail: str) -> None:
        super().__init__(f"fail to deal the insert data, error: {detail}")


class BadPrimaryKey(InvalidInput):
    default_code = 1806

    def __init__(self, detail: str) -> None:
        super().__init__(f"please check the primary key and its' type can only in [int, string], error: {detail}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an endpoint knows of its call besides the body."""

    calls: Calls
    call: Call
    """What is noted of it."""
    database: str
    integers_as_text: bool
    """Int64 values of the answer are JSON strings."""
    user: str = ""
    """Who asks; empty when nobody need say."""

    async def ask(self, request: Request, result: type[R]) -> R:
        """A result of the service."""
        answer = await self.finished(request, _as_is)
        assert isinstance(answer, result)
        return answer

    async def tell(self, request: Request) -> bytes:
        """Have the service do something, and answer that it is done."""
        await self.finished(request, _as_is)
        return DONE

    async def finished(self, request: Request, finish: Callable[[Result], T]) -> T:
        """What `finish` makes of a result, where the call runs."""
        if self.user:
            request = msgspec.structs.replace(request, user=self.user)
        self.call.asks(request)
        if type(request) not in WRITES:
            return await self.calls.call(request, finish)

        def noted(result: Result) -> T:
            self.call.answered(result)
            return finish(result)

        return await self.calls.call(request, noted)


Handler = Callable[[Exchange, Any], Awaitable[Content]]


class Endpoint(NamedTuple):
    body: type[Body]
    handle: Handler


def _as_is(result: Result) -> Result:
    return result


# -- answers ------------------------------------------------------------------------------------
def answer(data: Any, **more: Any) -> bytes:
    """The envelope of a success."""
    return orjson.dumps({"code": 0, "data": data, **more}, option=orjson.OPT_SERIALIZE_NUMPY)


def failure(error: MilvusException) -> bytes:
    """The envelope of an error."""
    return orjson.dumps({"code": error.code, "message": error.message})


DONE = answer({})


# -- bodies -------------------------------------------------------------------------------------
def read_body(kind: type[Body], data: bytes) -> Any:
    """Bytes -> a body of that type. Raises EmptyBody, NotJson, MissingKeys, or InvalidParameter for an unknown key."""
    if not data:
        raise EmptyBody
    try:
        try:
            body = from_json(data, kind)
        except msgspec.ValidationError:
            body = msgspec.convert(_without_nulls(data), kind)
    except msgspec.ValidationError as error:
        found = _UNKNOWN_KEY.search(str(error))
        if found is None:
            raise NotJson(str(error)) from None
        raise InvalidParameter(f"unknown parameter {found[1]}{_nearest(found[1], kind)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(str(error)) from None
    missing = _missing(body)
    if missing:
        raise MissingKeys("\n".join(missing))
    return body


def _without_nulls(data: bytes) -> Any:
    """A null stands for an absent key."""
    raw = msgspec.json.decode(data)
    if isinstance(raw, dict):
        return {key: value for key, value in raw.items() if value is not None}
    return raw


class _Wanted(NamedTuple):
    """What has to be looked at in a body of one type."""

    required: tuple[tuple[str, str, bool], ...]
    """Names of attributes, as error texts show them, and whether zero and an empty list are values of them."""
    parts: tuple[str, ...]
    """Attributes that may hold structs."""


@functools.cache
def _wanted(kind: type[Body] | type[Part]) -> _Wanted:
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    required = tuple((name, "".join(map(_capital, name.split("_"))), types[name] is Any) for name in kind.required)
    parts = tuple(name for name, its_type in types.items() if _may_hold_struct(its_type))
    return _Wanted(required, parts)


def _capital(word: str) -> str:
    return "ID" if word == "id" else word.capitalize()


def _may_hold_struct(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    return any(_may_hold_struct(inner) for inner in getattr(kind, "__args__", ()))


def _missing(body: Body | Part) -> list[str]:
    """One line for each required key that is not there, also of the structs inside."""
    kind = type(body)
    wanted = _wanted(kind)
    lines = []
    for name, tag, takes_any in wanted.required:
        value = getattr(body, name)
        if (value is None) if takes_any else (not value and value is not False):
            shown = f"Key: '{body.title or kind.__name__}.{tag}'"
            lines.append(f"{shown} Error:Field validation for '{tag}' failed on the 'required' tag")
    for name in wanted.parts:
        value = getattr(body, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Body | Part):
                lines += _missing(item)
    return lines


def _nearest(name: str, kind: type[Body]) -> str:
    close = difflib.get_close_matches(name, _known(kind), n=1, cutoff=0.5)
    return f", did you mean {close[0]}?" if close else f", known are {', '.join(kind.__struct_encode_fields__)}"


def _known(kind: Any) -> list[str]:
    names = list(kind.__struct_encode_fields__)
    for field in msgspec.structs.fields(kind):
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                names += _known(inner)
    return names


# -- values that several endpoints take ---------------------------------------------------------
def consistency(name: str) -> ConsistencyLevel | None:
    """A level by name; None when none is given."""
    if not name:
        return None
    try:
        return ConsistencyLevel[name]
    except KeyError:
        known = ", ".join(level.name for level in ConsistencyLevel)
        raise InvalidParameter(f"consistencyLevel {name} is not one of {known}") from None


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Properties and params as they travel: text."""
    return {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in values.items()
    }


def refuse_unserved(body: Body | Part, *names: str) -> None:
    """Raise Unimplemented for keys that ask for something this version does not do."""
    for name in names:
        if getattr(body, name):
            key = dict(zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True))[name]
            raise Unimplemented(f"{key} is not supported in this version")
