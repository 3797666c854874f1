"""What clients were told, and whether any of it breaks a promise of the consistency level it was asked at.

A history is operations with the times at which each was begun and answered. Every write has a value of its own, so
that a read says whose write it saw. A register is one key, or several that are always written together.

    history = History()
    number = history.begin("anna", "put", "k1", 17, at=2.0)
    history.end(number, at=2.4, timestamp=450)
    wrong = violations(history.operations)

What a level promises here:

Strong      the reads and all writes of a register fit into one order, in which each takes effect between its beginning
            and its end; a write without an answer takes effect at some time after its beginning, or never
Session     a client sees its own writes, and never an older state than one it has seen
Bounded     what is seen was the newest some time between `bound` before the read began and its end
Eventually  what is seen was written by somebody; and in the end, which Strong reads behind all else say, it is there
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

Kind = Literal["put", "delete", "swap", "read", "count"]
Level = Literal["Strong", "Session", "Bounded", "Eventually"]
Register = Any
TORN = "torn"
"""The value of a read that saw parts of several writes, or one row twice."""


@dataclass(frozen=True)
class Operation:
    """One call of a client. Times are seconds of one clock that is outside of what is tested."""

    client: str
    kind: Kind
    register: Register
    value: Any
    """What was written (a put, or a swap's new value), what was read (None: nothing was there), or counted."""
    begun: float
    ended: float = inf
    """inf: no answer came, so it may take effect at any time from `begun` on, or never."""
    level: Level = "Strong"
    timestamp: int | None = None
    """The one it was answered with."""
    expected: Any = None
    """Of a swap: the value it was done on."""
    refused: bool = False
    """A swap that was told its condition does not hold."""

    @property
    def is_write(self) -> bool:
        return self.kind in ("put", "delete", "swap") and not self.refused

    @property
    def is_sure(self) -> bool:
        return self.ended < inf

    def __str__(self) -> str:
        until = f"{self.ended:.4f}" if self.is_sure else "?"
        what = {"put": "puts", "delete": "deletes", "swap": f"swaps {self.expected} for", "read": "reads",
                "count": "counts"}[self.kind]  # fmt: skip
        stamped = "" if self.timestamp is None else f" @{self.timestamp}"
        refused = ", refused" if self.refused else ""
        level = f" ({self.level})" if self.kind in ("read", "count") else ""
        value = "nothing" if self.value is None and self.kind == "read" else "" if self.kind == "delete" else self.value
        return f"[{self.begun:.4f}, {until}] {self.client} {what} {self.register}: {value}{refused}{level}{stamped}"


@dataclass
class History:
    """Operations as they are begun and ended. A write that is known not to have happened is taken out again."""

    _all: dict[int, Operation] = field(default_factory=dict)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(
        self, client: str, kind: Kind, register: Register, value: Any = None, *, at: float, level: Level = "Strong",
        expected: Any = None,
    ) -> int:  # fmt: skip
        with self._lock:
            number, self._next = self._next, self._next + 1
        self._all[number] = Operation(client, kind, register, value, at, level=level, expected=expected)
        return number

    def end(self, number: int, *, at: float, value: Any = None, timestamp: int | None = None) -> None:
        was = self._all[number]
        seen = value if was.kind in ("read", "count") else was.value
        self._all[number] = replace(was, ended=at, value=seen, timestamp=timestamp)

    def refuse(self, number: int, *, at: float) -> None:
        """A swap whose condition did not hold."""
        self._all[number] = replace(self._all[number], ended=at, refused=True)

    def withdraw(self, number: int) -> None:
        """It did not happen, and will not; or a read that was not answered."""
        del self._all[number]

    @property
    def operations(self) -> list[Operation]:
        return list(self._all.values())


@dataclass(frozen=True)
class Violation:
    """A promise that was broken, with the operations that show it."""

    promise: str
    text: str
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        return "\n  ".join([f"{self.promise}: {self.text}", *map(str, self.operations)])


def violations(operations: Iterable[Operation], bound: float = 5.0, rows: int = 1) -> list[Violation]:
    """Everything that is wrong in a history. `bound`: how stale Bounded may be, in seconds; `rows`: how many rows a
    register is, for counts."""
    told = [op for op in operations if op.is_sure or op.is_write]  # a read without an answer says nothing
    everything = sorted(told, key=lambda op: (op.begun, op.ended))
    by_register: dict[Register, list[Operation]] = {}
    counts = []
    for op in everything:
        if op.kind == "count":
            counts.append(op)
        else:
            by_register.setdefault(op.register, []).append(op)
    found: list[Violation] = []
    for of_one in by_register.values():
        found += _check_register(of_one, bound)
    found += _check_counts(by_register, counts, bound, rows)
    return found


def _check_register(operations: Sequence[Operation], bound: float) -> list[Violation]:
    writes = [op for op in operations if op.is_write]
    writes = [replace(op, timestamp=None) if _may_find_nothing(op, writes) else op for op in writes]
    reads = [op for op in operations if op.kind == "read"]
    found = [Violation("one moment", "half a write, or a row twice", (op,)) for op in reads if op.value == TORN]
    reads = [op for op in reads if op.value != TORN]
    sources = {id(op): _sources(op, writes) for op in reads}
    invented = [op for op in reads if not sources[id(op)]]
    found += [Violation("nothing is invented", "nobody wrote that by then", (op,)) for op in invented]
    reads = [op for op in reads if sources[id(op)]]
    found += _check_timestamps(writes)
    for op in reads:
        if op.level == "Bounded":
            found += _check_bounded(op, sources[id(op)], writes, bound)
    for client in sorted({op.client for op in reads if op.level in ("Session", "Strong")}):
        found += _check_session(client, reads, writes, sources)
    strong = [op for op in operations if op.is_write or op.refused] + [op for op in reads if op.level == "Strong"]
    if not linearizable(strong):
        found.append(Violation("linearizable", "no order of these explains what was read", _shortest(strong)))
    return found


# -- which write a read saw -----------------------------------------------------------------------
_NOBODY = Operation("nobody", "delete", None, None, -inf, -inf, timestamp=-1)
"""Before the first write nothing was there."""


def _written(op: Operation) -> Any:
    return None if op.kind == "delete" else op.value


def _sources(read: Operation, writes: Sequence[Operation]) -> list[Operation]:
    """The writes of which a read may have seen the state."""
    found = [op for op in writes if _written(op) == read.value and op.begun <= read.ended]
    return [_NOBODY, *found] if read.value is None else found


def _is_older(a: Operation, b: Operation) -> bool:
    """Whether a certainly took effect before b."""
    if a.timestamp is not None and b.timestamp is not None and a.is_write and b.is_write:
        return a.timestamp < b.timestamp
    return a.ended < b.begun


def _may_find_nothing(delete: Operation, writes: Sequence[Operation]) -> bool:
    """Whether a delete may have found its rows deleted. Then it is in no log, and what an owner whose clock is behind
    writes later may have an earlier timestamp."""
    moment = delete.timestamp
    if delete.kind != "delete" or moment is None:
        return False
    before = [op for op in writes if op is not delete and op.begun <= delete.ended]
    puts = [(op.timestamp, op) for op in before if op.kind != "delete" and op.timestamp is not None]
    since, last = max(((at, op) for at, op in puts if at < moment), key=lambda put: put[0], default=(0, None))
    if last is None:
        return True
    deletes = [op for op in before if op.kind == "delete" and op.ended >= last.begun]
    return any(op.timestamp is None or since < op.timestamp < moment for op in deletes)


def _all_older(some: Sequence[Operation], others: Sequence[Operation]) -> bool:
    return all(_is_older(a, b) for a in some for b in others)


def _check_timestamps(writes: Sequence[Operation]) -> list[Violation]:
    stamped = [op for op in writes if op.timestamp is not None]
    return [
        Violation("timestamps grow", "a later write has an earlier timestamp, or the same", (a, b))
        for a in stamped
        for b in stamped
        if a.ended < b.begun and a.timestamp is not None and b.timestamp is not None and a.timestamp >= b.timestamp
    ]


def _check_session(
    client: str, reads: Sequence[Operation], writes: Sequence[Operation], sources: dict[int, list[Operation]]
) -> list[Violation]:
    """A client's own writes, and what it has seen before, are not undone for it."""
    found = []
    mine = [op for op in reads if op.client == client and op.level in ("Session", "Strong")]
    own = [op for op in writes if op.client == client and op.is_sure]
    for read in mine:
        saw = sources[id(read)]
        for write in own:
            if write.ended < read.begun and _all_older(saw, [write]) and write not in saw:
                found.append(Violation("read your writes", "an older state than the client's own write", (write, read)))
                break
        for earlier in mine:
            if earlier.ended < read.begun and _all_older(saw, sources[id(earlier)]):
                found.append(Violation("monotonic reads", "an older state than was seen before", (earlier, read)))
                break
    return found


def _check_bounded(
    read: Operation, saw: Sequence[Operation], writes: Sequence[Operation], bound: float
) -> list[Violation]:
    for write in writes:
        if write.is_sure and write.ended < read.begun - bound and _all_older(saw, [write]):
            return [Violation("bounded", f"overwritten more than {bound:g} s before", (write, read))]
    return []


# -- linearizability ------------------------------------------------------------------------------
def linearizable(operations: Iterable[Operation]) -> bool:
    """Whether one register's writes and reads fit into one order (Wing and Gong's search, with Lowe's memory)."""
    everything = sorted(operations, key=lambda op: op.begun)
    ops = _that_matter(everything)
    kept = {id(op) for op in ops}
    hidden = min((op.begun for op in everything if id(op) not in kept), default=inf)
    whole = (1 << len(ops)) - 1
    sure = sum(1 << at for at, op in enumerate(ops) if op.is_sure)
    seen: set[tuple[int, Any]] = set()
    stack: list[tuple[int, Any]] = [(0, None)]
    while stack:
        done, state = stack.pop()
        if done & sure == sure:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        stack += _next_states(ops, whole & ~done, done, state, hidden)
    return False


def _next_states(ops: Sequence[Operation], left: int, done: int, state: Any, hidden: float) -> list[tuple[int, Any]]:
    """What may come next: nothing that begins after another, which is still to come, has ended."""
    limit = inf
    minimal: list[int] = []
    while left:
        at = (left & -left).bit_length() - 1
        if ops[at].begun > limit:
            break
        minimal.append(at)
        limit = min(limit, ops[at].ended)
        left &= left - 1
    found = []
    is_deleted = False
    for at in minimal:
        op = ops[at]
        if op.kind == "delete" and not op.is_sure:
            if is_deleted:
                continue  # one that may come at any time is as good as another
            is_deleted = True
        if op.begun <= limit and (after := _after(op, state, hidden)) is not _IMPOSSIBLE:
            found.append((done | 1 << at, after))
    return found


_IMPOSSIBLE: Any = object()
_HIDDEN: Any = object()
"""The value of a write without an answer that nobody read."""


def _after(op: Operation, state: Any, hidden: float) -> Any:
    """`hidden`: from then on a write that nobody saw may have been the last one."""
    if op.kind == "put":
        return op.value
    if op.kind == "delete":
        return None
    if op.kind == "swap":
        if op.refused:
            return state if state != op.expected else _HIDDEN if hidden <= op.ended else _IMPOSSIBLE
        return op.value if state == op.expected else _IMPOSSIBLE
    return state if state == op.value else _IMPOSSIBLE


def _that_matter(ops: Sequence[Operation]) -> list[Operation]:
    """Without the writes that were not answered and of which nobody read anything. They may only have been why a
    condition was refused; which of them, and how often, is not looked at."""
    seen = {op.value for op in ops if op.kind == "read"} | {op.expected for op in ops if op.kind == "swap"}
    return [op for op in ops if op.is_sure or _written(op) in seen]


def _shortest(ops: Sequence[Operation]) -> tuple[Operation, ...]:
    """As few of these operations as still do not fit: reads are left out one by one, then what came after."""
    kept = list(ops)
    for op in sorted(ops, key=lambda op: -op.begun):
        fewer = [other for other in kept if other is not op]
        if (op.kind == "read" or _unseen(op, fewer)) and not linearizable(fewer):
            kept = fewer
    return tuple(sorted(kept, key=lambda op: op.begun))


def _unseen(write: Operation, ops: Sequence[Operation]) -> bool:
    return not any((op.kind == "read" and op.value == _written(write)) or op.expected == _written(write) for op in ops)


# -- counts ---------------------------------------------------------------------------------------
def _check_counts(
    by_register: dict[Register, list[Operation]], counts: Sequence[Operation], bound: float, rows: int
) -> list[Violation]:
    """A Strong count is not less than what was there all the while, nor more than what may have been."""
    found = []
    for count in counts:
        since = count.begun if count.level == "Strong" else count.begun - bound if count.level == "Bounded" else -inf
        writes = [[op for op in ops if op.is_write] for ops in by_register.values()]
        least = rows * sum(_is_surely_there(ops, since, count.ended) for ops in writes)
        most = rows * sum(_may_be_there(ops, since, count.ended) for ops in writes)
        if not least <= count.value <= most or count.value % rows:
            found.append(Violation("counts", f"from {least} to {most} rows are there, by {rows}", (count,)))
    return found


def _is_surely_there(writes: Sequence[Operation], since: float, until: float) -> bool:
    puts = [op for op in writes if op.kind != "delete" and op.ended < since]
    deletes = [op for op in writes if op.kind == "delete" and op.begun <= until]
    return any(all(_is_older(gone, put) for gone in deletes) for put in puts)


def _may_be_there(writes: Sequence[Operation], since: float, until: float) -> bool:
    deletes = [op for op in writes if op.kind == "delete" and op.ended < since]
    return any(
        op.begun <= until and not any(_is_older(op, gone) for gone in deletes) for op in writes if op.kind != "delete"
    )
