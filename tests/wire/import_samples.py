"""Requests and results of imports."""

from __future__ import annotations

from redkite.model import imports, requests, results
from redkite.model.imports import ImportedFile, ImportInfo, ImportInfos, ImportStarted, ImportState

WHOLE = ImportInfo(
    job_id=7, database="shop", collection="books", collection_id=5, partition="new", state=ImportState.INDEX_BUILDING,
    progress=83, rows=10, total_rows=12, size=4096, created_ms=1_700_000_000_123, completed_ms=1, reason="because",
    files=(
        ImportedFile(
            name="a.json", size=4096, state=ImportState.FAILED, rows=10, total_rows=12, completed_ms=3, reason="no",
        ),
    ),
)  # fmt: skip
BRIEF = ImportInfo(
    job_id=7, database="", collection="books", collection_id=5, partition="new", state=ImportState.FAILED, progress=0,
    rows=10, total_rows=0, size=0, created_ms=1_700_000_000_000, completed_ms=0, reason="because", files=(),
)  # fmt: skip
GROUPS = (("a.json",), ("id.npy", "v.npy"))


def import_requests() -> list[requests.Request]:
    return [
        imports.Import(collection="books", groups=(("id.npy", "v.npy"),), partition="new", options={"sep": ";"}),
        imports.ImportFiles(collection="books", groups=GROUPS, partition="new", options={"sep": ";"}),
        imports.GetImportState(job_id=7),
        imports.DescribeImport(job_id=7),
        imports.ListImportTasks(collection="books", limit=3),
        imports.ListImports(collection="books", limit=3),
        imports.CommitImport(job_id=7),
        imports.AbortImport(job_id=7),
    ]


def import_results() -> dict[type[requests.Request], results.Result]:
    return {
        imports.Import: ImportStarted(job_id=7),
        imports.ImportFiles: ImportStarted(job_id=7),
        imports.GetImportState: BRIEF,
        imports.DescribeImport: WHOLE,
        imports.ListImportTasks: ImportInfos(jobs=(BRIEF,)),
        imports.ListImports: ImportInfos(jobs=(WHOLE, BRIEF)),
    }
