"""Values of parameters that come as texts or as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.rules.numbers import truth

T = TypeVar("T", bound=str)


def only_known(owner: str, params: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise for a parameter that is not known; `owner` is named in the error, as everywhere here."""
    for key in params:
        if key not in known:
            names = f", known are {', '.join(known)}" if known else ""
            raise InvalidParameter(f"{owner}: unknown parameter {key}{names}")


def one_of(key: str, value: Any, known: Sequence[T]) -> T:
    """One of some words, in any case."""
    lower = str(value).lower()
    if lower not in known:
        raise InvalidParameter(f"{key} [{str(value)[:100]}] is invalid, should be one of [{', '.join(known)}]")
    return cast("T", lower)


def number_of(owner: str, key: str, value: Any) -> float:
    """A finite number, or its text."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        refuse(owner, key, value, "a number")
    return number


def flag_of(owner: str, key: str, value: Any) -> bool:
    """A truth value, or its text in any case."""
    found = truth(str(value))
    if found is None:
        refuse(owner, key, value, "true or false")
    return found


def json_of(owner: str, key: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        refuse(owner, key, text, "valid JSON")


def as_text(value: Any) -> str:
    """As it would travel: texts as they are, others as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def refuse(owner: str, key: str, value: Any, wanted: str) -> NoReturn:
    raise InvalidParameter(f"{owner}: {key} [{str(value)[:100]}] is invalid, should be {wanted}")
