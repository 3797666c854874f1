"""Parameters of indexes and of searches over them: their kinds, ranges and defaults, and how given values are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redkite.errors import InvalidParameter
from redkite.model.rules.numbers import truth, whole_number

Value = int | float | str | bool
INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer between two bounds, both included. Without a default it may be left out, unless it is required."""

    name: str
    least: int
    most: int = INT32_MAX
    default: int | None = None
    required: bool = False

    def read(self, value: Any) -> int:
        number = whole_number(value) if isinstance(value, str) else value
        if not isinstance(number, int) or isinstance(number, bool):
            raise InvalidParameter(f"Type conflict in json: param '{self.name}' ({_short(value)}) should be integer")
        if not self.least <= number <= self.most:
            raise out_of_range(self.name, number, self.least, self.most)
        return number


@dataclass(frozen=True, slots=True)
class Decimal:
    """A finite number between two bounds; the upper one may be left out of the range."""

    name: str
    least: float
    most: float
    default: float | None = None
    open_end: bool = False
    required: bool = False

    def read(self, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InvalidParameter(f"Type conflict in json: param '{self.name}' ({_short(value)}) should be a number")
        if not self.least <= number <= self.most or (self.open_end and number == self.most):
            end = ")" if self.open_end else "]"
            raise InvalidParameter(
                f"Out of range in json: param '{self.name}' ({number:g}) should be in range "
                f"[{self.least:g}, {self.most:g}{end}"
            )
        return number


@dataclass(frozen=True, slots=True)
class Flag:
    name: str
    default: bool | None = None
    required: bool = False

    def read(self, value: Any) -> bool:
        flag = truth(value) if isinstance(value, str) else value
        if not isinstance(flag, bool):
            raise InvalidParameter(f"Type conflict in json: param '{self.name}' ({_short(value)}) should be a boolean")
        return flag


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words, in any case."""

    name: str
    words: tuple[str, ...]
    default: str | None = None
    required: bool = False

    def read(self, value: Any) -> str:
        word = value.upper() if isinstance(value, str) else ""
        if word not in self.words:
            raise InvalidParameter(
                f"invalid value of param '{self.name}' ({_short(value)}), it should be one of [{', '.join(self.words)}]"
            )
        return word


Param = Whole | Decimal | Flag | Choice


def out_of_range(name: str, number: int, least: int, most: int) -> InvalidParameter:
    return InvalidParameter(f"Out of range in json: param '{name}' ({number}) should be in range [{least}, {most}]")


def read_params(known: tuple[Param, ...], given: Mapping[str, Any], unknown: str) -> dict[str, Value]:
    """The typed values of what was given, and the defaults of what was not. `unknown` is the error's text for a name
    that is not known; `{}` in it is the name."""
    names = {param.name for param in known}
    for name in given:
        if name not in names:
            raise InvalidParameter(unknown.format(name))
    values: dict[str, Value] = {}
    for param in known:
        if given.get(param.name) is not None:
            values[param.name] = param.read(given[param.name])
        elif param.default is not None:
            values[param.name] = param.default
        elif param.required:
            raise InvalidParameter(f"param '{param.name}' not exist in json")
    return values


def read_build_params(index_type: str, known: tuple[Param, ...], given: Mapping[str, str]) -> dict[str, Value]:
    """`read_params` of an index; all values are text."""
    for param in known:
        text = given.get(param.name)
        if isinstance(param, Whole) and text is not None and whole_number(text) is None:
            raise InvalidParameter(f"invalid integer value, key: '{param.name}', value: '{_short(text)}'")
    return read_params(known, given, f"index param {{}} is not known for index type {index_type}")


def read_search_params(index_type: str, known: tuple[Param, ...], given: Mapping[str, Any]) -> dict[str, Value]:
    return read_params(known, given, f"search parameter {{}} is not known for index type {index_type}")


def _short(value: Any) -> str:
    return str(value)[:100]
