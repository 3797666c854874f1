"""Every type of vectors, through every SDK: written, read back, searched, changed; with rows that have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk
from tests.vectors import CASES, DIM, KINDS, VectorKind, nearest, scores

ROWS = 60
Rows = dict[int, Any]
"""Vectors by key; None: a row without one."""


def make(sdk: Sdk, client: Any, name: str, *fields: tuple[str, VectorKind, str], nullable: bool = True) -> None:
    """A loaded collection of `id` and vector fields, each (name, kind, metric)."""
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    index = client.prepare_index_params()
    for field, kind, metric in fields:
        schema.add_field(field, getattr(types, kind.data_type), nullable=nullable, **kind.settings)
        index.add_index(field, index_type=kind.index_type, metric_type=metric)
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


def drawn(kind: VectorKind, seed: int, rows: int = ROWS, gaps: bool = True) -> list[Any]:
    """Vectors, each third one missing."""
    rng = np.random.default_rng(seed)
    return [None if gaps and i % 3 == 2 else vector for i, vector in enumerate(kind.draw(rng, rows))]


def write(client: Any, name: str, field: str, vectors: Rows) -> None:
    client.insert(name, [{"id": key, field: vector} for key, vector in vectors.items()])


def read(client: Any, name: str, *fields: str) -> dict[int, Any]:
    found = client.query(name, filter="id >= 0", output_fields=["id", *fields], consistency_level="Strong")
    return {row["id"]: row[fields[0]] if len(fields) == 1 else tuple(row[f] for f in fields) for row in found}


def check(client: Any, name: str, field: str, query: Any, vectors: Rows, metric: str, **options: Any) -> None:
    """One search must answer as numpy does; rows of equal score may change places."""
    keys = np.array(list(vectors))
    wanted = scores(query, list(vectors.values()), metric)
    best = nearest(wanted, metric)[:12]
    (hits,) = client.search(name, [query], anns_field=field, limit=12, output_fields=["id"], **options)
    np.testing.assert_allclose(hits.distances if hasattr(hits, "distances") else [], wanted[best], rtol=1e-5, atol=1e-5)
    by_key = dict(zip(keys.tolist(), wanted.tolist(), strict=True))
    for key, distance in zip(hits.ids, hits.distances, strict=True):
        assert by_key[key] == pytest.approx(distance, rel=1e-5, abs=1e-5)
    assert len(set(hits.ids)) == len(best)


# -- searching ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("case", "metric"), CASES)
def test_a_search_finds_what_numpy_finds(case: str, metric: str, sdk: Sdk, client: Any, name: str) -> None:
    kind = KINDS[case]
    make(sdk, client, name, ("v", kind, metric))
    vectors = dict(enumerate(drawn(kind, 1)))
    query = kind.query(np.random.default_rng(2), metric)
    write(client, name, "v", vectors)
    check(client, name, "v", query, vectors, metric)
    client.flush(name)
    check(client, name, "v", query, vectors, metric)
    more = dict(enumerate(drawn(kind, 3), start=ROWS))
    write(client, name, "v", more)
    check(client, name, "v", query, vectors | more, metric)
    check(client, name, "v", query, {k: v for k, v in more.items() if k < 100}, metric, filter=f"{ROWS} <= id < 100")
    client.delete(name, ids=[0, 1, ROWS])
    left = {k: v for k, v in (vectors | more).items() if k not in (0, 1, ROWS)}
    check(client, name, "v", query, left, metric)


@pytest.mark.parametrize("case", KINDS)
def test_many_queries_are_answered_at_once(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind = KINDS[case]
    metric = kind.metrics[0]
    make(sdk, client, name, ("v", kind, metric))
    vectors = drawn(kind, 1)
    write(client, name, "v", dict(enumerate(vectors)))
    queries = drawn(kind, 2, 30, gaps=False)
    answers = client.search(name, queries, anns_field="v", limit=5)
    assert len(answers) == 30
    for query, hits in zip(queries, answers, strict=True):
        wanted = scores(query, vectors, metric)
        np.testing.assert_allclose(hits.distances, wanted[nearest(wanted, metric)[:5]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", KINDS)
def test_an_iterator_shows_each_row_that_has_a_vector_once(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind = KINDS[case]
    metric = kind.metrics[0]
    make(sdk, client, name, ("v", kind, metric))
    vectors = drawn(kind, 4)
    write(client, name, "v", dict(enumerate(vectors[:40])))
    client.flush(name)
    write(client, name, "v", dict(enumerate(vectors[40:], start=40)))
    query = drawn(kind, 5, 1, gaps=False)[0]
    seen: list[int] = []
    pages = client.search_iterator(name, [query], batch_size=7, limit=-1, anns_field="v")
    while len(page := pages.next()):
        seen += [hit["id"] for hit in page]
    pages.close()
    wanted = scores(query, vectors, metric)
    assert sorted(seen) == sorted(nearest(wanted, metric).tolist())
    np.testing.assert_allclose(wanted[seen], wanted[nearest(wanted, metric)], rtol=1e-5, atol=1e-5)


def test_a_search_of_a_field_without_any_vector_finds_nothing(sdk: Sdk, client: Any, name: str) -> None:
    kind = KINDS["float16"]
    make(sdk, client, name, ("v", kind, "L2"))
    client.insert(name, [{"id": 1, "v": None}, {"id": 2}])
    (query,) = drawn(kind, 1, 1)
    assert [list(hits) for hits in client.search(name, [query], anns_field="v", limit=5)] == [[]]
    client.flush(name)
    assert [list(hits) for hits in client.search(name, [query], anns_field="v", limit=5)] == [[]]
    assert read(client, name, "v") == {1: None, 2: None}
    assert "filter on vector field (v) is not supported" in refused(sdk, client.query, name, "v is null")


# -- what is kept -------------------------------------------------------------------------------
@pytest.mark.parametrize("case", KINDS)
def test_vectors_and_their_absence_come_back_bit_by_bit(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind = KINDS[case]
    make(sdk, client, name, ("v", kind, kind.metrics[0]))
    vectors = dict(enumerate(drawn(kind, 6)))
    write(client, name, "v", vectors)
    shown = {key: None if vector is None else kind.shown(vector) for key, vector in vectors.items()}
    assert repr(read(client, name, "v")) == repr(shown)
    client.flush(name)
    client.insert(name, {"id": 99})
    assert repr(read(client, name, "v")) == repr(shown | {99: None})


def test_every_type_of_vector_lives_in_one_row_with_an_index_of_its_own(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, *((case, kind, kind.metrics[-1]) for case, kind in KINDS.items()))
    columns = {case: drawn(kind, 7) for case, kind in KINDS.items()}
    client.insert(name, [{"id": i} | {case: columns[case][i] for case in KINDS} for i in range(40)])
    client.flush(name)
    client.insert(name, [{"id": i} | {case: columns[case][i] for case in KINDS} for i in range(40, ROWS)])
    for case, kind in KINDS.items():
        query = kind.query(np.random.default_rng(8), kind.metrics[-1])
        check(client, name, case, query, dict(enumerate(columns[case])), kind.metrics[-1])
        assert client.describe_index(name, case)["metric_type"] == kind.metrics[-1]
    with pytest.raises(sdk.module.MilvusException, match="multiple anns_fields exist"):
        client.search(name, [[0.0] * DIM], limit=1)


def test_hits_show_vectors_and_their_absence(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, *((case, kind, kind.metrics[0]) for case, kind in KINDS.items()))
    columns = {case: drawn(kind, 7, 12, gaps=case != "float") for case, kind in KINDS.items()}
    client.insert(name, [{"id": i} | {case: columns[case][i] for case in KINDS} for i in range(8)])
    client.flush(name)
    client.insert(name, [{"id": i} | {case: columns[case][i] for case in KINDS} for i in range(8, 12)])
    answers = client.search(name, columns["float"][:3], anns_field="float", limit=12, output_fields=list(KINDS))
    for hits in answers:
        assert sorted(hits.ids) == list(range(12))
        for hit in hits:
            for case, kind in KINDS.items():
                vector, found = columns[case][hit["id"]], hit["entity"][case]
                shown = None if vector is None else kind.shown(vector)
                bare = isinstance(shown, list) and isinstance(shown[0], bytes)  # only rows of queries have a list
                assert repr(found) == repr(shown[0] if bare else shown)


def test_the_index_of_a_type_has_the_metric_of_that_type_when_none_is_named(sdk: Sdk, client: Any, name: str) -> None:
    usual = {"int8": "COSINE", "binary": "HAMMING", "sparse": "IP", "float16": "COSINE", "bfloat16": "COSINE"}
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    index = client.prepare_index_params()
    for case in usual:
        schema.add_field(case, getattr(types, KINDS[case].data_type), **KINDS[case].settings)
        index.add_index(case)
    client.create_collection(name, schema=schema, index_params=index)
    assert {case: client.describe_index(name, case)["metric_type"] for case in usual} == usual


# -- changing -----------------------------------------------------------------------------------
@pytest.mark.parametrize("case", KINDS)
def test_a_partial_upsert_leaves_other_vectors_as_they_are(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind = KINDS[case]
    make(sdk, client, name, ("v", kind, kind.metrics[0]), ("other", KINDS["float"], "L2"))
    first, second = drawn(kind, 9, 6), drawn(kind, 10, 6, gaps=False)
    floats = drawn(KINDS["float"], 11, 6)
    client.insert(name, [{"id": i, "v": first[i], "other": floats[i]} for i in range(6)])
    client.flush(name)
    client.upsert(name, [{"id": 0, "other": floats[1]}, {"id": 2, "other": None}], partial_update=True)
    client.upsert(name, [{"id": 1, "v": second[1]}], partial_update=True)
    client.upsert(name, [{"id": 3, "v": None}], partial_update=True)
    client.upsert(name, [{"id": 4, "v": second[4]}])
    shown = [None if v is None else kind.shown(v) for v in (first[0], second[1], None, None, second[4], first[5])]
    others = [floats[1], floats[1], None, floats[3], None, floats[5]]
    assert repr(read(client, name, "v", "other")) == repr(dict(enumerate(zip(shown, others, strict=True))))


@pytest.mark.parametrize("case", KINDS)
def test_a_vector_field_that_is_added_has_no_vectors_in_old_rows(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind, metric = KINDS[case], KINDS[case].metrics[0]
    make(sdk, client, name, ("first", KINDS["float"], "L2"))
    client.insert(name, [{"id": i, "first": [float(i)] * DIM} for i in range(20)])
    client.flush(name)
    client.insert(name, [{"id": i, "first": [float(i)] * DIM} for i in range(20, 30)])
    types = sdk.module.DataType
    client.add_collection_field(name, "v", getattr(types, kind.data_type), nullable=True, **kind.settings)
    index = client.prepare_index_params()
    index.add_index("v", index_type=kind.index_type, metric_type=metric)
    client.create_index(name, index)
    assert set(read(client, name, "v").values()) == {None}
    vectors: Rows = dict.fromkeys(range(30)) | dict(enumerate(drawn(kind, 12), start=30))
    client.insert(name, [{"id": i, "first": None, "v": vectors[i]} for i in range(30, 30 + ROWS)])
    vectors[3] = vectors[25] = vectors[30]
    client.upsert(name, [{"id": 3, "v": vectors[3]}, {"id": 25, "v": vectors[3]}], partial_update=True)
    (query,) = drawn(kind, 13, 1)
    check(client, name, "v", query, vectors, metric)
    client.flush(name)
    check(client, name, "v", query, vectors, metric)
    shown = {key: None if vector is None else kind.shown(vector) for key, vector in vectors.items()}
    assert {key: repr(value) for key, value in read(client, name, "v").items()} == {
        key: repr(value) for key, value in shown.items()
    }
    (hits,) = client.search(name, [[3.0] * DIM], anns_field="first", limit=1)
    assert hits.ids == [3]


# -- refused ------------------------------------------------------------------------------------
def refused(sdk: Sdk, call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(sdk.module.MilvusException) as caught:
        call(*arguments, **more)
    return f"{caught.value.code} {caught.value.message}"


def test_query_vectors_of_another_kind_are_refused(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, *((case, kind, kind.metrics[0]) for case, kind in KINDS.items()))
    floats = [[0.5] * DIM]
    for case, engine_name in (
        ("int8", "VECTOR_INT8"),
        ("binary", "VECTOR_BINARY"),
        ("sparse", "VECTOR_SPARSE_U32_F32"),
    ):
        text = refused(sdk, client.search, name, floats, anns_field=case, limit=1)
        assert text.startswith(
            f"1100 vector type must be the same, field {case} - type {engine_name}, search info type VECTOR_FLOAT"
        )
    text = refused(sdk, client.search, name, [np.zeros(8, np.float16)], anns_field="float16", limit=1)
    assert text.startswith("1100 vector dimension mismatch, expected vector size(byte) 32, actual 16")
    text = refused(sdk, client.search, name, [b"12"], anns_field="binary", limit=1)
    assert text.startswith("1100 vector dimension mismatch, expected vector size(byte) 3, actual 2")
    text = refused(sdk, client.search, name, [np.full(DIM, np.nan, np.float16)], anns_field="float16", limit=1)
    assert text.startswith("1100 float16 vector contain nan or infinity value.")


def test_floats_may_ask_a_field_of_halves(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, ("float16", KINDS["float16"], "L2"), ("bfloat16", KINDS["bfloat16"], "IP"))
    halves, brains = drawn(KINDS["float16"], 1, gaps=False), drawn(KINDS["bfloat16"], 2, gaps=False)
    client.insert(name, [{"id": i, "float16": halves[i], "bfloat16": brains[i]} for i in range(ROWS)])
    (hits,) = client.search(name, [halves[7].astype(np.float32).tolist()], anns_field="float16", limit=1)
    assert (hits.ids, hits.distances) == ([7], [0])
    check(client, name, "bfloat16", brains[5].astype(np.float32), dict(enumerate(brains)), "IP")


def test_a_field_that_needs_vectors_takes_no_null(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, ("v", KINDS["binary"], "HAMMING"), nullable=False)
    for row in ({"id": 1, "v": None}, {"id": 1}):
        with pytest.raises((sdk.module.MilvusException, TypeError)):
            client.insert(name, [row])


@pytest.mark.parametrize(
    ("case", "vector", "text"),
    [
        ("float16", np.full(DIM, np.inf, np.float16), "float16 vector contain nan or infinity value."),
        ("float16", b"12", "dim"),
        ("binary", b"1234", "dim"),
        ("sparse", {3: -1.0}, "invalid sparse float vector"),
        ("sparse", {2**32 - 1: 1.0}, "(?i)sparse|index|range"),
    ],
)
def test_vectors_that_cannot_be_are_refused(
    case: str, vector: Any, text: str, sdk: Sdk, client: Any, name: str
) -> None:
    make(sdk, client, name, ("v", KINDS[case], KINDS[case].metrics[0]))
    with pytest.raises((sdk.module.MilvusException, ValueError, TypeError), match=text):
        client.insert(name, [{"id": 1, "v": vector}])
    assert read(client, name, "v") == {}
