"""The asynchronous methods that begin an iterator. They do no I/O: the first page does."""

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
    AsyncPageIterator,
    Cursor,
    Filter,
    FilteredCursor,
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


class AsyncIterators(ClientBase):
    """Iterators, asynchronous."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
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
    ) -> AsyncPageIterator[Sequence[Hit]]:
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
        return AsyncPageIterator(cursor, partial(self._run, timeout=timeout, unknown={}))

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
    ) -> AsyncPageIterator[Sequence[dict[str, Any]]]:
        refuse_unknown("query_iterator", unknown, signature(self.query_iterator).parameters)
        operation = reads.query(
            self._session, collection_name, filter, output_fields, None, partition_names, 1, offset, filter_params,
            consistency_level, ignore_growing, None, as_of, None, None,
            {"order_by_fields": order_by_fields, "group_by_fields": group_by_fields},
        )  # fmt: skip
        file = None if iterator_cp_file is None else CursorFile(iterator_cp_file)
        cursor = query_cursor(self._session, opening(operation, requests.Query), batch_size, limit, file)
        return AsyncPageIterator(cursor, partial(self._run, timeout=timeout, unknown={}))
