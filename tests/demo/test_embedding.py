"""The embedding: what belongs together lies together, and a stored one embeds as the fitted one did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from redkite.demo.embedding import TextEmbedding, fit, tokenize

TEXTS = [
    "Open a file for reading and return a file object.",
    "Read lines from a file that was opened.",
    "Close the file; it cannot be read any longer.",
    "Connect a socket to a remote address.",
    "Listen for connections on a socket.",
    "Accept a connection; returns a new socket and the address.",
    "Sort a list of numbers in place.",
    "Return a sorted list from the numbers.",
] * 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("parsing parsed parser parses parse", ["pars"] * 5),
        ("openFile os.path_join", ["open", "fil", "os", "path", "join"]),
        ("the and of it", []),
        ("class press", ["class", "press"]),
    ],
)
def test_words_are_split_and_stemmed(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


def test_texts_about_one_thing_are_closer_than_others() -> None:
    embedding, vectors = fit(TEXTS, dimension=4)
    scores = vectors @ embedding.embed(["reading a file"])[0]
    assert set(np.argsort(-scores)[:6] % 8) <= {0, 1, 2}


def test_the_corpus_embeds_as_it_was_fitted_and_the_same_every_time() -> None:
    embedding, vectors = fit(TEXTS, dimension=4)
    np.testing.assert_allclose(embedding.embed(TEXTS), vectors, atol=1e-4)
    np.testing.assert_array_equal(fit(TEXTS, dimension=4)[1], vectors)


def test_a_stored_embedding_is_the_same_after_loading(tmp_path: Path) -> None:
    embedding, _ = fit(TEXTS, dimension=4)
    embedding.save(tmp_path / "model.npz")
    loaded = TextEmbedding.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.embed(["sort the list"]), embedding.embed(["sort the list"]))


def test_rows_have_length_one_and_unknown_words_give_zeros() -> None:
    embedding, vectors = fit(TEXTS, dimension=4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not embedding.embed(["xylophone"]).any()
