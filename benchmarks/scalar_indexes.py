"""What indexes over values cost and give: build time, bytes, and how long a filter takes with one and without.

    python benchmarks/scalar_indexes.py                      # 1,000,000 rows
    python benchmarks/scalar_indexes.py --rows 50000 --out bench-results/scalar_indexes.json

One column in memory, one thread. Times are of a filter to a mask, the best of several; the first pass over a JSON field
or over shapes, which has to read the texts, is given apart. `used` tells whether the index was cheaper by the rule that
a read goes by; where it was not, both times are of the same scan.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.filter import compile_filter
from redkite.index.scalar.family import ScalarIndex, build_scalar, open_scalar
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.types import DataType
from redkite.segment.columns import SegmentColumns

WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbor", "indigo", "jasper")
BEST_OF = 7


@dataclass(frozen=True)
class Case:
    """One index, and filters that it may answer."""

    field: FieldSchema
    kind: str
    filters: tuple[str, ...]
    build: dict[str, int | float | str | bool] = field(default_factory=dict)


def field_of(name: str, data_type: DataType, element: DataType = DataType.NONE) -> FieldSchema:
    return FieldSchema(name=name, data_type=data_type, element_type=element, params={"max_length": "200"})


NUMBER = field_of("number", DataType.INT64)
STATUS = field_of("status", DataType.INT8)
NAME = field_of("name", DataType.VARCHAR)
TITLE = field_of("title", DataType.VARCHAR)
TAGS = field_of("tags", DataType.ARRAY, DataType.VARCHAR)
META = field_of("meta", DataType.JSON)
PLACE = field_of("place", DataType.GEOMETRY)
SCHEMA = CollectionSchema(name="bench", fields=(NUMBER, STATUS, NAME, TITLE, TAGS, META, PLACE))
CASES = (
    Case(NUMBER, "STL_SORT", ("number == 777", "number < 1000", "number in [3, 99991, 1000000007]", "number > 5000")),
    Case(STATUS, "BITMAP", ("status == 3", "status in [1, 3, 5, 7, 9, 11, 13]")),
    Case(NAME, "INVERTED", ('name == "name-000777"', 'name like "name-0007%"', 'name in ["name-000001", "no", "x"]')),
    Case(NAME, "TRIE", ('name like "name-0007%"',)),
    Case(TITLE, "NGRAM", ('title like "%jasper 77%"', 'title like "%amber%"'), {"min_gram": 3, "max_gram": 4}),
    Case(TAGS, "INVERTED", ('array_contains(tags, "t7")', 'array_contains_all(tags, ["t7", "t8"])')),
    Case(
        META,
        "INVERTED",
        ('meta["price"] == 77', 'meta["price"] < 5', 'meta["price"] > 500'),
        {"json_path": '["price"]', "json_cast_type": "DOUBLE"},
    ),
    Case(PLACE, "RTREE", ("st_within(place, 'POLYGON ((1 1, 2 1, 2 2, 1 2, 1 1))')",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", default=[], help="fields to measure")
    parser.add_argument("--out", type=Path, help="write the numbers there as JSON too")
    asked = parser.parse_args()
    found: dict[str, Any] = {"rows": asked.rows, "indexes": []}
    for case in CASES:
        if not asked.only or case.field.name in asked.only:
            found["indexes"].append(measure(case, column_of(case.field.name, asked.rows)))
            show(found["indexes"][-1])
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


def column_of(name: str, rows: int) -> pa.Array:
    rng = np.random.default_rng(7)
    if name == "number":
        return pa.array(rng.integers(0, 100_000, rows))
    if name == "status":
        return pa.array(rng.integers(0, 20, rows, dtype=np.int8))
    if name == "name":
        return pa.array([f"name-{n:06}" for n in rng.integers(0, rows, rows)])
    if name == "title":
        words, numbers = rng.integers(0, len(WORDS), (rows, 3)), rng.integers(0, 1000, rows)
        return pa.array([f"{WORDS[a]} {WORDS[b]} {WORDS[c]} {n}" for (a, b, c), n in zip(words, numbers, strict=True)])
    if name == "tags":
        return pa.array([[f"t{n}" for n in some] for some in rng.integers(0, 1000, (rows, 3))])
    if name == "meta":
        prices = rng.integers(0, 1000, rows)
        return pa.array([b'{"price": %d, "colour": "red", "size": [1, 2]}' % n for n in prices], pa.binary())
    points = rng.uniform(0, 100, (rows, 2))
    return pa.array([f"POINT ({x:.6f} {y:.6f})" for x, y in points])


def measure(case: Case, column: pa.Array) -> dict[str, Any]:
    spec = IndexSpec(index_type=case.kind, kind=case.kind, build=case.build)
    held: list[ScalarIndex] = []
    plain = SegmentColumns(len(column), lambda _: column)
    indexed = SegmentColumns(len(column), lambda _: column, lambda _: tuple(held))
    before = time.process_time()
    parts = build_scalar(spec, case.field, SegmentColumns(len(column), lambda _: column), lambda: True)
    build_s = time.process_time() - before
    assert parts is not None
    data = b"".join(bytes(part) for part in parts)
    held.append(open_scalar(spec, memoryview(data)))
    filters = [measure_filter(text, plain, indexed, held[0]) for text in case.filters]
    return {
        "field": case.field.name,
        "kind": case.kind,
        "build_cpu_s": round(build_s, 2),
        "mb": round(len(data) / 1e6, 2),
        "column_mb": round(column.nbytes / 1e6, 2),
        "filters": filters,
    }


def measure_filter(text: str, plain: SegmentColumns, indexed: SegmentColumns, index: ScalarIndex) -> dict[str, Any]:
    condition = compile_filter(text, SCHEMA)
    # First the index: what it leaves alone reads the texts of its own columns.
    used = index.answers
    first = timed(lambda: condition.evaluate(indexed), 1)
    with_ms = timed(lambda: condition.evaluate(indexed), BEST_OF)
    used = index.answers - used
    first_without = timed(lambda: condition.evaluate(plain), 1)
    without_ms = timed(lambda: condition.evaluate(plain), BEST_OF)
    kept = condition.evaluate(plain)
    assert (kept == condition.evaluate(indexed)).all(), f"an index changed what {text} keeps"
    return {
        "filter": text,
        "rows": int(kept.sum()),
        "used": used > 0,
        "first_ms": round(first, 3),
        "with_ms": round(with_ms, 3),
        "first_without_ms": round(first_without, 3),
        "without_ms": round(without_ms, 3),
    }


def timed(call: Callable[[], object], times: int) -> float:
    """Milliseconds of the fastest call."""
    spent = []
    for _ in range(times):
        before = time.perf_counter()
        call()
        spent.append(time.perf_counter() - before)
    return 1000 * min(spent)


def show(found: dict[str, Any]) -> None:
    print(
        f"{found['kind']} on {found['field']}: built in {found['build_cpu_s']} s of one core, "
        f"{found['mb']} MB over a column of {found['column_mb']} MB"
    )
    for one in found["filters"]:
        times = f"with {one['with_ms']:>8} ms   without {one['without_ms']:>8} ms (first {one['first_without_ms']} ms)"
        print(f"  {one['filter']:<62} {one['rows']:>8,} rows   {times}{'' if one['used'] else '   not used'}")


if __name__ == "__main__":
    main()
