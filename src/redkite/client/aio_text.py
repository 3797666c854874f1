"""The awaited methods about the words of texts. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.operations import analysis
from redkite.client.session import Operation

if TYPE_CHECKING:
    from redkite.client.operations.analysis import AnalyzeResult, FileResourceInfo

T = TypeVar("T")


class AsyncText(ClientBase):
    """Analyzers and the files they read, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def run_analyzer(
        self,
        texts: str | Sequence[str],
        analyzer_params: str | Mapping[str, Any] | None = None,
        with_hash: bool = False,
        with_detail: bool = False,
        collection_name: str | None = None,
        field_name: str | None = None,
        analyzer_names: str | Sequence[str] | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> AnalyzeResult | list[AnalyzeResult]:
        return await self._run(
            analysis.run_analyzer(
                self._session,
                texts,
                analyzer_params,
                with_hash,
                with_detail,
                collection_name,
                field_name,
                analyzer_names,
            ),
            timeout,
            unknown,
        )

    async def add_file_resource(self, name: str, path: str, timeout: float | None = None, **unknown: Never) -> None:
        return await self._run(analysis.add_file_resource(self._session, name, path), timeout, unknown)

    async def remove_file_resource(self, name: str, timeout: float | None = None, **unknown: Never) -> None:
        return await self._run(analysis.remove_file_resource(self._session, name), timeout, unknown)

    async def list_file_resources(self, timeout: float | None = None, **unknown: Never) -> list[FileResourceInfo]:
        return await self._run(analysis.list_file_resources(self._session), timeout, unknown)
