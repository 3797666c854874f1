"""The blocking methods that begin an iterator. They do no I/O: the first page does."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, Never, TypeVar

from redkite.client.arguments import refuse_unknown
from redkite.client.base import ClientBase
from redkite.client.cursor_file import CursorFile
from redkite.client.iterators import (
    Cursor,
    Filter,
    FilteredCursor,
    PageIterator,
    SearchCursor,
    opening,
)
from redkite.client.operations import reads
from redkite.client.operations.kinds import Orderings
from redkite.client.ordered_cursors import query_cursor
from redkite.client.results import Hit
from redkite.client.session import Operation
from redkite.model import requests

T = TypeVar("T")


class SyncIterators(ClientBase):
    """Iterators, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def search_iterator(
        self,
        collection_name: str,
        data: Any,
        batch_size: int = 1000,
        filter: str | None = "",
        limit: int | None = -1,
        output_fields: Sequence[str] | None = None,
        search_params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        partition_names: Sequence[str] | None = None,
        anns_field: str | None = None,
        round_decimal: int = -1,
        external_filter_func: Filter | None = None,
        *,
        filter_params: dict[str, Any] | None = None,
        consistency_level: str | int | None = None,
        ignore_growing: bool | None = None,
        as_of: reads.Moment | None = None,
        **unknown: Never,
    ) -> PageIterator[Sequence[Hit]]:
        """Hits of one query vector by pages, from the closest outwards: all of them if nobody stops, none left out and
        none twice, as the rows were when the first page was read.

        Args:
            collection_name: Name or alias.
            data: One vector.
            batch_size: Hits a page, at most 16,384.
            filter: Only rows that match this expression.
            limit: Hits in all; -1 for no limit.
            output_fields: Fields and dynamic keys to return; none by default, `"*"` for all.
            search_params: As for `search`, `radius` and `range_filter` too; every row is compared, whatever the index.
            timeout: Seconds, for each page.
            partition_names: Look only there.
            anns_field: The vector field; may be left out when there is one.
            round_decimal: Decimals of the distances; -1 for all.
            external_filter_func: Takes the hits of a page and gives those to keep; `limit` and `batch_size` then count
                what is kept.
            filter_params: Values of `{placeholders}` in the filter.
            consistency_level: Instead of the collection's own.
            ignore_growing: Leave out rows that are not yet in sealed segments.
            as_of: Read the rows as they were then, see `search`.
        """
        refuse_unknown("search_iterator", unknown, signature(self.search_iterator).parameters)
        operation = reads.search(
            self._session, collection_name, data, filter, 1, output_fields, search_params, partition_names, anns_field,
            None, round_decimal, filter_params, consistency_level, ignore_growing, None, as_of, None, None,
        )  # fmt: skip
        first = opening(operation, requests.Search)
        if external_filter_func is None:
            cursor: Cursor[Sequence[Hit]] = SearchCursor(self._session, first, batch_size, limit)
        else:
            whole = SearchCursor(self._session, first, batch_size, None)
            cursor = FilteredCursor(whole, external_filter_func, batch_size, limit)
        return PageIterator(cursor, partial(self._run, timeout=timeout, unknown={}))

    def query_iterator(
        self,
        collection_name: str,
        batch_size: int = 1000,
        limit: int | None = -1,
        filter: str | None = "",
        output_fields: Sequence[str] | None = None,
        partition_names: Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        offset: int | None = None,
        iterator_cp_file: str | Path | None = None,
        filter_params: dict[str, Any] | None = None,
        consistency_level: str | int | None = None,
        ignore_growing: bool | None = None,
        as_of: reads.Moment | None = None,
        order_by_fields: Orderings | None = None,
        group_by_fields: Sequence[str] | str | None = None,
        **unknown: Never,
    ) -> PageIterator[Sequence[dict[str, Any]]]:
        """Rows that match a filter by pages, in the order of their primary keys, as they were when the first page was
        read.

        Args:
            collection_name: Name or alias.
            batch_size: Rows a page, at most 16,384.
            limit: Rows in all; -1 for no limit.
            filter: An expression; empty for all rows.
            output_fields: Names, dynamic keys, or `"*"` for all (the default).
            timeout: Seconds, for each page.
            partition_names: Look only there.
            offset: Rows to skip at the beginning.
            iterator_cp_file: Where to note how far the iterator has come. When the file is there, it goes on from it,
                on the same snapshot; `close()` removes it.
            filter_params: Values of `{placeholders}` in the filter.
            consistency_level: Instead of the collection's own.
            ignore_growing: Leave out rows that are not yet in sealed segments.
            as_of: Read the rows as they were then, see `query`.
            order_by_fields: Instead of by primary keys, order them by these fields, dynamic keys or JSON paths, as
                `query` does; at a path all values must be numbers, or texts, or truth values.
            group_by_fields: One row for each value of these fields, see `query`; they are made at the first page.
        """
        refuse_unknown("query_iterator", unknown, signature(self.query_iterator).parameters)
        operation = reads.query(
            self._session, collection_name, filter, output_fields, None, partition_names, 1, offset, filter_params,
            consistency_level, ignore_growing, None, as_of, None, None,
            {"order_by_fields": order_by_fields, "group_by_fields": group_by_fields},
        )  # fmt: skip
        file = None if iterator_cp_file is None else CursorFile(iterator_cp_file)
        cursor = query_cursor(self._session, opening(operation, requests.Query), batch_size, limit, file)
        return PageIterator(cursor, partial(self._run, timeout=timeout, unknown={}))
