"""The blocking methods that read rows."""

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


class SyncReads(ClientBase):
    """Reads, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    @abstractmethod
    def _searched_again(self, name: str, data: Any, *asked: Any) -> SearchResult | None:
        """The answer to a search for `data`, where it can be had without an operation. `asked`: see `asked_before`."""

    def get(
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
        """Rows by primary key, whole if no `output_fields` are named. Keys that do not exist are left out.

        `as_of` reads them as they were then; `timezone` and `time_fields` say how times are shown: see `query`."""
        return self._run(
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

    def query(
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
        """Rows that match a filter, or have one of the given keys.

        Args:
            collection_name: Name or alias.
            filter: An expression; empty wants a `limit`.
            output_fields: Names, dynamic keys, `"*"` for all (the default), or `"count(*)"` alone.
            timeout: Seconds.
            ids: Keys, instead of a filter.
            partition_names: Look only there.
            limit: Rows at most.
            offset: Rows to skip.
            filter_params: Values of `{placeholders}` in the filter.
            consistency_level: Instead of the collection's own.
            ignore_growing: Leave out rows that are not yet in sealed segments.
            guarantee_timestamp: See every write up to this hybrid timestamp.
            as_of: Read the rows as they were then: a hybrid timestamp, a datetime or ISO 8601 text. Deleted and
                replaced rows are kept for `collection.retention.seconds`.
            timezone: Show times as they are in this IANA time zone, instead of the collection's.
            time_fields: Show times as lists of these numbers: year, month, day, hour, minute, second, microsecond.
            **options: Order, groups, plans: see `QueryOptions`.

        Returns:
            A list of dicts, made when it is looked into; `.to_arrow()`, `.to_numpy()`, `.to_pandas()` skip the dicts.
        """
        known, unknown = split_options(options, QueryOptions)
        return self._run(
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

    def search(
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
        """The rows closest to each query vector.

        Args:
            collection_name: Name or alias.
            data: A list of vectors or a (queries, dim) array; one vector alone is one query.
            filter: Only rows that match this expression.
            limit: Hits for each vector, at most.
            output_fields: Fields and dynamic keys to return; none by default, `"*"` for all.
            search_params: `metric_type` and the index's settings, flat or in `params`: `{"params": {"ef": 64}}`.
            timeout: Seconds.
            partition_names: Look only there.
            anns_field: The vector field; may be left out when there is one.
            offset: Hits to skip.
            round_decimal: Decimals of the distances; -1 for all.
            filter_params: Values of `{placeholders}` in the filter.
            consistency_level: Instead of the collection's own.
            ignore_growing: Leave out rows that are not yet in sealed segments.
            guarantee_timestamp: See every write up to this hybrid timestamp.
            as_of: Read the rows as they were then: a hybrid timestamp, a datetime or ISO 8601 text. Deleted and
                replaced rows are kept for `collection.retention.seconds`.
            timezone: Show times as they are in this IANA time zone, instead of the collection's.
            time_fields: Show times as lists of these numbers: year, month, day, hour, minute, second, microsecond.
            **options: Keys instead of vectors, groups, order, buckets, rankers, plans: see `SearchOptions`.

        Returns:
            One list of hits for each vector, made when it is looked into.
        """
        if (
            data is not None and not options and timeout is None and partition_names is None and offset is None
            and round_decimal is None and filter_params is None and consistency_level is None
            and ignore_growing is None and guarantee_timestamp is None and as_of is None and timezone is None
            and time_fields is None
        ):  # fmt: skip
            found = self._searched_again(collection_name, data, filter, limit, output_fields, search_params, anns_field)
            if found is not None:
                return found
        known, unknown = split_options(options, SearchOptions)
        return self._run(
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
