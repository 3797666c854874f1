"""The blocking methods about the words of texts."""

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


class SyncText(ClientBase):
    """Analyzers and the files they read, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def run_analyzer(
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
        """The words that an analyzer finds in texts.

        Args:
            texts: One text, or a list.
            analyzer_params: The analyzer, as a field takes it; without it `standard`.
            with_hash: Give the hash of each word.
            with_detail: Give the place of each word.
            collection_name: With `field_name`, the field whose analyzer to use, in the place of `analyzer_params`.
            field_name: The field.
            analyzer_names: Which of the analyzers of a field that has several: one name, or one for each text.
            timeout: Seconds.

        Returns:
            For one text a list of `str`, or of `AnalyzeToken` with `with_hash` or `with_detail`; for several a list of
            such lists.

        Raises:
            InvalidParameter: There is no such analyzer.
        """
        return self._run(
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

    def add_file_resource(self, name: str, path: str, timeout: float | None = None, **unknown: Never) -> None:
        """Register a copy of a file that analyzers may name.

        `path` is where the database runs; a relative one begins at its folder. The same name and path again are no
        error. A file of at most 16 MiB is taken.
        """
        return self._run(analysis.add_file_resource(self._session, name, path), timeout, unknown)

    def remove_file_resource(self, name: str, timeout: float | None = None, **unknown: Never) -> None:
        """Forget a registered file. One that does not exist is no error. Collections that use it keep their copy."""
        return self._run(analysis.remove_file_resource(self._session, name), timeout, unknown)

    def list_file_resources(self, timeout: float | None = None, **unknown: Never) -> list[FileResourceInfo]:
        """The registered files, by name: `.name` and `.path` of each."""
        return self._run(analysis.list_file_resources(self._session), timeout, unknown)
