"""What type checkers see of typed collections. `make lint` reads this; nothing runs it.

An ignored error that is none any more is an error itself, so the refusals below are checked too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, assert_type

from redkite import AsyncMilvusClient, MilvusClient
from redkite.typed import (
    AsyncTypedCollection,
    Key,
    TypedCollection,
    TypedHit,
    TypedHits,
    TypedReads,
    TypedRows,
    Varchar,
    Vector,
)


@dataclass
class Book:
    id: Annotated[int, Key()]
    title: Annotated[str, Varchar(100)]
    vector: Annotated[list[float], Vector(4)]


@dataclass
class Title:
    title: str


def blocking(client: MilvusClient) -> None:
    books = client.collection(Book)
    assert_type(books, TypedCollection[Book])
    assert_type(books.get(1), Book | None)
    assert_type(books.get_many([1, 2]), list[Book])
    assert_type(books.query("id > 1"), TypedRows[Book])
    assert_type(books.query("id > 1")[0], Book)
    assert_type(books.query("id > 1")[0:2], list[Book])
    assert_type(books.search([0.0] * 4), TypedHits[Book])
    assert_type(books.search([0.0] * 4)[0], TypedHit[Book])
    assert_type(books.search([0.0] * 4)[0].entity, Book)
    assert_type(books.search([0.0] * 4)[0].entity.title, str)
    assert_type(books.search([0.0] * 4)[0].distance, float)
    assert_type(books.search_many([[0.0] * 4]), list[TypedHits[Book]])
    assert_type([book.title for book in books.iterate()], list[str])
    assert_type(books.nearest([0.0] * 4), Iterator[TypedHit[Book]])
    assert_type(books.reading(Title), TypedReads[Title])
    assert_type(books.reading(Title).search([0.0] * 4)[0].entity, Title)
    assert_type(books.insert(Book(1, "a", [0.0] * 4)), list[int | str])
    assert_type(books.insert(Book(n, "a", [0.0] * 4) for n in range(3)), list[int | str])
    assert_type(books.delete(1), int)
    books.insert({"id": 1})  # type: ignore[dict-item]
    books.insert([Title("a")])  # type: ignore[list-item]
    books.search([0.0] * 4)[0].entity.author  # type: ignore[attr-defined]
    books.search([0.0] * 4, limits=3)  # type: ignore[call-arg]
    books.reading(Title).insert(Title("a"))  # type: ignore[attr-defined]


async def awaited(client: AsyncMilvusClient) -> None:
    books = await client.collection(Book)
    assert_type(books, AsyncTypedCollection[Book])
    assert_type(await books.get(1), Book | None)
    assert_type(await books.query("id > 1"), TypedRows[Book])
    assert_type((await books.search([0.0] * 4))[0].entity, Book)
    assert_type(await books.search_many([[0.0] * 4]), list[TypedHits[Book]])
    assert_type(books.iterate(), AsyncIterator[Book])
    assert_type([hit.entity.title async for hit in books.nearest([0.0] * 4)], list[str])
    assert_type((await books.reading(Title).search([0.0] * 4))[0].entity, Title)
    await books.insert({"id": 1})  # type: ignore[dict-item]
