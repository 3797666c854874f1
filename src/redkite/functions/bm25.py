"""BM25: the words of a text as a sparse vector, how often each of them occurs.

A word's dimension is its hash. What a word is worth is not stored: it depends on the whole collection, and is asked for
when the collection is searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.functions.base import Local
from redkite.functions.counting import MAX_PAIRS, TermCounter
from redkite.functions.memo import HashMemo, TermMemo
from redkite.functions.registry import QUICK_BYTES
from redkite.model.reading import Queries
from redkite.model.schema import CollectionSchema, FunctionSchema
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.text.analyzer import Analyzer, Pipeline
from redkite.text.specs import NONE, field_analyzer, field_analyzers
from redkite.text.texts import texts_of
from redkite.text.tokens import Tokens

LITTLE = 1024
"""Bytes of texts up to which words are looked up one by one."""


class Bm25Function:
    """`fill` gives (uint32 hash, float32 frequency) pairs; a null text has none."""

    def __init__(self, schema: CollectionSchema, function: FunctionSchema, services: Local) -> None:
        (name,) = function.input_field_names
        field = schema.field(name)
        if field is None:
            raise InvalidParameter(f"function input field not found: {name}")
        self._field = field
        resources = services.resources or NONE
        self._languages = field_analyzers(field, resources)
        self._analyzer: Analyzer | None = None
        self._memo: TermMemo | None = None
        self._hashes: HashMemo | None = None
        self._counter: TermCounter | None = None
        self._inputs: tuple[str, ...] = (name,)
        if self._languages is None:
            self._analyzer = analyzer = field_analyzer(field, resources)
            if isinstance(analyzer, Pipeline):
                self._hashes = HashMemo(analyzer)
                if analyzer.letters is not None:
                    self._counter = TermCounter(analyzer, analyzer.letters)
            if analyzer.parts_at_spaces:
                self._memo = TermMemo(analyzer.analyze)
        else:
            self._inputs = (name, _language_field(schema, self._languages.by_field))

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._inputs

    def fill(self, inputs: Sequence[pa.Array]) -> pa.Array:
        if self._languages is not None:
            return term_frequencies(self._languages.analyze(inputs[0], inputs[1].to_pylist())).to_arrow()
        if self._hashes is not None:
            texts = texts_of(inputs[0])
            if self._counter is not None and len(texts.data) > (LITTLE if self._counter.is_ready else QUICK_BYTES):
                return self._counter.column(texts)
            return frequencies(*self._hashes.hashed(texts)).to_arrow()
        assert self._analyzer is not None, "without languages there is one analyzer"
        return term_frequencies(self._analyzer.analyze(inputs[0])).to_arrow()

    def queries(self, texts: Sequence[str], analyzer_name: str = "") -> Queries:
        analyzer = self._analyzer
        if self._languages is not None:
            analyzer = self._languages.analyzer(analyzer_name)
        elif analyzer_name:
            raise InvalidParameter(
                f"analyzer_name {analyzer_name[:100]} is given, but field {self._field.name} has one analyzer only"
            )
        assert analyzer is not None, "without languages there is one analyzer"
        known = self._memo.queries(texts) if self._memo is not None else None
        if known is not None:
            return known
        return Queries(data_type=DataType.SPARSE_FLOAT_VECTOR, sparse=term_frequencies(analyzer.analyze(texts)))


def _language_field(schema: CollectionSchema, name: str) -> str:
    """The field that says in which language a text is."""
    field = schema.field(name)
    if field is None:
        raise InvalidParameter(f"multi analyzer dependent field {name} not exist in collection {schema.name}")
    if not field.data_type.is_string:
        raise InvalidParameter(
            f"multi analyzer dependent field should be string field, but now is {field.data_type.wire_name}"
        )
    return name


def term_frequencies(tokens: Tokens) -> SparseRows:
    """For each text the hashes of its words, ascending, and how often each occurs."""
    return frequencies(tokens.starts, tokens.codes, tokens.hashes())


def frequencies(starts: npt.NDArray[Any], codes: npt.NDArray[Any], hashes: npt.NDArray[np.uint32]) -> SparseRows:
    """The same of tokens by their `codes`, places among `hashes`; those of text i are `starts[i]:starts[i + 1]`."""
    dims, ranks = np.unique(hashes, return_inverse=True)
    bits = max(1, len(dims).bit_length())
    texts = len(starts) - 1
    # Text above, word below: sorted, equal ones stand side by side.
    keys = np.repeat(np.arange(texts, dtype=np.int64) << bits, np.diff(starts))
    keys |= ranks.astype(np.int64, copy=False)[codes]
    keys.sort()
    first = np.empty(len(keys), np.bool_)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    places = np.flatnonzero(first)
    if len(places) > MAX_PAIRS:
        raise InvalidParameter(f"the texts of one write have {len(places)} words, more than {MAX_PAIRS}")
    found = keys[places]
    begins = np.searchsorted(found, np.arange(texts + 1, dtype=np.int64) << bits)
    counts = np.diff(places, append=len(keys)).astype(np.float32)
    indices = dims[found & ((1 << bits) - 1)] if len(dims) else np.empty(0, np.uint32)
    return SparseRows(begins, indices.astype(np.uint32, copy=False), counts)
