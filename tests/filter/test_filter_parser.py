"""How text becomes a tree."""

from __future__ import annotations

import pytest

from redkite.errors import InvalidParameter
from redkite.filter import syntax
from redkite.filter.diagnostics import Source, line_and_column
from redkite.filter.literals import pattern_value, text_value
from redkite.filter.parser import parse
from redkite.filter.syntax import Node
from redkite.model.limits import Limits


def shape(node: Node | None) -> str:
    """A tree with every operator in parentheses."""
    match node:
        case syntax.Literal(value=value):
            return str(value).lower()
        case syntax.Name(name=name) | syntax.Template(name=name):
            return name
        case syntax.Text(body=body):
            return repr(body)
        case syntax.PlainList(values=values):
            return str(list(values))
        case syntax.Path(name=name, keys=keys):
            return name + "".join(f"[{k!r}]" for k in keys)
        case syntax.Call(name=name, arguments=arguments):
            return f"{name}({', '.join(map(shape, arguments))})"
        case syntax.Keyword(name=name, value=value):
            return f"{name}={shape(value)}"
        case None:
            return ""
    return f"({operator_shape(node)})"


def operator_shape(node: Node) -> str:
    match node:
        case syntax.Not(operand=operand):
            return f"not {shape(operand)}"
        case syntax.Unary(operator=operator, operand=operand):
            return f"{operator}{shape(operand)}"
        case syntax.Exists(operand=operand):
            return f"exists {shape(operand)}"
        case syntax.IsNull(operand=operand, negated=negated):
            return f"{shape(operand)} is{' not' if negated else ''} null"
        case syntax.Binary(operator=symbol, left=left, right=right):
            return f"{shape(left)} {symbol} {shape(right)}"
        case syntax.Compare(operator=comparison, left=left, right=right):
            return f"{shape(left)} {comparison} {shape(right)}"
        case syntax.Like(operand=operand, pattern=pattern):
            return f"{shape(operand)} like {shape(pattern)}"
        case syntax.In(operand=operand, items=items, negated=negated):
            return f"{shape(operand)}{' not' if negated else ''} in {shape(items)}"
        case syntax.Logical(operator=word, operands=operands):
            return f" {word} ".join(map(shape, operands))
        case syntax.Range(low=low, middle=middle, high=high, low_inclusive=a, high_inclusive=b):
            return f"{shape(low)} {'<=' if a else '<'} {shape(middle)} {'<=' if b else '<'} {shape(high)}"
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a or b and c", "(a or (b and c))"),
        ("a or b or c and d and e", "(a or b or (c and d and e))"),
        ("a || b && !c", "(a or (b and (not c)))"),
        ("not a == 1", "((not a) == 1)"),
        ("not a like 'x'", "(not (a like 'x'))"),
        ("not exists a", "(not (exists a))"),
        ("exists a['k'] and b", "((exists a['k']) and b)"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a - b - c", "((a - b) - c)"),
        ("-2 ** 2", "(-(2 ** 2))"),
        ("2 ** -1", "(2 ** -1)"),
        ("2 ** 3 ** 2", "((2 ** 3) ** 2)"),
        ("-2 - -2", "(-2 - -2)"),
        ("a & b == c", "(a & (b == c))"),
        ("a | b ^ c & d", "(a | (b ^ (c & d)))"),
        ("a << 1 + 2", "(a << (1 + 2))"),
        ("a + 1 in [2]", "((a + 1) in [2])"),
        ("a in [1] == b", "((a in [1]) == b)"),
        ("a == b < c", "(a == (b < c))"),
        ("a < b < c", "(a < b < c)"),
        ("a <= b < c", "(a <= b < c)"),
        ("a > b >= c", "(c <= b < a)"),
        ("a < (b) < c", "((a < b) < c)"),
        ("a < b > c", "((a < b) > c)"),
        ("1 < a['k'] < 2 and b", "((1 < a['k'] < 2) and b)"),
        ("a NOT IN [1, 2,] AND b IS NOT NULL", "((a not in [1, 2]) and (b is not null))"),
        ("a [ 'k' ] [ 0 ]", "a['k'][0]"),
        ("F(a, 'x', n=2)", "f(a, 'x', n=2)"),
        ("isnull is null", "(isnull is null)"),
        ("is_null", "is_null"),
        ("{ x } == a", "(x == a)"),
        ("颜色 == 1", "(颜色 == 1)"),
        (r"\u989c\u8272 == 1", "(颜色 == 1)"),
        ("a in ['x', 'y']", "(a in ['x', 'y'])"),
        ("((((a))))", "a"),
    ],
)
def test_operators_bind_as_the_grammar_says(text: str, tree: str) -> None:
    assert shape(parse(Source(text))) == tree


def test_blank_text_has_no_tree() -> None:
    assert parse(Source(" \r\n\t")) is None


def test_a_long_chain_is_one_flat_node() -> None:
    tree = parse(Source(" or ".join(["a"] * 5_000)))
    assert isinstance(tree, syntax.Logical) and len(tree.operands) == 5_000


def test_a_long_list_of_integers_is_one_node() -> None:
    tree = parse(Source(f"a in {list(range(-500, 500))}"))
    assert isinstance(tree, syntax.In)
    assert tree.items == syntax.PlainList(5, tree.items.end, tuple(range(-500, 500)))


@pytest.mark.parametrize("text", ["(" * 21 + "a" + ")" * 21, "!" * 21 + "a", "1" + " + 1" * 21, "a[0] == " * 21 + "1"])
def test_nesting_and_leaning_chains_have_the_same_limit(text: str) -> None:
    with pytest.raises(InvalidParameter, match="nested too deeply"):
        parse(Source(text), Limits(max_expression_depth=20))


def test_the_number_of_tokens_is_limited() -> None:
    with pytest.raises(InvalidParameter, match="more than 10 tokens"):
        parse(Source("a or " * 20 + "a"), Limits(max_expression_tokens=10))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (r"a\n\t\\\'\"\?", "a\n\t\\'\"?"),
        (r"\x41\101\u0042\U0001F600", "AAB\U0001f600"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\xe4\xbd\xa0", "你"),
    ],
)
def test_escapes_of_a_string_are_decoded(body: str, value: str) -> None:
    assert text_value(Source(body), body, raw=False, start=0) == value


def test_an_unknown_escape_is_refused_in_a_string_and_kept_in_a_pattern() -> None:
    with pytest.raises(InvalidParameter, match="invalid escape"):
        text_value(Source(r"50\%"), r"50\%", raw=False, start=0)
    assert pattern_value(Source(r"50\%"), r"50\%", raw=False, start=0) == r"50\%"
    assert pattern_value(Source(""), r"50\\%", raw=False, start=0) == r"50\%"
    assert text_value(Source(""), r"50\%\n", raw=True, start=0) == r"50\%\n"


def test_lines_count_from_one_and_columns_from_zero() -> None:
    assert line_and_column("ab\ncd", 0) == (1, 0)
    assert line_and_column("ab\ncd", 4) == (2, 1)
