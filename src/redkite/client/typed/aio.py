"""Typed collections, awaited. What they do is documented where it blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from redkite.client.operations import hybrid, reads
from redkite.client.operations.kinds import Orderings, SearchOptions, split_options
from redkite.client.results import HybridHits, QueryResult
from redkite.client.schema import CollectionSchema
from redkite.client.session import Operation
from redkite.client.typed import operations
from redkite.client.typed.results import TypedHit, TypedHits, TypedRows, typed_hits
from redkite.client.typed.shape import Shape, part_of

if TYPE_CHECKING:
    from redkite.client.aio import AsyncMilvusClient
    from redkite.client.operations.data import Ids, Versions
    from redkite.client.ranking import AnnSearchRequest

M = TypeVar("M")
N = TypeVar("N")


class AsyncTypedReads(Generic[M]):
    """What can be read of a collection, as objects of a model."""

    def __init__(self, client: AsyncMilvusClient, stored: Shape, shape: Shape, name: str) -> None:
        self._client = client
        self._stored = stored
        self._shape = shape
        self.name = name
        """Of the collection."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}[{self._shape.cls.__name__}]({self.name!r})"

    async def _run(self, operation: Operation[N], timeout: float | None) -> N:
        return await self._client._run(operation, timeout, {})

    async def get(self, key: int | str, *, as_of: reads.Moment | None = None, timeout: float | None = None) -> M | None:
        found: list[M] = await self._run(
            operations.get(self._client._session, self._shape, self.name, key, as_of), timeout
        )
        return found[0] if found else None

    async def get_many(
        self, keys: Sequence[int] | Sequence[str], *, as_of: reads.Moment | None = None, timeout: float | None = None
    ) -> list[M]:
        return await self._run(operations.get(self._client._session, self._shape, self.name, keys, as_of), timeout)

    async def query(
        self,
        filter: str = "",
        *,
        limit: int | None = None,
        offset: int | None = None,
        order_by: Orderings | None = None,
        filter_params: dict[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
        consistency_level: str | int | None = None,
        as_of: reads.Moment | None = None,
        timeout: float | None = None,
    ) -> TypedRows[M]:
        return await self._run(
            operations.query(
                self._client._session, self._shape, self.name, filter, limit, offset, order_by, filter_params,
                partition_names, consistency_level, as_of,
            ),
            timeout,
        )  # fmt: skip

    async def count(
        self, filter: str = "", *, filter_params: dict[str, Any] | None = None, timeout: float | None = None
    ) -> int:
        return await self._run(operations.count(self._client._session, self.name, filter, filter_params), timeout)

    async def search(
        self,
        query: Any,
        *,
        limit: int = 10,
        filter: str = "",
        using: str = "",
        search_params: Mapping[str, Any] | None = None,
        offset: int | None = None,
        filter_params: dict[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
        consistency_level: str | int | None = None,
        as_of: reads.Moment | None = None,
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> TypedHits[M]:
        return await self._run(
            operations.one(
                self._search(
                    [query], limit, filter, using, search_params, offset, filter_params, partition_names,
                    consistency_level, as_of, options,
                )
            ),
            timeout,
        )  # fmt: skip

    async def search_many(
        self,
        queries: Any,
        *,
        limit: int = 10,
        filter: str = "",
        using: str = "",
        search_params: Mapping[str, Any] | None = None,
        offset: int | None = None,
        filter_params: dict[str, Any] | None = None,
        partition_names: Sequence[str] | None = None,
        consistency_level: str | int | None = None,
        as_of: reads.Moment | None = None,
        timeout: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> list[TypedHits[M]]:
        return await self._run(
            self._search(
                queries, limit, filter, using, search_params, offset, filter_params, partition_names,
                consistency_level, as_of, options,
            ),
            timeout,
        )  # fmt: skip

    def _search(
        self, queries: Any, limit: int, filter: str, using: str, search_params: Mapping[str, Any] | None,
        offset: int | None, filter_params: dict[str, Any] | None, partition_names: Sequence[str] | None,
        consistency_level: str | int | None, as_of: reads.Moment | None, options: Mapping[str, Any],
    ) -> Operation[list[TypedHits[M]]]:  # fmt: skip
        known, unknown = split_options(options, SearchOptions)
        operations.refuse(self.search, unknown)
        return operations.search(
            self._client._session, self._shape, self._stored, self.name, queries, limit, filter, using, search_params,
            offset, filter_params, partition_names, consistency_level, as_of, known,
        )  # fmt: skip

    async def hybrid_search(
        self,
        reqs: Sequence[AnnSearchRequest],
        ranker: hybrid.Ranker = None,
        *,
        limit: int = 10,
        partition_names: Sequence[str] | None = None,
        timeout: float | None = None,
        **options: Unpack[hybrid.HybridOptions],
    ) -> TypedHits[M]:
        known, unknown = split_options(options, hybrid.HybridOptions)
        operations.refuse(self.hybrid_search, unknown)
        found = operations.hybrid_search(
            self._client._session, self._shape, self.name, reqs, ranker, limit, partition_names, known
        )
        return await self._run(operations.one(found), timeout)

    async def pages(
        self,
        filter: str = "",
        *,
        batch_size: int = 1000,
        limit: int = -1,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[TypedRows[M]]:
        pages = self._client.query_iterator(
            self.name,
            batch_size,
            limit,
            filter,
            self._shape.output_fields,
            timeout=timeout,
            filter_params=filter_params,
        )
        async for page in pages:
            assert isinstance(page, QueryResult)
            yield TypedRows(self._shape, page)

    async def iterate(
        self,
        filter: str = "",
        *,
        batch_size: int = 1000,
        limit: int = -1,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[M]:
        async for page in self.pages(
            filter, batch_size=batch_size, limit=limit, filter_params=filter_params, timeout=timeout
        ):
            for one in page:
                yield one

    async def nearest(
        self,
        query: Any,
        *,
        filter: str = "",
        using: str = "",
        batch_size: int = 1000,
        limit: int = -1,
        search_params: Mapping[str, Any] | None = None,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[TypedHit[M]]:
        pages = self._client.search_iterator(
            self.name, [query], batch_size, filter, limit, self._shape.output_fields, search_params, timeout,
            anns_field=using or self._stored.target(query), filter_params=filter_params,
        )  # fmt: skip
        async for page in pages:
            assert isinstance(page, HybridHits)
            for hit in typed_hits(self._shape, page):
                yield hit


class AsyncTypedCollection(AsyncTypedReads[M]):
    """A collection whose rows are objects of a model. `AsyncMilvusClient.collection` makes one."""

    def __init__(self, client: AsyncMilvusClient, shape: Shape, name: str) -> None:
        super().__init__(client, shape, shape, name)

    @property
    def schema(self) -> CollectionSchema:
        return self._shape.schema()

    def reading(self, model: type[N]) -> AsyncTypedReads[N]:
        return AsyncTypedReads(self._client, self._stored, part_of(model, self._stored), self.name)

    async def insert(
        self, objects: M | Iterable[M], *, partition_name: str = "", timeout: float | None = None
    ) -> list[int | str]:
        return await self._run(
            operations.insert(self._client._session, self._shape, self.name, objects, partition_name), timeout
        )

    async def upsert(
        self,
        objects: M | Iterable[M],
        *,
        partition_name: str = "",
        if_version: Versions | None = None,
        timeout: float | None = None,
    ) -> list[int | str]:
        return await self._run(
            operations.upsert(self._client._session, self._shape, self.name, objects, partition_name, if_version),
            timeout,
        )

    async def delete(
        self,
        keys: Ids | None = None,
        *,
        filter: str | None = None,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> int:
        return await self._run(
            operations.delete(self._client._session, self.name, keys, filter, filter_params), timeout
        )

    async def drop(self, *, timeout: float | None = None) -> None:
        await self._client.drop_collection(self.name, timeout)
