"""Inspections in words, for a shell."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Final, TextIO

from redkite.ops.doctor import Diagnosis, Treatment, doctor
from redkite.ops.report import Finding, Harm, Report
from redkite.ops.verification import verify

SOUND, DAMAGED = 0, 3
"""Exit statuses."""
_WIDTH: Final = 100
_MEANS: Final = {
    Harm.DAMAGE: "DAMAGE",
    Harm.HARMLESS: "harmless",
    Harm.NOTE: "note",
}


def run_verify(path: str, out: TextIO, log: TextIO) -> int:
    """`redkite verify`: the exit status is 0 when all is sound, 3 when something is damaged."""
    with _Bar(log) as progress:
        report = verify(path, progress=progress.draw)
    out.writelines(f"{line}\n" for line in _report_lines(report))
    return SOUND if report.is_intact else DAMAGED


def run_doctor(path: str, out: TextIO, log: TextIO, *, repair: bool, accept_loss: bool, backup: str) -> int:
    """`redkite doctor`: the exit status is that of `verify` after what was done."""
    with _Bar(log) as progress:
        diagnosis = doctor(path, repair=repair, accept_loss=accept_loss, backup=backup, progress=progress.draw)
    out.writelines(f"{line}\n" for line in _diagnosis_lines(diagnosis, path))
    return SOUND if diagnosis.report.is_intact else DAMAGED


def _report_lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield from _finding_lines(finding)
    yield (
        f"{report.path}: {report.collections:,} collections, {report.segments:,} segments with {report.rows:,} rows, "
        f"{report.log_records:,} log records, {report.objects:,} objects; {report.bytes:,} bytes read"
    )
    if report.is_intact:
        yield "Everything is as it was written."
        return
    count = len(report.damage)
    harm = f"{count} damaged" if count else "Every answer is right, but not all is as it was written"
    yield f"{harm}. `redkite doctor {report.path}` says what can be done."


def _finding_lines(finding: Finding) -> Iterator[str]:
    where = f"  (collection {finding.collection})" if finding.collection else ""
    yield f"{_MEANS[finding.harm]}: {finding.kind}{where}"
    yield f"  {finding.name}"
    yield _wrapped(finding.text)


def _diagnosis_lines(diagnosis: Diagnosis, path: str) -> Iterator[str]:
    for treatment in diagnosis.treatments:
        yield from _finding_lines(treatment.finding)
        yield from _treatment_lines(treatment)
        yield ""
    open_ones = [t for t in diagnosis.treatments if not t.done and not t.is_advice]
    if diagnosis.is_sound:
        yield "Every answer is right." if open_ones else "Nothing is wrong."
    else:
        yield f"{len(diagnosis.report.damage)} damaged."
    if any(not t.loss for t in open_ones):
        yield f"`redkite doctor {path} --repair` does what loses nothing."
    if any(t.loss for t in open_ones):
        yield f"`redkite doctor {path} --repair --accept-loss` also gives up what is said to be lost."


def _treatment_lines(treatment: Treatment) -> Iterator[str]:
    if treatment.is_advice:
        yield _wrapped(f"advice: {treatment.action}")
        return
    yield _wrapped(f"{'done' if treatment.done else 'can be mended'}: {treatment.action}")
    if treatment.loss:
        yield _wrapped(f"{'lost' if treatment.done else 'would be lost'}: {treatment.loss}")
    if treatment.error:
        yield _wrapped(f"failed: {treatment.error}")


def _wrapped(text: str) -> str:
    return fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


class _Bar:
    """One line that redraws itself on a terminal, a hundred times in all."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn = -1

    def draw(self, done: int, total: int, what: str) -> None:
        percent = 100 * done // max(total, 1)
        if percent != self._drawn and self._out.isatty():
            self._drawn = percent
            self._out.write(f"\r{percent:3d} % of {total:,} bytes  {what[:60]}\x1b[K")
            self._out.flush()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn >= 0:
            self._out.write("\r\x1b[K")
            self._out.flush()
