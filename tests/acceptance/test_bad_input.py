"""Whatever a program gets wrong is answered with Milvus's code and wording, and nothing is lost by it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk

DIM = 4
ROWS = 20
LONG = "n" * 256
NOWHERE = "no_such_collection"
NAN, INFINITY = float("nan"), float("inf")
SUFFIX = ": invalid parameter"


@dataclass(frozen=True)
class Filled:
    """A loaded collection of 20 rows, and the client under test."""

    sdk: Sdk
    client: Any
    name: str

    @property
    def types(self) -> Any:
        return self.sdk.module.DataType

    def schema(self) -> Any:
        schema = self.sdk.module.MilvusClient.create_schema()
        schema.add_field("id", self.types.INT64, is_primary=True)
        schema.add_field("vector", self.types.FLOAT_VECTOR, dim=DIM)
        schema.add_field("text", self.types.VARCHAR, max_length=8)
        return schema

    def index(self, field: str = "vector", **settings: Any) -> Any:
        params = self.client.prepare_index_params()
        params.add_index(**({"field_name": field, "index_type": "FLAT", "metric_type": "L2"} | settings))
        return params

    def insert(self, *rows: dict[str, Any], **options: Any) -> Any:
        return self.client.insert(self.name, list(rows), **options)

    def search(self, vector: Any = None, **options: Any) -> Any:
        return self.client.search(self.name, data=[[0.5] * DIM if vector is None else vector], **options)

    def query(self, **options: Any) -> Any:
        return self.client.query(self.name, **options)


def row(key: int = 1000, **values: Any) -> dict[str, Any]:
    """A row that fits, but for `values`; a value of `...` leaves its field out."""
    whole = {
        "id": key, "vector": [0.1] * DIM, "text": "ok", "small": 1, "score": 0.5, "flag": True, "document": {"a": 1},
        "tags": ["x"],
    }  # fmt: skip
    return {name: value for name, value in (whole | values).items() if value is not ...}


@pytest.fixture(scope="module")
def filled(sdk: Sdk, client: Any) -> Iterator[Filled]:
    types = sdk.module.DataType
    name = f"c_{uuid.uuid4().hex}"
    filled = Filled(sdk, client, name)
    schema = filled.schema()
    schema.add_field("small", types.INT8)
    schema.add_field("score", types.DOUBLE)
    schema.add_field("flag", types.BOOL)
    schema.add_field("document", types.JSON)
    schema.add_field("tags", types.ARRAY, element_type=types.VARCHAR, max_capacity=3, max_length=4)
    schema.add_field("note", types.VARCHAR, max_length=8, nullable=True)
    client.create_collection(name, schema=schema, index_params=filled.index())
    filled.insert(*(row(i, vector=[i / ROWS] * DIM) for i in range(ROWS)))
    yield filled
    client.drop_collection(name)


@pytest.fixture(autouse=True)
def intact(filled: Filled) -> Iterator[None]:
    """After each refusal the server answers and every row is as it was."""
    yield
    (hits,) = filled.search([0.25] * DIM, limit=1, consistency_level="Strong")
    assert hits[0]["id"] == 5
    (counted,) = filled.query(filter="", output_fields=["count(*)"], consistency_level="Strong")
    assert counted["count(*)"] == ROWS


def refusal(call: Callable[[Filled], object], filled: Filled) -> tuple[int, str]:
    """Code and message of the error a call ends in."""
    with pytest.raises(filled.sdk.module.MilvusException) as caught:
        call(filled)
    return caught.value.code, caught.value.message


Call = Callable[[Filled], object]

# -- names --------------------------------------------------------------------------------------
NAMES: dict[str, tuple[Call, int, str]] = {
    "an over-long collection name": (
        lambda f: f.client.create_collection(LONG, dimension=DIM),
        1100,
        f"Invalid collection name: {LONG}.  the length of a collection name must be less than 255 characters{SUFFIX}",
    ),
    "a collection name that begins with a digit": (
        lambda f: f.client.create_collection("1st", dimension=DIM),
        1100,
        "Invalid collection name: 1st.  the first character of a collection name must be an underscore or letter"
        + SUFFIX,
    ),
    "a collection name with a blank": (
        lambda f: f.client.create_collection("a b", dimension=DIM),
        1100,
        f"Invalid collection name: a b.  collection name can only contain numbers, letters and underscores{SUFFIX}",
    ),
    "an over-long alias": (
        lambda f: f.client.create_alias(f.name, LONG),
        1100,
        f"Invalid collection alias: {LONG}.  the length of a collection alias must be less than 255 characters{SUFFIX}",
    ),
    "an over-long partition name": (
        lambda f: f.client.create_partition(f.name, LONG),
        1100,
        f"Invalid partition name: {LONG}. The length of a partition name must be less than 255 characters.{SUFFIX}",
    ),
    "a partition name with a dot": (
        lambda f: f.client.create_partition(f.name, "a.b"),
        1100,
        f"Invalid partition name: a.b. Partition name can only contain numbers, letters and underscores.{SUFFIX}",
    ),
    "an over-long index name": (
        lambda f: f.client.create_index(f.name, f.index(index_name=LONG)),
        1100,
        f"Invalid index name: {LONG}. The length of a index name must be less than 255 characters.{SUFFIX}",
    ),
    "an over-long database name": (
        lambda f: f.client.create_database(LONG),
        802,
        f"the length of a database name must be less than 255 characters: invalid database name[database={LONG}]",
    ),
}


# -- schemas ------------------------------------------------------------------------------------
def create(*fields: tuple[Any, ...], **options: Any) -> Call:
    """Create a collection of `id`, `vector` and more fields: (name, type's name, settings)."""

    def call(filled: Filled) -> object:
        schema = filled.schema()
        for name, kind, settings in fields:
            schema.add_field(name, getattr(filled.types, kind), **settings)
        return filled.client.create_collection("refused", schema=schema, **options)

    return call


SCHEMAS: dict[str, tuple[Call, int, str]] = {
    "a duplicate field": (create(("text", "INT64", {})), 1100, f"duplicated field name text found{SUFFIX}"),
    "an over-long field name": (
        create((LONG, "INT64", {})),
        1701,
        f"Invalid field name: {LONG}. The length of a field name must be less than 255 characters."
        f": field name invalid[field={LONG}]",
    ),
    "a field named like a keyword": (
        create(("like", "INT64", {})),
        1701,
        "Invalid field name: like. like is keyword in milvus.: field name invalid[field=like]",
    ),
    "a vector of one dimension": (
        create(("v", "FLOAT_VECTOR", {"dim": 1})),
        1100,
        f"invalid dimension: 1 of field v. float vector dimension should be in range 2 ~ 32768{SUFFIX}",
    ),
    "a vector of too many dimensions": (
        create(("v", "FLOAT_VECTOR", {"dim": 32769})),
        1100,
        f"invalid dimension: 32769 of field v. float vector dimension should be in range 2 ~ 32768{SUFFIX}",
    ),
    "a binary vector of broken bytes": (
        create(("v", "BINARY_VECTOR", {"dim": 12})),
        1100,
        f"invalid dimension: 12 of field v. binary vector dimension should be multiple of 8. {SUFFIX}",
    ),
    "a text without a length": (
        create(("t", "VARCHAR", {})),
        1101,
        "type param(max_length) should be specified for the field(t) of collection refused: missing parameter",
    ),
    "a text that is too long": (
        create(("t", "VARCHAR", {"max_length": 65536})),
        1100,
        f"the maximum length specified for the field(t) should be in (0, 65535], but got 65536 instead{SUFFIX}",
    ),
    "an array of too many": (
        create(("a", "ARRAY", {"element_type": 5, "max_capacity": 4097})),
        1100,
        f"the maximum capacity specified for a Array should be in (0, 4096]{SUFFIX}",
    ),
    "too many fields": (
        create(*((f"f{i}", "INT64", {}) for i in range(62))),
        1100,
        f"maximum field's number should be limited to 64{SUFFIX}",
    ),
    "too many vectors": (
        create(*((f"v{i}", "FLOAT_VECTOR", {"dim": 4}) for i in range(10))),
        1100,
        f"maximum vector field's number should be limited to 10{SUFFIX}",
    ),
    "too many shards": (create(num_shards=17), 1100, f"maximum shards's number should be limited to 16{SUFFIX}"),
    "the collection again, but different": (
        lambda f: f.client.create_collection(f.name, dimension=DIM),
        1100,
        "create duplicate collection with different parameters, collection: {name}" + SUFFIX,
    ),
}

# -- things that are not there --------------------------------------------------------------------
_MISSING = f"collection not found[database=default][collection={NOWHERE}]"
UNKNOWN: dict[str, tuple[Call, int, str]] = {
    "insert into no collection": (lambda f: f.client.insert(NOWHERE, [{"id": 1}]), 100, _MISSING),
    "upsert into no collection": (lambda f: f.client.upsert(NOWHERE, [{"id": 1}]), 100, _MISSING),
    "delete from no collection": (lambda f: f.client.delete(NOWHERE, filter="id > 0"), 100, _MISSING),
    "query of no collection": (lambda f: f.client.query(NOWHERE, "id > 0"), 100, _MISSING),
    "search of no collection": (lambda f: f.client.search(NOWHERE, [[0.5] * DIM]), 100, _MISSING),
    "get from no collection": (lambda f: f.client.get(NOWHERE, [1]), 100, _MISSING),
    "describe no collection": (lambda f: f.client.describe_collection(NOWHERE), 100, _MISSING),
    "load no collection": (lambda f: f.client.load_collection(NOWHERE), 100, _MISSING),
    "release no collection": (lambda f: f.client.release_collection(NOWHERE), 100, _MISSING),
    "flush no collection": (lambda f: f.client.flush(NOWHERE), 100, _MISSING),
    "statistics of no collection": (lambda f: f.client.get_collection_stats(NOWHERE), 100, _MISSING),
    "truncate no collection": (lambda f: f.client.truncate_collection(NOWHERE), 100, _MISSING),
    "rename no collection": (lambda f: f.client.rename_collection(NOWHERE, "other"), 100, _MISSING),
    "index on no collection": (lambda f: f.client.create_index(NOWHERE, f.index()), 100, _MISSING),
    "partition of no collection": (lambda f: f.client.create_partition(NOWHERE, "p"), 100, _MISSING),
    "partitions of no collection": (lambda f: f.client.list_partitions(NOWHERE), 100, _MISSING),
    "alias of no collection": (lambda f: f.client.create_alias(NOWHERE, "a"), 100, _MISSING),
    "an alias that is not there": (
        lambda f: f.client.describe_alias("no_alias"),
        1600,
        "alias not found[database=default][alias=no_alias]",
    ),
    "a database that is not there": (
        lambda f: f.client.use_database("no_database"),
        800,
        "database not found[database=no_database]",
    ),
    "insert into no partition": (
        lambda f: f.insert(row(), partition_name="no_part"),
        200,
        "partition not found[partition=no_part]",
    ),
    "load no partition": (
        lambda f: f.client.load_partitions(f.name, ["no_part"]),
        200,
        "partition not found[partition=no_part]",
    ),
    "search in no partition": (
        lambda f: f.search(partition_names=["no_part"]),
        1100,
        f"partition name no_part not found{SUFFIX}",
    ),
    "query in no partition": (
        lambda f: f.query(filter="id > 0", partition_names=["no_part"]),
        1100,
        f"partition name no_part not found{SUFFIX}",
    ),
    "index on no field": (
        lambda f: f.client.create_index(f.name, f.index("nowhere")),
        1100,
        f"cannot create index on non-exist field: nowhere{SUFFIX}",
    ),
    "search of no field": (
        lambda f: f.search(anns_field="nowhere"),
        1100,
        f"failed to create query plan: failed to get field schema by name: fieldName(nowhere) not found{SUFFIX}",
    ),
    "search for a field that is not there": (
        lambda f: f.search(output_fields=["nowhere"]),
        1100,
        f"field nowhere not exist{SUFFIX}",
    ),
    "query for a field that is not there": (
        lambda f: f.query(filter="id > 0", output_fields=["nowhere"]),
        1100,
        f"field nowhere not exist{SUFFIX}",
    ),
}

# -- indexes --------------------------------------------------------------------------------------
_PARAMS = "[expected=valid index params][actual=invalid index params]"
INDEXES: dict[str, tuple[Call, int, str]] = {
    "an unknown index type": (
        lambda f: f.client.create_index(f.name, f.index(index_type="HNWS")),
        1100,
        "invalid index type: HNWS: invalid parameter[expected=valid index][actual=invalid index type: HNWS]",
    ),
    "an unknown metric": (
        lambda f: f.client.create_index(f.name, f.index(metric_type="L3")),
        1100,
        f"float vector index does not support metric type: L3{SUFFIX}{_PARAMS}",
    ),
    "a graph index on a text": (
        lambda f: f.client.create_index(f.name, f.index("text", index_type="HNSW")),
        1100,
        f"data type VarChar can't build with this index HNSW{SUFFIX}",
    ),
    "a second index on a field": (
        lambda f: f.client.create_index(f.name, f.index(index_name="second", index_type="HNSW")),
        1100,
        f"CreateIndex failed: creating multiple indexes on same field is not supported{SUFFIX}",
    ),
    "another index of the same name": (
        lambda f: f.client.create_index(f.name, f.index(index_name="vector", index_type="HNSW")),
        1100,
        f"at most one distinct index is allowed per field{SUFFIX}",
    ),
    "a graph of too few neighbours": (
        lambda f: f.client.create_index(f.name, f.index(index_type="HNSW", params={"M": 1})),
        1100,
        f"Out of range in json: param 'M' (1) should be in range [2, 2048]{SUFFIX}",
    ),
}

# -- values ---------------------------------------------------------------------------------------
_FINITE = "value '{}' is not a number or infinity" + SUFFIX
_OVERFLOW = "[expected=integer doesn't overflow][actual=out of range]"
VALUES: dict[str, tuple[Call, int, str]] = {
    "a vector that is too short": (
        lambda f: f.insert(row(vector=[0.1] * 3)),
        1100,
        f"the dim (3) of field data(vector) is not equal to schema dim (4){SUFFIX}[expected=4][actual=3]",
    ),
    "an over-long text": (
        lambda f: f.insert(row(), row(1001, text="ninebytes")),
        1100,
        f"length of varchar field text exceeds max length, row number: 1, length: 9, max length: 8{SUFFIX}",
    ),
    "a text that is over-long in bytes": (
        lambda f: f.insert(row(text="ööööö")),
        1100,
        f"length of varchar field text exceeds max length, row number: 0, length: 10, max length: 8{SUFFIX}",
    ),
    "a number that does not fit": (
        lambda f: f.insert(row(), row(1001, small=128)),
        1100,
        f"the 1th element (128) out of range: [-128, 127]{SUFFIX}{_OVERFLOW}",
    ),
    "NaN in a vector": (lambda f: f.insert(row(vector=[0.1, NAN, 0.1, 0.1])), 1100, _FINITE.format("NaN")),
    "infinity in a vector": (lambda f: f.insert(row(vector=[0.1, INFINITY, 0, 0])), 1100, _FINITE.format("+Inf")),
    "negative infinity in a vector": (lambda f: f.insert(row(vector=[-INFINITY] * 4)), 1100, _FINITE.format("-Inf")),
    "NaN in a number": (lambda f: f.insert(row(score=NAN)), 1100, _FINITE.format("NaN")),
    "an array of too many values": (
        lambda f: f.insert(row(tags=["a", "b", "c", "d"])),
        1100,
        "the length (4) of 0th array exceeds max capacity (3): invalid parameter"
        "[expected=valid length array][actual=array length exceeds max capacity]",
    ),
    "an array of over-long texts": (
        lambda f: f.insert(row(), row(1001, tags=["a", "bcdef"])),
        1100,
        'length of Array array field "tags" exceeds max length, row number: 1, array index: 1, length: 5, '
        f"max length: 4{SUFFIX}",
    ),
    "a document that is too large": (
        lambda f: f.insert(row(document={"a": "x" * 65536})),
        1100,
        "the length (65544) of json field exceeds max length (65536): invalid parameter"
        "[expected=valid length json string][actual=length exceeds max length]",
    ),
    "the same key twice in an upsert": (
        lambda f: f.client.upsert(f.name, [row(), row()]),
        1100,
        f"duplicate primary keys are not allowed in the same batch{SUFFIX}",
    ),
}

# -- what the SDK refuses before any call -----------------------------------------------------------
_WRONG = (
    "The Input data type is inconsistent with defined schema, {{{}}} field should be a {}, but got a {{{}}} instead."
)
ROWS_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a missing field": (
        row(text=...),
        "Insert missed an field `text` to collection without set nullable==true or set default_value",
    ),
    "an unknown field": (
        row(colour="red"),
        "Attempt to insert an unexpected field `colour` to collection without enabling dynamic field",
    ),
    "a text for a key": (row(id="one"), _WRONG.format("id", "int64", "<class 'str'>")),
    "a number for a text": (row(text=5), _WRONG.format("text", "varchar", "<class 'int'>")),
    "a text for a number": (row(small="5"), "{small} field should be a int"),
    "a text for a float": (row(score="high"), _WRONG.format("score", "double", "<class 'str'>")),
    "a text for a vector": (row(vector="0.1"), _WRONG.format("vector", "float_vector", "<class 'str'>")),
}
NULLS = {"a text": ("text", "varchar"), "a number": ("score", "double"), "a vector": ("vector", "float_vector")}

