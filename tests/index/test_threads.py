"""Work that is shared out over threads: in order, whole, and its errors are the caller's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from redkite.index.threads import shared_out


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
