"""OpenAI's way, which most others speak too: `{"model", "input": [...]}` -> `{"data": [{"index", "embedding"}]}`."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import msgspec
import numpy as np

from redkite.functions.providers.base import (
    FLAG,
    FLOATS_AND_BYTES,
    NUMBER,
    Asked,
    Auth,
    BadReply,
    Body,
    EmbeddingApi,
    Numbered,
    Purpose,
    any_text,
    in_order,
)
from redkite.model.types import DataType


class _Reply(msgspec.Struct, frozen=True):
    data: list[Numbered]


_DECODER = msgspec.json.Decoder(_Reply)


def vectors(reply: bytes, asked: Asked) -> list[Any]:
    """The vectors of a reply, as lists or, where they came in base64, as arrays of float32."""
    found = _DECODER.decode(reply).data
    return in_order([(item.index, _numbers(item.embedding)) for item in found], len(asked.texts))


def _numbers(embedding: list[float] | str) -> Any:
    if not isinstance(embedding, str):
        return embedding
    raw = b64decode(embedding, validate=True)
    if len(raw) % 4:
        raise BadReply("a vector in base64 that is cut off")
    return np.frombuffer(raw, "<f4")


def plain(asked: Asked) -> Body:
    """The body that every server of this kind understands."""
    body: Body = {"model": asked.model, "input": list(asked.texts), **asked.options}
    if asked.dim:
        body["dimensions"] = asked.dim
    return body


def _floats(asked: Asked) -> Body:
    return {**plain(asked), "encoding_format": "float"}


def _prompted(asked: Asked) -> Body:
    """With the function's text before each text."""
    options = dict(asked.options)
    prompts = {purpose: str(options.pop(name, "")) for purpose, name in PROMPTS.items()}
    prompt = prompts[asked.purpose]
    texts = [prompt + text for text in asked.texts] if prompt else list(asked.texts)
    return _floats(msgspec.structs.replace(asked, texts=texts, options=options))


PROMPTS = {Purpose.DOCUMENT: "ingestion_prompt", Purpose.QUERY: "search_prompt"}


def _voyage(asked: Asked) -> Body:
    body: Body = {
        "model": asked.model,
        "input": list(asked.texts),
        "input_type": asked.purpose.value,
        "output_dtype": "int8" if asked.kind is DataType.INT8_VECTOR else "float",
        "truncation": False,
        **asked.options,
    }
    if asked.dim:
        body["output_dimension"] = asked.dim
    return body


OPENAI = EmbeddingApi(
    home="https://api.openai.com/v1",
    path="/embeddings",
    body=_floats,
    vectors=vectors,
    batch=128,
    options={"user": any_text},
    characters=600_000,
    variables=("OPENAI_API_KEY",),
)
AZURE = EmbeddingApi(
    home="https://{resource}.openai.azure.com",
    path="/openai/deployments/{model}/embeddings?api-version=2024-06-01",
    body=lambda asked: {key: value for key, value in _floats(asked).items() if key != "model"},
    vectors=vectors,
    batch=128,
    options={"user": any_text},
    characters=600_000,
    auth=Auth.API_KEY,
    variables=("AZURE_OPENAI_API_KEY",),
)
VLLM = EmbeddingApi(
    path="/v1/embeddings",
    body=_prompted,
    vectors=vectors,
    batch=32,
    options={"truncate_prompt_tokens": NUMBER, "ingestion_prompt": any_text, "search_prompt": any_text},
    own_batch=True,
)
SILICONFLOW = EmbeddingApi(
    home="https://api.siliconflow.cn",
    path="/v1/embeddings",
    body=_floats,
    vectors=vectors,
    batch=32,
    variables=("SILICONFLOW_API_KEY",),
)
VOYAGE = EmbeddingApi(
    home="https://api.voyageai.com",
    path="/v1/embeddings",
    body=_voyage,
    vectors=vectors,
    batch=128,
    options={"truncation": FLAG},
    characters=240_000,
    kinds=FLOATS_AND_BYTES,
    variables=("VOYAGEAI_API_KEY", "VOYAGE_API_KEY"),
)
