"""Files that lie about what is in them are refused with a reason, whatever library stumbled over them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.formats.test_round_trips import engine_schema

from redkite import CollectionSchema, DataType
from redkite.formats.faults import BadFile
from redkite.formats.readers import Stored, read_json, read_npy, read_parquet
from redkite.formats.slabs import Fault, bound
from redkite.model import schema as model


def stored(data: bytes) -> Stored:
    return Stored("file", len(data), lambda: io.BytesIO(data))


def schema(kind: DataType, **settings: Any) -> model.CollectionSchema:
    made = CollectionSchema()
    made.add_field("id", DataType.INT64, is_primary=True)
    made.add_field("v", kind, **settings)
    return engine_schema(made)


SPARSE = schema(DataType.SPARSE_FLOAT_VECTOR)
DENSE = schema(DataType.FLOAT_VECTOR, dim=2)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "vector",
    ['{"indices":[1.5,2],"values":[1,2]}', '{"indices":[true,2],"values":[1,2]}', '{"1_0":1}', '{" 1":1}', '{"x":1}'],
)
def test_an_index_of_a_sparse_vector_that_is_no_whole_number_is_not_cut_off(vector: str) -> None:
    data = f'[{{"id":1,"v":{{"7":1}}}},{{"id":2,"v":{vector}}}]'.encode()
    (slab,) = read_json(stored(data), SPARSE, lines=False)
    with pytest.raises(Fault, match="is not a whole number") as caught:
        bound(SPARSE, slab)
    assert caught.value.row == 1


def test_neither_is_one_of_a_parquet_file() -> None:
    file = io.BytesIO()
    pq.write_table(
        pa.table({"id": [1, 2], "v": [{"indices": [1.0], "values": [1.0]}, {"indices": [1.5], "values": [2.0]}]}), file
    )
    (slab,) = read_parquet(stored(file.getvalue()), SPARSE)
    with pytest.raises(Fault, match=r"the index 1\.5 of the sparse vector is not a whole number") as caught:
        bound(SPARSE, slab)
    assert caught.value.row == 1


@pytest.mark.parametrize("kind", [np.longdouble, "M8[Y]", complex, "m8[s]"])
def test_numbers_that_nobody_knows_are_refused(kind: Any) -> None:
    files = {"id": stored(npy(np.arange(3))), "v": stored(npy(np.ones((3, 2)).astype(kind)))}
    with pytest.raises(BadFile):
        list(read_npy(files, DENSE))


def test_a_header_that_never_closes_its_brackets_is_refused() -> None:
    data = npy(np.ones((3, 2), np.float32)).replace(b"(3, 2)", b"(3, 2 ")
    with pytest.raises(BadFile, match="it is no NumPy file"):
        list(read_npy({"id": stored(npy(np.arange(3))), "v": stored(data)}, DENSE))


def test_a_page_that_does_not_unpack_is_refused() -> None:
    file = io.BytesIO()
    table = pa.table({"id": pa.array(range(5000)), "v": pa.array([[float(i), i * 0.37] for i in range(5000)])})
    pq.write_table(table, file, compression="snappy")
    data = bytearray(file.getvalue())
    data[200:2000] = bytes(1800)
    with pytest.raises(BadFile, match="snappy"):
        list(read_parquet(stored(bytes(data)), DENSE))
