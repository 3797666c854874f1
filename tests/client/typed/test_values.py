"""Values that a model's types do not allow, and what becomes of classes within classes."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, List  # noqa: UP035  the older spelling is what is tested
from uuid import UUID

import numpy as np
import pydantic
import pytest

from redkite import MilvusClient, ParamError
from redkite.errors import DataNotMatchException
from redkite.typed import Dynamic, Key, Named, Structs, Vector, shape_of

KNOWN = UUID("cc1593ef-1026-4e9c-9765-8cd7c831d5a7")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Bird:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    colour: Any = Colour.RED
    ring: Any = KNOWN


Bird.__annotations__ |= {"colour": "Colour", "ring": "UUID"}  # what programs give is not checked by their types


class Leg(pydantic.BaseModel):
    length: int


@dataclass
class Heron:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    one: Leg
    legs: list[Leg]
    named: dict[str, Leg] | None = None


@dataclass
class Loose:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    rest: Annotated[dict[str, Any] | None, Dynamic()] = field(default_factory=dict)


@dataclass
class TwoDicts(Loose):
    more: Annotated[dict[str, Any], Dynamic()] = field(default_factory=dict)


@dataclass
class Twice:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    a: Annotated[int, Named("b")] = 0
    b: int = 0


@dataclass
class Meta:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    a: Annotated[int, Named("$meta")] = 0


@dataclass
class BareStructs:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    parts: Annotated[List, Structs(3)] = field(default_factory=list)  # type: ignore[type-arg]  # noqa: UP006


@dataclass
class BareList:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    values: List = field(default_factory=list)  # type: ignore[type-arg]  # noqa: UP006


@pytest.fixture
def client(tmp_path: Path) -> Iterator[MilvusClient]:
    with MilvusClient(str(tmp_path / "typed.db")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": "purple"}, "field `colour`: 'purple' is not a valid Colour"),
        ({"ring": 5}, "field `ring`: 5 is no UUID"),
        ({"ring": "nothing"}, "field `ring`: 'nothing' is no UUID"),
    ],
)
def test_a_value_that_could_never_be_read_again_is_not_written(
    client: MilvusClient, given: dict[str, Any], message: str
) -> None:
    birds = client.collection(Bird)
    with pytest.raises(DataNotMatchException, match=message):
        birds.insert([Bird(1, [1, 2]), Bird(2, [1, 2], **given)])
    assert birds.count() == 0
    birds.insert([Bird(1, [1, 2]), Bird(2, [1, 2], "blue", str(KNOWN))])
    assert birds.get(1) == Bird(1, [1, 2], Colour.RED, KNOWN)
    assert birds.get(2) == Bird(2, [1, 2], Colour.BLUE, KNOWN)


def test_pydantic_models_within_a_dataclass_come_back_as_themselves(client: MilvusClient) -> None:
    herons = client.collection(Heron)
    written = Heron(1, [1, 2], Leg(length=1), [Leg(length=2), Leg(length=3)], {"left": Leg(length=4)})
    herons.insert(written)
    assert herons.get(1) == written


def test_none_is_no_dynamic_key_at_all(client: MilvusClient) -> None:
    loose = client.collection(Loose)
    loose.insert([Loose(1, [1, 2], None), Loose(2, [1, 2], {"x": 1})])
    assert [one.rest for one in loose.get_many([1, 2])] == [{}, {"x": 1}]


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (TwoDicts, "TwoDicts has several dicts of dynamic keys"),
        (Twice, "Twice has several fields called b"),
        (Meta, r"field `a`: \$meta holds the dynamic keys"),
        (BareStructs, "field `parts`: an array of structs is a list of objects of a class"),
    ],
)
def test_a_class_whose_values_would_be_lost_is_refused(cls: type, message: str) -> None:
    with pytest.raises(ParamError, match=message):
        shape_of(cls)


def test_a_list_of_nothing_said_is_json(client: MilvusClient) -> None:
    lists = client.collection(BareList)
    lists.insert(BareList(1, [1, 2], [1, "a", None]))
    assert lists.get(1) == BareList(1, [1, 2], [1, "a", None])


def test_a_class_that_reads_other_types_than_there_are_is_refused(client: MilvusClient) -> None:
    herons = client.collection(Heron)
    for wrong in ({"id": str}, {"vector": Any}, {"one": int}, {"id": Leg}):
        ((name, _),) = wrong.items()
        with pytest.raises(ParamError, match=rf"Made.{name} wants \w+, and `{name}` of Heron is \w+"):
            herons.reading(make_dataclass("Made", list(wrong.items())))
    herons.insert(Heron(1, [1, 2], Leg(length=1), []))
    part: type[Any] = make_dataclass("Part", [("id", float), ("vector", list[float]), ("one", dict)])
    (row,) = herons.reading(part).query(limit=1)
    assert (row.id, row.vector, row.one) == (1, [1, 2], {"length": 1})


@dataclass
class Wing:
    span: float
    joints: tuple[float, ...] = ()
    worn: float | None = None


@dataclass
class Kite:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    wing: Wing = field(default_factory=lambda: Wing(1.5))
    notes: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "given",
    [
        {"wing": Wing(math.nan)}, {"wing": Wing(1.0, (2.0, math.inf))}, {"notes": {"a": [1, {"b": -math.inf}]}},
        {"notes": {"a": np.array([1.0, np.nan])}}, {"notes": {"leg": np.float32("nan")}},
    ],
)  # fmt: skip
def test_numbers_that_json_has_no_word_for_make_no_row_that_cannot_be_read(
    client: MilvusClient, given: dict[str, Any]
) -> None:
    kites = client.collection(Kite)
    with pytest.raises(DataNotMatchException, match=r"field `\w+` is not JSON: it holds a number that is not finite"):
        kites.insert([Kite(1, [1, 2]), Kite(2, [1, 2], **given)])
    kites.insert(Kite(3, [1, 2], notes={"nothing": None, "text": "null"}))
    assert list(kites.iterate()) == [Kite(3, [1, 2], notes={"nothing": None, "text": "null"})]


def test_what_others_stored_and_a_class_cannot_hold_names_its_field(client: MilvusClient) -> None:
    kites = client.collection(Kite)
    client.insert("kite", {"id": 1, "vector": [1.0, 2.0], "wing": {"span": "wide"}, "notes": {}})
    with pytest.raises(DataNotMatchException, match="what is stored in field `wing` is no Wing: Expected `float`"):
        kites.get(1)


def test_typed_rows_and_hits_travel_to_other_processes(client: MilvusClient) -> None:
    kites = client.collection(Kite)
    kites.insert([Kite(1, [1, 2]), Kite(2, [3, 4])])
    rows, hits = kites.query("id > 0"), kites.search([1.0, 2.0])
    assert pickle.loads(pickle.dumps(rows)) == rows
    assert pickle.loads(pickle.dumps(hits)) == hits
    assert pickle.loads(pickle.dumps(hits)) == hits, "also what was looked at"


@dataclass
class Feather:
    colour: str


@dataclass
class Tail:
    id: Annotated[int, Key()]
    vector: Annotated[list[float], Vector(2)]
    feathers: Annotated[list[Feather], Structs(3)] = field(default_factory=list)


@pytest.mark.parametrize("given", [[5], 5, [Feather("red"), None]])
def test_what_is_no_struct_is_told(client: MilvusClient, given: Any) -> None:
    with pytest.raises(DataNotMatchException, match="an array of structs takes a list of objects of its class"):
        client.collection(Tail).insert(Tail(1, [1, 2], given))
