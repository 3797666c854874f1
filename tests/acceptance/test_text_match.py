"""Words and phrases in filters, and marked words in hits, by every way to an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.filter.match_oracle import holds_near, holds_phrase, holds_words, words_of
from tests.server.rest_client import Rest
from tests.servers import ProcessServer

TITLES = [
    "The red kite soars", "Red: a kite", "A kite, red and small", "Blue kites", "the RED fox", None, "",
    "kite kite red",
]  # fmt: skip
ROWS = 1_200
"""Enough for an index over the sealed ones."""


def text(number: int) -> str | None:
    title = TITLES[number % len(TITLES)]
    return title if title is None or number % 3 else f"{title} tail{number % 5}"


FILTERS: dict[str, Any] = {
    'text_match(title, "RED, fox")': lambda w: holds_words(w, ["red", "fox"]),
    'TEXT_MATCH(title, "red kite tail0", MINIMUM_SHOULD_MATCH=3)': lambda w: holds_words(
        w, ["red", "kite", "tail0"], 3
    ),
    "text_match(title, {words}, minimum_should_match={least})": lambda w: holds_words(w, ["red", "kite"], 2),
    'phrase_match(title, "red kite")': lambda w: holds_phrase(w, ["red", "kite"], 0),
    "phrase_match(title, {words}, 1)": lambda w: holds_phrase(w, ["red", "kite"], 1),
    "PHRASE_MATCH(title, {words}, {slop})": lambda w: holds_phrase(w, ["red", "kite"], 2),
    'text_match_fuzzy(title, "kitse", max_edit_distance=1)': lambda w: holds_near(w, ["kitse"], 1),
    'not text_match(title, "kite")': lambda w: "kite" not in w,
    'text_match(title, "kite") and not (phrase_match(title, "kite red") or id < 9)': None,
    'text_match(title, "")': lambda w: False,
    'title like "%kite, r%"': None,
}
PARAMS = {"words": "red kite", "least": 2, "slop": 2}


def wanted(count: int = ROWS) -> dict[str, list[int]]:
    held = {n: None if (t := text(n)) is None else words_of(t) for n in range(count)}
    found = {f: [n for n, w in held.items() if w is not None and test(w)] for f, test in FILTERS.items() if test}
    behind = 'text_match(title, "kite") and not (phrase_match(title, "kite red") or id < 9)'
    found[behind] = [
        n for n, w in held.items() if n >= 9 and w and "kite" in w and not holds_phrase(w, ["kite", "red"], 0)
    ]
    found['title like "%kite, r%"'] = [n for n in range(count) if "kite, r" in (text(n) or "")]
    return found


@pytest.fixture
def filled(client: Any, sdk: Sdk, name: str) -> Iterator[str]:
    """A loaded collection with rows in a sealed segment and some behind it."""
    types, functions = sdk.module.DataType, sdk.module.FunctionType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("title", types.VARCHAR, max_length=99, nullable=True, enable_analyzer=True, enable_match=True)
    schema.add_field("body", types.VARCHAR, max_length=999, enable_analyzer=True)
    schema.add_field("words", types.SPARSE_FLOAT_VECTOR)
    schema.add_function(sdk.module.Function(
        name="bm25", function_type=functions.BM25, input_field_names=["body"], output_field_names=["words"],
    ))  # fmt: skip
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    rows = [{"id": n, "v": [n, 0], "title": text(n), "body": f"A body of {n}: größe ☃ and kites."} for n in range(ROWS)]
    client.insert(name, rows[:-100])
    client.flush(name)
    client.insert(name, rows[-100:])
    yield name


def kept(client: Any, name: str, text: str) -> list[int]:
    found = client.query(name, filter=text, output_fields=["id"], filter_params=PARAMS, limit=5000)
    return sorted(hit["id"] for hit in found)


def test_words_and_phrases_keep_the_rows_that_have_them(client: Any, filled: str) -> None:
    assert {text: kept(client, filled, text) for text in FILTERS} == wanted()
    hits = client.search(
        filled, data=[[7.0, 0.0]], anns_field="v", limit=3, filter="phrase_match(title, {words})", filter_params=PARAMS
    )
    assert [hit["id"] for hit in hits[0]] == [8, 0, 16]
    assert sorted(client.list_indexes(filled)) == ["v", "words"]
    client.delete(filled, filter='text_match(title, "fox")')
    assert kept(client, filled, 'text_match(title, "fox")') == []


def test_an_ngram_index_answers_like_on_a_field_with_an_analyzer(client: Any, filled: str) -> None:
    index = client.prepare_index_params()
    index.add_index("title", index_type="NGRAM", index_name="grams", params={"min_gram": 2, "max_gram": 3})
    client.create_index(filled, index)
    assert "grams" in client.list_indexes(filled)
    assert {text: kept(client, filled, text) for text in FILTERS} == wanted()


def test_texts_of_any_length_are_matched_by_the_words_of_their_language(client: Any, sdk: Sdk, name: str) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field(
        "t", types.TEXT, enable_analyzer=True, enable_match=True, analyzer_params={"type": "english"}
    )  # fmt: skip
    index = client.prepare_index_params()
    index.add_index("v", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    texts = ["The Tower of the London bridges", "Tower London", "bridging " * 70_000 + "end"]
    client.insert(name, [{"id": n, "v": [n, 0], "t": text} for n, text in enumerate(texts)])
    for _ in range(2):
        assert kept(client, name, 'text_match(t, "a bridge")') == [0, 2]
        assert kept(client, name, 'phrase_match(t, "tower of the london")') == [0], "left out words keep their places"
        assert kept(client, name, 'phrase_match(t, "tower london")') == [1]
        assert kept(client, name, 'phrase_match(t, "tower london", 2)') == [0, 1]
        assert kept(client, name, 'phrase_match(t, "bridge ended")') == [2]
        assert kept(client, name, 'text_match(t, "the")') == []
        client.flush(name)


def test_a_field_that_is_added_to_stored_rows_is_matched_at_once(client: Any, sdk: Sdk, filled: str) -> None:
    options = {"max_length": 99, "nullable": True, "enable_analyzer": True, "enable_match": True}
    client.add_collection_field(filled, "note", sdk.module.DataType.VARCHAR, **options)
    assert kept(client, filled, 'text_match(note, "kite")') == []
    assert kept(client, filled, 'not text_match(note, "kite")') == []
    client.insert(filled, [{"id": ROWS, "v": [0, 0], "title": None, "body": "", "note": "A kite at last"}])
    assert kept(client, filled, 'phrase_match(note, "kite at last")') == [ROWS]
    assert kept(client, filled, 'text_match(note, "kite") or phrase_match(title, "kite kite")')[-1] == ROWS


@pytest.mark.parametrize(
    ("filter", "detail"),
    [
        ('text_match(body, "a")', 'field "body" does not enable match'),
        ('phrase_match(body, "a")', 'field "body" does not enable match'),
        ('text_match(id, "a")', "text match operation on non-string is unsupported"),
        ('phrase_match(v, "a")', "phrase match operation on non-string is unsupported"),
        ('text_match(nope, "a")', "field nope not exist"),
        ('text_match(title, "a", minimum_should_match=0)', "minimum_should_match should be >= 1, got 0"),
        ('text_match(title, "a", minimum_should_match=1001)', "minimum_should_match should be <= 1000, got 1001"),
        ('phrase_match(title, "a", -1)', '"slop" should not be a negative interger. "slop" passed: -1'),
        ('phrase_match(title, "a", 4294967296)', '"slop" exceeds the range of "uint32"'),
        ('phrase_match(title, "a", id)', '"slop" should be a const integer expression with "uint32" value'),
    ],
)
def test_what_cannot_be_matched_is_refused(client: Any, sdk: Sdk, filled: str, filter: str, detail: str) -> None:
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.query(filled, filter=filter, limit=1)
    assert caught.value.code == 1100
    assert "cannot parse expression" in caught.value.message
    assert detail in caught.value.message


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"enable_match": True}, "is set to enable match or bm25 function but not enable analyzer"),
        ({"enable_analyzer": True, "enable_match": "perhaps"}, "enable_match of field t must be true or false"),
    ],
)
def test_a_field_to_be_matched_has_an_analyzer(
    client: Any, sdk: Sdk, name: str, options: dict[str, Any], detail: str
) -> None:
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("t", types.VARCHAR, max_length=9, **options)
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.create_collection(name, schema=schema)
    assert detail in caught.value.message
    assert caught.value.code == 1100


# -- marks ----------------------------------------------------------------------------------------
def marks(hits: Any) -> list[tuple[int, dict[str, list[str]]]]:
    return [(hit["id"], {field: list(found["fragments"]) for field, found in hit["highlight"].items()}) for hit in hits]


def highlighter(sdk: Sdk, **options: Any) -> Any:
    module = sdk.module
    return module.LexicalHighlighter(**({"pre_tags": ["{"], "post_tags": ["}"]} | options))


def test_the_words_of_a_search_are_marked_in_its_hits(client: Any, sdk: Sdk, filled: str) -> None:
    found = client.search(
        filled, data=["7 ☃", "größe 1100"], anns_field="words", limit=1, output_fields=["id"],
        highlighter=highlighter(sdk, highlight_search_text=True, fragment_offset=3),
    )  # fmt: skip
    assert [marks(hits) for hits in found] == [
        [(7, {"body": ["of {7}: größe ☃ and kites."]})], [(1100, {"body": ["of {1100}: {größe} ☃ and kites."]})],
    ]  # fmt: skip
    assert [dict(hit["entity"]) for hits in found for hit in hits] == [{"id": 7}, {"id": 1100}]


def test_the_words_of_a_filter_are_marked_in_the_hits_of_any_search(client: Any, sdk: Sdk, filled: str) -> None:
    given = highlighter(sdk, pre_tags=["{", "<"], post_tags=["}", ">"], num_of_fragments=2, fragment_size=8)
    given.with_query("title", "kite red", "TextMatch")
    given.with_query("body", "größe ...", "PhraseMatch")
    found = client.search(
        filled, data=[[0.0, 0.0]], anns_field="v", limit=4, filter='text_match(title, "kite red")',
        output_fields=["title"], highlighter=given,
    )  # fmt: skip
    assert marks(found[0])[:3] == [
        (0, {"title": ["{red} <kite>"], "body": ["{größe} ☃ "]}),
        (1, {"title": ["{Red}: a <kite>"], "body": ["{größe} ☃ "]}),
        (2, {"title": ["{kite}, <red>"], "body": ["{größe} ☃ "]}),
    ]
    assert [sorted(hit["entity"]) for hit in found[0]] == [["title"]] * 4


def test_a_text_that_is_null_or_has_no_such_word_has_no_fragments(client: Any, sdk: Sdk, filled: str) -> None:
    given = highlighter(sdk, highlight_query=[{"type": "TextMatch", "field": "title", "text": "fox"}])
    found = client.search(filled, data=[[5.0, 0.0]], anns_field="v", limit=3, highlighter=given)
    right = [(4, {"title": ["{fox}"]}), (5, {"title": []}), (6, {"title": []})]
    assert sorted(marks(found[0])) == right
    assert list(client.search(filled, data=[[0.0, 0.0]], anns_field="v", filter="id < 0", highlighter=given)[0]) == []


BAD_HIGHLIGHTERS: dict[str, tuple[dict[str, Any], str]] = {
    "no field": ({"highlight_query": [{"type": "TextMatch", "field": "x", "text": "a"}]}, "highlight field not found"),
    "no analyzer": (
        {"highlight_query": [{"type": "TextMatch", "field": "id", "text": "a"}]}, "does not enable analyzer",
    ),
    "no text": ({"highlight_query": [{"type": "TextMatch", "field": "title"}]}, "must set `text` in query"),
    "no type": ({"highlight_query": [{"field": "title", "text": "a"}]}, "must set `type` in query"),
    "another type": (
        {"highlight_query": [{"type": "Like", "field": "title", "text": "a"}]}, "invalid highlight query type: Like",
    ),
    "no tags": ({"pre_tags": []}, "pre_tags cannot be empty list"),
    "no size": ({"fragment_size": 0}, "invalid fragment_size: 0"),
    "before the text": ({"fragment_offset": -1}, "invalid fragment_offset: -1"),
    "fewer than none": ({"num_of_fragments": -1}, "invalid num_of_fragments: -1"),
    "no BM25": ({"highlight_search_text": True}, 'Search highlight only support with metric type "BM25" but was: L2'),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_HIGHLIGHTERS)
def test_what_cannot_be_marked_is_refused(client: Any, sdk: Sdk, filled: str, case: str) -> None:
    options, detail = BAD_HIGHLIGHTERS[case]
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.search(filled, data=[[0.0, 0.0]], anns_field="v", limit=1, highlighter=highlighter(sdk, **options))
    assert detail in caught.value.message


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_words_are_marked_in_a_hybrid_search(client: Any, sdk: Sdk, filled: str) -> None:
    module = sdk.module
    requests = [
        module.AnnSearchRequest(["1150 kites"], "words", {}, 3), module.AnnSearchRequest([[1150.0, 0.0]], "v", {}, 3),
    ]  # fmt: skip
    given = highlighter(sdk, highlight_search_text=True, fragment_size=9)
    found = client.hybrid_search(filled, requests, module.RRFRanker(), limit=1, highlighter=given)
    assert marks(found[0]) == [(1150, {"body": ["{1150}: grö", "{kites}."]})]
    assert found[0][0].highlight == found[0][0]["highlight"]


async def test_words_are_marked_for_an_asynchronous_client(sdk: Sdk, filled: str) -> None:
    client = sdk.connect_async()
    given = highlighter(sdk, highlight_search_text=True, fragment_size=9)
    found, rows = await asyncio.gather(
        client.search(filled, data=["1150"], anns_field="words", limit=1, highlighter=given),
        client.query(filled, 'phrase_match(title, "red kite", 1)', ["id"], limit=5),
    )
    assert marks(found[0]) == [(1150, {"body": ["{1150}: grö"]})]
    assert [row["id"] for row in rows] == [0, 1, 8, 9, 16]
    await client.close()


# -- REST -----------------------------------------------------------------------------------------
def test_words_are_matched_and_marked_over_rest(server: ProcessServer) -> None:
    rest, name = Rest(server.uri), "rest_match"
    switches = {"max_length": 99, "enable_analyzer": True, "enable_match": True}
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "v", "dataType": "FloatVector", "elementTypeParams": {"dim": 2}},
        {"fieldName": "title", "dataType": "VarChar", "elementTypeParams": switches},
        {"fieldName": "words", "dataType": "SparseFloatVector"},
    ]
    function = {"name": "f", "type": "BM25", "inputFieldNames": ["title"], "outputFieldNames": ["words"]}
    indexes = [
        {"fieldName": "v", "indexName": "v", "metricType": "L2", "params": {"index_type": "FLAT"}},
        {"fieldName": "words", "indexName": "words", "metricType": "BM25"},
    ]
    schema = {"fields": fields, "functions": [function]}
    rest.ok("collections/create", {"collectionName": name, "schema": schema, "indexParams": indexes})
    titles = ["The red kite", "A kite, red", "blue"]
    rest.ok("entities/insert", {
        "collectionName": name, "data": [{"id": n, "v": [n, 0], "title": t} for n, t in enumerate(titles)],
    })  # fmt: skip
    asked = {"collectionName": name, "outputFields": ["id"], "consistencyLevel": "Strong"}
    found = rest.ok(
        "entities/query", asked | {"filter": "phrase_match(title, {t}, 2)", "exprParams": {"t": "red kite"}}
    )
    assert [int(row["id"]) for row in found] == [0, 1]
    params = {"preTags": ["{"], "postTags": ["}"], "highlightSearchText": True}
    search = asked | {"data": ["kite"], "annsField": "words", "highlighter": {"type": "lexical", "params": params}}
    rows = rest.ok("entities/search", search)
    shown = sorted((int(row["id"]), row["highlight"]["title"]["fragments"]) for row in rows)
    assert shown == [(0, ["{kite}"]), (1, ["{kite}, red"])]
    flat = {"pre_tags": ["<b>"], "post_tags": ["</b>"], "highlight_query": [
        {"type": "TextMatch", "field": "title", "text": "RED"},
    ]}  # fmt: skip
    body = {"collectionName": name, "search": [{"data": [[0, 0]], "annsField": "v"}], "limit": 1, "highlighter": flat}
    (row,) = rest.ok("entities/hybrid_search", body | {"rerank": {"strategy": "rrf", "params": {"k": 60}}})
    assert row["highlight"] == {"title": {"fragments": ["<b>red</b> kite"], "scores": []}}
    code, message = rest.error("entities/search", search | {"highlighter": {"type": "bright"}})
    assert (code, "unsupported highlight type: bright" in message) == (1100, True)
    rest.ok("collections/drop", {"collectionName": name})
