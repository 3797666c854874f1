"""Results are views that behave like the lists and dicts of Milvus's SDK."""

from __future__ import annotations

import copy
import json
import pickle
import struct
import time
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from msgspec import structs

from redkite.client.results import Hit, HybridHits, OmitZeroDict, QueryResult, SearchResult
from redkite.client.values import python_values
from redkite.errors import WireError
from redkite.model.batch import arrow_field
from redkite.model.results import Hits, Rows
from redkite.model.types import DataType

VECTORS = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(10, dtype=np.float32)), 2)
META = [b'{"color":"red","size":1}', b'{"color":"blue"}', b"{}", b'{"color":"red","text":"lost"}', b'{"size":"big"}']


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def hits(*output: str, **columns: Any) -> Hits:
    """Five hits of two queries: three and two."""
    rows = batch(**columns) if columns else batch(x=[0] * 5).select([])
    return Hits(
        topks=np.array([3, 2]), keys=pa.array([7, 5, 3, 2, 1]), scores=np.array([0.1, 0.2, 0.3, 1.5, 2.5], np.float32),
        rows=rows, output_fields=output or tuple(columns), primary_field="key", collection="c", session_timestamp=9,
    )  # fmt: skip


def found(*output: str, **columns: Any) -> QueryResult:
    rows = batch(**columns)
    return QueryResult(
        Rows(
            rows=rows, output_fields=output or tuple(columns), primary_field="key", collection="c", session_timestamp=9
        )
    )


def test_a_search_result_is_a_list_of_lists_of_hits() -> None:
    result = SearchResult(hits(text=["a", "b", "c", "d", "e"], vector=VECTORS))
    assert len(result) == 2
    assert [len(one) for one in result] == [3, 2]
    assert result[0].ids == [7, 5, 3]
    assert result[1].distances == [1.5, 2.5]
    assert result[1][0] == {"key": 2, "distance": 1.5, "entity": {"text": "d", "vector": [6.0, 7.0]}}
    assert [hit["key"] for one in result for hit in one] == [7, 5, 3, 2, 1]
    assert result[0][-1].id == 3
    assert [hit.id for hit in result[0][:2]] == [7, 5]
    assert isinstance(result[-1], HybridHits)
    assert result[0] is result[0]
    assert result == [list(result[0]), list(result[1])]
    assert result.session_timestamp == 9
    assert result.recalls is None
    with pytest.raises(IndexError):
        result[2]


def test_keys_are_shown_alike_whether_they_are_bare_numbers_or_a_column() -> None:
    column = hits(text=list("abcde"))
    bare = structs.replace(column, keys=np.array([7, 5, 3, 2, 1]))
    assert bare.ids == column.ids and bare.ids.type == pa.int64()
    assert SearchResult(bare) == SearchResult(column) and repr(SearchResult(bare)) == repr(SearchResult(column))
    assert json.dumps(SearchResult(bare)[1].ids) == "[2, 1]"
    assert SearchResult(bare).to_arrow() == SearchResult(column).to_arrow()
    assert pickle.loads(pickle.dumps(SearchResult(bare))) == SearchResult(column)


def test_a_hit_is_a_dict_with_attributes() -> None:
    hit = SearchResult(hits(text=list("abcde")))[0][0]
    assert (hit.id, hit.pk, hit["key"], hit.get("key")) == (7, 7, 7, 7)
    assert hit.distance == hit.score == hit["distance"] == float(np.float32(0.1))
    assert hit["text"] == hit.text == hit.get("text") == hit.entity.get("text") == hit.fields["text"] == "a"
    assert hit.entity["text"] == "a"
    assert hit.get("other", 4) == 4
    assert hit.to_dict() == {"key": 7, "distance": hit.distance, "entity": {"text": "a"}}
    assert json.loads(json.dumps(hit))["entity"] == {"text": "a"}
    with pytest.raises(KeyError):
        hit["other"]
    with pytest.raises(AttributeError, match="no field 'other'"):
        hit.other
    assert pickle.loads(pickle.dumps(hit)) == copy.copy(hit) == hit
    assert isinstance(copy.copy(hit), Hit)


def test_only_the_dynamic_keys_that_were_asked_for_are_shown() -> None:
    result = SearchResult(hits("text", "color", **{"text": list("abcde"), "$meta": META}))
    assert [hit["entity"] for hit in result[0]] == [
        {"text": "a", "color": "red"}, {"text": "b", "color": "blue"}, {"text": "c"},
    ]  # fmt: skip
    assert result[1][0]["entity"] == {"text": "d", "color": "red"}
    result = SearchResult(hits("text", "$meta", **{"text": list("abcde"), "$meta": META}))
    assert result[0][0]["entity"] == {"text": "a", "color": "red", "size": 1}
    assert result[1][0]["entity"] == {"text": "d", "color": "red"}


