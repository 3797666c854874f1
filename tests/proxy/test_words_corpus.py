"""BM25 on texts that people wrote, against the formula in plain Python and against another library."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.texts import TextEngine

from redkite.demo.corpus import read_corpus
from redkite.text.specs import analyzer_of

K1, B = 1.2, 0.75
ASKED = 60
MOST_DESCRIPTIONS = 20_000


class Oracle:
    """Texts as lists of words, and their scores in double precision."""

    def __init__(self, texts: list[str]) -> None:
        tokens = analyzer_of(None).analyze(texts)
        self.words = [tokens.words(at) for at in range(len(texts))]
        self.postings: dict[str, dict[int, int]] = defaultdict(dict)
        for at, words in enumerate(self.words):
            for word, count in Counter(words).items():
                self.postings[word][at] = count
        self.average = sum(map(len, self.words)) / len(texts)

    def scores(self, query: list[str]) -> dict[int, float]:
        scores: dict[int, float] = defaultdict(float)
        for word, asked in Counter(query).items():
            having = self.postings.get(word, {})
            rarity = math.log(1 + (len(self.words) - len(having) + 0.5) / (len(having) + 0.5))
            for at, count in having.items():
                below = count + K1 * (1 - B + B * len(self.words[at]) / self.average)
                scores[at] += asked * rarity * count * (K1 + 1) / below
        return scores

    def queries(self, seed: int) -> list[list[str]]:
        """Words of some text, frequent and rare ones."""
        rng = random.Random(seed)
        full = [words for words in self.words if len(words) > 5]
        return [rng.sample(rng.choice(full), rng.randint(2, 5)) for _ in range(ASKED)]


@pytest.fixture(scope="module", params=["standard library", "Debian"])
def texts(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "standard library":
        return [text.text for text in read_corpus()[::2]]
    if shutil.which("apt-cache") is None:
        pytest.skip("there are no package descriptions here")
    told = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=False).stdout
    found = [line.partition(": ")[2] for line in told.split("\n") if line.startswith("Description")]
    if len(found) < 1000:
        pytest.skip("apt knows hardly any package")
    return found[:MOST_DESCRIPTIONS]


@pytest.fixture(scope="module")
def oracle(texts: list[str]) -> Oracle:
    return Oracle(texts)


@pytest.fixture
def engine(tmp_path: Path, texts: list[str]) -> Iterator[TextEngine]:
    opened = TextEngine(str(tmp_path / "db"))
    opened.create_texts(shards=2)
    for at in range(0, len(texts), 5000):
        opened.put(dict(enumerate(texts[at : at + 5000], at)))
    yield opened
    opened.close()


def check(engine: TextEngine, oracle: Oracle, queries: list[list[str]]) -> None:
    for query, found in zip(queries, engine.ask(*map(" ".join, queries), limit=100), strict=True):
        want = oracle.scores(query)
        best = sorted(want.values(), reverse=True)[:100]
        assert list(found.values()) == pytest.approx(best, rel=1e-5)
        assert found == pytest.approx({key: want[key] for key in found}, rel=1e-5)


def test_scores_are_those_of_the_formula_growing_sealed_and_reopened(engine: TextEngine, oracle: Oracle) -> None:
    queries = oracle.queries(1)
    check(engine, oracle, queries)
    engine.seal()
    check(engine, oracle, queries)
    before = engine.ask(*map(" ".join, queries), limit=100)
    engine.reopen()
    assert engine.ask(*map(" ".join, queries), limit=100) == before


def test_scores_are_those_of_bm25s(engine: TextEngine, oracle: Oracle) -> None:
    bm25s = pytest.importorskip("bm25s")
    retriever = bm25s.BM25(k1=K1, b=B, method="lucene")
    retriever.index(oracle.words, show_progress=False)
    engine.seal()
    queries = oracle.queries(2)
    for query, found in zip(queries, engine.ask(*map(" ".join, queries), limit=50), strict=True):
        # It leaves out the factor that is the same for every row.
        theirs = retriever.get_scores(query) * (K1 + 1)
        assert list(found.values()) == pytest.approx(np.sort(theirs)[::-1][: len(found)].tolist(), rel=1e-5)
        assert found == pytest.approx({key: float(theirs[key]) for key in found}, rel=1e-5)
