"""Models: what they become, and what a wrong one is told."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pydantic
import pytest

from redkite import DataType, Function, FunctionType, MilvusClient, ParamError
from redkite.errors import DataNotMatchException
from redkite.typed import (
    BM25,
    Array,
    AsyncTypedCollection,
    AsyncTypedReads,
    Default,
    Described,
    Dynamic,
    Embedded,
    Index,
    Key,
    ModelMismatch,
    Options,
    Sparse,
    Structs,
    TypedCollection,
    TypedReads,
    Unread,
    Varchar,
    Vector,
    shape_of,
)


@dataclass
class Bird:
    id: Annotated[int, Key()]
    vector: Annotated[np.ndarray[Any, Any], Vector(2)]
    seen: dict[str, int] = field(default_factory=dict)


@dataclass
class Fish:
    id: int


def model(**annotations: Any) -> type:
    """A dataclass with a key, a vector and these fields."""
    whole = {"id": Annotated[int, Key()], "vector": Annotated[list[float], Vector(4)], **annotations}
    return make_dataclass("Made", list(whole.items()))


def test_a_field_says_its_type_its_flags_and_its_index() -> None:
    cls = model(
        title=Annotated[str | None, Varchar(50, match=True), Index("INVERTED"), Described("what it is called")],
        tags=Annotated[list[int], Array(7)],
        stars=Annotated[int | None, DataType.INT16, Default(3)],
    )
    shape = shape_of(cls)
    fields = {each.name: each for each in shape.schema().fields}
    title = fields["title"]
    assert (title.dtype, title.nullable, title.description) == (DataType.VARCHAR, True, "what it is called")
    assert title.params == {
        "max_length": 50, "enable_match": True, "enable_analyzer": True, "analyzer_params": {"type": "standard"}
    }  # fmt: skip
    tags = fields["tags"]
    assert (tags.dtype, tags.element_type, tags.params) == (DataType.ARRAY, DataType.INT64, {"max_capacity": 7})
    assert (fields["stars"].dtype, fields["stars"].default_value) == (DataType.INT16, 3)
    assert [param.to_dict() for param in shape.index_params()] == [
        {"field_name": "vector", "index_type": "AUTOINDEX", "index_name": "", "metric_type": "COSINE"},
        {"field_name": "title", "index_type": "INVERTED", "index_name": ""},
    ]


def test_the_collection_is_called_like_the_class_unless_it_says_otherwise() -> None:
    @dataclass
    class BlueBird:
        id: Annotated[int, Key]
        vector: Annotated[list[float], Vector(4)]

    @dataclass
    class Other(BlueBird):
        __collection__: ClassVar[Options] = Options(name="elsewhere")

    assert shape_of(BlueBird).name == "blue_bird"
    assert shape_of(Other).name == "elsewhere"


def test_a_bm25_text_has_a_field_of_words_and_a_function() -> None:
    shape = shape_of(model(text=Annotated[str, BM25(field="sparse", params={"bm25_b": 0.5})]))
    schema = shape.schema()
    assert [(f.name, f.dtype, f.is_function_output) for f in schema.fields][-1] == (
        "sparse", DataType.SPARSE_FLOAT_VECTOR, True
    )  # fmt: skip
    (function,) = schema.functions
    assert (function.type, function.input_field_names) == (FunctionType.BM25, ["text"])
    assert shape.target("kite") == "sparse"
    assert shape.target(["kite"]) == "sparse"
    assert shape.target([[1.0] * 4]) == "vector"


def test_an_embedded_vector_is_made_by_the_server() -> None:
    @dataclass
    class Doc:
        id: Annotated[int, Key()]
        text: str
        vector: Annotated[list[float] | None, Vector(4), Embedded("text", "openai", {"model_name": "m"})] = None

    shape = shape_of(Doc)
    (function,) = shape.schema().functions
    assert function.params == {"provider": "openai", "model_name": "m"}
    assert shape.columns([Doc(1, "a")], with_key=False) == {"id": [1], "text": ["a"]}
    assert shape.target("a") == "vector"


def test_functions_of_the_options_fill_fields_that_are_not_sent() -> None:
    @dataclass
    class Doc:
        id: Annotated[int, Key()]
        text: Annotated[str, Varchar(100, analyzer={"type": "english"})]
        bits: Annotated[bytes | None, Vector(64)] = None
        __collection__ = Options(functions=[Function("f", FunctionType.MINHASH, ["text"], ["bits"])])

    shape = shape_of(Doc)
    assert set(shape.columns([Doc(1, "a")], with_key=False)) == {"id", "text"}
    assert [each.name for each in shape.schema().fields if each.is_function_output] == ["bits"]


def test_keys_that_the_server_makes_are_sent_by_upserts_alone() -> None:
    @dataclass
    class Auto:
        vector: Annotated[list[float], Vector(4)]
        id: Annotated[int | None, Key(auto=True)] = None

    columns = shape_of(Auto).columns([Auto([1.0] * 4, 7)], with_key=True)
    assert columns["id"] == [7]
    assert "id" not in shape_of(Auto).columns([Auto([1.0] * 4)], with_key=False)


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({"id": int}, "Made has no primary key: mark a field with Annotated[int, Key()]"),
        ({"id": Annotated[float, Key()]}, "Primary key type must be DataType.INT64 or DataType.VARCHAR."),
        ({"id": Annotated[int, Key(auto=True)]}, "field `id` is made by the server, so it wants a default"),
        ({"other": Annotated[int, Key()]}, "Expected only one primary key field"),
        ({"odd": complex}, "field `odd`: a complex is no type of a field"),
        ({"odd": Annotated[str, Vector(4)]}, "field `odd`: a vector is a list[float], a numpy array or bytes, not str"),
        ({"odd": Annotated[list[float], Vector(4, type=DataType.INT64)]}, "field `odd`: INT64 is no dense vector"),
        ({"odd": Annotated[int, DataType.VARCHAR]}, "field `odd`: a int cannot be stored as VARCHAR"),
        ({"odd": Annotated[list[int], Array(0)]}, "field `odd`: an array of capacity 0 holds nothing"),
        ({"odd": Annotated[int, Varchar(3)]}, "field `odd`: Varchar says nothing about a INT64"),
        ({"odd": Annotated[list[dict[str, int]], Array(3)]}, "field `odd`: Array says nothing about a JSON"),
        ({"odd": Annotated[int, BM25()]}, "field `odd`: BM25 says nothing about a INT64"),
        ({"odd": Annotated[list[float], Vector(4), Index()]}, "field `odd`: Index says nothing about a FLOAT_VECTOR"),
        ({"odd": Annotated[list[float], Sparse()]}, "field `odd`: a sparse vector is a dict[int, float], not list"),
        ({"odd": Annotated[list[int], Structs()]}, "int is neither a dataclass nor a pydantic model"),
        ({"odd": Annotated[list[Fish], Structs(), Array(2)]}, "Array says nothing about an array of structs"),
        ({"odd": Annotated[dict[str, int], Structs()]}, "an array of structs is a list of objects of a class"),
        ({"odd": Annotated[list[Bird], Structs()]}, "field `odd`: `id` is no part of a struct"),
        ({"odd": Annotated[list[int], Dynamic()]}, "field `odd`: dynamic keys are in a dict"),
        ({"odd": Annotated[int, Unread()]}, "field `odd` is not read back, so it wants a default in the model"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_stored_says_why(annotations: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamError) as caught:
        shape_of(model(**annotations))
    assert message in caught.value.message


def test_a_class_that_is_no_model_says_what_to_do() -> None:
    class Plain:
        id: int

    with pytest.raises(ParamError, match="Plain is neither a dataclass nor a pydantic model"):
        shape_of(Plain)
    with pytest.raises(ParamError, match="a model is a class, not 3"):
        shape_of(3)  # type: ignore[arg-type]


def test_names_that_only_a_function_knows_are_explained() -> None:
    @dataclass
    class Local:
        id: Annotated[int, Nowhere()]  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ParamError, match="what they name must be known at the top of the module"):
        shape_of(Local)


def test_pydantic_names_and_aliases_are_both_told_to_its_constructor() -> None:
    class Aliased(pydantic.BaseModel):
        id: Annotated[int, Key()]
        vector: Annotated[list[float], Vector(2)]
        from_: int = pydantic.Field(alias="from")

    made = shape_of(Aliased)
    batch = {name: [value] for name, value in (("id", 1), ("vector", [1.0, 2.0]), ("from", 3))}
    assert made.model.make(list(batch), list(batch.values()), 1) == [
        Aliased.model_validate({"id": 1, "vector": [1.0, 2.0], "from": 3})
    ]


def test_objects_of_another_class_are_refused_before_anything_is_sent(tmp_path: Any) -> None:
    with MilvusClient(str(tmp_path / "a.db")) as client:
        birds = client.collection(Bird)
        with pytest.raises(DataNotMatchException, match="a collection of Bird takes no Fish"):
            birds.insert([Fish(1)])
        with pytest.raises(ParamError, match="give an object of Bird, or a list of such, not dict"):
            birds.insert({"id": 1})
        with pytest.raises(ParamError, match="unexpected argument `limits`; did you mean `limit`"):
            birds.search([1.0, 2.0], limits=3)
        with pytest.raises(ParamError, match="search_aggregation goes to the client's own search"):
            birds.search([1.0, 2.0], search_aggregation=object())
        with pytest.raises(ParamError, match="by texts wants `using`: a field, but the model has none"):
            birds.search("kite")
        assert birds.count() == 0
        assert repr(birds) == "TypedCollection[Bird]('bird')"


def test_a_subclass_may_be_written_to_the_collection_of_its_base(tmp_path: Any) -> None:
    @dataclass
    class Kite(Bird):
        pass

    with MilvusClient(str(tmp_path / "a.db")) as client:
        birds = client.collection(Bird)
        birds.insert(Kite(1, np.ones(2, np.float32)))
        assert type(birds.get(1)) is Bird


def test_a_mismatch_goes_through_a_pickle_whole() -> None:
    error = pickle.loads(pickle.dumps(ModelMismatch.of("a", "B", ["x: 1", "y: 2"])))
    assert error.differences == ["x: 1", "y: 2"]
    assert error.code == 105


def test_both_kinds_of_typed_collections_have_the_same_methods_with_the_same_arguments() -> None:
    for blocking, awaited in ((TypedReads, AsyncTypedReads), (TypedCollection, AsyncTypedCollection)):
        mine, theirs = public(blocking), public(awaited)
        assert mine.keys() == theirs.keys()
        for name, method in mine.items():
            ours, other = inspect.signature(method), inspect.signature(theirs[name])
            assert ours.parameters.keys() == other.parameters.keys(), name
            for parameter, wanted in ours.parameters.items():
                assert wanted.default == other.parameters[parameter].default, name
            assert method.__doc__, name


def public(cls: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}