# -- reads ----------------------------------------------------------------------------------------
_WINDOW = "invalid max query result window"
READS: dict[str, tuple[Call, int, str]] = {
    "a search limit of zero": (
        lambda f: f.search(limit=0),
        1100,
        f"topk [0] is invalid, it should be in range [1, 16384], but got 0{SUFFIX}{SUFFIX}",
    ),
    "a search limit too large": (
        lambda f: f.search(limit=16385),
        1100,
        f"topk [16385] is invalid, it should be in range [1, 16384], but got 16385{SUFFIX}{SUFFIX}",
    ),
    "a search window too large": (
        lambda f: f.search(limit=10, offset=16380),
        1100,
        f"offset+topk [16390] is invalid, it should be in range [1, 16384], but got 16390{SUFFIX}{SUFFIX}",
    ),
    "a negative search offset": (
        lambda f: f.search(offset=-1),
        1100,
        f"offset [-1] is invalid, it should be in range [1, 16384], but got -1{SUFFIX}{SUFFIX}",
    ),
    "too many queries": (
        lambda f: f.client.search(f.name, np.zeros((16385, DIM), np.float32)),
        1100,
        "nq [16385] is invalid, nq (number of search vector per search request) should be in range [1, 16384], "
        f"but got 16385{SUFFIX}{SUFFIX}",
    ),
    "too many decimals": (
        lambda f: f.search(round_decimal=7),
        1100,
        f"round_decimal [7] is invalid, should be -1 or an integer in range [0, 6]{SUFFIX}",
    ),
    "the metric of another index": (
        lambda f: f.search(search_params={"metric_type": "IP"}),
        1100,
        f"metric type not match{SUFFIX}[expected=L2][actual=IP]",
    ),
    "a query vector that is too long": (
        lambda f: f.search([0.1] * 5),
        1100,
        f"vector dimension mismatch, expected vector size(byte) 16, actual 20{SUFFIX}",
    ),
    "a binary query of a float field": (
        lambda f: f.search(b"\x00"),
        1100,
        "vector type must be the same, field vector - type VECTOR_FLOAT, search info type VECTOR_BINARY" + SUFFIX,
    ),
    "NaN in a query": (lambda f: f.search([NAN] * DIM), 1100, _FINITE.format("NaN")),
    "infinity in a query": (lambda f: f.search([INFINITY] * DIM), 1100, _FINITE.format("+Inf")),
    "a query limit of zero": (
        lambda f: f.query(filter="id > 0", limit=0),
        1100,
        f"{_WINDOW}, limit [0] is invalid, should be greater than 0{SUFFIX}{SUFFIX}",
    ),
    "a query window too large": (
        lambda f: f.query(filter="id > 0", limit=16384, offset=1),
        1100,
        f"{_WINDOW}, (offset+limit) should be in range [1, 16384], but got 16385{SUFFIX}{SUFFIX}",
    ),
    "a negative query offset": (
        lambda f: f.query(filter="id > 0", limit=1, offset=-1),
        1100,
        f"{_WINDOW}, offset [-1] is invalid, should be gte than 0{SUFFIX}{SUFFIX}",
    ),
    "a query of everything": (
        lambda f: f.query(filter=""),
        1100,
        f"empty expression should be used with limit{SUFFIX}",
    ),
    "a count of a page": (
        lambda f: f.query(filter="", output_fields=["count(*)"], limit=5),
        1100,
        f"count entities with pagination is not allowed{SUFFIX}",
    ),
    "a deletion of everything": (
        lambda f: f.client.delete(f.name, filter=" "),
        1100,
        f"delete plan can't be empty or always true :  {SUFFIX}",
    ),
}

