"""How does text become a vector without a model download? Latent semantic analysis of the corpus itself.

A text is the bag of its stemmed words, weighted by TF-IDF, projected to the 256 directions that explain most of the
corpus (truncated SVD), so that texts which use different words for one thing come to lie together. scikit-learn fits
it once; what was learnt is three arrays, and applying them to a query needs numpy alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

DIMENSION: Final = 256
_SEED: Final = 7
_MIN_DOCUMENTS: Final = 2
"""A word of a single text relates it to no other."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD: Final = re.compile(r"[a-z][a-z0-9]+")
_STOP: Final = frozenset(
    "a an and any are as at be been but by can do does each for from given had has have how if in into is it its itself"
    " may more must no not of on one only or other out over same should so such than that the their them then there"
    " these they this to was we were what when where which while who whose why will with would you your use used uses"
    " using see also return returns returned default none true false self cls arg args kwargs".split()
)


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbedding:
    """A fitted embedding.

    `words`: (v,) str, sorted; `idf`: (v,) float32; `directions`: (dimension, v) float32.
    """

    words: npt.NDArray[np.str_]
    idf: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(len(texts), dimension) float32 with rows of length 1; a text of unknown words alone becomes zeros."""
        position = {word: number for number, word in enumerate(self.words.tolist())}
        vectors = np.zeros((len(texts), len(self.directions)), np.float32)
        for row, text in enumerate(texts):
            counts = Counter(position[word] for word in tokenize(text) if word in position)
            if counts:
                columns = np.fromiter(counts.keys(), np.int64, len(counts))
                weights = (1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))) * self.idf[columns]
                vectors[row] = self.directions[:, columns] @ weights
        return _normalized(vectors)

    def save(self, path: Path) -> None:
        """Write the three arrays as `.npz`."""
        with path.open("wb") as handle:
            np.savez(handle, words=self.words, idf=self.idf, directions=self.directions)

    @classmethod
    def load(cls, path: Path) -> TextEmbedding:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(arrays["words"], arrays["idf"], arrays["directions"])


def fit(texts: Sequence[str], dimension: int = DIMENSION) -> tuple[TextEmbedding, npt.NDArray[np.float32]]:
    """Learn an embedding from texts; also gives their own vectors, (len(texts), dimension) with rows of length 1.

    Needs scikit-learn. The same texts give the same vectors.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigher = TfidfVectorizer(
        analyzer=tokenize, min_df=min(_MIN_DOCUMENTS, len(texts)), sublinear_tf=True, dtype=np.float32
    )
    weights = weigher.fit_transform(texts)
    dimension = min(dimension, min(weights.shape) - 1)
    solver = TruncatedSVD(dimension, random_state=_SEED)
    vectors = solver.fit_transform(weights).astype(np.float32)
    words = np.array(weigher.get_feature_names_out(), dtype=np.str_)
    embedding = TextEmbedding(words, weigher.idf_.astype(np.float32), solver.components_.astype(np.float32))
    return embedding, _normalized(vectors)


def tokenize(text: str) -> list[str]:
    """The stems of a text's words: `parseHTMLFiles` gives parse, html, file."""
    words = _WORD.findall(_CAMEL.sub(" ", text).replace("_", " ").lower())
    return [_stem(word) for word in words if word not in _STOP]


def _stem(word: str) -> str:
    """Endings of English grammar cut off, so that parse, parses, parsed, parser and parsing are one word."""
    for ending, least in (("ations", 4), ("ation", 4), ("ingly", 4), ("ings", 4), ("ing", 4), ("ers", 4), ("ies", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least:
            return word[: -len(ending)]
    for ending in ("ed", "er", "es", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


def _normalized(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: npt.NDArray[np.float32] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return result
