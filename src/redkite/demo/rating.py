"""How well does each way of searching find a text? Dense vectors, BM25 and both together, judged by summary lines.

A docstring begins with a line that says what the thing does, and goes on with the rest. The line is taken out; the rest
is stored. Whoever asks with the line should find the rest it was taken from: a question with a known answer, written by
a person, in other words than the answer. One right text for each question is a strict judge, since others may answer as
well, and strict alike to each way of searching. The embedding has seen all lines and texts when it was fitted, but not
which belongs to which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

import numpy as np

from redkite.demo.corpus import Text
from redkite.demo.progress import Progress

if TYPE_CHECKING:
    from redkite import MilvusClient
    from redkite.demo.embedding import TextEmbedding

COLLECTION: Final = "python_docs_rated"
EMBEDDING: Final = "python_docs"
"""The name under which functions of the collection find the embedding."""
MOST_QUESTIONS: Final = 500
LEAST_WORDS: Final = 4
LEAST_REST: Final = 200
"""Characters behind a summary line, fewer of which are no text to be found."""
DEPTH: Final = 10
_BATCH: Final = 1_000
_LONGEST: Final = 65_535


@dataclass(frozen=True, slots=True)
class Rated:
    """A text without its summary line, and the line."""

    summary: str
    rest: str


def rated_texts(texts: Sequence[Text]) -> list[Rated]:
    """The texts that begin with a summary line which no other text has."""
    found = [cut for text in texts if text.kind != "topic" and (cut := _cut(text.text)) is not None]
    often = Counter(one.summary for one in found)
    return [one for one in found if often[one.summary] == 1]


def _cut(text: str) -> Rated | None:
    """A text in two; None when it has no summary line of some words, or little behind it."""
    first, _, rest = text.partition("\n\n")
    summary, rest = " ".join(first.split()), rest.strip()
    if len(summary.split()) < LEAST_WORDS or len(rest) < LEAST_REST or summary in " ".join(rest.split()):
        return None
    return Rated(summary, rest)


def build(client: MilvusClient, embedding: TextEmbedding, texts: Sequence[Text], out: TextIO) -> None:
    """Store the rest of every rated text; functions make its two vectors."""
    from redkite import DataType, Function, FunctionType

    register(client, embedding)
    client.drop_collection(COLLECTION)
    schema = client.create_schema(description="Texts without their summary lines")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("summary", DataType.VARCHAR, max_length=_LONGEST)
    analyzer = {"type": "english"}
    schema.add_field("text", DataType.VARCHAR, max_length=_LONGEST, enable_analyzer=True, analyzer_params=analyzer)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=len(embedding.directions))
    schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
    params = {"provider": "python", "model_name": EMBEDDING}
    schema.add_function(Function("embed", FunctionType.TEXTEMBEDDING, ["text"], ["dense"], params=params))
    schema.add_function(Function("count", FunctionType.BM25, ["text"], ["words"]))
    index = client.prepare_index_params()
    index.add_index("dense", index_type="FLAT", metric_type="COSINE")
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection(COLLECTION, schema=schema, index_params=index)
    rated = rated_texts(texts)
    with Progress("Inserting texts alone", out) as bar:
        for start in range(0, len(rated), _BATCH):
            part = rated[start : start + _BATCH]
            rows: list[dict[str, Any]] = [
                {"id": start + at, "summary": one.summary, "text": one.rest} for at, one in enumerate(part)
            ]
            client.insert(COLLECTION, rows)
            bar.update(start + len(part), len(rated))
        bar.finish(f"{len(rated):,} rows, both vectors made by functions")


def register(client: MilvusClient, embedding: TextEmbedding) -> None:
    """Let the functions of the collection use the embedding."""
    client.register_embedding(EMBEDDING, embedding.embed)


def rate(client: MilvusClient, embedding: TextEmbedding, out: TextIO) -> None:
    """Ask with summary lines, in three ways, and show what each found."""
    from redkite import AnnSearchRequest, RRFRanker
    from redkite.client import side_by_side

    if not client.has_collection(COLLECTION):
        out.write("\nThis database was made without texts to rate searches by (--fresh makes them).\n")
        return
    register(client, embedding)
    rows = client.query(COLLECTION, filter="id >= 0", output_fields=["id", "summary"]).to_arrow()
    step = max(1, rows.num_rows // MOST_QUESTIONS)
    asked = rows.take(np.arange(0, rows.num_rows, step)[:MOST_QUESTIONS])
    questions = asked.column("summary").to_pylist()
    answers = [[answer] for answer in asked.column("id").to_pylist()]
    both = [AnnSearchRequest(None, field, {}, 5 * DEPTH) for field in ("dense", "words")]
    ways: dict[str, dict[str, Any]] = {
        "dense": {"anns_field": "dense"},
        "BM25": {"anns_field": "words"},
        "hybrid": {"reqs": both, "ranker": RRFRanker()},
    }
    for way in ways.values():
        client.evaluate(COLLECTION, questions[:1], answers[:1], way, k=DEPTH)  # what is made at the first use is made
    reports = {name: client.evaluate(COLLECTION, questions, answers, way, k=DEPTH) for name, way in ways.items()}
    out.write(
        f"\nWhich way finds a text by the summary line that was taken out of it? "
        f"{len(questions):,} lines, {rows.num_rows:,} texts:\n"
    )
    out.writelines(f"  {line}\n" for line in side_by_side(reports).splitlines())
