"""How long does a filter take to become a bitmap of a sealed segment, and what would pyarrow.compute take?

    python benchmarks/filters.py                      # a million rows
    python benchmarks/filters.py --rows 100000        # a small one

One segment is written and opened as a query node opens it. `first` is the first filter over a field or path after
opening (what is derived and kept is made there), `again` the median of later ones with nothing kept but what is
derived, `kept` a filter whose parts are in the node's cache, beside another's deletes. `pyarrow` is the same over the
same columns with pyarrow.compute, ending in the same array of bytes; JSON it cannot read: there it has the values as
columns already. All are milliseconds of CPU on one core, which do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter import Columns, compile_filter
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.query.masks import SegmentMasks
from redkite.realenv import real_env
from redkite.segment.deletes import Deletes
from redkite.segment.files import Place, write_rows
from redkite.segment.kept import Kept
from redkite.segment.sealed import SealedSegment
from redkite.storage.objects import FolderObjects

FIELDS = (
    FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),
    FieldSchema(name="age", data_type=DataType.INT32, field_id=101),
    FieldSchema(name="score", data_type=DataType.DOUBLE, field_id=102),
    FieldSchema(name="city", data_type=DataType.VARCHAR, field_id=103, params={"max_length": "40"}),
    FieldSchema(name="tags", data_type=DataType.ARRAY, element_type=DataType.INT64, field_id=104,
                params={"max_capacity": "8"}),
    FieldSchema(name="place", data_type=DataType.GEOMETRY, field_id=105),
    FieldSchema(name="doc", data_type=DataType.JSON, field_id=106),
)  # fmt: skip
SCHEMA = CollectionSchema(name="bench", fields=FIELDS)
SQUARE = "POLYGON((-20 -20, 60 -25, 70 50, -15 45, -20 -20))"


class Case(NamedTuple):
    name: str
    text: str
    params: dict[str, Any]
    arrow: Callable[[dict[str, pa.Array]], pa.Array] | None


def make_rows(rows: int) -> tuple[pa.RecordBatch, dict[str, pa.Array]]:
    """The rows, and what lies at the paths of `doc`."""
    random = np.random.default_rng(7)
    age = random.integers(0, 100, rows).astype(np.int32)
    score = random.random(rows)
    city = pa.array([f"city-{n}" for n in random.integers(0, 5_000, rows)])
    lengths = random.integers(0, 6, rows)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    tags = pa.ListArray.from_arrays(pa.array(offsets), pa.array(random.integers(0, 1_000, int(offsets[-1]))))
    x, y = random.uniform(-180, 180, rows), random.uniform(-90, 90, rows)
    place = pa.array([f"POINT ({a:.6f} {b:.6f})" for a, b in zip(x.tolist(), y.tolist(), strict=True)])
    paths = {
        "price": pa.array(random.integers(0, 1_000, rows)),
        "color": pa.array([("red", "green", "blue", "black")[n] for n in random.integers(0, 4, rows)]),
        "weight": pa.array(random.random(rows)),
    }
    values = zip(*(column.to_pylist() for column in paths.values()), strict=True)
    doc = [orjson.dumps({"price": p, "color": c, "size": {"weight": w}, "labels": ["a", c]}) for p, c, w in values]
    columns = {
        "id": pa.array(np.arange(rows)), "age": pa.array(age), "score": pa.array(score), "city": city, "tags": tags,
        "place": place, "doc": pa.array(doc, pa.binary()),
    }  # fmt: skip
    return pa.record_batch(columns), columns | paths


def cases(rows: int) -> list[Case]:
    random = np.random.default_rng(8)
    spread = [int(v) for v in random.integers(0, rows, 1_000)]
    cities = [f"city-{n}" for n in range(0, 5_000, 50)]
    return [
        Case("one comparison", "age < 30", {}, lambda c: pc.less(c["age"], 30)),
        Case("two comparisons", "age < 30 and score > 0.5", {},
             lambda c: pc.and_(pc.less(c["age"], 30), pc.greater(c["score"], 0.5))),
        Case("range and not", "10 <= age < 90 and not (score < 0.1)", {},
             lambda c: pc.and_(pc.and_(pc.greater_equal(c["age"], 10), pc.less(c["age"], 90)),
                               pc.invert(pc.less(c["score"], 0.1)))),
        Case("arithmetic", "age % 7 == 3", {}, None),
        Case("in, 1,000 integers", "id in {ids}", {"ids": spread}, lambda c: pc.is_in(c["id"], pa.array(spread))),
        Case("in, 100 strings", "city in {names}", {"names": cities}, lambda c: pc.is_in(c["city"], pa.array(cities))),
        Case("string equality", "city == 'city-77'", {}, lambda c: pc.equal(c["city"], "city-77")),
        Case("like, prefix", "city like 'city-4%'", {}, lambda c: pc.starts_with(c["city"], "city-4")),
        Case("like, inner", "city like '%-42%'", {}, lambda c: pc.match_substring(c["city"], "-42")),
        Case("like, pattern", "city like 'c_ty%9'", {}, lambda c: pc.match_like(c["city"], "c_ty%9")),
        Case("regular expression", r"city =~ r'-4\d$'", {}, lambda c: pc.match_substring_regex(c["city"], r"-4\d$")),
        Case("array contains", "array_contains(tags, 77)", {}, None),
        Case("array element", "tags[0] > 500", {}, lambda c: pc.greater(_element(c["tags"]), 500)),
        Case("JSON integer", "doc['price'] < 300", {}, lambda c: pc.less(c["price"], 300)),
        Case("JSON two paths", "doc['price'] < 300 and doc['color'] == 'red'", {},
             lambda c: pc.and_(pc.less(c["price"], 300), pc.equal(c["color"], "red"))),
        Case("JSON nested path", "doc['size']['weight'] >= 0.9", {}, lambda c: pc.greater_equal(c["weight"], 0.9)),
        Case("JSON array contains", "json_contains(doc['labels'], 'red')", {}, None),
        Case("st_within", f"st_within(place, '{SQUARE}')", {}, None),
        Case("st_dwithin", "st_dwithin(place, 'POINT(2.35 48.86)', 500000)", {}, None),
    ]  # fmt: skip


def _element(tags: pa.Array) -> pa.Array:
    places = np.asarray(tags.offsets)[:-1]
    has = np.diff(np.asarray(tags.offsets)) > 0
    return tags.values.take(pa.array(np.where(has, places, 0), mask=~has))


def median_ms(call: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        started = time.thread_time()
        call()
        spent.append(time.thread_time() - started)
    return round(1_000 * statistics.median(spent), 3)


def measure(rows: int, times: int, folder: str) -> dict[str, Any]:
    batch, columns = make_rows(rows)
    store = FolderObjects(real_env().files, folder)
    started = time.thread_time()
    meta = write_rows(store, Place(1, 1, "c", 1), SCHEMA, batch, np.arange(1, rows + 1, dtype=np.uint64))
    report: dict[str, Any] = {"rows": rows, "seal_s": round(time.thread_time() - started, 3), "bytes": meta.size}
    report["filters"] = found = {}
    gc.collect()
    for case in cases(rows):
        segment = SealedSegment(store, meta, SCHEMA, Deletes())
        found[case.name] = measure_case(case, segment.columns(rows), columns, times)
    return report


def measure_case(case: Case, read: Columns, columns: dict[str, pa.Array], times: int) -> dict[str, Any]:
    condition = compile_filter(case.text, SCHEMA, case.params)
    masks = SegmentMasks(Kept(1 << 26), 1, 1, read.rows)
    first = median_ms(lambda: condition.evaluate(read), 1)
    again = median_ms(lambda: condition.evaluate(read), times)
    mask = condition.evaluate(read, masks)
    kept = median_ms(lambda: condition.evaluate(read, masks), times)
    line = {"first_ms": first, "again_ms": again, "kept_ms": kept, "rows": int(mask.sum())}
    arrow = case.arrow
    if arrow is None:
        return line

    def by_arrow() -> Any:
        return pc.fill_null(arrow(columns), False).to_numpy(zero_copy_only=False)

    assert np.array_equal(by_arrow(), mask), case.name
    return line | {"pyarrow_ms": median_ms(by_arrow, times)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the figures as JSON, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.rows, options.times, folder)
    print(f"{report['rows']:,} rows, {report['bytes'] / 1e6:.0f} MB, written in {report['seal_s']} s of CPU")
    print(f"{'':22}{'first':>10}{'again':>10}{'kept':>10}{'pyarrow':>10}{'rows':>10}   (CPU ms)")
    for name, line in report["filters"].items():
        arrow = line.get("pyarrow_ms", "")
        shown = f"{line['first_ms']:>10}{line['again_ms']:>10}{line['kept_ms']:>10}{arrow:>10}{line['rows']:>10}"
        print(f"{name:22}{shown}")
    if options.out:
        options.out.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
