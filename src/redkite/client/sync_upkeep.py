"""The blocking methods that look after segments."""

from __future__ import annotations

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
    from redkite.client.optimizing import OptimizeTask
    from redkite.client.sql import SqlResult

T = TypeVar("T")


class SyncUpkeep(ClientBase):
    """Compaction and segments, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def sql(
        self,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        as_of: Moment | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> SqlResult:
        """Ask in SQL, over the collections of this database as tables: DuckDB runs it.

        A statement is one SELECT, with joins, groups and windows, vectors as `FLOAT[dim]` (`array_distance`,
        `array_cosine_similarity`), dynamic keys as columns. The columns that it reads are fetched first, of all rows:
        for filters that leave few rows over, and for neighbours, `query` and `search` are the quicker way.

        Args:
            query: The statement; `?` or `$name` stand for parameters.
            parameters: Their values.
            as_of: Read the collections as they were then, see `query`.
            timeout: Seconds, for each page that is fetched.

        Raises:
            InvalidParameter: What DuckDB says of a statement that it does not understand.
            ParamError: No collection has the name of a table; or it is no SELECT.
            Unavailable: DuckDB is not installed: `pip install 'redkite[sql]'`.
        """
        from redkite.client.operations import sql

        statement = self._run(sql.sql(self._session, query, parameters, as_of), timeout, unknown)
        return statement.run()

    def compact(
        self,
        collection_name: str,
        is_clustering: bool = False,
        is_l0: bool = False,
        target_size: int | None = None,
        target_size_unit: str = "mb",
        timeout: float | None = None,
        **unknown: Never,
    ) -> int:
        """Flush, then merge small segments and drop rows that are gone for good; returns a job id at once.

        Args:
            collection_name: The collection.
            is_clustering: Split the rows into segments by ranges of the clustering key, so that filters on it pass
                over segments.
            is_l0: Only write deletes down, and write anew the segments of which much can be dropped.
            target_size: How large segments are to become; by default as large as sealed ones.
            target_size_unit: `b`, `kb`, `mb`, `gb`, `tb` or `pb`; segments are at most 1 GB, whatever is asked for.
            timeout: Seconds.

        Returns:
            The id to ask `get_compaction_state` for; -1 when there is nothing to do.
        """
        return self._run(
            upkeep.compact(self._session, collection_name, is_clustering, is_l0, target_size, target_size_unit),
            timeout,
            unknown,
        )

    def get_compaction_state(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> str:
        """`"Executing"`, `"Completed"`, or `"UndefiedState"` for a job that is not known (any more)."""
        return self._run(upkeep.get_compaction_state(self._session, job_id), timeout, unknown)

    def get_compaction_plans(
        self,
        job_id: int,
        timeout: float | None = None,
        **unknown: Never,
    ) -> upkeep.CompactionPlans:
        """Which segments a job makes into which."""
        return self._run(upkeep.get_compaction_plans(self._session, job_id), timeout, unknown)

    def list_compaction_tasks(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> upkeep.CompactionPlans:
        """The compactions of a collection since the server started, as far as it remembers them."""
        return self._run(upkeep.list_compaction_tasks(self._session, collection_name), timeout, unknown)

    def optimize(
        self,
        collection_name: str,
        target_size: str | None = None,
        wait: bool = True,
        timeout: float | None = None,
        **unknown: Never,
    ) -> OptimizeTask | upkeep.OptimizeResult:
        """Make few large segments, and come back when they are indexed and loaded.

        Args:
            collection_name: The collection.
            target_size: Such as `"512MB"`; by default as large as is sensible.
            wait: False: come back at once, with an `OptimizeTask` that tells how far it is and has the result.
            timeout: Seconds.
        """
        if arguments.flag("wait", wait):
            return self._run(upkeep.optimize(self._session, collection_name, target_size, []), timeout, unknown)
        from redkite.client.optimizing import OptimizeTask

        make = partial(upkeep.optimize, self._session, collection_name, target_size)
        if unknown:
            self._refuse(make([]), unknown)
        upkeep.check_optimize(collection_name, target_size)
        return OptimizeTask(make, lambda operation: self._run(operation, timeout, {}))

    def list_persistent_segments(
        self,
        collection_name: str,
        timeout: float | None = None,
        states: Sequence[int] | None = None,
        **unknown: Never,
    ) -> list[SegmentInfo]:
        """The segments on disk; with `states` those in one of them, growing ones included."""
        return self._run(upkeep.list_persistent_segments(self._session, collection_name, states), timeout, unknown)

    def list_segments(
        self,
        collection_name: str,
        states: Sequence[int] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[SegmentInfo]:
        """The same as `list_persistent_segments`."""
        return self._run(upkeep.list_persistent_segments(self._session, collection_name, states), timeout, unknown)

    def list_loaded_segments(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[SegmentInfo]:
        """The segments that searches look at, with index, node and bytes mapped."""
        return self._run(upkeep.list_loaded_segments(self._session, collection_name), timeout, unknown)

    def memory_report(self, timeout: float | None = None, **unknown: Never) -> MemoryReport:
        """What holds how much memory: of the database against its `memory_limit`, and of each loaded collection."""
        return self._run(upkeep.memory_report(self._session), timeout, unknown)

    def storage_report(self, timeout: float | None = None, **unknown: Never) -> StorageReport:
        """What each collection has on disk: rows, indexes, and what compaction would give back."""
        return self._run(upkeep.storage_report(self._session), timeout, unknown)

    # -- measurements -------------------------------------------------------------------------
    def measure_recall(
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
        return self._run(
            advice.measure_recall(self._session, collection_name, limit, queries, anns_field, search_params),
            timeout,
            unknown,
        )

    def advise_index(
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
        return self._run(
            advice.advise_index(self._session, collection_name, recall, limit, anns_field, sample), timeout, unknown
        )
