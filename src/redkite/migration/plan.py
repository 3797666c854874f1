"""What a migration is about: the collections of a source as they will be, their rows by portions, and what is lost."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from redkite.client.index_params import IndexParams
from redkite.client.schema import CollectionSchema
from redkite.errors import InvalidFieldName
from redkite.model.limits import LIMITS
from redkite.model.rules.names import check_field_name

Place = dict[str, Any]
"""How far a collection was read, as JSON: what its source needs to go on behind it. Empty at the beginning."""
_NO_NAME = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What may be said about a migration, beside from where to where."""

    collections: tuple[str, ...] = ()
    """Only these; all when empty."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Source name -> name at the target."""
    key: str = ""
    """Of sources without a primary key (LanceDB, Parquet): the column that is one."""
    vector: str = ""
    """Of Parquet: the column of vectors, where it cannot be told."""
    metric: str = ""
    """Of sources that know none (LanceDB without an index, Parquet)."""
    typed: bool = False
    """Payload and metadata become columns where the first rows agree on their types, rather than dynamic keys."""
    batch: int = 1000
    """Rows of one write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One collection of a source, as it will be at the target."""

    source: str
    """Its name there."""
    name: str
    schema: CollectionSchema
    indexes: IndexParams
    rows: int
    """How many the source says there are; -1 when it cannot say."""
    key: str
    """The primary key that rows bring along; empty when the target makes the keys."""
    partitions: tuple[str, ...] = ()
    """Those to be made, and to be read one after the other."""
    aliases: tuple[str, ...] = ()
    shards: int | None = None
    key_partitions: int | None = None
    consistency: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What is not carried, or becomes something else."""
    own: Any = None
    """What the source wants to remember."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Some rows, in a form that `insert` takes."""

    rows: Any
    count: int
    place: Place
    """Behind these rows."""
    partition: str = ""


class Source(Protocol):
    """Somewhere that collections come from. It is read only."""

    kind: str
    notes: tuple[str, ...]
    """What is carried of no collection of it."""

    def found(self, wishes: Wishes) -> list[Found]:
        """Its collections, or those that are wished for. Raises CollectionNotFound for one that is not there."""
        ...

    def portions(self, found: Found, place: Place, size: int) -> Iterator[Portion]:
        """The rows of one behind a place, at most `size` at a time; never more than a few portions in memory."""
        ...

    def count(self, found: Found) -> int:
        """How many rows one has now; asked when all were read."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def valid_name(name: str) -> str:
    """A name as a collection may have it: what is no letter, digit or underscore becomes an underscore."""
    made = _NO_NAME.sub("_", name)
    return f"_{made}" if not made or made[0].isdigit() else made


def field_name(name: str, taken: Collection[str]) -> str:
    """What is called `name` elsewhere as the name of a field that no other field has."""
    made = valid_name(name)[: LIMITS.max_name_length - 8]
    while made in taken or not is_field_name(made):
        made += "_"
    return made


def is_field_name(name: str) -> bool:
    """Whether a field may be called so as it is."""
    try:
        return check_field_name(name) == name
    except InvalidFieldName:
        return False


def shown(address: str) -> str:
    """An address as it may be printed and kept: without its user, password and settings."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def renamed(source: str, wishes: Wishes) -> tuple[str, tuple[str, ...]]:
    """(what a collection will be called, a note where that is not what it was called)"""
    name = wishes.rename.get(source) or valid_name(source)
    if name == source or source in wishes.rename:
        return name, ()
    return name, (f"it is called {name}: names have letters, digits and underscores",)
