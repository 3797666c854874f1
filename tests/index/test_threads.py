"""Work that is shared out over threads: in order, whole, and its errors are the caller's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from redkite.index.threads import faiss, native_method, native_object, shared_out


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_pieces(threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for count in (1, 2, 5, 40):
            assert shared_out(pool, lambda piece: piece * piece, range(count)) == [at * at for at in range(count)]


def test_a_busy_pool_is_not_waited_for() -> None:
    with ThreadPoolExecutor(1) as pool:
        free = threading.Event()
        pool.submit(free.wait)
        try:
            here = threading.get_ident()
            assert set(shared_out(pool, lambda _: threading.get_ident(), range(4))) == {here}
        finally:
            free.set()


@pytest.mark.parametrize("bad", [0, 1, 3])
def test_an_error_in_a_piece_is_raised_and_nothing_is_left_waiting(bad: int) -> None:
    done: list[int] = []

    def work(piece: int) -> int:
        if piece == bad:
            raise ValueError(f"piece {piece}")
        done.append(piece)
        return piece

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ValueError, match=f"piece {bad}"):
            shared_out(pool, work, range(4))
        assert shared_out(pool, lambda piece: piece, range(3)) == [0, 1, 2]
    assert bad not in done


def test_a_piece_may_share_itself_out_over_the_same_pool() -> None:
    with ThreadPoolExecutor(2) as pool:

        def work(piece: int) -> int:
            return sum(shared_out(pool, lambda part: part, range(piece)))

        assert shared_out(pool, work, range(2, 12)) == [sum(range(piece)) for piece in range(2, 12)]


def test_a_native_method_is_the_method() -> None:
    rows = np.random.default_rng(1).random((50, 8), np.float32)
    index = faiss.IndexFlatL2(8)
    index.add(rows)
    search = native_method(index, "search_c")
    assert isinstance(search, partial), "no Python function between"
    distances, found = np.empty((50, 1), np.float32), np.empty((50, 1), np.int64)
    parameters = faiss.SearchParameters(sel=faiss.IDSelectorRange(10, 50))
    pointers = [faiss.swig_ptr(some) for some in (rows, distances, found)]
    search(50, pointers[0], 1, *pointers[1:], native_object(parameters))
    assert found[10:, 0].tolist() == list(range(10, 50))
    assert (found[:10] >= 10).all()
    assert native_object(None) is None
