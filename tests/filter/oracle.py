"""What filters mean, row by row in plain Python: the forms that `test_filter_model` does not have, and every way to
write and to combine them.

NULL is None. `Term` is a text, how tightly it binds, the parameters it names, and what it means for one row.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import shapely
from hypothesis import strategies as st
from tests.filter.element_oracle import clips, matches
from tests.filter.match_oracle import holds_near, holds_phrase, holds_words, words_of

Row = dict[str, Any]
Truth = bool | None
Means = Callable[[Row], Truth]

OR, AND, EQUALITY, RELATION, MEMBERSHIP, UNARY, MATCH, PRIMARY = 16, 15, 11, 10, 8, 4, 2, 1
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Term:
    text: str
    level: int
    means: Means
    params: Row = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.text}  {self.params}"


# -- values -------------------------------------------------------------------------------------
small = st.integers(-4, 4)
halves = st.integers(-8, 8).map(lambda n: n / 2)
texts = st.text(alphabet="ab%_", max_size=3)
huge = st.sampled_from([2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, -(2**63), 2.0**63, 2**53 + 1])
json_scalars = st.one_of(small, halves, texts, st.booleans(), huge)
moments = st.integers(0, 40).map(lambda n: datetime(2024, 1, 15, tzinfo=UTC) + timedelta(days=n, minutes=7 * n))
shapes = st.sampled_from([
    "POINT(1 1)", "POINT(2 2)", "POINT(0 0)", "POINT(1.0000001 1)", "POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))",
    "POLYGON((1 1, 3 1, 3 3, 1 3, 1 1))", "LINESTRING(0 0, 2 2)", "LINESTRING(0 2, 2 0)", "POINT EMPTY",
    "POLYGON((0 0, 2 2, 2 0, 0 2, 0 0))", "MULTIPOINT((1 1), (5 5))", "LINESTRING(2 0, 2 2)", "POLYGON EMPTY",
])  # fmt: skip
patterns = st.sampled_from(["a", "^a", "b$", "a.b", "[ab]+", "", "a|b", "(?i)A", r"^\w$", "%", "(a)(b)?", "ab"])


tales = st.lists(st.sampled_from(["a", "b", "ab", "A", "c1", "abb", "-"]), max_size=6).flatmap(
    lambda words: st.sampled_from([" ", ", ", "--"]).map(lambda between: between.join(words))
)


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return orjson.dumps(value).decode()
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return repr(value)


@st.composite
def constant(draw: st.DrawFn, value: Any) -> tuple[str, Row]:
    """A constant as it may be written: as it is, or as a parameter."""
    if draw(st.integers(0, 3)):
        return literal(value), {}
    name = "p" + "".join(c if c.isalnum() else f"x{ord(c):x}" for c in repr(value))
    return f"{{{name}}}", {name: value}


def null_safe(get: Callable[[Row], Any], test: Callable[[Any], Truth]) -> Means:
    def means(row: Row) -> Truth:
        value = get(row)
        return None if value is None else test(value)

    return means


def element(name: str, index: int) -> Callable[[Row], Any]:
    def get(row: Row) -> Any:
        values = row.get(name)
        return None if values is None or index >= len(values) else values[index]

    return get


def column(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


@st.composite
def compared(draw: st.DrawFn, shown: str, get: Callable[[Row], Any], value: Any) -> Term:
    """A comparison with a constant on either side."""
    symbol = draw(st.sampled_from(list(COMPARISONS)))
    test, (text, params) = COMPARISONS[symbol], draw(constant(value))
    whole = f"{shown} {symbol} {text}" if draw(st.booleans()) else f"{text} {MIRRORED[symbol]} {shown}"
    level = EQUALITY if symbol in ("==", "!=") else RELATION
    return Term(whole, level, null_safe(get, lambda v: test(v, value)), params)


# -- strings ------------------------------------------------------------------------------------
@st.composite
def string_terms(draw: st.DrawFn) -> Term:
    shown, get = draw(st.sampled_from([
        ("name", column("name")), ("city", column("city")), ("words[0]", element("words", 0)),
        ("words[2]", element("words", 2)),
    ]))  # fmt: skip
    form = draw(st.integers(0, 6))
    value = draw(texts)
    if form == 0:
        return draw(compared(shown, get, value))
    if form == 1:
        pattern, negated = draw(patterns), draw(st.booleans())
        found = null_safe(get, lambda v: (re.search(pattern, v) is not None) != negated)
        quote = draw(st.sampled_from("'\""))
        return Term(
            f"{shown} {'!~' if negated else '=~'} {draw(st.sampled_from('rR'))}{quote}{pattern}{quote}", MATCH, found
        )
    if form == 2:
        call = draw(st.sampled_from(["starts_with", "STARTS_WITH"]))
        text, params = draw(constant(value))
        return Term(f"{call}({shown}, {text})", PRIMARY, null_safe(get, lambda v: v.startswith(value)), params)
    if form == 3:
        return Term(f"empty({shown})", PRIMARY, null_safe(get, lambda v: v == ""))
    if form == 4:
        return Term(f"starts_with({literal(value)}, {shown})", PRIMARY, null_safe(get, value.startswith))
    if form == 5:
        members, negated = draw(st.lists(texts, max_size=7)), draw(st.booleans())
        text, params = draw(constant(members))
        word = draw(st.sampled_from(["not in", "NOT IN"] if negated else ["in", "IN"]))
        return Term(f"{shown} {word} {text}", MEMBERSHIP, null_safe(get, lambda v: (v in members) != negated), params)

    def begins(row: Row) -> Truth:
        pair = row.get("name"), row.get("city")
        return None if None in pair else str(pair[0]).startswith(str(pair[1]))

    return Term("starts_with(name, city)", PRIMARY, begins)


# -- numbers ------------------------------------------------------------------------------------
def divided(one: int | float, other: int | float) -> int | float:
    if not (isinstance(one, int) and isinstance(other, int)):
        return one / other
    whole = abs(one) // abs(other)  # exact, where floats are not, and towards zero
    return whole if (one < 0) == (other < 0) else -whole


def remainder(one: int, other: int) -> int | float:
    return one - other * divided(one, other)


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": divided, "%": remainder, "&": operator.and_,
    "|": operator.or_, "^": operator.xor,
}  # fmt: skip


@st.composite
def arithmetic_terms(draw: st.DrawFn) -> Term:
    shown, get = draw(st.sampled_from([
        ("age", column("age")), ("big", column("big")), ("nums[1]", element("nums", 1)),
        ("doc['k']", lambda row: at(row, "doc", ("k",))), ("free", lambda row: at(row, "free", ())),
    ]))  # fmt: skip
    symbol = draw(st.sampled_from(list(ARITHMETIC)))
    operand = draw(small.filter(bool))
    action, whole_only = ARITHMETIC[symbol], symbol in "%&|^"

    def value(row: Row) -> Any:
        found = get(row)
        if isinstance(found, bool) or not isinstance(found, int | float):
            return None
        if whole_only and (isinstance(found, float) or found >= 2**63):
            return None
        if isinstance(found, int) and found >= 2**63:
            found = float(found)
        result = action(found, operand)
        # int64 wraps around.
        return (result + 2**63) % 2**64 - 2**63 if isinstance(result, int) else result

    text = f"{shown} {symbol} {operand}"
    if symbol in "+*&|^" and draw(st.booleans()):
        text = f"{operand} {symbol} {shown}"
    if symbol in "&|^" or draw(st.booleans()):
        text = f"({text})"
    return draw(compared(text, value, draw(small)))


@st.composite
def list_terms(draw: st.DrawFn) -> Term:
    name, values = draw(
        st.sampled_from([("words", texts), ("reals", halves), ("bits", st.booleans()), ("nums", small)])
    )
    form = draw(st.integers(0, 6))
    members = draw(st.lists(values, max_size=3))
    prefix = draw(st.sampled_from(["array", "json", "ARRAY"]))
    text, params = draw(constant(members))
    get = column(name)

    def call(suffix: str, argument: str) -> str:
        function = f"{prefix}_contains{suffix}"
        return f"{function.upper() if prefix == 'ARRAY' else function}({name}, {argument})"

    if form == 0:
        one = draw(values)
        shown, given_params = draw(constant(one))
        return Term(call("", shown), PRIMARY, null_safe(get, lambda v: one in v), given_params)
    if form == 1:
        return Term(call("_all", text), PRIMARY, null_safe(get, lambda v: all(m in v for m in members)), params)
    if form == 2:
        return Term(call("_any", text), PRIMARY, null_safe(get, lambda v: any(m in v for m in members)), params)
    if form == 3:
        sign = draw(st.sampled_from(["==", "!="]))
        return Term(
            f"{name} {sign} {text}", EQUALITY, null_safe(get, lambda v: (v == members) == (sign == "==")), params
        )
    if form == 4:
        return draw(compared(f"array_length({name})", null_safe(get, len), draw(small)))
    index = draw(st.integers(0, 2))
    shown, found = f"{name}[{index}]", element(name, index)
    if name == "bits":
        return draw(st.sampled_from([
            Term(shown, PRIMARY, found), Term(f"{shown} != true", EQUALITY, null_safe(found, lambda v: not v)),
        ]))  # fmt: skip
    if form == 5:
        return Term(f"{shown} in {text}", MEMBERSHIP, null_safe(found, lambda v: v in members), params)
    low, high = sorted(draw(st.lists(values, min_size=2, max_size=2, unique=True)))
    return Term(f"{literal(low)} <= {shown} < {literal(high)}", RELATION, null_safe(found, lambda v: low <= v < high))


# -- JSON ---------------------------------------------------------------------------------------
def at(row: Row, name: str, keys: tuple[str | int, ...]) -> Any:
    value: Any = row.get(name)
    for key in keys:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, dict) else None
        else:
            value = value[key] if isinstance(value, list) and key < len(value) else None
    return value


def family(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


PATHS: list[tuple[str, str, tuple[str | int, ...]]] = [
    ("doc['k']", "doc", ("k",)), ('doc["k"]["l"]', "doc", ("k", "l")), ("doc['k'][1]", "doc", ("k", 1)),
    ("free", "free", ()), ("$meta['free']", "free", ()), ("free['k'][0]", "free", ("k", 0)),
    (r"fr\u0065e", "free", ()),
]  # fmt: skip


@st.composite
def json_terms(draw: st.DrawFn) -> Term:
    shown, name, keys = draw(st.sampled_from(PATHS))
    value = draw(json_scalars)
    form = draw(st.integers(0, 4))

    def get(row: Row) -> Any:
        return at(row, name, keys)

    if form == 0:
        return draw(compared(shown, lambda r: v if family(v := get(r)) == family(value) else None, value))
    if form == 1:
        pattern = draw(patterns)
        found = null_safe(get, lambda v: re.search(pattern, v) is not None if isinstance(v, str) else None)
        return Term(
            f"{shown} =~ {literal(pattern)}" if "\\" not in pattern else f"{shown} =~ r'{pattern}'", MATCH, found
        )
    if form == 2:
        members, negated = draw(st.lists(json_scalars, max_size=4)), draw(st.booleans())
        text, params = draw(constant(members))

        def belongs(v: Any) -> Truth:
            if members and family(v) not in map(family, members):
                return None
            return any(family(v) == family(m) and v == m for m in members) != negated

        return Term(f"{shown} {'not in' if negated else 'in'} {text}", MEMBERSHIP, null_safe(get, belongs), params)
    if form == 3:
        numbers = sorted(draw(st.lists(st.one_of(small, huge), min_size=2, max_size=2, unique=True)))
        if numbers[0] == numbers[1]:
            numbers = [0, 1]
        low, high = numbers
        return Term(
            f"{literal(high)} >= {shown} > {literal(low)}", RELATION,
            null_safe(get, lambda v: low < v <= high if family(v) == "number" else None),
        )  # fmt: skip
    return draw(
        compared(
            f"array_length({shown})", null_safe(get, lambda v: len(v) if isinstance(v, list) else None), draw(small)
        )
    )


# -- times --------------------------------------------------------------------------------------
def plus_months(moment: datetime, months: int) -> datetime:
    """A day that the month does not have is counted on from its end."""
    years, month = divmod(moment.month - 1 + months, 12)
    return moment.replace(year=moment.year + years, month=month + 1, day=1) + timedelta(days=moment.day - 1)


@st.composite
def time_terms(draw: st.DrawFn) -> Term:
    moment = draw(moments)
    iso = f'ISO "{moment.isoformat().replace("+00:00", draw(st.sampled_from(["Z", "+00:00"])))}"'
    shown, get = "moment", column("moment")
    if draw(st.booleans()):
        months, days, seconds = draw(st.integers(0, 2)), draw(st.integers(0, 40)), draw(st.integers(0, 90_000))
        sign = draw(st.sampled_from("+-"))
        way = 1 if sign == "+" else -1
        span = f'INTERVAL "P{months}M{days}DT{seconds}S"'
        shown = f"{span} + moment" if sign == "+" and draw(st.booleans()) else f"moment {sign} {span}"

        def get(row: Row) -> Any:
            value = row.get("moment")
            return (
                None
                if value is None
                else plus_months(value, way * months) + way * timedelta(days=days, seconds=seconds)
            )

    symbol = draw(st.sampled_from(list(COMPARISONS)))
    test = COMPARISONS[symbol]
    level = EQUALITY if symbol in ("==", "!=") else RELATION
    if draw(st.booleans()):
        return Term(f"{iso} {MIRRORED[symbol]} {shown}", level, null_safe(get, lambda v: test(v, moment)))
    if draw(st.booleans()):
        return Term(f"{shown} {symbol} {iso}", level, null_safe(get, lambda v: test(v, moment)))
    later = moment + timedelta(days=draw(st.integers(1, 20)))
    return Term(
        f'{iso} <= {shown} < ISO "{later.isoformat()}"', RELATION, null_safe(get, lambda v: moment <= v < later)
    )


# -- shapes -------------------------------------------------------------------------------------
@st.composite
def shape_terms(draw: st.DrawFn) -> Term:
    name = draw(st.sampled_from(
        ["equals", "touches", "overlaps", "crosses", "contains", "intersects", "within", "dwithin", "isvalid"]
    ))  # fmt: skip
    call = draw(st.sampled_from([f"st_{name}", f"ST_{name.upper()}"]))

    def shape(row: Row) -> Any:
        return None if row.get("place") is None else shapely.from_wkt(row["place"])

    if name == "isvalid":
        return Term(f"{call}(place)", PRIMARY, null_safe(shape, lambda s: bool(s.is_valid)))
    if name == "dwithin":
        point, reach = (
            draw(st.sampled_from(["POINT(1 1)", "POINT(2 0)"])),
            draw(st.sampled_from([0, 0.5, 1.2, 1, 200_000])),
        )
        (wkt, params), other = draw(constant(point)), shapely.from_wkt(point)

        def near(s: Any) -> bool:
            if s.is_empty or not s.is_valid:
                return False
            return (metres(s, other) if s.geom_type == "Point" else s.distance(other)) <= reach

        return Term(f"{call}(place, {wkt}, {reach})", PRIMARY, null_safe(shape, near), params)
    text = draw(shapes)
    other = shapely.from_wkt(text)
    wkt, params = draw(constant(text))
    return Term(
        f"{call}(place, {wkt})", PRIMARY,
        null_safe(shape, lambda s: s.is_valid and other.is_valid and bool(getattr(s, name)(other))), params,
    )  # fmt: skip


def metres(one: Any, other: Any) -> float:
    up, over = math.radians(other.y - one.y), math.radians(other.x - one.x)
    share = (
        math.sin(up / 2) ** 2
        + math.cos(math.radians(one.y)) * math.cos(math.radians(other.y)) * math.sin(over / 2) ** 2
    )
    return 2 * 6_371_000.0 * math.asin(math.sqrt(share))


# -- words --------------------------------------------------------------------------------------
@st.composite
def match_terms(draw: st.DrawFn) -> Term:
    query = draw(tales)
    words, (text, params) = words_of(query), draw(constant(query))
    form = draw(st.integers(0, 4))
    shout = str.upper if draw(st.booleans()) else str
    number = draw(st.integers(0, 5))
    shown, given = draw(constant(number))
    if form == 0:
        slop = draw(st.sampled_from([0, 1, 2, 3, 7, 2**32 - 1]))
        call = f"{shout('phrase_match')}(tale, {text}, {slop})"
        return Term(call, PRIMARY, null_safe(column("tale"), lambda v: holds_phrase(words_of(v), words, slop)), params)
    if form == 1:
        call = f"{shout('phrase_match')}(tale, {text})"
        return Term(call, PRIMARY, null_safe(column("tale"), lambda v: holds_phrase(words_of(v), words, 0)), params)
    if form == 2:
        edits = number % 3
        call = f"{shout('text_match_fuzzy')}(tale, {text}, {shout('max_edit_distance')}={edits})"
        return Term(call, PRIMARY, null_safe(column("tale"), lambda v: holds_near(words_of(v), words, edits)), params)
    least, call = 1, f"{shout('text_match')}(tale, {text})"
    if form == 3 and number:
        least, params = number, params | given
        call = f"{shout('text_match')}(tale, {text}, {shout('minimum_should_match')}={shown})"
    return Term(call, PRIMARY, null_safe(column("tale"), lambda v: holds_words(words_of(v), words, least)), params)


# -- truth --------------------------------------------------------------------------------------
@st.composite
def null_terms(draw: st.DrawFn) -> Term:
    name = draw(st.sampled_from(["age", "flag", "name", "nums", "doc", "moment", "place", "id", "essay"]))
    negated = draw(st.booleans())
    words = draw(st.sampled_from(["is not null", "IS NOT NULL"] if negated else ["is null", "IS NULL"]))
    never = name in ("id", "essay")
    return Term(f"{name} {words}", PRIMARY, lambda row: (never or row.get(name) is not None) == negated)


leaves = st.one_of(
    string_terms(), arithmetic_terms(), list_terms(), json_terms(), time_terms(), shape_terms(), null_terms(),
    match_terms(), matches().map(lambda found: Term(found[0], PRIMARY, found[1])),
    st.sampled_from([
        Term("flag", PRIMARY, column("flag")), Term("true", PRIMARY, lambda row: True),
        Term("(False)", PRIMARY, lambda row: False), Term("2 ** 3 == 0x8", EQUALITY, lambda row: True),
    ]),
)  # fmt: skip


def wrapped(term: Term, loosest: int) -> str:
    """The text of an operand, in parentheses where it binds less tightly than its place wants."""
    return term.text if term.level <= loosest else f"({term.text})"


@st.composite
def negations(draw: st.DrawFn, inner: st.SearchStrategy[Term]) -> Term:
    term = draw(inner)
    word = draw(st.sampled_from(["not ", "NOT ", "!"]))

    def means(row: Row) -> Truth:
        value = term.means(row)
        return None if value is None else not value

    return Term(word + wrapped(term, UNARY), UNARY, means, term.params)


@st.composite
def chains(draw: st.DrawFn, inner: st.SearchStrategy[Term]) -> Term:
    word = draw(st.sampled_from(["and", "AND", "&&", "or", "OR", "||"]))
    decides = word in ("or", "OR", "||")
    operands = draw(st.lists(inner, min_size=2, max_size=4))
    if draw(st.booleans()):
        operands.append(operands[0])
    level = OR if decides else AND

    def means(row: Row) -> Truth:
        values = [operand.means(row) for operand in operands]
        if decides in values:
            return decides
        return None if None in values else not decides

    params = {name: value for operand in operands for name, value in operand.params.items()}
    return Term(f" {word} ".join(wrapped(o, level) for o in operands), level, means, params)


terms = st.recursive(leaves, lambda inner: st.one_of(negations(inner), chains(inner)), max_leaves=8)

json_values = st.recursive(
    st.none() | json_scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2),
    max_leaves=5,
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": small, "city": texts, "reals": st.lists(halves, max_size=3),
            "bits": st.lists(st.booleans(), max_size=3),
            "place": st.none() | shapes,
        },
        optional={
            "age": small, "big": small | st.sampled_from([2**63 - 1, -(2**63)]), "flag": st.booleans(), "name": texts,
            "nums": st.lists(small, max_size=3), "words": st.lists(texts, max_size=3), "moment": moments,
            "tale": tales, "clips": clips, "free": json_values,
            "doc": st.fixed_dictionaries({}, optional={"k": json_values}),
        },
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


def stored(row: Row) -> Row:
    """A row as the columns hold it."""
    moment = row.get("moment")
    return row if moment is None else row | {"moment": round(moment.timestamp()) * 1_000_000}
