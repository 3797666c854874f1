"""Embedding functions to be called by hand, with the names and the ways of `pymilvus.model`.

    from redkite import model

    embed = model.DefaultEmbeddingFunction()
    vectors = embed.encode_documents(["a text", "another one"])     # a list of arrays
    embed.dim                                                       # 384

They stand on the same providers that functions of a schema use. None of them downloads anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from redkite.env import Env
from redkite.errors import ParamError
from redkite.functions.embedders import RemoteEmbedder, Shape
from redkite.functions.embedding import APIS
from redkite.functions.local import LocalModel, Place, load
from redkite.functions.models import Models
from redkite.functions.providers.base import Asked, Purpose
from redkite.functions.wanted import Wanted
from redkite.model.calling import FOLDER_VARIABLE, Credential, ModelSettings
from redkite.model.types import DataType

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_DIMENSIONS = {
    "text-embedding-ada-002": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072,
    "embed-english-v3.0": 1024, "embed-multilingual-v3.0": 1024, "embed-english-light-v3.0": 384,
    "embed-multilingual-light-v3.0": 384, "voyage-3": 1024, "voyage-3-lite": 512, "voyage-3-large": 1024,
    "voyage-code-3": 1024, "voyage-3.5": 1024, "voyage-3.5-lite": 1024,
}  # fmt: skip
"""Of models that say it in their description; others are asked once."""
Vectors = list[npt.NDArray[Any]]


class EmbeddingFunction(ABC):
    """Texts -> vectors. Any thread."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """The dimension of the vectors."""

    @abstractmethod
    def _embed(self, texts: Sequence[str], purpose: Purpose) -> npt.NDArray[Any]:
        """(texts, dim)"""

    def encode_documents(self, documents: Sequence[str]) -> Vectors:
        """A vector for each text that is to be stored."""
        return self._encode(documents, Purpose.DOCUMENT)

    def encode_queries(self, queries: Sequence[str]) -> Vectors:
        """A vector for each text that is to be searched with."""
        return self._encode(queries, Purpose.QUERY)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """As `encode_documents`."""
        return self._encode(texts, Purpose.DOCUMENT)

    def _encode(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ParamError(f"{type(self).__name__} embeds a list of texts")
        return list(self._embed(texts, purpose)) if len(texts) else []


# -- models of this machine -----------------------------------------------------------------------
class _LocalFunction(EmbeddingFunction):
    def __init__(self, model: LocalModel, prompts: dict[Purpose, str]) -> None:
        self._model = model
        self._prompts = prompts

    @property
    def dim(self) -> int:
        return self._model.dim

    def _embed(self, texts: Sequence[str], purpose: Purpose) -> npt.NDArray[Any]:
        prompt = self._prompts.get(purpose, "")
        return self._model.embed([prompt + text for text in texts] if prompt else texts)


class OnnxEmbeddingFunction(_LocalFunction):
    """A model in a folder, run by ONNX Runtime (or sentence-transformers, where that alone is installed).

    Args:
        model_name: A folder; or a name, looked for below `folder`, the folder that the variable REDKITE_MODELS names,
            and what Hugging Face's tools have downloaded before.
        folder: The folder of named models.
        normalize: Give vectors of length 1. By default as the model's files say.

    Raises:
        InvalidParameter: There is no such model (the message says where it was looked for), or nothing to run it with.
    """

    def __init__(self, model_name: str = DEFAULT_MODEL, folder: str = "", *, normalize: bool | None = None) -> None:
        super().__init__(_loaded(type(self).__name__, model_name, folder, normalize=normalize), {})


class DefaultEmbeddingFunction(OnnxEmbeddingFunction):
    """all-MiniLM-L6-v2: 384 dimensions, from its folder or another's; see `OnnxEmbeddingFunction`."""


class SentenceTransformerEmbeddingFunction(_LocalFunction):
    """A model of sentence-transformers, by that library where it is installed, else by ONNX Runtime."""

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
        query_instruction: str = "",
        doc_instruction: str = "",
        normalize_embeddings: bool = True,
        folder: str = "",
    ) -> None:
        """`query_instruction` and `doc_instruction` stand before each text."""
        model = _loaded(type(self).__name__, model_name, folder, normalize=normalize_embeddings)
        super().__init__(model, {Purpose.QUERY: query_instruction, Purpose.DOCUMENT: doc_instruction})


