"""Kernels are compiled once, and also where there is no folder to keep them in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numba import float32, types

from redkite import native


def double(values: Any) -> None:
    for at in range(len(values)):
        values[at] *= 2


SIGNATURE = types.void(native.array(float32, written=True))


@pytest.mark.parametrize("error", [RuntimeError("no locator"), PermissionError("read-only"), OSError("no space left")])
def test_a_kernel_runs_where_nothing_can_be_kept(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_kept: Callable[..., Any] = native._numba.njit

    def refuse(*given: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise error
        return compile_kept(*given, **options)

    monkeypatch.setattr(native._numba, "njit", refuse)
    values = np.ones(3, np.float32)
    native.kernel(SIGNATURE)(double)(values)
    assert values.tolist() == [2, 2, 2]


def test_threads_that_come_together_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    compile_kept: Callable[..., Any] = native._numba.njit
    monkeypatch.setattr(native._numba, "njit", lambda *given, **options: made.append(given) or compile_kept(*given))
    kernel = native.kernel(SIGNATURE)(double)
    rows = [np.ones(2, np.float32) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(kernel, rows))
    assert len(made) == 1
    assert all(row.tolist() == [2, 2] for row in rows)


def test_a_kernel_takes_arrays_that_may_not_be_written_and_refuses_other_types() -> None:
    taking = native.kernel(float32(native.array(float32)))(lambda values: values.sum())
    fixed = np.ones(4, np.float32)
    fixed.flags.writeable = False
    assert taking(fixed) == 4
    with pytest.raises(TypeError):
        taking(np.ones(4))


def test_the_entry_of_a_kernel_does_what_the_kernel_does() -> None:
    kernel = native.kernel(SIGNATURE)(double)
    values = np.ones(3, np.float32)
    native.entry_of(kernel)(values)
    kernel(values)
    assert values.tolist() == [4, 4, 4]