# -- what this version does not do ------------------------------------------------------------------
NOT_BUILT: dict[str, Call] = {
    "AISAQ": lambda f: f.client.create_index(f.name, f.index(index_type="AISAQ")),
}
REFUSED_BY_PYMILVUS = {
    "a search limit of zero": "`limit` value 0 is illegal",
    "too many decimals": "`round_decimal` value 7 is illegal",
}
"""What pymilvus does not even send."""
REFUSALS = NAMES | SCHEMAS | UNKNOWN | INDEXES | VALUES | READS


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_milvus_code_and_wording(case: str, filled: Filled) -> None:
    call, code, text = REFUSALS[case]
    if filled.sdk.way == "pymilvus" and case in REFUSED_BY_PYMILVUS:
        code, text = 1, REFUSED_BY_PYMILVUS[case]
    assert refusal(call, filled) == (code, text.replace("{name}", filled.name))


@pytest.mark.parametrize("feature", NOT_BUILT)
def test_what_is_not_built_is_refused_by_name_and_never_ignored(feature: str, filled: Filled) -> None:
    code, message = refusal(NOT_BUILT[feature], filled)
    assert code == 10
    assert feature in message


@pytest.mark.parametrize("case", ROWS_REFUSED)
def test_a_row_that_does_not_fit_is_refused_before_any_call(case: str, filled: Filled) -> None:
    bad, text = ROWS_REFUSED[case]
    for write in (filled.client.insert, filled.client.upsert):
        with pytest.raises(filled.sdk.module.MilvusException) as caught:
            write(filled.name, [row(999), bad])
        assert type(caught.value).__name__ == "DataNotMatchException"
        assert caught.value.code == 1
        assert text in caught.value.message


