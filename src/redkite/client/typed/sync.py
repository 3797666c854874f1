"""Typed collections, blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    from redkite.client.operations.data import Ids, Versions
    from redkite.client.ranking import AnnSearchRequest
    from redkite.client.sync import MilvusClient

M = TypeVar("M")
N = TypeVar("N")


class TypedReads(Generic[M]):
    """What can be read of a collection, as objects of a model."""

    def __init__(self, client: MilvusClient, stored: Shape, shape: Shape, name: str) -> None:
        self._client = client
        self._stored = stored
        self._shape = shape
        self.name = name
        """Of the collection."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}[{self._shape.cls.__name__}]({self.name!r})"

    def _run(self, operation: Operation[N], timeout: float | None) -> N:
        return self._client._run(operation, timeout, {})

    def get(self, key: int | str, *, as_of: reads.Moment | None = None, timeout: float | None = None) -> M | None:
        """The object with a primary key, None when there is none."""
        found: list[M] = self._run(operations.get(self._client._session, self._shape, self.name, key, as_of), timeout)
        return found[0] if found else None

    def get_many(
        self, keys: Sequence[int] | Sequence[str], *, as_of: reads.Moment | None = None, timeout: float | None = None
    ) -> list[M]:
        """The objects with these primary keys; keys that do not exist are left out."""
        return self._run(operations.get(self._client._session, self._shape, self.name, keys, as_of), timeout)

    def query(
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
        """The objects that match a filter; without one it wants a limit. The arguments are those of the client's
        `query`."""
        return self._run(
            operations.query(
                self._client._session, self._shape, self.name, filter, limit, offset, order_by, filter_params,
                partition_names, consistency_level, as_of,
            ),
            timeout,
        )  # fmt: skip

    def count(
        self, filter: str = "", *, filter_params: dict[str, Any] | None = None, timeout: float | None = None
    ) -> int:
        """How many rows there are, or match a filter."""
        return self._run(operations.count(self._client._session, self.name, filter, filter_params), timeout)

    def search(
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
        """The objects closest to one query.

        Args:
            query: A vector as the model has it, or a text for full-text search or an embedding.
            limit: Hits at most.
            filter: Only objects that match this expression.
            using: The vector field, where the model has several for such a query.
            search_params: Settings of the index: `{"ef": 64}`.
            offset: Hits to skip.
            filter_params: Values of `{placeholders}` in the filter.
            partition_names: Look only there.
            consistency_level: Instead of the collection's own.
            as_of: Read the rows as they were then.
            timeout: Seconds.
            **options: See `SearchOptions`.
        """
        return self._run(
            operations.one(
                self._search(
                    [query], limit, filter, using, search_params, offset, filter_params, partition_names,
                    consistency_level, as_of, options,
                )
            ),
            timeout,
        )  # fmt: skip

    def search_many(
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
        """As `search`, by several queries in one call: a list of vectors or texts, or a matrix."""
        return self._run(
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

    def hybrid_search(
        self,
        reqs: Sequence[AnnSearchRequest],
        ranker: hybrid.Ranker = None,
        *,
        limit: int = 10,
        partition_names: Sequence[str] | None = None,
        timeout: float | None = None,
        **options: Unpack[hybrid.HybridOptions],
    ) -> TypedHits[M]:
        """Several searches by one query each, their hits ranked as one list; see the client's `hybrid_search`."""
        known, unknown = split_options(options, hybrid.HybridOptions)
        operations.refuse(self.hybrid_search, unknown)
        found = operations.hybrid_search(
            self._client._session, self._shape, self.name, reqs, ranker, limit, partition_names, known
        )
        return self._run(operations.one(found), timeout)

    def pages(
        self,
        filter: str = "",
        *,
        batch_size: int = 1000,
        limit: int = -1,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Iterator[TypedRows[M]]:
        """All objects that match a filter, by pages, in the order of their keys, as they were at the first page."""
        pages = self._client.query_iterator(
            self.name,
            batch_size,
            limit,
            filter,
            self._shape.output_fields,
            timeout=timeout,
            filter_params=filter_params,
        )
        for page in pages:
            assert isinstance(page, QueryResult)
            yield TypedRows(self._shape, page)

    def iterate(
        self,
        filter: str = "",
        *,
        batch_size: int = 1000,
        limit: int = -1,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Iterator[M]:
        """As `pages`, one object after another."""
        for page in self.pages(
            filter, batch_size=batch_size, limit=limit, filter_params=filter_params, timeout=timeout
        ):
            yield from page

    def nearest(
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
    ) -> Iterator[TypedHit[M]]:
        """Hits of one query from the closest outwards, all there are if nobody stops; read by pages."""
        pages = self._client.search_iterator(
            self.name, [query], batch_size, filter, limit, self._shape.output_fields, search_params, timeout,
            anns_field=using or self._stored.target(query), filter_params=filter_params,
        )  # fmt: skip
        for page in pages:
            assert isinstance(page, HybridHits)
            yield from typed_hits(self._shape, page)


class TypedCollection(TypedReads[M]):
    """A collection whose rows are objects of a model. `MilvusClient.collection` makes one."""

    def __init__(self, client: MilvusClient, shape: Shape, name: str) -> None:
        super().__init__(client, shape, shape, name)

    @property
    def schema(self) -> CollectionSchema:
        """The schema that the model describes."""
        return self._shape.schema()

    def reading(self, model: type[N]) -> TypedReads[N]:
        """The same collection, read as objects of another class that has some of its fields."""
        return TypedReads(self._client, self._stored, part_of(model, self._stored), self.name)

    def insert(
        self, objects: M | Iterable[M], *, partition_name: str = "", timeout: float | None = None
    ) -> list[int | str]:
        """Write objects, and give their keys. They are durable, and every later read sees them, when this returns."""
        return self._run(
            operations.insert(self._client._session, self._shape, self.name, objects, partition_name), timeout
        )

    def upsert(
        self,
        objects: M | Iterable[M],
        *,
        partition_name: str = "",
        if_version: Versions | None = None,
        timeout: float | None = None,
    ) -> list[int | str]:
        """Write objects in place of those with the same keys, and give the keys. See the client's `upsert`."""
        return self._run(
            operations.upsert(self._client._session, self._shape, self.name, objects, partition_name, if_version),
            timeout,
        )

    def delete(
        self,
        keys: Ids | None = None,
        *,
        filter: str | None = None,
        filter_params: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Delete by keys or by filter; how many there were."""
        return self._run(operations.delete(self._client._session, self.name, keys, filter, filter_params), timeout)

    def drop(self, *, timeout: float | None = None) -> None:
        """Drop the collection and its rows."""
        self._client.drop_collection(self.name, timeout)
