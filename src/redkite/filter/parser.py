"""Tokens to tree: operator precedence by climbing, recursion only where the text nests.

Every level of nesting is counted against the depth limit, and so is every operator of a chain that leans to one side
(`1 + 1 + 1 …`), so no later walk over the tree can go deeper than the limit. Chains of `and` and of `or` are flat.
"""

from __future__ import annotations

from redkite.filter import literals
from redkite.filter.diagnostics import Source
from redkite.filter.lexer import KEYWORDS, Kind, Lexer, Token
from redkite.filter.syntax import (
    Binary,
    Call,
    Compare,
    Comparison,
    Exists,
    In,
    IsNull,
    Keyword,
    Like,
    ListNode,
    Literal,
    Logical,
    Name,
    Node,
    Not,
    Operator,
    Path,
    PlainList,
    Range,
    RegexMatch,
    StructPath,
    Template,
    Text,
    TimeLiteral,
    Unary,
)
from redkite.model.limits import LIMITS, Limits

_OR, _AND, _EQUALITY, _RELATION, _MEMBERSHIP, _UNARY, _MATCH, _PRIMARY = 1, 2, 6, 7, 9, 13, 15, 16

# Higher binds tighter. `**` binds tighter than a minus in front of it.
_BINARY: dict[str, tuple[int, Operator]] = {
    "|": (3, Operator.BIT_OR), "^": (4, Operator.BIT_XOR), "&": (5, Operator.BIT_AND),
    "<<": (10, Operator.SHL), ">>": (10, Operator.SHR), "+": (11, Operator.ADD), "-": (11, Operator.SUB),
    "*": (12, Operator.MUL), "/": (12, Operator.DIV), "%": (12, Operator.MOD), "**": (14, Operator.POW),
}  # fmt: skip
_COMPARISONS: dict[str, tuple[int, Comparison]] = {
    c.value: (_EQUALITY if c.is_equality else _RELATION, c) for c in Comparison
}
_ASCENDING = (Comparison.LT, Comparison.LE)
_NULL_LITERAL = "NULL literal is not supported in expressions; use '<field> is null' or '<field> is not null' instead"


def parse(source: Source, limits: Limits = LIMITS) -> Node | None:
    """The tree of a filter; None when the text is blank.

    Raises InvalidParameter with line, column and caret when the text is not of the language.
    """
    parser = _Parser(source, limits)
    try:
        return parser.whole()
    except RecursionError:
        # The caller's own stack may already be deep: the answer is the same as at the limit.
        raise source.error("expression is nested too deeply") from None


