"""Rows that are written one by one are kept, answered and refused as those of batches are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.acceptance.conftest import plain

DIM = 4


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    vectors = np.random.default_rng(3).normal(size=(12, DIM)).astype(np.float32).tolist()
    more: list[dict[str, Any]] = [{}, {"text": "ß"}, {"text": "b", "n": 5, "deep": {"a": [1, None]}}]
    return [{"id": at, "vector": vector, **more[at % 3]} for at, vector in enumerate(vectors)]


def test_one_by_one_is_as_good_as_together(client: Any, name: str, rows: list[dict[str, Any]]) -> None:
    """Before they are flushed and behind that, with dynamic keys and without, also where a key is written again."""
    client.create_collection(name, dimension=DIM, metric_type="L2", consistency_level="Strong")
    for row in rows[:9]:
        assert plain(client.insert(name, [row])) == {"insert_count": 1, "ids": [row["id"]]}
    assert plain(client.insert(name, rows[9:])) == {"insert_count": 3, "ids": [9, 10, 11]}
    rows[4], rows[9] = {**rows[4], "text": "again"}, {**rows[9], "text": "again"}
    client.insert(name, rows[4])
    assert plain(client.upsert(name, [rows[9]])) == {"upsert_count": 1, "ids": [9]}
    client.upsert(name, {"id": 0, "n": 7}, partial_update=True)
    rows[0]["n"] = 7
    for _ in range(2):
        found = {row["id"]: dict(row) for row in client.query(name, "id >= 0", output_fields=["*"])}
        assert found.keys() == {row["id"] for row in rows}
        for row in rows:
            shown = found[row["id"]]
            assert np.array_equal(np.float32(shown.pop("vector")), np.float32(row["vector"]))
            assert shown == {key: value for key, value in row.items() if key != "vector"}
        assert sorted(row["id"] for row in client.query(name, "n == 5 and deep['a'][0] == 1")) == [2, 5, 8, 11]
        assert sorted(row["id"] for row in client.query(name, "text == 'again'")) == [4, 9]
        (hits,) = client.search(name, [rows[7]["vector"]], limit=1, output_fields=["text"])
        assert (hits[0]["id"], hits[0]["distance"], hits[0]["entity"].get("text")) == (7, 0, "ß")
        client.flush(name)


@pytest.mark.parametrize("write", ["insert", "upsert"])
@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"}, {"id": 2**63}, {"vector": [1.0, 2.0]}, {"vector": [1.0, 2.0, float("nan"), 0.0]},
        {"vector": "abcd"}, {"text": "x" * 70_000}, {"$meta": {"x": 1}},
    ],
)  # fmt: skip
def test_a_row_that_is_refused_together_with_another_is_refused_alone(
    client: Any, name: str, rows: list[dict[str, Any]], change: dict[str, Any], write: str
) -> None:
    client.create_collection(name, dimension=DIM, consistency_level="Strong")
    client.insert(name, [rows[0]])
    wrong = {**rows[1], **change}
    told = []
    for data in ([wrong], [wrong, rows[2]]):
        with pytest.raises(Exception) as refusal:
            getattr(client, write)(name, data)
        told.append((type(refusal.value), getattr(refusal.value, "code", None)))
    assert told[0] == told[1]
    assert [row["id"] for row in client.query(name, "id >= 0", output_fields=["id"])] == [0]


def test_a_row_that_lacks_a_field_names_it(client: Any, name: str, rows: list[dict[str, Any]]) -> None:
    client.create_collection(name, dimension=DIM)
    with pytest.raises(Exception, match="vector"):
        client.insert(name, [{"id": 1, "text": "x"}])
    with pytest.raises(Exception, match="id"):
        client.insert(name, [{"vector": rows[0]["vector"]}])
