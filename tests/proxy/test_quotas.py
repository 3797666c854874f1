"""Rates, denials and sizes, with time that moves when told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np
import pytest
from tests.engine import DIM, NAME, Engine

from redkite.errors import (
    InvalidParameter,
    LimitReached,
    MilvusException,
    ParameterTooLarge,
    QuotaExceeded,
    RateLimited,
    Unimplemented,
)
from redkite.model import quotas as qt
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.advice import AdviseIndex, MeasureRecall
from redkite.model.imports import DescribeImport, ImportFiles, ImportState
from redkite.model.inspection import GetMetrics, SystemMetrics
from redkite.model.quotas import Quotas, Rates
from redkite.model.types import DataType
from redkite.proxy.import_reading import _Reading
from redkite.proxy.quotas import Bucket
from redkite.simulated import SimulatedEnv, simulated_env


@pytest.fixture
def world() -> SimulatedEnv:
    return simulated_env(seed=1)


Make = Callable[[Quotas], Engine]


@pytest.fixture
def make(world: SimulatedEnv) -> Iterator[Make]:
    engines: list[Engine] = []

    def engine(quotas: Quotas) -> Engine:
        made = Engine("db", world, {"quotas": quotas})
        engines.append(made)
        made.create(index="FLAT")
        return made

    yield engine
    for made in engines:
        made.close()


def ask(engine: Engine, request: rq.Request) -> Any:
    answer = engine.database.service.call(request)
    return answer.result() if isinstance(answer, Future) else answer


def insert(engine: Engine, ids: range) -> None:
    engine.insert(ids, np.zeros((len(ids), DIM)), ids)


def search(nq: int = 1, user: str = "") -> rq.Search:
    vectors = np.zeros((nq, DIM), np.float32)
    queries = rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
    return rq.Search(collection=NAME, queries=queries, limit=1, user=user)


QUERY = rq.Query(collection=NAME, filter="", output_fields=("id",), limit=1)
FLUSH = rq.Flush(collections=(NAME,))


# -- buckets ------------------------------------------------------------------------------------
def test_a_bucket_lets_one_large_request_through_and_makes_the_next_wait_for_it() -> None:
    bucket = Bucket(10, 0.0)
    assert bucket.has_room(0.0)
    bucket.take(35)
    assert not bucket.has_room(2.4)
    assert bucket.has_room(2.6)


def test_an_idle_bucket_saves_no_more_than_a_second() -> None:
    bucket = Bucket(3, 0.0)
    passed = 0
    while bucket.has_room(1_000.0):
        bucket.take(1)
        passed += 1
    assert passed == 3


def test_a_rate_of_nothing_lets_nothing_through() -> None:
    assert not Bucket(0, 0.0).has_room(1_000.0)


# -- rates --------------------------------------------------------------------------------------
def test_queries_over_the_rate_are_refused_until_time_has_passed(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(cluster=2)))
    ask(engine, QUERY)
    ask(engine, QUERY)
    with pytest.raises(RateLimited) as caught:
        ask(engine, QUERY)
    assert caught.value.code == 8
    assert caught.value.retriable
    assert caught.value.message == (
        "request is rejected by grpc RateLimiter middleware, please retry later: rate limit exceeded[rate=2]"
    )
    world.advance(0.6)
    ask(engine, QUERY)


def test_a_second_flush_within_ten_seconds_is_refused_as_milvus_does(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(flush=Rates(collection=0.1)))
    ask(engine, FLUSH)
    world.advance(8.0)
    with pytest.raises(RateLimited, match=r"rate limit exceeded\[rate=0.1\]"):
        ask(engine, FLUSH)
    world.advance(2.1)
    ask(engine, FLUSH)


def test_a_search_counts_its_query_vectors(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(search=Rates(database=10)))
    ask(engine, search(30))
    world.advance(1.9)
    with pytest.raises(RateLimited):
        ask(engine, search())
    world.advance(0.2)
    ask(engine, search())


def test_questions_that_search_count_as_searches(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(search=Rates(database=10)))
    insert(engine, range(100))
    ask(engine, MeasureRecall(collection=NAME, queries=30))
    world.advance(1.9)
    for question in (MeasureRecall(collection=NAME), AdviseIndex(collection=NAME), search()):
        with pytest.raises(RateLimited):
            ask(engine, question)


def test_without_reading_nobody_measures_either(make: Make) -> None:
    engine = make(Quotas(deny_reading=True))
    for question in (MeasureRecall(collection=NAME), AdviseIndex(collection=NAME)):
        with pytest.raises(QuotaExceeded):
            ask(engine, question)


def test_databases_that_are_not_there_leave_no_trace(make: Make) -> None:
    engine = make(Quotas(query=Rates(database=1, collection=1)))
    gate = engine.database.service._gate
    ask(engine, QUERY)
    before = len(gate._buckets)
    for number in range(50):
        with pytest.raises(MilvusException, match="database not found"):
            ask(engine, rq.Query(collection=NAME, database=f"made_up_{number}", filter="id >= 0"))
    assert len(gate._buckets) == before == 2


def test_inserts_count_their_megabytes(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(insert=Rates(collection=0.001)))
    insert(engine, range(100))
    with pytest.raises(RateLimited):
        insert(engine, range(100, 101))
    world.advance(60.0)
    insert(engine, range(100, 101))


def test_each_user_has_a_rate_of_its_own(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(user=1)))
    owner = msgspec.structs.replace(QUERY, user="root")
    ask(engine, owner)
    with pytest.raises(RateLimited):
        ask(engine, owner)
    ask(engine, QUERY)  # the owner of the process is no user


def test_what_is_refused_by_one_rate_is_not_counted_by_another(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(cluster=100, collection=1)))
    ask(engine, QUERY)
    for _ in range(500):
        with pytest.raises(RateLimited, match=r"\[rate=1\]"):
            ask(engine, QUERY)
    ask(engine, rq.CreateCollection(schema=msgspec.structs.replace(engine_schema(engine), name="other")))
    with pytest.raises(Exception, match="not loaded"):
        ask(engine, msgspec.structs.replace(QUERY, collection="other"))


def engine_schema(engine: Engine) -> Any:
    return engine.database.topology.root.find("", NAME).schema


# -- properties ---------------------------------------------------------------------------------
def test_a_property_of_a_collection_limits_it_at_once_and_until_it_is_dropped(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas())
    ask(engine, QUERY)
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.queryRate.max.qps": "1"}))
    ask(engine, QUERY)
    with pytest.raises(RateLimited):
        ask(engine, QUERY)
    ask(engine, rq.AlterCollection(collection=NAME, delete_keys=("collection.queryRate.max.qps",)))
    for _ in range(5):
        ask(engine, QUERY)


def test_a_property_of_a_collection_wins_over_the_setting(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(collection=1)))
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.queryRate.max.qps": "-1"}))
    for _ in range(5):
        ask(engine, QUERY)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("collection.insertRate.max.mb", "fast"),
        ("collection.searchRate.max.vps", "-3"),
        ("collection.queryRate.max.qps", "nan"),
        ("collection.diskProtection.diskQuota.mb", "inf"),
    ],
)
def test_a_limit_that_is_none_is_refused(make: Make, key: str, value: str) -> None:
    engine = make(Quotas())
    with pytest.raises(InvalidParameter, match="must be -1"):
        ask(engine, rq.AlterCollection(collection=NAME, properties={key: value}))


def test_properties_without_an_effect_are_refused(make: Make) -> None:
    engine = make(Quotas())
    with pytest.raises(InvalidParameter, match=r"unknown collection property collection.insertRate.mean.mb"):
        ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.insertRate.mean.mb": "1"}))
    with pytest.raises(Unimplemented):
        ask(engine, rq.AlterDatabase(database="default", properties={"cipher.key": "1"}))


DENIED = {
    "database.force.deny.reading": QUERY,
    "database.force.deny.writing": rq.Delete(collection=NAME, filter="id in [1]"),
    "database.force.deny.flush": FLUSH,
    "database.force.deny.compaction": rq.Compact(collection=NAME),
    "database.force.deny.index": rq.DropIndex(collection=NAME, index_name="none"),
    "database.force.deny.collectionDDL": rq.ReleaseCollection(collection=NAME),
    "database.force.deny.partitionDDL": rq.CreatePartition(collection=NAME, partition="p"),
}


@pytest.mark.parametrize("key", sorted(DENIED))
def test_a_database_denies_what_its_property_says_and_nothing_else(make: Make, key: str) -> None:
    engine = make(Quotas())
    ask(engine, rq.AlterDatabase(database="default", properties={key: "true"}))
    for other, request in DENIED.items():
        if other == key:
            with pytest.raises(QuotaExceeded) as caught:
                ask(engine, request)
            assert caught.value.code == 9
            assert caught.value.message == "quota exceeded[reason=access has been disabled by the administrator]"
    ask(engine, rq.DescribeCollection(collection=NAME))
    ask(engine, rq.AlterDatabase(database="default", properties={key: "false"}))
    ask(engine, DENIED[key])


@pytest.mark.parametrize(
    "request_",
    [
        rq.TruncateCollection(collection=NAME),
        rq.RenameCollection(collection=NAME, new_name="other"),
        rq.DropCollectionField(collection=NAME, field="word"),
        rq.RestoreSnapshot(collection=NAME, name="s", target_collection="t"),
        rq.DropDatabase(database="other"),
        rq.FlushAll(),
    ],
)
def test_without_changes_nothing_is_changed_by_another_way(make: Make, request_: rq.Request) -> None:
    engine = make(Quotas())
    engine.database.service._gate._quotas = Quotas(deny_changes=True)  # type: ignore[attr-defined]
    engine.database.service._gate._is_set = True  # type: ignore[attr-defined]
    engine.database.service._gate._seen = None  # type: ignore[attr-defined]
    with pytest.raises(QuotaExceeded):
        ask(engine, request_)


def test_without_writing_no_files_are_imported(make: Make) -> None:
    engine = make(Quotas(deny_writing=True))
    with pytest.raises(QuotaExceeded):
        ask(engine, ImportFiles(collection=NAME, groups=(("rows.parquet",),)))


def test_a_database_without_changes_can_be_altered_back(make: Make) -> None:
    engine = make(Quotas())
    ask(engine, rq.AlterDatabase(database="default", properties={"database.force.deny.ddl": "true"}))
    for request in (FLUSH, rq.Compact(collection=NAME), rq.CreatePartition(collection=NAME, partition="p")):
        with pytest.raises(QuotaExceeded):
            ask(engine, request)
    ask(engine, rq.AlterDatabase(database="default", delete_keys=("database.force.deny.ddl",)))
    ask(engine, FLUSH)


def test_a_database_holds_as_many_collections_as_it_may(make: Make) -> None:
    engine = make(Quotas())
    ask(engine, rq.CreateDatabase(database="small", properties={"database.max.collections": "1"}))
    schema = engine_schema(engine)
    first, second = (msgspec.structs.replace(schema, name=name) for name in ("a", "b"))
    ask(engine, rq.CreateCollection(database="small", schema=first))
    with pytest.raises(LimitReached, match=r"\[dbName=small\]\[limit=1\]"):
        ask(engine, rq.CreateCollection(database="small", schema=second))
    with pytest.raises(LimitReached, match=r"\[dbName=small\]\[limit=1\]"):
        ask(engine, rq.RenameCollection(collection=NAME, new_name="b", new_database="small"))
    ask(engine, rq.RenameCollection(database="small", collection="a", new_name="b"))


@pytest.mark.parametrize(
    "request_",
    [
        rq.RenameCollection(collection=NAME, new_name="other", new_database="closed"),
        rq.RestoreSnapshot(collection=NAME, name="s", target_collection="t", target_database="closed"),
    ],
)
def test_a_database_without_changes_gets_no_collection_from_another(make: Make, request_: rq.Request) -> None:
    engine = make(Quotas())
    ask(engine, rq.CreateDatabase(database="closed", properties={"database.force.deny.ddl": "true"}))
    with pytest.raises(QuotaExceeded):
        ask(engine, request_)


# -- denials and sizes of settings ----------------------------------------------------------------
def test_settings_deny_reading_writing_and_changes(make: Make) -> None:
    engine = make(Quotas(deny_reading=True, deny_writing=True))
    for request in (QUERY, search(), DENIED["database.force.deny.writing"]):
        with pytest.raises(QuotaExceeded):
            ask(engine, request)
    ask(engine, FLUSH)
    assert ask(engine, rq.CheckHealth()) == rs.Health(healthy=True, quota_states=(4, 5))


def test_health_says_what_was_limited_lately(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(cluster=1)))
    assert ask(engine, rq.CheckHealth()).quota_states == ()
    ask(engine, QUERY)
    with pytest.raises(RateLimited):
        ask(engine, QUERY)
    assert ask(engine, rq.CheckHealth()).quota_states == (2,)
    world.advance(11.0)
    assert ask(engine, rq.CheckHealth()).quota_states == ()


@pytest.mark.parametrize(
    "scope", ["disk_bytes", "database_disk_bytes", "collection_disk_bytes", "partition_disk_bytes"]
)
def test_rows_are_refused_when_their_disk_is_full(make: Make, world: SimulatedEnv, scope: str) -> None:
    engine = make(msgspec.convert({scope: 1_000}, Quotas))
    insert(engine, range(200))
    ask(engine, FLUSH)
    world.advance(5.0)
    with pytest.raises(QuotaExceeded) as caught:
        insert(engine, range(500, 501))
    reason = "disk quota exceeded, please allocate more resources"
    assert caught.value.message == f"quota exceeded[reason={reason}]"
    ask(engine, rq.Delete(collection=NAME, filter="id in [1]"))  # what makes room is not refused
    assert ask(engine, rq.CheckHealth()).quota_states == ((5,) if scope == "disk_bytes" else ())


def test_a_disk_property_of_a_collection_is_in_megabytes(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas())
    insert(engine, range(200))
    ask(engine, FLUSH)
    world.advance(5.0)
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.diskProtection.diskQuota.mb": "100"}))
    insert(engine, range(500, 501))
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.diskProtection.diskQuota.mb": "0.001"}))
    with pytest.raises(QuotaExceeded):
        insert(engine, range(501, 502))


def test_an_insert_over_its_size_is_too_large(make: Make) -> None:
    engine = make(Quotas(insert_request_bytes=100))
    with pytest.raises(ParameterTooLarge, match="exceeds maxInsertSize") as caught:
        insert(engine, range(100))
    assert caught.value.code == 1102


def test_what_is_limited_can_be_read(make: Make) -> None:
    engine = make(Quotas(query=Rates(user=7)))
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.queryRate.max.qps": "1"}))
    found = ask(engine, GetMetrics(question='{"metric_type": "quota_metrics"}'))
    assert isinstance(found, SystemMetrics)
    told = msgspec.json.decode(found.answer)
    assert told["rates"]["query"] == "user=7"
    assert told["rates"]["insert"] == "no limit"
    assert told["collections"] == {f"default.{NAME}": {"collection.queryRate.max.qps": "1"}}
    found = ask(engine, GetMetrics(question='{"metric_type": "quota_metrics"}', user="nobody"))
    assert msgspec.json.decode(found.answer).keys() == {"rates", "states"}


# -- as they are written --------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["user=x", "user", "nobody=3", "user=-2", "user=inf"])
def test_a_rate_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        qt.read_rates(text)


def test_rates_are_written_as_they_are_read() -> None:
    rates = qt.read_rates("cluster=100, user=0.5")
    assert rates == Rates(cluster=100, user=0.5)
    assert qt.read_rates(str(rates)) == rates


def test_every_kind_of_rate_is_a_setting() -> None:
    assert {name for name in Quotas.__struct_fields__ if isinstance(getattr(Quotas(), name), Rates)} == {*qt.KINDS}


# -- minimum rates ------------------------------------------------------------------------------
def passed(engine: Engine, request: rq.Request, tries: int = 20) -> int:
    """How many equal requests of one moment are let in."""
    count = 0
    for _ in range(tries):
        try:
            ask(engine, request)
            count += 1
        except RateLimited:
            continue
    return count


def test_a_collection_has_its_minimum_although_the_cluster_has_nothing_left(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(cluster=2)))
    assert passed(engine, QUERY) == 2
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.queryRate.min.qps": "3"}))
    assert passed(engine, QUERY) == 3
    world.advance(1.0)
    assert passed(engine, QUERY) == 5, "what is let in beyond the cluster's rate is not owed by it"


def test_a_minimum_lifts_neither_the_maximum_of_its_collection_nor_that_of_a_user(make: Make) -> None:
    engine = make(Quotas(query=Rates(cluster=2, user=3)))
    engine.database.topology.access.create_user("ann", "secret-1")
    limits = {"collection.queryRate.min.qps": "10", "collection.queryRate.max.qps": "4"}
    ask(engine, rq.AlterCollection(collection=NAME, properties=limits))
    assert passed(engine, msgspec.structs.replace(QUERY, user="root")) == 3
    assert passed(engine, QUERY) == 1


def test_the_minimum_of_a_database_stands_in_for_the_cluster_and_not_for_its_own_limit(make: Make) -> None:
    engine = make(Quotas(query=Rates(cluster=1)))
    ask(engine, rq.AlterDatabase(database="default", properties={"database.queryRate.min.qps": "3"}))
    assert passed(engine, QUERY) == 4
    ask(engine, rq.AlterDatabase(database="default", properties={"database.queryRate.max.qps": "0"}))
    assert passed(engine, QUERY) == 0


@pytest.mark.parametrize("kind", ["insert", "upsert", "delete", "search"])
def test_every_rate_has_a_minimum(make: Make, kind: str) -> None:
    engine = make(Quotas(**{kind: Rates(cluster=0)}))
    rows = engine.batch(range(3), np.zeros((3, DIM)), range(3))
    request = {
        "insert": rq.Insert(collection=NAME, rows=rows),
        "upsert": rq.Upsert(collection=NAME, rows=rows),
        "delete": rq.Delete(collection=NAME, filter="id in [1]"),
        "search": search(),
    }[kind]
    with pytest.raises(RateLimited):
        ask(engine, request)
    unit = "vps" if kind == "search" else "mb"
    ask(engine, rq.AlterCollection(collection=NAME, properties={f"collection.{kind}Rate.min.{unit}": "1"}))
    ask(engine, request)


# -- imports ------------------------------------------------------------------------------------
@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch, world: SimulatedEnv) -> None:
    """Whoever waits lets the world's time pass."""
    monkeypatch.setattr(_Reading, "_wait", lambda _, seconds: world.advance(seconds))