class _Parser:
    __slots__ = ("_depth", "_height", "_lexer", "_max_depth", "_source", "_token")

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._lexer = Lexer(source, limits.max_expression_tokens)
        self._token = self._lexer.next()
        self._depth = 0
        """Levels of recursion now open."""
        self._height = 0
        """Levels of the tallest tree parsed so far at this level of recursion."""
        self._max_depth = limits.max_expression_depth

    def whole(self) -> Node | None:
        if self._ended():
            return None
        node = self._expression(_OR)
        if not self._ended():
            raise self._unexpected("extraneous input")
        return node

    # -- operators ------------------------------------------------------------------------------
    def _expression(self, level: int) -> Node:
        """Everything from here whose operators bind at least as tightly as `level`."""
        self._depth += 1
        if self._depth > self._max_depth:
            raise self._too_deep()
        beside, self._height = self._height, 0
        left = self._prefix()
        while True:
            token = self._token
            kind = token.kind
            if kind is Kind.SYMBOL:
                node = self._infix_symbol(left, token, level)
            elif kind is Kind.AND or kind is Kind.OR:
                node = self._logical(left, token, level)
            elif kind is Kind.LIKE:
                node = self._match(left, level)
            elif kind is Kind.IN or kind is Kind.NOT:
                node = self._membership(left, token, level)
            else:
                break
            if node is None:
                break
            left = node
            self._grow()
        self._grow()
        self._height = max(self._height, beside)
        self._depth -= 1
        return left

    def _infix_symbol(self, left: Node, token: Token, level: int) -> Node | None:
        text = token.text
        if text in _COMPARISONS:
            binding, comparison = _COMPARISONS[text]
            return None if binding < level else self._comparison(left, comparison, binding)
        if text in _BINARY:
            binding, operator = _BINARY[text]
            if binding < level:
                return None
            self._advance()
            right = self._expression(binding + 1)
            return Binary(left.start, right.end, operator, left, right)
        if text in ("=~", "!~") and level <= _MATCH:
            self._advance()
            pattern = self._pattern()
            return RegexMatch(left.start, pattern.end, left, pattern, text == "!~")
        return None

    def _comparison(self, left: Node, operator: Comparison, binding: int) -> Node:
        self._advance()
        parenthesized = self._token.text == "("
        right = self._expression(binding + 1)
        if binding == _RELATION and not parenthesized and isinstance(right, Name | Path | StructPath | Binary):
            following = _COMPARISONS.get(self._token.text) if self._token.kind is Kind.SYMBOL else None
            if following and following[0] == _RELATION and _same_direction(operator, following[1]):
                return self._range(left, operator, right, following[1])
        return Compare(left.start, right.end, operator, left, right)

    def _range(self, first: Node, operator: Comparison, middle: Node, following: Comparison) -> Node:
        self._advance()
        last = self._expression(_RELATION + 1)
        inclusive = operator in (Comparison.LE, Comparison.GE), following in (Comparison.LE, Comparison.GE)
        if operator in _ASCENDING:
            return Range(first.start, last.end, first, middle, last, *inclusive)
        return Range(first.start, last.end, last, middle, first, inclusive[1], inclusive[0])

    def _logical(self, left: Node, token: Token, level: int) -> Node | None:
        kind = token.kind
        binding = _AND if kind is Kind.AND else _OR
        if binding < level:
            return None
        operands = [left]
        while self._token.kind is kind:
            self._advance()
            operands.append(self._expression(binding + 1))
        return Logical(left.start, operands[-1].end, kind.value, tuple(operands))

    def _match(self, left: Node, level: int) -> Node | None:
        if level > _MATCH:
            return None
        self._advance()
        pattern = self._pattern()
        return Like(left.start, pattern.end, left, pattern)

    def _pattern(self) -> Node:
        if self._token.kind not in (Kind.STRING, Kind.RAW_STRING, Kind.TEMPLATE):
            raise self._unexpected("mismatched input", "a pattern is a string literal or a {template}")
        return self._prefix()

    def _membership(self, left: Node, token: Token, level: int) -> Node | None:
        if level > _MEMBERSHIP:
            return None
        negated = token.kind is Kind.NOT
        if negated:
            self._advance()
            if self._token.kind is not Kind.IN:
                raise self._unexpected("mismatched input", "after a value, 'not' must be followed by 'in'")
        self._advance()
        items = self._expression(_MEMBERSHIP + 1)
        return In(left.start, items.end, left, items, negated)

    # -- operands -------------------------------------------------------------------------------
    def _prefix(self) -> Node:
        token = self._token
        kind = token.kind
        if kind is Kind.WORD:
            return self._word()
        if kind is Kind.INTEGER or kind is Kind.FLOAT:
            return self._number(token, negative=False)
        if kind is Kind.STRING or kind is Kind.RAW_STRING:
            return self._text()
        if kind is Kind.SYMBOL:
            if token.text == "(":
                self._advance()
                inner = self._expression(_OR)
                self._expect(")")
                return inner
            return self._prefix_symbol(token)
        if kind is Kind.TEMPLATE:
            self._advance()
            return Template(token.start, token.end, token.text)
        if kind is Kind.TRUE or kind is Kind.FALSE:
            self._advance()
            return Literal(token.start, token.end, kind is Kind.TRUE)
        if kind is Kind.NOT:
            self._advance()
            operand = self._expression(_UNARY)
            return Not(token.start, operand.end, operand)
        if kind is Kind.EXISTS:
            self._advance()
            operand = self._expression(_PRIMARY)
            return Exists(token.start, operand.end, operand)
        raise self._unexpected("no viable alternative at input")

    def _prefix_symbol(self, token: Token) -> Node:
        text = token.text
        if text == "[":
            return self._list(token)
        if text in ("-", "+", "~"):
            self._advance()
            following = self._token
            if text == "-" and following.kind in (Kind.INTEGER, Kind.FLOAT):
                return self._negative_number(token)
            operand = self._expression(_UNARY)
            return Unary(token.start, operand.end, text, operand)
        raise self._unexpected("no viable alternative at input")

    def _negative_number(self, minus: Token) -> Node:
        number = self._number(self._token, negative=True)
        if self._token.text == "**" and self._token.kind is Kind.SYMBOL:
            # -2 ** 2 is -(2 ** 2)
            positive = Literal(number.start, number.end, -number.value)
            base: Node = positive
            while self._token.text == "**" and self._token.kind is Kind.SYMBOL:
                self._grow()
                self._advance()
                exponent = self._expression(_MATCH)
                base = Binary(base.start, exponent.end, Operator.POW, base, exponent)
            return Unary(minus.start, base.end, "-", base)
        return Literal(minus.start, number.end, number.value)

    def _number(self, token: Token, negative: bool) -> Literal:
        self._advance()
        if token.kind is Kind.FLOAT:
            value = literals.floating(token.text)
            if value is None:
                raise self._source.syntax_error("float literal is out of range", token.start)
            return Literal(token.start, token.end, -value if negative else value)
        number = literals.integer(token.text)
        number = -number if negative else number
        if not literals.fits_json(number):
            shown = self._source.excerpt(token.start, token.end)
            sign = "-" if negative else ""
            raise self._source.syntax_error(f"integer {sign}{shown} is out of range of Int64", token.start)
        return Literal(token.start, token.end, number)

    def _text(self) -> Text:
        token = self._token
        self._advance()
        opening = min(i for i in (token.text.find('"'), token.text.find("'")) if i >= 0)
        return Text(token.start, token.end, token.text[opening + 1 : -1], token.kind is Kind.RAW_STRING)

    def _list(self, opening: Token) -> Node:
        plain = self._lexer.plain_list(opening.start)
        if plain is not None:
            values, end = plain
            self._token = self._lexer.next()
            outlier = next((v for v in _extremes(values) if not literals.fits_json(v)), None)
            if outlier is not None:
                raise self._source.syntax_error(f"integer {outlier} is out of range of Int64", opening.start)
            return PlainList(opening.start, end, values)
        self._advance()
        items: list[Node] = []
        while not self._at("]"):
            items.append(self._expression(_OR))
            if not self._at(","):
                break
            self._advance()
        return ListNode(opening.start, self._expect("]").end, tuple(items))

    # -- words ----------------------------------------------------------------------------------
    def _word(self) -> Node:
        token = self._token
        self._advance()
        following = self._token
        if following.kind is Kind.SYMBOL and following.text == "(" and token.text[0] != "$":
            return self._call(token)
        if token.text in ("ISO", "iso", "INTERVAL", "interval") and following.kind is Kind.STRING:
            text = self._text()
            return TimeLiteral(token.start, text.end, token.text.upper(), text.body)
        if token.text.lower() == "null":
            raise self._source.error(_NULL_LITERAL, token.start)
        node: Node = Name(token.start, token.end, token.text)
        if following.kind is Kind.SYMBOL and following.text == "[":
            node = self._path(token)
        elif token.text == "$":
            node = StructPath(token.start, token.end, "$", "")
        if self._token.kind in (Kind.IS_NULL, Kind.IS_NOT_NULL):
            suffix = self._token
            self._advance()
            return IsNull(token.start, suffix.end, node, suffix.kind is Kind.IS_NOT_NULL)
        return node

    def _path(self, name: Token) -> Node:
        keys: list[str | int] = []
        sub: str | None = None
        end = name.end
        while self._at("["):
            self._advance()
            token = self._token
            if token.kind is Kind.STRING or token.kind is Kind.RAW_STRING:
                text = self._text()
                keys.append(literals.text_value(self._source, text.body, text.raw, text.start))
            elif token.kind is Kind.INTEGER and (token.text == "0" or token.text[0] != "0"):
                self._advance()
                keys.append(self._index(token))
            elif token.kind is Kind.WORD and sub is None:
                self._advance()
                sub = token.text
            else:
                raise self._unexpected("mismatched input", "write a quoted key or a whole number between the brackets")
            end = self._expect("]").end
        if sub is not None or name.text == "$":
            index = keys[0] if keys and isinstance(keys[0], int) else None
            return StructPath(name.start, end, name.text, sub or "", index)
        return Path(name.start, end, name.text, tuple(keys))

    def _index(self, token: Token) -> int:
        index = literals.integer(token.text)
        if index >= 2**31:
            raise self._source.syntax_error("index is out of range", token.start)
        return index

    def _call(self, name: Token) -> Node:
        self._advance()
        arguments: list[Node] = []
        while not self._at(")"):
            argument = self._expression(_OR)
            if self._at("=") and isinstance(argument, Name):
                self._advance()
                value = self._expression(_OR)
                argument = Keyword(argument.start, value.end, argument.name, value)
            arguments.append(argument)
            if not self._at(","):
                break
            self._advance()
        end = self._expect(")").end
        # Function names are written all lower or all UPPER.
        text = name.text.lower() if name.text.isupper() else name.text
        return Call(name.start, end, text, tuple(arguments))

    # -- tokens ---------------------------------------------------------------------------------
    def _advance(self) -> None:
        self._token = self._lexer.next()

    def _ended(self) -> bool:
        return self._token.kind is Kind.END

    def _at(self, symbol: str) -> bool:
        return self._token.kind is Kind.SYMBOL and self._token.text == symbol

    def _expect(self, symbol: str) -> Token:
        token = self._token
        if not self._at(symbol):
            raise self._unexpected("mismatched input", f"expecting '{symbol}'")
        self._advance()
        return token

    def _grow(self) -> None:
        """One more operator above everything parsed at this level."""
        self._height += 1
        if self._height > self._max_depth:
            raise self._too_deep()

    def _too_deep(self) -> Exception:
        detail = f"expression is nested too deeply: more than {self._max_depth} levels"
        return self._source.syntax_error(detail, self._token.start)

    def _unexpected(self, what: str, otherwise: str = "") -> Exception:
        token = self._token
        shown = "<EOF>" if token.kind is Kind.END else self._source.excerpt(token.start, token.end)
        return self._source.syntax_error(f"{what} '{shown}'", token.start, _hint(token) or otherwise)


def _same_direction(one: Comparison, other: Comparison) -> bool:
    return (one in _ASCENDING) == (other in _ASCENDING)


def _hint(token: Token) -> str:
    if token.kind is Kind.SYMBOL and token.text == "=":
        return "did you mean '=='?"
    if token.kind is Kind.WORD:
        lower = token.text.lower()
        if lower in KEYWORDS:
            return f"use '{lower}'"
        if lower in ("is", "null"):
            return "write 'is null' or 'is not null', all in one case, with single blanks"
        if lower in ("between", "xor"):
            return "write 'low <= field <= high'" if lower == "between" else "use '^'"
    return ""


def _extremes(values: tuple[int, ...] | tuple[str, ...]) -> tuple[int, ...]:
    """The smallest and the largest of a list of integers; nothing of a list of strings."""
    numbers = [v for v in values[:1] if isinstance(v, int)]
    return (int(min(values)), int(max(values))) if numbers else ()
