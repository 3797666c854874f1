"""Lists whose items are made when they are first looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Final, Self, SupportsIndex, TypeVar, overload

T = TypeVar("T")


class CallMaterializeFirst:
    """Stands in a view for every item while none is made. Compiled code that reads a list's memory without asking it
    (orjson, msgspec, `pyarrow.array`) meets this, and names it when it refuses it: nothing is ever left out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<an item that is not made yet: call materialize() of the result first>"


UNMADE: Final[tuple[Any, ...]] = (CallMaterializeFirst(),)  # nobody gets to see them


class View(list[T], ABC):
    """A list of `count` items that are made together, when one of them is first asked for."""

    __slots__ = ("_is_made",)

    def __init__(self, count: int) -> None:
        list.__init__(self, UNMADE * count)
        self._is_made = False

    @abstractmethod
    def _make(self) -> list[T]:
        """The items, as many as were announced."""

    @abstractmethod
    def _origin(self) -> tuple[Any, ...]:
        """What it was made with."""

    def materialize(self) -> None:
        """Make every Python object now."""
        self._ensure()

    def _ensure(self) -> None:
        """Make the items, if they are not."""
        if not self._is_made:
            self._fill(self._make())

    def _fill(self, items: list[T]) -> None:
        list.__init__(self, items)
        self._is_made = True

    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> T | list[T]:
        if not self._is_made:
            self._ensure()
        return list.__getitem__(self, index)

    def __iter__(self) -> Iterator[T]:
        if not self._is_made:
            self._fill(self._make())
        return list.__iter__(self)

    def __radd__(self, other: object) -> list[Any]:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...], tuple[list[T] | None, Any]]:
        return type(self), self._origin(), (list(self) if self._is_made else None, getattr(self, "extra", None))

    def __setstate__(self, state: tuple[list[T] | None, Any]) -> None:
        items, extra = state
        if items is not None:
            self._fill(items)
        if extra is not None:
            self.extra = extra


def _made_first(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A method of lists for views."""

    @wraps(plain)
    def method(self: View[Any], *given: Any, **named: Any) -> Any:
        self._ensure()
        for other in given:
            if isinstance(other, View):
                other._ensure()
        return plain(self, *given, **named)

    return method


for _name in (
    "__reversed__", "__contains__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__add__", "__iadd__",
    "__mul__", "__rmul__", "__imul__", "__setitem__", "__delitem__", "append", "clear", "copy", "count", "extend",
    "index", "insert", "pop", "remove", "reverse", "sort",
):  # fmt: skip
    setattr(View, _name, _made_first(getattr(list, _name)))
