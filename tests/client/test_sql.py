"""SQL over collections, in process and over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.servers import ProcessServer

import redkite
from redkite.errors import InvalidParameter, ParamError

ROWS = 3_000
DIM = 4


@pytest.fixture(scope="module", params=["embedded", "wire"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[redkite.MilvusClient]:
    folder = tmp_path_factory.mktemp("sql")
    if request.param == "embedded":
        with redkite.MilvusClient(str(folder / "sql.db")) as opened:
            yield filled(opened)
        return
    with ProcessServer(folder / "data") as server, redkite.MilvusClient(server.uri) as opened:
        yield filled(opened)


def filled(client: redkite.MilvusClient) -> redkite.MilvusClient:
    kinds = redkite.DataType
    schema = client.create_schema()
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("kind", kinds.VARCHAR, max_length=16)
    schema.add_field("price", kinds.DOUBLE, nullable=True)
    schema.add_field("v", kinds.FLOAT_VECTOR, dim=DIM)
    client.create_collection("birds", schema=schema)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_index("birds", index)
    client.load_collection("birds")
    numbers = np.arange(ROWS)
    kind = np.array(["kite", "wren", "owl"])[numbers % 3].tolist()
    price = [None if n % 10 == 0 else float(n) for n in range(ROWS)]
    vectors = np.repeat(numbers[:, None], DIM, axis=1).astype(np.float32)
    client.insert("birds", data=[numbers, kind, price, vectors])
    client.create_collection("kinds", dimension=2)
    client.insert("kinds", [{"id": n, "vector": [n, n], "kind": k, "legs": 2} for n, k in enumerate(["kite", "owl"])])
    return client


def test_rows_are_grouped_and_sorted(client: redkite.MilvusClient) -> None:
    found = client.sql("SELECT kind, count(*) AS n, max(price) AS dearest FROM birds GROUP BY kind ORDER BY kind")
    assert list(found) == [
        {"kind": "kite", "n": 1000, "dearest": 2997.0},
        {"kind": "owl", "n": 1000, "dearest": 2999.0},
        {"kind": "wren", "n": 1000, "dearest": 2998.0},
    ]
    assert found.columns == ["kind", "n", "dearest"]
    assert found[-1]["kind"] == "wren" and len(found[:2]) == 2
    assert "kite" in repr(found)


def test_collections_are_joined_and_dynamic_keys_are_columns(client: redkite.MilvusClient) -> None:
    found = client.sql(
        "SELECT k.kind, k.legs, count(*) AS n FROM birds b JOIN kinds k ON b.kind = k.kind GROUP BY ALL ORDER BY 1"
    )
    assert found.to_arrow().to_pylist() == [
        {"kind": "kite", "legs": 2, "n": 1000}, {"kind": "owl", "legs": 2, "n": 1000},
    ]  # fmt: skip


def test_vectors_are_arrays_of_their_dimension(client: redkite.MilvusClient) -> None:
    found = client.sql(
        f"SELECT id, array_distance(v, $q::FLOAT[{DIM}]) AS d FROM birds ORDER BY d LIMIT 2", {"q": [7.2] * DIM}
    )
    assert [row["id"] for row in found] == [7, 8]
    assert found[0]["d"] == pytest.approx(0.4, abs=1e-5)


def test_nulls_and_parameters_are_what_they_are_in_sql(client: redkite.MilvusClient) -> None:
    assert client.sql("SELECT count(*) AS n FROM birds WHERE price IS NULL")[0] == {"n": ROWS // 10}
    assert client.sql("SELECT count(price) AS n FROM birds WHERE id < ?", [20])[0] == {"n": 18}
    assert client.sql("SELECT 1 + 1 AS two")[0] == {"two": 2}


def test_a_statement_reads_one_moment(client: redkite.MilvusClient) -> None:
    client.create_collection("changing", dimension=2)
    client.insert("changing", [{"id": n, "vector": [n, n]} for n in range(5)])
    before = client.last_write_timestamp("changing")
    client.delete("changing", ids=[0, 1])
    assert client.sql("SELECT count(*) AS n FROM changing")[0]["n"] == 3
    assert client.sql("SELECT count(*) AS n FROM changing", as_of=before)[0]["n"] == 5
    client.drop_collection("changing")


def test_what_cannot_be_run_is_told(client: redkite.MilvusClient) -> None:
    with pytest.raises(ParamError, match="there is no table nothing"):
        client.sql("SELECT * FROM nothing")
    with pytest.raises(ParamError, match="only SELECT is understood, not DELETE"):
        client.sql("DELETE FROM birds")
    with pytest.raises(ParamError, match="one statement is expected, got 2"):
        client.sql("SELECT 1; SELECT 2")
    with pytest.raises(InvalidParameter, match="cannot parse the SQL"):
        client.sql("SELECT FROM WHERE")
    with pytest.raises(InvalidParameter, match="Referenced column"):
        client.sql("SELECT wings FROM birds")


async def test_it_can_be_awaited(tmp_path: Path) -> None:
    client = redkite.AsyncMilvusClient(str(tmp_path / "sql.db"))
    await client.create_collection("birds", dimension=2)
    await client.insert("birds", [{"id": 1, "vector": [1, 2]}])
    assert (await client.sql("SELECT id FROM birds"))[0] == {"id": 1}
    await client.close()


@pytest.mark.parametrize(
    "statement",
    [
        "WITH x AS (SELECT id, kind, price FROM birds) SELECT id FROM x WHERE id = 7",
        "SELECT id FROM (SELECT id, kind FROM birds) q WHERE id = 7",
        "SELECT * EXCLUDE (v, kind, price) FROM birds WHERE id = 7",
        "SELECT id FROM birds b WHERE id = 7 AND EXISTS (SELECT legs FROM kinds k WHERE k.id = 0)",
        "SELECT id FROM birds WHERE (true OR price = 1) AND id = 7",
    ],
)
def test_columns_that_are_named_and_not_read_do_no_harm(client: redkite.MilvusClient, statement: str) -> None:
    assert list(client.sql(statement)) == [{"id": 7}]


def test_json_is_text_for_the_functions_of_sql(tmp_path: Path) -> None:
    with redkite.MilvusClient(str(tmp_path / "json.db")) as client:
        kinds = redkite.DataType
        schema = client.create_schema()
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("j", kinds.JSON, nullable=True)
        schema.add_field("v", kinds.FLOAT_VECTOR, dim=2)
        client.create_collection("re", schema=schema)  # called like a module of Python
        index = client.prepare_index_params()
        index.add_index("v", index_type="FLAT", metric_type="L2")
        client.create_index("re", index)
        client.load_collection("re")
        client.insert("re", [{"id": 1, "j": {"k": "a"}, "v": [1, 1]}, {"id": 2, "j": None, "v": [1, 1]}])
        assert list(client.sql("SELECT id, j->>'k' AS k FROM re ORDER BY id")) == [
            {"id": 1, "k": "a"},
            {"id": 2, "k": None},
        ]
        with pytest.raises(InvalidParameter, match="no valid Unicode"):
            client.sql("SELECT '\ud800'")
