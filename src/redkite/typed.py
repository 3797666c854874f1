"""Collections whose rows are objects of a class of the program's.

from dataclasses import dataclass
from typing import Annotated

from redkite import MilvusClient
from redkite.typed import Key, Varchar, Vector

@dataclass
class Bird:
    id: Annotated[int, Key()]
    name: Annotated[str, Varchar(100)]
    wingspan: float
    song: Annotated[list[float], Vector(4, metric="L2")]

birds = MilvusClient("./demo.db").collection(Bird)
birds.insert(Bird(1, "red kite", 1.75, [0.1, 0.2, 0.3, 0.4]))
birds.search([0.1, 0.2, 0.3, 0.4])[0].entity.name
"""

from __future__ import annotations

from redkite.client.typed.aio import AsyncTypedCollection, AsyncTypedReads
from redkite.client.typed.comparison import ModelMismatch
from redkite.client.typed.marks import (
    BM25,
    Array,
    ClusteringKey,
    Default,
    Described,
    Dynamic,
    Embedded,
    Index,
    Key,
    Named,
    Options,
    PartitionKey,
    Sparse,
    Structs,
    Unread,
    Varchar,
    Vector,
)
from redkite.client.typed.results import TypedHit, TypedHits, TypedRows
from redkite.client.typed.shape import shape_of
from redkite.client.typed.sync import TypedCollection, TypedReads
from redkite.model.types import DataType

__all__ = [
    "BM25", "Array", "AsyncTypedCollection", "AsyncTypedReads", "ClusteringKey", "DataType", "Default", "Described",
    "Dynamic", "Embedded", "Index", "Key", "ModelMismatch", "Named", "Options", "PartitionKey", "Sparse", "Structs",
    "TypedCollection", "TypedHit", "TypedHits", "TypedReads", "TypedRows", "Unread", "Varchar", "Vector", "shape_of",
]  # fmt: skip
