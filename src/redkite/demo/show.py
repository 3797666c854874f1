"""What does `redkite demo` show? Real text going in, being found by meaning and by filter, and still being there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import numpy as np

from redkite.demo.corpus import Text, python_version, read_corpus
from redkite.demo.embedding import TextEmbedding, fit
from redkite.demo.progress import Progress
from redkite.demo.rating import build as build_rated
from redkite.demo.rating import rate
from redkite.errors import InvalidInput

if TYPE_CHECKING:
    import numpy.typing as npt

    from redkite import MilvusClient

COLLECTION: Final = "python_docs"
BATCH: Final = 1_000
HITS: Final = 3
_NAME_LENGTH: Final = 512
_TEXT_WIDTH: Final = 92


@dataclass(frozen=True, slots=True)
class Question:
    """A sentence to search for, and the filter its answers must pass."""

    text: str
    filter: str = ""


QUESTIONS: Final = (
    Question("how do I parse json"),
    Question("pick a random element"),
    Question("wait for several coroutines to finish"),
    Question("split a path into its parts", "module == 'os.path' and length > 100"),
    Question("open a connection to a server", 'module like "asyncio%" and kind in ["function", "method"]'),
    Question("what may be caught after a try", "kind == 'topic'"),
)


def run(path: str, questions: Sequence[Question], out: TextIO, *, fresh: bool = False) -> None:
    """Build the database at `path` unless it is there, ask the questions, reopen the file and ask the first again.

    Raises ImportError when a database must be built and scikit-learn is missing.
    """
    from redkite import MilvusClient

    model_path = Path(path).with_suffix(".embedding.npz")
    out.write(f"Redkite: the documentation of Python {python_version()}'s standard library, searched by meaning\n\n")
    client = MilvusClient(path)
    try:
        if fresh or not _is_built(client, model_path):
            model_path.unlink(missing_ok=True)
            embedding = _build(client, model_path, out)
        else:
            embedding = TextEmbedding.load(model_path)
            rows = client.get_collection_stats(COLLECTION)["row_count"]
            out.write(f"  {path} holds {rows:,} texts from an earlier run (--fresh builds it again)\n")
        for question in questions:
            _ask(client, embedding, question, out)
        _count(client, out)
        rate(client, embedding, out)
    finally:
        client.close()
    _reopen(path, model_path, questions[0], out)
    out.write(
        f"\nGo on with it:\n"
        f"  redkite demo --path {path} --queries 'read a csv file' 'compress a file'\n"
        f"  redkite info {path}\n"
    )


def _is_built(client: MilvusClient, model_path: Path) -> bool:
    """The embedding is written last, so its file says that the rows are complete."""
    return model_path.exists() and client.has_collection(COLLECTION)


# -- building -----------------------------------------------------------------------------------
def _build(client: MilvusClient, model_path: Path, out: TextIO) -> TextEmbedding:
    with Progress("Reading documentation", out) as bar:
        texts = read_corpus(bar.update)
        bar.finish(f"{len(texts):,} texts of {len({text.module for text in texts}):,} modules")
    with Progress("Embedding", out) as bar:
        embedding, vectors = fit([f"{text.module} {text.name} {text.module}\n{text.text}" for text in texts])
        bar.finish(f"TF-IDF and truncated SVD, {vectors.shape[1]} dimensions")
    _create(client, vectors.shape[1])
    with Progress("Inserting", out) as bar:
        for start in range(0, len(texts), BATCH):
            part = slice(start, start + BATCH)
            client.insert(COLLECTION, _columns(texts[part], start, vectors[part]))
            bar.update(min(start + BATCH, len(texts)), len(texts))
        bar.finish(f"{len(texts):,} rows, every batch durable")
    with Progress("Sealing and indexing", out) as bar:
        client.flush(COLLECTION)
        while (pending := _rows_to_index(client)) > 0:
            bar.update(len(texts) - pending, len(texts))
            time.sleep(0.02)
        bar.finish("columns and graph written")
    build_rated(client, embedding, texts, out)
    embedding.save(model_path)
    return embedding


def _rows_to_index(client: MilvusClient) -> int:
    state = client.describe_index(COLLECTION, client.list_indexes(COLLECTION)[0])
    return int(state["pending_index_rows"]) if state else 0


def _create(client: MilvusClient, dimension: int) -> None:
    from redkite import DataType

    client.drop_collection(COLLECTION)
    schema = client.create_schema(auto_id=False, description="Documentation of Python's standard library")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("name", DataType.VARCHAR, max_length=_NAME_LENGTH)
    schema.add_field("module", DataType.VARCHAR, max_length=_NAME_LENGTH)
    schema.add_field("kind", DataType.VARCHAR, max_length=16)
    schema.add_field("length", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=65_535)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(COLLECTION, schema=schema, index_params=index)


def _columns(texts: Sequence[Text], first_id: int, vectors: npt.NDArray[np.float32]) -> list[object]:
    """One column for each field, in the schema's order."""
    return [
        np.arange(first_id, first_id + len(texts)),
        [text.name for text in texts],
        [text.module for text in texts],
        [text.kind for text in texts],
        [len(text.text) for text in texts],
        [text.text for text in texts],
        vectors,
    ]


# -- asking -------------------------------------------------------------------------------------
def _ask(client: MilvusClient, embedding: TextEmbedding, question: Question, out: TextIO) -> list[int]:
    started = time.perf_counter()
    vector = embedding.embed([question.text])
    if not vector.any():
        raise InvalidInput(f"no word of {question.text!r} occurs in the documentation", 1100)
    embedded = time.perf_counter()
    hits = client.search(
        COLLECTION, data=vector, filter=question.filter, limit=HITS, output_fields=["name", "module", "kind", "text"]
    )[0]
    searched = time.perf_counter()
    where = f"   where {question.filter}" if question.filter else ""
    out.write(f"\n“{question.text}”{where}\n")
    out.write(f"  embedded in {1000 * (embedded - started):.1f} ms, found in {1000 * (searched - embedded):.1f} ms\n")
    for hit in hits:
        entity = hit["entity"]
        out.write(f"  {hit['distance']:.3f}  {entity['kind']:<8}  {entity['name']}\n")
        out.write(f"         {_first_line(entity['text'])}\n")
    if not hits:
        out.write("  nothing passes the filter\n")
    return [hit["id"] for hit in hits]


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_WIDTH else line[: _TEXT_WIDTH - 1].rstrip() + "…"


def _count(client: MilvusClient, out: TextIO) -> None:
    condition = "kind in ['class', 'method'] and length > 1000"
    started = time.perf_counter()
    count = client.query(COLLECTION, filter=condition, output_fields=["count(*)"])[0]["count(*)"]
    milliseconds = 1000 * (time.perf_counter() - started)
    out.write(f"\ncount(*) where {condition}\n  {count:,} texts, counted in {milliseconds:.1f} ms\n")


def _reopen(path: str, model_path: Path, question: Question, out: TextIO) -> None:
    from redkite import MilvusClient

    out.write("\nClosed. Opening the file again and asking the first question:\n")
    started = time.perf_counter()
    embedding = TextEmbedding.load(model_path)
    client = MilvusClient(path)
    opened = time.perf_counter()
    try:
        _ask(client, embedding, question, out)
    finally:
        client.close()
    out.write(f"  opened in {1000 * (opened - started):.0f} ms\n")
