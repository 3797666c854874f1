"""Random lives of a collection: whatever happens to its rows, words and phrases are found where they are."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine import DIM, NAME, Engine
from tests.filter.match_oracle import holds_near, holds_phrase, holds_words, words_of
from tests.node.test_match_index import create, run

from redkite.model import requests as rq
from redkite.model.limits import LIMITS
from redkite.node.streaming import SealPolicy
from redkite.simulated import simulated_env

texts = st.none() | st.lists(st.sampled_from(["a", "b", "ab", "ba", "c"]), max_size=6).map(" ".join)
rows = st.dictionaries(st.integers(0, 30), texts, min_size=1, max_size=12)
queries = st.lists(st.sampled_from(["a", "b", "ab", "c", "d"]), min_size=1, max_size=3)
questions = st.tuples(st.sampled_from(["words", "phrase", "near", "not"]), queries, st.integers(0, 3))
steps = st.one_of(
    st.tuples(st.just("upsert"), rows),
    st.tuples(st.just("upsert"), rows),
    st.tuples(st.just("delete"), st.lists(st.integers(0, 30), min_size=1, max_size=6)),
    st.tuples(st.just("delete where"), queries),
    st.tuples(st.sampled_from(["flush", "build", "compact", "reopen"]), st.none()),
)


def ask(question: tuple[str, list[str], int]) -> tuple[str, Any]:
    """A filter, and what it means for the words of a text."""
    kind, query, number = question
    text = " ".join(query)
    if kind == "words":
        shown = f'text_match(word, "{text}", minimum_should_match={number + 1})'
        return shown, lambda w: holds_words(w, query, number + 1)
    if kind == "phrase":
        return f'phrase_match(word, "{text}", {number})', lambda w: holds_phrase(w, query, number)
    if kind == "near":
        shown = f'text_match_fuzzy(word, "{text}", max_edit_distance={number % 3})'
        return shown, lambda w: holds_near(w, query, number % 3)
    return f'not text_match(word, "{text}")', lambda w: not holds_words(w, query)


def take(engine: Engine, held: dict[int, str | None], step: tuple[str, Any]) -> None:
    kind, given_ = step
    if kind == "upsert":
        ids = sorted(given_)
        vectors = np.zeros((len(ids), DIM), np.float32)
        batch = engine.batch(ids, vectors, ids, [given_[i] for i in ids])
        engine.call(rq.Upsert(collection=NAME, rows=batch))
        held.update(given_)
    elif kind == "delete":
        engine.delete(f"id in {given_}")
        for key in given_:
            held.pop(key, None)
    elif kind == "delete where":
        engine.delete(f'text_match(word, "{" ".join(given_)}")')
        for key in [k for k, v in held.items() if v is not None and holds_words(words_of(v), given_)]:
            del held[key]
    elif kind == "flush":
        engine.flush()
    elif kind == "build":
        run(engine)
    elif kind == "compact":
        engine.call(rq.Compact(collection=NAME))
        run(engine)
    else:
        engine.reopen()
        engine.call(rq.LoadCollection(collection=NAME))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(steps, questions), min_size=4, max_size=14))
def test_words_are_found_whatever_happened_to_the_rows(life: list[tuple[Any, Any]]) -> None:
    limits = msgspec.structs.replace(LIMITS, min_rows_to_index=2)
    engine = Engine("db", simulated_env(3), {"policy": SealPolicy(rows=1 << 30), "limits": limits})
    create(engine)
    held: dict[int, str | None] = {}
    asked = []
    for step, question in life:
        take(engine, held, step)
        asked.append(question)
        for one in asked[-3:]:
            text, means = ask(one)
            right = sorted(key for key, value in held.items() if value is not None and means(words_of(value)))
            assert engine.query(text, fields=("id",))["id"] == right, (text, step)
    engine.close()
