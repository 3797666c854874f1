"""Texts that are none are refused by name and place before anything is written, and nothing of Python leaks out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk

from redkite.errors import MilvusException

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
LONE = "a\udcff"
"""Half of a pair of surrogates: a str of Python, and no Unicode."""
VECTORS = [[0.0, 1.0], [1.0, 0.0]]


def not_utf8() -> pa.Array:
    """Two texts as Arrow takes them from whoever gives it bytes; the second is none."""
    return pa.array([b"ok", b"a\xff"], pa.binary()).view(pa.string())


def arrow(**columns: pa.Array) -> pa.Table:
    vectors = pa.array(VECTORS, pa.list_(pa.float32()))
    return pa.table({"id": pa.array([1, 2]), "v": vectors, "text": pa.array(["a", "b"]), **columns})


WRITES: dict[str, tuple[Any, str]] = {
    "rows": (
        [{"id": key, "v": VECTORS[0], "text": text} for key, text in enumerate(("ok", LONE))],
        "field `text` is not valid Unicode: surrogates not allowed, row number: 1",
    ),
    "columns": ({"id": [1, 2], "v": VECTORS, "text": ["a", LONE]}, "field `text` is not valid Unicode"),
    "arrow": (arrow(text=not_utf8()), "field `text` is not valid UTF-8, row number: 1"),
    "arrow, large": (arrow(text=not_utf8().cast(pa.large_string())), "field `text` is not valid UTF-8, row number: 1"),
    "arrow, arrays": (
        arrow(tags=pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), not_utf8())),
        "field `tags` is not valid UTF-8, element of all rows: 1",
    ),
    "arrow, a dynamic key": (arrow(more=not_utf8()), "a text of a column of a dynamic key is not valid UTF-8"),
}


@pytest.fixture
def words(sdk: Sdk, client: Any, name: str) -> str:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("v", types.FLOAT_VECTOR, dim=2)
    schema.add_field("text", types.VARCHAR, max_length=9)
    schema.add_field("tags", types.ARRAY, element_type=types.VARCHAR, max_length=9, max_capacity=3, nullable=True)
    index = client.prepare_index_params("v", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index)
    return name


@pytest.mark.parametrize("how", WRITES)
def test_a_text_that_is_none_is_not_written(client: Any, words: str, how: str) -> None:
    rows, message = WRITES[how]
    for write in (client.insert, client.upsert):
        with pytest.raises(MilvusException) as caught:
            write(words, rows)
        assert message in caught.value.message
    assert client.query(words, "", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"] == 0


def test_a_text_that_is_none_is_not_asked_for(client: Any, words: str) -> None:
    for ask in (
        lambda: client.query(words, f"text == '{LONE}'"),
        lambda: client.query(words, "text == {x}", filter_params={"x": LONE}),
        lambda: client.delete(words, filter=f"text in ['{LONE}']"),
        lambda: client.search(words, VECTORS[:1], filter=f"text like '{LONE}'"),
    ):
        with pytest.raises(MilvusException, match=r"not valid (Unicode|UTF-8)") as caught:
            ask()
        assert caught.value.code == 1100
