"""Rows that are compared next are asked for beforehand, as long as reads are seen."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from redkite.index import paging

PAGE = os.sysconf("SC_PAGE_SIZE")
needs_advice = pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="the system takes no advice")
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (address, bytes) of all advice that is given."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(paging, "_advise_call", lambda start, size, _advice: given.append((start, size)))
    return given


@needs_advice
@pytest.mark.parametrize("width", [3, 256, 1024, 5000])
def test_every_page_of_the_rows_is_asked_for_once_and_no_other(advised: list[tuple[int, int]], width: int) -> None:
    matrix = np.zeros((500, width), np.float32)
    rows = np.random.default_rng(width).integers(0, 500, 40)
    paging.bring(matrix, rows)
    asked = [page for start, size in advised for page in range(start // PAGE, (start + size) // PAGE)]
    base, each = matrix.ctypes.data, 4 * width
    wanted = {
        page
        for row in set(rows.tolist())
        for page in range((base + row * each) // PAGE, (base + (row + 1) * each - 1) // PAGE + 1)
    }
    assert len(asked) == len(set(asked)) and set(asked) == wanted
    assert all(start % PAGE == 0 and size % PAGE == 0 for start, size in advised)


@needs_advice
def test_no_rows_and_rows_that_are_not_in_one_piece_ask_for_nothing(advised: list[tuple[int, int]]) -> None:
    paging.bring(np.zeros((9, 9), np.float32), np.empty(0, np.int64))
    paging.bring(np.broadcast_to(np.zeros((1, 9), np.float32), (9, 9)), np.arange(3))
    assert not advised


@needs_advice
def test_advice_ends_where_nothing_is_read_and_begins_again_with_reads(
    advised: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 5
    monkeypatch.setattr(paging, "_reads", lambda: reads)
    held = np.arange(100, 200)
    pages = paging.Paging(np.zeros((200, 64), np.float32), held)
    found = np.array([[3, -1, 7]])
    for _ in range(3 * paging.STAY_COLD):
        pages.expect(found)
    advised.clear()
    pages.expect(found)
    assert not advised, "everything is in memory"
    reads += 1
    pages.expect(found)
    assert not advised
    pages.expect(found)
    asked = {page for start, size in advised for page in range(start // PAGE, (start + size) // PAGE)}
    assert {(pages._matrix.ctypes.data + 256 * row) // PAGE for row in (103, 107)} <= asked


# -- under a limit ------------------------------------------------------------------------------
LARGE = textwrap.dedent("""
    import sys
    import numpy as np
    import redkite

    path, step = sys.argv[1:3]
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(50, 256)).astype(np.float32)
    data = centres[rng.integers(0, 50, 60_000)] + 0.5 * rng.normal(size=(60_000, 256)).astype(np.float32)
    client = redkite.MilvusClient(path)
    if step == "make":
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=256)
        index = client.prepare_index_params()
        index.add_index("v", index_type="DISKANN", metric_type="L2")
        client.create_collection("c", schema=schema, index_params=index)
        for at in range(0, len(data), 10_000):
            client.insert("c", {"id": np.arange(at, at + 10_000), "v": data[at : at + 10_000]})
        client.flush("c")
        client.create_index("c", index)
        queries = data[::6000] + 0.01
        true = [np.argsort(((data - query) ** 2).sum(axis=1), kind="stable")[:5] for query in queries]
        np.savez(path + ".npz", queries=queries, true=true)
    else:
        client.load_collection("c")
        asked = np.load(path + ".npz")
        for query, true in zip(asked["queries"], asked["true"]):
            found = client.search("c", [query], limit=5, search_params={"search_list": 64})[0]
            assert len(set(found.ids) & set(true.tolist())) >= 4, (found.ids, true)
    client.close()
""")


def memory_group(tmp_path: Path, megabytes: int) -> Path | None:
    """A control group of so much memory, where this process may make one."""
    old = (GROUPS / "memory").is_dir()
    group = (GROUPS / "memory" if old else GROUPS) / f"redkite-test-{os.getpid()}-{tmp_path.name}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(megabytes << 20))
    except OSError:
        if group.is_dir():
            group.rmdir()
        return None
    return group


def test_vectors_that_do_not_fit_into_memory_are_searched_rightly(tmp_path: Path) -> None:
    group = memory_group(tmp_path, 100)
    if group is None:
        pytest.skip("no control group can be made here")
    path, script = str(tmp_path / "large.db"), tmp_path / "large.py"
    script.write_text(LARGE)
    quick = tmp_path / "search.py"
    lines = [line for line in LARGE.splitlines() if not line.startswith(("centres", "data = "))]
    quick.write_text("\n".join(lines))
    try:
        subprocess.run([sys.executable, str(script), path, "make"], check=True, capture_output=True)

        def join() -> None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

        done: Any = subprocess.run(
            [sys.executable, str(quick), path, "search"], check=False, capture_output=True, text=True, preexec_fn=join
        )
        assert done.returncode == 0, done.stderr[-1500:]
    finally:
        group.rmdir()


@needs_advice
def test_all_of_some_bytes_are_asked_for_in_pieces_that_the_system_follows(advised: list[tuple[int, int]]) -> None:
    data = np.zeros(3 * paging.AT_ONCE + 5000, np.uint8)
    paging.bring_all(data)
    assert max(size for _, size in advised) <= paging.AT_ONCE
    assert advised[0][0] <= data.ctypes.data
    assert sum(advised[-1]) == data.ctypes.data + data.nbytes
    assert all(start + size == following for (start, size), (following, _) in itertools.pairwise(advised))
