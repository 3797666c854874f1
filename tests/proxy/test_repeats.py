"""Searches that come again with another query are answered as `call` would, or left to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from tests.engine import NAME, Engine
from tests.query.test_straight import DIM, filled, ready, same

from redkite import MilvusClient
from redkite.client.transports.engines import acquire, release
from redkite.errors import CollectionNotFound, CollectionNotLoaded, ConnectError, InvalidParameter, QuotaExceeded
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.highlighting import Highlighter
from redkite.model.schema import FieldSchema
from redkite.model.tuning import Tuning
from redkite.model.types import DataType
from redkite.proxy import repeats
from redkite.proxy.service import Proxy

NONE = rq.Queries(data_type=DataType.NONE)
PLAIN = rq.Search(collection=NAME, queries=NONE, limit=5, output_fields=("number",))


@pytest.fixture
def built(tmp_path: Path) -> Iterator[tuple[Engine, np.ndarray]]:
    engine, vectors = filled(tmp_path)
    yield engine, vectors
    engine.close()


def vectors_of(matrix: np.ndarray) -> rq.Queries:
    return rq.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.ascontiguousarray(matrix, np.float32))


def proxy_of(engine: Engine) -> Proxy:
    service = engine.database.service
    assert isinstance(service, Proxy)
    return service


def again(engine: Engine, search: rq.Search, matrix: np.ndarray) -> rs.Hits | None:
    return proxy_of(engine).again(search, vectors_of(matrix))


def called(engine: Engine, search: rq.Search, matrix: np.ndarray) -> rs.Hits:
    hits: rs.Hits = engine.call(structs.replace(search, queries=vectors_of(matrix)))
    return hits


def known(engine: Engine, search: rq.Search, matrix: np.ndarray) -> bool:
    """Whether a search is answered when it comes again; and then as a call is."""
    again(engine, search, matrix)
    hits = again(engine, search, matrix)
    if hits is not None:
        same(hits, called(engine, search, matrix))
    return hits is not None


def test_the_second_time_it_is_answered_as_a_call_would_be(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert again(engine, PLAIN, vectors[:1]) is None
    for at in range(20):
        hits = again(engine, PLAIN, vectors[at : at + 1])
        assert hits is not None
        assert hits.ids.to_pylist()[0] == at
        same(hits, called(engine, PLAIN, vectors[at : at + 1]))


@pytest.mark.parametrize(
    "more",
    [
        {"round_decimal": 2},
        {"params": {"ef": 40}},
        {"limit": 1},
        {"output_fields": ("*",)},
        {"ignore_growing": True},
        {"anns_field": "vector"},
    ],
    ids=str,
)
def test_settings_of_a_plain_search_are_minded(more: dict[str, Any], built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert known(engine, structs.replace(PLAIN, **more), vectors[3:4] + np.float32(0.1))


@pytest.mark.parametrize(
    "more",
    [
        {"filter": "number < 5"},
        {"offset": 2},
        {"tuning": Tuning(explain="plan")},
        {"highlighter": Highlighter()},
        {"user": "somebody"},
        {"cluster": "elsewhere"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_search_that_is_not_plain_is_left_to_the_call(more: dict[str, Any], built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert not known(engine, structs.replace(PLAIN, **more), vectors[:1])


def test_several_queries_are_left_to_the_call_also_where_one_is_known(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert not known(engine, PLAIN, vectors[:2])
    assert known(engine, PLAIN, vectors[:1])
    assert again(engine, PLAIN, vectors[:2]) is None


def test_an_equal_search_that_is_another_object_is_not_known(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert known(engine, PLAIN, vectors[:1])
    assert again(engine, structs.replace(PLAIN), vectors[:1]) is None


def test_of_many_searches_some_are_forgotten_and_learnt_again(
    built: tuple[Engine, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, vectors = built
    monkeypatch.setattr(repeats, "MAX_KNOWN", 3)
    searches = [structs.replace(PLAIN, limit=limit) for limit in range(1, 8)]
    for search in searches * 2:
        assert known(engine, search, vectors[:1])


@pytest.mark.parametrize(
    "query", [np.ones((1, DIM + 1)), np.full((1, DIM), np.nan), np.full((1, DIM), np.inf)], ids=["dim", "nan", "inf"]
)
def test_a_query_that_is_no_vector_of_the_field_is_refused_as_by_a_call(
    query: np.ndarray, built: tuple[Engine, np.ndarray]
) -> None:
    engine, vectors = built
    assert known(engine, PLAIN, vectors[:1])
    with pytest.raises(InvalidParameter) as told:
        again(engine, PLAIN, query)
    with pytest.raises(InvalidParameter) as usual:
        called(engine, PLAIN, query)
    assert str(told.value) == str(usual.value)


def _insert(engine: Engine, vectors: np.ndarray) -> None:
    engine.insert([9000], vectors[:1], [1])


def _insert_and_flush(engine: Engine, vectors: np.ndarray) -> None:
    _insert(engine, vectors)
    engine.flush()


def _delete(engine: Engine, vectors: np.ndarray) -> None:
    engine.delete("id == 0")


def _add_field(engine: Engine, vectors: np.ndarray) -> None:
    field = FieldSchema(name="more", data_type=DataType.INT64, nullable=True)
    engine.call(rq.AddCollectionField(collection=NAME, field=field))


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (_insert, lambda hits: 9000 in hits.ids.to_pylist()),
        (_insert_and_flush, lambda hits: 9000 in hits.ids.to_pylist()),
        (_delete, lambda hits: 0 not in hits.ids.to_pylist()),
        (_add_field, lambda hits: "more" in hits.output_fields),
    ],
    ids=["insert", "flush", "delete", "field"],
)
def test_what_changes_is_seen_at_once(
    change: Callable[[Engine, np.ndarray], None], seen: Callable[[rs.Hits], bool], built: tuple[Engine, np.ndarray]
) -> None:
    engine, vectors = built
    everything = structs.replace(PLAIN, output_fields=("*",))
    assert known(engine, everything, vectors[:1])
    assert not seen(called(engine, everything, vectors[:1]))
    change(engine, vectors)
    for _ in range(3):
        assert seen(again(engine, everything, vectors[:1]) or called(engine, everything, vectors[:1]))


def test_rows_that_expire_are_left_to_the_call(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert known(engine, PLAIN, vectors[:1])
    engine.call(rq.AlterCollection(collection=NAME, properties={"collection.ttl.seconds": "1000"}))
    assert not known(engine, PLAIN, vectors[:1])


def test_a_collection_that_is_released_or_dropped_is_told_as_that(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert known(engine, PLAIN, vectors[:1])
    engine.call(rq.ReleaseCollection(collection=NAME))
    with pytest.raises(CollectionNotLoaded):
        assert again(engine, PLAIN, vectors[:1]) is not None or called(engine, PLAIN, vectors[:1])
    engine.call(rq.LoadCollection(collection=NAME))
    assert known(engine, PLAIN, vectors[:1])
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.DropCollection(collection=NAME))
    with pytest.raises(CollectionNotFound):
        again(engine, PLAIN, vectors[:1])


def test_a_name_that_leads_elsewhere_is_followed(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    schema = engine.call(rq.DescribeCollection(collection=NAME)).schema
    engine.call(rq.CreateCollection(schema=structs.replace(schema, name="other")))
    engine.call(rq.CreateIndex(collection="other", field="vector", params={"index_type": "FLAT", "metric_type": "L2"}))
    engine.call(rq.LoadCollection(collection="other"))
    engine.call(rq.CreateAlias(collection=NAME, alias="now"))
    named = structs.replace(PLAIN, collection="now", output_fields=())
    assert known(engine, named, vectors[:1])
    engine.call(rq.AlterAlias(collection="other", alias="now"))
    assert again(engine, named, vectors[:1]) is None
    assert len(called(engine, named, vectors[:1]).ids) == 0
    assert known(engine, PLAIN, vectors[:1])
    engine.call(rq.RenameCollection(collection=NAME, new_name="things_of_yesterday"))
    with pytest.raises(CollectionNotFound):
        again(engine, PLAIN, vectors[:1])


def test_an_index_by_another_metric_is_asked_by_that(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert known(engine, PLAIN, vectors[:1])
    engine.call(rq.ReleaseCollection(collection=NAME))
    engine.call(rq.DropIndex(collection=NAME, field="vector"))
    engine.call(rq.CreateIndex(collection=NAME, field="vector", params={"index_type": "HNSW", "metric_type": "IP"}))
    engine.call(rq.LoadCollection(collection=NAME))
    ready(engine)
    assert again(engine, PLAIN, vectors[:1]) is None
    assert known(engine, PLAIN, vectors[:1])


def test_a_forked_child_is_not_answered_by_the_engine_of_its_parent(tmp_path: Path) -> None:
    filled(tmp_path)[0].close()
    path = (tmp_path / "db").rename(tmp_path / "x.db")
    with MilvusClient(str(path)) as client:
        query, end = [[0.5] * DIM], time.monotonic() + 120
        client.search(NAME, query)
        (search,) = client._session.searches.values()
        engine = acquire(str(path))  # the one that the client has
        assert engine.repeating is not None
        while engine.repeating.again(search, vectors_of(np.array(query))) is None:
            assert time.monotonic() < end, "the index was not opened"
        release(engine)
        child = os.fork()
        if child == 0:
            try:
                client.search(NAME, query)
            except ConnectError as error:
                os._exit(7 if "fork" in error.message else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_database_whose_reads_are_denied_answers_none_that_it_knows(built: tuple[Engine, np.ndarray]) -> None:
    engine, vectors = built
    assert known(engine, PLAIN, vectors[:1])
    deny = {"database.force.deny.reading": "true"}
    engine.call(rq.AlterDatabase(database="default", properties=deny))
    for _ in range(2):
        assert again(engine, PLAIN, vectors[:1]) is None
    with pytest.raises(QuotaExceeded):
        called(engine, PLAIN, vectors[:1])
