"""From a filter's text to something that answers for columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from redkite.errors import InvalidParameter
from redkite.filter import bound
from redkite.filter.binder import bind, bind_elements, bind_sample
from redkite.filter.columns import Columns
from redkite.filter.diagnostics import Purpose, Source
from redkite.filter.element_calls import split_elements
from redkite.filter.elements import evaluate_elements
from redkite.filter.evaluate import evaluate
from redkite.filter.numbers import Mask
from redkite.filter.parser import parse
from redkite.filter.pruning import Range, can_prune, may_match, possible_values
from redkite.filter.sampling import RANDOM_SAMPLE, split_sample
from redkite.filter.scope import Scope
from redkite.filter.sharing import KeptMasks, parts_of
from redkite.model.limits import LIMITS, Limits
from redkite.model.schema import CollectionSchema

_NO_PARAMS: Mapping[str, Any] = {}
_LONG_KEY = 256


class Origin(NamedTuple):
    """What a filter was compiled of: whoever has this has the filter."""

    schema: CollectionSchema
    text: str
    params: dict[str, Any]
    """Those that it uses."""
    zone: tzinfo
    limits: Limits


class Filter:
    """A filter bound to a schema: immutable, safe to share between threads and to keep for a schema's life.

    Two filters of one schema with equal `key` keep the same rows.
    """

    __slots__ = (
        "_parts", "always_true", "can_prune", "elements", "fields", "json_paths", "key", "origin", "predicate",
        "primary_keys", "sample", "text", "whole",
    )  # fmt: skip

    def __init__(
        self,
        text: str,
        key: str,
        predicate: bound.Predicate,
        primary_field: str,
        sample: float | None = None,
        elements: bound.ElementMatch | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.text = text
        self.key = key
        """The text, the parameters and the time zone it uses; long ones are digested."""
        self.origin = origin
        """How to compile it again, elsewhere; None for the `whole` of another."""
        self.predicate = predicate
        self._parts = parts_of(predicate)
        """What an index may answer instead of a scan."""
        self.sample = sample
        """The share of `random_sample`, None without one. It is drawn by who knows the moment of the read."""
        self.whole: Filter | None = self
        """The same filter without `random_sample`; None when every row passes that."""
        every = predicate == bound.Constant(True)
        if sample is not None:
            self.whole = None if every else Filter(text, f"{key}\0{RANDOM_SAMPLE}", predicate, "", None, elements)
        self.always_true = every and sample is None
        self.elements = elements
        """The `element_filter`, which is part of the predicate too: which elements of a row a search among elements may
        find. None without one."""
        self.can_prune = can_prune(predicate)
        """Whether `may_match` ever says no."""
        self.fields = bound.fields_of(predicate)
        """Names of the columns `evaluate` reads; `$meta` for dynamic keys."""
        self.json_paths = bound.json_paths_of(predicate)
        """(field, path) of every JSON path that `evaluate` reads: `shred` reads all of a field's in one pass."""
        self.primary_keys = _primary_keys(predicate, primary_field) if sample is None else None
        """When the whole filter is `pk == c` or `pk in [...]`: the keys as written, else None."""

    def may_match(self, ranges: Mapping[str, Range]) -> bool:
        """False when no row whose fields lie in these ranges (least and greatest value by field, nulls aside) passes;
        a field that is not listed may hold anything."""
        return may_match(self.predicate, ranges)

    def possible_values(self, field: str) -> frozenset[int | float | str] | None:
        """The values that a field has in every row that passes; None where the filter does not say."""
        return possible_values(self.predicate, field)

    def evaluate(self, columns: Columns, kept: KeptMasks | None = None) -> Mask:
        """(columns.rows,) True only where the filter is TRUE; a fresh array. `kept` holds masks of parts of filters
        over the same rows, from before and for later.

        Raises InvalidParameter for one with `random_sample`: its `whole` may be evaluated, and be drawn from.
        """
        if self.sample is not None:
            raise InvalidParameter(f"{RANDOM_SAMPLE} is for the filters of reads and deletes: {self.text[:100]}")
        return evaluate(self.predicate, columns, self._parts, kept)

    def evaluate_elements(self, columns: Columns) -> Mask:
        """(elements of all rows of the filtered struct,) True where its `element_filter` holds."""
        assert self.elements is not None, "there is an element_filter"
        return evaluate_elements(self.elements, columns, evaluate)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Filter({self.text[:80]!r})"


def compile_filter(
    text: str,
    schema: CollectionSchema,
    params: Mapping[str, Any] = _NO_PARAMS,
    purpose: Purpose = "query",
    limits: Limits = LIMITS,
    zone: tzinfo = UTC,
) -> Filter:
    """Compile a filter for a schema; `params` are the values of its `{name}` templates, unused ones are ignored.
    `zone` is that of times without an offset.

    Raises InvalidParameter (1100) for what is not a filter of this schema; `purpose` is named in the error.
    """
    source = Source(text, purpose)
    scope = Scope(schema, source, params, zone)
    scope.check_text()
    node = parse(source, limits)
    node, call = (None, None) if node is None else split_sample(node)
    node, element_call = split_elements(node)
    predicate = bind(scope, node) if node is not None else bound.Constant(True)
    elements = None if element_call is None else bind_elements(scope, element_call)
    if elements is not None and predicate != bound.Constant(False):
        predicate = elements if predicate == bound.Constant(True) else bound.And.of([predicate, elements])
    sample = None if call is None else bind_sample(scope, call)
    primary = next((f.name for f in schema.fields if f.is_primary), "")
    origin = Origin(schema, text, {**scope.used, **scope.blobs}, zone, limits)
    return Filter(text, _key(text, scope), predicate, primary, sample, elements, origin)


def _key(text: str, scope: Scope) -> str:
    key = text.strip()
    if scope.used:
        key += "\0" + repr(sorted(scope.used.items()))
    for name, data in sorted(scope.blobs.items()):
        key += f"\0{name}={hashlib.sha256(data).hexdigest()}"
    if scope.uses_zone:
        key += f"\0{scope.zone}"
    if len(key) > _LONG_KEY:
        return "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    return key


def _primary_keys(predicate: bound.Predicate, primary_field: str) -> list[int | str] | None:
    if not isinstance(predicate, bound.Compare | bound.In) or predicate.negated:
        return None
    if not isinstance(predicate.operand, bound.Column) or predicate.operand.field != primary_field:
        return None
    if isinstance(predicate, bound.In):
        return [v for v in predicate.listed if isinstance(v, int | str)]
    is_key = predicate.operator.value == "==" and isinstance(predicate.constant, int | str)
    return [predicate.constant] if is_key and isinstance(predicate.constant, int | str) else None
