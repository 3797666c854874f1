"""Full-text search by every way to the engine: texts go in, texts are asked, rows come out by BM25."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from math import atan, pi
from typing import Any

import pyarrow as pa
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.server.rest_client import Rest
from tests.servers import ProcessServer
from tests.texts import plain_scores

TEXTS = {
    1: "A red kite circles above the quiet valley",
    2: "The kite festival: kites, kites, and more kites!",
    3: "Buzzards and kites are raptors",
    4: "A quiet engine is a good engine",
    5: "The valley engine shop sells red paint",
    6: "",
    7: "Nothing to see here",
}
QUERIES = ["red kite", "quiet engine in the valley", "kites", "unheard-of"]


def schema_of(sdk: Sdk, client: Any, **text: Any) -> Any:
    kinds = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("text", kinds.VARCHAR, **{"max_length": 1000, "enable_analyzer": True, **text})
    schema.add_field("words", kinds.SPARSE_FLOAT_VECTOR)
    schema.add_field("dense", kinds.FLOAT_VECTOR, dim=2)
    schema.add_field("shelf", kinds.VARCHAR, max_length=10, nullable=True)
    schema.add_function(bm25(sdk))
    return schema


def bm25(sdk: Sdk, name: str = "bm25", inputs: Any = "text", outputs: Any = "words", **more: Any) -> Any:
    module = sdk.module
    return module.Function(
        name=name, input_field_names=inputs, output_field_names=outputs, function_type=module.FunctionType.BM25, **more
    )


def index_of(client: Any, **params: Any) -> Any:
    index = client.prepare_index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=params)
    index.add_index("dense", index_type="FLAT", metric_type="COSINE")
    return index


def rows_of(texts: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {"id": key, "text": text, "dense": [key, 1.0], "shelf": "ab"[key % 2]} for key, text in texts.items()
    ]  # fmt: skip


def filled(sdk: Sdk, client: Any, name: str, **options: Any) -> str:
    client.create_collection(
        name, schema=schema_of(sdk, client), index_params=index_of(client), consistency_level="Strong", **options
    )
    assert client.insert(name, rows_of(TEXTS))["insert_count"] == len(TEXTS)
    return name


def found(hits: Any) -> dict[int, float]:
    return {hit["id"]: hit["distance"] for hit in hits}


def ask(client: Any, name: str, *queries: str, **more: Any) -> list[dict[int, float]]:
    return [found(hits) for hits in client.search(name, list(queries), anns_field="words", limit=10, **more)]


def check(client: Any, name: str, texts: dict[int, str], **formula: float) -> None:
    for query, scores in zip(QUERIES, ask(client, name, *QUERIES), strict=True):
        assert scores == pytest.approx(plain_scores(texts, query, **formula), rel=1e-5)


def test_texts_are_found_by_their_words_growing_and_sealed(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    check(client, name, TEXTS)
    client.flush(name)
    check(client, name, TEXTS)
    client.upsert(name, rows_of({2: "no more toys", 8: "kites again"}))
    client.delete(name, ids=[3])
    changed = {**TEXTS, 2: "no more toys", 8: "kites again"}
    del changed[3]
    check(client, name, changed)
    (hits,) = client.search(name, ["red kite"], anns_field="words", limit=1, output_fields=["text", "shelf"])
    assert hits[0]["entity"] == {"text": TEXTS[1], "shelf": "b"}
    assert len(ask(client, name, "red kite", "engine")) == 2


def test_the_index_says_how_words_count(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(
        name, schema=schema_of(sdk, client), index_params=index_of(client, bm25_k1=2.0, bm25_b=0.1)
    )
    client.insert(name, rows_of(TEXTS))
    check(client, name, TEXTS, k1=2.0, b=0.1)
    told = client.describe_index(name, "words")
    assert (told["metric_type"], float(told["bm25_k1"])) == ("BM25", 2.0)


def test_functions_and_their_fields_are_described(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    told = client.describe_collection(name)
    (function,) = told["functions"]
    assert (function["name"], function["input_field_names"], function["output_field_names"]) == (
        "bm25", ["text"], ["words"],
    )  # fmt: skip
    assert function["type"] == sdk.module.FunctionType.BM25
    fields = {field["name"]: field for field in told["fields"]}
    assert fields["words"]["is_function_output"] is True
    assert not fields["dense"].get("is_function_output")


def test_words_are_neither_given_nor_shown(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    (row,) = client.query(name, "id == 4", output_fields=["*"])
    assert set(row) == {"id", "text", "dense", "shelf"}
    assert set(client.get(name, [4])[0]) == {"id", "text", "dense", "shelf"}
    for read in (
        lambda: client.query(name, "id == 4", output_fields=["words"]),
        lambda: client.search(name, ["kite"], anns_field="words", limit=1, output_fields=["words"]),
    ):
        with pytest.raises(sdk.module.MilvusException, match="not allowed to retrieve raw data of field words"):
            read()
    row = {**rows_of({9: "x"})[0], "words": {1: 1.0}}
    with pytest.raises(Exception, match="unexpected function output field `words`"):
        client.insert(name, [row])


def test_a_part_of_a_row_changes_and_its_words_follow(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    client.upsert(name, [{"id": 4, "text": "kites everywhere"}], partial_update=True)
    client.upsert(name, [{"id": 1, "shelf": "z"}], partial_update=True)
    check(client, name, {**TEXTS, 4: "kites everywhere"})


def test_filters_pages_ranges_groups_and_iterators(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    for _ in range(2):
        (whole,) = ask(client, name, "red kite valley raptors")
        assert len(whole) == 4
        odd = {key: score for key, score in whole.items() if key % 2}
        assert ask(client, name, "red kite valley raptors", filter="shelf == 'b'") == [odd]
        assert ask(client, name, "red kite valley raptors", offset=1) == [dict(list(whole.items())[1:])]
        middle = sorted(whole.values())[1]
        params = {"params": {"radius": middle}}
        above = {key: score for key, score in whole.items() if score > middle}
        assert ask(client, name, "red kite valley raptors", search_params=params) == [above]
        grouped = ask(client, name, "red kite valley raptors", group_by_field="shelf")[0]
        assert [key % 2 for key in grouped] == [1, 0] or [key % 2 for key in grouped] == [0, 1]
        pages = client.search_iterator(name, ["red kite valley raptors"], batch_size=1, anns_field="words")
        seen: dict[int, float] = {}
        while page := pages.next():
            seen |= found(page)
        pages.close()
        assert seen == pytest.approx(whole)
        client.flush(name)


def test_dense_and_words_are_ranked_together(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    client.flush(name)
    module = sdk.module
    (words,) = ask(client, name, "red kite")
    (dense,) = client.search(name, [[3.0, 1.0]], anns_field="dense", limit=10)
    requests = [
        module.AnnSearchRequest(["red kite"], "words", {"metric_type": "BM25"}, limit=10),
        module.AnnSearchRequest([[3.0, 1.0]], "dense", {"metric_type": "COSINE"}, limit=10),
    ]
    (hits,) = client.hybrid_search(name, requests, module.RRFRanker(60), limit=10)
    ranks = [list(words), [hit["id"] for hit in dense]]
    want = {key: sum(1 / (61 + rank.index(key)) for rank in ranks if key in rank) for key in TEXTS}
    assert found(hits) == pytest.approx(want, rel=1e-5)
    (hits,) = client.hybrid_search(name, requests, module.WeightedRanker(0.7, 0.3), limit=10)
    scores = {hit["id"]: 0.3 * (1 + hit["distance"]) / 2 for hit in dense}
    for key, score in words.items():
        scores[key] += 0.7 * 2 * atan(score) / pi
    assert found(hits) == pytest.approx(scores, rel=1e-5)


def test_an_analyzer_for_each_language(sdk: Sdk, client: Any, name: str) -> None:
    kinds = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("language", kinds.VARCHAR, max_length=10)
    analyzers = {
        "by_field": "language", "alias": {"en": "english"},
        "analyzers": {"default": {"type": "standard"}, "english": {"type": "english"}},
    }  # fmt: skip
    schema.add_field("text", kinds.VARCHAR, max_length=100, enable_analyzer=True, multi_analyzer_params=analyzers)
    schema.add_field("words", kinds.SPARSE_FLOAT_VECTOR)
    schema.add_function(bm25(sdk))
    index = client.prepare_index_params()
    index.add_index("words", index_type="AUTOINDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(
        name,
        [
            {"id": 1, "language": "en", "text": "running engines"},
            {"id": 2, "language": "de", "text": "running engines"},
            {"id": 3, "language": "english", "text": "the runner"},
        ],
    )
    assert set(ask(client, name, "running")[0]) == {2}
    assert set(ask(client, name, "runs", search_params={"analyzer_name": "en"})[0]) == {1}
    assert set(ask(client, name, "the", search_params={"analyzer_name": "english"})[0]) == set()
    assert set(ask(client, name, "running", search_params={"analyzer_name": "finnish"})[0]) == {2}
    client.upsert(name, [{"id": 2, "language": "english"}], partial_update=True)
    with pytest.raises(sdk.module.MilvusException, match="field language chooses the analyzer of field text"):
        client.drop_collection_field(name, "language")
    assert set(ask(client, name, "runs", search_params={"analyzer_name": "en"})[0]) == {1, 2}


def test_text_fields_hold_long_texts(sdk: Sdk, client: Any, name: str) -> None:
    kinds = sdk.module.DataType
    if not hasattr(kinds, "TEXT"):
        pytest.skip("this SDK has no TEXT fields")
    schema = client.create_schema()
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("text", kinds.TEXT, enable_analyzer=True)
    schema.add_field("words", kinds.SPARSE_FLOAT_VECTOR)
    schema.add_function(bm25(sdk))
    index = client.prepare_index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    long = "kite " * 100_000 + "buzzard"
    client.insert(name, [{"id": 1, "text": long}, {"id": 2, "text": "one kite"}])
    for _ in range(2):
        assert ask(client, name, "buzzard kite")[0] == pytest.approx(
            plain_scores({1: long, 2: "one kite"}, "buzzard kite"), rel=1e-5
        )
        client.flush(name)
    assert client.get(name, [1])[0]["text"] == long
    with pytest.raises(sdk.module.MilvusException, match="exceeds max length"):
        client.insert(name, [{"id": 3, "text": "x" * (2 * 1024 * 1024 + 1)}])


# -- bad input ----------------------------------------------------------------------------------
def test_what_is_no_text_or_no_field_of_words_is_refused(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    error = sdk.module.MilvusException
    for data, field, text in (
        ([{1: 0.5}], "words", "please provide varchar/text for BM25 Function based search, got SparseFloatVector"),
        ([[1.0, 2.0]], "words", "please provide varchar/text for BM25 Function based search, got FloatVector"),
        (["kite"], "dense", "vector type must be the same, field dense - type VECTOR_FLOAT"),
    ):
        with pytest.raises(error, match=text):
            client.search(name, data, anns_field=field, limit=3)
    with pytest.raises(error, match=r"metric type not match.*expected=BM25.*actual=IP"):
        ask(client, name, "kite", search_params={"metric_type": "IP"})
    with pytest.raises(error, match="has one analyzer only"):
        ask(client, name, "kite", search_params={"analyzer_name": "en"})
    assert ask(client, name, "", "  ", "…!", "zebra") == [{}, {}, {}, {}]
    assert set(ask(client, name, "kite " + "word " * 200_000)[0]) == {1, 2}


def test_schemas_that_cannot_be(sdk: Sdk, client: Any, name: str) -> None:
    kinds = sdk.module.DataType

    def create(*functions: Any, **text: Any) -> None:
        schema = schema_of(sdk, client, **text)
        schema.functions.clear()
        for function in functions:
            schema.functions.append(function)
        client.create_collection(name, schema=schema)

    for functions, text, message in (
        ((bm25(sdk),), {"enable_analyzer": False}, "must set enable_analyzer to true"),
        ((bm25(sdk), bm25(sdk, outputs="words")), {}, "duplicate function name bm25"),
        ((bm25(sdk), bm25(sdk, "other")), {}, "duplicate function output field"),
        ((bm25(sdk, params={"k1": 2}),), {}, "BM25 function accepts no params"),
        ((bm25(sdk, ""),), {}, "function name cannot be empty"),
    ):
        with pytest.raises(sdk.module.MilvusException, match=message):
            create(*functions, **text)
    with pytest.raises(Exception, match="output field must be"):
        create(bm25(sdk, outputs="dense"))
    assert kinds.VARCHAR
    assert not client.has_collection(name)


def test_indexes_that_cannot_be(sdk: Sdk, client: Any, name: str) -> None:
    schema = schema_of(sdk, client)
    schema.add_field("plain", sdk.module.DataType.SPARSE_FLOAT_VECTOR)
    client.create_collection(name, schema=schema)
    for field, params, text in (
        ("words", {"metric_type": "IP"}, "metric type of BM25 function output field must be BM25, got IP"),
        ("plain", {"metric_type": "BM25"}, "only BM25 Function output field support BM25 metric type"),
        ("plain", {"metric_type": "IP", "params": {"bm25_k1": 1.0}}, "bm25_k1 is of indexes with metric BM25"),
        ("words", {"metric_type": "BM25", "params": {"bm25_k1": 4}}, r"should be in range \[0, 3\]"),
        ("words", {"metric_type": "BM25", "params": {"bm25_b": -0.1}}, r"should be in range \[0, 1\]"),
    ):
        index = client.prepare_index_params()
        index.add_index(field, index_type="SPARSE_INVERTED_INDEX", **params)
        with pytest.raises(sdk.module.MilvusException, match=text):
            client.create_index(name, index)


# -- our own ------------------------------------------------------------------------------------
@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_an_explanation_tells_the_statistics(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    client.flush(name)
    result = client.search(name, ["red kite zebra"], anns_field="words", limit=3, analyze=True)
    (told,) = result.explanation.statistics
    assert (told.field, told.rows, told.terms, told.known) == ("words", 7, 3, 2)
    assert "statistics gathered by words: 7 rows with a text" in str(result.explanation)
    assert client.search(name, ["kite"], anns_field="words", limit=3, exact=True)[0][0]["id"] == 1


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_recall_is_measured_and_indexes_are_not_advised(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    client.flush(name)
    assert client.measure_recall(name, anns_field="words", limit=3).recall == 1.0
    ask(client, name, "red kite")
    assert client.measure_recall(name, anns_field="words", limit=3).recall == 1.0
    with pytest.raises(sdk.module.MilvusException, match="nothing to choose for field words"):
        client.advise_index(name, anns_field="words")


# -- REST ---------------------------------------------------------------------------------------
@pytest.fixture
def rest(server: ProcessServer) -> Iterator[Rest]:
    yield Rest(server.uri)


def test_rest_creates_fills_and_asks(rest: Rest) -> None:
    name = "full_text_by_rest"
    rest.post("collections/drop", {"collectionName": name})
    params = {"max_length": 1000, "enable_analyzer": True}
    field = {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": params}
    body = {
        "collectionName": name,
        "consistencyLevel": "Strong",
        "schema": {
            "fields": [
                {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
                field,
                {"fieldName": "words", "dataType": "SparseFloatVector"},
                {"fieldName": "dense", "dataType": "FloatVector", "elementTypeParams": {"dim": 2}},
            ],
            "functions": [{"name": "bm25", "type": "BM25", "inputFieldNames": ["text"], "outputFieldNames": ["words"]}],
        },
        "indexParams": [
            {"fieldName": "words", "indexType": "SPARSE_INVERTED_INDEX", "metricType": "BM25"},
            {"fieldName": "dense", "indexType": "AUTOINDEX", "metricType": "COSINE"},
        ],
    }
    rest.ok("collections/create", body)
    told = rest.ok("collections/describe", {"collectionName": name})
    assert told["functions"][0]["outputFieldNames"] == ["words"]
    assert next(f for f in told["fields"] if f["name"] == "words")["isFunctionOutput"] is True
    rows = [{"id": key, "text": text, "dense": [key, 1]} for key, text in TEXTS.items()]
    assert rest.ok("entities/insert", {"collectionName": name, "data": rows})["insertCount"] == len(TEXTS)
    asked = {"collectionName": name, "annsField": "words", "limit": 10}
    for query in QUERIES:
        hits = rest.ok("entities/search", {**asked, "data": [query], "outputFields": ["text"]})
        assert {hit["id"]: hit["distance"] for hit in hits} == pytest.approx(plain_scores(TEXTS, query), rel=1e-5)
    hits = rest.ok("entities/search", {**asked, "data": ["kite"], "outputFields": ["*"]})
    assert set(hits[0]) == {"id", "distance", "text", "dense"}
    both = {
        "collectionName": name, "limit": 3, "rerank": {"strategy": "rrf", "params": {"k": 60}},
        "search": [
            {"data": ["red kite"], "annsField": "words", "limit": 10},
            {"data": [[3, 1]], "annsField": "dense", "limit": 10},
        ],
    }  # fmt: skip
    assert len(rest.ok("entities/hybrid_search", both)) == 3
    code, text = rest.error("entities/search", {**asked, "data": [{"1": 0.5}]})
    assert (code, "please provide varchar/text" in text) == (1100, True)
    code, text = rest.error("entities/search", {**asked, "data": ["kite"], "outputFields": ["words"]})
    assert "not allowed to retrieve raw data of field words" in text
    code, text = rest.error("entities/insert", {"collectionName": name, "data": [{**rows[0], "words": {"1": 1}}]})
    assert (code, "words" in text) == (1804, True)
    rest.ok("collections/drop", {"collectionName": name})


# -- functions that come and go -----------------------------------------------------------------
def words_field(sdk: Sdk) -> Any:
    return sdk.module.FieldSchema("more", sdk.module.DataType.SPARSE_FLOAT_VECTOR)


def test_a_function_comes_to_rows_that_are_there_and_goes(sdk: Sdk, client: Any, name: str) -> None:
    kinds = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("text", kinds.VARCHAR, max_length=1000, enable_analyzer=True)
    schema.add_field("dense", kinds.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("dense", index_type="FLAT", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    rows = [{"id": key, "text": text, "dense": [key, 1.0]} for key, text in TEXTS.items()]
    client.insert(name, rows[:4])
    client.flush(name)
    client.insert(name, rows[4:6])
    bound = client.prepare_index_params()
    bound.add_index("more", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.add_function_field(name, words_field(sdk), bm25(sdk, outputs="more"), bound)
    client.insert(name, rows[6:])

    def check_all() -> None:
        for query in QUERIES:
            (hits,) = client.search(name, [query], anns_field="more", limit=10, output_fields=["text"])
            assert found(hits) == pytest.approx(plain_scores(TEXTS, query), rel=1e-5)

    check_all()
    assert client.describe_collection(name)["functions"][0]["output_field_names"] == ["more"]
    client.upsert(name, [{"id": 1, "dense": [5.0, 1.0]}], partial_update=True)
    check_all()
    client.flush(name)
    check_all()
    with pytest.raises(sdk.module.MilvusException, match="referenced by function bm25 as input"):
        client.drop_collection_field(name, "text")
    client.drop_function_field(name, "bm25")
    assert client.describe_collection(name)["functions"] == []
    assert [field["name"] for field in client.describe_collection(name)["fields"]] == ["id", "text", "dense"]
    assert client.list_indexes(name) == ["dense"]
    with pytest.raises(sdk.module.MilvusException, match="function not found"):
        client.drop_function_field(name, "bm25")


def test_rest_adds_and_drops_a_function(rest: Rest) -> None:
    name = "function_by_rest"
    rest.post("collections/drop", {"collectionName": name})
    params = {"max_length": 1000, "enable_analyzer": True}
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": params},
        {"fieldName": "dense", "dataType": "FloatVector", "elementTypeParams": {"dim": 2}},
    ]
    index = [{"fieldName": "dense", "indexType": "AUTOINDEX", "metricType": "COSINE"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": index})
    rest.ok("entities/insert", {"collectionName": name, "data": [{"id": 1, "text": "red kite", "dense": [1, 0]}]})
    body = {
        "collectionName": name,
        "function": {"name": "bm25", "type": "BM25", "inputFieldNames": ["text"], "outputFieldNames": ["words"]},
        "outputField": {"fieldName": "words", "dataType": "SparseFloatVector"},
        "indexParams": {"fieldName": "words", "indexType": "SPARSE_INVERTED_INDEX", "metricType": "BM25"},
    }
    code, _ = rest.error("collections/add_function_field", {**body, "indexParams": {"fieldName": "other"}})
    assert code == 1100
    rest.ok("collections/add_function_field", body)
    search = {"collectionName": name, "annsField": "words", "data": ["kite"], "consistencyLevel": "Strong"}
    assert [hit["id"] for hit in rest.ok("entities/search", search)] == [1]
    rest.ok("collections/drop_function_field", {"collectionName": name, "functionName": "bm25"})
    assert rest.ok("collections/describe", {"collectionName": name})["functions"] == []
    rest.ok("collections/drop", {"collectionName": name})


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_columns_go_in_without_the_words(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(
        name, schema=schema_of(sdk, client), index_params=index_of(client), consistency_level="Strong"
    )
    columns = {"id": list(TEXTS), "text": list(TEXTS.values()), "dense": [[1.0, 2.0]] * len(TEXTS)}
    client.insert(name, columns)
    client.upsert(name, pa.RecordBatch.from_pydict({"id": [9], "text": ["red"], "dense": [[0.0, 1.0]]}))
    check(client, name, {**TEXTS, 9: "red"})
    with pytest.raises(sdk.module.MilvusException, match="unexpected function output field `words`"):
        client.insert(name, {**columns, "words": [{1: 1.0}] * len(TEXTS)})


async def test_many_search_texts_at_once_have_their_own_answers(sdk: Sdk, client: Any, name: str) -> None:
    filled(sdk, client, name)
    client.flush(name)
    many = sdk.connect_async()
    try:
        asked = QUERIES * 8
        answers = await asyncio.gather(*(many.search(name, [query], anns_field="words", limit=10) for query in asked))
        for query, (hits,) in zip(asked, answers, strict=True):
            assert found(hits) == pytest.approx(plain_scores(TEXTS, query), rel=1e-5)
    finally:
        await many.close()
