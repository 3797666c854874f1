"""A migration in words, for a shell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TextIO

from redkite.migration.plan import Found, shown
from redkite.migration.run import Outcome, Report, migrate

WHOLE, DIFFERS = 0, 3
"""Exit statuses."""
_WIDTH: Final = 28
_SECONDS_BETWEEN_DRAWINGS: Final = 0.05


def run(source: str, target: str, wishes: Mapping[str, Any], out: TextIO, log: TextIO, *, dry_run: bool) -> int:
    """`redkite migrate`: the exit status is 0 when every row arrived as it was, 3 when something did not."""
    bar = _Bar(log)

    def show_plan(report: Report) -> None:
        out.writelines(f"{line}\n" for line in plan_lines(report, source, target))
        out.flush()

    report = migrate(source, target, dry_run=dry_run, on_plan=show_plan, progress=bar.draw, **wishes)
    bar.clear()
    if dry_run:
        out.write("Nothing was written: this was a dry run.\n")
        return WHOLE
    for outcome in report.outcomes:
        out.writelines(f"{line}\n" for line in outcome_lines(outcome))
    return WHOLE if report.is_whole else DIFFERS


def plan_lines(report: Report, source: str, target: str) -> Iterator[str]:
    """What is going to happen, and what is lost."""
    yield f"From {shown(source)} ({report.kind}) to {shown(target)}:"
    if not report.plan:
        yield "  there are no collections"
    for found in report.plan:
        yield from _found_lines(found)
    for note in report.notes:
        yield f"  ! {note}"


def _found_lines(found: Found) -> Iterator[str]:
    name = found.source if found.source == found.name else f"{found.source} as {found.name}"
    rows = "an unknown number of rows" if found.rows < 0 else f"{found.rows:,} rows"
    yield f"  {name}: {rows}"
    for field in found.schema.fields:
        told = [field.dtype.name, *(f"{key}={field.params[key]}" for key in ("dim", "max_length", "max_capacity")
                                    if key in field.params)]  # fmt: skip
        flags = [
            word
            for word, is_so in (
                ("key", field.is_primary), ("auto id", field.auto_id), ("partition key", field.is_partition_key),
                ("nullable", field.nullable), ("by a function", field.is_function_output),
            )
            if is_so
        ]  # fmt: skip
        yield f"    {field.name}  {' '.join(told)}{'  ' + ', '.join(flags) if flags else ''}"
    for struct in found.schema.struct_fields:
        yield f"    {struct.name}  ARRAY of structs: {', '.join(field.name for field in struct.fields)}"
    if found.schema.enable_dynamic_field:
        yield "    and dynamic keys"
    for index in found.indexes:
        metric = index.get_index_configs().get("metric_type")
        yield f"    index of {index.field_name}: {index.index_type or 'AUTOINDEX'}{f' {metric}' if metric else ''}"
    yield from _listed("partitions", found.partitions)
    yield from _listed("aliases", found.aliases)
    for note in found.notes:
        yield f"    ! {note}"


def _listed(what: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"    {what}: {', '.join(names)}"


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What became of one collection."""
    if outcome.is_whole:
        read = f", {outcome.compared:,} of them read again and compared" if outcome.compared else ""
        yield f"{outcome.name}: {outcome.stored:,} rows{read}"
        return
    yield f"{outcome.name}: NOT as it was"
    for line in outcome.differing:
        yield f"  {line}"


class _Bar:
    """One line that redraws itself on a terminal, and stays quiet anywhere else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._drawn = 0.0

    def draw(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._live or now - self._drawn < _SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn = now
        filled = min(_WIDTH, _WIDTH * done // max(total, 1)) if total > 0 else 0
        bar = "━" * filled + "╌" * (_WIDTH - filled)
        self._out.write(f"\r{name} {bar} {done:,} of {total:,} rows\x1b[K" if total > 0 else f"\r{name} {done:,}\x1b[K")
        self._out.flush()

    def clear(self) -> None:
        if self._live:
            self._out.write("\r\x1b[K")
            self._out.flush()
