"""Requests and results about words and the files that analyzers read, filled so that a lost field shows."""

from __future__ import annotations

from redkite.model import analysis as an
from redkite.model import requests, results

_TEXT = an.AnalyzedText(
    tokens=("résumé", "b"), begins=(0, 7), ends=(6, 8), positions=(1, 3), lengths=(2, 1), hashes=(2**32 - 2, 5)
)


def analysis_requests() -> list[requests.Request]:
    return [
        an.RunAnalyzer(
            database="shop", texts=("é a", ""), params='{"type":"english"}', collection="books", field="t",
            analyzer_names=("en", "de"), with_detail=True, with_hash=True,
        ),
        an.ComputePhraseMatchSlop(query="a b", texts=("a x b", ""), params="{}"),
        an.AddFileResource(name="stops", path="lists/stops.txt"),
        an.RemoveFileResource(name="stops"),
        an.ListFileResources(),
    ]  # fmt: skip


def analysis_results() -> dict[type[requests.Request], results.Result]:
    return {
        an.RunAnalyzer: an.AnalyzedTexts(texts=(_TEXT, an.AnalyzedText(tokens=()))),
        an.ComputePhraseMatchSlop: an.PhraseSlops(matches=(True, False), slops=(1, -1)),
        an.ListFileResources: an.FileResources(
            resources=(an.FileResource(name="stops", path="lists/stops.txt", resource_id=7),)
        ),
    }
