"""What is stored is what comes back, in every type, in the same Python form through every SDK."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk
from tests.acceptance.test_collections import flat_index

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

SCALARS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "BOOL": ("BOOL", {}, [True, False]),
    "INT8": ("INT8", {}, [-128, 0, 127]),
    "INT16": ("INT16", {}, [-32768, 0, 32767]),
    "INT32": ("INT32", {}, [-(2**31), 0, 2**31 - 1]),
    "INT64": ("INT64", {}, [-(2**63), 0, 2**53 + 1, 2**63 - 1]),
    "FLOAT": ("FLOAT", {}, [0.0, -0.0, 1.5, float(np.float32(0.1)), -3.4028234663852886e38, 2.0**-149]),
    "DOUBLE": ("DOUBLE", {}, [0.0, -0.0, 0.1, -1.7976931348623157e308, 5e-324]),
    "VARCHAR": ("VARCHAR", {"max_length": 65535}, ["", "plain", "ünïcödé 漢字 ✓", "a\x00b", "'\"\\\n", "x" * 65535]),
    "JSON": (
        "JSON",
        {},
        [{}, [], {"a": {"b": [1, 2.5, None, True, "ü"]}}, [1, [2]], 5, -0.5, True, {"big": 2**53 + 1}],
    ),
    "ARRAY of BOOL": ("ARRAY", {"element_type": "BOOL", "max_capacity": 9}, [[], [True, False, True]]),
    "ARRAY of INT8": ("ARRAY", {"element_type": "INT8", "max_capacity": 9}, [[], [-128, 127]]),
    "ARRAY of INT16": ("ARRAY", {"element_type": "INT16", "max_capacity": 9}, [[], [-32768, 32767]]),
    "ARRAY of INT32": ("ARRAY", {"element_type": "INT32", "max_capacity": 9}, [[], [-(2**31), 2**31 - 1]]),
    "ARRAY of INT64": ("ARRAY", {"element_type": "INT64", "max_capacity": 9}, [[], [-(2**63), 2**63 - 1]]),
    "ARRAY of FLOAT": ("ARRAY", {"element_type": "FLOAT", "max_capacity": 9}, [[], [1.5, float(np.float32(0.1))]]),
    "ARRAY of DOUBLE": ("ARRAY", {"element_type": "DOUBLE", "max_capacity": 9}, [[], [0.1, -5e-324]]),
    "ARRAY of VARCHAR": (
        "ARRAY",
        {"element_type": "VARCHAR", "max_capacity": 9, "max_length": 40},
        [[], ["", "ünïcödé", "x" * 40]],
    ),
}


DEFAULTS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    # type: (settings, the default, another value)
    "BOOL": ({}, True, False),
    "INT8": ({}, -5, 5),
    "INT64": ({}, 2**60, 0),
    "FLOAT": ({}, 2.5, 0.0),
    "DOUBLE": ({}, 0.1, 0.0),
    "VARCHAR": ({"max_length": 20}, "unknown", ""),
}
Field = tuple[str, str, dict[str, Any]]
"""Name, type and settings."""


def make(sdk: Sdk, client: Any, name: str, *fields: Field) -> None:
    """A loaded collection of `id`, `vector` and more fields."""
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    indexes = flat_index(client)
    for field, kind, settings in fields:
        if "element_type" in settings:
            settings = settings | {"element_type": getattr(types, settings["element_type"])}
        schema.add_field(field, getattr(types, kind), **settings)
        if kind == "FLOAT_VECTOR":
            indexes.add_index(field_name=field, index_type="FLAT", metric_type="IP")
    client.create_collection(name, schema=schema, index_params=indexes)


def write(client: Any, name: str, values: list[Any]) -> None:
    """Rows of a collection whose one field is `value`."""
    client.insert(name, [{"id": i, "vector": [float(i), 0.0], "value": value} for i, value in enumerate(values)])


def read(client: Any, name: str, field: str = "value") -> list[Any]:
    """The values by key, as a query shows them; a search must show the same, but for vectors of bytes, which stand in
    a list of their own in rows and not in hits."""
    found = [row[field] for row in client.query(name, "id >= 0", output_fields=[field])]
    (hits,) = client.search(name, [[0.0, 0.0]], anns_field="vector", limit=100, output_fields=[field])
    by_key = {hit["id"]: hit["entity"][field] for hit in hits}
    in_hits = [v[0] if isinstance(v, list) and v and isinstance(v[0], bytes) else v for v in found]
    assert same([by_key[i] for i in range(len(found))], in_hits)
    return found


def same(found: list[Any], given: list[Any]) -> bool:
    """Equal, of the same types, and with the same sign of zero."""
    return repr(found) == repr(given)


# -- scalars ------------------------------------------------------------------------------------
def column_name(case: str) -> str:
    return case.replace(" ", "_").lower()


def scalars(client: Any, sdk: Sdk, case_values: dict[str, list[Any]], **settings: Any) -> str:
    """A collection with a field for each type, holding `case_values`, the last row missing what may be missing."""
    name = f"c_{uuid.uuid4().hex}"
    fields = [(column_name(case), kind, own | settings) for case, (kind, own, _) in SCALARS.items()]
    make(sdk, client, name, *fields)
    rows = [
        {"id": i, "vector": [float(i), 0.0]} | {column_name(case): values[i] for case, values in case_values.items()}
        for i in range(SLOTS)
    ]
    client.insert(name, rows)
    return name


SLOTS = 9
FULL = {case: [values[i % len(values)] for i in range(SLOTS)] for case, (_, _, values) in SCALARS.items()}
HALF = {case: [None if i % 2 else value for i, value in enumerate(values)] for case, values in FULL.items()}


@pytest.fixture(scope="module")
def full(sdk: Sdk, client: Any) -> Iterator[str]:
    name = scalars(client, sdk, FULL)
    yield name
    client.drop_collection(name)


@pytest.fixture(scope="module")
def half(sdk: Sdk, client: Any) -> Iterator[str]:
    name = scalars(client, sdk, HALF, nullable=True)
    client.insert(name, {"id": SLOTS, "vector": [float(SLOTS), 0.0]})
    yield name
    client.drop_collection(name)


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("case", SCALARS)
def test_a_scalar_comes_back_as_it_went_in(flushed: bool, case: str, client: Any, full: str) -> None:
    if flushed:
        client.flush(full)
    assert same(read(client, full, column_name(case)), FULL[case])


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.parametrize("case", SCALARS)
def test_a_nullable_field_holds_null(flushed: bool, case: str, client: Any, half: str) -> None:
    if flushed:
        client.flush(half)
    field, wanted = column_name(case), [*HALF[case], None]
    assert same(read(client, half, field), wanted)
    for text, is_null in ((f"{field} is null", True), (f"{field} is not null", False)):
        keys = [i for i, value in enumerate(wanted) if (value is None) is is_null]
        assert [row["id"] for row in client.query(half, text, output_fields=["id"])] == keys


def test_a_default_stands_in_for_what_is_not_given(sdk: Sdk, client: Any, name: str) -> None:
    fields = [
        (f"{kind}_{nullable}", kind, settings | {"default_value": default, "nullable": nullable})
        for kind, (settings, default, _) in DEFAULTS.items()
        for nullable in (False, True)
    ]
    make(sdk, client, name, *fields)
    given = {field: DEFAULTS[kind][2] for field, kind, _ in fields}
    client.insert(name, [{"id": 0, "vector": [0.0, 0.0]}, {"id": 1, "vector": [1.0, 0.0]} | given])
    client.insert(name, {"id": 2, "vector": [2.0, 0.0]} | dict.fromkeys(given))
    client.insert(name, {"id": 3, "vector": [3.0, 0.0]})
    for field, kind, _ in fields:
        _, default, other = DEFAULTS[kind]
        assert same(read(client, name, field), [default, other, default, default])


def test_a_text_given_to_a_json_field_is_json(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, ("value", "JSON", {}))
    write(client, name, ['{"a": [1, 2]}', '"text"', "5", "null"])
    assert read(client, name) == [{"a": [1, 2]}, "text", 5, None]
    with pytest.raises(sdk.module.MilvusException, match="Invalid JSON string"):
        write(client, name, ["{a: 1}"])


# -- vectors ----------------------------------------------------------------------------------------
def bfloat16(values: np.ndarray) -> bytes:
    """The upper half of each float32."""
    return bytes((values.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes())


_FLOATS = np.array([[0.0, -0.0, 1.5, 3.4e38], [-1e-40, 0.1, -2.5, 7.0]], np.float32)
_HALVES = np.array([[0.0, -0.0, 1.5, 65504.0], [-6e-8, 0.1, -2.5, 7.0]], np.float16)
_BYTES = np.array([[-128, 127, 0, 1], [5, -5, 100, -100]], np.int8)
VECTORS: dict[str, tuple[str, dict[str, Any], list[Any], list[Any]]] = {
    # name: (type, settings, as given, as shown)
    "float": ("FLOAT_VECTOR", {"dim": 4}, _FLOATS.tolist(), _FLOATS.tolist()),
    "float as numpy": ("FLOAT_VECTOR", {"dim": 4}, list(_FLOATS), _FLOATS.tolist()),
    "float16": ("FLOAT16_VECTOR", {"dim": 4}, list(_HALVES), [[row.tobytes()] for row in _HALVES]),
    "float16 as bytes": (
        "FLOAT16_VECTOR",
        {"dim": 4},
        [r.tobytes() for r in _HALVES],
        [[r.tobytes()] for r in _HALVES],
    ),
    "bfloat16 as bytes": (
        "BFLOAT16_VECTOR",
        {"dim": 4},
        [bfloat16(r) for r in _FLOATS],
        [[bfloat16(r)] for r in _FLOATS],
    ),
    "int8": ("INT8_VECTOR", {"dim": 4}, list(_BYTES), [[row.tobytes()] for row in _BYTES]),
    "binary": ("BINARY_VECTOR", {"dim": 16}, [b"\x00\xff", b"\x80\x01"], [[b"\x00\xff"], [b"\x80\x01"]]),
    "sparse": (
        "SPARSE_FLOAT_VECTOR",
        {},
        [{0: 0.5, 7: 1.5, 4294967294: 0.25}, {3: 2.0}],
        [{0: 0.5, 7: 1.5, 4294967294: 0.25}, {3: 2.0}],
    ),
}


@pytest.mark.parametrize("case", VECTORS)
def test_a_vector_comes_back_bit_by_bit(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind, settings, given, shown = VECTORS[case]
    make(sdk, client, name, ("value", kind, settings))
    write(client, name, given)
    assert same(read(client, name), shown)
    client.flush(name)
    client.insert(name, {"id": 9, "vector": [9.0, 0.0], "value": given[0]})
    assert same([row["value"] for row in client.query(name, "id >= 0")], [*shown, shown[0]])


def test_a_bfloat16_vector_is_taken_as_numpy_has_it(sdk: Sdk, client: Any, name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    make(sdk, client, name, ("value", "BFLOAT16_VECTOR", {"dim": 4}))
    # The largest float32 rounds to infinity, which no vector may hold.
    given = np.clip(_FLOATS, -1e38, 1e38).astype(ml_dtypes.bfloat16)
    write(client, name, list(given))
    assert read(client, name) == [[row.tobytes()] for row in given]


def test_many_types_live_in_one_row(sdk: Sdk, client: Any, name: str) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.VARCHAR, max_length=10, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("half", types.FLOAT16_VECTOR, dim=2)
    schema.add_field("bits", types.BINARY_VECTOR, dim=8)
    schema.add_field("words", types.SPARSE_FLOAT_VECTOR)
    schema.add_field("tags", types.ARRAY, element_type=types.VARCHAR, max_capacity=3, max_length=9, nullable=True)
    schema.add_field("document", types.JSON)
    client.create_collection(name, schema=schema, index_params=flat_index(client))
    half = np.array([1.0, 0.5], np.float16)
    row = {
        "id": "one", "vector": [1.0, 2.0], "half": half, "bits": b"\x0f", "words": {1: 0.5}, "tags": ["a"],
        "document": {"a": 1}, "loose": [1, {"b": None}], "ünïcödé": "✓",
    }  # fmt: skip
    client.insert(name, [row, row | {"id": "two", "tags": None, "loose": "text"}])
    shown = row | {"half": [half.tobytes()], "bits": [b"\x0f"]}
    first, second = client.query(name, 'id in ["one", "two"]', output_fields=["*"])
    assert first == shown
    assert second == shown | {"id": "two", "tags": None, "loose": "text"}
    assert client.query(name, 'loose == "text"', output_fields=["ünïcödé"])[0] == {"id": "two", "ünïcödé": "✓"}


def test_the_largest_dimension_is_stored_and_searched(client: Any, name: str) -> None:
    dim = 32_768
    client.create_collection(name, dimension=dim, metric_type="L2")
    given = np.random.default_rng(1).random((3, dim), np.float32)
    client.insert(name, [{"id": i, "vector": v} for i, v in enumerate(given)])
    (hits,) = client.search(name, [given[1].tolist()], limit=1, output_fields=["vector"])
    assert hits[0]["id"] == 1
    np.testing.assert_array_equal(np.float32(hits[0]["entity"]["vector"]), given[1])


def test_floats_that_are_not_numbers_never_reach_a_reader(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, ("value", "FLOAT16_VECTOR", {"dim": 2}))
    for bad in (math.nan, math.inf):
        with pytest.raises(sdk.module.MilvusException) as caught:
            write(client, name, [np.array([bad, 0.0], np.float16)])
        assert (caught.value.code, caught.value.message) == (
            1100,
            "float16 vector contain nan or infinity value.: invalid parameter",
        )
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 0
