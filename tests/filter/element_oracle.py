"""What predicates over the elements of arrays mean, element by element in plain Python."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import strategies as st

Element = dict[str, Any]
Row = dict[str, Any]
Holds = Callable[[Element], bool]
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
numbers = st.integers(-3, 3)
words = st.text(alphabet="ab", max_size=2)
elements = st.fixed_dictionaries({"n": numbers, "m": numbers, "word": words, "on": st.booleans()})
clips = st.none() | st.lists(elements, max_size=4)


@dataclass(frozen=True)
class Predicate:
    """A predicate of one element: its text, and whether an element passes."""

    text: str
    holds: Holds


@st.composite
def simple(draw: st.DrawFn) -> Predicate:
    symbol, name = draw(st.sampled_from(list(COMPARISONS))), draw(st.sampled_from("nm"))
    test, value, text = COMPARISONS[symbol], draw(numbers), draw(words)
    members = draw(st.lists(numbers, max_size=4))
    return draw(st.sampled_from([
        Predicate(f"$[{name}] {symbol} {value}", lambda e: test(e[name], value)),
        Predicate(f"$[{name}] + 1 {symbol} {value}", lambda e: test(e[name] + 1, value)),
        Predicate(f"$[n] {symbol} $[m]", lambda e: test(e["n"], e["m"])),
        Predicate(f"-1 <= $[{name}] < 2", lambda e: -1 <= e[name] < 2),
        Predicate(f"$[{name}] in {members}", lambda e: e[name] in members),
        Predicate(f"$[{name}] not in {members}", lambda e: e[name] not in members),
        Predicate(f"$[word] {symbol} {orjson.dumps(text).decode()}", lambda e: test(e["word"], text)),
        Predicate('$[word] like "a%"', lambda e: e["word"].startswith("a")),
        Predicate("$[on]", lambda e: e["on"]),
        Predicate("$[on] == false", lambda e: not e["on"]),
        Predicate("true", lambda e: True),
    ]))  # fmt: skip


def _not(one: Predicate) -> Predicate:
    return Predicate(f"not ({one.text})", lambda e: not one.holds(e))


def _all(parts: list[Predicate]) -> Predicate:
    return Predicate(" and ".join(f"({p.text})" for p in parts), lambda e: all(p.holds(e) for p in parts))


def _any(parts: list[Predicate]) -> Predicate:
    return Predicate(" || ".join(f"({p.text})" for p in parts), lambda e: any(p.holds(e) for p in parts))


predicates = st.recursive(
    simple(),
    lambda inner: st.one_of(
        inner.map(_not),
        st.lists(inner, min_size=2, max_size=3).map(_all),
        st.lists(inner, min_size=2, max_size=3).map(_any),
    ),
    max_leaves=4,
)


@st.composite
def matches(draw: st.DrawFn) -> tuple[str, Callable[[Row], bool | None]]:
    """A call of `match_*`, and what it means for a row."""
    array = draw(st.sampled_from(["clips", "nums"]))
    if array == "clips":
        predicate = draw(predicates)
    else:
        value = draw(numbers)
        predicate = Predicate(f"$ >= {value}", lambda e: e["$"] >= value)
    kind, count = draw(st.sampled_from(["any", "all", "least", "most", "exact"])), draw(st.integers(0, 3))
    if kind == "least":
        count = max(1, count)
    text = f"match_{kind}({array}, {predicate.text}"
    if kind in ("least", "most", "exact"):
        text += draw(st.sampled_from([f", threshold={count}", f", threshold = {count}"]))
    if draw(st.booleans()):
        text = text.replace(f"match_{kind}", f"MATCH_{kind.upper()}", 1)

    def means(row: Row) -> bool | None:
        given = row.get(array)
        if given is None:
            return None
        items = given if array == "clips" else [{"$": value} for value in given]
        passing = sum(map(predicate.holds, items))
        return {
            "any": passing > 0, "all": passing == len(items), "least": passing >= count, "most": passing <= count,
            "exact": passing == count,
        }[kind]  # fmt: skip

    return text + ")", means
