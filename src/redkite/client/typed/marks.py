"""What a model says about its fields, beyond their Python types: `title: Annotated[str, Varchar(200)]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redkite.client.schema import Function
from redkite.model.limits import LIMITS
from redkite.model.types import DataType


@dataclass(frozen=True, slots=True)
class Key:
    """The primary key: of an `int` field, or of a `str` one."""

    auto: bool = False
    """The server makes the keys; the field then wants a default in the model, and what it holds is not sent."""


@dataclass(frozen=True, slots=True)
class Varchar:
    """A text of limited length. A `str` without this mark may have as many bytes as any VARCHAR."""

    max_length: int = LIMITS.max_varchar_length
    """Bytes of UTF-8."""
    analyzer: Mapping[str, Any] | None = None
    """How it is taken apart into words, such as `{"type": "english"}`; `BM25` and `match` bring the standard one."""
    match: bool = False
    """Filters may ask for words: `text_match(title, 'kite')`."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector: of a `list[float]` or numpy field a dense one, of `bytes` a binary one."""

    dim: int
    metric: str = "COSINE"
    index: str = "AUTOINDEX"
    type: DataType = DataType.FLOAT_VECTOR
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of the index: `{"M": 16, "efConstruction": 200}`."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """A sparse vector, of a `dict[int, float]`."""

    metric: str = "IP"
    index: str = "SPARSE_INVERTED_INDEX"
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Array:
    """A list of numbers, flags or texts. A `list[int]` without this mark may have as many elements as any ARRAY."""

    capacity: int = LIMITS.max_array_capacity
    max_length: int = LIMITS.max_varchar_length
    """Bytes of one text of it."""


@dataclass(frozen=True, slots=True)
class Structs:
    """A list of objects of another model, each of whose fields is a column: numbers, flags, texts and vectors. Vectors
    among them have an index of their own, over the lists (MAX_SIM) of the metric that their mark names."""

    capacity: int = LIMITS.max_array_capacity


@dataclass(frozen=True, slots=True)
class BM25:
    """On a text: keep a sparse vector of its words, for full-text search, beside it."""

    field: str = ""
    """What that vector is called; by default like the text, with `_words` behind."""
    index: str = "SPARSE_INVERTED_INDEX"
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of the index: `{"bm25_k1": 1.2, "bm25_b": 0.75}`."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """On a vector: it is made of a text of the row by a model; see the page about functions."""

    of: str
    """The field with the text."""
    provider: str
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of the function, such as `{"model_name": "text-embedding-3-small"}`."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index over the values of a field that is no vector."""

    type: str = "AUTOINDEX"
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """Rows are spread over partitions by this field, and filters on it look only where its values are."""


@dataclass(frozen=True, slots=True)
class ClusteringKey:
    """Compaction may put rows together that are alike in this field."""


@dataclass(frozen=True, slots=True)
class Default:
    """What the server stores for rows that say nothing, or None, about the field."""

    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Dynamic:
    """On a `dict`: it holds the keys that have no field of their own."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Written, but not read back unless a read names it: large vectors, mostly. The field wants a default."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the field is called in the collection, where that is not its name in the model."""

    name: str


@dataclass(frozen=True, slots=True)
class Described:
    """A text for whoever reads the schema."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a model says about its collection as a whole: `__collection__ = Options(name="books")` in its body."""

    name: str = ""
    """By default the class's own name in small letters: `BlueBird` is `blue_bird`."""
    description: str = ""
    shards: int | None = None
    partitions: int | None = None
    """Behind a partition key."""
    consistency: str | None = None
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    functions: Sequence[Function] = ()
    """Beyond those of `BM25` and `Embedded`. A field that one fills wants a default in the model and is not sent."""


MARKS = (
    Key, Varchar, Vector, Sparse, Array, BM25, Embedded, Index, PartitionKey, ClusteringKey, Default, Dynamic, Unread,
    Named, Described, Structs,
)  # fmt: skip
