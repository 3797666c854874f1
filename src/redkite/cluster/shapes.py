"""How classes are taken apart and put together again: structs, named tuples, dataclasses, by their fields.

A field that msgpack can say by itself (numbers, texts, enumerations, structs of such) goes as it is and comes back by
its type. Every other one is *boxed*: it carries what it is.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import sys
import types
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from redkite.errors import WireError
from redkite.filter import Filter
from redkite.model.request import Request
from redkite.model.results import Result
from redkite.model.schema import CollectionSchema

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_OPEN = frozenset({msgspec.Struct, Request, Result, CollectionSchema, Filter})
"""Structs that stand for others, or are known by their bytes: always boxed."""
_PACKAGE = "redkite."

Box = Callable[[Any], Any]


class Shape:
    """One class. `values` are what is sent of an object, in the order of its fields."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.name = f"{cls.__module__}:{cls.__qualname__}".encode()
        names, hints = _fields_of(cls)
        self._names = names
        self._taken: Callable[[Any], Any] = operator.attrgetter(*names) if len(names) > 1 else _alone(names)
        self.boxed = tuple(not _is_native(hint, frozenset()) for hint in hints)
        wanted = tuple(Any if boxed else hint for hint, boxed in zip(hints, self.boxed, strict=True))
        self._boxed = tuple(at for at, boxed in enumerate(self.boxed) if boxed)
        self.wire_type: Any = types.GenericAlias(tuple, wanted)
        """What msgpack decodes before `build`."""

    def values(self, value: Any, box: Box) -> tuple[Any, ...]:
        found = [*self._taken(value)]
        for at in self._boxed:
            found[at] = box(found[at])
        return tuple(found)

    def build(self, values: tuple[Any, ...]) -> Any:
        return self.cls(**dict(zip(self._names, values, strict=True)))


def _alone(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What `operator.attrgetter` is for several: the values of no field, or of one."""
    return lambda value: tuple([getattr(value, name) for name in names])


def shape_of(cls: type) -> Shape:
    """Raises TypeError for a class that cannot be sent."""
    found = _SHAPES.get(cls)
    if found is None:
        found = _SHAPES.setdefault(cls, Shape(cls))
    return found


_SHAPES: dict[type, Shape] = {}


@functools.cache
def class_named(name: bytes) -> Any:
    """The class that another node means, `module:class`. Raises WireError for one that is not known here."""
    module, _, path = name.decode().partition(":")
    if module not in sys.modules and (not module.startswith(_PACKAGE) or "__" in module):
        raise WireError(f"a node sent a {path[:100]}, which is not known here")
    try:
        found: Any = functools.reduce(getattr, path.split("."), sys.modules.get(module) or import_module(module))
    except (ImportError, AttributeError):
        found = None
    if not isinstance(found, type) or found.__module__ != module:
        raise WireError(f"a node sent a {module[:100]}.{path[:100]}, which is not known here")
    return found


@functools.cache
def shape_named(name: bytes) -> Shape:
    """The shape of a class that another node means."""
    cls = class_named(name)
    if not is_shaped(cls):
        raise WireError(f"a node sent a {cls.__name__}, which is nothing that is sent")
    return shape_of(cls)


def is_shaped(cls: type) -> bool:
    """Whether objects of a class are taken apart by their fields."""
    is_named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields")
    return is_named_tuple or issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls)


def _fields_of(cls: Any) -> tuple[tuple[str, ...], list[Any]]:
    if not isinstance(cls, type):
        raise TypeError(f"{cls!r} is no class")
    if issubclass(cls, msgspec.Struct):
        try:
            return cls.__struct_fields__, [field.type for field in msgspec.structs.fields(cls)]
        except NameError:  # a type that is imported for type checkers alone
            return cls.__struct_fields__, [Any] * len(cls.__struct_fields__)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        names: tuple[str, ...] = cls._fields
    elif dataclasses.is_dataclass(cls):
        names = tuple(field.name for field in dataclasses.fields(cls) if field.init)
    else:
        raise TypeError(f"a {cls.__name__} cannot be sent from node to node")
    try:
        hints = get_type_hints(cls)
    except NameError:
        hints = {}
    return names, [hints.get(name, Any) for name in names]


def _is_native(hint: Any, within: frozenset[type]) -> bool:
    """Whether msgpack brings back what was sent by the type alone. `within`: the structs that hold the field."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return True
    if origin is Union or origin is types.UnionType:
        some = [arg for arg in args if arg is not type(None)]
        return all(arg in _SCALARS for arg in some) or (len(some) == 1 and _is_native(some[0], within))
    if origin in (tuple, list, dict, frozenset, set):
        return all(arg is Ellipsis or _is_native(arg, within) for arg in args)
    if not isinstance(hint, type) or hint in _OPEN:
        return False
    if hint in _SCALARS or issubclass(hint, Enum):
        return True
    if not issubclass(hint, msgspec.Struct):
        return False
    if hint in within:
        return True
    try:
        return all(_is_native(f.type, within | {hint}) for f in msgspec.structs.fields(hint))
    except NameError:
        return False
