"""What Redkite's SDK takes and gives beside dicts: columns, numpy, Arrow and pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.acceptance.test_collections import flat_index

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
DIM, ROWS = 4, 12
VECTORS = np.random.default_rng(21).random((ROWS, DIM)).astype(np.float32)
IDS = np.arange(ROWS) * 10
TITLES = [f"title {i}" for i in range(ROWS)]
SIZES = [None if i == 3 else i for i in range(ROWS)]


@pytest.fixture
def shelf(sdk: Sdk, client: Any, name: str) -> str:
    """An empty loaded collection of a key, a vector, a title and a nullable size."""
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=DIM)
    schema.add_field("title", types.VARCHAR, max_length=20)
    schema.add_field("size", types.INT32, nullable=True)
    client.create_collection(name, schema=schema, index_params=flat_index(client))
    return name


def given(form: str) -> Any:
    """The same twelve rows in one of the forms that `insert` takes."""
    columns = {"id": IDS, "vector": VECTORS, "title": TITLES, "size": SIZES}
    arrow = {
        "id": pa.array(IDS),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), DIM),
        "title": pa.array(TITLES),
        "size": pa.array(SIZES, pa.int32()),
    }
    if form == "list of dicts":
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if form == "list of columns":
        return [IDS.tolist(), VECTORS.tolist(), TITLES, SIZES]
    if form == "list of arrays":
        return [IDS, VECTORS, TITLES, SIZES]
    if form == "dict of arrays":
        return columns
    if form == "record batch":
        return pa.RecordBatch.from_pydict(arrow)
    if form == "table of chunks":
        whole = pa.table(arrow)
        return pa.concat_tables([whole.slice(0, 5), whole.slice(5)])
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(columns | {"vector": list(VECTORS), "size": pandas.array(SIZES, dtype="Int32")})


FORMS = (
    "list of dicts", "list of columns", "list of arrays", "dict of arrays", "record batch", "table of chunks",
    "data frame",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_taken_in_every_form(form: str, client: Any, shelf: str) -> None:
    assert client.insert(shelf, given(form)) == {"insert_count": ROWS, "ids": IDS.tolist()}
    stored = list(client.query(shelf, "id >= 0"))
    assert stored == [
        {"id": i * 10, "vector": VECTORS[i].tolist(), "title": TITLES[i], "size": SIZES[i]} for i in range(ROWS)
    ]
    assert client.upsert(shelf, given(form))["upsert_count"] == ROWS
    assert client.query(shelf, output_fields=["count(*)"])[0]["count(*)"] == ROWS


def test_a_query_is_given_as_arrow_numpy_and_pandas(client: Any, shelf: str) -> None:
    client.insert(shelf, given("record batch"))
    client.insert(shelf, {"id": 500, "vector": [1.0] * DIM, "title": "last", "size": 9, "colour": "red"})
    found = client.query(shelf, "id >= 0", output_fields=["*"])
    table = found.to_arrow()
    assert isinstance(table, pa.Table)
    assert table.column_names == ["id", "vector", "title", "size", "colour"]
    assert table.column("size").to_pylist() == [*SIZES, 9]
    assert table.column("colour").to_pylist() == [None] * ROWS + ["red"]
    arrays = found.to_numpy()
    np.testing.assert_array_equal(arrays["id"], [*IDS, 500])
    np.testing.assert_array_equal(arrays["vector"][:-1], VECTORS)
    assert arrays["vector"].shape == (ROWS + 1, DIM)
    assert arrays["title"].tolist() == [*TITLES, "last"]
    frame = found.to_pandas()
    assert list(frame.columns) == table.column_names
    assert frame["id"].tolist() == [*IDS.tolist(), 500]
    np.testing.assert_array_equal(np.stack(frame["vector"])[:-1], VECTORS)


def test_a_search_is_given_as_arrow_numpy_and_pandas(client: Any, shelf: str) -> None:
    client.insert(shelf, given("record batch"))
    found = client.search(shelf, VECTORS[[2, 5, 7]], limit=4, output_fields=["title", "vector"])
    table = found.to_arrow()
    assert table.column_names == ["query", "id", "distance", "title", "vector"]
    assert table.column("query").to_pylist() == [0] * 4 + [1] * 4 + [2] * 4
    assert table.column("id").to_pylist() == [key for hits in found for key in hits.ids]
    assert table.column("title").to_pylist() == [hit["entity"]["title"] for hits in found for hit in hits]
    arrays = found.to_numpy()
    assert arrays["distance"].dtype == np.float32
    np.testing.assert_array_equal(arrays["vector"][[0, 4, 8]], VECTORS[[2, 5, 7]])
    frame = found.to_pandas()
    assert frame.groupby("query")["id"].first().tolist() == [20, 50, 70]
    assert len(frame) == 12
    nothing = client.search(shelf, VECTORS[:2], filter="id < 0", output_fields=["title"])
    assert nothing.to_arrow().num_rows == 0
    assert nothing.to_pandas().empty


def test_results_are_lists(client: Any, shelf: str) -> None:
    client.insert(shelf, given("record batch"))
    rows = client.query(shelf, "id < 30", output_fields=["title"])
    assert len(rows) == 3
    assert rows == [{"id": i * 10, "title": TITLES[i]} for i in range(3)]
    assert rows[-1] == {"id": 20, "title": "title 2"}
    assert rows[:2] == list(rows)[:2]
    assert [row["id"] for row in reversed(rows)] == [20, 10, 0]
    assert rows.extra == {}
    assert str(rows).startswith("data: [")
    found = client.search(shelf, VECTORS[:2], limit=2)
    assert len(found) == 2
    assert found[1][0] == {"id": 10, "distance": 0.0, "entity": {}}
    assert str(found).startswith("data: [[{'id': 0,")
