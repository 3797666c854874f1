"""Reads look at no more than the partitions and segments that can hold what their filter lets pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
ROWS, PARTITIONS = 400, 16
RNG = np.random.default_rng(8)
VECTORS = RNG.random((ROWS, 4)).astype(np.float32)


@pytest.fixture(params=["VARCHAR", "INT64"])
def tenants(request: pytest.FixtureRequest, sdk: Sdk, client: Any, name: str) -> list[Any]:
    """Rows of twenty tenants, spread over partitions by them; gives the tenant of each row."""
    types = sdk.module.DataType
    schema = client.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=4)
    kind = types[request.param]
    length = {"max_length": 20} if request.param == "VARCHAR" else {}
    schema.add_field("tenant", kind, is_partition_key=True, **length)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=indexes, num_partitions=PARTITIONS)
    owners = [i % 20 if request.param == "INT64" else f"t{i % 20}" for i in range(ROWS)]
    client.insert(name, [{"id": i, "v": VECTORS[i].tolist(), "tenant": owners[i]} for i in range(ROWS)])
    client.flush(name)
    return owners


def literal(owner: Any) -> str:
    return repr(owner)


def test_a_search_and_a_query_read_the_partition_of_a_key(client: Any, name: str, tenants: list[Any]) -> None:
    owner = tenants[3]
    condition = f"tenant == {literal(owner)} and id > 100"
    wanted = [i for i in range(101, ROWS) if tenants[i] == owner]
    found = client.search(name, [VECTORS[0]], filter=condition, limit=50, analyze=True)
    assert sorted(hit["id"] for hit in found[0]) == wanted
    assert len({segment.partition_id for segment in found.explanation.segments}) == 1
    rows = client.query(name, condition, output_fields=["id"], limit=50, analyze=True)
    assert [row["id"] for row in rows] == wanted
    assert len({segment.partition_id for segment in rows.explanation.segments}) == 1
    everything = client.query(name, "id >= 0", output_fields=["id"], limit=5, explain=True)
    assert len(everything.explanation.segments) > 5


@pytest.mark.parametrize("text", [
    "tenant in [{a}, {b}]", "tenant == {a} or (tenant == {b} and id >= 0)", "tenant in {both}",
    "(tenant == {a} or tenant == {b}) and tenant in [{a}, {b}]",
])  # fmt: skip
def test_several_keys_are_several_partitions(client: Any, name: str, tenants: list[Any], text: str) -> None:
    a, b = tenants[1], tenants[2]
    text = text.replace("{a}", literal(a)).replace("{b}", literal(b))
    rows = client.query(name, text, filter_params={"both": [a, b]}, output_fields=["id"], limit=100, analyze=True)
    assert [row["id"] for row in rows] == [i for i in range(ROWS) if tenants[i] in (a, b)]
    assert len({segment.partition_id for segment in rows.explanation.segments}) <= 2


@pytest.mark.parametrize("text", ["tenant != {a}", "tenant == {a} or id == 2", "not (tenant == {a})", "tenant > {a}"])
def test_what_names_no_keys_reads_all_partitions(client: Any, name: str, tenants: list[Any], text: str) -> None:
    a = tenants[1]
    rows = client.query(name, text.replace("{a}", literal(a)), output_fields=["id"], limit=ROWS, analyze=True)
    right = {
        "tenant != {a}": lambda i: tenants[i] != a,
        "tenant == {a} or id == 2": lambda i: tenants[i] == a or i == 2,
        "not (tenant == {a})": lambda i: tenants[i] != a,
        "tenant > {a}": lambda i: tenants[i] > a,
    }[text]
    assert [row["id"] for row in rows] == [i for i in range(ROWS) if right(i)]


def test_keys_that_exclude_each_other_read_nothing(client: Any, name: str, tenants: list[Any]) -> None:
    text = f"tenant == {literal(tenants[1])} and tenant == {literal(tenants[2])}"
    rows = client.query(name, text, output_fields=["id"], limit=10, analyze=True)
    assert list(rows) == [] and not rows.explanation.segments
    assert list(client.search(name, [VECTORS[0]], filter=text, limit=3)[0]) == []


def test_a_delete_goes_to_the_partition_of_its_key(client: Any, name: str, tenants: list[Any]) -> None:
    owner = tenants[5]
    client.delete(name, filter=f"tenant == {literal(owner)} and id < 200")
    left = [i for i in range(ROWS) if tenants[i] != owner or i >= 200]
    assert [row["id"] for row in client.query(name, "id >= 0", output_fields=["id"], limit=ROWS)] == left
