"""What is wrong with a database, what would it cost to mend it, and the mending: `redkite doctor`."""

from __future__ import annotations

import msgspec

from redkite.env import Env
from redkite.ops.folder import Folder, held
from redkite.ops.remedies import Advice, Medicine, cure
from redkite.ops.report import Finding, Report
from redkite.ops.verification import Inspection, Progress

ROUNDS = 4
"""Mending one thing can bring another to light: the catalog comes first, then what it names."""


class Treatment(msgspec.Struct, frozen=True, kw_only=True):
    """One finding, and what is to be done about it."""

    finding: Finding
    action: str
    """What mends it; advice where only a person can."""
    loss: str = ""
    """What is lost by that; empty when nothing is."""
    is_advice: bool = False
    done: bool = False
    error: str = ""
    """Why it could not be done."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """`report` is of the state now, after what was done."""

    report: Report
    treatments: tuple[Treatment, ...] = ()

    @property
    def is_sound(self) -> bool:
        return self.report.is_sound


def doctor(
    path: str,
    *,
    repair: bool = False,
    accept_loss: bool = False,
    backup: str = "",
    progress: Progress | None = None,
    env: Env | None = None,
) -> Diagnosis:
    """Say what is wrong with the database in folder `path`, and mend it.

    `repair` does what loses nothing; with `accept_loss` also what gives up damaged data, of which copies stay in the
    folder `quarantine`. `backup` is a folder in which whole copies of damaged objects are looked for, under any name.
    Raises StorageError when there is no database, PathLocked while a process has it open.
    """
    world = env or Env.real()
    done: list[Treatment] = []
    for last in (False,) * ROUNDS + (True,):
        with held(path, world) as folder:
            report = Inspection(folder, progress).report()
            treatments = _treat(folder, report, backup, repair and not last, accept_loss)
        done += [t for t in treatments if t.done]
        if not any(t.done for t in treatments):
            break
    return Diagnosis(report=report, treatments=(*done, *(t for t in treatments if not t.done)))


def _treat(folder: Folder, report: Report, backup: str, repair: bool, accept_loss: bool) -> list[Treatment]:
    medicine = Medicine(folder, backup)
    treatments = []
    for finding in report.findings:
        remedy = medicine.against(finding)
        if isinstance(remedy, Advice):
            treatments.append(Treatment(finding=finding, action=remedy.text, is_advice=True))
            continue
        wanted = repair and (accept_loss or not remedy.loss)
        error = cure(remedy) if wanted else ""
        treatments.append(
            Treatment(finding=finding, action=remedy.action, loss=remedy.loss, done=wanted and not error, error=error)
        )
    return treatments