def _loaded(who: str, name: str, folder: str, **given: Any) -> LocalModel:
    from os import environ

    return load(Place(who=who, name=name, folder=folder or environ.get(FOLDER_VARIABLE, ""), **given))


# -- services -------------------------------------------------------------------------------------
class _RemoteFunction(EmbeddingFunction):
    def __init__(
        self,
        provider: str,
        model_name: str,
        api_key: str | None,
        base_url: str | None,
        dimension: int | None,
        options: dict[str, Any],
        kind: DataType = DataType.FLOAT_VECTOR,
    ) -> None:
        api = APIS[provider]
        key = {"given": Credential(apikey=api_key)} if api_key else {}
        models = Models(Env.real(), ModelSettings(credentials=key))
        wanted = Wanted(
            who=f"embedding provider {provider}", provider=provider, home=api.home, path=api.path,
            endpoint=base_url or "", credential="given" if key else "", variables=api.variables, auth=api.auth,
            parts={"model": model_name},
        )  # fmt: skip
        models.targets.check(wanted)
        set_options = {name: value for name, value in options.items() if value is not None}
        template = Asked(
            texts=(), purpose=Purpose.DOCUMENT, model=model_name, dim=dimension or 0, kind=kind, options=set_options
        )
        batch = api.batch if api.batch_of is None else api.batch_of(model_name)
        self._embedder = RemoteEmbedder(models, api, wanted, template, batch, Shape(kind, dimension or 0))
        self._dim = dimension or _DIMENSIONS.get(model_name, 0)

    @property
    def dim(self) -> int:
        """That of a model that is not known here is learnt by embedding one word."""
        if not self._dim:
            self._dim = int(self._embedder.embed(["dimension"], Purpose.DOCUMENT).shape[1])
        return self._dim

    def _embed(self, texts: Sequence[str], purpose: Purpose) -> npt.NDArray[Any]:
        return self._embedder.embed(texts, purpose)


class OpenAIEmbeddingFunction(_RemoteFunction):
    """OpenAI's models, or any service that speaks as OpenAI does. The key is `api_key` or OPENAI_API_KEY; that of the
    environment goes to OpenAI alone."""

    def __init__(
        self,
        model_name: str = "text-embedding-3-small",
        api_key: str | None = None,
        base_url: str | None = None,
        dimensions: int | None = None,
        user: str | None = None,
    ) -> None:
        super().__init__("openai", model_name, api_key, base_url, dimensions, {"user": user})


class VoyageEmbeddingFunction(_RemoteFunction):
    """Voyage's models. The key is `api_key` or VOYAGE_API_KEY."""

    def __init__(
        self,
        model_name: str = "voyage-3",
        api_key: str | None = None,
        embedding_type: str = "float",
        truncate: bool | None = None,
        dimension: int | None = None,
        base_url: str | None = None,
    ) -> None:
        """`embedding_type`: `float`, or `int8` for arrays of int8."""
        kind = _kind(embedding_type)
        super().__init__("voyageai", model_name, api_key, base_url, dimension, {"truncation": truncate}, kind)


class CohereEmbeddingFunction(_RemoteFunction):
    """Cohere's models. The key is `api_key` or COHERE_API_KEY."""

    def __init__(
        self,
        model_name: str = "embed-english-light-v3.0",
        api_key: str | None = None,
        embedding_type: str = "float",
        truncate: str | None = None,
        dimension: int | None = None,
        base_url: str | None = None,
    ) -> None:
        """`embedding_type`: `float`, or `int8` for arrays of int8. `truncate`: `NONE`, `START` or `END`."""
        kind = _kind(embedding_type)
        super().__init__("cohere", model_name, api_key, base_url, dimension, {"truncate": truncate}, kind)


def _kind(embedding_type: str) -> DataType:
    kinds = {"float": DataType.FLOAT_VECTOR, "int8": DataType.INT8_VECTOR}
    if embedding_type not in kinds:
        raise ParamError(f"embedding_type must be one of {', '.join(kinds)}, got {embedding_type!r}")
    return kinds[embedding_type]
