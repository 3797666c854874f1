"""A server that asks who calls, with collections that are worth looking at, some of them hostile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.server.guarded import ROOT, serve
from tests.servers import ProcessServer
from tests.webui.page import Page

import redkite

HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
ROWS = 300
LARGE = 2**53 + 1
"""A key that JavaScript has no number for."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("webui")


@pytest.fixture(scope="session")
def guarded(folder: Path) -> Iterator[ProcessServer]:
    settings = ('authorization = "on"', "slow_query_seconds = 0.000001", f'audit_log = "{folder}/audit.log"')
    credential = ("[credential.mine]", 'apikey = "the secret of a model"')
    with serve(folder, *settings, *credential) as process:
        with redkite.MilvusClient(process.uri, token=ROOT) as root:
            _fill(root)
        yield process


def _fill(root: redkite.MilvusClient) -> None:
    schema = root.create_schema(enable_dynamic_field=True, description=HOSTILE)
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("title", redkite.DataType.VARCHAR, max_length=500)
    schema.add_field("year", redkite.DataType.INT32)
    schema.add_field("meta", redkite.DataType.JSON)
    schema.add_field("embedding", redkite.DataType.FLOAT_VECTOR, dim=16)
    params = root.prepare_index_params()
    params.add_index("embedding", index_type="HNSW", metric_type="COSINE")
    root.create_collection("books", schema=schema, index_params=params)
    vectors = np.random.default_rng(3).standard_normal((ROWS, 16)).astype(np.float32)
    rows = [
        {
            "id": at,
            "title": HOSTILE if at % 2 else f"Book {at}",
            "year": 1900 + at % 120,
            "meta": {"pages": at, "by": HOSTILE},
            "embedding": vectors[at],
            HOSTILE: HOSTILE,
        }
        for at in range(ROWS)
    ]
    root.insert("books", rows)
    root.flush("books")
    root.create_alias("books", "novels")
    root.create_database("drafts", properties={"database.max.collections": "7"})
    root.create_collection("other", dimension=4)
    root.insert("other", [{"id": at, "vector": [1, at % 3, 1, 1]} for at in (LARGE, LARGE + 1)])
    root.create_collection("notes", dimension=4)
    root.insert("notes", [{"id": at, "vector": [at, 1, 1, 1], "owner": "bob" if at % 3 else "root"} for at in range(9)])
    root.create_row_policy("notes", "own", ["query", "search"], "owner == $user")
    for name in ("bob", "nobody"):
        root.create_user(name, f"{name} secret")
    root.create_role("reader")
    root.grant_role("bob", "reader")
    for name in ("books", "notes"):
        root.grant_privilege_v2("reader", "CollectionReadOnly", name)
    root.search("books", [vectors[0]], anns_field="embedding", limit=3, filter="year > 1950")


@pytest.fixture
def page(guarded: ProcessServer) -> Iterator[Page]:
    """A stranger at the page."""
    with Page(guarded.metrics_port) as visitor:
        yield visitor
