"""What an import leaves behind is like what inserts leave: for time travel, compaction, checks, copies and readers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine, schema
from tests.formats.test_round_trips import stored

import redkite
from redkite import MilvusClient
from redkite.errors import ImportFailed
from redkite.formats.readers import read_json
from redkite.model import requests as rq
from redkite.model.imports import DescribeImport, ImportFiles, ImportInfo, ImportState
from redkite.node.shard import Shard
from redkite.query.plan import QueryPlan

VECTORS = np.random.default_rng(2).random((40, DIM), dtype=np.float32)
CHILD = Path(__file__).with_name("import_memory_child.py")


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    made = Engine(str(tmp_path / "db"))
    made.create(shards=2)
    made.insert(list(range(20)), VECTORS[:20], [1] * 20)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Rows 10 to 29."""
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": i, "vector": VECTORS[i].tolist(), "number": 2, "word": None}) for i in range(10, 30)]
    path.write_text("\n".join(lines))
    return str(path)


def bring(engine: Engine, file: str) -> ImportInfo:
    job = engine.call(ImportFiles(collection=NAME, groups=((file,),)))
    while not (info := engine.call(DescribeImport(job_id=job.job_id))).state.is_over:
        time.sleep(0.002)
    assert isinstance(info, ImportInfo)
    return info


AFTER = dict.fromkeys(range(10), 1) | dict.fromkeys(range(10, 30), 2)


def test_the_time_before_an_import_can_still_be_read(engine: Engine, file: str) -> None:
    before = engine.call(rq.AllocTimestamp()).timestamp
    assert bring(engine, file).state is ImportState.COMPLETED
    assert engine.numbers() == AFTER
    then = engine.query("id >= 0", fields=("id", "number"), as_of=before)
    assert dict(zip(then["id"], then["number"], strict=True)) == dict.fromkeys(range(20), 1)


def test_imported_segments_are_compacted_with_others(engine: Engine, file: str) -> None:
    bring(engine, file)
    engine.insert([5], VECTORS[:1], [7])
    engine.flush()
    before = engine.call(rq.AllocTimestamp()).timestamp
    engine.call(rq.Compact(collection=NAME))
    engine.database.topology.compactor.wait_idle()
    assert len(engine.database.topology.data.segments(engine.database.topology.root.find("", NAME).collection_id)) == 2
    assert engine.numbers() == AFTER | {5: 7}
    engine.reopen()
    assert engine.numbers() == AFTER | {5: 7}
    then = engine.query("id >= 0", fields=("id", "number"), as_of=before)
    assert dict(zip(then["id"], then["number"], strict=True)) == AFTER | {5: 7}


