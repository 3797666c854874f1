"""Random filters against a row-by-row evaluator in plain Python, with NULL as None and Kleene's logic."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.rows import DYNAMIC, columns_of

from redkite.filter import compile_filter

Row = dict[str, Any]
Truth = bool | None


@dataclass(frozen=True)
class Expr:
    """The text of a filter beside what it means for one row."""

    text: str
    means: Callable[[Row], Truth]

    def __repr__(self) -> str:
        return self.text


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
small = st.integers(-4, 4)
halves = st.integers(-8, 8).map(lambda n: n / 2)
texts = st.text(alphabet="ab%_", max_size=3)


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return orjson.dumps(value).decode()
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return repr(value)


def null_safe(test: Callable[[Any], bool], *fields: str) -> Callable[[Row], Truth]:
    """A test of a row's values that is NULL where any of them is."""

    def means(row: Row) -> Truth:
        values = [row.get(f) for f in fields]
        return None if any(v is None for v in values) else test(*values)

    return means


@st.composite
def number_leaf(draw: st.DrawFn) -> Expr:
    field = draw(st.sampled_from(["id", "i8", "age", "big", "score", "price"]))
    constant = draw(halves if field in ("score", "price") else small)
    symbol = draw(st.sampled_from(list(COMPARISONS)))
    compare = COMPARISONS[symbol]
    shape = draw(st.integers(0, 5))
    if shape == 0:
        return Expr(f"{literal(constant)} {symbol} {field}", null_safe(lambda v: compare(constant, v), field))
    if shape == 1:
        members = draw(st.lists(small, max_size=9))
        negated = draw(st.booleans())
        text = f"{field} {'not in' if negated else 'in'} {literal(members)}"
        return Expr(text, null_safe(lambda v: (v in members) != negated, field))
    if shape == 2:
        low = draw(small)
        high = draw(st.integers(low + 1, low + 5))
        return Expr(f"{low} < {field} <= {high}", null_safe(lambda v: low < v <= high, field))
    if shape == 3:
        other = draw(st.sampled_from(["id", "i8", "age", "score"]))
        return Expr(f"{field} {symbol} {other}", null_safe(compare, field, other))
    if shape == 4:
        step = draw(small.filter(bool))
        sign = draw(st.sampled_from("+-*"))
        actions = {"+": operator.add, "-": operator.sub, "*": operator.mul}
        text = f"{field} {sign} {step} {symbol} {literal(constant)}"
        return Expr(text, null_safe(lambda v: compare(actions[sign](v, step), constant), field))
    if field in ("score", "price"):
        return Expr(f"{field} {symbol} {literal(constant)}", null_safe(lambda v: compare(v, constant), field))
    divisor = draw(small.filter(bool))
    truncated = null_safe(lambda v: compare(int(v / divisor), constant), field)
    remainder = null_safe(lambda v: compare(v - int(v / divisor) * divisor, constant), field)
    if draw(st.booleans()):
        return Expr(f"{field} / {divisor} {symbol} {constant}", truncated)
    return Expr(f"{field} % {divisor} {symbol} {constant}", remainder)


