"""Bulk writers take what inserts take, write it in files of the wanted size, and refuse the rest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import redkite
from redkite import DataType, MilvusClient
from redkite.bulk_writer import BulkFileType, LocalBulkWriter
from redkite.errors import InvalidInput, ParamError


def schema(*, auto_id: bool = False, dynamic: bool = False) -> Any:
    made = MilvusClient.create_schema(enable_dynamic_field=dynamic)
    made.add_field("id", DataType.INT64, is_primary=True, auto_id=auto_id)
    made.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    made.add_field("word", DataType.VARCHAR, max_length=5, nullable=True)
    made.add_field("stars", DataType.INT8, default_value=3)
    return made


ROW: dict[str, Any] = {"id": 1, "vector": [1.0, 2.0], "word": "a"}


def test_a_file_is_written_for_every_chunk_and_at_the_end(tmp_path: Path) -> None:
    told: list[list[str]] = []
    with LocalBulkWriter(schema(), tmp_path, chunk_size=2_000) as writer:
        for at in range(300):
            writer.append_row(ROW | {"id": at})
        assert writer.total_row_count == 300
        assert writer.buffer_row_count < 200
        writer.commit(call_back=told.append)
        assert (writer.buffer_row_count, writer.buffer_size) == (0, 0)
        writer.append_row(ROW)
    files = writer.batch_files
    assert len(files) >= 3
    assert told == [files[-2]]
    assert [Path(group[0]).name for group in files] == [f"{at}.parquet" for at in range(1, len(files) + 1)]
    assert all(Path(group[0]).parent == tmp_path / writer.uuid == writer.data_path for group in files)
    assert sum(pq.read_metadata(group[0]).num_rows for group in files) == 301


def test_rows_come_in_every_form_that_inserts_take(tmp_path: Path) -> None:
    forms: list[Any] = [
        [ROW, ROW | {"word": None}],
        {"id": np.arange(3), "vector": np.ones((3, 2), np.float32)},
        pa.table({"id": [1], "vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), "word": ["x"]}),
    ]
    with LocalBulkWriter(schema(), tmp_path, file_type=BulkFileType.JSONL) as writer:
        for form in forms:
            writer.append_batch(form)
    rows = [json.loads(line) for line in Path(writer.batch_files[0][0]).read_text().splitlines()]
    assert len(rows) == 6
    assert rows[1] == {"id": 1, "vector": [1.0, 2.0], "word": None, "stars": 3}


def test_what_does_not_fit_is_refused_when_it_is_appended_and_not_taken(tmp_path: Path) -> None:
    writer = LocalBulkWriter(schema(), tmp_path)
    bad: list[Any] = [
        ROW | {"vector": [1.0]}, ROW | {"word": "too long"}, ROW | {"id": "x"}, ROW | {"stars": 300},
        ROW | {"extra": 1}, {"id": 1}, ROW | {"vector": [1.0, float("nan")]}, [1, 2],
    ]  # fmt: skip
    for row in bad:
        with pytest.raises(InvalidInput):
            writer.append_row(row)
    assert (writer.buffer_row_count, writer.total_row_count) == (0, 0)
    writer.append_row(ROW)
    writer.close()
    with pytest.raises(InvalidInput, match="auto-id"):
        LocalBulkWriter(schema(auto_id=True), tmp_path).append_row(ROW)


def test_a_block_that_fails_writes_nothing_more_and_an_empty_folder_goes(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), LocalBulkWriter(schema(), tmp_path) as writer:
        writer.append_row(ROW)
        raise RuntimeError
    assert writer.batch_files == []
    assert list(tmp_path.iterdir()) == []


def test_arguments_are_checked(tmp_path: Path) -> None:
    for arguments, message in (
        ({"chunk_size": 0}, "chunk_size"), ({"file_type": 9}, "file_type"), ({"config": {"sep": "ab"}}, "sep"),
        ({"config": {"color": "x"}}, "unknown config color"),
    ):  # fmt: skip
        with pytest.raises(ParamError, match=message):
            LocalBulkWriter(schema(), tmp_path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ParamError, match="schema"):
        LocalBulkWriter({"fields": []}, tmp_path)  # type: ignore[arg-type]


def test_numpy_files_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with LocalBulkWriter(schema(), tmp_path, file_type=BulkFileType.NUMPY) as writer:
        writer.append_row(ROW)
        writer.commit()
        writer.append_row(ROW | {"word": None})
        with pytest.raises(ParamError, match="`word` has a null"):
            writer.commit()
    assert sorted(Path(name).name for name in writer.batch_files[0]) == [
        "id.npy", "stars.npy", "vector.npy", "word.npy",
    ]  # fmt: skip


def test_a_csv_file_never_takes_a_text_for_a_null(tmp_path: Path) -> None:
    with LocalBulkWriter(schema(), tmp_path, file_type=BulkFileType.CSV, config={"sep": "|", "nullkey": "-"}) as writer:
        writer.append_batch([ROW, ROW | {"word": None}, ROW | {"word": 'a"|b'}])
        writer.commit()
        writer.append_batch([ROW | {"word": "-"}, ROW | {"word": None}])
        with pytest.raises(ParamError, match="choose nullkey"):
            writer.commit()
    with open(writer.batch_files[0][0], newline="") as file:
        rows = list(csv.reader(file, delimiter="|"))
    assert rows[0] == ["id", "vector", "word", "stars"]
    assert [row[2] for row in rows[1:]] == ["a", "-", 'a"|b']


def test_dynamic_keys_come_beside_the_fields_or_under_meta(tmp_path: Path) -> None:
    with LocalBulkWriter(schema(dynamic=True), tmp_path, file_type=BulkFileType.JSON) as writer:
        writer.append_row(ROW | {"loose": 1, "$meta": {"deep": {"x": 2}}})
    rows = json.loads(Path(writer.batch_files[0][0]).read_text())["rows"]
    assert rows[0]["$meta"] == {"deep": {"x": 2}, "loose": 1}


def test_the_names_are_found_where_milvus_has_them() -> None:
    import redkite.bulk_writer as ours

    assert BulkFileType.NPY is BulkFileType.NUMPY
    assert BulkFileType.JSON_RB is BulkFileType.JSON
    assert set(ours.__all__) <= set(dir(ours))
    assert redkite.__version__


def nullable(**settings: Any) -> Any:
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("word", DataType.VARCHAR, max_length=10, **settings)
    return schema


@pytest.mark.parametrize("settings", [{"nullable": True}, {"default_value": "none"}])
def test_a_text_that_would_be_read_as_null_is_not_written_as_csv(tmp_path: Path, settings: dict[str, Any]) -> None:
    row = {"id": 1, "v": [1, 2], "word": ""}
    writer = LocalBulkWriter(nullable(**settings), tmp_path, file_type=BulkFileType.CSV)
    writer.append_row(row)
    with pytest.raises(ParamError, match="field `word` takes nulls and has a text '', which says null"):
        writer.commit()
    for config in ({"nullkey": "none at all"}, {}):
        fine = {**row, "word": ""} if config else {**row, "word": "x"}
        with LocalBulkWriter(nullable(**settings), tmp_path, file_type=BulkFileType.CSV, config=config) as other:
            other.append_row(fine)
        assert len(other.batch_files) == 1
    with LocalBulkWriter(nullable(), tmp_path, file_type=BulkFileType.CSV) as plain:
        plain.append_row(row)
    assert len(plain.batch_files) == 1


@pytest.mark.parametrize("behind", [False, True])
def test_rows_that_could_not_be_written_wait_for_the_next_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    writer = LocalBulkWriter(nullable(nullable=True), tmp_path)
    writer.append_row({"id": 1, "v": [1, 2], "word": "first"})
    with monkeypatch.context() as patched:
        patched.setattr("redkite.bulk_writer.local.write_files", full)
        with pytest.raises(OSError, match="no space left"):
            writer.commit(_async=behind)
            writer.commit()
    assert writer.buffer_row_count == 1
    writer.append_row({"id": 2, "v": [1, 2], "word": "second"})
    writer.commit()
    ((file,),) = writer.batch_files
    assert pq.read_table(file).column("word").to_pylist() == ["first", "second"]
    writer.close()


def test_a_row_whose_append_raises_was_not_taken_and_may_be_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redkite.bulk_writer import local

    real, failures = local.write_files, [OSError("no space left"), OSError("no space left")]

    def sometimes_full(*given: Any) -> list[Path]:
        if failures:
            raise failures.pop()
        return real(*given)

    monkeypatch.setattr(local, "write_files", sometimes_full)
    writer = LocalBulkWriter(nullable(nullable=True), tmp_path, chunk_size=1)
    for number in range(8):
        row = {"id": number, "v": [1, 2], "word": "w"}
        try:
            writer.append_row(row)
        except OSError:
            writer.append_row(row)
    writer.commit()
    assert not failures
    found = [key for (file,) in writer.batch_files for key in pq.read_table(file).column("id").to_pylist()]
    assert found == list(range(8))
    assert writer.total_row_count == 8
    writer.close()


def test_a_binary_vector_of_something_else_is_refused_as_such(tmp_path: Path) -> None:
    made = MilvusClient.create_schema()
    made.add_field("id", DataType.INT64, is_primary=True)
    made.add_field("bits", DataType.BINARY_VECTOR, dim=8)
    with LocalBulkWriter(made, tmp_path) as writer:
        with pytest.raises(InvalidInput):
            writer.append_row({"id": 1, "bits": [[1]] * 8})
        writer.append_row({"id": 1, "bits": [1, 0, 0, 0, 0, 0, 0, 1]})
    ((file,),) = writer.batch_files
    assert pq.read_table(file).column("bits").to_pylist() == [[0b10000001]]
