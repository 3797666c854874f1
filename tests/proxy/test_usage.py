"""Who is told of what is held."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from tests.engine import NAME, Engine

from redkite.model.inspection import GetMetrics
from redkite.model.usage import MemoryReport, StorageReport
from redkite.simulated import simulated_env


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine("db", simulated_env(seed=1), {"memory_limit": 64_000_000})
    made.create(index="FLAT")
    yield made
    made.close()


def asked(engine: Engine, kind: str, user: str = "") -> str:
    answer = engine.database.service.call(
        GetMetrics(question=msgspec.json.encode({"metric_type": kind}).decode(), user=user)
    )
    return str(answer.result().answer if hasattr(answer, "result") else answer.answer)


def test_a_user_is_told_of_the_collections_that_it_may_see(engine: Engine) -> None:
    for user, seen in (("", [NAME]), ("nobody", [])):
        memory = msgspec.json.decode(asked(engine, "memory_report", user), type=MemoryReport)
        storage = msgspec.json.decode(asked(engine, "storage_report", user), type=StorageReport)
        assert [found.collection for found in memory.collections] == seen
        assert [found.collection for found in storage.collections] == seen


def test_the_limit_is_told(engine: Engine) -> None:
    assert msgspec.json.decode(asked(engine, "memory_report"), type=MemoryReport).limit == 64_000_000
