"""An agent's session: the library's own client against `redkite mcp`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers import ProcessServer

import redkite
from redkite.client import AsyncMilvusClient

if TYPE_CHECKING:
    from mcp import Client

READS = {
    "milvus_list_collections", "milvus_get_collection_info", "milvus_query", "milvus_text_search",
    "milvus_vector_search", "milvus_hybrid_search", "milvus_text_similarity_search", "milvus_explain",
    "milvus_list_databases", "milvus_use_database",
}  # fmt: skip
WRITES = {
    "milvus_create_collection", "milvus_insert_data", "milvus_delete_entities", "milvus_load_collection",
    "milvus_release_collection",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("mcp") / "data") as process:
        yield process


@pytest.fixture(params=["embedded", "wire"])
def uri(request: pytest.FixtureRequest, server: ProcessServer, tmp_path: Path) -> str:
    return str(tmp_path / "agent.db") if request.param == "embedded" else server.uri


@asynccontextmanager
async def session(uri: str, *, read_only: bool = False) -> AsyncIterator[Client]:
    from mcp import Client

    from redkite.mcp.main import make_server

    client = AsyncMilvusClient(uri)
    try:
        async with Client(make_server(client, read_only=read_only)) as agent:
            yield agent
    finally:
        await client.close()


async def ask(agent: Client, tool: str, **arguments: Any) -> str:
    answer = await agent.call_tool(tool, arguments)
    (content,) = answer.content
    text: str = content.text  # type: ignore[union-attr]
    return text


async def test_an_agent_makes_fills_searches_and_empties_a_collection(uri: str) -> None:
    async with session(uri) as agent:
        made = await ask(agent, "milvus_create_collection", collection_name="birds", dimension=4, auto_id=False)
        assert "birds" in made
        assert "birds" in await ask(agent, "milvus_list_collections")
        rows = [{"id": n, "vector": [n, 1, 0, 0], "name": f"bird {n}"} for n in range(12)]
        told = await ask(agent, "milvus_insert_data", collection_name="birds", data=rows)
        assert '"insert_count":12' in told
        found = await ask(agent, "milvus_query", collection_name="birds", filter_expr="id == 3")
        assert "bird 3" in found
        near = await ask(agent, "milvus_vector_search", collection_name="birds", vector=[0, 1, 0, 0], limit=1)
        assert '"id":0' in near and "bird 0" in near
        info = await ask(agent, "milvus_get_collection_info", collection_name="birds")
        assert "vector" in info and "AUTOINDEX" in info
        told = await ask(agent, "milvus_explain", collection_name="birds", filter_expr="id < 3")
        assert "Error" not in told
        await ask(agent, "milvus_release_collection", collection_name="birds")
        assert "not loaded" in await ask(agent, "milvus_query", collection_name="birds", filter_expr="id == 3")
        await ask(agent, "milvus_load_collection", collection_name="birds")
        gone = await ask(agent, "milvus_delete_entities", collection_name="birds", filter_expr="id >= 6")
        assert gone.endswith("6")
        assert "none" in await ask(agent, "milvus_query", collection_name="birds", filter_expr="id == 7")
        redkite.MilvusClient(uri).drop_collection("birds")


async def test_an_agent_searches_by_words_and_by_both(uri: str) -> None:
    client = redkite.MilvusClient(uri)
    kinds = redkite.DataType
    schema = client.create_schema(auto_id=True)
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("text", kinds.VARCHAR, max_length=200, enable_analyzer=True)
    schema.add_field("words", kinds.SPARSE_FLOAT_VECTOR)
    schema.add_field("v", kinds.FLOAT_VECTOR, dim=2)
    schema.add_function(redkite.Function("bm25", redkite.FunctionType.BM25, "text", "words"))
    index = client.prepare_index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("texts", schema=schema, index_params=index)
    client.insert("texts", [{"text": t, "v": [n, n]} for n, t in enumerate(["red kite", "black kite", "wren"])])
    async with session(uri, read_only=True) as agent:
        found = await ask(
            agent, "milvus_text_search", collection_name="texts", query_text="wren", output_fields=["text"]
        )
        assert "wren" in found and "kite" not in found
        both = await ask(
            agent, "milvus_hybrid_search", collection_name="texts", query_text="wren", text_field="words",
            vector=[0, 0], vector_field="v", limit=2, output_fields=["text"],
        )  # fmt: skip
        assert "wren" in both and "red kite" in both
    client.drop_collection("texts")
    client.close()


async def test_an_agent_sees_keys_and_distances_whatever_the_fields_are_called(uri: str) -> None:
    with redkite.MilvusClient(uri) as client:
        client.create_collection("odd", dimension=2, primary_field_name="key", metric_type="L2")
        row = {"key": 5, "vector": [1.0, 2.0]}
        client.insert("odd", [row, {"key": 6, "vector": [1.0, 4.0], "id": 77, "distance": "far"}])
        async with session(uri, read_only=True) as agent:
            near = await ask(agent, "milvus_vector_search", collection_name="odd", vector=[1, 2], metric_type="L2")
            counted = await ask(
                agent, "milvus_query", collection_name="odd", filter_expr="", output_fields=["count(*)"]
            )
        client.drop_collection("odd")
    first, second = map(json.loads, near.split("\n\n")[1:])
    assert first == {"id": 5, "distance": 0.0, **row}
    assert (second["id"], second["distance"]) == (6, 4.0)
    assert (second["entity"]["id"], second["entity"]["distance"]) == (77, "far")
    assert counted.endswith('{"count(*)":2}')


async def test_what_goes_wrong_is_told_where_the_model_reads_it(uri: str) -> None:
    async with session(uri) as agent:
        missing = await ask(agent, "milvus_query", collection_name="nothing", filter_expr="id == 3")
        assert re.fullmatch(r"Error: .*nothing.*\(code 100\)", missing)
        assert (await ask(agent, "milvus_query", collection_name="x", filter_expr="", limit=0)).startswith(
            "Error: limit 0"
        )
        odd = await ask(
            agent, "milvus_create_collection", collection_name="x", field_schema=[{"name": "a", "type": "BIRD"}]
        )
        assert odd.startswith("Error: there is no field type BIRD")
        named = await ask(agent, "milvus_create_collection", collection_name="x", field_schema=[{"type": "INT64"}])
        assert named.startswith("Error: KeyError")
        number = await ask(
            agent, "milvus_create_collection", collection_name="x", field_schema=[{"name": "a", "type": 5}]
        )
        assert number.startswith("Error: there is no field type 5")
        index = [{"field_name": "vector"}]
        lost = await ask(agent, "milvus_create_collection", collection_name="x", index_params=index)
        assert lost.startswith("Error: index_params go with field_schema")
        assert "no collections" in await ask(agent, "milvus_list_collections")


async def test_only_reads_are_offered_when_nothing_may_change(uri: str) -> None:
    async with session(uri, read_only=True) as agent:
        offered = (await agent.list_tools()).tools
        assert {tool.name for tool in offered} == READS
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in offered)
        answer = await agent.call_tool("milvus_insert_data", {"collection_name": "x", "data": []})
        assert answer.is_error
    async with session(uri) as agent:
        assert {tool.name for tool in (await agent.list_tools()).tools} == READS | WRITES


async def test_an_agent_changes_to_another_database(server: ProcessServer) -> None:
    client = redkite.MilvusClient(server.uri)
    client.create_database("attic")
    async with session(server.uri) as agent:
        assert "attic" in await ask(agent, "milvus_list_databases")
        await ask(agent, "milvus_use_database", db_name="attic")
        assert "no collections" in await ask(agent, "milvus_list_collections")
        assert "Error" in await ask(agent, "milvus_use_database", db_name="cellar")
    client.drop_database("attic")
    client.close()


async def test_the_command_speaks_over_standard_input_and_output(tmp_path: Path) -> None:
    from mcp import Client, StdioServerParameters

    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "redkite", "mcp", "--read-only"],
        env={**os.environ, "MILVUS_URI": str(tmp_path / "agent.db")},
    )
    async with Client(command) as agent:
        assert "no collections" in await ask(agent, "milvus_list_collections")


async def test_the_command_speaks_over_http(server: ProcessServer) -> None:
    from mcp import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "redkite", "mcp", "--uri", server.uri, "--http", "--port", str(port)],
        stderr=subprocess.PIPE,
    )
    try:
        limit = time.monotonic() + 120
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < limit and process.poll() is None
            await asyncio.sleep(0.05)
        async with Client(f"http://127.0.0.1:{port}/mcp") as agent:
            assert "Databases" in await ask(agent, "milvus_list_databases")
    finally:
        process.terminate()
        process.communicate(timeout=60)
