"""Measure what is done with texts, beside other libraries: the same texts, in turns, in one run.

    python benchmarks/text.py                                    # every part
    python benchmarks/text.py --parts analyze --texts 1000 --rounds 1        # a smoke test

The texts are the documentation of Python's standard library. Seconds are of processor time, the least of all rounds:
on a busy machine they say more than others.

analyze  words of texts: Redkite's analyzers, which give places as well, beside tantivy and a loop over regex and
         PyStemmer, which give words alone; then the libraries for Chinese, Japanese and word boundaries.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Part = Callable[[argparse.Namespace, list[str]], dict[str, Any]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, with commas between")
    parser.add_argument("--texts", type=int, default=0, help="so many texts, 0: all")
    parser.add_argument("--rounds", type=int, default=5, help="how often what is compared takes turns")
    parser.add_argument("--out", type=Path, help="also write every number as JSON")
    return parser.parse_args()


def in_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least seconds of processor time of each call."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.process_time()
            call()
            least[name] = min(least[name], time.process_time() - began)
    return least


# -- analyze ------------------------------------------------------------------------------------
def analyze(options: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    import pyarrow as pa

    column = pa.array(texts, pa.string())
    found: dict[str, Any] = {
        "standard": _rates(_standard(column, texts), len(texts), options.rounds),
        "english": _rates(_english(column, texts), len(texts), options.rounds),
        "one search": _searches(options.rounds),
    }
    for name, sample, calls in _libraries():
        found[name] = _rates(calls, sample, options.rounds)
    return found


def _rates(calls: dict[str, Callable[[], object]], texts: int, rounds: int) -> dict[str, int]:
    """Texts a second."""
    return {name: int(texts / max(seconds, 1e-9)) for name, seconds in in_turns(calls, rounds).items()}


def _standard(column: Any, texts: list[str]) -> dict[str, Callable[[], object]]:
    import re

    import tantivy

    from redkite.text.specs import analyzer_of

    ours = analyzer_of({"type": "standard"})
    lower = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase()).build()
    words = re.compile(r"[^\W_]+")
    return {
        "redkite": lambda: ours.analyze(column),
        "tantivy": lambda: [lower.analyze(text) for text in texts],
        "regex": lambda: [words.findall(text.lower()) for text in texts],
    }


def _english(column: Any, texts: list[str]) -> dict[str, Callable[[], object]]:
    import re

    import Stemmer
    import tantivy

    from redkite.text.analyzer import Pipeline
    from redkite.text.filters.plain import plain_filter
    from redkite.text.filters.stemmer import Stemming
    from redkite.text.filters.stop import stop_filter, stop_list
    from redkite.text.specs import analyzer_of
    from redkite.text.tokenizers.building import standard_tokenizer

    ours, stop = analyzer_of({"type": "english"}), stop_list("english")
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    theirs = builder.filter(tantivy.Filter.stemmer("english")).filter(tantivy.Filter.stopword("english")).build()
    words = re.compile(r"[^\W_]+")

    def loop(stemmer: Any) -> list[list[str]]:
        return [[word for word in stemmer.stemWords(words.findall(text.lower())) if word not in stop] for text in texts]

    calls: dict[str, Callable[[], object]] = {
        "redkite": lambda: ours.analyze(column),
        "redkite, its first texts": lambda: Pipeline(
            standard_tokenizer(), [plain_filter("lowercase"), Stemming("english"), stop_filter(["_english_"])]
        ).analyze(column),
        "tantivy": lambda: [theirs.analyze(text) for text in texts],
        "regex and PyStemmer": lambda: loop(Stemmer.Stemmer("english")),
    }
    try:
        from snowballstemmer.english_stemmer import EnglishStemmer

        calls["regex and snowballstemmer"] = lambda: loop(EnglishStemmer())
    except ImportError:
        pass
    return calls


def _searches(rounds: int) -> dict[str, float]:
    """Microseconds for the words of one search."""
    from redkite.text.specs import analyzer_of

    times, text = 2_000, ["how does a socket time out in the standard library"]
    calls: dict[str, Callable[[], object]] = {}
    for name in ("standard", "english"):
        analyzer = analyzer_of({"type": name})
        calls[name] = lambda analyzer=analyzer: [analyzer.analyze(text) for _ in range(times)]
    return {name: round(1e6 * seconds / times, 1) for name, seconds in in_turns(calls, rounds).items()}


def _libraries() -> list[tuple[str, int, dict[str, Callable[[], object]]]]:
    """What libraries are compared on: a few sentences, many times."""
    from redkite.text.specs import analyzer_of

    chinese = ["我来到北京清华大学，向量数据库支持全文检索和混合检索。结巴分词器中文测试"] * 500
    japanese = ["東京スカイツリーの最寄り駅はとうきょうスカイツリー駅です。日本語の形態素解析を行う"] * 500
    mixed = ["tokenizer for global doc, can't 3.14. Привет! Как дела? สวัสดีครับ ฉันรักการค้นหาข้อความ"] * 500
    ours: dict[str, tuple[list[str], dict[str, Any]]] = {
        "jieba": (chinese, {"tokenizer": "jieba"}),
        "lindera": (japanese, {"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}}),
        "icu": (mixed, {"tokenizer": "icu"}),
    }
    made = []
    for name, (texts, params) in ours.items():
        analyzer = analyzer_of(params)
        calls = {"redkite": lambda analyzer=analyzer, texts=texts: analyzer.analyze(texts), **_others(name, texts)}
        made.append((name, len(texts), calls))
    return made


def _others(name: str, texts: list[str]) -> dict[str, Callable[[], object]]:
    """The libraries alone: those that are used, and those that lost, where they are installed."""
    calls: dict[str, Callable[[], object]] = {}
    if name == "jieba":
        import rjieba

        calls["rjieba"] = lambda: [rjieba.tokenize(text, "search", True) for text in texts]
        try:
            import jieba_next

            calls["jieba-next"] = lambda: [list(jieba_next.tokenize(text, "search")) for text in texts]
        except ImportError:
            pass
    elif name == "lindera":
        import lindera

        cut = lindera.Tokenizer(lindera.load_dictionary("embedded://ipadic"), mode="normal").tokenize
        calls["lindera"] = lambda: [cut(text) for text in texts]
    else:
        from icu4py.breakers import WordBreaker

        calls["icu4py"] = lambda: [list(WordBreaker(text, "en")) for text in texts]
        try:
            from uniseg.wordbreak import words

            calls["uniseg"] = lambda: [list(words(text)) for text in texts]
        except ImportError:
            pass
    return calls


PARTS: dict[str, Part] = {"analyze": analyze}
"""What can be measured, by name."""


def main() -> None:
    options = arguments()
    from redkite.demo.corpus import read_corpus

    texts = [text.text for text in read_corpus()]
    texts = texts[: options.texts or len(texts)]
    results: dict[str, Any] = {"texts": len(texts), "characters": sum(map(len, texts))}
    for name in options.parts.split(","):
        results[name] = PARTS[name](options, texts)
    print(json.dumps(results, indent=2, ensure_ascii=False))
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
