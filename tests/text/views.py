"""Tokens as tests like to compare them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from redkite.text.analyzer import Analyzer
from redkite.text.specs import analyzer_of
from redkite.text.tokens import Tokens

Place = tuple[str, int, int, int]
"""A word, the characters it begins and ends at, and its position."""


def places(tokens: Tokens) -> list[list[Place]]:
    """The tokens of each text, one by one, after a look at what always holds."""
    assert len(tokens.vocabulary) == len(set(tokens.vocabulary))
    assert sorted(set(tokens.codes.tolist())) == list(range(len(tokens.vocabulary)))
    assert tokens.starts[0] == 0 and tokens.starts[-1] == len(tokens.codes)
    columns = (tokens.codes, tokens.positions, tokens.begins, tokens.ends)
    assert {column.dtype.name for column in columns} == {"int32"} and tokens.starts.dtype.name == "int64"
    words = [tokens.vocabulary[code] for code in tokens.codes.tolist()]
    flat = list(zip(words, tokens.begins.tolist(), tokens.ends.tolist(), tokens.positions.tolist(), strict=True))
    return [flat[i:j] for i, j in zip(tokens.starts.tolist(), tokens.starts.tolist()[1:], strict=False)]


def words(params: object, *texts: str | None) -> list[list[str]]:
    """The words of texts by the analyzer of these params."""
    tokens = analyzer_of(params).analyze(texts)  # type: ignore[arg-type]  # tests give wrong ones too
    return [tokens.words(place) for place in range(len(texts))]


def each_alone(analyzer: Analyzer, texts: Sequence[str | None]) -> list[list[Place]]:
    return [places(analyzer.analyze([text]))[0] for text in texts]


def column(texts: Sequence[str | None]) -> pa.Array:
    return pa.array(texts, pa.string())
