"""What importing a client loads, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

import redkite.client


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("name", ["MilvusClient", "AsyncMilvusClient"])
def test_a_client_loads_no_grpc_no_pandas_and_no_web_framework(name: str) -> None:
    loaded = loaded_by(f"from redkite import {name}")
    assert not loaded & {"grpc", "google", "pandas", "starlette", "uvicorn", "faiss", "pymilvus", "sklearn"}


def test_the_schema_builders_load_neither_arrow_nor_numpy() -> None:
    loaded = loaded_by("from redkite.client import CollectionSchema, DataType, FieldSchema, IndexParams")
    assert not loaded & {"pyarrow", "numpy", "grpc"}


def test_every_exported_name_can_be_had() -> None:
    for name in redkite.client.__all__:
        assert getattr(redkite.client, name).__name__ == name
    assert dir(redkite.client) == redkite.client.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        redkite.client.Nonsense
