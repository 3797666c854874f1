"""Measure full-text search beside tantivy, bm25s and Milvus Lite: the same texts and queries, in turns, in one run.

    python benchmarks/full_text.py --lite ./peers/milvus-lite
    python benchmarks/full_text.py --texts 2000 --queries 50 --rounds 1        # a smoke test, without Milvus Lite

Every engine runs in a process of its own and is called in process: Redkite's SDK on a file, tantivy and bm25s by their
Python packages, pymilvus on a file of Milvus Lite. The texts are the documentation of Python's standard library; with
more than there are, the rest is made of pieces of it. Queries are 2 to 5 words of one text, or one word that many texts
have, or few; the 10 best are asked for, one query at a time, ids and scores are read. Indexing begins with texts and
ends when they are indexed on disk (bm25s: in memory). "disk" is no engine: it writes and syncs what Redkite does while
it indexes, one after another, and nothing else, so nothing that waits for the disk as often can be faster. CPU seconds
count the worker, all its threads, and the processes it started; on a busy machine they say more than seconds. Each
engine is told by the best of its turns.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

K = 10
BATCH = 1_000
WARM = 3 * BATCH
"""Texts that are indexed first, untimed: enough for every engine to build what it builds of many."""
LOGGED = 1.87
"""Bytes that Redkite logs for each byte of these texts: their words and counts are beside them."""
COMMITS, CATALOG_BYTES = 8, 8 << 10
"""Changes of Redkite's catalog from an empty folder to an index that is loaded, and what each of them writes about."""
LEAST_SECONDS = 0.3
"""Of one turn."""
FREQUENCIES = (("1 word in 100 to 999 texts", 100, 999), ("in 10 to 99", 10, 99), ("in 1 to 9", 1, 9))
"""Kinds of queries that are one word: in how many texts it is."""
Searches = Callable[[str], list[tuple[int, float]]]
_APART = {"PYTHONSAFEPATH": "1"}
"""Or a worker's library would import scripts of this folder by the names of packages."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5, help="how often the engines take turns")
    parser.add_argument(
        "--lite", type=Path, help="a virtual environment with milvus-lite and pymilvus, without the drop-in"
    )
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


def kinds_of(texts: list[str], count: int) -> dict[str, list[str]]:
    """Queries by their kind."""
    having = Counter(word for text in texts for word in set(re.findall(r"[^\W_]+", text.lower())) if len(word) > 2)
    kinds = {"2 to 5 words": queries_of(texts, count)}
    for name, least, most in FREQUENCIES:
        words = sorted(word for word, often in having.items() if least <= often <= most)
        kinds[name] = random.Random(4).sample(words, min(count, len(words)))
    return kinds


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
    search = milvus("pymilvus", texts, folder)
    if "redkite" in sys.modules:
        raise SystemExit("Redkite answers for Milvus Lite in this environment: take one without the drop-in")
    return search


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


def disk(texts: list[str], folder: str) -> Searches:
    """Each batch goes to a log and is synced; then all of them to one file, and their lists to another, which get their
    names when they are durable; and some pages to a catalog, with a sync each time."""
    logged = [
        int(LOGGED * sum(len(text.encode()) for text in texts[at : at + BATCH])) for at in range(0, len(texts), BATCH)
    ]
    some = os.urandom(CATALOG_BYTES) * (1 + sum(logged) // CATALOG_BYTES)
    names = os.open(folder, os.O_RDONLY)
    commits, log = (os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT) for name in ("catalog", "log"))
    os.posix_fallocate(log, 0, sum(logged))
    os.fsync(names)
    for size in logged:
        os.write(log, some[:size])
        os.fdatasync(log)
    for size in (sum(logged), sum(logged) // 2):
        made = os.open(os.path.join(folder, "unnamed"), os.O_WRONLY | os.O_CREAT)
        os.write(made, some[:size])
        os.fsync(made)
        os.close(made)
        os.rename(os.path.join(folder, "unnamed"), os.path.join(folder, str(size)))
        os.fsync(names)
    for _ in range(COMMITS):
        os.write(commits, some[:CATALOG_BYTES])
        os.fdatasync(commits)
    for opened in (names, commits, log):
        os.close(opened)
    return lambda query: []  # noqa: ARG005  nothing is searched


INDEX = "index"
ENGINES: dict[str, Callable[[list[str], str], Searches]] = {
    "redkite": redkite, "tantivy": tantivy, "bm25s": bm25s, "disk": disk, "lite": lite,
}  # fmt: skip


# -- a worker: one engine, asked line by line -------------------------------------------------------
def children_cpu() -> float:
    """Of the processes that this one started, alive ones included."""
    spent = sum(os.times()[2:4])
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


class Spent:
    """Time and CPU from now on; looking is not counted."""

    def __init__(self) -> None:
        self._children = children_cpu()
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def told(self, times: int = 1) -> dict[str, Any]:
        cpu, seconds = time.process_time() - self._cpu, time.perf_counter() - self._started
        return {"seconds": seconds / times, "cpu": (cpu + children_cpu() - self._children) / times}


def work(options: argparse.Namespace) -> None:
    """Index a few texts to warm up; then index all of them, or run the queries of one kind, as each line says."""
    texts, kinds = json.loads(options.data.read_text())
    make = ENGINES[options.work]
    with tempfile.TemporaryDirectory() as folder:

        def indexed(some: list[str], name: str) -> tuple[Searches, dict[str, Any]]:
            place = os.path.join(folder, name)
            os.mkdir(place)
            spent = Spent()
            search = make(some, place)
            return search, spent.told()

        search, _ = indexed(texts[:WARM], "warm")
        search(kinds["2 to 5 words"][0])
        for number, line in enumerate(sys.stdin):
            kind = line.strip()
            if kind == INDEX:
                search, told = indexed(texts, str(number))
                print(json.dumps(told), flush=True)
                continue
            spent, until, times = Spent(), time.perf_counter() + LEAST_SECONDS, 0
            while times == 0 or time.perf_counter() < until:
                found = [search(query) for query in kinds[kind]]
                times += 1
            print(json.dumps({**spent.told(times), "found": found}), flush=True)


class Engine:
    """A worker in an environment of its own."""

    def __init__(self, name: str, python: str, data: Path) -> None:
        self.name = name
        source = str(Path(__file__).resolve().parent.parent / "src")
        self._process = subprocess.Popen(
            [python, __file__, "--work", name, "--data", str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | _APART | ({} if name == "lite" else {"PYTHONPATH": source}),
        )  # fmt: skip
        self.turns: dict[str, list[dict[str, Any]]] = {}

    def run(self, what: str) -> None:
        """A turn: index all texts, or run the queries of a kind."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        self.turns.setdefault(what, []).append(self._read())

    def best(self, what: str, unit: str) -> float:
        return float(min(told[unit] for told in self.turns[what]))

    def found(self, what: str) -> list[list[tuple[int, float]]]:
        rows: list[list[tuple[int, float]]] = self.turns[what][-1]["found"]
        return rows

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
        len({key for key, _ in mine} & {key for key, _ in theirs}) / len(theirs) if theirs else float(not mine)
        for mine, theirs in zip(found, wanted, strict=True)
    ]
    return sum(parts) / len(parts)


