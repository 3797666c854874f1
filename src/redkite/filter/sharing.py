"""Names for the parts of a predicate, by what they mean: equal parts of one filter, or of several, are evaluated once.

A name is a digest of everything a part's answer depends on, but for the rows it is asked of. Within one version of one
schema, two parts with one name keep the same rows of any segment.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from redkite.filter import bound
from redkite.filter.matching import Matching
from redkite.filter.numbers import Mask
from redkite.filter.spatial import Spatial

MOST_PARTS = 1_000
"""Filters of more parts are evaluated as they are: naming them all would cost more than it saves."""


class KeptMasks(Protocol):
    """Masks of parts that were evaluated before, over the rows at hand."""

    def get(self, name: str) -> Mask | None:
        """A fresh array, None when the part is not kept."""
        ...

    def put(self, name: str, mask: Mask) -> None:
        """Keep a copy."""
        ...


class Parts(NamedTuple):
    names: Mapping[int, str]
    """By the identity of the part."""
    repeated: frozenset[str]
    """Of parts that the filter holds more than once."""


NO_PARTS = Parts({}, frozenset())


def parts_of(predicate: bound.Predicate) -> Parts:
    """The names of a predicate and of all its parts; none for a huge one."""
    names: dict[int, str] = {}
    counts: Counter[str] = Counter()
    if _count(predicate, 0) > MOST_PARTS:
        return NO_PARTS
    _name(predicate, names, counts)
    return Parts(names, frozenset(name for name, count in counts.items() if count > 1))


def _count(predicate: bound.Predicate, before: int) -> int:
    """How many parts there are, counted on from `before`; no further than needed."""
    total = before + 1
    if isinstance(predicate, bound.And | bound.Or):
        for operand in predicate.operands:
            total = _count(operand, total)
            if total > MOST_PARTS:
                break
    return total


def _name(predicate: bound.Predicate, names: dict[int, str], counts: Counter[str]) -> str:
    if isinstance(predicate, bound.Constant):
        return str(predicate.value)
    if isinstance(predicate, bound.And | bound.Or):
        kind = type(predicate).__name__
        text = f"{kind}({','.join(sorted(_name(o, names, counts) for o in predicate.operands))})"
    else:
        text = _leaf(predicate)
    name = names[id(predicate)] = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    counts[name] += 1
    return name


def _leaf(predicate: bound.Leaf) -> str:
    """Everything the answer depends on. What is derived from a constant, such as a set of its members, is left out."""
    if isinstance(predicate, bound.In):
        return f"In{(predicate.operand, predicate.listed, predicate.negated)!r}"
    if isinstance(predicate, bound.Contains):
        return f"Contains{(predicate.operand, predicate.values, predicate.every, predicate.negated)!r}"
    if isinstance(predicate, Spatial):
        asked = predicate.relation, predicate.text, predicate.distance
        return f"Spatial{(predicate.field, *asked, predicate.negated)!r}"
    if isinstance(predicate, Matching):
        query = predicate.words, predicate.places, predicate.number
        return f"Matching{(predicate.field, predicate.kind, *query, predicate.negated)!r}"
    if isinstance(predicate, bound.MembershipMatch):
        return f"MembershipMatch{(predicate.operand, predicate.members.digest, predicate.negated)!r}"
    if isinstance(predicate, bound.ElementMatch):
        counted = predicate.field, predicate.least, predicate.most, predicate.every, predicate.negated
        return f"ElementMatch{(counted, _name(predicate.predicate, {}, Counter()))!r}"
    return repr(predicate)
