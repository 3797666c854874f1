"""Ranking by a model behind an HTTP API: what is asked of each provider, and how its replies are read. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.errors import FunctionFailed
from redkite.functions.quoting import quoted

BATCH = 32
"""Texts in one request, unless the function says otherwise."""
Body = dict[str, Any]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of API."""

    path: str
    """Behind the endpoint."""
    body: Callable[[str, Sequence[str], Body], Body]
    """Query, texts and the provider's own options -> JSON."""
    results: Callable[[Any], Any]
    """The reply's list of objects."""
    score: str = "relevance_score"
    """The key of a score in them; `index` says whose it is."""
    home: str = ""
    """The provider's own endpoint; empty: one must be given."""
    options: Mapping[str, str] = {}
    """The function's parameter -> the name in the body."""
    needs_model: bool = False
    variables: tuple[str, ...] = ()
    """Of the key for its own endpoint, in the environment, without Milvus's prefixes."""


class ModelRerank(msgspec.Struct, frozen=True, kw_only=True):
    """The score of a row is what the model says about its text and the query's."""

    provider: str
    field: str
    queries: tuple[str, ...]
    endpoint: str
    """Empty: the provider's own."""
    options: Body = {}
    """By their names in the body."""
    credential: str = ""
    batch: int = BATCH


def _texts(query: str, texts: Sequence[str], options: Body) -> Body:
    return {"query": query, "texts": list(texts), **options}


def _documents(query: str, texts: Sequence[str], options: Body) -> Body:
    return {"query": query, "documents": list(texts), **options}


def _sentences(query: str, texts: Sequence[str], options: Body) -> Body:  # noqa: ARG001  they are in the address
    return {"inputs": {"source_sentence": query, "sentences": list(texts)}}


def _nested(query: str, texts: Sequence[str], options: Body) -> Body:
    return {**options, "input": {"query": query, "documents": list(texts)}, "parameters": {"return_documents": False}}


_TEI = Provider(
    path="/rerank",
    body=_texts,
    results=lambda reply: reply,
    score="score",
    options={"truncate": "truncate", "truncation_direction": "truncation_direction"},
)
PROVIDERS: dict[str, Provider] = {
    "tei": _TEI,
    "huggingface": Provider(
        path="/hf-inference/models/{model_path}/pipeline/sentence-similarity",
        body=_sentences,
        results=lambda reply: [{"index": place, "score": score} for place, score in enumerate(reply)],
        score="score",
        home="https://router.huggingface.co",
        options={"model_name": "model", "hf_provider": "hf_provider"},
        needs_model=True,
        variables=("HUGGINGFACE_API_KEY", "HF_TOKEN"),
    ),
    "vllm": Provider(
        path="/v1/rerank",
        body=_documents,
        results=lambda reply: reply["results"],
        options={"model_name": "model", "truncate_prompt_tokens": "truncate_prompt_tokens"},
    ),
    "cohere": Provider(
        path="/v2/rerank",
        body=_documents,
        results=lambda reply: reply["results"],
        home="https://api.cohere.com",
        options={"model_name": "model", "max_tokens_per_doc": "max_tokens_per_doc"},
        needs_model=True,
        variables=("COHERE_API_KEY",),
    ),
    "voyageai": Provider(
        path="/v1/rerank",
        body=_documents,
        results=lambda reply: reply["data"],
        home="https://api.voyageai.com",
        options={"model_name": "model", "truncation": "truncation"},
        needs_model=True,
        variables=("VOYAGEAI_API_KEY", "VOYAGE_API_KEY"),
    ),
    "siliconflow": Provider(
        path="/v1/rerank",
        body=_documents,
        results=lambda reply: reply["results"],
        home="https://api.siliconflow.cn",
        options={
            "model_name": "model", "max_chunks_per_doc": "max_chunks_per_doc", "overlap_tokens": "overlap_tokens",
        },
        needs_model=True,
        variables=("SILICONFLOW_API_KEY",),
    ),
    "ali": Provider(
        path="/api/v1/services/rerank/text-rerank/text-rerank",
        body=_nested,
        results=lambda reply: reply["output"]["results"],
        home="https://dashscope.aliyuncs.com",
        options={"model_name": "model"},
        needs_model=True,
        variables=("DASHSCOPE_API_KEY",),
    ),
}  # fmt: skip
"""`tei` is Hugging Face's Text Embeddings Inference, wherever it runs; `huggingface` is its hosted router."""


def bodies(model: ModelRerank, query: str, texts: Sequence[str]) -> list[bytes]:
    """The requests that have these texts scored, in order."""
    provider = PROVIDERS[model.provider]
    starts = range(0, len(texts), model.batch)
    return [
        msgspec.json.encode(provider.body(query, texts[at : at + model.batch], dict(model.options))) for at in starts
    ]


def read_scores(model: ModelRerank, reply: bytes, count: int, hidden: Sequence[str] = ()) -> npt.NDArray[np.float64]:
    """(count,) the score of each text of one request. Raises FunctionFailed when a reply does not say them all; it
    quotes the reply without the texts `hidden`."""
    provider = PROVIDERS[model.provider]
    scores = np.full(count, np.nan)
    try:
        for result in provider.results(msgspec.json.decode(reply)):
            place = result["index"]
            if not 0 <= place < count:
                raise IndexError(place)
            scores[place] = float(result[provider.score])
    except (msgspec.DecodeError, RecursionError, KeyError, IndexError, TypeError, ValueError) as error:
        raise FunctionFailed(
            f"rerank model provider {model.provider} answered what is not a ranking ({error!r:.80}): "
            f"{quoted(reply, hidden)}"
        ) from None
    missing = int(np.isnan(scores).sum())
    if missing:
        raise FunctionFailed(f"rerank model provider {model.provider} left {missing} of {count} texts without a score")
    return scores