def like(text: str, pattern: str) -> bool:
    parts = [".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern]
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


@st.composite
def text_leaf(draw: st.DrawFn) -> Expr:
    field = draw(st.sampled_from(["name", "city"]))
    constant = draw(texts)
    shape = draw(st.integers(0, 2))
    if shape == 0:
        symbol = draw(st.sampled_from(list(COMPARISONS)))
        test = COMPARISONS[symbol]
        return Expr(f"{field} {symbol} {literal(constant)}", null_safe(lambda v: test(v, constant), field))
    if shape == 1:
        members = draw(st.lists(texts, max_size=7))
        return Expr(f"{field} in {literal(members)}", null_safe(lambda v: v in members, field))
    return Expr(f"{field} like {literal(constant)}", null_safe(lambda v: like(v, constant), field))


@st.composite
def array_leaf(draw: st.DrawFn) -> Expr:
    constant = draw(small)
    members = draw(st.lists(small, max_size=3))
    index = draw(st.integers(0, 2))
    symbol = draw(st.sampled_from(list(COMPARISONS)))
    compare = COMPARISONS[symbol]

    def element(row: Row) -> Truth:
        values = row.get("nums")
        return None if values is None or index >= len(values) else compare(values[index], constant)

    return draw(st.sampled_from([
        Expr(f"nums[{index}] {symbol} {constant}", element),
        Expr(f"array_contains(nums, {constant})", null_safe(lambda v: constant in v, "nums")),
        Expr(f"array_contains_all(nums, {members})", null_safe(lambda v: set(members) <= set(v), "nums")),
        Expr(f"array_contains_any(nums, {members})", null_safe(lambda v: bool(set(members) & set(v)), "nums")),
        Expr(f"array_length(nums) {symbol} {constant}", null_safe(lambda v: compare(len(v), constant), "nums")),
        Expr(f"nums == {members}", null_safe(lambda v: v == members, "nums")),
        Expr(f"nums != {members}", null_safe(lambda v: v != members, "nums")),
    ]))  # fmt: skip


def family(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return family(one) == family(other) and bool(one == other)


def at(row: Row, path: tuple[str | int, ...]) -> Any:
    value: Any = row.get("doc") if path[0] == "doc" else row.get(str(path[0]))
    for key in path[1:]:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, dict) else None
        else:
            value = value[key] if isinstance(value, list) and key < len(value) else None
    return value


def filled(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(filled, value.values()))
    return any(map(filled, value)) if isinstance(value, list) else value is not None


json_scalars = st.one_of(small, halves, texts, st.booleans(), st.sampled_from([2**53, 2**53 + 1, 2.0**53]))
json_values = st.recursive(
    st.none() | json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2),
    max_leaves=5,
)


@st.composite
def json_leaf(draw: st.DrawFn) -> Expr:
    path = draw(
        st.sampled_from([("doc", "k"), ("doc", "k", "l"), ("doc", "k", 1), ("free",), ("free", "k"), ("free", 0)])
    )
    shown = str(path[0]) + "".join(f"[{literal(key)}]" for key in path[1:])
    constant = draw(json_scalars)
    members = draw(st.lists(json_scalars, max_size=4))
    symbol = draw(st.sampled_from(list(COMPARISONS)))

    def compares(row: Row) -> Truth:
        value = at(row, path)
        return COMPARISONS[symbol](value, constant) if family(value) == family(constant) else None

    def belongs(row: Row) -> Truth:
        value = at(row, path)
        if value is None or (members and family(value) not in map(family, members)):
            return None
        return any(same(value, member) for member in members)

    def holds(row: Row) -> Truth:
        value = at(row, path)
        return any(same(v, constant) for v in value) if isinstance(value, list) else None

    def holds_all(row: Row) -> Truth:
        value = at(row, path)
        return all(any(same(v, m) for v in value) for m in members) if isinstance(value, list) else None

    def holds_any(row: Row) -> Truth:
        value = at(row, path)
        return any(same(v, m) for v in value for m in members) if isinstance(value, list) else None

    def equals(row: Row) -> Truth:
        value = at(row, path)
        return same(value, members) if isinstance(value, list) else None

    def matches(row: Row) -> Truth:
        value = at(row, path)
        return like(value, str(constant)) if isinstance(value, str) else None

    return draw(st.sampled_from([
        Expr(f"{shown} {symbol} {literal(constant)}", compares),
        Expr(f"{shown} {symbol} {literal(constant)}", compares),
        Expr(f"{shown} in {literal(members)}", belongs),
        Expr(f"exists {shown}", lambda row: filled(at(row, path))),
        Expr(f"{shown} is null", lambda row: not filled(at(row, path))),
        Expr(f"json_contains({shown}, {literal(constant)})", holds),
        Expr(f"json_contains_all({shown}, {literal(members)})", holds_all),
        Expr(f"json_contains_any({shown}, {literal(members)})", holds_any),
        Expr(f"{shown} == {literal(members)}", equals),
        Expr(f"{shown} like {literal(str(constant))}", matches),
    ]))  # fmt: skip


def plain_leaves() -> st.SearchStrategy[Expr]:
    return st.sampled_from([
        Expr("flag", lambda row: row.get("flag")),
        Expr("flag == false", null_safe(lambda v: not v, "flag")),
        Expr("flag != false", null_safe(bool, "flag")),
        Expr("age is null", lambda row: row.get("age") is None),
        Expr("nums is not null", lambda row: row.get("nums") is not None),
        Expr("true", lambda row: True),
        Expr("1 == 2", lambda row: False),
    ])  # fmt: skip