@pytest.mark.parametrize("case", NULLS)
def test_null_in_a_field_that_is_not_nullable_is_refused(case: str, filled: Filled) -> None:
    field, kind = NULLS[case]
    code, message = refusal(lambda f: f.insert(row(), row(1001, **{field: None})), filled)
    if filled.sdk.ours:
        assert (code, message) == (1, _WRONG.format(field, kind, "<class 'NoneType'>"))
    else:  # pymilvus sends the column one value short
        assert code == 1100
        assert message == (
            f"the num_rows (1) of field ({field}) is not equal to passed num_rows (2){SUFFIX}[expected=2][actual=1]"
        )


@pytest.mark.parametrize(
    ("text", "fault", "detail"),
    [
        ("id >", "", "line 1:4"),
        ("id == == 5", "==", "line 1:6"),
        ("(id > 5", "", "line 1:7"),
        ("id > 5 and\n  small in [1, 2", "", "line 2:16"),
        ("small @ 3", "@", "line 1:6 token recognition error at: '@'"),
        ("nowhere > 5", "nowhere", "field nowhere not exist"),
        ("small > 1 and text > 5", "text", "comparisons between VarChar and Int64 are not supported"),
        ("id + 1", "", "predicate is not a boolean expression"),
        ("id in 5", "5", "the right-hand side of 'in' must be a list, but got: 5"),
    ],
)
def test_a_filter_that_does_not_parse_is_refused_with_a_caret_at_the_fault(
    text: str, fault: str, detail: str, filled: Filled
) -> None:
    calls: dict[str, Call] = {
        "query": lambda f: f.query(filter=text),
        "search": lambda f: f.search(filter=text),
        "delete": lambda f: f.client.delete(f.name, filter=text),
    }
    for kind, call in calls.items():
        code, message = refusal(call, filled)
        plan = "delete" if kind == "delete" else "query"
        assert code == 1100
        assert message.startswith(f"failed to create {plan} plan: cannot parse expression: {text}: ")
        assert detail in message
        assert message.endswith("invalid parameter")
        quoted, pointer = message.removesuffix(SUFFIX).splitlines()[-2:]
        assert "^" in pointer
        assert quoted[pointer.index("^") :].startswith(fault)


