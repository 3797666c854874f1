"""Texts and the summary lines that were taken out of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

import redkite
from redkite.demo.corpus import Text
from redkite.demo.embedding import fit
from redkite.demo.rating import COLLECTION, LEAST_REST, build, rate, rated_texts

REST = "More is said about it here, in other words. " * 6


def text(body: str, kind: str = "function") -> Text:
    return Text("a.b", "a", kind, body)


def test_a_text_is_cut_behind_its_summary_line() -> None:
    (found,) = rated_texts([text(f"Do this with\n  great care.\n\n{REST}")])
    assert (found.summary, found.rest) == ("Do this with great care.", REST.strip())


def test_what_is_no_question_with_one_answer_is_left_out() -> None:
    texts = [
        text("Too few words.\n\n" + REST),
        text("There is little behind this line.\n\n" + "x" * (LEAST_REST - 1)),
        text("This line comes again.\n\n" + "So: This line comes again. " + REST),
        text("Two texts have this line.\n\n" + REST),
        text("Two texts have this line.\n\n" + REST + "!"),
        text("A topic has no summary line.\n\n" + REST, "topic"),
        text("Nothing stands behind this line at all."),
    ]
    assert rated_texts(texts) == []


def test_each_way_of_searching_is_rated(tmp_path: Path) -> None:
    words = np.array([f"w{chr(97 + i)}{chr(97 + j)}ord" for i in range(12) for j in range(12)])
    rng = np.random.default_rng(0)
    texts = [
        text(f"Find {' '.join(words[at * 3 : at * 3 + 3])} here.\n\n"
             + " ".join(np.concatenate([words[at * 3 : at * 3 + 3], rng.choice(words, 60)])))
        for at in range(40)
    ]  # fmt: skip
    embedding, _ = fit([one.text for one in texts], dimension=16)
    out = io.StringIO()
    with redkite.MilvusClient(str(tmp_path / "a.db")) as client:
        rate(client, embedding, out)
        assert "--fresh makes them" in out.getvalue()
        build(client, embedding, texts, out)
        assert client.get_collection_stats(COLLECTION)["row_count"] == 40
        rate(client, embedding, out)
    lines = out.getvalue().splitlines()
    rated = {line.split()[0]: float(line.split()[1]) for line in lines[-3:]}
    assert rated.keys() == {"dense", "BM25", "hybrid"}
    assert rated["BM25"] > 0.8
    assert "40 lines, 40 texts" in out.getvalue()