def negation(inner: Expr) -> Expr:
    def means(row: Row) -> Truth:
        value = inner.means(row)
        return None if value is None else not value

    return Expr(f"not ({inner.text})", means)


def joined(word: str, operands: list[Expr]) -> Expr:
    decides = word == "or"

    def means(row: Row) -> Truth:
        values = [operand.means(row) for operand in operands]
        if decides in values:
            return decides
        return None if None in values else not decides

    return Expr(f" {word} ".join(f"({operand.text})" for operand in operands), means)


leaves = st.one_of(number_leaf(), text_leaf(), array_leaf(), json_leaf(), plain_leaves())
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(negation),
        st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=8,
)
rows = st.lists(
    st.fixed_dictionaries(
        {"id": small, "city": texts},
        optional={
            "i8": small, "age": small, "big": small, "price": halves, "score": halves, "flag": st.booleans(),
            "name": texts, "nums": st.lists(small, max_size=3), "free": json_values,
            "doc": st.fixed_dictionaries({}, optional={"k": json_values}),
        },
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


dense_values = st.one_of(json_scalars, json_values, st.lists(json_scalars, min_size=1, max_size=2))
dense_rows = st.lists(
    st.fixed_dictionaries({
        "id": small,
        "doc": st.fixed_dictionaries({"k": dense_values | st.fixed_dictionaries({"l": dense_values})}),
        "free": dense_values | st.fixed_dictionaries({"k": dense_values}),
    }),
    min_size=8,
    max_size=16,
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(json_leaf() | json_leaf().map(negation), min_size=6, max_size=6), dense_rows)
def test_a_filter_over_json_means_the_same_row_by_row(leaves: list[Expr], given_rows: list[Row]) -> None:
    columns = columns_of(given_rows)
    for leaf in leaves:
        mask = compile_filter(leaf.text, DYNAMIC).evaluate(columns)
        assert mask.tolist() == [leaf.means(row) is True for row in given_rows], leaf.text


@settings(max_examples=300)
@given(expressions, rows)
def test_a_filter_means_the_same_row_by_row(expression: Expr, given_rows: list[Row]) -> None:
    mask = compile_filter(expression.text, DYNAMIC).evaluate(columns_of(given_rows))
    assert mask.tolist() == [expression.means(row) is True for row in given_rows]


@settings(max_examples=100)
@given(st.lists(leaves, min_size=2, max_size=5), st.lists(st.sampled_from(["and", "or"]), min_size=4, max_size=4), rows)
def test_and_binds_tighter_than_or_without_parentheses(
    parts: list[Expr], words: list[str], given_rows: list[Row]
) -> None:
    text = parts[0].text
    groups = [[parts[0]]]
    for part, word in zip(parts[1:], words, strict=False):
        text += f" {word} {part.text}"
        if word == "and":
            groups[-1].append(part)
        else:
            groups.append([part])
    meant = joined("or", [joined("and", group) for group in groups])
    mask = compile_filter(text, DYNAMIC).evaluate(columns_of(given_rows))
    assert mask.tolist() == [meant.means(row) is True for row in given_rows]


@settings(max_examples=200)
@given(st.text(alphabet="ab%_\\é\n.*[", max_size=6), st.lists(st.text(alphabet="ab%_é\n.*[", max_size=5), max_size=8))
def test_like_is_a_whole_match_of_its_pattern(pattern: str, values: list[str]) -> None:
    if re.fullmatch(r"(?s)(\\.|[^\\])*", pattern) is None:
        return
    pieces = re.findall(r"(?s)\\.|[^\\]", pattern)
    meant = "".join({"%": ".*", "_": "."}.get(p) or re.escape(p[-1]) for p in pieces)
    mask = compile_filter("city like {p}", DYNAMIC, {"p": pattern}).evaluate(
        columns_of([{"id": 0, "city": v} for v in values])
    )
    assert mask.tolist() == [re.fullmatch(meant, v, re.DOTALL) is not None for v in values]
