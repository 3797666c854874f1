"""Providers with words of their own: Cohere, DashScope, Text Embeddings Inference, Ollama, Bedrock, Vertex AI."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.functions.providers.base import (
    FLAG,
    FLOATS_AND_BYTES,
    HF_ROUTE,
    Asked,
    Auth,
    BadReply,
    Body,
    EmbeddingApi,
    Purpose,
    any_text,
    in_order,
    one_of,
)
from redkite.functions.providers.openai import PROMPTS
from redkite.model.types import DataType

_Rows = list[list[float]]


def _rows(rows: _Rows | None, asked: Asked) -> _Rows:
    """Vectors that come in the order of the texts."""
    if rows is None:
        raise BadReply("no vectors of the kind that was asked for")
    if len(rows) != len(asked.texts):
        raise BadReply(f"{len(rows)} vectors for {len(asked.texts)} texts")
    return rows


# -- Cohere -------------------------------------------------------------------------------------
class _CohereVectors(msgspec.Struct, frozen=True):
    float: _Rows | None = None
    int8: _Rows | None = None


class _CohereReply(msgspec.Struct, frozen=True):
    embeddings: _CohereVectors


def _cohere_body(asked: Asked) -> Body:
    body: Body = {
        "model": asked.model,
        "texts": list(asked.texts),
        "embedding_types": ["int8" if asked.kind is DataType.INT8_VECTOR else "float"],
        "truncate": "END",
        **asked.options,
    }
    if not asked.model.endswith("v2.0"):
        body["input_type"] = f"search_{asked.purpose.value}"
    if asked.dim:
        body["output_dimension"] = asked.dim
    return body


def _cohere_vectors(reply: bytes, asked: Asked) -> _Rows:
    found = msgspec.json.decode(reply, type=_CohereReply).embeddings
    return _rows(found.int8 if asked.kind is DataType.INT8_VECTOR else found.float, asked)


COHERE = EmbeddingApi(
    home="https://api.cohere.com",
    path="/v2/embed",
    body=_cohere_body,
    vectors=_cohere_vectors,
    batch=96,
    options={"truncate": one_of("NONE", "START", "END")},
    kinds=FLOATS_AND_BYTES,
    variables=("COHERE_API_KEY",),
)


# -- DashScope ----------------------------------------------------------------------------------
class _DashScopeVector(msgspec.Struct, frozen=True):
    embedding: list[float]
    text_index: int | None = None


class _DashScopeOutput(msgspec.Struct, frozen=True):
    embeddings: list[_DashScopeVector]


class _DashScopeReply(msgspec.Struct, frozen=True):
    output: _DashScopeOutput


def _dashscope_body(asked: Asked) -> Body:
    parameters: Body = {"text_type": asked.purpose.value, "output_type": "dense"}
    if asked.dim:
        parameters["dimension"] = asked.dim
    return {"model": asked.model, "input": {"texts": list(asked.texts)}, "parameters": parameters}


def _dashscope_vectors(reply: bytes, asked: Asked) -> list[Any]:
    found = msgspec.json.decode(reply, type=_DashScopeReply).output.embeddings
    return in_order([(item.text_index, item.embedding) for item in found], len(asked.texts))


_SMALL_BATCHES = {"text-embedding-v3": 6, "text-embedding-v4": 10}

DASHSCOPE = EmbeddingApi(
    home="https://dashscope.aliyuncs.com",
    path="/api/v1/services/embeddings/text-embedding/text-embedding",
    body=_dashscope_body,
    vectors=_dashscope_vectors,
    batch=25,
    batch_of=lambda model: _SMALL_BATCHES.get(model, 25),
    variables=("DASHSCOPE_API_KEY",),
)


# -- Text Embeddings Inference ------------------------------------------------------------------
def _tei_body(asked: Asked) -> Body:
    options = dict(asked.options)
    prompts = {purpose: str(options.pop(name, "")) for purpose, name in PROMPTS.items()}
    prompt = prompts[asked.purpose]
    return {"inputs": [prompt + text for text in asked.texts], "truncate": False, **options}


def _tei_vectors(reply: bytes, asked: Asked) -> _Rows:
    return _rows(msgspec.json.decode(reply, type=_Rows), asked)


TEI = EmbeddingApi(
    path="/embed",
    body=_tei_body,
    vectors=_tei_vectors,
    batch=32,
    options={
        "truncate": FLAG, "truncation_direction": one_of("Left", "Right"),
        "ingestion_prompt": any_text, "search_prompt": any_text,
    },
    needs_model=False,
    own_batch=True,
)  # fmt: skip


# -- Ollama -------------------------------------------------------------------------------------
class _OllamaReply(msgspec.Struct, frozen=True):
    embeddings: _Rows


def _ollama_body(asked: Asked) -> Body:
    options = dict(asked.options)
    prompts = {purpose: str(options.pop(name, "")) for purpose, name in PROMPTS.items()}
    prompt = prompts[asked.purpose]
    body: Body = {"model": asked.model, "input": [prompt + text for text in asked.texts], **options}
    if asked.dim:
        body["dimensions"] = asked.dim
    return body


OLLAMA = EmbeddingApi(
    home="http://localhost:11434",
    path="/api/embed",
    body=_ollama_body,
    vectors=lambda reply, asked: _rows(msgspec.json.decode(reply, type=_OllamaReply).embeddings, asked),
    batch=32,
    options={"truncate": FLAG, "keep_alive": any_text, "ingestion_prompt": any_text, "search_prompt": any_text},
    own_batch=True,
)


# -- Bedrock ------------------------------------------------------------------------------------
class _TitanReply(msgspec.Struct, frozen=True):
    embedding: list[float]


class _BedrockCohereReply(msgspec.Struct, frozen=True):
    embeddings: _Rows


def _speaks_cohere(model: str) -> bool:
    return "cohere.embed" in model


def _bedrock_body(asked: Asked) -> Body:
    if _speaks_cohere(asked.model):
        return {"texts": list(asked.texts), "input_type": f"search_{asked.purpose.value}"}
    (text,) = asked.texts
    body: Body = {"inputText": text, "normalize": asked.options.get("normalize", True)}
    if asked.dim:
        body["dimensions"] = asked.dim
    return body


def _bedrock_vectors(reply: bytes, asked: Asked) -> _Rows:
    if _speaks_cohere(asked.model):
        return _rows(msgspec.json.decode(reply, type=_BedrockCohereReply).embeddings, asked)
    return [msgspec.json.decode(reply, type=_TitanReply).embedding]


BEDROCK = EmbeddingApi(
    home="https://bedrock-runtime.{region}.amazonaws.com",
    path="/model/{model}/invoke",
    body=_bedrock_body,
    vectors=_bedrock_vectors,
    batch=1,
    batch_of=lambda model: 96 if _speaks_cohere(model) else 1,
    options={"region": any_text, "normalize": FLAG},
    auth=Auth.SIGNED,
    variables=("BEDROCK_ACCESS_KEY_ID", "BEDROCK_SECRET_ACCESS_KEY"),
)

# -- Vertex AI ----------------------------------------------------------------------------------
_TASKS = {
    ("DOC_RETRIEVAL", Purpose.DOCUMENT): "RETRIEVAL_DOCUMENT",
    ("DOC_RETRIEVAL", Purpose.QUERY): "RETRIEVAL_QUERY",
    ("CODE_RETRIEVAL", Purpose.DOCUMENT): "RETRIEVAL_DOCUMENT",
    ("CODE_RETRIEVAL", Purpose.QUERY): "CODE_RETRIEVAL_QUERY",
    ("STS", Purpose.DOCUMENT): "SEMANTIC_SIMILARITY",
    ("STS", Purpose.QUERY): "SEMANTIC_SIMILARITY",
}


class _VertexValues(msgspec.Struct, frozen=True):
    values: list[float]


class _VertexPrediction(msgspec.Struct, frozen=True):
    embeddings: _VertexValues


class _VertexReply(msgspec.Struct, frozen=True):
    predictions: list[_VertexPrediction]


def _vertex_body(asked: Asked) -> Body:
    task = _TASKS[asked.options.get("task", "DOC_RETRIEVAL"), asked.purpose]
    body: Body = {"instances": [{"task_type": task, "content": text} for text in asked.texts]}
    if asked.dim:
        body["parameters"] = {"outputDimensionality": asked.dim}
    return body


def _vertex_vectors(reply: bytes, asked: Asked) -> _Rows:
    found = msgspec.json.decode(reply, type=_VertexReply).predictions
    return _rows([prediction.embeddings.values for prediction in found], asked)


VERTEX = EmbeddingApi(
    home="https://{location}-aiplatform.googleapis.com",
    path="/v1/projects/{project}/locations/{location}/publishers/google/models/{model}:predict",
    body=_vertex_body,
    vectors=_vertex_vectors,
    batch=128,
    options={
        "location": any_text, "projectid": any_text, "task": one_of("DOC_RETRIEVAL", "CODE_RETRIEVAL", "STS"),
    },
    auth=Auth.GOOGLE,
    variables=("GOOGLE_APPLICATION_CREDENTIALS",),
)  # fmt: skip


# -- Gemini -------------------------------------------------------------------------------------
class _GeminiReply(msgspec.Struct, frozen=True):
    embeddings: list[_VertexValues]


def _gemini_body(asked: Asked) -> Body:
    one: Body = {"model": f"models/{asked.model}", "taskType": f"RETRIEVAL_{asked.purpose.name}"}
    if asked.options.get("task"):
        one["taskType"] = asked.options["task"]
    if asked.dim:
        one["outputDimensionality"] = asked.dim
    return {"requests": [{**one, "content": {"parts": [{"text": text}]}} for text in asked.texts]}


def _gemini_vectors(reply: bytes, asked: Asked) -> _Rows:
    return _rows([one.values for one in msgspec.json.decode(reply, type=_GeminiReply).embeddings], asked)


GEMINI = EmbeddingApi(
    home="https://generativelanguage.googleapis.com",
    path="/v1beta/models/{model}:batchEmbedContents",
    body=_gemini_body,
    vectors=_gemini_vectors,
    batch=100,
    options={"task": any_text},
    auth=Auth.GOOGLE_KEY,
    variables=("GEMINI_API_KEY",),
)


# -- Hugging Face's router ----------------------------------------------------------------------
def _huggingface_body(asked: Asked) -> Body:
    options = {name: value for name, value in asked.options.items() if name != "hf_provider"}
    return {"inputs": list(asked.texts), **options}


HUGGINGFACE = EmbeddingApi(
    home="https://router.huggingface.co",
    path=f"/{HF_ROUTE}/models/{{model_path}}/pipeline/feature-extraction",
    body=_huggingface_body,
    vectors=_tei_vectors,
    batch=128,
    options={
        "hf_provider": one_of(HF_ROUTE), "normalize": FLAG, "prompt_name": any_text, "truncate": FLAG,
        "truncation_direction": one_of("left", "right"),
    },
    variables=("HUGGINGFACE_API_KEY", "HF_TOKEN"),
)  # fmt: skip