def test_distances_are_rounded_as_asked() -> None:
    assert SearchResult(hits(), 1)[0].distances == [0.1, 0.2, 0.3]
    assert SearchResult(hits())[0].distances != [0.1, 0.2, 0.3]


def test_a_result_without_hits_is_a_list_of_empty_lists() -> None:
    none = Hits(
        topks=np.array([0]), keys=pa.array([], pa.int64()), scores=np.array([], np.float32),
        rows=batch(x=[]).select([]), output_fields=(), primary_field="id", collection="c", session_timestamp=1,
    )  # fmt: skip
    result = SearchResult(none)
    assert result == [[]]
    assert repr(result) == "data: [[]]"
    assert result.to_arrow().num_rows == 0


def test_search_results_print_as_milvus_users_know_them() -> None:
    result = SearchResult(hits(text=list("abcde")), 1)
    assert repr(result[1]) == (
        "[{'key': 2, 'distance': 1.5, 'entity': {'text': 'd'}}, {'key': 1, 'distance': 2.5, 'entity': {'text': 'e'}}]"
    )
    assert str(result).startswith("data: [[{'key': 7, 'distance': 0.1, 'entity': {'text': 'a'}}, ")


def test_hits_become_tables_arrays_and_frames() -> None:
    result = SearchResult(hits("text", "vector", "color", **{"text": list("abcde"), "vector": VECTORS, "$meta": META}))
    table = result.to_arrow()
    assert table.column_names == ["query", "key", "distance", "text", "vector", "color"]
    assert table["query"].to_pylist() == [0, 0, 0, 1, 1]
    assert table["color"].to_pylist() == ["red", "blue", None, "red", None]
    arrays = result.to_numpy()
    assert arrays["vector"].shape == (5, 2)
    assert arrays["distance"].dtype == np.float32
    assert arrays["vector"].base is not None
    frame = result.to_pandas()
    assert frame["key"].tolist() == [7, 5, 3, 2, 1]
    assert frame["vector"][3].tolist() == [6.0, 7.0]


def test_a_query_result_is_a_list_of_dicts() -> None:
    result = found("key", "vector", "$meta", **{"key": [1, 2, 3, 4, 5], "vector": VECTORS, "$meta": META})
    assert result[0] == {"key": 1, "vector": [0.0, 1.0], "color": "red", "size": 1}
    assert list(result[0]) == ["key", "vector", "color", "size"]
    assert [row["key"] for row in result] == [1, 2, 3, 4, 5]
    assert len(result) == 5
    assert result[1:3] == [result[1], result[2]]
    assert result.extra == {}
    assert str(result).startswith("data: [{'key': 1, ")
    table = result.to_arrow()
    assert table.column_names == ["key", "vector", "color", "size", "text"]
    assert table["size"].to_pylist() == ["1", None, None, None, '"big"']
    assert result.to_pandas()["color"].tolist()[:2] == ["red", "blue"]
    assert result.to_numpy()["key"].tolist() == [1, 2, 3, 4, 5]


def test_a_field_wins_over_a_dynamic_key_of_its_name() -> None:
    result = found("text", "$meta", **{"text": list("abcde"), "$meta": META})
    assert result[3]["text"] == "d"


def test_long_results_print_ten_rows() -> None:
    assert str(found(key=list(range(12)))).endswith("{'key': 9}] ... and 2 results remaining")


def test_values_of_every_type_come_out_as_python() -> None:
    assert python_values(pa.array([0.1, None], pa.float32())) == [float(np.float32(0.1)), None]
    assert python_values(pa.array([0.1], pa.float32())) == [float(np.float32(0.1))]
    assert python_values(pa.array([True, None])) == [True, None]
    assert python_values(pa.array([[1, 2], None])) == [[1, 2], None]
    assert python_values(pa.array([b'{"a":1}', None, b"[1]"])) == [{"a": 1}, None, [1]]
    assert python_values(pa.array([b"ab", None], pa.binary(2))) == [b"ab", None]
    assert python_values(pa.array([b"ab", None], pa.binary(2)), listed=True) == [[b"ab"], None]
    assert python_values(pa.array([[1, 2], None], pa.list_(pa.float32(), 2))) == [[1.0, 2.0], None]
    assert python_values(pa.array([[1, -2]], pa.list_(pa.int8(), 2))) == [b"\x01\xfe"]
    assert python_values(pa.array([[1, -2], None], pa.list_(pa.int8(), 2)), listed=True) == [[b"\x01\xfe"], None]
    assert python_values(VECTORS.slice(3)) == [[6.0, 7.0], [8.0, 9.0]]
    sparse = struct.pack("<IfIf", 1, 0.5, 9, 2.0)
    assert python_values(pa.array([sparse, None]), DataType.SPARSE_FLOAT_VECTOR) == [{1: 0.5, 9: 2.0}, None]
    times = pa.array([0, 1_500_000, None])
    assert python_values(times, DataType.TIMESTAMPTZ) == ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01.5Z", None]
    with pytest.raises(WireError, match="does not parse"):
        python_values(pa.array([b"{"]))


