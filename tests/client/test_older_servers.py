"""Replies of servers that tell less than today's: Milvus 2.3, milvus-lite."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from redkite import DataType, Unimplemented
from redkite.client.iterators import QueryCursor, SearchCursor
from redkite.client.session import Session
from redkite.errors import WireError
from redkite.model import requests, results
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel
from redkite.wire.collection import side_by_side

KEY = FieldSchema(name="key", data_type=DataType.INT64, is_primary=True)
INFO = results.CollectionInfo(
    schema=CollectionSchema(name="c", fields=(KEY,)), collection_id=7, database="", shards=1, partitions=1, aliases=(),
    consistency_level=ConsistencyLevel.Bounded, created_timestamp=1, update_timestamp=1,
)  # fmt: skip
ROWS = pa.record_batch({"key": pa.array([1, 2])})


def drive(operation: Generator[Any, Any, Any], *answers: Any) -> tuple[list[Any], Any]:
    """(what an operation asked, what it gave) when it is answered like this."""
    asked = []
    try:
        effect = operation.send(None)
        for answer in answers:
            asked.append(effect)
            effect = operation.send(answer)
    except StopIteration as finished:
        return asked, finished.value
    raise AssertionError("it asked for more")


def test_a_query_iterator_goes_on_behind_the_key_that_the_schema_names() -> None:
    rows = results.Rows(
        rows=ROWS, output_fields=("key",), primary_field="", collection="c", session_timestamp=9
    )  # older servers do not name the primary key in a reply
    cursor = QueryCursor(Session("there"), requests.Query(database="", collection="c"), 2, None)
    drive(cursor.page(), INFO, rows)
    asked, _ = drive(cursor.page(), rows)
    assert asked[0].filter == "key > 2"


def test_a_search_iterator_is_refused_rather_than_given_the_same_hits_again() -> None:
    hits = results.Hits(
        topks=np.array([2]), keys=ROWS.column(0), scores=np.zeros(2, np.float32), rows=ROWS, output_fields=("key",),
        primary_field="key", collection="c", session_timestamp=9,
    )  # fmt: skip
    query = requests.Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.zeros((1, 2), np.float32))
    first = requests.Search(database="", collection="c", queries=query, limit=1)
    with pytest.raises(Unimplemented, match="cannot go on where a page of a search ended"):
        drive(SearchCursor(Session("there"), first, 2, None).page(), INFO, hits)
    assert len(drive(SearchCursor(Session("there"), first, 3, None).page(), INFO, hits)[1]) == 2


def test_lists_that_a_reply_leaves_out_are_zeros() -> None:
    assert list(side_by_side(["a", "b"], [], [3, 4])) == [("a", 0, 3), ("b", 0, 4)]
    with pytest.raises(WireError, match="parallel lists of a reply differ in length"):
        side_by_side(["a", "b"], [1])
