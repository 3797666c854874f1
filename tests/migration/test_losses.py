"""Migrations that something comes between, and sources that would lose rows, keys or secrets on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redkite import MilvusClient, ParamError
from redkite.client.index_params import IndexParams
from redkite.client.schema import CollectionSchema
from redkite.migration import show
from redkite.migration.loose import loose
from redkite.migration.plan import Found, field_name, shown
from redkite.migration.run import Report, _Job, migrate
from redkite.migration.state import State
from redkite.model.types import DataType


class Cut(BaseException):
    """The process ends here."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def make_databases(path: str) -> None:
    """`birds` in two databases, with other keys."""
    with MilvusClient(path) as client:
        for name, first in (("one", 0), ("two", 1000)):
            client.create_database(name)
            client.use_database(name)
            client.create_collection("birds", dimension=2)
            client.create_partition("birds", "old")
            client.insert("birds", [{"id": first + n, "vector": [n, 1]} for n in range(30)])


def keys(path: str, name: str, database: str = "") -> list[Any]:
    with MilvusClient(path, db_name=database) as client:
        return [row["id"] for row in client.query(name, filter="id >= 0", output_fields=["id"])]


def cut_behind(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, after: int = 1) -> None:
    """Let a method do its work so many times, and end there."""
    whole: Callable[..., Any] = getattr(owner, method)
    calls: list[None] = []

    def cut(*arguments: Any, **named: Any) -> None:
        whole(*arguments, **named)
        calls.append(None)
        if len(calls) == after:
            raise Cut

    monkeypatch.setattr(owner, method, cut)


