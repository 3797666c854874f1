"""Functions of type TEXTEMBEDDING: a text field fills a vector field, by a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.functions.base import Services
from redkite.functions.embedders import CallableEmbedder, Embedder, LocalEmbedder, RemoteEmbedder, Shape
from redkite.functions.models import Models
from redkite.functions.providers.base import Asked, EmbeddingApi, Purpose
from redkite.functions.providers.openai import AZURE, OPENAI, PROMPTS, SILICONFLOW, VLLM, VOYAGE
from redkite.functions.providers.services import BEDROCK, COHERE, DASHSCOPE, GEMINI, HUGGINGFACE, OLLAMA, TEI, VERTEX
from redkite.functions.wanted import Wanted
from redkite.model.batch import arrow_type, vectors_to_arrow
from redkite.model.reading import Queries
from redkite.model.rules.numbers import truth, whole_number
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType

APIS: dict[str, EmbeddingApi] = {
    "openai": OPENAI,
    "azure_openai": AZURE,
    "dashscope": DASHSCOPE,
    "bedrock": BEDROCK,
    "vertexai": VERTEX,
    "voyageai": VOYAGE,
    "cohere": COHERE,
    "siliconflow": SILICONFLOW,
    "gemini": GEMINI,
    "huggingface": HUGGINGFACE,
    "tei": TEI,
    "vllm": VLLM,
    "ollama": OLLAMA,
}
LOCAL, PYTHON = "local", "python"
PROVIDERS = (*APIS, LOCAL, PYTHON)
MAX_BATCH = 4096
MAX_TOKENS = 131_072
_COMMON = ("provider", "model_name", "dim", "credential", "endpoint", "max_client_batch_size")
_PLACES = {"region": "region", "location": "location", "projectid": "project"}
"""Options that are part of the address."""
_TEXT_TYPES = (DataType.VARCHAR, DataType.TEXT)
_VECTOR_TYPES = (DataType.FLOAT_VECTOR, DataType.INT8_VECTOR)
Params = Mapping[str, str]


class TextEmbedding:
    """Any thread."""

    def __init__(self, schema: CollectionSchema, function: FunctionSchema, services: Services) -> None:
        source, self._field = fields_of(schema, function)
        self._name = source.name
        self._embedder = embedder(function, self._field, services.models)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self._name,)

    def fill(self, inputs: Sequence[pa.Array]) -> pa.Array:
        """Equal texts are embedded once."""
        (column,) = inputs
        if column.null_count:
            raise InvalidParameter(f"the input field {self._name} of an embedding function holds a null")
        if not len(column):
            return pa.array([], arrow_type(self._field))
        distinct = column.dictionary_encode()
        texts = distinct.dictionary.to_pylist()
        if "" in texts:
            raise InvalidParameter(
                "There is an empty string in the input data, TextEmbedding function does not support empty text"
            )
        vectors = self._embedder.embed(texts, Purpose.DOCUMENT)
        if len(texts) < len(column):
            vectors = vectors[distinct.indices.to_numpy(zero_copy_only=False)]
        return vectors_to_arrow(vectors)

    def queries(self, texts: Sequence[str], analyzer_name: str = "") -> Queries:
        if analyzer_name:
            raise InvalidParameter(f"analyzer_name [{analyzer_name[:100]}] goes with the search of a BM25 field")
        if "" in texts:
            raise InvalidParameter(
                "There is an empty string in the queries, TextEmbedding function does not support empty text"
            )
        vectors: Any = self._embedder.embed(texts, Purpose.QUERY)
        kind = self._field.data_type
        if kind is DataType.FLOAT_VECTOR:
            return Queries(data_type=kind, vectors=vectors)
        return Queries(data_type=kind, raw=tuple(vector.tobytes() for vector in vectors))

    def probe(self, *, ask: bool) -> None:
        """Raise InvalidParameter unless the model may be asked; with `ask`, embed one word too, so that a model that
        does not answer, or answers other vectors, is known. Then raises as `fill` does."""
        self._embedder.check()
        if ask:
            self._embedder.embed(["check"], Purpose.DOCUMENT)


# -- what the schema says -----------------------------------------------------------------------
def fields_of(schema: CollectionSchema, function: FunctionSchema) -> tuple[FieldSchema, FieldSchema]:
    """The text field and the vector field. Raises InvalidParameter for others."""
    if len(function.input_field_names) != 1:
        raise InvalidParameter("TextEmbedding function input field must be a VARCHAR/TEXT field")
    if len(function.output_field_names) != 1:
        raise InvalidParameter(
            f"Text function should only have one output field, but now is {len(function.output_field_names)}"
        )
    source = _field(schema, function, function.input_field_names[0])
    target = _field(schema, function, function.output_field_names[0])
    if source.data_type not in _TEXT_TYPES:
        raise InvalidParameter("TextEmbedding function input field must be a VARCHAR/TEXT field")
    if source.nullable:
        raise InvalidParameter(
            f"function input field cannot be nullable: function {function.name}, field {source.name}"
        )
    if target.data_type not in _VECTOR_TYPES:
        raise InvalidParameter("TextEmbedding function output field must be a FloatVector or Int8Vector field")
    return source, target


def _field(schema: CollectionSchema, function: FunctionSchema, name: str) -> FieldSchema:
    field = next((field for field in schema.fields if field.name == name), None)
    if field is None:
        raise InvalidParameter(f"function {function.name}: field {name} not found in the schema")
    return field


def embedder(function: FunctionSchema, field: FieldSchema, models: Models) -> Embedder:
    """What embeds for a function. Raises InvalidParameter for parameters that its provider does not take; asks nobody
    and needs no key yet."""
    params = {key.lower(): value for key, value in function.params.items()}
    name = params.get("provider", "").strip().lower()
    shape = Shape(field.data_type, field.dim)
    dim = _dim(params, field)
    if name == PYTHON:
        return _callable(params, models, shape)
    if name == LOCAL:
        return _local(params, models, shape)
    if name in APIS:
        return _remote(name, params, models, shape, dim)
    raise InvalidParameter(
        f"Unsupported text embedding service provider: [{params.get('provider', '')[:100]}] , "
        f"list of supported [{', '.join(PROVIDERS)}]"
    )


def _dim(params: Params, field: FieldSchema) -> int:
    """The dimension that the parameters name, 0 when they name none."""
    text = params.get("dim", "0")
    dim = whole_number(text)
    if dim is None or dim < 0:
        raise InvalidParameter(f"dimension [{text[:40]}] provided in Function params is not a valid int")
    if dim not in (0, field.dim):
        raise InvalidParameter(
            f"Function output field:[{field.name}]'s dimension [{field.dim}] does not match the dimension [{dim}] "
            "provided in Function params."
        )
    return dim


def _check_known(who: str, params: Params, known: Sequence[str]) -> None:
    for key in params:
        if key not in known:
            raise InvalidParameter(f"{who}: unknown parameter {key[:100]}, known are {', '.join(known)}")


# -- providers ----------------------------------------------------------------------------------
def _remote(name: str, params: Params, models: Models, shape: Shape, dim: int) -> RemoteEmbedder:
    api, who = APIS[name], f"embedding provider {name}"
    _check_known(who, params, (*_COMMON, *api.options))
    model = params.get("model_name", "").strip()
    if api.needs_model and not model:
        raise InvalidParameter(f"{who}: model_name must be given")
    if shape.kind not in api.kinds:
        raise InvalidParameter(f"{who}: Unsupport output type: {shape.kind.wire_name}")
    options = {key: _option(who, key, params[key], read) for key, read in api.options.items() if key in params}
    parts = {part: str(options.pop(key)) for key, part in _PLACES.items() if key in options}
    if name == "vertexai":
        parts.setdefault("location", "us-central1")
    if "region" in api.options and "region" not in parts:
        raise InvalidParameter("Missing AWS Service region. Please pass `region` param.")
    if name == "azure_openai":
        parts["resource"] = models.targets.resource(name)
    wanted = Wanted(
        who=who,
        provider=name,
        home=api.home,
        path=api.path,
        endpoint=params.get("endpoint", "").strip(),
        credential=params.get("credential", "").strip(),
        variables=api.variables,
        auth=api.auth,
        parts={**parts, "model": model},
    )
    template = Asked(texts=(), purpose=Purpose.DOCUMENT, model=model, dim=dim, kind=shape.kind, options=options)
    return RemoteEmbedder(models, api, wanted, template, _batch(who, params, api, model), shape)


def _option(who: str, key: str, text: str, read: Callable[[str], Any]) -> Any:
    value = read(text)
    if value is None:
        raise InvalidParameter(f"{who}: [{key} param's value: {text[:100]}] is invalid")
    return value


def _batch(who: str, params: Params, api: EmbeddingApi, model: str) -> int:
    most = api.batch if api.batch_of is None else api.batch_of(model)
    text = params.get("max_client_batch_size")
    if text is None:
        return most
    size = whole_number(text)
    largest = MAX_BATCH if api.own_batch else most
    if size is None or not 1 <= size <= largest:
        raise InvalidParameter(
            f"{who}: [max_client_batch_size param's value: {text[:40]}] is not a valid number, should be in range "
            f"[1, {largest}]"
        )
    return size


def _callable(params: Params, models: Models, shape: Shape) -> CallableEmbedder:
    _check_known("embedding provider python", params, ("provider", "model_name", "dim"))
    name = params.get("model_name", "").strip()
    if not name:
        raise InvalidParameter("embedding provider python: model_name must be the name of a registered embedding")
    return CallableEmbedder(models, name, shape)


def _local(params: Params, models: Models, shape: Shape) -> LocalEmbedder:
    from redkite.functions.local import POOLINGS, RUNTIMES, place_of

    who = "embedding provider local"
    known = (
        "provider", "model_name", "dim", "runtime", "pooling", "normalize", "max_length", "ingestion_prompt",
        "search_prompt",
    )  # fmt: skip
    _check_known(who, params, known)
    name = params.get("model_name", "").strip()
    if not name:
        raise InvalidParameter(f"{who}: model_name must be a folder, or the name of a model")
    if shape.kind is not DataType.FLOAT_VECTOR:
        raise InvalidParameter(f"{who}: Unsupport output type: {shape.kind.wire_name}")
    readers: dict[str, Callable[[str], Any]] = {
        "runtime": lambda text: text if text in RUNTIMES else None,
        "pooling": lambda text: text if text in POOLINGS else None,
        "normalize": truth,
        "max_length": lambda text: n if (n := whole_number(text)) is not None and 1 <= n <= MAX_TOKENS else None,
    }
    given = {key: _option(who, key, params[key], read) for key, read in readers.items() if key in params}
    prompts = {purpose: params.get(key, "") for purpose, key in PROMPTS.items()}
    return LocalEmbedder(models, place_of(who, name, models.settings, **given), prompts, shape)
