"""Sentences that a model finds relevant, by every way to an engine, over a service that ranks by shared words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pymilvus
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.proxy.model_server import ModelServer
from tests.server.rest_client import Rest
from tests.servers import ProcessServer, wire_server

import redkite
from redkite.proxy import semantic_highlighting as marking

TEXTS = ["kites fly. A red kite has a tail! Foxes run.", "The fox is red. red kite", None]
QUERY = "red kite"
CONFIG = """
[deployments.default]
provider = "tei"
endpoint = "{endpoint}"
[deployments.narrow]
provider = "vllm"
endpoint = "{endpoint}"
model_name = "m"
max_client_batch_size = 2
options = {{ truncate_prompt_tokens = "9" }}
"""


@pytest.fixture(scope="module")
def ranker() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, ranker: ModelServer) -> Iterator[ProcessServer]:
    """A server whose configuration names models."""
    folder: Path = tmp_path_factory.mktemp("semantic")
    config = folder / "redkite.toml"
    config.write_text(CONFIG.format(endpoint=ranker.endpoint))
    with wire_server(folder / "data", "--config", str(config)) as process:
        client = redkite.MilvusClient(process.uri)
        fill(redkite, client, "notes")
        client.close()
        yield process


def fill(module: Any, client: Any, name: str) -> None:
    types = module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("text", types.VARCHAR, max_length=200, nullable=True)
    schema.add_field("year", types.INT64, nullable=True)
    index = client.prepare_index_params()
    index.add_index("v", metric_type="L2", index_type="FLAT")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    client.insert(name, [{"id": n, "v": [n, 0], "text": text, "year": n} for n, text in enumerate(TEXTS)])


@pytest.fixture(params=["pymilvus", "redkite"])
def module(request: pytest.FixtureRequest) -> Any:
    return {"pymilvus": pymilvus, "redkite": redkite}[request.param]


@pytest.fixture
def there(module: Any, deployed: ProcessServer) -> Iterator[Any]:
    client = module.MilvusClient(deployed.uri)
    yield client
    client.close()


def marked(hits: Any) -> list[tuple[int, list[str], list[float]]]:
    shown = [(hit["id"], hit["highlight"]["text"]) for hit in hits]
    return [(key, list(text["fragments"]), [round(score, 3) for score in text["scores"]]) for key, text in shown]


HALF = [
    (0, ["<em>A red kite has a tail!</em>"], [1.0]),
    (1, ["<em>red kite</em>"], [1.0]),
    (2, [], []),
]


def test_the_sentences_that_matter_are_marked(module: Any, there: Any) -> None:
    given = module.SemanticHighlighter([QUERY], ["text"], threshold=0.6)
    found = there.search("notes", data=[[0.0, 0.0]], anns_field="v", limit=3, output_fields=["year"], highlighter=given)
    assert marked(found[0]) == HALF
    assert [dict(hit["entity"]) for hit in found[0]] == [{"year": 0}, {"year": 1}, {"year": 2}], "texts leave again"


def test_tags_take_turns_and_the_whole_text_is_shown_where_that_is_wanted(module: Any, there: Any) -> None:
    given = module.SemanticHighlighter(
        [QUERY], ["text"], threshold=0.3, highlight_only=False, pre_tags=["{", "["], post_tags=["}", "]"]
    )
    found = there.search("notes", data=[[0.0, 0.0]], anns_field="v", limit=2, highlighter=given)
    assert marked(found[0]) == [
        (0, ["kites fly. {A red kite has a tail!} Foxes run."], [1.0]),
        (1, ["The fox is red. {red kite}"], [1.0]),
    ]


def test_each_search_vector_has_a_question_of_its_own(module: Any, there: Any, ranker: ModelServer) -> None:
    given = module.SemanticHighlighter(["Foxes run.", "fox"], ["text"], model_deployment_id="narrow")
    ranker.calls.clear()
    found = there.search("notes", data=[[0.0, 0.0], [1.0, 0.0]], anns_field="v", limit=1, highlighter=given)
    assert [marked(hits) for hits in found] == [
        [(0, ["<em>Foxes run.</em>"], [1.0])], [(1, ["<em>The fox is red.</em>"], [1.0])],
    ]  # fmt: skip
    bodies = [call.body for call in ranker.calls]
    assert {len(body["documents"]) for body in bodies} == {1, 2}
    assert all((body["model"], body["truncate_prompt_tokens"]) == ("m", 9) for body in bodies)


def test_a_search_without_hits_asks_nobody(module: Any, there: Any, ranker: ModelServer) -> None:
    ranker.calls.clear()
    given = module.SemanticHighlighter([QUERY], ["text"])
    found = there.search("notes", data=[[0.0, 0.0]], anns_field="v", limit=3, filter="id > 9", highlighter=given)
    assert (list(found[0]), ranker.calls) == ([], [])


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "a deployment that is not there": ({"model_deployment_id": "large"}, 1100, "has default, narrow"),
    "a field that is not there": ({"input_fields": ["none"]}, 1100, "input field none not found in schema"),
    "a field of numbers": ({"input_fields": ["year"]}, 1100, "must be a VarChar"),
    "too many questions": ({"queries": ["a", "b"]}, 1100, "nq must equal the number of queries, nq=1, queries=2"),
    "no question": ({"queries": []}, 1100, "queries must be a list of texts"),
    "a threshold above 1": ({"threshold": 2}, 1100, "threshold must be in range [0, 1]"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_marked_is_refused(module: Any, there: Any, case: str) -> None:
    options, code, text = BAD[case]
    given = module.SemanticHighlighter(**{"queries": [QUERY], "input_fields": ["text"]} | options)
    with pytest.raises(module.MilvusException) as caught:
        there.search("notes", data=[[0.0, 0.0]], anns_field="v", limit=1, highlighter=given)
    assert text in caught.value.message
    if caught.value.code != 1:  # what is wrong in itself is told by Redkite's client before anything is sent
        assert caught.value.code == code


def test_a_service_that_fails_fails_the_search(module: Any, there: Any, ranker: ModelServer) -> None:
    ranker.answer = (400, b"no such model")
    try:
        with pytest.raises(module.MilvusException, match="answered 400"):
            there.search(
                "notes", data=[[0.0, 0.0]], anns_field="v", limit=1,
                highlighter=module.SemanticHighlighter([QUERY], ["text"]),
            )  # fmt: skip
    finally:
        ranker.answer = None


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_a_search_may_say_itself_which_model_is_asked(client: Any, sdk: Sdk, name: str, ranker: ModelServer) -> None:
    fill(sdk.module, client, name)
    given = redkite.SemanticHighlighter(
        [QUERY], ["text"], threshold=0.6, provider="cohere", endpoint=ranker.endpoint, model_name="m"
    )
    found = client.search(name, data=[[0.0, 0.0]], anns_field="v", limit=3, highlighter=given)
    assert marked(found[0]) == HALF
    requests = [redkite.AnnSearchRequest([[0.0, 0.0]], "v", {}, 3), redkite.AnnSearchRequest([[1.0, 0.0]], "v", {}, 3)]
    both = client.hybrid_search(name, requests, redkite.RRFRanker(), limit=3, highlighter=given)
    assert sorted(marked(both[0])) == HALF


async def test_the_asynchronous_clients_mark_too(module: Any, deployed: ProcessServer) -> None:
    client = module.AsyncMilvusClient(deployed.uri)
    given = module.SemanticHighlighter([QUERY], ["text"], threshold=0.6)
    found = await client.search("notes", data=[[0.0, 0.0]], anns_field="v", limit=3, highlighter=given)
    assert marked(found[0]) == HALF
    await client.close()


def test_sentences_are_marked_over_rest(deployed: ProcessServer) -> None:
    rest = Rest(deployed.uri)
    search = {"collectionName": "notes", "data": [[0, 0]], "annsField": "v", "limit": 3}
    params = {"queries": [QUERY], "inputFields": ["text"], "threshold": 0.6}
    rows = rest.ok("entities/search", search | {"highlighter": {"type": "semantic", "params": params}})
    assert marked([{**row, "id": int(row["id"])} for row in rows]) == HALF
    code, message = rest.error("entities/search", search | {"highlighter": {"type": "semantic"}})
    assert (code, "queries must be given" in message) == (1100, True)


def test_a_text_with_more_sentences_than_may_be_marked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marking, "MAX_SENTENCES", 3)
    models: Any = SimpleNamespace(settings=SimpleNamespace(deployments={}))
    texts = pa.RecordBatch.from_pydict({"text": TEXTS[:2]})
    hits: Any = SimpleNamespace(rows=texts, topks=[2])
    field: Any = SimpleNamespace(field="text")
    unseen: Any = None
    with pytest.raises(redkite.MilvusException, match="have 5 sentences in field text, a search may mark 3"):
        marking.SemanticHighlighting(models)._field(field, hits, unseen, unseen)
