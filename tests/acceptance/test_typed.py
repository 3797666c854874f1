"""Typed collections: one definition, in process and over the wire, blocking and awaited."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

from redkite import AnnSearchRequest, CollectionNotFound, DataType, ParamError, RRFRanker
from redkite.typed import (
    BM25,
    Array,
    Default,
    Dynamic,
    Index,
    Key,
    ModelMismatch,
    Named,
    Options,
    PartitionKey,
    Sparse,
    Structs,
    Unread,
    Varchar,
    Vector,
    shape_of,
)

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
Vec = npt.NDArray[np.float32]


class Genre(StrEnum):
    NOVEL = "novel"
    POEMS = "poems"


class Stars(Enum):
    ONE = 1
    TWO = 2


@dataclass
class Place:
    city: str
    year: int


@dataclass
class Book:
    id: Annotated[int, Key()]
    title: Annotated[str, Varchar(200)]
    vector: Annotated[list[float], Vector(4, metric="L2")]
    pages: int | None = None


@dataclass(kw_only=True)
class Everything:
    key: Annotated[str, Key(), Varchar(20)]
    genre: Annotated[Genre, PartitionKey()]
    text: Annotated[str, Varchar(500), BM25()]
    dense: Annotated[Vec, Vector(8, index="HNSW", params={"M": 8, "efConstruction": 32})]
    half: Annotated[list[float] | None, Vector(4, type=DataType.BFLOAT16_VECTOR, metric="IP"), Unread()] = None
    bits: Annotated[bytes, Vector(16)] = b"\x00\x01"
    words: Annotated[dict[int, float], Sparse()] = field(default_factory=lambda: {1: 1.0})
    small: Annotated[int, DataType.INT8] = 3
    real: Annotated[float, DataType.FLOAT, Index("STL_SORT")] = 0.5
    flag: bool = True
    when: datetime | None = None
    which: UUID | None = None
    stars: Stars = Stars.ONE
    mood: Literal["good", "bad"] = "good"
    tags: Annotated[list[str], Array(8, max_length=20)] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    place: Place | None = None
    places: list[Place] = field(default_factory=list)
    about: Any = None
    colour: Annotated[str | None, Varchar(10), Default("red"), Named("color")] = None
    rest: Annotated[dict[str, Any], Dynamic()] = field(default_factory=dict)


class Inner(pydantic.BaseModel):
    n: int


class Paper(pydantic.BaseModel):
    id: Annotated[int | None, Key(auto=True)] = None
    title: Annotated[str, Varchar(100)]
    vector: Annotated[list[float], Vector(4)]
    inner: Inner | None = None
    year: int = pydantic.Field(default=2000, alias="publishedIn")

    __collection__ = Options(description="papers", properties={"collection.ttl.seconds": "3600"})


class Struct(msgspec.Struct):
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(4, metric="IP")]
    name: str = "?"


@dataclass
class Chunk:
    text: Annotated[str, Varchar(50)]
    page: Annotated[int, DataType.INT32]
    vector: Annotated[list[float], Vector(2, metric="COSINE")]


@dataclass
class Chunked:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(4, metric="L2")]
    chunks: Annotated[list[Chunk], Structs(5)] = field(default_factory=list)


@dataclass
class Title:
    title: str


def books(count: int) -> list[Book]:
    return [Book(n, f"book {n}", [float(n), 0, 0, 1], None if n % 2 else n * 10) for n in range(count)]


def test_objects_written_are_found_again_as_objects(client: Any, name: str) -> None:
    collection = client.collection(Book, name)
    assert collection.insert(books(5)) == [0, 1, 2, 3, 4]
    assert collection.insert(Book(9, "one", [9.0, 0, 0, 1])) == [9]
    assert collection.insert([]) == []
    assert collection.get(2) == Book(2, "book 2", [2.0, 0, 0, 1], 20)
    assert collection.get(77) is None
    assert {book.id for book in collection.get_many([0, 1, 77])} == {0, 1}
    assert collection.count() == 6
    assert collection.count("id < {top}", filter_params={"top": 3}) == 3
    rows = collection.query("pages > 0", limit=10, order_by="id:desc")
    assert list(rows) == [Book(4, "book 4", [4.0, 0, 0, 1], 40), Book(2, "book 2", [2.0, 0, 0, 1], 20)]
    assert rows.to_arrow().column("id").to_pylist() == [4, 2]


def test_hits_have_their_object_and_their_distance(client: Any, name: str) -> None:
    collection = client.collection(Book, name)
    collection.insert(books(6))
    hits = collection.search([3.0, 0, 0, 1], limit=2)
    assert hits[0].entity == Book(3, "book 3", [3.0, 0, 0, 1], None)
    assert (hits[0].id, hits[0].distance, hits[0].score) == (3, 0.0, 0.0)
    assert hits.ids == [hit.id for hit in hits]
    assert hits.distances == [0.0, 1.0]
    assert [hit.id for hit in collection.search(np.array([5, 0, 0, 1], np.float32), limit=1, filter="id < 5")] == [4]
    many = collection.search_many(np.array([[0, 0, 0, 1], [5, 0, 0, 1]], np.float32), limit=1)
    assert [hits[0].entity.title for hits in many] == ["book 0", "book 5"]
    near = collection.nearest([0.0, 0, 0, 1], batch_size=2)
    assert [hit.entity.id for hit in near] == [0, 1, 2, 3, 4, 5]
    assert [book.id for book in collection.iterate("id > 1", batch_size=2, limit=3)] == [2, 3, 4]
    assert [len(page) for page in collection.pages(batch_size=4)] == [4, 2]


def test_an_object_is_replaced_and_deleted(client: Any, name: str) -> None:
    collection = client.collection(Book, name)
    collection.insert(books(4))
    assert collection.upsert(Book(1, "new", [1.0, 1, 1, 1])) == [1]
    found = collection.get(1)
    assert found is not None
    assert found.title == "new"
    assert collection.delete([0, 1]) == 2
    assert collection.delete(filter="id == 2") == 1
    assert [book.id for book in collection.iterate()] == [3]
    collection.drop()
    assert not client.has_collection(name)


def test_every_kind_of_field_comes_back_as_it_was(client: Any, name: str) -> None:
    collection = client.collection(Everything, name)
    full = Everything(
        key="a", genre=Genre.POEMS, text="The red kite circles", dense=np.arange(8, dtype=np.float32),
        half=[1.0, 2, 3, 4], bits=b"\xff\x00", words={7: 0.5}, small=-3, real=0.25, flag=False,
        when=datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), which=UUID(int=7), stars=Stars.TWO, mood="bad",
        tags=["x", "y"], numbers=[1, 2], place=Place("Rome", 1900), places=[Place("Oslo", 1)], about=[1, {"a": None}],
        colour="blue", rest={"loose": 1, "more": [2]},
    )  # fmt: skip
    plain = Everything(key="b", genre=Genre.NOVEL, text="A wren", dense=np.ones(8, np.float32))
    collection.insert([full, plain])
    for one in (full, plain):
        found = collection.get(one.key)
        assert found is not None
        for each in Everything.__dataclass_fields__:
            mine, theirs = getattr(one, each), getattr(found, each)
            if each == "dense":
                assert isinstance(theirs, np.ndarray)
                assert theirs.dtype == np.float32
                assert theirs.tolist() == mine.tolist()
            elif each == "half":
                assert theirs is None  # written, not read back
            elif each == "colour" and mine is None:
                assert theirs == "red"
            else:
                assert theirs == mine, each
                assert type(theirs) is type(mine), each


def test_a_text_is_searched_by_its_words(client: Any, name: str) -> None:
    collection = client.collection(Everything, name)
    texts = ("a red kite above the hills", "the wren sings", "kites are red and brown")
    collection.insert([
        Everything(key=str(n), genre=Genre.NOVEL, text=text, dense=np.full(8, n + 1, np.float32))
        for n, text in enumerate(texts)
    ])  # fmt: skip
    assert [hit.id for hit in collection.search("wren", limit=3)] == ["1"]
    assert [hits.ids for hits in collection.search_many(["kite", "sings"], limit=3)] == [["0"], ["1"]]
    with pytest.raises(ParamError, match="by vectors wants `using`: one of dense, half, bits, words"):
        collection.search([1.0] * 8)
    ranked = collection.hybrid_search(
        [
            AnnSearchRequest([[1.0] * 8], "dense", {}, 3),
            AnnSearchRequest(["wren"], "text_words", {}, 3),
        ],
        RRFRanker(),
        limit=2,
    )
    assert ranked[0].entity.text == "the wren sings"


def test_a_pydantic_model_validates_what_comes_back_and_leaves_the_key_to_the_server(client: Any, name: str) -> None:
    collection = client.collection(Paper, name)
    keys = collection.insert([
        Paper(title="a", vector=[1, 0, 0, 0], inner=Inner(n=1), publishedIn=1999),
        Paper(title="b", vector=[0, 1, 0, 0]),
    ])  # fmt: skip
    assert len(keys) == 2
    found = collection.get(keys[0])
    assert found == Paper(id=keys[0], title="a", vector=[1, 0, 0, 0], inner=Inner(n=1), publishedIn=1999)
    described = client.describe_collection(name)
    assert described["description"] == "papers"
    assert described["properties"]["collection.ttl.seconds"] == "3600"
    found.title = "c"
    collection.upsert(found)
    assert {paper.title for paper in collection.query(limit=5)} == {"b", "c"}


def test_a_struct_of_msgspec_is_a_model_too(client: Any, name: str) -> None:
    collection = client.collection(Struct, name)
    collection.insert([Struct(1, [1, 0, 0, 0], "x"), Struct(2, [0, 1, 0, 0])])
    assert collection.search([1.0, 0, 0, 0], limit=1)[0].entity == Struct(1, [1.0, 0, 0, 0], "x")


def test_some_fields_are_read_as_another_class(client: Any, name: str) -> None:
    collection = client.collection(Book, name)
    collection.insert(books(3))
    titles = collection.reading(Title)
    assert titles.search([2.0, 0, 0, 1], limit=1)[0].entity == Title("book 2")
    assert [title.title for title in titles.iterate()] == ["book 0", "book 1", "book 2"]


def test_a_list_of_objects_is_an_array_of_structs(client: Any, name: str) -> None:
    collection = client.collection(Chunked, name)
    rows = [
        Chunked(1, [1.0, 0, 0, 0], [Chunk("a", 1, [1.0, 0]), Chunk("b", 2, [0.0, 1])]),
        Chunked(2, [0.0, 1, 0, 0]),
        Chunked(3, [0.0, 0, 1, 0], [Chunk("c", 3, [0.5, 0.5])]),
    ]
    collection.insert(rows)
    assert list(collection.iterate()) == rows
    assert collection.search([0.0, 0, 1, 0], limit=1)[0].entity == rows[2]
    assert client.describe_index(name, "chunks[vector]")["metric_type"] == "MAX_SIM_COSINE"
    assert client.collection(Chunked, name).count() == 3

    @dataclass
    class Other:
        text: Annotated[str, Varchar(50)]
        vector: Annotated[list[float], Vector(3)]

    differing = make_dataclass("Differing", [
        ("id", Annotated[int, Key()]),
        ("vector", Annotated[list[float], Vector(4, metric="L2")]),
        ("chunks", Annotated[list[Other], Structs(5)]),
    ])  # fmt: skip
    with pytest.raises(ModelMismatch) as caught:
        client.collection(differing, name)
    assert caught.value.differences == [
        "chunks[vector]: FLOAT_VECTOR 3 in the model, FLOAT_VECTOR 2 in the collection",
        "chunks[page]: absent in the model, INT32 in the collection",
    ]


def test_the_collection_is_made_once_and_opened_after_that(client: Any, name: str, sdk: Sdk) -> None:
    with pytest.raises(CollectionNotFound):
        client.collection(Book, name, create=False)
    client.collection(Book, name).insert(books(2))
    again = sdk.connect()
    assert again.collection(Book, name, create=False).count() == 2
    again.close()


def test_what_differs_from_the_stored_collection_is_said(client: Any, name: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=100)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    schema.add_field("isbn", DataType.VARCHAR, max_length=20)
    schema.add_field("note", DataType.VARCHAR, max_length=20, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=index)
    with pytest.raises(ModelMismatch) as caught:
        client.collection(Book, name)
    assert caught.value.differences == [
        "title: max_length=200 in the model, max_length=100 in the collection",
        "vector: dim=4 in the model, dim=8 in the collection",
        "pages: the model has it (INT64), the collection has not",
        "isbn: the collection wants it (VARCHAR), the model does not have it",
        "vector: metric L2 in the model, metric COSINE in the collection",
    ]
    assert f"collection {name} is not a collection of Book" in caught.value.message


def test_a_field_that_may_be_absent_does_not_make_another_collection_of_it(client: Any, name: str) -> None:
    client.collection(Book, name)
    client.add_collection_field(name, "added", DataType.INT64, nullable=True)
    collection = client.collection(Book, name)
    collection.insert(books(1))
    assert collection.get(0) == books(1)[0]


async def test_the_same_definition_is_awaited(sdk: Sdk, client: Any, name: str) -> None:
    async with sdk.connect_async() as there:
        collection = await there.collection(Book, name)
        assert await collection.insert(books(4)) == [0, 1, 2, 3]
        assert (await collection.search([2.0, 0, 0, 1], limit=1))[0].entity == books(3)[2]
        assert await collection.get(1) == books(2)[1]
        assert [hits[0].id for hits in await collection.search_many([[0.0, 0, 0, 1]], limit=1)] == [0]
        assert [book.id async for book in collection.iterate("id >= 2")] == [2, 3]
        assert [hit.id async for hit in collection.nearest([3.0, 0, 0, 1], batch_size=1, limit=2)] == [3, 2]
        assert len(await collection.query("id < 2")) == 2
        assert await collection.reading(Title).get(3) == Title("book 3")
        assert await collection.upsert(Book(1, "n", [0.0, 0, 0, 1])) == [1]
        assert await collection.delete(1) == 1
        assert await collection.count() == 3
        await collection.drop()
    assert not client.has_collection(name)


def test_a_definition_makes_the_same_schema_everywhere(client: Any, name: str) -> None:
    client.collection(Everything, name)
    described = client.describe_collection(name)
    stored = {each["name"]: each["type"] for each in described["fields"]}
    wanted = {each.name: each.dtype for each in shape_of(Everything).schema().fields}
    assert stored == wanted
    assert described["enable_dynamic_field"] is True