def import_seconds(engine: Engine, world: SimulatedEnv) -> float:
    """How long an import of half a megabyte takes, in the world's time, of which the work itself takes none."""
    rows = 8_000
    line = f'"vector": {[0.5] * DIM}, "number": 1, "word": null'
    name = f"files/rows{world.clock.now_ms()}.jsonl"
    world.files.make_dirs("files")
    world.files.write_new(name, ["\n".join(f'{{"id": {n}, {line}}}' for n in range(rows)).encode()])
    began = world.clock.monotonic()
    job = ask(engine, ImportFiles(collection=NAME, groups=((name,),)))
    world.run_until_idle()
    assert ask(engine, DescribeImport(job_id=job.job_id)).state is ImportState.COMPLETED
    return world.clock.monotonic() - began


@pytest.mark.usefixtures("waiting")
def test_an_import_waits_where_the_rate_of_imports_is_used_up(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas())
    free = import_seconds(engine, world)
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.bulkLoadRate.max.mb": "0.1"}))
    slow = import_seconds(engine, world)
    assert slow - free == pytest.approx(3.0, abs=1.5), (free, slow)


@pytest.mark.usefixtures("waiting")
def test_an_import_is_let_on_at_its_minimum_where_the_cluster_has_nothing_left(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(bulk_load=Rates(cluster=0.001)))
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.bulkLoadRate.min.mb": "0.1"}))
    import_seconds(engine, world)
    assert import_seconds(engine, world) < 20, "at the cluster's rate alone it would be minutes"


