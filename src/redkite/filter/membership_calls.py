"""Binding of `membership_match(field, {members}, type=bloom|roaring)`: a value is in a set that comes as bytes."""

from __future__ import annotations

from collections.abc import Callable

from redkite.errors import InvalidParameter
from redkite.filter import bound
from redkite.filter.match_calls import MEMBERSHIP_MATCH
from redkite.filter.membership import bloom, roaring
from redkite.filter.membership.bloom import BadMembers, BloomFilter
from redkite.filter.membership.roaring import RoaringBitmap
from redkite.filter.scope import Opaque, Scope, Term
from redkite.filter.syntax import Call, Keyword, Name, Node, Template
from redkite.model.types import DataType

MOST_BYTES = 64 * 1024 * 1024
"""Of a set, without its envelope."""
_KINDS = {"bloom": BloomFilter, "roaring": RoaringBitmap}
_PROBED = bound.Column | bound.Element | bound.Path | bound.List


def bind_membership_match(
    scope: Scope, node: Call, term: Callable[[Node], Term], negated: bool
) -> bound.MembershipMatch:
    """The meaning of the call; `term` says what an argument stands for."""
    if scope.inside is not None:
        raise scope.error(f"{MEMBERSHIP_MATCH} is not supported inside element_filter or MATCH_*", node)
    given = [argument for argument in node.arguments if not isinstance(argument, Keyword)]
    options = [argument for argument in node.arguments if isinstance(argument, Keyword)]
    if len(given) != 2 or len(options) > 1:
        detail = "requires exactly 2 positional arguments; use type=bloom|roaring for the optional kind"
        raise scope.error(f"{MEMBERSHIP_MATCH} {detail}", node)
    kind = _kind(scope, options[0]) if options else None
    operand = term(given[0])
    if not isinstance(operand, _PROBED | Opaque):
        got = scope.text(given[0])
        raise scope.error(f"the first argument of {MEMBERSHIP_MATCH} must be a scalar field name, got: {got}", given[0])
    if not isinstance(given[1], Template):
        wanted = "must be a {template} placeholder carrying a client pre-built membership filter blob"
        raise scope.error(f"the second argument of {MEMBERSHIP_MATCH} {wanted}", given[1])
    members = _members(scope, given[1], kind)
    probed = _probed(scope, given[0], operand, members)
    if scope.source.purpose == "delete" and not members.exact:
        raise InvalidParameter(
            f"{MEMBERSHIP_MATCH} with an approximate bloom filter blob cannot be used in delete expressions"
        )
    return bound.MembershipMatch(probed, members, negated)


def _kind(scope: Scope, option: Keyword) -> str:
    kind = option.value.name.lower() if isinstance(option.value, Name) else ""
    if option.name.lower() != "type":
        raise scope.error(f"unexpected argument {option.name}", option, "did you mean 'type'?")
    if kind not in _KINDS:
        raise scope.error(f"malformed {MEMBERSHIP_MATCH} call: type must be bloom or roaring", option)
    return kind


def _members(scope: Scope, node: Template, kind: str | None) -> bound.GivenMembers:
    data = scope.blob(node)
    if data is None:
        raise scope.error(
            f"the value of {MEMBERSHIP_MATCH} template variable {{{node.name}}} must be a client pre-built membership "
            "filter blob (bytes)", node, "build_bloom_filter and build_roaring_bitmap make one",
        )  # fmt: skip
    cls = _format(scope, node, data)
    if kind is not None and _KINDS[kind] is not cls:
        raise scope.error(f'{MEMBERSHIP_MATCH} type "{kind}" does not match filter blob format', node)
    # Both envelopes are of one size.
    size = len(data) - bloom.HEADER.size
    if size > MOST_BYTES:
        raise scope.error(f"{MEMBERSHIP_MATCH} filter blob body is {size} bytes, exceeding {MOST_BYTES}", node)
    try:
        return cls.read(data)
    except BadMembers as error:
        what = "roaring bitmap" if cls is RoaringBitmap else "filter"
        raise scope.error(f"{MEMBERSHIP_MATCH} {what} blob is invalid: {error}", node) from None


def _format(scope: Scope, node: Node, data: bytes) -> type[BloomFilter] | type[RoaringBitmap]:
    """What the first bytes say; these are not shown, they are somebody's data."""
    if len(data) < 4:
        short = f"membership filter blob is {len(data)} bytes, too short to carry a format header"
        raise scope.error(short, node)
    if data[:4] == bloom.MAGIC:
        return BloomFilter
    if data[:4] == roaring.MAGIC:
        return RoaringBitmap
    known = 'supported formats are "MBF1" (bloom) and "MRB1" (roaring)'
    raise scope.error(f"membership filter blob has unknown format magic; {known}", node)


def _probed(
    scope: Scope, node: Node, operand: bound.Operand | Opaque, members: bound.GivenMembers
) -> bound.Column | bound.Path:
    """The operand, where such a set can be asked of it."""
    shown, data_type = scope.text(node), operand.data_type
    if isinstance(members, RoaringBitmap):
        if isinstance(operand, bound.Path | bound.Element):
            raise scope.error(f"{MEMBERSHIP_MATCH} is not supported on JSON or dynamic fields, got: {shown}", node)
        if not isinstance(operand, bound.Column) or not data_type.is_integer:
            wanted = (
                f"only supports INT8/INT16/INT32/INT64 fields, but field ({shown}) is of type {data_type.wire_name}"
            )
            raise scope.error(f"{MEMBERSHIP_MATCH} {wanted}", node)
        return operand
    if isinstance(operand, bound.Path):
        # What a path holds is a matter of each row: a kind of value that the set has none of does not match.
        return operand
    if isinstance(operand, bound.Element):
        raise scope.error(f"{MEMBERSHIP_MATCH} does not support nested paths on non-JSON fields, got: {shown}", node)
    if not isinstance(operand, bound.Column) or not (data_type.is_integer or data_type is DataType.VARCHAR):
        raise scope.error(
            f"{MEMBERSHIP_MATCH} only supports INT8/INT16/INT32/INT64/VARCHAR fields and JSON paths, "
            f"but field ({shown}) is of type {data_type.wire_name}", node,
        )  # fmt: skip
    if members.kinds and not members.kinds & (bloom.INTEGERS if data_type.is_integer else bloom.TEXTS):
        names = ("utf8", "int64") if data_type.is_integer else ("int64", "utf8")
        raise scope.error(
            f"{MEMBERSHIP_MATCH} filter blob was built from the {names[0]} value domain but field "
            f"({data_type.wire_name}) requires the {names[1]} domain; rebuild the filter from values of the field's "
            "type",
            node,
        )
    return operand
