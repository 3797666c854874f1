"""What all providers of embeddings have in common, and what a function says to one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.model.rules.numbers import truth, whole_number
from redkite.model.types import DataType

Vectors = npt.NDArray[np.float32] | npt.NDArray[np.int8]
Body = dict[str, Any]
Read = Callable[[str], Any]
"""From a parameter's text to its value; None for a text that is none."""
HF_ROUTE = "hf-inference"
"""The one way through Hugging Face's router that is known here."""
FLOATS = frozenset({DataType.FLOAT_VECTOR})
FLOATS_AND_BYTES = frozenset({DataType.FLOAT_VECTOR, DataType.INT8_VECTOR})


class Purpose(Enum):
    """What texts are: many models embed the two differently."""

    DOCUMENT = "document"
    QUERY = "query"


class Auth(Enum):
    """How a request shows its key."""

    BEARER = "bearer"
    API_KEY = "api-key"
    GOOGLE_KEY = "x-goog-api-key"
    SIGNED = "signed"
    """AWS Signature Version 4."""
    GOOGLE = "google"
    """A token that a service account's key is exchanged for."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What one request is about."""

    texts: Sequence[str]
    purpose: Purpose
    model: str = ""
    dim: int = 0
    """Where the function's parameters name one: models that can, then give vectors of it."""
    kind: DataType = DataType.FLOAT_VECTOR
    options: Mapping[str, Any] = {}
    """The provider's own parameters, read."""


class EmbeddingApi(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of API. `path` and `home` may hold {model}, {model_path} (its slashes kept), {region}, {location},
    {project} and {resource}."""

    path: str
    """Behind the endpoint."""
    body: Callable[[Asked], Body]
    vectors: Callable[[bytes, Asked], Any]
    """The reply -> its vectors in the order of the texts: lists of numbers, or a matrix."""
    batch: int
    """Texts of one request at most, unless the function says fewer or, where it may, more."""
    home: str = ""
    """The provider's own address; empty: the function must name one."""
    options: Mapping[str, Read] = {}
    needs_model: bool = True
    kinds: frozenset[DataType] = FLOATS
    auth: Auth = Auth.BEARER
    variables: tuple[str, ...] = ()
    """Of the key for `home`, in the environment, without Milvus's prefixes."""
    batch_of: Callable[[str], int] | None = None
    """The batch where it depends on the model."""
    characters: int = 1_000_000
    """Of all texts of one request, about: services count tokens. A text that is longer has a request to itself."""
    own_batch: bool = False
    """Whether a function may set any batch: it runs the service itself."""


class BadReply(ValueError):
    """A reply that does not say what it should. The text says why, and quotes nothing of it."""


def one_of(*values: str) -> Read:
    """Reads one of some texts."""
    return lambda text: text if text in values else None


def any_text(text: str) -> str | None:
    return text or None


FLAG: Read = truth
NUMBER: Read = whole_number


class Numbered(msgspec.Struct, frozen=True):
    """One vector of a reply that says which text it is of."""

    embedding: list[float] | str
    index: int | None = None


def in_order(vectors: Sequence[tuple[int | None, Any]], count: int) -> list[Any]:
    """Vectors, each with the number of its text (or none: they are in order). Raises BadReply when they are not those
    of all texts."""
    if len(vectors) != count:
        raise BadReply(f"{len(vectors)} vectors for {count} texts")
    placed: list[Any] = [None] * count
    for place, (index, vector) in enumerate(vectors):
        number = place if index is None else index
        if not 0 <= number < count or placed[number] is not None:
            raise BadReply(f"no vector, or two, for one of {count} texts")
        placed[number] = vector
    return placed
