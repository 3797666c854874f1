"""Measure full-text search beside tantivy, bm25s and Milvus Lite: the same texts and queries, in turns, in one run.

    python benchmarks/full_text.py --lite ./peers/milvus-lite
    python benchmarks/full_text.py --texts 2000 --queries 50 --rounds 1        # a smoke test, without Milvus Lite

Every engine runs in a process of its own and is called in process: Redkite's SDK on a file, tantivy and bm25s by their
Python packages, pymilvus on a file of Milvus Lite. The texts are the documentation of Python's standard library; with
more than there are, the rest is made of pieces of it. A query is 2 to 5 words of one text; the 10 best are asked for,
one query at a time, ids and scores are read. Indexing begins with texts and ends when they are indexed on disk (bm25s:
in memory). CPU seconds count the worker and the processes it started; on a busy machine they say more than seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

K = 10
BATCH = 1_000
WARM = 3 * BATCH
"""Texts that are indexed first, untimed: enough for every engine to build what it builds of many."""
LEAST_SECONDS = 0.5
"""Of one turn."""
Searches = Callable[[str], list[tuple[int, float]]]
_APART = {"PYTHONSAFEPATH": "1"}
"""Or a worker's library would import scripts of this folder by the names of packages."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5, help="how often the engines take turns")
    parser.add_argument("--lite", type=Path, help="a virtual environment with milvus-lite and pymilvus")
    parser.add_argument("--out", type=Path, help="also write every number as JSON")
    parser.add_argument("--work", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# -- texts and queries ------------------------------------------------------------------------------
def texts_of(count: int) -> list[str]:
    from redkite.demo.corpus import read_corpus

    texts = [text.text for text in read_corpus()]
    if count <= len(texts):
        return random.Random(1).sample(texts, count)
    rng, words = random.Random(2), " ".join(texts).split()
    places = (rng.randrange(len(words)) for _ in range(count - len(texts)))
    return texts + [" ".join(words[at : at + rng.randint(5, 75)]) for at in places]


def queries_of(texts: list[str], count: int) -> list[str]:
    rng, made = random.Random(3), list[str]()
    while len(made) < count:
        words = [word for word in re.findall("[a-z]+", rng.choice(texts).lower()) if len(word) > 2]
        if len(words) > 5:
            made.append(" ".join(rng.sample(words, rng.randint(2, 5))))
    return made


# -- engines: each takes texts and gives what searches them -----------------------------------------
def milvus(module_name: str, texts: list[str], folder: str) -> Searches:
    module: Any = __import__(module_name)
    client = module.MilvusClient(os.path.join(folder, "text.db"))
    schema = client.create_schema()
    schema.add_field("id", module.DataType.INT64, is_primary=True)
    schema.add_field("text", module.DataType.VARCHAR, max_length=65_535, enable_analyzer=True)
    schema.add_field("words", module.DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        module.Function(
            name="bm25", function_type=module.FunctionType.BM25, input_field_names="text", output_field_names="words"
        )
    )
    index = client.prepare_index_params()
    index.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection("c", schema=schema, index_params=index)
    for at in range(0, len(texts), BATCH):
        client.insert("c", [{"id": key, "text": text} for key, text in enumerate(texts[at : at + BATCH], at)])
    client.flush("c")
    while client.describe_index("c", "words").get("pending_index_rows", 0):
        time.sleep(0.002)
    client.load_collection("c")

    def search(query: str) -> list[tuple[int, float]]:
        (hits,) = client.search("c", [query], limit=K, anns_field="words")
        return [(hit["id"], hit["distance"]) for hit in hits]

    return search


def redkite(texts: list[str], folder: str) -> Searches:
    return milvus("redkite", texts, folder)


def lite(texts: list[str], folder: str) -> Searches:
    return milvus("pymilvus", texts, folder)


def tantivy(texts: list[str], folder: str) -> Searches:
    import tantivy as library

    builder = library.SchemaBuilder()
    builder.add_integer_field("id", stored=True)
    builder.add_text_field("text", tokenizer_name="default")
    index = library.Index(builder.build(), path=folder)
    writer = index.writer(num_threads=1, heap_size=200_000_000)
    for key, text in enumerate(texts):
        writer.add_document(library.Document(id=key, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(query: str) -> list[tuple[int, float]]:
        found = searcher.search(index.parse_query(query, ["text"]), K).hits
        return [(searcher.doc(address)["id"][0], score) for score, address in found]

    return search


def bm25s(texts: list[str], folder: str) -> Searches:
    import bm25s as library

    del folder
    split = re.compile(r"\w+").findall
    retriever = library.BM25(k1=1.2, b=0.75, method="lucene")
    retriever.index([split(text.lower()) for text in texts], show_progress=False)

    def search(query: str) -> list[tuple[int, float]]:
        ids, scores = retriever.retrieve([split(query.lower())], k=K, show_progress=False, n_threads=0)
        return list(zip(ids[0].tolist(), scores[0].tolist(), strict=True))

    return search


ENGINES: dict[str, Callable[[list[str], str], Searches]] = {
    "redkite": redkite, "tantivy": tantivy, "bm25s": bm25s, "lite": lite,
}  # fmt: skip


# -- a worker: one engine, asked line by line -------------------------------------------------------
def cpu_seconds() -> float:
    """Of this process and those it started, alive ones included."""
    spent = time.process_time() + sum(os.times()[2:4])
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def work(options: argparse.Namespace) -> None:
    """Index a few texts to warm up, then all; then run all queries each time a line comes in."""
    texts, queries = json.loads(options.data.read_text())
    make = ENGINES[options.work]
    with tempfile.TemporaryDirectory() as folder:
        for number, some in enumerate((texts[:WARM], texts)):
            place = os.path.join(folder, str(number))
            os.mkdir(place)
            started, cpu = time.perf_counter(), cpu_seconds()
            search = make(some, place)
            told = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}
            search(queries[0])
        print(json.dumps(told), flush=True)
        for _ in sys.stdin:
            started, cpu, times = time.perf_counter(), cpu_seconds(), 0
            while times == 0 or time.perf_counter() - started < LEAST_SECONDS:
                found = [search(query) for query in queries]
                times += 1
            told = {"seconds": (time.perf_counter() - started) / times, "cpu": (cpu_seconds() - cpu) / times}
            print(json.dumps({**told, "found": found}), flush=True)


class Engine:
    """A worker in an environment of its own."""

    def __init__(self, name: str, python: str, data: Path) -> None:
        self.name = name
        source = str(Path(__file__).resolve().parent.parent / "src")
        self._process = subprocess.Popen(
            [python, __file__, "--work", name, "--data", str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | _APART | ({} if name == "lite" else {"PYTHONPATH": source}),
        )  # fmt: skip
        self.built = self._read()
        self.rounds: list[dict[str, Any]] = []

    def run(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.rounds.append(self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                return told
        raise SystemExit(f"{self.name} ended early")

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


# -- what comes of it -------------------------------------------------------------------------------
def overlap(found: list[list[tuple[int, float]]], wanted: list[list[tuple[int, float]]]) -> float:
    """The part of the rows that another engine finds, too."""
    parts = [
        len({key for key, _ in mine} & {key for key, _ in theirs}) / max(1, len(theirs))
        for mine, theirs in zip(found, wanted, strict=True)
    ]
    return sum(parts) / len(parts)


def main() -> None:
    options = arguments()
    if options.work:
        work(options)
        return
    texts = texts_of(options.texts)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.json"
        data.write_text(json.dumps([texts, queries_of(texts, options.queries)]))
        engines = [Engine(name, sys.executable, data) for name in ("redkite", "tantivy", "bm25s")]
        if options.lite:
            engines.append(Engine("lite", str(options.lite / "bin" / "python"), data))
        for engine in engines:
            engine.run()  # warms up
        for _ in range(options.rounds):
            for engine in engines:
                engine.run()
        for engine in engines:
            engine.stop()
    report(options, engines, len(texts))


def report(options: argparse.Namespace, engines: list[Engine], texts: int) -> None:
    numbers: dict[str, Any] = {"texts": texts, "queries": options.queries, "engines": {}}
    ours = engines[0].rounds[-1]["found"]
    for engine in engines:
        rounds = engine.rounds[1:]
        numbers["engines"][engine.name] = {
            "indexed_texts_per_cpu_s": round(texts / engine.built["cpu"]),
            "indexed_texts_per_s": round(texts / engine.built["seconds"]),
            "searches_per_cpu_s": round(options.queries / min(told["cpu"] for told in rounds)),
            "searches_per_s": round(options.queries / min(told["seconds"] for told in rounds)),
            "rows_shared_with_redkite": round(overlap(engine.rounds[-1]["found"], ours), 4),
        }
    print(f"{texts} texts, {options.queries} queries of 2 to 5 words, {K} best, {options.rounds} rounds")
    print(f"{'':10} {'texts/CPU s':>12} {'texts/s':>10} {'searches/CPU s':>15} {'searches/s':>11} {'shared':>7}")
    for name, told in numbers["engines"].items():
        print("{:10} {:>12,} {:>10,} {:>15,} {:>11,} {:>7.1%}".format(name, *told.values()))
    if options.out:
        options.out.write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