def asked(engines: list[Engine], what: str) -> list[Engine]:
    """Those that do this."""
    return [engine for engine in engines if what == INDEX or engine.name != "disk"]


def main() -> None:
    options = arguments()
    if options.work:
        work(options)
        return
    texts = texts_of(options.texts)
    kinds = kinds_of(texts, options.queries)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.json"
        data.write_text(json.dumps([texts, kinds]))
        engines = [Engine(name, sys.executable, data) for name in ("redkite", "tantivy", "bm25s", "disk")]
        if options.lite:
            engines.append(Engine("lite", str(options.lite / "bin" / "python"), data))
        for _ in range(options.rounds):
            for what in (INDEX, *kinds):
                for engine in asked(engines, what):
                    engine.run(what)
        for engine in engines:
            engine.stop()
    report(options, engines, len(texts), kinds)


def report(options: argparse.Namespace, engines: list[Engine], texts: int, kinds: dict[str, list[str]]) -> None:
    print(f"{texts} texts, {K} best, {options.rounds} rounds; a CPU second, then a second; beside the first engine's")
    numbers: dict[str, Any] = {"texts": texts, "rounds": options.rounds, "engines": {e.name: {} for e in engines}}
    for what, count in ((INDEX, texts), *((kind, len(queries)) for kind, queries in kinds.items())):
        print(f"{what if what == INDEX else f'{count} searches, {what}':44}")
        for engine in asked(engines, what):
            each = {unit: count / engine.best(what, unit) for unit in ("cpu", "seconds")}
            shared = 1.0 if what == INDEX else overlap(engine.found(what), engines[0].found(what))
            numbers["engines"][engine.name][what] = {**each, "shared": shared}
            ratio = each["cpu"] / (count / engines[0].best(what, "cpu"))
            print(
                f"    {engine.name:10} {each['cpu']:>12,.0f} {each['seconds']:>12,.0f} {ratio:>8.3f}"
                + ("" if what == INDEX else f"   {shared:.1%} of the rows shared")
            )
    if options.out:
        options.out.write_text(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