def test_reads_of_a_collection_that_is_not_loaded_are_refused(filled: Filled) -> None:
    filled.client.release_collection(filled.name)
    try:
        for call in (lambda f: f.search(), lambda f: f.query(filter="id > 0"), lambda f: f.client.get(f.name, [1])):
            code, message = refusal(call, filled)
            assert code == 101
            assert f"collection not loaded[collection={filled.name}]" in message
    finally:
        filled.client.load_collection(filled.name)


def test_a_collection_without_an_index_cannot_be_loaded(filled: Filled, name: str) -> None:
    filled.client.create_collection(name, schema=filled.schema())
    code, message = refusal(lambda f: f.client.load_collection(name), filled)
    assert (code, message) == (700, f"index not found[collection={name}]")


def test_dropping_what_is_not_there_succeeds(filled: Filled) -> None:
    filled.client.drop_collection(NOWHERE)
    filled.client.drop_partition(filled.name, "no_part")
    filled.client.drop_alias("no_alias")
    filled.client.drop_index(filled.name, "no_index")
    assert filled.client.describe_index(filled.name, "no_index") is None
    assert filled.client.has_collection(NOWHERE) is False
    assert filled.client.has_partition(filled.name, "no_part") is False


def test_what_is_in_use_cannot_be_dropped(filled: Filled, name: str) -> None:
    client = filled.client
    code, message = refusal(lambda f: f.client.drop_index(f.name, "vector"), filled)
    assert code == 1100
    assert "vector index cannot be dropped on loaded collection" in message
    code, message = refusal(lambda f: f.client.drop_partition(f.name, "_default"), filled)
    assert code == 1100
    client.create_collection(name, dimension=DIM)
    client.create_partition(name, "p")
    code, message = refusal(lambda f: f.client.drop_partition(name, "p"), filled)
    assert (code, message) == (
        1100,
        f"partition cannot be dropped, partition is loaded, please release it first{SUFFIX}",
    )
    client.release_collection(name)
    code, message = refusal(lambda f: f.client.drop_partition(name, "_default"), filled)
    assert (code, message) == (1100, f"default partition cannot be deleted{SUFFIX}")
    client.create_alias(name, f"a_{name}")
    code, message = refusal(lambda f: f.client.drop_collection(name), filled)
    assert code == 1100
    assert f"unable to drop the collection [{name}] because it has associated aliases [a_{name}]" in message
    client.drop_alias(f"a_{name}")


def test_arguments_of_the_wrong_kind_are_refused_before_any_call(filled: Filled) -> None:
    client = filled.client
    for call in (
        lambda _: client.query(filled.name, filter="id > 0", ids=[1]),
        lambda _: client.delete(filled.name, ids=[1], filter="id > 0"),
        lambda _: client.search(filled.name, [[0.5] * DIM], filter=5),
        lambda _: client.search(filled.name, [[0.5] * DIM], limit="ten"),
        lambda _: client.search(filled.name, [[0.5] * DIM], consistency_level="Sometimes"),
        lambda _: client.drop_collection(5),
        lambda _: client.has_collection(""),
    ):
        code, message = refusal(call, filled)
        assert code == 1
        assert message
    for data in ("rows", 5, [5]):
        with pytest.raises((TypeError, filled.sdk.module.MilvusException)):
            client.insert(filled.name, data)


def test_a_closed_client_says_so(filled: Filled) -> None:
    client = filled.sdk.connect()
    client.close()
    with pytest.raises(filled.sdk.module.MilvusException, match="should create connection first"):
        client.list_collections()
