"""The awaited methods that look after segments. Documented at their blocking twins."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client import arguments
from redkite.client.base import ClientBase
from redkite.client.operations import advice, upkeep
from redkite.client.operations.reads import Moment
from redkite.client.session import Operation
from redkite.model.advice import IndexAdvices, RecallReport
from redkite.model.upkeep import SegmentInfo
from redkite.model.usage import MemoryReport, StorageReport

if TYPE_CHECKING:
    from redkite.client.optimizing import AsyncOptimizeTask
    from redkite.client.sql import SqlResult

T = TypeVar("T")


class AsyncUpkeep(ClientBase):
    """Compaction and segments, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def sql(
        self,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        as_of: Moment | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> SqlResult:
        from redkite.client.operations import sql

        statement = await self._run(sql.sql(self._session, query, parameters, as_of), timeout, unknown)
        return await asyncio.to_thread(statement.run)

    async def compact(
        self,
        collection_name: str,
        is_clustering: bool = False,
        is_l0: bool = False,
        target_size: int | None = None,
        target_size_unit: str = "mb",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        return await self._run(
            upkeep.compact(self._session, collection_name, is_clustering, is_l0, target_size, target_size_unit),
            timeout,
            unknown,
        )

    async def get_compaction_state(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> str:
        return await self._run(upkeep.get_compaction_state(self._session, job_id), timeout, unknown)

    async def get_compaction_plans(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> upkeep.CompactionPlans:
        return await self._run(upkeep.get_compaction_plans(self._session, job_id), timeout, unknown)

    async def list_compaction_tasks(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> upkeep.CompactionPlans:
        return await self._run(upkeep.list_compaction_tasks(self._session, collection_name), timeout, unknown)

    async def optimize(
        self,
        collection_name: str,
        target_size: str | None = None,
        wait: bool = True,
        timeout: float | None = None,
        **unknown: Never,
    ) -> AsyncOptimizeTask | upkeep.OptimizeResult:
        if arguments.flag("wait", wait):
            return await self._run(upkeep.optimize(self._session, collection_name, target_size, []), timeout, unknown)
        from redkite.client.optimizing import AsyncOptimizeTask

        make = partial(upkeep.optimize, self._session, collection_name, target_size)
        if unknown:
            self._refuse(make([]), unknown)
        upkeep.check_optimize(collection_name, target_size)
        return AsyncOptimizeTask(make, lambda operation: self._run(operation, timeout, {}))

    async def list_persistent_segments(
        self,
        collection_name: str,
        timeout: float | None = None,
        states: Sequence[int] | None = None,
        **unknown: Never,
    ) -> list[SegmentInfo]:
        return await self._run(
            upkeep.list_persistent_segments(self._session, collection_name, states), timeout, unknown
        )

    async def list_segments(
        self,
        collection_name: str,
        states: Sequence[int] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[SegmentInfo]:
        return await self._run(
            upkeep.list_persistent_segments(self._session, collection_name, states), timeout, unknown
        )

    async def list_loaded_segments(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[SegmentInfo]:
        return await self._run(upkeep.list_loaded_segments(self._session, collection_name), timeout, unknown)

    async def memory_report(self, timeout: float | None = None, **unknown: Never) -> MemoryReport:
        return await self._run(upkeep.memory_report(self._session), timeout, unknown)

    async def storage_report(self, timeout: float | None = None, **unknown: Never) -> StorageReport:
        return await self._run(upkeep.storage_report(self._session), timeout, unknown)

    # -- measurements -------------------------------------------------------------------------
    async def measure_recall(
        self,
        collection_name: str,
        limit: int = 10,
        queries: int = 100,
        anns_field: str | None = None,
        search_params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> RecallReport:
        """Ask the newest searches of a collection once more, as `search_params` say and exactly.

        Args:
            collection_name: The collection.
            limit: Hits of each query.
            queries: How many, at most 1,000. Where none was asked yet, points between stored vectors stand in.
            anns_field: The vector field, where there are several.
            search_params: Of the index, as `search` takes them.
            timeout: Seconds.

        Returns:
            `recall`, with 95 % confidence between `low` and `high`.
        """
        return await self._run(
            advice.measure_recall(self._session, collection_name, limit, queries, anns_field, search_params),
            timeout,
            unknown,
        )

    async def advise_index(
        self,
        collection_name: str,
        recall: float = 0.95,
        limit: int = 10,
        anns_field: str | None = None,
        sample: int = 10_000,
        timeout: float | None = None,
        **unknown: Never,
    ) -> IndexAdvices:
        """Build every index type that fits over a sample of the rows, and search it.

        Args:
            collection_name: The collection, with an index that gives the metric, and loaded.
            recall: The part of the true neighbours that has to be found.
            limit: Hits of each query.
            anns_field: The vector field, where there are several.
            sample: Rows to try on, 1,000 to 200,000 at most.
            timeout: Seconds.

        Returns:
            `advices`, those that reach the recall first, the fastest of them first: parameters, the search parameters
            of least effort, recall, searches a second in one thread, bytes a row, seconds to build.
        """
        return await self._run(
            advice.advise_index(self._session, collection_name, recall, limit, anns_field, sample), timeout, unknown
        )