def test_a_column_that_names_its_type_is_read_by_it() -> None:
    field = arrow_field("v", DataType.SPARSE_FLOAT_VECTOR, pa.binary())
    rows = pa.RecordBatch.from_arrays([pa.array([struct.pack("<If", 1, 0.5)])], schema=pa.schema([field]))
    result = QueryResult(Rows(rows=rows, output_fields=("v",), primary_field="v", collection="c", session_timestamp=1))
    assert result == [{"v": {1: 0.5}}]


def test_counts_of_zero_are_kept_and_not_printed() -> None:
    counts = OmitZeroDict({"delete_count": 0, "cost": 3})
    assert counts["delete_count"] == 0
    assert str(counts) == "{'cost': 3}"
    assert repr(counts) == "{'delete_count': 0, 'cost': 3}"
    assert counts.omit_zero_len() == 1


def test_nothing_is_made_until_it_is_looked_at() -> None:
    """Making a result of ten thousand hits with vectors costs no more than making one of none."""
    count = 10_000
    columns = {"vector": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(count * 8, np.float32)), 8)}
    many = Hits(
        topks=np.array([count]), keys=pa.array(np.arange(count)), scores=np.zeros(count, np.float32),
        rows=batch(**columns), output_fields=("vector",), primary_field="id", collection="c", session_timestamp=1,
    )  # fmt: skip
    best = min(_seconds(lambda: SearchResult(many)) for _ in range(20))
    assert best < 50e-6
    result = SearchResult(many)
    assert len(result[0]) == count
    assert not result[0]._is_made


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_results_are_lists_wherever_lists_are_wanted() -> None:
    assert json.loads(json.dumps(found(key=[1, 2]))) == [{"key": 1}, {"key": 2}]
    assert json.loads(json.dumps(SearchResult(hits(), 1)))[1] == [
        {"key": 2, "distance": 1.5, "entity": {}}, {"key": 1, "distance": 2.5, "entity": {}},
    ]  # fmt: skip
    rows, more = found(key=[3, 1, 2]), found(key=[0])
    assert isinstance(rows, list)
    assert [row["key"] for row in rows + more] == [3, 1, 2, 0]
    assert [row["key"] for row in [{"key": 9}] + found(key=[8])] == [9, 8]  # noqa: RUF005  that is what is asked here
    assert [row["key"] for row in reversed(found(key=[1, 2]))] == [2, 1]
    assert found(key=[1]) == [{"key": 1}]
    assert [{"key": 1}] == found(key=[1]) == found(key=[1]) != found(key=[2])
    rows.sort(key=lambda row: row["key"])
    rows.append({"key": 7})
    rows += more
    assert [row["key"] for row in rows] == [1, 2, 3, 7, 0]
    assert rows.pop() == {"key": 0}
    assert len(rows) == 4
    assert rows.to_arrow()["key"].to_pylist() == [3, 1, 2], "what was read stays as it was"
    first = SearchResult(hits(text=list("abcde")))[0]
    first.reverse()
    assert [hit.id for hit in first] == [3, 5, 7]
    assert first.ids == [7, 5, 3]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
@pytest.mark.parametrize("looked", [False, True])
def test_copies_of_results_are_as_they_were(again: Any, looked: bool) -> None:
    rows, result = found(key=[1, 2]), SearchResult(hits(text=list("abcde")), 1)
    rows.extra["cost"] = 5
    if looked:
        rows.append({"key": 3})
        result[0].pop()
    assert again(rows) == rows
    assert len(again(rows)) == len(rows)
    assert again(rows).extra == {"cost": 5}
    assert again(result) == result
    assert again(result)[0] == result[0]
    assert again(result)[1].distances == [1.5, 2.5]


def test_compiled_code_that_reads_a_list_without_asking_it_is_told_to_have_it_made() -> None:
    rows = found(key=[1, 2])
    with pytest.raises(TypeError, match="CallMaterializeFirst"):
        orjson.dumps(rows)
    rows.materialize()
    assert orjson.loads(orjson.dumps(rows)) == [{"key": 1}, {"key": 2}]