def parquet(path: Path, *numbers: int, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors = pa.array([[float(n), 1.0] for n in numbers], pa.list_(pa.float32(), 2))
    pq.write_table(pa.table({"id": list(numbers), "v": vectors, **columns}), path)


# -- what comes between -------------------------------------------------------------------------
def test_a_migration_of_another_database_does_not_go_on_where_the_first_one_stopped(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_databases("./from.db")
    with monkeypatch.context() as patched:
        cut_behind(patched, State, "note", 2)
        with pytest.raises(Cut):
            migrate("from.db", "to.db", database="one", target_database="one", batch=10)
    assert migrate("from.db", "to.db", database="two", target_database="two", batch=10).is_whole
    assert keys("./to.db", "birds", "two") == list(range(1000, 1030))
    assert migrate("from.db", "to.db", database="one", target_database="one", batch=10).is_whole
    assert keys("./to.db", "birds", "one") == list(range(30))


def test_another_command_does_not_take_over_what_the_state_file_tells(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_databases("./from.db")
    with monkeypatch.context() as patched:
        cut_behind(patched, State, "note", 2)
        with pytest.raises(Cut):
            migrate("from.db", "to.db", database="one", batch=10, state="mine.json")
    with pytest.raises(ParamError, match=r"mine.json is of a migration with another database, typed"):
        migrate("from.db", "to.db", database="two", typed=True, batch=10, state="mine.json")
    assert migrate("from.db", "to.db", database="one", batch=10, state="mine.json").is_whole


@pytest.mark.parametrize(("owner", "method"), [(_Job, "_create"), (State, "begin"), (_Job, "_finish")])
def test_a_migration_goes_on_that_was_cut_off_while_a_collection_was_made(
    here: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    make_databases("./from.db")
    with monkeypatch.context() as patched:
        cut_behind(patched, owner, method)
        with pytest.raises(Cut):
            migrate("from.db", "to.db", database="one")
    report = migrate("from.db", "to.db", database="one")
    assert report.is_whole
    assert keys("./to.db", "birds") == list(range(30))
    with MilvusClient("./to.db") as client:
        assert client.list_partitions("birds") == ["_default", "old"]


def test_files_that_changed_meanwhile_are_not_read_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(here / "birds" / "b.parquet", *range(20))
    with monkeypatch.context() as patched:
        cut_behind(patched, State, "note")
        with pytest.raises(Cut):
            migrate("birds", "to.db", batch=5)
    parquet(here / "birds" / "a.parquet", *range(100, 120))
    with pytest.raises(ParamError, match="the files of birds are others than when this migration began"):
        migrate("birds", "to.db", batch=5)


# -- sources ------------------------------------------------------------------------------------
def test_two_folders_of_one_name_are_refused(here: Path) -> None:
    parquet(here / "birds" / "a.parquet", 1)
    parquet(here / "birds" / "birds" / "a.parquet", 2)
    with pytest.raises(ParamError, match="two folders are called birds: birds and birds/birds"):
        migrate("birds", "to.db")


def test_columns_get_names_that_fields_may_have_and_the_plan_says_so(here: Path) -> None:
    more: dict[str, Any] = {
        "a b": [1], "a-b": [2], "in": [3], "größe": [4], "when": pa.array([1_234_567_890_123], pa.timestamp("ns")),
        "wide": pa.array([[0.5, 0.25]], pa.list_(pa.float64(), 2)),
    }  # fmt: skip
    parquet(here / "birds" / "a.parquet", 1, **more)
    report = migrate("birds", "to.db")
    assert report.is_whole
    for note in (
        "column a b is called a_b: names have letters, digits and underscores",
        "column a-b is called a_b_: names have letters, digits and underscores",
        "column in is called in_: names have letters, digits and underscores",
        "times of when lose what is below a microsecond",
        "vectors wide of float64 become float32",
    ):
        assert note in report.plan[0].notes
    with MilvusClient("./to.db") as client:
        (row,) = client.query("birds", filter="id == 1")
    assert (row["a_b"], row["a_b_"], row["in_"], row["gr__e"], row["wide"]) == (1, 2, 3, 4, [0.5, 0.25])


def test_a_value_that_no_field_takes_names_its_column(here: Path) -> None:
    parquet(here / "birds" / "a.parquet", 1, large=pa.array([2**63], pa.uint64()))
    with pytest.raises(ParamError, match="column large cannot be carried as INT64"):
        migrate("birds", "to.db")


def test_a_key_of_a_payload_that_is_called_like_a_field_takes_no_other_key_s_place() -> None:
    rest = loose({"id", "vector"}, [], typed=False)
    assert rest.of({"id": 1, "id_": 2, "vector": 3}, "k") == {"id__": 1, "id_": 2, "vector_": 3}
    assert rest.of({"$meta": 1, "$meta_": 2}, "k") == {"$meta__": 1, "$meta_": 2}


def test_only_keys_that_can_be_fields_become_columns() -> None:
    first = {"größe": 1, "in": 1, "x" * 300: 1, "fine": 1}
    assert dict(loose({"id"}, [first], typed=True).columns) == {"fine": DataType.INT64}
    many = {f"k{n}": n for n in range(100)}
    assert len(loose({"id", "vector"}, [many], typed=True).columns) == 61


def test_names_of_fields_are_found_that_nobody_has() -> None:
    assert field_name("a b", ()) == "a_b"
    assert field_name("a-b", ("a_b", "a_b_")) == "a_b__"
    assert len(field_name("x" * 300, ())) < 256


# -- secrets ------------------------------------------------------------------------------------
def test_neither_the_state_file_nor_the_plan_tells_a_password(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://root:hidden@localhost:19530/birds?api_key=hidden"
    assert shown(address) == "http://localhost:19530/birds"
    assert shown("./from.db") == "./from.db"
    found = Found(source="a", name="a", schema=CollectionSchema(), indexes=IndexParams(), rows=0, key="")
    report = Report("milvus", (found,), (), ())
    assert "hidden" not in "".join(show.plan_lines(report, address, f"{address}2"))
    make_databases("./from.db")
    with monkeypatch.context() as patched:
        patched.setattr("redkite.migration.run.open_source", _opened("./from.db"))
        cut_behind(patched, State, "note")
        with pytest.raises(Cut):
            migrate(address, "to.db", token="hidden", database="one")
    (state,) = here.glob("redkite-migration-*")
    assert "hidden" not in state.read_text()
    assert json.loads(state.read_text())["source"] == "http://localhost:19530/birds"


def _opened(path: str) -> Callable[..., Any]:
    from redkite.migration.opening import open_source

    def opened(source: str, kind: str, *, token: str, database: str, python: str) -> Any:
        assert (source, token) != (path, "")
        return open_source(path, kind, token="", database=database, python=python)

    return opened
