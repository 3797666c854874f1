"""Rows are written, read, searched and deleted alike through every SDK."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk, plain
from tests.acceptance.test_collections import flat_index

DIM = 8
ROWS = 60
COLOURS = ("red", "green", "blue")


def vectors() -> np.ndarray:
    """What row `i` holds; fixed, so that every SDK must find the same."""
    return np.random.default_rng(11).normal(size=(ROWS, DIM)).astype(np.float32)


def rows() -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "vector": vector.tolist(),
            "title": f"title {i}",
            "price": i / 4,
            "colour": COLOURS[i % 3],
            "size": {"width": i, "tags": ["a", f"t{i}"]},
        }
        for i, vector in enumerate(vectors())
    ]


def fill(sdk: Sdk, client: Any, name: str) -> str:
    """A loaded collection of 60 rows with a title, a price and the dynamic keys `colour` and `size`."""
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("title", types.VARCHAR, max_length=20)
    schema.add_field("price", types.DOUBLE)
    client.create_collection(name, schema=schema, index_params=flat_index(client))
    assert client.insert(name, rows())["insert_count"] == ROWS
    return name


@pytest.fixture
def shop(sdk: Sdk, client: Any, name: str) -> str:
    """One for a test that writes."""
    return fill(sdk, client, name)


@pytest.fixture(scope="module")
def archive(sdk: Sdk, client: Any) -> Iterator[str]:
    """One for all tests that only read."""
    name = f"c_{uuid.uuid4().hex}"
    yield fill(sdk, client, name)
    client.drop_collection(name)


# -- writing --------------------------------------------------------------------------------------
def test_one_row_or_many_are_inserted_with_their_keys_answered(client: Any, shop: str) -> None:
    extra = {"vector": [0.0] * DIM, "title": "more", "price": 1.0}
    assert plain(client.insert(shop, {"id": 900, **extra})) == {"insert_count": 1, "ids": [900]}
    answer = client.insert(shop, [{"id": 901, **extra}, {"id": 902, **extra, "colour": None}])
    assert plain(answer) == {"insert_count": 2, "ids": [901, 902]}
    assert plain(client.insert(shop, [])) == {"insert_count": 0, "ids": []}
    assert list(client.get(shop, [902])) == [{"id": 902, **extra, "colour": None}]


def test_vectors_are_taken_as_lists_or_numpy_arrays(client: Any, shop: str) -> None:
    given = [[0.5] * DIM, np.full(DIM, 0.5, np.float32), np.full(DIM, 0.5, np.float64)]
    client.insert(shop, [{"id": 900 + i, "vector": v, "title": "", "price": 0.0} for i, v in enumerate(given)])
    found = client.get(shop, [900, 901, 902], output_fields=["vector"])
    assert [row["vector"] for row in found] == [[0.5] * DIM] * 3


@pytest.mark.parametrize("write", ["insert", "upsert"])
@pytest.mark.parametrize("form", ["numpy", "arrow"])
@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_arrays_may_be_written_to_again_once_their_rows_are_inserted(
    write: str, form: str, client: Any, shop: str
) -> None:
    keys, prices, matrix = np.arange(900, 900 + ROWS), np.full(ROWS, 0.5), vectors()
    given: Any = {"id": keys, "vector": matrix, "title": [""] * ROWS, "price": prices}
    if form == "arrow":
        flat = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), DIM)
        given = pa.table({**given, "vector": flat, "id": pa.array(keys), "price": pa.array(prices)})
    getattr(client, write)(shop, given)
    keys[:], prices[:], matrix[:] = 7, 7, 7
    (found,) = client.query(shop, filter="id == 903", output_fields=["vector", "price"])
    assert found["price"] == 0.5
    assert found["vector"] == vectors()[3].tolist()


def test_an_upsert_replaces_rows_of_its_keys(client: Any, shop: str) -> None:
    changed = [{"id": key, "vector": [9.0] * DIM, "title": "new", "price": -1.0, "fresh": True} for key in (3, 777)]
    assert plain(client.upsert(shop, changed)) == {"upsert_count": 2, "ids": [3, 777]}
    assert plain(client.upsert(shop, changed[0])) == {"upsert_count": 1, "ids": [3]}
    assert list(client.get(shop, [3, 777])) == changed
    assert client.query(shop, output_fields=["count(*)"])[0]["count(*)"] == ROWS + 1
    (hits,) = client.search(shop, [[9.0] * DIM], limit=3)
    assert sorted(hits.ids[:2]) == [3, 777]
    assert hits.ids[2] not in (3, 777)


def test_rows_are_deleted_by_key_and_by_filter(client: Any, shop: str) -> None:
    assert plain(client.delete(shop, ids=[1, 2])) == {"delete_count": 2}
    assert plain(client.delete(shop, ids=5)) == {"delete_count": 1}
    assert plain(client.delete(shop, filter="price >= 10 and colour == 'red'")) == {"delete_count": 6}
    assert plain(client.delete(shop, filter="title in {names}", filter_params={"names": ["title 7", "title 8"]})) == {
        "delete_count": 2
    }
    assert plain(client.delete(shop, filter="price > 1e9")) == {"delete_count": 0}
    left = [i for i in range(ROWS) if i not in (1, 2, 5, 7, 8) and not (i >= 40 and i % 3 == 0)]
    assert [row["id"] for row in client.query(shop, "id >= 0", output_fields=["id"])] == left
    assert list(client.get(shop, [1, 7, 42])) == []


def test_a_deleted_key_can_be_inserted_again(client: Any, shop: str) -> None:
    client.delete(shop, ids=[4])
    client.insert(shop, {"id": 4, "vector": [0.0] * DIM, "title": "again", "price": 2.5})
    assert [row["title"] for row in client.get(shop, 4)] == ["again"]


# -- reading by key and by filter -----------------------------------------------------------------
def test_rows_come_back_by_key_whole_or_in_part(client: Any, archive: str) -> None:
    stored = rows()
    for ids in (7, [7], [59, 7, 12345]):
        found = client.get(archive, ids)
        wanted = [stored[i] for i in ([7] if ids != [59, 7, 12345] else [7, 59])]
        assert sorted(found, key=lambda row: row["id"]) == wanted
    assert list(client.get(archive, [7], output_fields=["title"])) == [{"id": 7, "title": "title 7"}]
    assert list(client.query(archive, ids=[7], output_fields=["colour"])) == [{"id": 7, "colour": "green"}]
    assert list(client.get(archive, [])) == []


QUERIES: dict[str, tuple[str, list[int]]] = {
    "comparison": ("price >= 14", [56, 57, 58, 59]),
    "logic": ("price < 1 and not (id == 2)", [0, 1, 3]),
    "in": ('title in ["title 3", "title 4", "no"]', [3, 4]),
    "not in": ("id < 5 and id not in [0, 1]", [2, 3, 4]),
    "like": ('title like "title 1_"', list(range(10, 20))),
    "infix": ('title like "%le 5"', [5]),
    "range": ("10 < id <= 12", [11, 12]),
    "arithmetic": ("id % 20 == 7", [7, 27, 47]),
    "a dynamic key": ('colour == "blue" and id < 9', [2, 5, 8]),
    "the name of the dynamic field": ('$meta["colour"] == "blue" and id < 9', [2, 5, 8]),
    "a path in a dynamic key": ('size["width"] in [20, 21]', [20, 21]),
    "an element of a document": ('size["tags"][1] == "t33"', [33]),
    "json_contains": ('json_contains(size["tags"], "t12")', [12]),
    "exists": ("exists nothing", []),
    "missing": ("id < 3 and nothing is null", [0, 1, 2]),
    "one key": ("id == 30", [30]),
}


@pytest.mark.parametrize("case", QUERIES)
def test_a_filter_picks_its_rows(case: str, client: Any, archive: str) -> None:
    text, wanted = QUERIES[case]
    found = client.query(archive, filter=text, output_fields=["id"])
    assert [row["id"] for row in found] == wanted
    (hits,) = client.search(archive, [[0.0] * DIM], filter=text, limit=ROWS)
    assert sorted(hits.ids) == wanted
    (counted,) = client.query(archive, filter=text, output_fields=["count(*)"])
    assert counted == {"count(*)": len(wanted)}


def test_filters_take_parameters(client: Any, archive: str) -> None:
    parameters: list[tuple[str, dict[str, Any], list[int]]] = [
        ("id in {ids}", {"ids": [4, 5]}, [4, 5]),
        ("price > {least} and colour == {colour}", {"least": 14.0, "colour": "blue"}, [59]),
        ("{low} < id < {high}", {"low": 7, "high": 9}, [8]),
        ("title like {pattern}", {"pattern": "%59"}, [59]),
    ]
    for text, values, wanted in parameters:
        found = client.query(archive, filter=text, filter_params=values, output_fields=["id"])
        assert [row["id"] for row in found] == wanted
        (hits,) = client.search(archive, [[0.0] * DIM], filter=text, filter_params=values, limit=ROWS)
        assert sorted(hits.ids) == wanted


def test_a_query_is_read_in_pages(client: Any, archive: str) -> None:
    pages = [client.query(archive, "id >= 10", limit=20, offset=start, output_fields=["id"]) for start in (0, 20, 40)]
    assert [len(page) for page in pages] == [20, 20, 10]
    assert [row["id"] for page in pages for row in page] == list(range(10, ROWS))
    assert [row["id"] for row in client.query(archive, limit=3, output_fields=["id"])] == [0, 1, 2]
    assert list(client.query(archive, "id >= 10", limit=5, offset=100)) == []


def test_output_fields_choose_what_a_query_shows(client: Any, archive: str) -> None:
    stored = rows()[7]
    cases: list[tuple[Any, set[str]]] = [
        (None, set(stored)),
        (["*"], set(stored)),
        (["id"], {"id"}),
        (["title", "price"], {"id", "title", "price"}),
        (["colour"], {"id", "colour"}),
        (["vector", "size"], {"id", "vector", "size"}),
        (["nothing"], {"id"}),
        (["$meta"], {"id", "colour", "size"}),
    ]
    for names, shown in cases:
        (found,) = client.query(archive, "id == 7", output_fields=names)
        assert found == {key: value for key, value in stored.items() if key in shown}


@pytest.mark.parametrize("level", ["Strong", "Session", "Bounded", "Eventually"])
def test_every_consistency_level_is_taken(level: str, client: Any, archive: str) -> None:
    assert len(client.search(archive, [[0.0] * DIM], limit=5, consistency_level=level)[0]) == 5
    assert len(client.query(archive, "id < 5", consistency_level=level)) == 5
    assert len(client.get(archive, [1, 2], consistency_level=level)) == 2


def test_a_strong_read_sees_each_write_at_once(client: Any, shop: str) -> None:
    for key in range(1000, 1020):
        client.insert(shop, {"id": key, "vector": [5.0] * DIM, "title": "t", "price": 0.0})
        (counted,) = client.query(shop, "id >= 1000", output_fields=["count(*)"], consistency_level="Strong")
        assert counted["count(*)"] == key - 999


# -- searching --------------------------------------------------------------------------------------
def nearest(query: np.ndarray, count: int, start: int = 0) -> tuple[list[int], list[float]]:
    distances = ((vectors().astype(np.float64) - query) ** 2).sum(axis=1)
    order = np.argsort(distances, kind="stable")[start : start + count]
    return order.tolist(), distances[order].tolist()


def test_a_search_answers_a_list_of_hits_for_each_vector(client: Any, archive: str) -> None:
    queries = vectors()[[3, 40]] + np.float32(0.01)
    for data in (queries.tolist(), list(queries)):
        found = client.search(archive, data=data, limit=4)
        assert len(found) == 2
        for hits, query in zip(found, queries, strict=True):
            ids, distances = nearest(query, 4)
            assert len(hits) == 4
            assert list(hits.ids) == ids
            assert list(hits.distances) == pytest.approx(distances, abs=1e-4)
            assert [hit["id"] for hit in hits] == ids
            assert hits[0].keys() == {"id", "distance", "entity"}
            assert hits[0]["entity"] == {}


def test_a_hit_is_a_dict_with_shorthands(client: Any, archive: str) -> None:
    query = vectors()[12].tolist()
    (hits,) = client.search(archive, data=[query], limit=1, output_fields=["title", "colour", "vector"])
    hit = hits[0]
    entity = {"title": "title 12", "colour": "red", "vector": query}
    assert hit == {"id": 12, "distance": pytest.approx(0, abs=1e-5), "entity": entity}
    assert (hit.id, hit.pk, hit.get("title"), hit["colour"]) == (12, 12, "title 12", "red")
    assert hit.distance == hit.score == hit["distance"]
    assert hit.get("nothing", "there") == "there"
    assert hit.entity.get("title") == "title 12"
    assert hit.fields == entity
    assert hit.to_dict()["entity"] == entity
    (hits,) = client.search(archive, data=[query], limit=1, output_fields=["*"])
    assert hits[0]["entity"] == rows()[12]


def test_one_vector_alone_or_many_are_searched(sdk: Sdk, client: Any, archive: str) -> None:
    if sdk.ours:
        assert client.search(archive, vectors()[5], limit=1)[0].ids == [5]
        assert client.search(archive, vectors()[5].tolist(), limit=1)[0].ids == [5]
    found = client.search(archive, vectors(), limit=1)
    assert [hits.ids[0] for hits in found] == list(range(ROWS))


def test_a_search_takes_its_options(client: Any, archive: str) -> None:
    query = vectors()[20] + np.float32(0.01)
    data = [query.tolist()]
    ids, distances = nearest(query, 10)
    assert list(client.search(archive, data, limit=3, offset=4)[0].ids) == ids[4:7]
    rounded = client.search(archive, data, limit=3, round_decimal=2)[0]
    assert list(rounded.distances) == pytest.approx([round(d, 2) for d in distances[:3]], abs=1e-6)
    for parameters in ({}, {"metric_type": "L2"}, {"metric_type": "L2", "params": {}}):
        assert list(client.search(archive, data, limit=3, search_params=parameters)[0].ids) == ids[:3]
    assert list(client.search(archive, data, limit=3, anns_field="vector")[0].ids) == ids[:3]
    assert list(client.search(archive, data)[0].ids) == ids


def test_a_graph_search_takes_its_effort(sdk: Sdk, client: Any, name: str) -> None:
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", sdk.module.DataType.INT64, is_primary=True)
    schema.add_field("vector", sdk.module.DataType.FLOAT_VECTOR, dim=DIM)
    graph = flat_index(client, index_type="HNSW", params={"M": 16, "efConstruction": 100})
    client.create_collection(name, schema=schema, index_params=graph)
    many = np.random.default_rng(5).normal(size=(3000, DIM)).astype(np.float32)
    client.insert(name, [{"id": i, "vector": v} for i, v in enumerate(many)])
    client.flush(name)
    queries = many[:50] + np.float32(0.001)
    exact = np.argsort(((queries[:, None, :] - many[None]) ** 2).sum(axis=2), axis=1)[:, :10]
    for parameters in ({"params": {"ef": 128}}, {"ef": 128}, {"metric_type": "L2", "params": {"ef": 200}}):
        found = client.search(name, queries, limit=10, search_params=parameters)
        right = sum(len(set(hits.ids) & set(row.tolist())) for hits, row in zip(found, exact, strict=True))
        assert right / exact.size >= 0.97
    with pytest.raises(sdk.module.MilvusException, match="ef") as caught:
        client.search(name, queries, limit=10, search_params={"params": {"ef": 5}})
    assert caught.value.code == 1100


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
def test_distances_are_those_of_the_metric(metric: str, sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM, metric_type=metric)
    stored = vectors()
    client.insert(name, [{"id": i, "vector": v} for i, v in enumerate(stored)])
    query = np.random.default_rng(6).normal(size=DIM).astype(np.float32)
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(query)
    scores = {
        "L2": -((stored - query) ** 2).sum(axis=1),
        "IP": stored @ query,
        "COSINE": stored @ query / lengths,
    }[metric]
    order = np.argsort(-scores)[:7]
    (hits,) = client.search(name, [query.tolist()], limit=7)
    assert list(hits.ids) == order.tolist()
    assert list(hits.distances) == pytest.approx(np.abs(scores[order]) if metric == "L2" else scores[order], abs=1e-4)


def test_a_search_of_an_empty_collection_finds_nothing(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    found = client.search(name, [[0.0] * DIM, [1.0] * DIM])
    assert [list(hits) for hits in found] == [[], []]
    assert list(client.query(name, "id > 0")) == []
    assert list(client.query(name, output_fields=["count(*)"])) == [{"count(*)": 0}]


def test_reads_are_the_same_before_and_after_a_flush(client: Any, shop: str) -> None:
    query = [(vectors()[9] + np.float32(0.02)).tolist()]
    options: dict[str, Any] = {"filter": 'colour != "red" and price < 12', "limit": 9, "output_fields": ["*"]}

    def read() -> tuple[list[Any], list[Any]]:
        found = [dict(hit) for hit in client.search(shop, query, **options)[0]]
        return found, list(client.query(shop, options["filter"]))

    client.delete(shop, filter="id in [10, 11]")
    before = read()
    client.flush(shop)
    client.delete(shop, ids=[22])
    client.upsert(shop, rows()[23])
    found, stored = read()
    assert [row["id"] for row in stored] == [row["id"] for row in before[1] if row["id"] != 22]
    assert stored == [row for row in before[1] if row["id"] != 22]
    kept = [hit for hit in before[0] if hit["id"] != 22]
    assert [hit["entity"] for hit in found][: len(kept)] == [hit["entity"] for hit in kept]


def test_text_keys_work_as_numbers_do(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM, id_type="string", max_length=40)
    keys = ["plain", "with 'single'", 'with "double"', "back\\slash", "ünïcödé ✓", "tab\tnew\nline"]
    client.insert(name, [{"id": key, "vector": v} for key, v in zip(keys, vectors(), strict=False)])
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == len(keys)
    assert [row["id"] for row in client.get(name, ["plain", "ünïcödé ✓"], output_fields=["id"])] == [
        "plain",
        "ünïcödé ✓",
    ]
    (hits,) = client.search(name, [vectors()[3].tolist()], limit=1)
    assert hits[0]["id"] == "back\\slash"
    found = client.query(name, "id == {key}", filter_params={"key": 'with "double"'}, output_fields=["id"])
    assert [row["id"] for row in found] == ['with "double"']
    assert plain(client.delete(name, ids=["plain", "ünïcödé ✓"])) == {"delete_count": 2}
    assert sorted(row["id"] for row in client.query(name, 'id != ""', output_fields=["id"])) == sorted(
        key for key in keys if key not in ("plain", "ünïcödé ✓")
    )


def test_keys_are_made_when_the_collection_makes_them(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM, auto_id=True)
    first = list(client.insert(name, [{"vector": v} for v in vectors()[:30]])["ids"])
    second = list(client.insert(name, [{"vector": v} for v in vectors()[30:]])["ids"])
    assert len({*first, *second}) == ROWS
    assert sorted(first + second) == first + second
    (hits,) = client.search(name, [vectors()[17].tolist()], limit=1)
    assert hits[0]["id"] == first[17]
    assert plain(client.delete(name, ids=first)) == {"delete_count": 30}
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 30
