"""The model of what a cluster takes, against what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from redkite.errors import InvalidParameter
from redkite.launch.sizing import GB, Load, Measured, index_bytes, row_bytes, size, table

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results"
SMALL = Load(vectors=1_000_000, dim=128, scalar_bytes=0)


def figure(page: str, row: str, column: int = 1) -> float:
    """A number out of a table of the results."""
    (line,) = [line for line in (RESULTS / page).read_text().splitlines() if line.startswith(f"| {row} ")][:1]
    return float(re.sub(r"[^\d.]", "", line.split("|")[column + 1].split("–")[0]))


def test_the_bytes_of_rows_and_of_a_graph_are_those_that_were_measured() -> None:
    rows = figure("storage.md", "on disk without indexes, MB")
    assert row_bytes(SMALL) == pytest.approx(rows, rel=0.02)
    assert index_bytes(SMALL) == pytest.approx(figure("storage.md", "index, MB"), rel=0.02)
    whole = figure("growth.md", "1000000", 8)
    assert row_bytes(SMALL) + index_bytes(SMALL) == pytest.approx(whole, rel=0.03)
    assert Measured().stored_ratio == figure("storage.md", "to raw")


def test_a_disk_index_takes_in_memory_what_the_page_about_indexes_says() -> None:
    (line,) = [
        line for line in (REPOSITORY / "docs/indexes.md").read_text().splitlines() if line.startswith("| `DISKANN`")
    ]
    said = float(line.split("|")[3])
    assert index_bytes(Load(vectors=1, dim=128, index="DISKANN")) == pytest.approx(said, rel=0.05)


def test_processor_time_is_not_less_than_was_measured() -> None:
    measured = Measured()
    assert measured.search_core_seconds * 1e3 >= figure("w1.md", "CPU ms a search, 1 thread *", 3)
    inserts = figure("w1.md", "insert dicts, CPU ms a batch *")
    assert inserts <= measured.insert_core_seconds * 1e6 <= 1.5 * inserts
    assert measured.hop_core_seconds * 1e3 == pytest.approx(
        figure("cluster_transport.md", "search | `GrpcNetwork.ask`", 3)
    )
    assert measured.build_core_seconds * 1e6 == pytest.approx(2 * figure("growth.md", "1000000", 4), rel=0.02)
    assert measured.segment_core_seconds * 1e3 * 4 == pytest.approx(figure("growth.md", "1000000", 5), rel=0.05)


def test_more_of_anything_never_takes_less() -> None:
    base = Load(vectors=50_000_000)
    found = size(base)
    for name, value in (
        ("vectors", 60_000_000),
        ("dim", 1024),
        ("searches", 1000.0),
        ("inserts", 9000.0),
        ("replicas", 2),
    ):
        more = size(msgspec.structs.replace(base, **{name: value}))
        for key in (
            "query_nodes",
            "streaming_nodes",
            "data_nodes",
            "proxies",
            "memory_bytes",
            "puts",
            "gets",
            "dollars",
        ):
            assert getattr(more, key) >= getattr(found, key), (name, key)


def test_every_replica_fits_into_the_memory_of_its_nodes() -> None:
    for vectors in (10**6, 10**8, 10**10):
        for replicas in (1, 2, 3):
            load = Load(vectors=vectors, replicas=replicas)
            found = size(load)
            assert found.memory_bytes / replicas <= found.query_nodes // replicas * load.host_memory * load.usable


def test_a_million_vectors_need_no_more_than_the_least_that_survives_any_one_node() -> None:
    found = size(Load(vectors=1_000_000, dim=128, searches=50))
    assert (found.query_nodes, found.streaming_nodes, found.proxies, found.coordinators) == (2, 2, 2, 2)
    assert found.nodes == 9


def test_on_disk_ten_billion_vectors_take_a_tenth_of_the_memory() -> None:
    graph, disk = size(Load(vectors=10**10)), size(Load(vectors=10**10, index="DISKANN"))
    assert disk.memory_bytes * 10 < graph.memory_bytes
    assert disk.dollars < graph.dollars
    assert graph.stored_bytes > 10**10 * 3000


@pytest.mark.parametrize(
    ("name", "value"), [("vectors", 0), ("dim", 0), ("searches", -1.0), ("usable", 0.0), ("replicas", 0)]
)
def test_a_load_that_makes_no_sense_is_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidParameter, match=name):
        Load(**({"vectors": 1} | {name: value}))  # type: ignore[arg-type]


def test_the_page_shows_the_table_that_the_model_makes() -> None:
    assert "\n".join(table()) in (REPOSITORY / "docs" / "scaling.md").read_text()


def test_a_host_larger_than_it_all_holds_it_all() -> None:
    assert size(Load(vectors=10**7, host_memory=4096 * GB, searches=1)).query_nodes == 2