def test_no_reader_sees_that_rows_are_replaced_before_the_new_ones_are_there(
    engine: Engine, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever view it took while the import was shown."""
    engine.flush()
    meta = engine.database.topology.root.find("", NAME)
    plan = QueryPlan(
        collection_id=meta.collection_id, schema=meta.schema, filter=None, partitions=None, limit=None, columns=(),
        count=True,
    )  # fmt: skip

    def count(shard: Shard) -> int:
        return sum(part.count for part in shard.query(plan)[1])

    seen = {shard.channel: [count(shard)] for shard in engine.database.topology.own_shards(meta)}

    def noted(self: Shard, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name == "view":
            seen[self.channel].append(count(self))

    with monkeypatch.context() as patch:
        patch.setattr(Shard, "__setattr__", noted)
        bring(engine, file)
    for counts in seen.values():
        assert counts == sorted(counts), "rows were gone"
        assert counts[-1] > counts[0]


def test_a_database_with_imported_rows_verifies_and_goes_on(engine: Engine, file: str) -> None:
    bring(engine, file)
    engine.delete("id in [11, 3]")
    engine.close()
    report = redkite.verify(engine.path)
    assert report.findings == ()
    engine.open()
    assert engine.numbers() == {key: value for key, value in AFTER.items() if key not in (11, 3)}
    engine.insert([11], VECTORS[:1], [9])
    assert bring(engine, file).state is ImportState.COMPLETED
    assert engine.numbers() == {key: value for key, value in AFTER.items() if key != 3}


def test_a_delete_that_came_before_an_import_does_not_reach_its_rows_after_a_restart(engine: Engine, file: str) -> None:
    engine.flush()
    engine.delete("id in [25, 26]")  # nothing is there: no row changes, the log alone has it
    bring(engine, file)
    assert engine.numbers() == AFTER
    engine.reopen()
    assert engine.numbers() == AFTER


def test_imported_rows_go_into_snapshots(engine: Engine, file: str) -> None:
    bring(engine, file)
    engine.call(rq.CreateSnapshot(collection=NAME, name="s"))
    engine.delete("id >= 0")
    job = engine.call(rq.RestoreSnapshot(collection=NAME, name="s", target_collection="again")).job_id
    while engine.call(rq.GetRestoreSnapshotState(job_id=job)).state not in (3, 4):
        time.sleep(0.002)
    engine.call(rq.LoadCollection(collection="again"))
    found = engine.call(rq.Query(collection="again", filter="id >= 0", output_fields=("id", "number"))).rows
    assert dict(zip(found["id"].to_pylist(), found["number"].to_pylist(), strict=True)) == AFTER


def test_a_process_that_reads_sees_an_import_and_what_it_replaced(tmp_path: Path, file: str) -> None:
    path = str(tmp_path / "shared.db")
    writer = MilvusClient(path)
    index = writer.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    made = MilvusClient.create_schema()
    made.add_field("id", redkite.DataType.INT64, is_primary=True)
    made.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
    made.add_field("number", redkite.DataType.INT64)
    made.add_field("word", redkite.DataType.VARCHAR, max_length=9, nullable=True)
    writer.create_collection("c", schema=made, index_params=index)
    rows = [{"id": i, "vector": VECTORS[i], "number": 1} for i in range(20)]
    writer.insert("c", rows[:15])
    writer.flush("c")
    writer.insert("c", rows[15:])
    reader = MilvusClient(path, read_only=True)
    assert len(reader.query("c", "id >= 0")) == 20
    writer.import_files("c", file)
    found = {row["id"]: row["number"] for row in reader.query("c", "id >= 0", output_fields=["number"])}
    assert found == AFTER
    reader.close()
    writer.close()


def test_a_collection_that_is_dropped_meanwhile_fails_the_import(engine: Engine, file: str) -> None:
    work = engine.database._proxy._imports._worker
    gate = engine.database.topology.env.tasks.future()
    work.submit(gate.result)
    job = engine.call(ImportFiles(collection=NAME, groups=((file,),))).job_id
    engine.call(rq.DropCollection(collection=NAME))
    gate.set_result(None)
    while not (info := engine.call(DescribeImport(job_id=job))).state.is_over:
        time.sleep(0.002)
    assert info.state is ImportState.FAILED
    assert "collection not found" in info.reason


def test_an_import_goes_on_while_its_collection_changes(engine: Engine, file: str) -> None:
    work = engine.database._proxy._imports._worker
    gate = engine.database.topology.env.tasks.future()
    work.submit(gate.result)
    job = engine.call(ImportFiles(collection=NAME, groups=((file,),))).job_id
    engine.call(rq.RenameCollection(collection=NAME, new_name="renamed"))
    gate.set_result(None)
    while not (info := engine.call(DescribeImport(job_id=job))).state.is_over:
        time.sleep(0.002)
    assert info.state is ImportState.COMPLETED
    found = engine.call(rq.Query(collection="renamed", filter="id >= 0", output_fields=("count(*)",))).rows
    assert found["count(*)"].to_pylist() == [30]


def test_closing_the_database_ends_a_job_that_waits(engine: Engine, file: str) -> None:
    work = engine.database._proxy._imports._worker
    gate = engine.database.topology.env.tasks.future()
    work.submit(gate.result)
    job = engine.call(ImportFiles(collection=NAME, groups=((file,),))).job_id
    engine.database._proxy._imports._closing = True
    gate.set_result(None)
    engine.reopen()
    info = engine.call(DescribeImport(job_id=job))
    assert info.state is ImportState.FAILED
    assert "nothing of it was stored" in info.reason
    with pytest.raises(ImportFailed, match="import job does not exist, jobID=1"):
        engine.call(DescribeImport(job_id=1))


def test_a_large_json_file_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    row = json.dumps({"id": 1, "vector": [0.5] * DIM, "number": 1, "word": 'x"}]\\' * 20})
    path.write_text("[" + ",\n".join([row] * 30_000) + "]")
    assert path.stat().st_size > 5 << 20
    slabs = list(read_json(stored(path), schema(), lines=False))
    assert len(slabs) > 3
    assert sum(slab.rows for slab in slabs) == 30_000


@pytest.mark.timeout(180)
def test_an_import_stays_within_the_memory_limit(tmp_path: Path) -> None:
    for more in (["write"], []):
        done = subprocess.run(
            [sys.executable, "-m", "tests.proxy.import_memory_child", str(tmp_path), *more],
            capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {"state": "Completed", "rows": 200_000, "count": 200_000}
