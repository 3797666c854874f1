"""A memory limit is kept: segments are sealed early, writers wait and are then refused, and the process lives."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine
from tests.servers import ProcessServer

from redkite import MilvusClient
from redkite.errors import InvalidParameter, MemoryLimitExceeded, MilvusException, ParamError
from redkite.model.sizes import parse_size
from redkite.node.memory import MIB, MemoryBudget
from redkite.segment.base import BufferState
from redkite.simulated import simulated_env

CHILD = Path(__file__).with_name("memory_child.py")


def rows(first: int, count: int) -> np.ndarray:
    return np.random.default_rng(first).normal(size=(count, DIM)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 1 << 30), ("1.5 MiB", 3 << 19), ("512mb", 512 << 20), ("4096", 4096), (7, 7), ("2k", 2048)],
)
def test_a_size_is_read_as_people_write_it(text: int | str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1XB", "-1", -1, True, "1 2"])
def test_what_is_no_size_is_refused(text: int | str) -> None:
    with pytest.raises(InvalidParameter, match="is no size"):
        parse_size(text)


def test_without_a_limit_nothing_waits() -> None:
    budget = MemoryBudget(simulated_env(1))
    budget.watch("much", lambda: 1 << 50)
    budget.admit(1 << 40)()
    with budget.work("builds", 1 << 50):
        assert not budget.is_tight


def test_a_write_that_finds_no_room_is_told_who_holds_it() -> None:
    budget = MemoryBudget(simulated_env(1), 100 * MIB)
    budget.watch("growing segments", lambda: 70 * MIB)
    asked: list[int] = []
    budget.relieve_with(asked.append)
    with pytest.raises(MemoryLimitExceeded) as caught:
        budget.admit(2 * MIB)
    assert caught.value.code == 3
    assert caught.value.message.startswith("memory limit exceeded[predict(MB)=78.0][limit(MB)=100.0]")
    assert "growing segments 70.0" in caught.value.message
    assert asked
    assert budget.usage() == {"growing segments": 70 * MIB, "writes": 0}


def test_a_writer_that_waits_goes_on_when_memory_is_given_back() -> None:
    env = simulated_env(1)
    budget = MemoryBudget(env, 100 * MIB)
    held = [74 * MIB]
    budget.watch("growing segments", lambda: held[0])
    sealer = env.tasks.executor("sealer")

    def seal() -> None:
        held[0] = 0
        budget.has_changed()

    budget.relieve_with(lambda excess: sealer.submit(seal))
    done = budget.admit(4 * MIB)
    assert budget.usage()["writes"] == 16 * MIB
    done()
    done()
    assert budget.usage()["writes"] == 0


def test_background_work_waits_for_room_and_what_can_never_fit_is_refused() -> None:
    budget = MemoryBudget(simulated_env(1), 100 * MIB)
    with pytest.raises(MemoryLimitExceeded), budget.work("builds", 101 * MIB):
        pass
    with budget.work("builds", 60 * MIB):
        assert budget.used == 60 * MIB
        with pytest.raises(MemoryLimitExceeded), budget.work("builds", 60 * MIB):
            pass
    assert budget.used == 0


def test_the_fullest_segments_are_sealed_when_half_of_the_limit_is_used() -> None:
    env = simulated_env(1)
    engine = Engine("db", env, {"memory_limit": 8 * MIB})
    engine.create(index="FLAT")
    for first in range(0, 40_000, 1_000):
        engine.insert(range(first, first + 1_000), rows(first, 1_000), range(1_000))
    env.run_until_idle()
    topology = engine.database.topology
    assert topology.data.segments(topology.root.find("", NAME).collection_id)
    assert topology.memory.used < 8 * MIB
    assert engine.count() == 40_000


def test_a_growing_segment_goes_from_active_to_flushed() -> None:
    env = simulated_env(1)
    engine = Engine("db", env)
    engine.create(index="FLAT")
    engine.insert(range(10), rows(1, 10), range(10))
    topology = engine.database.topology
    shard = topology.shards(topology.root.find("", NAME))[0]
    (buffer,) = shard.buffers()
    assert buffer.state is BufferState.ACTIVE
    shard.roll()
    assert buffer.state is BufferState.FULL
    env.disk.fail_at(env.disk.operations + 2, "enospc")
    with pytest.raises(Exception, match="No space"):
        engine.flush()
    assert buffer.state is BufferState.FULL
    engine.flush()
    assert buffer.state is BufferState.FLUSHED
    assert shard.buffers() == ()


def test_clients_of_one_file_share_one_limit(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    with pytest.raises(InvalidParameter, match="is no size"):
        MilvusClient(path, memory_limit="lots")
    client = MilvusClient(path, memory_limit="1GB")
    MilvusClient(path).close()
    MilvusClient(path, memory_limit=1 << 30).close()
    with pytest.raises(ParamError, match="share one database"):
        MilvusClient(path, memory_limit="2GB")
    client.close()


def test_a_process_that_may_not_have_more_memory_survives_several_times_as_much_data(tmp_path: Path) -> None:
    """The child sets RLIMIT_DATA to what it has after a warm-up, plus the limit, plus a margin, and inserts three times
    the limit."""
    root = Path(__file__).resolve().parents[2]
    path = str(tmp_path / "big.db")
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "ARROW_DEFAULT_MEMORY_POOL": "system"}
    ended = subprocess.run(
        [sys.executable, str(CHILD), path], capture_output=True, text=True, env=environment, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["refused"] + told["inserted"] == told["batches"]
    assert told["inserted"] > 0
    assert set(told["errors"]) <= {"MemoryLimitExceeded"}
    assert told["count"] == told["rows"], "a read under the limit sees every acknowledged row"
    client = MilvusClient(path)
    assert client.query("c", "id >= 0", output_fields=["count(*)"])[0]["count(*)"] == told["rows"]
    client.close()


def test_a_log_that_was_written_without_a_limit_is_sealed_piece_by_piece_when_it_is_replayed_within_one() -> None:
    env = simulated_env(1)
    engine = Engine("db", env)
    engine.create(index="FLAT")
    for first in range(0, 20_000, 1_000):
        engine.insert(range(first, first + 1_000), rows(first, 1_000), range(1_000))
        engine.delete(f"id in [{first}, {first + 1}]")
    engine.close()
    engine.options = {"memory_limit": MIB}
    engine.open()
    topology = engine.database.topology
    (shard,) = topology.shards(topology.root.find("", NAME))
    assert shard.growing_bytes() < MIB // 2
    assert len(topology.data.segments(topology.root.find("", NAME).collection_id)) > 1
    assert engine.count() == 20_000 - 40
    engine.reopen()
    assert engine.count() == 20_000 - 40
    assert engine.query("id in [0, 2, 19000, 19002]", fields=("id",))["id"] == [2, 19_002]
    engine.close()


@pytest.mark.parametrize("condition", ["id in [1, 2]", "number >= 0"])
def test_a_delete_that_finds_no_room_is_refused_and_deletes_nothing(condition: str) -> None:
    env = simulated_env(1)
    engine = Engine("db", env, {"memory_limit": 8 * MIB})
    engine.create(index="FLAT")
    engine.insert(range(100), rows(1, 100), range(100))
    held = [8 * MIB]
    engine.database.topology.memory.watch("something else", lambda: held[0])
    with pytest.raises(MemoryLimitExceeded, match="something else"):
        engine.delete(condition)
    held[0] = 0
    assert engine.count() == 100
    assert engine.delete(condition).count == (2 if condition.startswith("id") else 100)
    engine.close()


def test_a_server_that_may_not_have_more_memory_answers_and_refuses(tmp_path: Path) -> None:
    """The kernel holds the process to what it has after a warm-up, plus the limit, plus a margin."""
    limit, margin, dim, batch = 96 << 20, 160 << 20, 128, 2_000
    vectors = np.random.default_rng(1).random((batch, dim), np.float32)
    with ProcessServer(tmp_path / "data", "--memory-limit", str(limit)) as server:
        client = MilvusClient(server.uri)
        client.create_collection("c", dim)
        for _ in range(2):
            client.insert("c", {"id": np.arange(batch), "vector": vectors})
        client.flush("c")
        client.search("c", [vectors[0]], limit=3)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")) * 1024
        resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (held + limit + margin, held + limit + margin))
        inserted = 1
        for number in range(1, 3 * limit // (batch * dim * 4) + 1):
            first = number * batch
            try:
                client.insert("c", {"id": np.arange(first, first + batch), "vector": vectors})
                inserted += 1
            except MilvusException as error:
                assert error.code == MemoryLimitExceeded.default_code, error
        assert client.query("c", "id >= 0", output_fields=["count(*)"])[0]["count(*)"] == inserted * batch
        assert inserted > 10
        assert len(client.search("c", [vectors[0]], limit=3)[0]) == 3
        client.close()
        assert server.stop() == 0
