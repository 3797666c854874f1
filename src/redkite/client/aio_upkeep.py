"""The awaited methods that look after segments. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.operations import upkeep
from redkite.client.session import Operation
from redkite.model.upkeep import SegmentInfo

T = TypeVar("T")


class AsyncUpkeep(ClientBase):
    """Compaction and segments, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

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
    ) -> upkeep.OptimizeResult:
        return await self._run(upkeep.optimize(self._session, collection_name, target_size, wait), timeout, unknown)

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
