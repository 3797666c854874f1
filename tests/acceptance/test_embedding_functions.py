"""Functions that embed texts by a service, the same calls by every way to the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, WAYS, Sdk, plain
from tests.functions.embedding_server import DIM, Answer, EmbeddingServer, vector
from tests.server.rest_client import Rest
from tests.servers import ProcessServer, wire_server

import redkite

TEXTS = ["red kite", "black swan", "grey heron", "little egret"]
EVERY_WAY = pytest.mark.parametrize("sdk", WAYS, indirect=True, scope="session")


@pytest.fixture
def model() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as running:
        yield running


def create(sdk: Sdk, client: Any, name: str, model: EmbeddingServer, dim: int = DIM, **more: Any) -> None:
    types, kinds = sdk.module.DataType, sdk.module.FunctionType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("text", types.VARCHAR, max_length=200)
    schema.add_field("year", types.INT64, nullable=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=dim)
    params = {"provider": "tei", "endpoint": model.endpoint} | more
    schema.add_function(sdk.module.Function("embed", kinds.TEXTEMBEDDING, ["text"], ["vector"], params=params))
    indexes = sdk.module.MilvusClient.prepare_index_params()
    indexes.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes)


@pytest.fixture
def birds(sdk: Sdk, client: Any, name: str, model: EmbeddingServer) -> str:
    create(sdk, client, name, model)
    client.insert(name, [{"id": i, "text": text, "year": 2000 + i} for i, text in enumerate(TEXTS)])
    return name


def counted(client: Any, name: str) -> int:
    (row,) = client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return int(row["count(*)"])


def found(client: Any, name: str, *texts: str, **options: Any) -> list[list[int]]:
    options = {"anns_field": "vector", "limit": 2, "consistency_level": "Strong"} | options
    return [[hit["id"] for hit in hits] for hits in client.search(name, data=list(texts), **options)]


@EVERY_WAY
def test_texts_go_in_and_are_found_by_texts(client: Any, birds: str) -> None:
    assert found(client, birds, "grey heron", "red kite", limit=1) == [[2], [0]]
    assert found(client, birds, "red kite", filter="year > 2000", limit=1)[0] != [0]
    rows = client.query(birds, filter="id >= 0", output_fields=["text", "vector"], consistency_level="Strong")
    assert {row["text"]: list(row["vector"]) for row in rows} == {text: vector(text) for text in TEXTS}
    hits = client.search(birds, data=[vector("black swan")], anns_field="vector", limit=1)
    assert hits[0][0]["id"] == 1, "vectors are searched with as ever"


@EVERY_WAY
def test_the_function_is_described_as_it_was_made(sdk: Sdk, client: Any, birds: str, model: EmbeddingServer) -> None:
    (function,) = client.describe_collection(birds)["functions"]
    assert function["type"] == sdk.module.FunctionType.TEXTEMBEDDING
    assert function["params"] == {"provider": "tei", "endpoint": model.endpoint}
    assert (function["input_field_names"], function["output_field_names"]) == (["text"], ["vector"])


@EVERY_WAY
def test_an_upsert_embeds_the_new_text(client: Any, birds: str) -> None:
    client.upsert(birds, [{"id": 0, "text": "snow goose", "year": 1}])
    assert found(client, birds, "snow goose", limit=1) == [[0]]
    client.upsert(birds, [{"id": 1, "text": "sea eagle"}], partial_update=True)
    (row,) = client.query(birds, filter="id == 1", output_fields=["*"], consistency_level="Strong")
    assert (row["text"], row["year"], list(row["vector"])) == ("sea eagle", 2001, vector("sea eagle"))


@EVERY_WAY
def test_an_output_field_cannot_be_given(client: Any, birds: str) -> None:
    with pytest.raises(Exception, match=r"vector|function"):
        client.insert(birds, [{"id": 9, "text": "a", "year": 1, "vector": [0.0] * DIM}])
    assert counted(client, birds) == len(TEXTS)


@EVERY_WAY
def test_texts_take_part_in_hybrid_searches(sdk: Sdk, client: Any, birds: str) -> None:
    ask = sdk.module.AnnSearchRequest
    parts = [ask(["grey heron"], "vector", {}, 4), ask([vector("grey heron")], "vector", {}, 4)]
    hits = client.hybrid_search(birds, parts, sdk.module.RRFRanker(), limit=1, consistency_level="Strong")
    assert [hit["id"] for hit in hits[0]] == [2]


FAILURES = {
    "an error": (Answer(500, b"out of memory"), "answered 500 Internal Server Error: out of memory"),
    "a refusal": (Answer(401, b"who are you"), "answered 401 Unauthorized: who are you"),
    "a redirect": (Answer(302, headers={"Location": "http://example.com"}), "redirects are not followed"),
    "no JSON": (Answer(body=b"<html>"), "answered what are not vectors"),
    "another dimension": (Answer(body=b"[[1, 2]]"), r"required embedding dim is \[4\]"),
    "too few vectors": (Answer(body=b"[]"), "0 vectors for 1 texts"),
    "hanging up": (Answer(hang_up=True), "cannot be reached"),
}


@EVERY_WAY
@pytest.mark.parametrize("failure", FAILURES)
def test_a_service_that_fails_lets_nothing_in(failure: str, client: Any, birds: str, model: EmbeddingServer) -> None:
    model.always, text = FAILURES[failure]
    for attempt in (
        lambda: client.insert(birds, [{"id": 9, "text": "a", "year": 1}]),
        lambda: client.upsert(birds, [{"id": 0, "text": "a", "year": 1}]),
        lambda: found(client, birds, "red kite"),
    ):
        with pytest.raises(Exception, match=text) as caught:
            attempt()
        assert caught.value.code == 2400  # type: ignore[attr-defined]
        assert model.endpoint in str(caught.value)
    model.always = None
    assert counted(client, birds) == len(TEXTS)
    assert found(client, birds, "red kite", limit=1) == [[0]]


@EVERY_WAY
def test_a_large_insert_goes_in_whole_or_not_at_all(client: Any, birds: str, model: EmbeddingServer) -> None:
    rows = [{"id": 100 + i, "text": "b" * (i + 1), "year": i} for i in range(200)]
    model.answers = [Answer(200, b"[]") if i == 3 else None for i in range(4)]  # type: ignore[misc]
    with pytest.raises(Exception, match="0 vectors for"):
        client.insert(birds, rows)
    assert counted(client, birds) == len(TEXTS)
    model.answers = [Answer(503, b"busy")] * 2
    assert plain(client.insert(birds, rows))["insert_count"] == 200
    assert counted(client, birds) == len(TEXTS) + 200
    assert found(client, birds, "b" * 78, limit=1) == [[177]]


@EVERY_WAY
def test_a_collection_is_not_made_over_a_service_that_does_not_fit(
    sdk: Sdk, client: Any, name: str, model: EmbeddingServer
) -> None:
    with pytest.raises(Exception, match=r"required embedding dim is \[8\], but .* is \[4\]"):
        create(sdk, client, name, model, dim=8)
    model.always = Answer(401, b"who are you")
    with pytest.raises(Exception, match="answered 401"):
        create(sdk, client, name, model)
    assert not client.has_collection(name)


@EVERY_WAY
def test_a_function_may_ask_elsewhere_from_now_on(sdk: Sdk, client: Any, birds: str, model: EmbeddingServer) -> None:
    make, kinds = sdk.module.Function, sdk.module.FunctionType
    with EmbeddingServer() as other:
        params = {"provider": "tei", "endpoint": other.endpoint, "max_client_batch_size": 7}
        client.alter_collection_function(
            birds, "embed", make("embed", kinds.TEXTEMBEDDING, ["text"], ["vector"], params=params)
        )
        (function,) = client.describe_collection(birds)["functions"]
        assert function["params"] == {key: str(value) for key, value in params.items()}
        assert len(other.calls) == 1, "asked before it is believed"
        model.always = Answer(500, b"gone")
        client.insert(birds, [{"id": 50, "text": "barn owl", "year": 1}])
        assert found(client, birds, "barn owl", limit=1) == [[50]]
        other.always = Answer(401, b"who are you")
        for name, fields, text in (
            ("other", (["text"], ["vector"]), "function not found: other"),
            ("embed", (["text"], ["other"]), "output_field_names cannot be altered"),
            ("embed", (["text"], ["vector"]), "answered 401"),
        ):
            with pytest.raises(Exception, match=text):
                client.alter_collection_function(
                    birds, name, make("embed", kinds.TEXTEMBEDDING, *fields, params=params)
                )


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")  # pymilvus adds no such function
def test_a_model_comes_to_texts_that_are_there(sdk: Sdk, client: Any, birds: str, model: EmbeddingServer) -> None:
    client.flush(birds)
    module = sdk.module
    field = module.FieldSchema("second", module.DataType.FLOAT_VECTOR, dim=DIM)
    params = {"provider": "tei", "endpoint": model.endpoint}
    function = module.Function("again", module.FunctionType.TEXTEMBEDDING, ["text"], ["second"], params=params)
    indexes = client.prepare_index_params()
    indexes.add_index("second", index_type="FLAT", metric_type="L2")
    client.add_function_field(birds, field, function, indexes)
    client.insert(birds, [{"id": 9, "text": "osprey", "year": None}])
    end = time.monotonic() + 120
    while client.describe_index(birds, "second")["state"] != "Finished":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert found(client, birds, *TEXTS, "osprey", anns_field="second", limit=1) == [[0], [1], [2], [3], [9]]
    rows = client.query(birds, filter="id >= 0", output_fields=["text", "second"], consistency_level="Strong")
    assert {row["text"]: list(row["second"]) for row in rows} == {text: vector(text) for text in [*TEXTS, "osprey"]}


@EVERY_WAY
def test_an_empty_text_is_refused(client: Any, birds: str) -> None:
    with pytest.raises(Exception, match="TextEmbedding function does not support empty text"):
        client.insert(birds, [{"id": 9, "text": "", "year": 1}])
    with pytest.raises(Exception, match="TextEmbedding function does not support empty text"):
        found(client, birds, "")


@pytest.mark.parametrize("sdk", ["pymilvus", "redkite"], indirect=True, scope="session")
def test_a_server_asks_nobody_that_is_not_on_its_list(sdk: Sdk, client: Any, name: str, model: EmbeddingServer) -> None:
    for endpoint in ("http://169.254.169.254", "http://10.0.0.1:8080", "https://example.com"):
        with pytest.raises(Exception, match="is not one that this server may ask"):
            create(sdk, client, name, model, endpoint=endpoint)
    assert model.calls == []


def test_rest_speaks_of_texts_too(server: ProcessServer, model: EmbeddingServer) -> None:
    rest = Rest(server.uri)
    rest.ok("collections/create", {
        "collectionName": "rest_texts",
        "schema": {
            "fields": [
                {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
                {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": {"max_length": 100}},
                {"fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": {"dim": DIM}},
            ],
            "functions": [{
                "name": "embed", "type": "TextEmbedding", "inputFieldNames": ["text"], "outputFieldNames": ["vector"],
                "params": {"provider": "tei", "endpoint": model.endpoint},
            }],
        },
        "indexParams": [{"fieldName": "vector", "indexName": "vector", "metricType": "L2", "indexType": "FLAT"}],
    })  # fmt: skip
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    rest.ok("entities/insert", {"collectionName": "rest_texts", "data": rows})
    hits = rest.ok("entities/search", {
        "collectionName": "rest_texts", "data": ["grey heron"], "annsField": "vector", "limit": 1,
        "outputFields": ["text"], "consistencyLevel": "Strong",
    })  # fmt: skip
    assert [(hit["id"], hit["text"]) for hit in hits] == [(2, "grey heron")]
    function = {
        "name": "embed", "type": "TextEmbedding", "inputFieldNames": ["text"], "outputFieldNames": ["vector"],
        "params": {"provider": "tei", "endpoint": f"{model.endpoint}/embed"},
    }  # fmt: skip
    body = {"collectionName": "rest_texts", "functionName": "embed", "function": function}
    rest.ok("collections/alter_function", body)
    (shown,) = rest.ok("collections/describe", {"collectionName": "rest_texts"})["functions"]
    assert {"key": "endpoint", "value": f"{model.endpoint}/embed"} in shown["params"] or shown["params"][
        "endpoint"
    ] == f"{model.endpoint}/embed"
    model.always = Answer(500, b"no")
    code, text = rest.error("entities/insert", {"collectionName": "rest_texts", "data": [{"id": 9, "text": "a"}]})
    assert (code, "answered 500" in text) == (2400, True)
    rest.ok("collections/drop", {"collectionName": "rest_texts"})


SECRET = "sk-never-to-be-seen"
SETTINGS = """
model_seconds = 0.5
log_level = "debug"
[credential.mine]
apikey = "{secret}"
[providers.openai]
url = "{url}"
credential = "mine"
"""


def test_rest_has_a_model_come_to_texts_that_are_there(server: ProcessServer, model: EmbeddingServer) -> None:
    rest, name = Rest(server.uri), "texts_by_rest_later"
    rest.post("collections/drop", {"collectionName": name})
    fields = [
        {"fieldName": "id", "dataType": "Int64", "isPrimary": True},
        {"fieldName": "text", "dataType": "VarChar", "elementTypeParams": {"max_length": 100}},
        {"fieldName": "dense", "dataType": "FloatVector", "elementTypeParams": {"dim": 2}},
    ]
    index = [{"fieldName": "dense", "indexType": "AUTOINDEX", "metricType": "COSINE"}]
    rest.ok("collections/create", {"collectionName": name, "schema": {"fields": fields}, "indexParams": index})
    rows = [{"id": i, "text": text, "dense": [1, i]} for i, text in enumerate(TEXTS)]
    rest.ok("entities/insert", {"collectionName": name, "data": rows})
    params = {"provider": "tei", "endpoint": model.endpoint}
    rest.ok("collections/add_function_field", {
        "collectionName": name,
        "function": {
            "name": "embed", "type": "TextEmbedding", "inputFieldNames": ["text"], "outputFieldNames": ["vector"],
            "params": params,
        },
        "outputField": {"fieldName": "vector", "dataType": "FloatVector", "elementTypeParams": {"dim": DIM}},
        "indexParams": {"fieldName": "vector", "indexType": "FLAT", "metricType": "L2"},
    })  # fmt: skip
    end = time.monotonic() + 120
    named = {"collectionName": name, "indexName": "vector"}
    while rest.ok("indexes/describe", named)[0]["indexState"] != "Finished":
        assert time.monotonic() < end
        time.sleep(0.05)
    search = {"collectionName": name, "annsField": "vector", "data": TEXTS, "limit": 1, "consistencyLevel": "Strong"}
    assert [hit["id"] for hit in rest.ok("entities/search", search)] == [0, 1, 2, 3]


def test_a_key_of_the_configuration_is_used_and_never_seen(tmp_path: Path, model: EmbeddingServer) -> None:
    path = tmp_path / "redkite.toml"
    path.write_text(SETTINGS.format(secret=SECRET, url=model.endpoint))
    seen: list[str] = []
    with wire_server(tmp_path / "data", "--config", str(path)) as process:
        client = redkite.MilvusClient(process.uri)
        sdk = Sdk("redkite", redkite, process.uri)
        create(sdk, client, "birds", model, provider="openai", model_name="m", endpoint=f"{model.endpoint}")
        assert model.calls[-1].headers["authorization"] == f"Bearer {SECRET}"
        client.insert("birds", [{"id": 0, "text": "red kite", "year": 1}])
        seen.append(repr(client.describe_collection("birds")))
        for answer in (Answer(401, f"wrong key {SECRET}".encode()), Answer(body=SECRET.encode()), Answer(wait=2)):
            model.always = answer
            with pytest.raises(redkite.MilvusException) as caught:
                found(client, "birds", "red kite")
            seen.append(str(caught.value))
        assert "did not answer within 0.5 s" in seen[-1]
        model.always = None
        assert found(client, "birds", "red kite") == [[0]], "the server is well"
        client.close()
    stored = b"".join(file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file())
    assert SECRET not in "".join([*seen, process.output, process.errors])
    assert SECRET.encode() not in stored
    assert all(SECRET not in text for text in _explained(path))


def _explained(path: Path) -> list[str]:
    from redkite.config import load

    configuration = load(file=str(path), environment={})
    return [configuration.explain(), repr(configuration.settings), repr(configuration)]


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_an_embedding_of_this_program_needs_no_service(sdk: Sdk, client: Any, name: str) -> None:
    if not sdk.embedded:
        with pytest.raises(redkite.ParamError, match="a server cannot call this program"):
            client.register_embedding("letters", lambda texts: [vector(text) for text in texts])
        return
    client.register_embedding("letters", lambda texts: [vector(text) for text in texts])
    with EmbeddingServer() as unused:
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("text", redkite.DataType.VARCHAR, max_length=200)
        schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
        params = {"provider": "python", "model_name": "letters"}
        kind = redkite.FunctionType.TEXTEMBEDDING
        schema.add_function(redkite.Function("embed", kind, ["text"], ["vector"], params=params))
        indexes = client.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_collection(name, schema=schema, index_params=indexes)
        client.insert(name, [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
        assert found(client, name, "grey heron", limit=1) == [[2]]
        assert unused.calls == []


async def test_the_asynchronous_client_does_the_same(tmp_path: Path) -> None:
    async with redkite.AsyncMilvusClient(str(tmp_path / "a.db")) as client:
        await client.register_embedding("letters", lambda texts: [vector(text) for text in texts])
        schema = client.create_schema()
        schema.add_field("id", redkite.DataType.INT64, is_primary=True)
        schema.add_field("text", redkite.DataType.VARCHAR, max_length=200)
        schema.add_field("vector", redkite.DataType.FLOAT_VECTOR, dim=DIM)
        params = {"provider": "python", "model_name": "letters"}
        kind = redkite.FunctionType.TEXTEMBEDDING
        schema.add_function(redkite.Function("embed", kind, ["text"], ["vector"], params=params))
        indexes = client.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="L2")
        await client.create_collection("birds", schema=schema, index_params=indexes)
        await client.insert("birds", [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
        hits = await client.search("birds", data=["grey heron"], anns_field="vector", limit=1)
        assert hits[0][0]["id"] == 2
