"""Models that rank texts, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tests.proxy.model_server import ModelServer, relevance

from redkite.env import Env
from redkite.errors import FunctionFailed, InvalidParameter
from redkite.functions.models import Models
from redkite.model.calling import Credential, ModelSettings, ProviderSettings
from redkite.proxy.model_client import ModelClient
from redkite.query.models import PROVIDERS, ModelRerank

TEXTS = ["red kite over hills", "a kite", "black swan", "", "red red wine"]
QUERY = "red kite"
WANTED = [relevance(QUERY, text) for text in TEXTS]
KEYS = {"REDKITE_CREDENTIAL_MINE": "secret", "COHERE_API_KEY": "not for you"}


def model_scores(
    model: ModelRerank, query: str, texts: list[str], variables: dict[str, str], settings: ModelSettings | None = None
) -> Any:
    with closing(Models(Env.real(), settings, variables)) as models:
        return ModelClient(models).scores(model, query, texts)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def model(server: ModelServer, provider: str = "tei", **more: Any) -> ModelRerank:
    return ModelRerank(provider=provider, field="text", queries=(QUERY,), endpoint=server.endpoint, **more)


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "huggingface"])
def test_every_provider_is_asked_in_its_own_words(provider: str, server: ModelServer) -> None:
    asked = model(server, provider, options={"model": "m"}, credential="mine", batch=2)
    assert model_scores(asked, QUERY, TEXTS, KEYS).tolist() == pytest.approx(WANTED)
    assert [call.path for call in server.calls] == [PROVIDERS[provider].path] * 3
    assert {call.authorization for call in server.calls} == {"Bearer secret"}
    bodies = [call.body.get("input", call.body) for call in server.calls]
    assert sorted(len(body.get("texts") or body["documents"]) for body in bodies) == [1, 2, 2]
    assert {call.body["model"] for call in server.calls} == {"m"}
    assert {body["query"] for body in bodies} == {QUERY}


def test_no_text_asks_nothing(server: ModelServer) -> None:
    assert model_scores(model(server), QUERY, [], {}).tolist() == []
    assert server.calls == []


def test_the_key_of_a_provider_goes_to_no_other_place(server: ModelServer) -> None:
    model_scores(model(server, "cohere"), QUERY, TEXTS, KEYS)
    assert server.calls[0].authorization is None


@pytest.mark.parametrize("name", ["other", "no/name", "../etc"])
def test_a_credential_that_is_not_set_is_refused(name: str, server: ModelServer) -> None:
    with pytest.raises(InvalidParameter, match=r"credential .* is not set"):
        model_scores(model(server, credential=name), QUERY, TEXTS, KEYS)


def test_a_provider_at_home_needs_a_key() -> None:
    home = ModelRerank(provider="cohere", field="text", queries=(QUERY,), endpoint="")
    with pytest.raises(InvalidParameter, match="set MILVUS_COHERE_API_KEY"):
        model_scores(home, QUERY, TEXTS, {})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((500, b"overloaded"), "answered 500 .*: overloaded"),
        ((302, b""), "answered 302 .*redirects are not followed"),
        ((200, b"not json"), "not a ranking"),
        ((200, b"[]"), "left 5 of 5 texts without a score"),
        ((200, b'[{"index": 9, "score": 1}]'), "not a ranking"),
        ((200, b'[{"index": 0, "score": "x"}]'), "not a ranking"),
        ((200, b'[{"index": 0, "score": 1}]'), "left 4 of 5 texts without a score"),
    ],
)
def test_a_reply_that_ranks_nothing_is_an_error_of_the_function(
    answer: tuple[int, bytes], text: str, server: ModelServer
) -> None:
    server.answer = answer
    with pytest.raises(FunctionFailed, match=text) as caught:
        model_scores(model(server), QUERY, TEXTS, {})
    assert caught.value.code == 2400


def test_a_provider_that_is_not_there_is_an_error_of_the_function(server: ModelServer) -> None:
    gone = model(server)
    with ModelServer() as other:
        gone = model(other)
    with pytest.raises(FunctionFailed, match="cannot be reached"):
        model_scores(gone, QUERY, TEXTS, {})


def test_a_server_asks_no_endpoint_that_is_not_on_its_list(server: ModelServer) -> None:
    with pytest.raises(InvalidParameter, match="is not one that this server may ask"):
        model_scores(model(server), QUERY, TEXTS, {}, ModelSettings(endpoints=("models.example",)))
    assert server.calls == []


def test_the_operator_may_move_a_provider(server: ModelServer) -> None:
    home = ModelRerank(provider="cohere", field="text", queries=(QUERY,), endpoint="")
    moved = ModelSettings(
        credentials={"ours": Credential(apikey="key")},
        providers={"cohere": ProviderSettings(url=server.endpoint, credential="ours")},
    )
    assert model_scores(home, QUERY, TEXTS, {}, moved).tolist() == pytest.approx(WANTED)
    assert server.calls[0].authorization == "Bearer key"


def test_hugging_faces_router_compares_sentences(server: ModelServer) -> None:
    asked = model(server, "huggingface", options={"model": "owner/name", "hf_provider": "hf-inference"}, batch=2)
    assert model_scores(asked, QUERY, TEXTS, {}).tolist() == pytest.approx(WANTED)
    assert {call.path for call in server.calls} == {"/hf-inference/models/owner/name/pipeline/sentence-similarity"}
    first = next(call.body for call in server.calls if TEXTS[0] in call.body["inputs"]["sentences"])
    assert first == {"inputs": {"source_sentence": QUERY, "sentences": TEXTS[:2]}}
    for wrong in ("../secret", ""):
        other = model(server, "huggingface", options={"model": wrong})
        with pytest.raises(InvalidParameter, match=r"model_name .* is invalid"):
            model_scores(other, QUERY, TEXTS, {})
