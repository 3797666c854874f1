"""Marks in the texts of hits: which words, in which hits, beside which kinds of search."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redkite import (
    AnnSearchRequest,
    DataType,
    Function,
    FunctionType,
    LexicalHighlighter,
    MilvusClient,
    MilvusException,
    RRFRanker,
    SearchAggregation,
)

LANGUAGES = {
    "by_field": "lang", "analyzers": {"default": {"type": "standard"}, "en": {"type": "english"}},
    "alias": {"english": "en"},
}  # fmt: skip
ROWS = [
    {"id": 1, "lang": "en", "text": "Running dogs run", "title": "The dogs of war"},
    {"id": 2, "lang": "xx", "text": "Running dogs run", "title": "War, dogs"},
    {"id": 3, "lang": "english", "text": "A dog", "title": None},
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MilvusClient]:
    client = MilvusClient(str(tmp_path / "marks.db"))
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("lang", DataType.VARCHAR, max_length=20)
    schema.add_field("text", DataType.VARCHAR, max_length=99, enable_analyzer=True, multi_analyzer_params=LANGUAGES)
    schema.add_field("title", DataType.VARCHAR, max_length=99, enable_analyzer=True, nullable=True)
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function("words", FunctionType.BM25, ["text"], ["words"]))
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    index.add_index("words", metric_type="BM25")
    client.create_collection("docs", schema=schema, index_params=index, consistency_level="Strong")
    client.insert("docs", [row | {"vector": [row["id"], 0]} for row in ROWS])
    yield client
    client.close()


def marks(hits: Any, field: str = "text") -> dict[int, list[str]]:
    return {hit.id: hit.highlight[field]["fragments"] for hit in hits}


def marker(**options: Any) -> LexicalHighlighter:
    return LexicalHighlighter(**({"pre_tags": ["{"], "post_tags": ["}"]} | options))


def by_text(client: MilvusClient, text: str, analyzer: str = "", **more: Any) -> Any:
    params = {"analyzer_name": analyzer} if analyzer else {}
    options = {"limit": 5, "highlighter": marker(highlight_search_text=True)} | more
    return client.search("docs", [text], anns_field="words", search_params=params, **options)[0]


def test_each_row_is_read_by_the_analyzer_that_it_names(client: MilvusClient) -> None:
    assert marks(by_text(client, "dog", "en")) == {1: ["{dogs} run"], 3: ["{dog}"]}
    assert marks(by_text(client, "runs", "english")) == {1: ["{Running} dogs {run}"], 2: ["{run}"]}
    assert marks(by_text(client, "dogs run")) == {1: ["{Running} dogs {run}"], 2: ["{dogs} {run}"]}
    found = by_text(client, "dog", "en", output_fields=["text"])
    shown = {hit.id: hit.fields for hit in found}
    assert shown == {1: {"text": "Running dogs run"}, 3: {"text": "A dog"}}, "nobody asked for who reads it"


def test_marked_fields_need_not_be_shown_and_shown_ones_stay(client: MilvusClient) -> None:
    for fields in ([], ["title"], ["*"], ["text", "id"]):
        plain = by_text(client, "dogs", output_fields=fields, highlighter=None)
        marked = by_text(client, "dogs", output_fields=fields)
        assert [(hit.id, hit.distance, hit.fields) for hit in marked] == [
            (hit.id, hit.distance, hit.fields) for hit in plain
        ]
        assert all(hit.highlight is None for hit in plain)
        assert marked[0].highlight is not None


def test_hits_with_marks_are_dicts_that_can_be_copied_and_pickled(client: MilvusClient) -> None:
    (hit,) = by_text(client, "dogs", limit=1)
    assert hit.to_dict()["highlight"] == {"text": {"fragments": ["{dogs} run"], "scores": []}}
    for other in (copy.deepcopy(hit), pickle.loads(pickle.dumps(hit))):
        assert other == hit
        assert other.highlight == hit.highlight


def test_groups_orders_and_iterators_are_marked_too(client: MilvusClient) -> None:
    assert marks(by_text(client, "dogs", group_by_field="lang")) == {2: ["{dogs} run"]}
    query = marker(highlight_query=[{"type": "TextMatch", "field": "title", "text": "war"}])
    found = client.search(
        "docs", [[0, 0]], anns_field="vector", limit=5, order_by_fields="id:desc", highlighter=query
    )[0]  # fmt: skip
    assert list(marks(found, "title").items()) == [(3, []), (2, ["{War}, dogs"]), (1, ["{war}"])]
    found = client.search("docs", ids=[2], anns_field="vector", limit=1, highlighter=query)[0]
    assert marks(found, "title") == {2: ["{War}, dogs"]}


def test_a_phrase_is_marked_where_it_stands(client: MilvusClient) -> None:
    def marked(slop: int) -> dict[int, list[str]]:
        asked = [{"type": "PhraseMatch", "field": "title", "text": "dogs war", "slop": slop}]
        given = marker(highlight_query=asked)
        return marks(client.search("docs", [[0, 0]], anns_field="vector", limit=5, highlighter=given)[0], "title")

    assert marked(0) == {1: [], 2: [], 3: []}
    assert marked(1) == {1: ["{dogs} of {war}"], 2: [], 3: []}
    assert marked(2) == {1: ["{dogs} of {war}"], 2: ["{War}, {dogs}"], 3: []}


def test_a_hybrid_search_marks_the_words_of_all_its_searches(client: MilvusClient) -> None:
    requests = [
        AnnSearchRequest(["dogs"], "words", {}, 5), AnnSearchRequest(["run"], "words", {}, 5),
        AnnSearchRequest([[0, 0]], "vector", {}, 5),
    ]  # fmt: skip
    given = marker(highlight_search_text=True)
    found = client.hybrid_search("docs", requests, RRFRanker(), limit=2, highlighter=given)[0]
    assert marks(found)[2] == ["{dogs} {run}"]
    with pytest.raises(MilvusException, match='only support with metric type "BM25" but was: L2'):
        client.hybrid_search("docs", requests[2:], RRFRanker(), limit=2, highlighter=given)


def test_what_has_no_hits_has_no_marks(client: MilvusClient) -> None:
    assert list(by_text(client, "nothing")) == []
    planned = client.search(
        "docs", ["dogs"], anns_field="words", limit=3, explain=True, highlighter=marker(highlight_search_text=True)
    )
    assert planned.explanation is not None
    with pytest.raises(MilvusException, match="search_aggregation and highlighter are mutually exclusive"):
        by_text(client, "dogs", search_aggregation=SearchAggregation(fields=["lang"], size=2))
    with pytest.raises(
        MilvusException, match="highlighter must be a LexicalHighlighter or SemanticHighlighter, got str"
    ):
        by_text(client, "dogs", highlighter="em")
