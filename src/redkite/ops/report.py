"""What an inspection of a database found."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What can be wrong. The values travel in JSON."""

    CATALOG = "catalog damaged"
    CATALOG_OLD = "catalog lost its newest commits"
    ENTRY = "catalog entry wrong"
    FORMAT = "format of a newer version"
    LOG = "log damaged"
    LOG_SHORT = "log records missing"
    TORN = "unfinished write at the end of the log"
    ROWS = "rows damaged"
    DELETES = "deletes damaged"
    ORDER = "key order damaged"
    INDEX = "index damaged"
    CONTENT = "content contradicts the catalog"
    ORPHAN = "file that nothing names"

    @property
    def harm(self) -> Harm:
        return _HARM.get(self, Harm.DAMAGE)


class Harm(StrEnum):
    DAMAGE = "damage"
    """Rows cannot be read, or answers could be wrong."""
    HARMLESS = "harmless"
    """Derived from other data: made again by itself, answers are right meanwhile."""
    NOTE = "note"
    """Nothing is wrong: what a crash or a finished removal leaves behind."""


_HARM = {
    Kind.ORDER: Harm.HARMLESS,
    Kind.INDEX: Harm.HARMLESS,
    Kind.TORN: Harm.NOTE,
    Kind.ORPHAN: Harm.NOTE,
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be."""

    kind: Kind
    name: str
    """Of the object, log file or catalog entry."""
    text: str
    """What is wrong with it."""
    collection: str = ""
    """`database.collection` that it concerns, if it is known."""
    segment_id: int = 0
    index_id: int = 0
    channel: str = ""
    missing: tuple[int, int] | None = None
    """Log records from the first up to the second are not there."""

    @property
    def harm(self) -> Harm:
        return self.kind.harm


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything was read when this exists: what was there, and what was wrong with it."""

    path: str
    findings: tuple[Finding, ...] = ()
    collections: int = 0
    segments: int = 0
    rows: int = 0
    """In sealed segments, deleted ones included."""
    log_records: int = 0
    objects: int = 0
    bytes: int = 0
    """Read and compared."""

    @property
    def damage(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.harm is Harm.DAMAGE)

    @property
    def is_intact(self) -> bool:
        """Whether everything is as it was written: nothing but notes."""
        return all(f.harm is Harm.NOTE for f in self.findings)

    @property
    def is_sound(self) -> bool:
        """Whether every answer is right: nothing but harmless findings and notes."""
        return not self.damage
