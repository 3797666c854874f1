"""What is stored is what comes back, in every type, in the same Python form through every SDK."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import Sdk
from tests.acceptance.test_collections import flat_index

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
        [{}, [], {"a": {"b": [1, 2.5, None, True, "ü"]}}, [1, [2]], "text", 5, -0.5, True, {"big": 2**53 + 1}],
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


def make(sdk: Sdk, client: Any, name: str, field: tuple[str, dict[str, Any]], *, dynamic: bool = False) -> None:
    """A loaded collection of `id`, `vector` and one field called `value`."""
    types = sdk.module.DataType
    kind, settings = field
    if "element_type" in settings:
        settings = settings | {"element_type": getattr(types, settings["element_type"])}
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=dynamic)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("value", getattr(types, kind), **settings)
    client.create_collection(name, schema=schema, index_params=flat_index(client))


def write(client: Any, name: str, values: list[Any]) -> None:
    client.insert(name, [{"id": i, "vector": [float(i), 0.0], "value": value} for i, value in enumerate(values)])


def read(client: Any, name: str) -> list[Any]:
    """The values by key, as a query shows them; a search must show the same."""
    found = [row["value"] for row in client.query(name, "id >= 0", output_fields=["value"])]
    (hits,) = client.search(name, [[0.0, 0.0]], anns_field="vector", limit=100, output_fields=["value"])
    by_key = {hit["id"]: hit["entity"]["value"] for hit in hits}
    assert [by_key[i] for i in range(len(found))] == found
    return found


def same(found: list[Any], given: list[Any]) -> bool:
    """Equal, of the same types, and with the same sign of zero."""
    return repr(found) == repr(given)


@pytest.mark.parametrize("case", SCALARS)
def test_a_scalar_comes_back_as_it_went_in(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind, settings, values = SCALARS[case]
    make(sdk, client, name, (kind, settings))
    write(client, name, values)
    assert same(read(client, name), values)
    client.flush(name)
    assert same(read(client, name), values)


@pytest.mark.parametrize("case", SCALARS)
def test_a_nullable_field_holds_null(case: str, sdk: Sdk, client: Any, name: str) -> None:
    kind, settings, given = SCALARS[case]
    values = [None, given[0], None, given[-1], None]
    make(sdk, client, name, (kind, settings | {"nullable": True}))
    write(client, name, values)
    client.insert(name, [{"id": 5, "vector": [5.0, 0.0]}])
    wanted = [*values, None]
    for _ in range(2):
        assert same(read(client, name), wanted)
        for text, keys in (("value is null", [0, 2, 4, 5]), ("value is not null", [1, 3])):
            assert [row["id"] for row in client.query(name, text, output_fields=["id"])] == keys
        client.flush(name)


@pytest.mark.parametrize(
    ("kind", "settings", "default", "other"),
    [
        ("BOOL", {}, True, False),
        ("INT8", {}, -5, 5),
        ("INT64", {}, 2**60, 0),
        ("FLOAT", {}, 2.5, 0.0),
        ("DOUBLE", {}, 0.1, 0.0),
        ("VARCHAR", {"max_length": 20}, "unknown", ""),
    ],
)
@pytest.mark.parametrize("nullable", [False, True])
def test_a_default_stands_in_for_what_is_not_given(
    kind: str, settings: dict[str, Any], default: Any, other: Any, nullable: bool, sdk: Sdk, client: Any, name: str
) -> None:
    make(sdk, client, name, (kind, settings | {"default_value": default, "nullable": nullable}))
    client.insert(name, [{"id": 0, "vector": [0.0, 0.0]}, {"id": 1, "vector": [1.0, 0.0], "value": other}])
    client.insert(name, {"id": 2, "vector": [2.0, 0.0], "value": None})
    client.insert(name, {"id": 3, "vector": [3.0, 0.0]})
    assert same(read(client, name), [default, other, default, default])


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
    "float16 as bytes": ("FLOAT16_VECTOR", {"dim": 4}, [r.tobytes() for r in _HALVES], [[r.tobytes()] for r in _HALVES]),
    "bfloat16 as bytes": ("BFLOAT16_VECTOR", {"dim": 4}, [bfloat16(r) for r in _FLOATS], [[bfloat16(r)] for r in _FLOATS]),
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
    make(sdk, client, name, (kind, settings))
    write(client, name, given)
    assert same(read(client, name), shown)
    client.flush(name)
    client.insert(name, {"id": 9, "vector": [9.0, 0.0], "value": given[0]})
    assert same([row["value"] for row in client.query(name, "id >= 0")], [*shown, shown[0]])


def test_a_bfloat16_vector_is_taken_as_numpy_has_it(sdk: Sdk, client: Any, name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    make(sdk, client, name, ("BFLOAT16_VECTOR", {"dim": 4}))
    given = _FLOATS.astype(ml_dtypes.bfloat16)
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
    make(sdk, client, name, ("FLOAT16_VECTOR", {"dim": 2}))
    for bad in (math.nan, math.inf):
        with pytest.raises(sdk.module.MilvusException) as caught:
            write(client, name, [np.array([bad, 0.0], np.float16)])
        assert (caught.value.code, caught.value.message) == (
            1100,
            "float16 vector contain nan or infinity value.: invalid parameter",
        )
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 0
