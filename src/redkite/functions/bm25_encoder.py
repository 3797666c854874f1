"""BM25 by hand: sparse vectors whose inner product is the score, with the names of `pymilvus.model.sparse`.

A BM25 function of a schema needs none of this, and its statistics stay true as rows come and go. Here they are those
of the texts that were fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.env import Env
from redkite.errors import InvalidParameter, ParamError
from redkite.text.analyzer import Analyzer
from redkite.text.specs import analyzer_of
from redkite.text.tokens import Tokens

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
LANGUAGES: Mapping[str, Mapping[str, Any]] = {
    "en": {"type": "english"},
    "zh": {"type": "chinese"},
    "ja": {"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}},
}


def build_default_analyzer(language: str = "en") -> Analyzer:
    """The analyzer of a language: `en`, `zh` or `ja`."""
    if language not in LANGUAGES:
        raise ParamError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    return analyzer_of(LANGUAGES[language])


class _Fitted(msgspec.Struct, frozen=True):
    """What was learnt of the texts, as it is saved."""

    words: list[str]
    idf: list[float]
    average_length: float
    k1: float
    b: float


class BM25EmbeddingFunction:
    """`fit` it to texts first, or `load` what was saved.

    Args:
        analyzer: What finds the words: an analyzer, its params as a field takes them, or nothing for English.
        corpus: Texts to fit at once.
        k1: How soon more of a word counts no more.
        b: How much a long text is held against it.
        epsilon: Words in more than half of the texts count this part of an average word.
    """

    def __init__(
        self,
        analyzer: Analyzer | str | Mapping[str, Any] | None = None,
        corpus: Sequence[str] | None = None,
        k1: float = 1.5,
        b: float = 0.75,
        epsilon: float = 0.25,
    ) -> None:
        made = build_default_analyzer() if analyzer is None else analyzer
        self.analyzer: Analyzer = analyzer_of(made) if isinstance(made, str | Mapping) else made
        self.k1, self.b, self.epsilon = k1, b, epsilon
        self.avgdl = 0.0
        self._places: dict[str, int] = {}
        self._idf: Floats = np.empty(0)
        if corpus is not None:
            self.fit(corpus)

    @property
    def dim(self) -> int:
        """How many words are known."""
        return len(self._places)

    def fit(self, corpus: Sequence[str]) -> None:
        """Learn how rare each word is."""
        tokens = self.analyzer.analyze(_texts(corpus))
        if not len(tokens) or not len(tokens.codes):
            raise ParamError("there is no word in the texts to fit")
        texts = np.repeat(np.arange(len(tokens)), tokens.counts)
        pairs = np.unique(texts * len(tokens.vocabulary) + tokens.codes)
        having = np.bincount(pairs % len(tokens.vocabulary), minlength=len(tokens.vocabulary))
        idf = np.log(len(tokens) - having + 0.5) - np.log(having + 0.5)
        idf[idf < 0] = self.epsilon * idf.mean()
        self._idf = idf
        self._places = {word: place for place, word in enumerate(tokens.vocabulary)}
        self.avgdl = len(tokens.codes) / len(tokens)

    def encode_documents(self, documents: Sequence[str]) -> csr_array:
        """(texts, dim): how much each word says about each text."""
        self._need_fit()
        tokens = self.analyzer.analyze(_texts(documents))
        rows, columns, counts = self._counted(tokens)
        lengths = tokens.counts[rows]
        weights = counts * (self.k1 + 1) / (counts + self.k1 * (1 - self.b + self.b * lengths / self.avgdl))
        return self._matrix(len(tokens), rows, columns, weights)

    def encode_queries(self, queries: Sequence[str]) -> csr_array:
        """(texts, dim): how rare the words of each query are."""
        self._need_fit()
        tokens = self.analyzer.analyze(_texts(queries))
        rows, columns, _ = self._counted(tokens)
        return self._matrix(len(tokens), rows, columns, self._idf[columns])

    def save(self, path: str) -> None:
        """Write what was learnt to a JSON file."""
        self._need_fit()
        fitted = _Fitted(list(self._places), self._idf.tolist(), self.avgdl, self.k1, self.b)
        Env.real().files.write_new(path, [msgspec.json.encode(fitted)])

    def load(self, path: str) -> None:
        """Read what `save` wrote. Raises InvalidParameter for another file."""
        try:
            fitted = msgspec.json.decode(Env.real().files.read(path), type=_Fitted)
        except msgspec.DecodeError as error:
            raise InvalidParameter(f"{path} was not saved by BM25EmbeddingFunction: {error}") from None
        self._places = {word: place for place, word in enumerate(fitted.words)}
        self._idf = np.array(fitted.idf)
        self.avgdl, self.k1, self.b = fitted.average_length, fitted.k1, fitted.b

    # -- columns --------------------------------------------------------------------------------
    def _counted(self, tokens: Tokens) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
        """(text, word, how often) for each word of each text that is known."""
        known = np.array([self._places.get(word, -1) for word in tokens.vocabulary], np.int64)
        columns = known[tokens.codes] if len(known) else np.empty(0, np.int64)
        rows = np.repeat(np.arange(len(tokens), dtype=np.int64), tokens.counts)
        pairs, counts = np.unique(rows[columns >= 0] * self.dim + columns[columns >= 0], return_counts=True)
        return pairs // self.dim, pairs % self.dim, counts.astype(np.float64)

    def _matrix(self, texts: int, rows: npt.NDArray[Any], columns: npt.NDArray[Any], weights: Floats) -> csr_array:
        try:
            from scipy.sparse import csr_array
        except ImportError:
            raise ParamError("BM25EmbeddingFunction gives matrices of scipy, which is not installed") from None
        return csr_array((weights.astype(np.float32), (rows, columns)), shape=(texts, self.dim))

    def _need_fit(self) -> None:
        if not self._places:
            raise ParamError("fit the BM25EmbeddingFunction to texts first, or load what was saved")


def _texts(texts: Sequence[str]) -> list[str]:
    if isinstance(texts, str):
        raise ParamError("BM25EmbeddingFunction takes a list of texts")
    return list(texts)
