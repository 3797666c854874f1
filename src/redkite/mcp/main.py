"""`redkite mcp`: an agent's way to a database, over standard input and output or over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from redkite import __version__
from redkite.client import AsyncMilvusClient
from redkite.errors import Unavailable
from redkite.mcp.tools import Tools

if TYPE_CHECKING:
    from mcp.server import MCPServer

Transport = Literal["stdio", "http"]
_INSTRUCTIONS = (
    "A vector database. List the collections and look at the one of interest before you search it: its fields say "
    "whether it is searched by words, by vectors, or by the meaning of texts."
)


def serve(
    uri: str, token: str = "", database: str = "", *, read_only: bool = False, transport: Transport = "stdio",
    host: str = "127.0.0.1", port: int = 8000, stateless: bool = False,
) -> None:  # fmt: skip
    """Serve until the agent goes away (stdio), or until interrupted (http).

    Raises Unavailable without the library, ConnectError when nothing answers at `uri`.
    """
    asyncio.run(_serve(uri, token, database, read_only, transport, host, port, stateless))


async def _serve(
    uri: str, token: str, database: str, read_only: bool, transport: Transport, host: str, port: int, stateless: bool
) -> None:
    client = AsyncMilvusClient(uri, token=token, db_name=database)
    try:
        server = make_server(client, read_only=read_only)
        if transport == "stdio":
            await server.run_stdio_async()
        else:
            await server.run_streamable_http_async(host=host, port=port, stateless_http=stateless)
    finally:
        await client.close()


def make_server(client: AsyncMilvusClient, *, read_only: bool = False) -> MCPServer:
    """A server of the Model Context Protocol whose tools ask the client."""
    try:
        from mcp.server import MCPServer
        from mcp.types import ToolAnnotations
    except ImportError:
        raise Unavailable("an MCP server needs the library mcp: pip install 'redkite[mcp]'") from None
    server = MCPServer(name="redkite", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING")
    tools = Tools(client)
    reading = {tool.__name__ for tool in tools.offered(read_only=True)}
    for tool in tools.offered(read_only=read_only):
        name = tool.__name__
        harmless = ToolAnnotations(read_only_hint=name in reading, destructive_hint=name == "milvus_delete_entities")
        server.add_tool(tool, annotations=harmless, structured_output=False)
    return server
