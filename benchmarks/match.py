"""Words and phrases in filters: building the index, and filters to a mask, beside tantivy.

    python benchmarks/match.py                      # 1,000,000 texts of about ten words
    python benchmarks/match.py --rows 50000 --out bench-results/match.json

One column in memory, one thread, CPU time of the process, the best of several. Words are drawn by Zipf's law from a
vocabulary of 200,000. tantivy counts the texts that match and makes no mask, in the same run. `grown` is the same
filter over rows that came in parts and have no index, after the first such filter.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.filter import compile_filter
from redkite.filter.word_column import WordColumn
from redkite.index.scalar.family import build_scalar, open_scalar
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import MATCH, IndexSpec
from redkite.model.types import DataType
from redkite.segment.columns import SegmentColumns
from redkite.text.specs import field_analyzer

VOCABULARY = 200_000
BEST_OF = 5
PARTS = 16
FIELD = FieldSchema(
    name="text",
    data_type=DataType.VARCHAR,
    params={"max_length": "999", "enable_analyzer": "true", "enable_match": "true"},
)
SCHEMA = CollectionSchema(name="bench", fields=(FIELD,))
RARE, OFTEN, TOP = "w9000", "w30", "w0"
FILTERS = {
    "a rare word": f'text_match(text, "{RARE}")',
    "an everyday word": f'text_match(text, "{TOP}")',
    "one of four": f'text_match(text, "{RARE} {OFTEN} w7 w2000")',
    "two of four": f'text_match(text, "{RARE} {OFTEN} w7 w2000", minimum_should_match=2)',
    "a phrase": f'phrase_match(text, "{TOP} {OFTEN}")',
    "a phrase of three": f'phrase_match(text, "{TOP} w1 w2")',
    "a phrase of three, slop 3": f'phrase_match(text, "{TOP} w1 w2", 3)',
    "one edit away": f'text_match_fuzzy(text, "{RARE}", max_edit_distance=1)',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON too")
    asked = parser.parse_args()
    found = measured(texts(asked.rows))
    show(found)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=2))


def texts(rows: int) -> pa.Array:
    """Texts of 4 to 16 words."""
    rng = np.random.default_rng(11)
    lengths = rng.integers(4, 17, rows)
    ranks = np.minimum(rng.zipf(1.25, int(lengths.sum())) - 1, VOCABULARY - 1)
    words = np.char.add("w", np.arange(VOCABULARY).astype(str)).astype(object)[ranks]
    ends = np.cumsum(lengths)
    return pa.array([" ".join(words[end - size : end]) for size, end in zip(lengths, ends, strict=True)])


def measured(column: pa.Array) -> dict[str, Any]:
    rows = len(column)
    plain = SegmentColumns(rows, lambda _: column)
    spec = IndexSpec(index_type=MATCH, kind=MATCH)
    analyzed = spent(lambda: field_analyzer(FIELD).analyze(column.slice(0, min(rows, 200_000))))
    began = time.process_time()
    parts = build_scalar(spec, FIELD, plain, lambda: True)
    assert parts is not None, "nobody stopped it"
    build = time.process_time() - began
    data = b"".join(bytes(part) for part in parts)
    index = open_scalar(spec, memoryview(data))
    indexed = SegmentColumns(rows, lambda _: column, lambda _: (index,))
    grown = grown_columns(column)
    theirs = Tantivy(column)
    filters = []
    for name, text in FILTERS.items():
        ours = compile_filter(text, SCHEMA)
        mask = ours.evaluate(indexed)
        assert np.array_equal(mask, ours.evaluate(grown)), f"{text}: the answers differ"
        count, count_ms = theirs.count(text)
        filters.append({
            "name": name, "filter": text, "rows": int(mask.sum()), "tantivy_rows": count, "tantivy_ms": count_ms,
            "ms": 1000 * spent(partial(ours.evaluate, indexed)),
            "grown_ms": 1000 * spent(partial(ours.evaluate, grown)),
        })  # fmt: skip
    return {
        "rows": rows, "text_bytes": column.nbytes, "index_bytes": len(data), "tantivy_bytes": theirs.bytes,
        "analyzed_texts_s": min(rows, 200_000) / analyzed, "built_texts_s": rows / build,
        "tantivy_built_texts_s": rows / theirs.build, "filters": filters,
    }  # fmt: skip


def grown_columns(column: pa.Array) -> SegmentColumns:
    """The rows as they lie when they came in parts."""
    size = -(-len(column) // PARTS)
    held = WordColumn(0, (), None)
    for start in range(0, len(column), size):
        held = held.and_more(WordColumn.from_texts(column.slice(start, size), field_analyzer(FIELD)))
    columns = SegmentColumns(len(column), lambda _: column)
    columns.words = lambda field, analyzer: held  # type: ignore[method-assign]  # noqa: ARG005  what is kept of them
    return columns


class Tantivy:
    """The same texts in tantivy, its default tokenizer on words that are plain ones."""

    def __init__(self, column: pa.Array) -> None:
        import tantivy

        self._tantivy = tantivy
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", index_option="position")
        self._schema = builder.build()
        with tempfile.TemporaryDirectory() as folder:
            index = tantivy.Index(self._schema, path=folder)
            held = column.to_pylist()
            began = time.process_time()
            writer = index.writer(200_000_000, 1)
            for text in held:
                writer.add_document(tantivy.Document(text=text))
            writer.commit()
            writer.wait_merging_threads()
            self.build = time.process_time() - began
            self.bytes = sum(file.stat().st_size for file in Path(folder).iterdir())
            index.reload()
            self._searcher = index.searcher()

    def count(self, text: str) -> tuple[int, float]:
        """(texts, milliseconds) of a filter."""
        query = self._query(text)
        answer: Any = self._searcher.search(query, 1, True)
        return answer.count, 1000 * spent(lambda: self._searcher.search(query, 1, True))

    def _query(self, text: str) -> Any:
        made, schema = self._tantivy.Query, self._schema
        words: list[Any] = text.split('"')[1].split()
        number = int(text.rpartition(",")[2].rpartition("=")[2].strip(" )")) if text[-2].isdigit() else 0
        if text.startswith("phrase"):
            return made.phrase_query(schema, "text", words, slop=number)
        if text.startswith("text_match_fuzzy"):
            return made.fuzzy_term_query(schema, "text", words[0], number, True)
        terms = [(self._tantivy.Occur.Should, made.term_query(schema, "text", word)) for word in words]
        return made.boolean_query(terms, minimum_number_should_match=max(1, number))


def spent(work: Callable[[], object]) -> float:
    """CPU seconds, the best of several."""
    best = float("inf")
    for _ in range(BEST_OF):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def show(found: dict[str, Any]) -> None:
    rows = found["rows"]
    print(f"{rows:,} texts, {found['text_bytes'] / 1e6:.0f} MB; one core")
    print(f"texts/s: {found['analyzed_texts_s']:,.0f} analysed, {found['built_texts_s']:,.0f} indexed, ", end="")
    print(f"{found['tantivy_built_texts_s']:,.0f} indexed by tantivy")
    print(f"index: {found['index_bytes'] / 1e6:.0f} MB; tantivy's {found['tantivy_bytes'] / 1e6:.0f} MB")
    print(f"{'':28}{'rows':>10}{'ms':>9}{'grown':>9}{'tantivy rows':>14}{'ms':>9}")
    for one in found["filters"]:
        print(
            f"{one['name']:28}{one['rows']:10,}{one['ms']:9.2f}{one['grown_ms']:9.2f}"
            f"{one['tantivy_rows']:14,}{one['tantivy_ms']:9.2f}"
        )


if __name__ == "__main__":
    main()
