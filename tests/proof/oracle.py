"""What a database should hold, in dicts: slow, small and plainly right. The real one's answers are compared with it.

Vectors hold small whole numbers, so that distances are exact in float32 and many of them tie.
"""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import strategies as st

Key = int | str
Row = dict[str, Any]
Truth = bool | None
DIM = 4


@dataclass
class Kept:
    """A stored row."""

    values: Row
    partition: str


Rows = dict[Key, Kept]


# -- filters ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Condition:
    """The text of a filter beside what it means for one row; NULL is None, with Kleene's logic."""

    text: str
    means: Callable[[Row], Truth]

    def __repr__(self) -> str:
        return self.text


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
WORDS = ["", "a", "ab", "abc", "b", "ba"]


def _compared(name: str, sign: str, value: Any) -> Condition:
    compare = _COMPARE[sign]
    text = f"{name} {sign} {quoted(value)}"
    return Condition(text, lambda row: None if row.get(name) is None else compare(row[name], value))


def _remainder(rest: int) -> Condition:
    return Condition(f"number % 3 == {rest}", lambda row: row["number"] - int(row["number"] / 3) * 3 == rest)


def _null(name: str, wanted: bool) -> Condition:
    return Condition(f"{name} {'is' if wanted else 'is not'} null", lambda row: (row.get(name) is None) == wanted)


def _like(prefix: str) -> Condition:
    pattern = re.compile(re.escape(prefix) + ".*", re.DOTALL)
    return Condition(
        f"word like {quoted(prefix + '%')}",
        lambda row: None if row["word"] is None else bool(pattern.match(row["word"])),
    )


def _not(inner: Condition) -> Condition:
    def means(row: Row) -> Truth:
        truth = inner.means(row)
        return None if truth is None else not truth

    return Condition(f"not ({inner.text})", means)


def _and(left: Condition, right: Condition) -> Condition:
    def means(row: Row) -> Truth:
        truths = (left.means(row), right.means(row))
        return False if False in truths else None if None in truths else True

    return Condition(f"({left.text}) and ({right.text})", means)


def _or(left: Condition, right: Condition) -> Condition:
    def means(row: Row) -> Truth:
        truths = (left.means(row), right.means(row))
        return True if True in truths else None if None in truths else False

    return Condition(f"({left.text}) or ({right.text})", means)


def quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


leaves = st.one_of(
    st.builds(_compared, st.just("number"), st.sampled_from(list(_COMPARE)), st.integers(-3, 9)),
    st.builds(_compared, st.just("word"), st.sampled_from(list(_COMPARE)), st.sampled_from(WORDS)),
    st.builds(_remainder, st.integers(0, 2)),
    st.builds(_null, st.just("word"), st.booleans()),
    st.builds(_like, st.sampled_from(WORDS[1:])),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(st.builds(_not, inner), st.builds(_and, inner, inner), st.builds(_or, inner, inner)),
    max_leaves=3,
)


def moment_text(milliseconds: int) -> str:
    """The second that a time lies in, as fields of times are shown."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def keys_in(keys: Iterable[Key]) -> Condition:
    wanted = list(keys)
    return Condition(f"id in [{', '.join(map(quoted, wanted))}]", lambda row: row["id"] in wanted)


# -- collections --------------------------------------------------------------------------------
@dataclass
class Moment:
    """What a collection held at a timestamp."""

    timestamp: int
    rows: Rows
    taken_ms: int


@dataclass
class Model:
    """One collection."""

    name: str
    text_keys: bool
    metric: str
    index: str
    shards: int
    rows: Rows = field(default_factory=dict)
    partitions: list[str] = field(default_factory=lambda: ["_default"])
    added: dict[str, Any] = field(default_factory=dict)
    """Fields added later and their default values."""
    forgets: bool = False
    """Deleted rows may go at once: the past cannot be relied on."""
    ages: bool = False
    """Rows expire some time after they were written."""
    expires: bool = False
    """Rows expire when their field `until` says."""
    clustered: bool = False
    """`number` is the clustering key."""
    makes_keys: bool = False
    made: list[Key] = field(default_factory=list)
    """Keys that inserts were given, where the engine makes them."""
    loaded: bool = True
    moments: list[Moment] = field(default_factory=list)
    snapshots: dict[str, Model] = field(default_factory=dict)
    """What it was when each named snapshot was made."""

    @property
    def exact(self) -> bool:
        return self.index == "FLAT"

    # -- writing --------------------------------------------------------------------------------
    def put(self, rows: Iterable[Row], partition: str) -> None:
        """The last of several rows of one key counts."""
        for row in rows:
            full = {"word": None, "tags": None, **({"until": None} if self.expires else {}), **self.added, **row}
            self.rows[row["id"]] = Kept(full, partition or "_default")

    def change(self, rows: Iterable[Row]) -> None:
        """Only the given fields of rows that are there."""
        for row in rows:
            known = self.rows[row["id"]]
            self.rows[row["id"]] = Kept({**known.values, **row}, known.partition)

    def remove(self, gone: Callable[[Kept], bool]) -> int:
        before = len(self.rows)
        self.rows = {key: kept for key, kept in self.rows.items() if not gone(kept)}
        return before - len(self.rows)

    def expire(self, now_ms: int) -> None:
        """Rows whose time has come are gone from that millisecond on."""
        if self.expires:
            self.remove(lambda kept: kept.values["until"] is not None and milliseconds(kept.values["until"]) <= now_ms)

    def remember(self, timestamp: int, now_ms: int) -> None:
        self.moments = [*self.moments[-7:], Moment(timestamp, copy.deepcopy(self.rows), now_ms)]

    def copy(self) -> Model:
        """The same collection, without its past."""
        return copy.deepcopy(replace(self, moments=[], snapshots={}))

    def forget_moments(self) -> None:
        self.moments = []

    def add_field(self, name: str, default: Any) -> None:
        self.added[name] = default
        for rows in self._everywhen():
            for kept in rows.values():
                kept.values[name] = default

    def drop_field(self, name: str) -> None:
        del self.added[name]
        for rows in self._everywhen():
            for kept in rows.values():
                kept.values.pop(name, None)

    def _everywhen(self) -> list[Rows]:
        return [self.rows, *(moment.rows for moment in self.moments)]

    # -- reading --------------------------------------------------------------------------------
    def matching(self, condition: Condition | None, partitions: list[str], rows: Rows | None = None) -> list[Row]:
        """Rows in the order of their keys."""
        kept = self.rows if rows is None else rows
        found = [
            k.values
            for k in kept.values()
            if (condition is None or condition.means(k.values) is True)
            and (not partitions or k.partition in partitions)
        ]
        return sorted(found, key=lambda row: row["id"])

    def scores(self, rows: list[Row], query: list[int]) -> dict[Key, float]:
        if not rows:
            return {}
        vectors = np.array([row["vector"] for row in rows], np.float64)
        asked = np.array(query, np.float64)
        if self.metric == "L2":
            values = ((vectors - asked) ** 2).sum(axis=1)
        else:
            values = vectors @ asked
            if self.metric == "COSINE":
                lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked)
                values = np.where(lengths > 0, values / np.where(lengths > 0, lengths, 1), 0)
        return {row["id"]: float(value) for row, value in zip(rows, values, strict=True)}

    def ranked(self, scores: dict[Key, float]) -> list[tuple[float, Key]]:
        """(score, key), best first; equal scores by key."""
        sign = 1 if self.metric == "L2" else -1
        return [(score, key) for key, score in sorted(scores.items(), key=lambda item: (sign * item[1], item[0]))]
