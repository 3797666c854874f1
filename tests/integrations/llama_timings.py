"""How long LlamaIndex's vector store takes with Redkite: each node added, and each query asked, in a call of its own.

    python -m tests.integrations.llama_timings [--uri http://localhost:19530] [--count 1000]

Without `--uri` a server is started for it. Four lines are printed: adding and querying, one call after the other and
all of them gathered on one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.milvus import MilvusVectorStore
from tests.integrations.meaning import DIM, TEXTS, vector_of
from tests.servers import ProcessServer


def nodes(count: int) -> list[TextNode]:
    """As many different nodes with vectors."""
    texts = [f"{TEXTS[number % len(TEXTS)]} number{number}" for number in range(count)]
    return [TextNode(id_=f"node-{i}", text=text, embedding=vector_of(text)) for i, text in enumerate(texts)]


def open_store(uri: str) -> MilvusVectorStore:
    """An empty store."""
    return MilvusVectorStore(
        uri=uri, collection_name="llama_timings", dim=DIM, overwrite=True, similarity_metric="COSINE",
        consistency_level="Strong",
    )  # fmt: skip


Call = Callable[[], Awaitable[object]]


async def one_by_one(calls: list[Call]) -> None:
    for call in calls:
        await call()


async def together(calls: list[Call]) -> None:
    await asyncio.gather(*(call() for call in calls))


async def measure(uri: str, count: int) -> dict[str, float]:
    """Seconds of each of the four."""
    many = nodes(count)
    queries = [VectorStoreQuery(query_embedding=node.embedding, similarity_top_k=10) for node in many]
    found: dict[str, float] = {}
    for way, run in (("in sequence", one_by_one), ("gathered", together)):
        store = open_store(uri)
        began = time.perf_counter()
        await run([partial(store.async_add, [node]) for node in many])
        added = time.perf_counter()
        await run([partial(store.aquery, query) for query in queries])
        found[f"{count} nodes added {way}"] = added - began
        found[f"{count} queries {way}"] = time.perf_counter() - added
        store.client.drop_collection(store.collection_name)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--uri", default="", help="a server or a .db file (default: a server of its own)")
    parser.add_argument("--count", type=int, default=1000, help="nodes, and queries (default: %(default)s)")
    given = parser.parse_args()
    if given.uri:
        found = asyncio.run(measure(given.uri, given.count))
    else:
        with tempfile.TemporaryDirectory() as folder, ProcessServer(Path(folder) / "data") as server:
            found = asyncio.run(measure(server.uri, given.count))
    for what, seconds in found.items():
        print(f"{what:<32} {seconds:7.2f} s  {seconds / given.count * 1000:6.2f} ms each")


if __name__ == "__main__":
    main()