def test_where_imports_have_a_rate_of_nothing_none_begins(make: Make) -> None:
    engine = make(Quotas(bulk_load=Rates(cluster=0)))
    with pytest.raises(RateLimited):
        ask(engine, ImportFiles(collection=NAME, groups=(("rows.parquet",),)))


# -- several processes --------------------------------------------------------------------------
def test_a_rate_is_divided_among_those_who_take_requests(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(query=Rates(cluster=12), flush=Rates(cluster=2)))
    sharers = 3
    engine.database.service.share_rates(lambda: sharers)  # type: ignore[attr-defined]

    def passed(request: rq.Request) -> int:
        for number in range(100):
            try:
                ask(engine, request)
            except RateLimited:
                return number
        return 100

    world.clock.advance(1)
    assert passed(QUERY) == 4
    sharers = 1  # the others are gone
    world.clock.advance(1)
    assert passed(QUERY) in (11, 12)
    world.clock.advance(1)
    sharers = 0  # nobody is known yet, this one neither
    assert passed(QUERY) == 12
    sharers = 3
    assert passed(FLUSH) == 2  # one process alone takes what changes something


def test_what_an_import_reads_at_its_minimum_is_not_owed_by_the_cluster(make: Make, world: SimulatedEnv) -> None:
    engine = make(Quotas(bulk_load=Rates(cluster=1)))
    ask(engine, rq.CreateCollection(schema=msgspec.structs.replace(engine_schema(engine), name="other")))
    ask(engine, rq.AlterCollection(collection=NAME, properties={"collection.bulkLoadRate.min.mb": "5"}))
    service: Any = engine.database.service
    root, pace = engine.database.topology.root, service._gate.pace
    mine, other = root.find("", NAME), root.find("", "other")
    assert pace(mine, "", 10.0) == 0.0, "the cluster owes 9 seconds, the minimum lets it on"
    assert pace(mine, "", 20.0) == pytest.approx(3.0, abs=0.01)
    assert pace(other, "", 0.0) == pytest.approx(9.0, abs=0.01)
    world.advance(9.1)
    assert pace(other, "", 0.0) == 0.0
