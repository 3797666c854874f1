"""Marks in the texts of hits: a step behind a search, over the rows that won and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter
from redkite.functions.models import Models
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.highlighting import Highlighted, Highlighter, HighlightKind, HighlightQuery
from redkite.model.rules.function_rules import function_of_output
from redkite.model.rules.text_rules import enables_analyzer
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import FunctionType
from redkite.node.topology import Topology
from redkite.proxy.rules.read_rules import choose_vector_field, expand_output_fields
from redkite.proxy.rules.text_rules import analyzer_of, is_text, read_texts
from redkite.proxy.semantic_highlighting import SemanticHighlighting
from redkite.segment.growing import rows_only
from redkite.text.analyzer import Analyzer, MultiAnalyzer
from redkite.text.fragments import Look, fragments
from redkite.text.specs import field_analyzer, field_analyzers
from redkite.text.tokens import Tokens

R = TypeVar("R", rq.Search, rq.HybridSearch)


@dataclass(frozen=True, slots=True)
class _Phrase:
    words: Sequence[str]
    places: Sequence[int]
    slop: int


@dataclass(frozen=True, slots=True)
class _Marks:
    """What is marked in one field: words by query, and words and phrases in every hit."""

    field: FieldSchema
    languages: MultiAnalyzer | None
    """Of a field whose rows name their analyzers; what names none is for `default`."""
    by_query: list[set[str]]
    words: set[str]
    phrases: list[_Phrase]

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of the hits."""
        return (self.field.name,) if self.languages is None else (self.field.name, self.languages.by_field)

    def analyzer(self, name: str = "") -> Analyzer:
        """That of what is looked for."""
        return field_analyzer(self.field) if self.languages is None else self.languages.analyzer(name)

    def tokens(self, rows: pa.RecordBatch) -> Tokens:
        """The words of the hits."""
        texts = rows.column(self.field.name).to_pylist()
        if self.languages is None:
            return field_analyzer(self.field).analyze(texts)
        return self.languages.analyze(texts, rows.column(self.languages.by_field).to_pylist())


class Highlighting:
    """Answers in the caller's thread."""

    def __init__(self, topology: Topology, models: Models) -> None:
        self._root = topology.root
        self._data = topology.data
        self._semantic = SemanticHighlighting(models)

    def around(self, answer: Callable[[R], rs.Hits]) -> Callable[[R], rs.Hits]:
        """What answers searches, with texts marked where that is asked for."""

        def answered(request: R) -> rs.Hits:
            highlighter = request.highlighter
            return answer(request) if highlighter is None else self._marked(request, highlighter, answer)

        return answered

    def _marked(self, request: R, highlighter: Highlighter, answer: Callable[[R], rs.Hits]) -> rs.Hits:
        _check_alone(request)
        meta = self._root.find(request.database, request.collection)
        semantics = highlighter.semantics
        if semantics is not None:
            models = self._semantic.models(meta, request, semantics)
            return _answered(
                meta, request, answer, semantics.fields,
                lambda hits: self._semantic.highlighted(models, hits, highlighter, semantics),
            )  # fmt: skip
        marks = self._marks(meta, request, highlighter)
        wanted = dict.fromkeys(name for mark in marks.values() for name in mark.columns)
        look = Look(
            highlighter.pre_tags, highlighter.post_tags, highlighter.fragment_offset, highlighter.fragment_size,
            highlighter.fragments,
        )  # fmt: skip
        return _answered(
            meta, request, answer, tuple(wanted),
            lambda hits: tuple(_highlighted(mark, hits, look) for mark in marks.values()),
        )  # fmt: skip

    def _marks(
        self, meta: CollectionMeta, request: rq.Search | rq.HybridSearch, given: Highlighter
    ) -> dict[str, _Marks]:
        searches = (request,) if isinstance(request, rq.Search) else request.searches
        queries = searches[0].queries.nq if searches else 0
        marks: dict[str, _Marks] = {}

        def mark(name: str) -> _Marks:
            if name not in marks:
                found = _analyzed(meta.schema, name)
                marks[name] = _Marks(found, field_analyzers(found), [set() for _ in range(queries)], set(), [])
            return marks[name]

        if given.search_text:
            self._mark_search_texts(meta, searches, mark)
        for query in given.queries:
            _mark_query(mark(query.field), query)
        return marks

    def _mark_search_texts(
        self, meta: CollectionMeta, searches: Sequence[rq.Search], mark: Callable[[str], _Marks]
    ) -> None:
        """Mark what searches by BM25 are for; there must be one."""
        metrics = []
        for search in searches:
            vectors = choose_vector_field(meta.schema, search.anns_field)
            function = function_of_output(meta.schema, vectors.name)
            if function is None or function.type is not FunctionType.BM25:
                index = self._data.index_of(meta.collection_id, vectors.name)
                metrics.append("" if index is None else str(index.spec.metric or ""))
                continue
            if is_text(search.queries):  # else the search itself says that texts are wanted
                (name,) = function.input_field_names
                marks = mark(name)
                tokens = marks.analyzer(analyzer_of(search.params)).analyze(read_texts(search.queries))
                for words, number in zip(marks.by_query, range(len(tokens)), strict=False):
                    words.update(tokens.words(number))
        if len(metrics) == len(searches):
            raise InvalidParameter(
                f'Search highlight only support with metric type "BM25" but was: {", ".join(metrics)}'
            )


