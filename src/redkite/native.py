"""Kernels that numba compiles: loops that neither numpy nor faiss has.

Modules that define kernels import numba, which takes some 150 ms; who uses them imports them when the first kernel is
called. A kernel is compiled at its own first call, in about a second, and kept on disk beside its source, or in the
user's cache folder where that cannot be written, or not at all. It lets go of the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, ParamSpec, TypeVar, cast

import numba

_numba: Any = numba
"""Its type stubs describe decorators of other shapes."""
P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = {"nogil": True, "error_model": "numpy"}
_LOCK = Lock()


class _Kernel:
    """A function that is compiled when it is first called."""

    def __init__(self, signature: object, function: Callable[..., Any]) -> None:
        self._signature = signature
        self._function = function
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *args: object) -> Any:
        compiled = self._compiled
        if compiled is None:
            compiled = self._compile()
        return compiled(*args)

    def entry(self) -> Callable[..., Any]:
        """See `entry_of`."""
        compiled: Any = self._compiled or self._compile()
        (only,) = compiled.overloads.values()
        entry: Callable[..., Any] = only.entry_point
        return entry

    def _compile(self) -> Callable[..., Any]:
        with _LOCK:
            if self._compiled is None:
                try:
                    made = _numba.njit(self._signature, cache=True, **_OPTIONS)(self._function)
                except (OSError, RuntimeError):
                    # There is no folder to keep it in, or no room: it lives as long as the process.
                    made = _numba.njit(self._signature, **_OPTIONS)(self._function)
                self._compiled = made
            return self._compiled


def kernel(signature: object) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A function called from Python: compiled for arrays of exactly these types, read-only ones included."""

    def compiled_later(function: Callable[P, T]) -> Callable[P, T]:
        return cast(Callable[P, T], _Kernel(signature, function))

    return compiled_later


def entry_of(kernel: Callable[P, T]) -> Callable[P, T]:
    """The kernel without its look at the types of what it is given, which costs more than a small one does: for a
    caller who is sure of them. Compiles it."""
    assert isinstance(kernel, _Kernel)
    return cast(Callable[P, T], kernel.entry())


def helper(function: F) -> F:
    """A function that only kernels of the same module call."""
    return cast(F, _numba.njit(function, **_OPTIONS))


def array(item: Any, layout: str = "C", *, written: bool = False) -> Any:
    """The type of a vector of `item` (a numba type). "A": there may be gaps between its items."""
    return _numba.types.Array(item, 1, layout, readonly=not written)


def matrix(item: Any, *, written: bool = False) -> Any:
    """The type of a matrix of `item`, rows one after another."""
    return _numba.types.Array(item, 2, "C", readonly=not written)
