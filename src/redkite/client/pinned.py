"""Reads that one cluster is to answer: sessions of a client, each with the name of a cluster.

Where several clusters hold the same data, and one address may lead to any of them, a session says which of them is
meant. Another one refuses its reads with CrossCluster, and does not answer with what it may not have yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from msgspec import structs

from redkite.client import arguments
from redkite.client.aio_hybrid import AsyncHybrid
from redkite.client.aio_iterators import AsyncIterators
from redkite.client.aio_reads import AsyncReads
from redkite.client.session import Effect, Operation, relayed
from redkite.client.sync_hybrid import SyncHybrid
from redkite.client.sync_iterators import SyncIterators
from redkite.client.sync_reads import SyncReads
from redkite.errors import MilvusException
from redkite.model.requests import HybridSearch, Query, Search

if TYPE_CHECKING:
    from redkite.client.aio_nodes import AsyncNodes
    from redkite.client.sync_nodes import SyncNodes

T = TypeVar("T")


def pinned(operation: Operation[T], cluster: str) -> Operation[T]:
    """The operation, whose reads one cluster is to answer."""

    def named(effect: Effect) -> Effect:
        if isinstance(effect, Search | Query | HybridSearch):
            return structs.replace(effect, cluster=cluster)
        return effect

    return relayed(operation, named)


def _named(operation: Operation[T], cluster: str) -> Operation[T]:
    """The same under the operation's own name, which traces show."""
    found: Any = pinned(operation, cluster)
    found.__name__ = getattr(operation, "__name__", found.__name__)
    named: Operation[T] = found
    return named


def _closed() -> MilvusException:
    return MilvusException("MilvusClient session is closed", 1)


class ClientSession(SyncReads, SyncHybrid, SyncIterators):
    """What `MilvusClient.session` gives: its reads, answered by one cluster. It has no connection of its own."""

    def __init__(self, client: SyncNodes, cluster_id: str) -> None:
        self._client: SyncNodes | None = client
        self._cluster = arguments.name("cluster_id", cluster_id)
        self._session = client._session  # the client's own: it follows its database

    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        if unknown:
            self._refuse(operation, unknown)
        client = self._client
        if client is None:
            raise _closed()
        return client._run(_named(operation, self._cluster), timeout, {})

    def _searched_again(self, *asked: Any) -> None:  # noqa: ARG002  each has to name its cluster
        return None

    def close(self) -> None:
        """Answer nothing more. The client stays open."""
        self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()


class AsyncClientSession(AsyncReads, AsyncHybrid, AsyncIterators):
    """What `AsyncMilvusClient.session` gives: the methods of `ClientSession`, awaited."""

    def __init__(self, client: AsyncNodes, cluster_id: str) -> None:
        self._client: AsyncNodes | None = client
        self._cluster = arguments.name("cluster_id", cluster_id)
        self._session = client._session  # the client's own: it follows its database

    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        if unknown:
            self._refuse(operation, unknown)
        client = self._client
        if client is None:
            raise _closed()
        return await client._run(_named(operation, self._cluster), timeout, {})

    async def close(self) -> None:
        """Answer nothing more. The client stays open."""
        self._client = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self.close()
