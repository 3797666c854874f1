"""Arguments as users write them, checked and turned into what requests want. Every refusal names the argument."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from redkite.client.texts import text
from redkite.errors import DataTypeNotMatchException, ParamError, Unimplemented
from redkite.model.moments import read_time_parts
from redkite.model.timestamps import at_us, compose
from redkite.model.types import ConsistencyLevel

_NOT_BUILT = frozenset({
    "_async", "_callback", "cluster_id", "external_source", "external_spec", "function_chains",
    "iterator", "namespace", "priority", "strict_float32",
})  # fmt: skip
"""Arguments of Milvus's SDK that this version cannot honour."""

_OFF: tuple[object, ...] = (None, False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def refuse_unknown(method: str, unknown: Mapping[str, object], known: Iterable[str]) -> None:
    """Refuse the keyword arguments `unknown` of `method`. One that is switched off (None or False) asks for nothing."""
    for name, value in unknown.items():
        if name in _NOT_BUILT:
            if not any(value is off for off in _OFF):
                raise Unimplemented(f"argument `{name}` of {method}() is not supported in this version")
            continue
        near = difflib.get_close_matches(name, list(known), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise ParamError(f"{method}() got an unexpected argument `{name}`{hint}")


def refuse_unbuilt(method: str, params: Mapping[str, object]) -> None:
    """Refuse entries of a parameter dict that this version cannot honour."""
    for name, value in params.items():
        if name in _NOT_BUILT and not any(value is off for off in _OFF):
            raise Unimplemented(f"parameter `{name}` of {method}() is not supported in this version")


def illegal(argument: str, value: object) -> ParamError:
    return ParamError(f"`{argument}` value {value} is illegal")


def wrong_type(argument: str, expected: type, value: object) -> ParamError:
    return ParamError(
        f"wrong type of argument [{argument}], expected type: [{expected.__name__}], got type: [{type(value).__name__}]"
    )


def name(argument: str, value: object) -> str:
    """A name that must be given."""
    if not isinstance(value, str):
        raise wrong_type(argument, str, value)
    if not value.strip():
        raise illegal(argument, value)
    return value


def optional_name(argument: str, value: object) -> str:
    """A name that may be None or empty."""
    if value is None or value == "":
        return ""
    return name(argument, value)


def names(argument: str, value: object) -> tuple[str, ...]:
    """A list of names, or one; None and the empty list mean none."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (name(argument, value),)
    if not isinstance(value, list | tuple):
        raise illegal(argument, value)
    if not all(isinstance(item, str) and item.strip() for item in value):
        raise illegal(argument, value)
    return tuple(value)


def flag(argument: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(argument, bool, value)
    return value


def integer(argument: str, value: object) -> int:
    """A whole number; numpy's count, booleans do not."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise illegal(argument, value)
    return int(value)


def moment(argument: str, value: object) -> int:
    """A hybrid timestamp, given as one, as a `datetime` (naive: local time) or as ISO 8601 text; None is 0, the newest.
    A microsecond means its end: everything written in it is seen."""
    if value is None:
        return 0
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ParamError(f"{argument}={value!r} is no ISO 8601 time, such as 2026-11-21T12:00:00+00:00") from None
    if isinstance(value, datetime):
        return at_us((value.astimezone(UTC) - _EPOCH) // _MICROSECOND + 1) - 1
    stamp = integer(argument, value)
    if stamp < compose(1):
        raise ParamError(
            f"{argument}={stamp} is no hybrid timestamp (milliseconds << 18): a datetime or ISO 8601 text does as well"
        )
    return stamp


def time_fields(value: object) -> tuple[str, ...]:
    """The parts that times are shown as, from a text such as `"year, month"` or a list of names."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        value = ",".join(names("time_fields", value))
    if not isinstance(value, str):
        raise wrong_type("time_fields", str, value)
    return read_time_parts(value)


def expression(value: object) -> str:
    """A filter; None means none."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataTypeNotMatchException(f"The type of expr must be string ,but {type(value)} is given.")
    return value


def template(value: object) -> dict[str, Any]:
    """The values of a filter's `{placeholders}`, numpy turned into plain Python."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type("filter_params", dict, value)
    for key in value:
        if not isinstance(key, str):
            raise ParamError(f"a name in filter_params is a str, not {type(key).__name__}: {key!r:.80}")
    return {key: _plain_values(item) for key, item in value.items()}


def _plain_values(value: Any) -> Any:
    """A value, or many in a list or set of any depth, as plain Python."""
    if isinstance(value, set | frozenset):
        value = list(value)
    if isinstance(value, list | tuple):
        kinds = set(map(type, value))
        return value if kinds <= _PLAIN else list(map(_plain_values, value))
    return plain(value)


_PLAIN = {int, float, str, bool, bytes}


def plain(value: Any) -> Any:
    """A numpy scalar or array as plain Python; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value


def consistency(value: object) -> ConsistencyLevel | None:
    """A level by name or number; None means that none was given."""
    if value is None:
        return None
    if isinstance(value, str) and value in ConsistencyLevel.__members__:
        return ConsistencyLevel[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in ConsistencyLevel._value2member_map_:
        return ConsistencyLevel(value)
    raise ParamError(f"Invalid consistency level: {value}")


def texts(argument: str, value: object) -> dict[str, str]:
    """Parameters or properties as they travel: every value as text, booleans in lower case, dicts and lists as JSON."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong_type(argument, dict, value)
    return {str(key): text(item) for key, item in value.items()}
