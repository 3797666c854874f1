"""Embedding providers, asked over HTTP in their own words."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.functions.embedding_server import DIM, TOKEN, Answer, EmbeddingServer, vector

from redkite.env import Env
from redkite.errors import FunctionFailed, InvalidParameter
from redkite.functions.base import Services
from redkite.functions.embedding import APIS, TextEmbedding
from redkite.functions.models import Models
from redkite.model.batch import arrow_to_vectors
from redkite.model.calling import Credential, ModelSettings, ProviderSettings
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType, FunctionType

TEXTS = ["red kite", "black swan", "a", "red kite", "grey heron"]
MINE = {"mine": Credential(apikey="a-secret-key")}
EXTRA: dict[str, dict[str, str]] = {"bedrock": {"region": "eu-west-1"}, "vertexai": {"projectid": "birds"}}


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as running:
        yield running


def schema(dim: int = DIM, kind: DataType = DataType.FLOAT_VECTOR) -> CollectionSchema:
    return CollectionSchema(
        name="texts",
        fields=(
            FieldSchema(name="id", data_type=DataType.INT64, is_primary=True),
            FieldSchema(name="text", data_type=DataType.VARCHAR, params={"max_length": "1000"}),
            FieldSchema(name="vector", data_type=kind, params={"dim": str(dim)}),
        ),
    )


def embedding(
    params: Mapping[str, str],
    *,
    settings: ModelSettings | None = None,
    variables: Mapping[str, str] | None = None,
    dim: int = DIM,
    kind: DataType = DataType.FLOAT_VECTOR,
) -> TextEmbedding:
    function = FunctionSchema(
        name="embed",
        type=FunctionType.TEXTEMBEDDING,
        input_field_names=("text",),
        output_field_names=("vector",),
        params=dict(params),
    )
    env = Env.real()
    models = Models(env, settings or ModelSettings(credentials=MINE), variables or {})
    return TextEmbedding(schema(dim, kind), function, Services(env, models))


def filled(function: TextEmbedding, texts: list[str]) -> list[list[float]]:
    found: list[list[float]] = arrow_to_vectors(function.fill([pa.array(texts)])).tolist()
    return found


@pytest.fixture(scope="session")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def account(key: rsa.RSAPrivateKey) -> dict[str, str]:
    """A service account, as its file says it."""
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return {"client_email": "kite@birds.example", "private_key": pem.decode()}


def credentials(server: EmbeddingServer, account: dict[str, str]) -> dict[str, Credential]:
    google = json.dumps(account | {"token_uri": f"{server.endpoint}/token", "project_id": "birds"})
    return {
        "mine": Credential(
            apikey="a-secret-key", access_key_id="AKID", secret_access_key="another-secret", credential_json=google
        )
    }


@pytest.mark.parametrize("provider", APIS)
def test_every_provider_gives_the_vectors_of_documents_and_queries(
    provider: str, server: EmbeddingServer, account: dict[str, str]
) -> None:
    settings = ModelSettings(credentials=credentials(server, account))
    params = {"provider": provider, "model_name": "m", "endpoint": server.endpoint, "credential": "mine"}
    if provider == "tei":
        del params["model_name"]
    function = embedding(params | EXTRA.get(provider, {}), settings=settings)
    assert filled(function, TEXTS) == [vector(text) for text in TEXTS]
    found = function.queries(["red", "kite"])
    assert found.vectors is not None
    assert found.vectors.tolist() == [vector("red"), vector("kite")]


@pytest.mark.parametrize("provider", ["voyageai", "cohere"])
def test_a_provider_of_small_numbers_fills_an_int8_field(provider: str, server: EmbeddingServer) -> None:
    params = {"provider": provider, "model_name": "m", "endpoint": server.endpoint, "credential": "mine"}
    function = embedding(params, kind=DataType.INT8_VECTOR)
    assert filled(function, TEXTS) == [vector(text) for text in TEXTS]
    assert [np.frombuffer(raw, np.int8).tolist() for raw in function.queries(["red"]).raw] == [vector("red")]


def test_a_provider_of_floats_fills_no_int8_field(server: EmbeddingServer) -> None:
    with pytest.raises(InvalidParameter, match="Unsupport output type: Int8Vector"):
        embedding({"provider": "openai", "model_name": "m"}, kind=DataType.INT8_VECTOR)


def said(server: EmbeddingServer, **params: str) -> list[Any]:
    """The bodies of the requests for one document and one query."""
    function = embedding({"endpoint": server.endpoint, "credential": "mine", **params})
    filled(function, ["red kite"])
    function.queries(["red"])
    return [call.body for call in server.calls]


def test_documents_and_queries_are_told_apart_as_the_provider_wants(server: EmbeddingServer) -> None:
    voyage = said(server, provider="voyageai", model_name="voyage-3", dim="4", truncation="true")
    assert [body["input_type"] for body in voyage] == ["document", "query"]
    assert voyage[0]["output_dimension"] == 4
    assert voyage[0]["truncation"] is True
    server.calls.clear()
    cohere = said(server, provider="cohere", model_name="embed-english-v3.0", truncate="NONE")
    assert [body["input_type"] for body in cohere] == ["search_document", "search_query"]
    assert cohere[0]["truncate"] == "NONE"
    server.calls.clear()
    assert "input_type" not in said(server, provider="cohere", model_name="embed-english-v2.0")[0]
    server.calls.clear()
    dashscope = said(server, provider="dashscope", model_name="text-embedding-v3", dim="4")
    assert [body["parameters"]["text_type"] for body in dashscope] == ["document", "query"]
    assert dashscope[0]["parameters"]["dimension"] == 4


def test_prompts_stand_before_the_texts_that_a_service_of_ones_own_is_asked_for(server: EmbeddingServer) -> None:
    prompts = {"ingestion_prompt": "passage: ", "search_prompt": "query: "}
    assert [body["inputs"] for body in said(server, provider="tei", truncate="true", **prompts)] == [
        ["passage: red kite"],
        ["query: red"],
    ]
    assert server.calls[0].body["truncate"] is True
    server.calls.clear()
    for provider in ("vllm", "ollama"):
        bodies = said(server, provider=provider, model_name="m", **prompts)
        assert [body["input"] for body in bodies] == [["passage: red kite"], ["query: red"]]
        assert not any("prompt" in key for body in bodies for key in body)
        server.calls.clear()


def test_openai_is_told_the_dimension_and_the_user(server: EmbeddingServer) -> None:
    body = said(server, provider="openai", model_name="text-embedding-3-small", dim="4", user="somebody")[0]
    assert (body["model"], body["dimensions"], body["user"]) == ("text-embedding-3-small", 4, "somebody")
    assert server.calls[0].headers["authorization"] == "Bearer a-secret-key"


def test_azure_names_its_deployment_in_the_path_and_its_key_in_a_header(server: EmbeddingServer) -> None:
    said(server, provider="azure_openai", model_name="my deployment")
    assert server.calls[0].path == "/openai/deployments/my%20deployment/embeddings?api-version=2024-06-01"
    assert server.calls[0].headers["api-key"] == "a-secret-key"
    assert "authorization" not in server.calls[0].headers


def test_bedrock_requests_are_signed(server: EmbeddingServer, account: dict[str, str]) -> None:
    settings = ModelSettings(credentials=credentials(server, account))
    params = {"provider": "bedrock", "model_name": "amazon.titan-embed-text-v2:0", "region": "eu-west-1"}
    function = embedding(
        params | {"endpoint": server.endpoint, "credential": "mine", "normalize": "false"}, settings=settings
    )
    filled(function, TEXTS)
    assert len(server.calls) == len(set(TEXTS)), "one text a request, equal ones once"
    for call in server.calls:
        signed = call.headers["authorization"]
        day = call.headers["x-amz-date"][:8]
        assert signed.startswith(f"AWS4-HMAC-SHA256 Credential=AKID/{day}/eu-west-1/bedrock/aws4_request, ")
        assert call.path == "/model/amazon.titan-embed-text-v2%3A0/invoke"
        assert call.body["normalize"] is False


def test_gemini_shows_its_key_in_a_header_of_its_own(server: EmbeddingServer) -> None:
    bodies = said(server, provider="gemini", model_name="gemini-embedding-001", dim="4")
    assert [body["requests"][0]["taskType"] for body in bodies] == ["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]
    assert bodies[0]["requests"][0]["model"] == "models/gemini-embedding-001"
    assert bodies[0]["requests"][0]["outputDimensionality"] == 4
    assert server.calls[0].path == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert server.calls[0].headers["x-goog-api-key"] == "a-secret-key"
    assert "authorization" not in server.calls[0].headers


def test_hugging_faces_router_has_the_model_in_its_path(server: EmbeddingServer) -> None:
    name = "sentence-transformers/all-MiniLM-L6-v2"
    more = {"normalize": "true", "truncate": "true", "truncation_direction": "left", "hf_provider": "hf-inference"}
    body = said(server, provider="huggingface", model_name=name, **more)[0]
    assert body == {"inputs": ["red kite"], "normalize": True, "truncate": True, "truncation_direction": "left"}
    assert server.calls[0].path == f"/hf-inference/models/{name}/pipeline/feature-extraction"
    for wrong in ("../secret", "a/../b", "/a", "a//b"):
        with pytest.raises(InvalidParameter, match=r"model_name .* is invalid"):
            said(server, provider="huggingface", model_name=wrong)


def test_long_texts_go_in_smaller_batches() -> None:
    from redkite.functions.embedders import batches

    assert list(batches(["a" * 10] * 7, 3, 1000)) == [(0, 3), (3, 6), (6, 7)]
    assert list(batches(["a" * 10] * 5, 100, 25)) == [(0, 2), (2, 4), (4, 5)]
    assert list(batches(["a", "b" * 99, "c", "d" * 99], 100, 50)) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert list(batches(["", "", "a"], 100, 1)) == [(0, 3)]
    assert list(batches([], 3, 10)) == []


def test_cohere_models_of_bedrock_take_many_texts(server: EmbeddingServer, account: dict[str, str]) -> None:
    settings = ModelSettings(credentials=credentials(server, account))
    params = {"provider": "bedrock", "model_name": "eu.cohere.embed-multilingual-v3", "region": "eu-west-1"}
    function = embedding(params | {"endpoint": server.endpoint, "credential": "mine"}, settings=settings)
    assert filled(function, TEXTS) == [vector(text) for text in TEXTS]
    assert [len(call.body["texts"]) for call in server.calls] == [4]


def test_vertex_changes_a_signed_statement_into_a_token_once(
    server: EmbeddingServer, account: dict[str, str], key: rsa.RSAPrivateKey
) -> None:
    settings = ModelSettings(credentials=credentials(server, account))
    params = {"provider": "vertexai", "model_name": "text-embedding-005", "task": "STS", "location": "europe-west1"}
    function = embedding(params | {"endpoint": server.endpoint, "credential": "mine"}, settings=settings)
    filled(function, TEXTS)
    function.queries(["red"])
    token, first, second = server.calls
    assert token.path == "/token"
    assert first.path == second.path
    wanted = "/v1/projects/birds/locations/europe-west1/publishers/google/models/text-embedding-005:predict"
    assert first.path == wanted
    assert first.headers["authorization"] == f"Bearer {TOKEN}"
    assert {one["task_type"] for one in first.body["instances"]} == {"SEMANTIC_SIMILARITY"}
    statement = bytes(token.body).split(b"assertion=")[1]
    head, claims, signature = statement.split(b".")
    signed, told = head + b"." + claims, json.loads(urlsafe_b64decode(claims + b"=="))
    key.public_key().verify(urlsafe_b64decode(signature + b"=="), signed, padding.PKCS1v15(), hashes.SHA256())
    assert (told["iss"], told["aud"]) == ("kite@birds.example", f"{server.endpoint}/token")


@pytest.mark.parametrize("kind", ["PKCS8", "TraditionalOpenSSL"])
@pytest.mark.parametrize("size", [1024, 2048, 3072])
def test_both_files_of_rsa_keys_are_read(kind: str, size: int) -> None:
    from redkite.functions.providers.google import private_key, sign

    made = rsa.generate_private_key(public_exponent=65537, key_size=size)
    pem = made.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, kind), serialization.NoEncryption()
    )
    signature = sign(b"a statement", *private_key(pem.decode()))
    made.public_key().verify(signature, b"a statement", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("text", ["", "{}", "not base64!", '{"client_email": "a", "private_key": "AAAA"}', "e30="])
def test_what_is_no_service_account_is_told_without_showing_it(text: str, server: EmbeddingServer) -> None:
    settings = ModelSettings(credentials={"mine": Credential(credential_json=text)})
    params = {"provider": "vertexai", "model_name": "m", "endpoint": server.endpoint, "credential": "mine"}
    with pytest.raises(InvalidParameter, match=r"is not the JSON text of a service account|has no credential_json"):
        embedding(params | {"projectid": "p"}, settings=settings).fill([pa.array(["a"])])


def test_the_signature_of_aws_is_that_of_its_own_library() -> None:
    from datetime import UTC, datetime
    from unittest.mock import patch

    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    from redkite.functions.providers.signing import signed_headers

    moment = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.titan-embed-text-v2%3A0/invoke"
    theirs = AWSRequest("POST", url, data=b'{"a": 1}', headers={"Content-Type": "application/json"})
    clock = "get_current_datetime" if hasattr(auth, "get_current_datetime") else None
    if clock is None:
        pytest.skip("this botocore has another clock")
    with patch.object(auth, clock, lambda *_, **__: moment.replace(tzinfo=None)):
        auth.SigV4Auth(Credentials("AKID", "secret", "token"), "bedrock", "us-east-1").add_auth(theirs)
    mine = Credential(access_key_id="AKID", secret_access_key="secret", session_token="token")
    ours = signed_headers(url, b'{"a": 1}', mine, "us-east-1", "bedrock", int(moment.timestamp() * 1000))
    assert ours["Authorization"] == theirs.headers["Authorization"]


# -- keys -----------------------------------------------------------------------------------------
KEYS = {
    "openai": "OPENAI_API_KEY",
    "voyageai": "VOYAGEAI_API_KEY",
    "cohere": "COHERE_API_KEY",
    "siliconflow": "SILICONFLOW_API_KEY",
    "dashscope": "DASHSCOPE_API_KEY",
}


@pytest.mark.parametrize("prefix", ["MILVUS_", "MILVUSAI_", ""])
@pytest.mark.parametrize("provider", KEYS)
def test_a_key_of_the_environment_goes_to_the_provider_of_its_name(
    provider: str, prefix: str, server: EmbeddingServer
) -> None:
    at_home = ModelSettings(providers={provider: ProviderSettings(url=server.endpoint)})
    variables = {prefix + KEYS[provider]: "from the environment"}
    function = embedding({"provider": provider, "model_name": "m"}, settings=at_home, variables=variables)
    filled(function, ["a"])
    assert server.calls[0].headers["authorization"] == "Bearer from the environment"


@pytest.mark.parametrize("provider", KEYS)
def test_without_a_key_the_error_names_the_variable(provider: str) -> None:
    function = embedding({"provider": provider, "model_name": "m"})
    with pytest.raises(InvalidParameter, match=f"set MILVUS_{KEYS[provider]} in the environment"):
        function.fill([pa.array(["a"])])


def test_the_key_of_a_provider_goes_to_no_other_place(server: EmbeddingServer) -> None:
    params = {"provider": "openai", "model_name": "m", "endpoint": server.endpoint}
    filled(embedding(params, variables={"OPENAI_API_KEY": "not for you"}), ["a"])
    assert "authorization" not in server.calls[0].headers


def test_the_credential_of_a_providers_settings_goes_to_its_address_alone(server: EmbeddingServer) -> None:
    with EmbeddingServer() as other:
        own = ProviderSettings(url=server.endpoint, credential="mine")
        settings = ModelSettings(credentials=MINE, providers={"openai": own})
        params = {"provider": "openai", "model_name": "m"}
        filled(embedding(params, settings=settings), ["a"])
        filled(embedding(params | {"endpoint": other.endpoint}, settings=settings), ["a"])
        assert server.calls[0].headers["authorization"] == "Bearer a-secret-key"
        assert "authorization" not in other.calls[0].headers


def test_a_credential_may_stand_in_the_environment(server: EmbeddingServer) -> None:
    params = {"provider": "openai", "model_name": "m", "endpoint": server.endpoint, "credential": "my-own"}
    filled(embedding(params, settings=ModelSettings(), variables={"REDKITE_CREDENTIAL_MY_OWN": "there"}), ["a"])
    assert server.calls[0].headers["authorization"] == "Bearer there"


@pytest.mark.parametrize("name", ["other", "no/name", "../etc", "x" * 500])
def test_a_credential_that_is_not_set_is_refused(name: str, server: EmbeddingServer) -> None:
    function = embedding({"provider": "openai", "model_name": "m", "endpoint": server.endpoint, "credential": name})
    with pytest.raises(InvalidParameter, match="is not set"):
        function.fill([pa.array(["a"])])


@pytest.mark.parametrize("key", ["two\nlines", "smile \u263a", "tab\there"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(key: str, server: EmbeddingServer) -> None:
    settings = ModelSettings(credentials={"mine": Credential(apikey=key)})
    params = {"provider": "openai", "model_name": "m", "endpoint": server.endpoint, "credential": "mine"}
    with pytest.raises(InvalidParameter, match="credential mine is not one line of ASCII") as caught:
        embedding(params, settings=settings).fill([pa.array(["a"])])
    assert key not in str(caught.value)


@pytest.mark.parametrize("provider", [name for name in APIS if name != "tei"])
def test_a_reply_of_endless_brackets_is_no_end_of_the_server(provider: str, account: dict[str, str]) -> None:
    with EmbeddingServer() as server:
        settings = ModelSettings(credentials=credentials(server, account))
        params = {"provider": provider, "model_name": "m", "endpoint": server.endpoint, "credential": "mine"}
        function = embedding(params | EXTRA.get(provider, {}), settings=settings)
        if provider == "vertexai":
            function.queries(["red"])  # fetches the token
        server.always = Answer(body=b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")
        with pytest.raises(FunctionFailed, match="answered what are not vectors"):
            function.queries(["red"])


def test_nothing_that_shows_a_credential_shows_what_is_in_it() -> None:
    settings = ModelSettings(credentials=MINE)
    assert "a-secret-key" not in repr(settings) + str(MINE["mine"])


def test_a_provider_that_the_operator_switched_off_is_not_asked() -> None:
    off = ModelSettings(credentials=MINE, providers={"openai": ProviderSettings(enable=False)})
    with pytest.raises(InvalidParameter, match="embedding provider openai is disabled"):
        embedding({"provider": "openai", "model_name": "m"}, settings=off).probe(ask=False)


# -- parameters -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("params", "text"),
    [
        (
            {"provider": "nobody"},
            r"Unsupported text embedding service provider: \[nobody\] , list of supported \[openai",
        ),
        ({}, r"Unsupported text embedding service provider: \[\]"),
        ({"provider": "openai"}, "embedding provider openai: model_name must be given"),
        ({"provider": "openai", "model_name": "m", "colour": "red"}, "unknown parameter colour, known are provider"),
        ({"provider": "openai", "model_name": "m", "dim": "x"}, r"dimension \[x\] provided in Function params is not"),
        ({"provider": "openai", "model_name": "m", "dim": "8"}, r"dimension \[4\] does not match the dimension \[8\]"),
        ({"provider": "openai", "model_name": "m", "max_client_batch_size": "129"}, r"should be in range \[1, 128\]"),
        ({"provider": "tei", "endpoint": "http://x", "max_client_batch_size": "0"}, r"is not a valid number"),
        (
            {"provider": "tei", "endpoint": "http://x", "truncation_direction": "Up"},
            "truncation_direction param's value",
        ),
        ({"provider": "cohere", "model_name": "m", "truncate": "MIDDLE"}, "truncate param's value: MIDDLE"),
        ({"provider": "bedrock", "model_name": "m"}, "Missing AWS Service region"),
        ({"provider": "vertexai", "model_name": "m", "task": "SINGING"}, "task param's value: SINGING"),
        ({"provider": "python"}, "model_name must be the name of a registered embedding"),
        ({"provider": "local"}, "model_name must be a folder"),
        ({"provider": "local", "model_name": "m", "pooling": "max"}, "pooling param's value: max"),
    ],
)
def test_parameters_that_a_provider_does_not_take_are_refused(params: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameter, match=text):
        embedding(params)


@pytest.mark.parametrize(
    "endpoint", ["", "ftp://x", "http://", "http://a:b@c", "http://x/?a=1", "x", "http://x:0", "http://a b"]
)
def test_an_endpoint_that_is_no_plain_address_is_refused(endpoint: str) -> None:
    function = embedding({"provider": "tei", "endpoint": endpoint})
    with pytest.raises(InvalidParameter, match="endpoint"):
        function.probe(ask=False)


@pytest.mark.parametrize("value", ["../../x", "a/b", "eu west", "x" * 200])
def test_what_is_part_of_an_address_stays_in_its_place(value: str) -> None:
    function = embedding(
        {"provider": "bedrock", "model_name": "m", "region": value},
        settings=ModelSettings(
            credentials={"mine": Credential(access_key_id="a", secret_access_key="b")},
            providers={"bedrock": ProviderSettings(credential="mine")},
        ),
    )
    with pytest.raises(InvalidParameter, match="region"):
        function.fill([pa.array(["a"])])


def test_texts_are_sent_in_batches_in_order(server: EmbeddingServer) -> None:
    texts = [f"{'ab'[i % 2] * (i % 7)}c{i}" for i in range(300)]
    params = {"provider": "tei", "endpoint": server.endpoint, "max_client_batch_size": "7"}
    assert filled(embedding(params), texts) == [vector(text) for text in texts]
    assert sorted({len(call.body["inputs"]) for call in server.calls}) == [6, 7]
    assert len(server.calls) == 43
    assert server.connections <= 8, "connections are used again"


@pytest.mark.parametrize("endpoint", ["{}", "{}/", "{}/v1", "{}/v1/", "{}/v1/embeddings"])
def test_an_endpoint_may_hold_the_beginning_of_the_path(endpoint: str, server: EmbeddingServer) -> None:
    params = {"provider": "vllm", "model_name": "m", "endpoint": endpoint.format(server.endpoint)}
    filled(embedding(params), ["a"])
    assert server.calls[0].path == "/v1/embeddings"


def test_a_null_or_an_empty_text_is_refused_before_anybody_is_asked(server: EmbeddingServer) -> None:
    function = embedding({"provider": "tei", "endpoint": server.endpoint})
    with pytest.raises(InvalidParameter, match="There is an empty string in the input data"):
        function.fill([pa.array(["a", ""])])
    with pytest.raises(InvalidParameter, match="holds a null"):
        function.fill([pa.array(["a", None])])
    with pytest.raises(InvalidParameter, match="There is an empty string in the queries"):
        function.queries([""])
    assert server.calls == []
    assert function.fill([pa.array([], pa.string())]).type == pa.list_(pa.float32(), DIM)


def test_floats_in_base64_are_read_too(server: EmbeddingServer) -> None:
    from redkite.functions.providers.base import Asked, Purpose
    from redkite.functions.providers.openai import vectors

    reply = json.dumps(server.reply("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"})).encode()
    found = vectors(reply, Asked(texts=TEXTS, purpose=Purpose.DOCUMENT))
    assert np.array(found).tolist() == [vector(text) for text in TEXTS]


def test_a_body_is_hashed_as_it_is_sent() -> None:
    """What a signature covers: the digest of exactly the bytes of the body."""
    from redkite.functions.providers.signing import signed_headers

    credential = Credential(access_key_id="a", secret_access_key="b")
    one, other = (signed_headers("https://x/y", body, credential, "r", "s", 0) for body in (b"1", b"2"))
    assert one["Authorization"] != other["Authorization"]
    assert hashlib.sha256(b"1").hexdigest() not in one["Authorization"]
