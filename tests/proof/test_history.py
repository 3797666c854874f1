"""The checker of histories: it accepts what a right system may answer, and finds each kind of fault."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations
from math import inf

import pytest
from tests.proof.history import TORN, Operation, linearizable, violations


def put(client, value, begun, ended=inf, stamp=None, key="k"):
    return Operation(client, "put", key, value, begun, ended, timestamp=stamp)


def delete(client, begun, ended=inf, stamp=None, key="k"):
    return Operation(client, "delete", key, None, begun, ended, timestamp=stamp)


def read(client, value, begun, ended, level="Strong", key="k"):
    return Operation(client, "read", key, value, begun, ended, level=level)


def swap(client, expected, value, begun, ended=inf, refused=False):
    return Operation(client, "swap", "k", value, begun, ended, expected=expected, refused=refused)


def count(value, begun, ended, level="Strong"):
    return Operation("c", "count", None, value, begun, ended, level=level)


def promises(*ops, **more):
    return {found.promise for found in violations(ops, **more)}


def test_reads_beside_a_write_may_see_it_or_not_but_not_again_the_old_after_the_new():
    write = [put("a", 1, 0, 1), put("a", 2, 2, 5)]
    assert not promises(*write, read("b", 1, 2.5, 3), read("b", 2, 3.5, 4), read("b", 2, 6, 7))
    assert "linearizable" in promises(*write, read("b", 2, 2.5, 3), read("c", 1, 3.5, 4))


def test_a_lost_write_is_found():
    assert "linearizable" in promises(put("a", 1, 0, 1), put("a", 2, 2, 3), read("b", 1, 4, 5))
    assert "linearizable" in promises(put("a", 1, 0, 1), read("b", None, 4, 5))


def test_a_row_that_comes_back_is_found():
    history = [put("a", 1, 0, 1), delete("a", 2, 3), read("b", None, 4, 5)]
    assert not promises(*history)
    assert "linearizable" in promises(*history, read("b", 1, 6, 7))


def test_an_unanswered_write_may_appear_late_or_never_but_not_go_again():
    history = [put("a", 1, 0, 1), put("b", 2, 2)]
    assert not promises(*history, read("c", 1, 3, 4), read("c", 1, 90, 91))
    assert not promises(*history, read("c", 1, 3, 4), read("c", 2, 90, 91))
    assert "linearizable" in promises(*history, read("c", 2, 3, 4), read("c", 1, 90, 91))


def test_what_nobody_wrote_or_was_refused_is_invented():
    assert promises(put("a", 1, 0, 1), read("b", 3, 2, 3, "Eventually")) == {"nothing is invented"}
    assert promises(put("a", 1, 5, 6), read("b", 1, 2, 3, "Eventually")) == {"nothing is invented"}


def test_half_a_write_is_found():
    assert promises(put("a", 1, 0, 1), read("b", TORN, 2, 3, "Eventually")) == {"one moment"}


def test_a_session_sees_its_own_writes_and_others_need_not():
    history = [put("a", 1, 0, 1), put("a", 2, 2, 3)]
    assert not promises(*history, read("b", 1, 4, 5, "Session"))
    assert promises(*history, read("a", 1, 4, 5, "Session")) == {"read your writes"}
    assert not promises(*history, put("c", 9, 2.5, 4.5), read("a", 9, 4, 5, "Session"))


def test_a_session_never_goes_back():
    history = [put("a", 1, 0, 1), put("a", 2, 2, 3), read("b", 2, 4, 5, "Session")]
    assert promises(*history, read("b", 1, 6, 7, "Session")) == {"monotonic reads"}
    assert not promises(*history, read("b", 1, 6, 7, "Eventually"))


def test_timestamps_order_writes_that_were_side_by_side():
    history = [put("a", 1, 0, 9, stamp=5), put("b", 2, 0, 9, stamp=4), read("c", 1, 10, 11, "Session")]
    assert promises(*history, read("c", 2, 12, 13, "Session")) == {"monotonic reads"}
    assert promises(put("a", 1, 0, 1, stamp=7), put("b", 2, 2, 3, stamp=7)) == {"timestamps grow"}


def test_a_delete_that_may_have_found_nothing_is_not_one_of_the_timestamps_that_grow():
    first, later = put("a", 1, 0, 1, stamp=3), put("a", 2, 6, 7, stamp=8)
    assert promises(first, delete("b", 4, 5, stamp=9), later) == {"timestamps grow"}
    assert not promises(delete("b", 4, 5, stamp=9), later)
    assert not promises(first, delete("a", 2, 3, stamp=7), delete("b", 4, 5, stamp=9), later)
    assert not promises(first, delete("a", 2), delete("b", 4, 5, stamp=9), later)
    assert promises(first, delete("a", 2, 3, stamp=2), delete("b", 4, 5, stamp=9), later) == {"timestamps grow"}


def test_bounded_may_be_stale_for_so_long_and_no_longer():
    history = [put("a", 1, 0, 1), put("a", 2, 2, 3)]
    assert not promises(*history, read("b", 1, 7, 8, "Bounded"), bound=5)
    assert promises(*history, read("b", 1, 8.5, 9, "Bounded"), bound=5) == {"bounded"}
    assert promises(*history, read("b", None, 8.5, 9, "Bounded"), bound=5) == {"bounded"}


def test_conditions_are_checked_as_part_of_the_order():
    assert not promises(put("a", 1, 0, 1), swap("a", 1, 2, 2, 3), read("b", 2, 4, 5))
    assert "linearizable" in promises(put("a", 1, 0, 1), swap("a", 1, 2, 2, 3), swap("b", 1, 3, 4, 5))
    assert "linearizable" in promises(put("a", 1, 0, 1), swap("a", 1, 2, 2, 3, refused=True))


def test_a_condition_may_fail_because_of_a_write_that_nobody_saw():
    history = [put("a", 1, 0, 1), swap("a", 1, 2, 4, 5, refused=True), read("b", 3, 8, 9), put("c", 3, 6, 7)]
    assert "linearizable" in promises(*history)
    assert not promises(*history, put("d", 9, 2))


def test_counts_are_of_what_is_there():
    history = [put("a", 1, 0, 1, key="x"), put("a", 2, 0, 1, key="y"), delete("a", 5, 6, key="y")]
    assert not promises(*history, count(2, 2, 3), count(2, 4, 5.5), count(1, 4, 5.5), count(1, 7, 8))
    assert promises(*history, count(2, 7, 8)) == promises(*history, count(1, 2, 3)) == {"counts"}
    assert promises(*history, count(3, 2, 3), rows=2) == {"counts"}
    assert not promises(*history, count(2, 7, 8, "Bounded"), bound=5)


def _by_trying(ops):
    """Whether some order of the operations fits, found by trying all."""
    for picked in range(1 << len(ops)):
        some = [op for at, op in enumerate(ops) if picked >> at & 1 or op.is_sure]
        if len(some) != (picked).bit_count():
            continue
        if any(_fits(order) for order in permutations(some)):
            return True
    return False


def _fits(order):
    state = None
    for at, op in enumerate(order):
        if any(later.ended < op.begun for later in order[at + 1 :]):
            return False
        if op.kind == "read" and state != op.value:
            return False
        state = {"put": op.value, "delete": None, "read": state}[op.kind]
    return True


@pytest.mark.parametrize("part", range(4))
def test_the_search_for_an_order_agrees_with_trying_all_of_them(part):
    rng = random.Random(part)
    agreed = {True: 0, False: 0}
    for _ in range(150):
        ops = []
        for number in range(rng.randint(1, 5)):
            begun = rng.uniform(0, 6)
            ended = begun + rng.uniform(0.1, 4)
            kind = rng.choice(["put", "put", "delete", "read", "read"])
            value = rng.choice([None, 0, 1, 2]) if kind == "read" else number if kind == "put" else None
            unsure = kind != "read" and rng.random() < 0.3
            ops.append(Operation("c", kind, "k", value, begun, inf if unsure else ended))
        expected = _by_trying(ops)
        assert linearizable(ops) == expected, "\n".join(map(str, ops))
        agreed[expected] += 1
    assert min(agreed.values()) > 10


# -- faults planted in what a right system answered -------------------------------------------------
def right_history(rng, keys=3, operations=120):
    """Of a store that is as slow and stale as each level allows, and sometimes answers nothing."""
    versions = {key: [(-inf, None)] for key in range(keys)}
    seen = {}
    time, made, ops = 0.0, 0, []
    for _ in range(operations):
        time += rng.uniform(0.05, 0.4)
        client, key = f"c{rng.randrange(4)}", rng.randrange(keys)
        effect, end = time + rng.uniform(0.01, 0.04), time + 0.045
        if rng.random() < 0.5:
            made += 1
            kind = "delete" if rng.random() < 0.3 else "put"
            value = None if kind == "delete" else made
            answered = rng.random() > 0.1
            if answered or rng.random() < 0.5:
                versions[key].append((effect, value))
                if answered:
                    seen[client, key] = len(versions[key]) - 1
            stamp = int(effect * 1000) if answered else None
            ops.append(Operation(client, kind, key, value, time, end if answered else inf, timestamp=stamp))
            continue
        level = rng.choice(["Strong", "Session", "Bounded", "Eventually"])
        newest = len(versions[key]) - 1
        oldest = {"Strong": newest, "Session": seen.get((client, key), 0), "Eventually": 0}.get(level)
        if oldest is None:
            oldest = max(at for at, (when, _) in enumerate(versions[key]) if when <= max(time - 2, -1))
        at = rng.randint(oldest, newest)
        if level in ("Session", "Strong"):
            seen[client, key] = max(at, seen.get((client, key), 0))
        ops.append(Operation(client, "read", key, versions[key][at][1], time, end, level=level))
    for key, stored in versions.items():
        ops.append(Operation("end", "read", key, stored[-1][1], time + 10, time + 11))
    return ops


def _writes(ops, key):
    return [op for op in ops if op.register == key and op.is_write and op.is_sure]


def lose_the_last_write(ops, rng):
    """The final read shows what was there before the newest acknowledged write."""
    for at in range(len(ops) - 1, -1, -1):
        if ops[at].client == "end":
            writes = _writes(ops, ops[at].register)
            unsure = [op for op in ops if op.register == ops[at].register and not op.is_sure]
            if len(writes) > 1 and not unsure and writes[-2].value != writes[-1].value:
                return [*ops[:at], replace(ops[at], value=writes[-2].value), *ops[at + 1 :]]
    return None


def bring_back(ops, rng):
    """A key that was deleted for good is there again."""
    for at, op in enumerate(ops):
        if op.client == "end" and op.value is None:
            puts = [w for w in _writes(ops, op.register) if w.kind == "put"]
            if puts:
                return [*ops[:at], replace(op, value=puts[0].value), *ops[at + 1 :]]
    return None


def invent(ops, rng):
    reads = [at for at, op in enumerate(ops) if op.kind == "read" and op.level == "Eventually"]
    at = rng.choice(reads)
    return [*ops[:at], replace(ops[at], value=10_000), *ops[at + 1 :]]


def go_back(ops, rng):
    """A session sees the first value of a key after its own later write of it."""
    for op in ops:
        if op.kind == "put" and op.is_sure:
            earlier = [w for w in _writes(ops, op.register) if w.kind == "put" and w.ended < op.begun]
            if earlier:
                return [*ops, Operation(op.client, "read", op.register, earlier[0].value, 1e3, 1e3 + 1, "Session")]
    return None


def be_too_stale(ops, rng):
    for op in ops:
        later = [w for w in _writes(ops, op.register) if w.begun > op.ended]
        if op.kind == "put" and op.is_sure and later:
            return [*ops, Operation("z", "read", op.register, op.value, 1e3, 1e3 + 1, "Bounded")]
    return None


def swap_two_timestamps(ops, rng):
    for key in range(3):
        writes = [op for op in _writes(ops, key) if op.kind == "put" and op.timestamp is not None]
        if len(writes) > 1:
            a, b = writes[0], writes[-1]
            moved = {id(a): replace(a, timestamp=b.timestamp), id(b): replace(b, timestamp=a.timestamp)}
            return [moved.get(id(op), op) for op in ops]
    return None


def test_what_a_right_system_answers_is_accepted():
    for seed in range(60):
        found = violations(right_history(random.Random(seed)), bound=2.5)
        assert not found, f"seed {seed}: {found[0]}"


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (lose_the_last_write, "linearizable"), (bring_back, "linearizable"), (invent, "nothing is invented"),
        (go_back, "read your writes"), (be_too_stale, "bounded"), (swap_two_timestamps, "timestamps grow"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found_in_every_history(fault, promise):
    planted = 0
    for seed in range(40):
        rng = random.Random(seed)
        ops = fault(right_history(rng), rng)
        if ops is not None:
            planted += 1
            assert promise in promises(*ops, bound=2.5), f"seed {seed}"
    assert planted >= 10