def _check_alone(request: rq.Search | rq.HybridSearch) -> None:
    if isinstance(request, rq.Search) and request.aggregation is not None:
        raise InvalidParameter("search_aggregation and highlighter are mutually exclusive")


def _answered(
    meta: CollectionMeta,
    request: R,
    answer: Callable[[R], rs.Hits],
    wanted: Sequence[str],
    mark: Callable[[rs.Hits], tuple[Highlighted, ...]],
) -> rs.Hits:
    """The answer to a search, marked. The texts are read with the winners, and leave again where nobody asked for
    them."""
    columns, shown = expand_output_fields(meta.schema, request.output_fields)
    more: tuple[str, ...] = tuple(name for name in wanted if name not in columns)
    outputs = (*request.output_fields, *more)
    hits = answer(msgspec.structs.replace(request, highlighter=None, output_fields=outputs))
    found = mark(hits) if len(hits.ids) else ()
    return msgspec.structs.replace(hits, rows=_without(hits.rows, more), output_fields=shown, highlights=found)


def _analyzed(schema: CollectionSchema, name: str) -> FieldSchema:
    found = schema.field(name)
    if found is None:
        raise InvalidParameter(f"highlight field not found in schema: {name[:100]}")
    if not found.data_type.is_string or not enables_analyzer(found):
        raise InvalidParameter(f"highlight field {name} does not enable analyzer")
    return found


def _mark_query(marks: _Marks, query: HighlightQuery) -> None:
    tokens = marks.analyzer().analyze([query.text])
    words = tokens.words(0)
    if query.kind is HighlightKind.PHRASE and len(words) > 1:
        marks.phrases.append(_Phrase(words, tokens.positions.tolist(), query.slop))
    else:
        marks.words.update(words)


def _without(rows: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    if not names:
        return rows
    kept = [name for name in rows.schema.names if name not in names]
    return rows.select(kept) if kept else rows_only(rows.num_rows)


# -- texts ----------------------------------------------------------------------------------------
def _highlighted(marks: _Marks, hits: rs.Hits, look: Look) -> Highlighted:
    texts: list[str | None] = hits.rows.column(marks.field.name).to_pylist()
    tokens = marks.tokens(hits.rows)
    places = {word: code for code, word in enumerate(tokens.vocabulary)}
    marked = _marked_words(marks, hits, tokens, places)
    for phrase in marks.phrases:
        _mark_phrase(phrase, tokens, places, marked)
    found: list[list[str]] = []
    for number, text in enumerate(texts):
        inside = slice(int(tokens.starts[number]), int(tokens.starts[number + 1]))
        chosen = marked[inside]
        spans = zip(tokens.begins[inside][chosen].tolist(), tokens.ends[inside][chosen].tolist(), strict=True)
        found.append([] if text is None else fragments(text, spans, look))
    return Highlighted(marks.field.name, pa.array(found, pa.list_(pa.string())))


def _marked_words(marks: _Marks, hits: rs.Hits, tokens: Tokens, places: Mapping[str, int]) -> npt.NDArray[np.bool_]:
    """(tokens,) those that are marked wherever they stand."""
    marked = np.zeros(len(tokens.codes), np.bool_)
    ends = np.cumsum(hits.topks).tolist()
    for words, first, last in zip(marks.by_query, [0, *ends[:-1]], ends, strict=True):
        table = np.zeros(len(tokens.vocabulary), np.bool_)
        table[[places[word] for word in words | marks.words if word in places]] = True
        inside = slice(int(tokens.starts[first]), int(tokens.starts[last]))
        marked[inside] = table[tokens.codes[inside]]
    return marked


def _mark_phrase(phrase: _Phrase, tokens: Tokens, places: Mapping[str, int], marked: npt.NDArray[np.bool_]) -> None:
    """Mark the words that take part in a phrase: those between whose least and greatest move there is one of each."""
    codes = [places.get(word, -1) for word in phrase.words]
    if min(codes) < 0:
        return
    for start, end in zip(tokens.starts[:-1].tolist(), tokens.starts[1:].tolist(), strict=True):
        inside, positions = tokens.codes[start:end], tokens.positions[start:end].astype(np.int64)
        where = [np.flatnonzero(inside == code) for code in codes]
        moves: list[npt.NDArray[Any]] = [positions[at] - place for at, place in zip(where, phrase.places, strict=True)]
        if not all(map(len, moves)):
            continue
        begins = np.unique(np.concatenate(moves))
        for some in moves:
            at = np.searchsorted(some, begins)
            near = some[np.minimum(at, len(some) - 1)] - begins <= phrase.slop
            begins = begins[near & (at < len(some))]
        if not len(begins):
            continue
        for at, some in zip(where, moves, strict=True):
            before = np.searchsorted(begins, some, "right") - 1
            reached = (before >= 0) & (some - begins[np.maximum(before, 0)] <= phrase.slop)
            marked[start + at[reached]] = True
