"""The awaited methods that read rows. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar, Unpack

from redkite.client.base import ClientBase
from redkite.client.operations import reads
from redkite.client.operations.kinds import QueryOptions, SearchOptions, split_options
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.operations.data import Ids
    from redkite.client.results import QueryResult, SearchResult

T = TypeVar("T")


class AsyncReads(ClientBase):
    """Reads, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def get(
        self,
        collection_name: str,
        ids: Ids,
        output_fields: Sequence[str] | None = None,
        timeout: float | None = None,
        partition_names: Sequence[str] | None = None,
        *,
        consistency_level: str | int | None = None,
        as_of: reads.Moment | None = None,
        timezone: str | None = None,
        time_fields: str | Sequence[str] | None = None,
        **unknown: Never,
    ) -> QueryResult | list[dict[str, Any]]:
        return await self._run(
            reads.get(
                self._session,
                collection_name,
                ids,
                output_fields,
                partition_names,
                consistency_level,
                as_of,
                timezone,
                time_fields,
            ),
            timeout,
            unknown,
        )

    async def query(
        self,
        collection_name: str,
        filter: str | None = "",
        output_fields: Sequence[str] | None = None,
        timeout: float | None = None,
        ids: Ids | None = None,
        partition_names: Sequence[str] | None = None,
        *,
        limit: int | None = None,
        offset: int | None = None,
        filter_params: dict[str, Any] | None = None,
        consistency_level: str | int | None = None,
        ignore_growing: bool | None = None,
        guarantee_timestamp: int | None = None,
        as_of: reads.Moment | None = None,
        timezone: str | None = None,
        time_fields: str | Sequence[str] | None = None,
        **options: Unpack[QueryOptions],
    ) -> QueryResult:
        known, unknown = split_options(options, QueryOptions)
        return await self._run(
            reads.query(
                self._session,
                collection_name,
                filter,
                output_fields,
                ids,
                partition_names,
                limit,
                offset,
                filter_params,
                consistency_level,
                ignore_growing,
                guarantee_timestamp,
                as_of,
                timezone,
                time_fields,
                known,
            ),
            timeout,
            unknown,
        )

    async def search(
        self,
        collection_name: str,
        data: Any = None,
        filter: str | None = "",
        limit: int = 10,
        output_fields: Sequence[str] | None = None,
        search_params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        partition_names: Sequence[str] | None = None,
        anns_field: str | None = None,
        *,
        offset: int | None = None,
        round_decimal: int | None = None,
        filter_params: dict[str, Any] | None = None,
        consistency_level: str | int | None = None,
        ignore_growing: bool | None = None,
        guarantee_timestamp: int | None = None,
        as_of: reads.Moment | None = None,
        timezone: str | None = None,
        time_fields: str | Sequence[str] | None = None,
        **options: Unpack[SearchOptions],
    ) -> SearchResult:
        known, unknown = split_options(options, SearchOptions)
        return await self._run(
            reads.search(
                self._session,
                collection_name,
                data,
                filter,
                limit,
                output_fields,
                search_params,
                partition_names,
                anns_field,
                offset,
                round_decimal,
                filter_params,
                consistency_level,
                ignore_growing,
                guarantee_timestamp,
                as_of,
                timezone,
                time_fields,
                known,
            ),
            timeout,
            unknown,
        )
