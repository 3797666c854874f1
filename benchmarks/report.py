"""How do they compare? The results of a run as one table, a column for each target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workloads import FILTERS

Results = dict[str, dict[str, Any]]
Line = tuple[str, str, str]


def lines() -> Iterator[Line]:
    """(title, phase, key) of every line, in the order of the report."""
    yield "start to ready, s", "start", "ready_s"
    yield "insert dicts, rows/s", "insert", "rows_per_s"
    yield "insert dicts, CPU ms a batch *", "insert", "cpu_ms_per_batch"
    for form in ("numpy", "arrow"):
        yield f"insert {form}, rows/s", "columns", f"{form}_rows_per_s"
        yield f"insert {form}, CPU ms a batch *", "columns", f"{form}_cpu_ms_per_batch"
    yield "flush + index + load, s", "build", "total_s"
    yield "ef", "sweep", "ef"
    yield "recall@10", "sweep", "recall"
    for threads in (1, 4, 16):
        clients = "1 thread" if threads == 1 else f"{threads} threads"
        yield f"searches/s, {clients}", "search", f"per_s_{threads}"
        yield f"p50 ms, {clients}", "search", f"p50_ms_{threads}"
        yield f"CPU ms a search, {clients} *", "search", f"cpu_ms_per_call_{threads}"
        yield f"searches/s of the client alone, {clients}", "alone", f"single_per_s_{threads}"
    yield "nq=100, vectors/s", "batch", "vectors_per_s"
    yield "nq=100, vectors/s of the client alone", "alone", "batch_vectors_per_s"
    for chosen in FILTERS:
        yield f"filter {chosen.share} % {chosen.kind}, recall", "filters", f"{chosen.label}_recall"
        yield f"filter {chosen.share} % {chosen.kind}, too few of 300", "filters", f"{chosen.label}_short"
        yield f"filter {chosen.share} % {chosen.kind}, searches/s", "filters", f"{chosen.label}_per_s"
    yield "query limit 100, /s", "query", "per_s"
    yield "seal and index under searches, s", "live", "seconds"
    yield "lowest recall meanwhile", "live", "recall_lowest"
    for kind, many in (("insert", "inserts"), ("search", "searches")):
        for how, words in (("gathered", "gathered"), ("sequence", "in sequence")):
            yield f"single {many} 768-d {words}, s", "singles", f"{kind}_{how}_s"
    yield "crash restart to first search, s", "crash", "to_first_search_s"
    yield "reopen: import, s", "reopen", "import_s"
    yield "reopen: first search, s", "reopen", "first_search_s"
    yield "reopen: memory, MB", "reopen", "memory_mb"
    yield "memory, MB *", "size", "memory_mb"
    yield "disk, MB", "size", "disk_mb"


def table(results: dict[str, Results]) -> str:
    """Markdown; a line that nobody measured is left out."""
    labels = list(results)
    rows = [["", *labels]]
    for title, phase, key in lines():
        cells = [results[label].get(phase, {}).get(key) for label in labels]
        if any(cell is not None for cell in cells):
            rows.append([title, *map(text, cells)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    printed = [
        "| " + " | ".join(align(cell, widths[n], left=n == 0) for n, cell in enumerate(row)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if n == 0 else ":") for n, width in enumerate(widths)) + "|"
    notes = [
        f"{label}: {phase} failed: {numbers['error']}"
        for label, phases in results.items()
        for phase, numbers in phases.items()
        if "error" in numbers
    ]
    footnote = "\\* of the server's processes; of this process, client included, where the engine runs in it"
    return "\n".join([printed[0], rule, *printed[1:], "", footnote, *notes])


def align(cell: str, width: int, *, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def text(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if value >= 100 else f"{value:.3g}"
