"""Whatever nodes tell each other arrives as it was sent, and other bytes are one clear error."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import types
import typing
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from enum import Enum
from typing import Any, Literal, NamedTuple, get_args, get_origin
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import redkite.model
from redkite import errors
from redkite.cluster import codec
from redkite.cluster.codec import _HITS, LARGEST_KEPT, MOST_KEPT, Codec
from redkite.cluster.frames import join_frame, split_frame
from redkite.cluster.network import Message, NotReached, Unanswered, WrongPeer
from redkite.cluster.shapes import shape_of
from redkite.errors import MilvusException, WireError
from redkite.filter import compile_filter
from redkite.index.lists import VectorLists
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import Keys
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.explain import SegmentReport, Step
from redkite.model.one_row import LooseRow, OneRow, RowLayout
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType, Metric
from redkite.query.plan import (
    After,
    Aggregate,
    AggregatePlan,
    GroupPlan,
    QueryPartial,
    QueryPlan,
    Range,
    SearchPartial,
    SearchPlan,
    SortKey,
    TextCounts,
    TextScoring,
)
from redkite.query.sources import Source
from redkite.segment.expiry import Expiry
from redkite.segment.growing import rows_only

for _module in pkgutil.iter_modules(redkite.model.__path__):
    importlib.import_module(f"redkite.model.{_module.name}")

SCHEMA = CollectionSchema(
    name="films",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),
        FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "4"}, field_id=101),
        FieldSchema(name="year", data_type=DataType.INT64, field_id=102),
        FieldSchema(name="title", data_type=DataType.VARCHAR, params={"max_length": "64"}, field_id=103),
    ),
)
quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def sent(value: Any) -> Any:
    return Codec().decode(Codec().encode(value))


def same(a: Any, b: Any) -> bool:
    """Equal, arrays and batches and what holds them included; of the same types."""
    if type(a) is not type(b) and not (isinstance(a, pa.Array) and isinstance(b, pa.Array)):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, pa.RecordBatch | pa.Array):
        return bool(a.equals(b)) and str(a) == str(b)
    if isinstance(a, MilvusException):
        return (a.code, a.message) == (b.code, b.message)
    if isinstance(a, OneRow):
        return same((a.key, a.values, a.layout.schema), (b.key, b.values, b.layout.schema))
    if isinstance(a, msgspec.Struct):
        return all(same(getattr(a, name), getattr(b, name)) for name in a.__struct_fields__)
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(a))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return bool(a == b)


# -- anything of a type -------------------------------------------------------------------------
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
FLOATS = st.floats(allow_nan=True, width=64)
ARRAYS = st.lists(st.floats(width=32, allow_nan=False), max_size=6).map(lambda v: np.array(v, np.float32))
COLUMNS = st.one_of(
    st.lists(st.integers(-100, 100) | st.none(), max_size=4).map(lambda v: pa.array(v, pa.int64())),
    st.lists(TEXTS | st.none(), max_size=4).map(lambda v: pa.array(v, pa.string())),
)
BATCHES = st.lists(TEXTS, max_size=4).map(
    lambda v: pa.record_batch({"n": pa.array(range(len(v)), pa.int64()), "t": pa.array(v, pa.string())})
)
SPARSE = st.lists(st.lists(st.integers(0, 50), unique=True, max_size=3), max_size=3).map(
    lambda rows: SparseRows(
        np.cumsum([0, *map(len, rows)]),
        np.array([d for row in rows for d in sorted(row)], np.uint32),
        np.arange(sum(map(len, rows)), dtype=np.float32),
    )
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | FLOATS | TEXTS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
_LAYOUT = RowLayout.of(msgspec.structs.replace(SCHEMA, fields=tuple(f for f in SCHEMA.fields if f.name != "vector")), 7)
assert _LAYOUT is not None
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    type(None): st.none(), bool: st.booleans(), int: NUMBERS, float: FLOATS, str: TEXTS, bytes: st.binary(max_size=8),
    Any: ANYTHING, np.ndarray: ARRAYS, pa.Array: COLUMNS, pa.ListArray: st.just(pa.array([[1], [2, 3]])),
    pa.RecordBatch: BATCHES, SparseRows: SPARSE, OneRow: st.just(_LAYOUT.row({"id": 1, "year": 2, "title": "x"})),
    LooseRow: st.nothing(),  # arrives as a batch
    MilvusException: st.sampled_from([errors.CollectionNotFound.named("d", "c"), errors.InvalidParameter("no")]),
}  # fmt: skip


def anything_of(hint: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a type as structs are annotated with them."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if origin is np.ndarray:
        return ARRAYS
    if origin is Literal:
        return st.sampled_from(args)
    if origin is typing.Union or origin is types.UnionType:
        return st.one_of([anything_of(arg, depth) for arg in args])
    if origin is tuple and args[-1:] == (Ellipsis,):
        return some_of(args[0], depth).map(tuple)
    if origin is tuple:
        return st.tuples(*(anything_of(arg, depth) for arg in args))
    if origin is dict:
        return st.dictionaries(anything_of(args[0], depth), anything_of(args[1], depth), max_size=2)
    if origin in (list, frozenset, set):
        return some_of(args[0], depth).map(origin)
    if origin is not None:  # a Sequence
        return some_of(args[0], depth).map(tuple)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    assert isinstance(hint, type) and issubclass(hint, msgspec.Struct), hint
    if depth > 3:
        return st.nothing()
    return struct_of(hint, depth + 1)


def some_of(hint: Any, depth: int) -> st.SearchStrategy[list[Any]]:
    item = anything_of(hint, depth)
    return st.just([]) if item.is_empty else st.lists(item, max_size=2)


@st.composite
def struct_of(draw: st.DrawFn, cls: type[msgspec.Struct], depth: int = 0) -> Any:
    given_values = {}
    for field in msgspec.structs.fields(cls):
        made = anything_of(field.type, depth)
        if not made.is_empty and (field.required or draw(st.booleans())):
            given_values[field.name] = draw(made)
    return cls(**given_values)


def everything_below(cls: type) -> Iterator[type]:
    for sub in cls.__subclasses__():
        if sub.__module__.startswith("redkite."):
            yield sub
        yield from everything_below(sub)


KINDS = sorted(
    {*everything_below(rq.Request), *everything_below(rs.Result)} - {RegisterEmbedding}, key=lambda cls: cls.__name__
)
"""An embedding is registered with the process that has its functions, and goes nowhere."""


@pytest.mark.parametrize("cls", KINDS, ids=lambda cls: cls.__name__)
def test_every_request_and_result_arrives_as_it_was_sent(cls: type[msgspec.Struct]) -> None:
    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(struct_of(cls))
    def check(value: Any) -> None:
        assert same(sent(value), value)

    check()


@quick
@given(ANYTHING)
def test_plain_values_of_any_depth_arrive(value: Any) -> None:
    assert same(sent(value), value)


# -- plans and answers --------------------------------------------------------------------------
FILTERS = st.sampled_from([
    None,
    compile_filter("year > 1990", SCHEMA),
    compile_filter("year in {years} and title like 'a%'", SCHEMA, {"years": [1, 2], "unused": object()}),
    compile_filter("random_sample(0.5)", SCHEMA),
    compile_filter("year < 3", SCHEMA, zone=ZoneInfo("Europe/Berlin")),
])  # fmt: skip
SOURCES = st.sampled_from([
    Source("year", "year", DataType.INT64),
    Source("meta['a'][0]", "meta", DataType.JSON, ("a", 0), True),
])  # fmt: skip
PARTITIONS = st.none() | st.frozensets(st.integers(1, 9), max_size=3)
EXPIRIES = st.none() | st.builds(Expiry, oldest=st.integers(0, 1 << 62), field=TEXTS)
SEARCH_PLANS = st.builds(
    SearchPlan, collection_id=st.integers(1, 1 << 60), schema=st.just(SCHEMA), field=st.just("vector"),
    metric=st.sampled_from(Metric), params=st.dictionaries(TEXTS, NUMBERS | FLOATS | TEXTS | st.booleans(), max_size=2),
    exact=st.booleans(), filter=FILTERS, partitions=PARTITIONS, limit=st.integers(1, 100),
    columns=st.lists(TEXTS, max_size=2).map(tuple), expiry=EXPIRIES,
    after=st.none() | st.builds(After, st.none() | FLOATS, st.none() | NUMBERS | TEXTS),
    within=st.none() | st.builds(Range, FLOATS, st.none() | FLOATS),
    explain=st.sampled_from(["", "plan", "analyze"]),
    grouping=st.none() | st.builds(
        GroupPlan, st.lists(SOURCES, max_size=2).map(tuple), st.integers(1, 9), st.booleans(), st.none() | BATCHES
    ),
    scoring=st.none() | st.builds(TextScoring, FLOATS, FLOATS, PARTITIONS, FLOATS, st.integers(-1, 9)),
)  # fmt: skip
QUERY_PLANS = st.builds(
    QueryPlan, collection_id=st.integers(1, 1 << 60), schema=st.just(SCHEMA), filter=FILTERS, partitions=PARTITIONS,
    limit=st.none() | st.integers(0, 100), columns=st.lists(TEXTS, max_size=2).map(tuple), count=st.booleans(),
    order=st.lists(st.builds(SortKey, SOURCES, st.booleans(), st.booleans()), max_size=2).map(tuple), expiry=EXPIRIES,
    aggregates=st.none() | st.builds(
        AggregatePlan, st.just(("year",)), st.just((Aggregate("Avg(year)", "avg", "year"),)), st.integers(1, 9)
    ),
)  # fmt: skip
REPORTS = st.lists(
    st.builds(SegmentReport, segment_id=NUMBERS, partition_id=NUMBERS, state=TEXTS, rows=NUMBERS, allowed=NUMBERS,
              steps=st.lists(st.builds(Step, TEXTS, NUMBERS), max_size=2).map(tuple)), max_size=2
).map(tuple)  # fmt: skip
PARTIALS = st.one_of(
    st.builds(SearchPartial, ARRAYS, COLUMNS, ARRAYS, BATCHES, st.none() | BATCHES, REPORTS),
    st.builds(QueryPartial, NUMBERS, st.none() | COLUMNS, st.none() | BATCHES, REPORTS),
    st.builds(TextCounts, NUMBERS, FLOATS, ARRAYS),
)


@quick
@given(SEARCH_PLANS | QUERY_PLANS)
def test_a_plan_arrives_as_it_was_sent(plan: SearchPlan | QueryPlan) -> None:
    found = sent(plan)
    assert same(msgspec.structs.replace(found, filter=None), msgspec.structs.replace(plan, filter=None))
    assert (found.filter is None) == (plan.filter is None)
    if plan.filter is not None and found.filter is not None:
        assert (found.filter.key, found.filter.text) == (plan.filter.key, plan.filter.text)
        assert found.filter.fields == plan.filter.fields


@quick
@given(st.lists(PARTIALS, max_size=3))
def test_what_nodes_found_arrives_as_it_was_sent(partials: list[Any]) -> None:
    assert same(sent((5, partials)), (5, partials))


def plan_of(**changes: Any) -> SearchPlan:
    values: dict[str, Any] = {
        "collection_id": 1, "schema": SCHEMA, "field": "vector", "metric": Metric.L2, "params": {"ef": 10},
        "exact": False, "filter": compile_filter("year > 1990", SCHEMA), "partitions": None, "limit": 10,
        "columns": ("id",),
    }  # fmt: skip
    return SearchPlan(**{**values, **changes})


def test_equal_plans_of_one_sender_are_one_object_at_the_receiver() -> None:
    sender, receiver = Codec(), Codec()
    plan = plan_of()
    first = receiver.decode(sender.encode((plan, 1)))[0]
    assert receiver.decode(sender.encode([plan]))[0] is first
    assert receiver.decode(Codec().encode([plan_of(filter=plan.filter)]))[0] is first
    other = receiver.decode(sender.encode(plan_of(limit=11)))
    assert other is not first
    assert other.schema is first.schema
    assert other.filter is first.filter


def test_what_is_remembered_is_bounded() -> None:
    sender, receiver = Codec(), Codec()
    for limit in range(MOST_KEPT + 50):
        receiver.decode(sender.encode(plan_of(limit=limit)))
    assert len(sender._sent) <= MOST_KEPT and len(receiver._received) <= MOST_KEPT
    years = [*range(10_000, 10_000 + LARGEST_KEPT)]
    large = plan_of(filter=compile_filter("year in {years}", SCHEMA, {"years": years}))
    found = receiver.decode(sender.encode(large))
    assert found.filter.key == large.filter.key
    assert max(map(len, receiver._received)) <= LARGEST_KEPT


def test_a_filter_finds_the_same_rows_where_it_arrives() -> None:
    from redkite.filter import ArrowColumns

    condition = compile_filter("year > {least} and title == 'b'", SCHEMA, {"least": 1})
    rows = pa.record_batch({"year": [1, 2, 3], "title": ["b", "b", "a"]})
    found = sent(condition).evaluate(ArrowColumns(rows, SCHEMA))
    assert found.tolist() == condition.evaluate(ArrowColumns(rows, SCHEMA)).tolist() == [False, True, False]


# -- arrays and buffers -------------------------------------------------------------------------
@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2], np.array(5.0),
        np.array([True, False]), np.arange(4, dtype=">i4"), np.arange(3, dtype=np.float16), np.zeros((2, 0), np.uint8),
    ],
    ids=["no rows", "strided", "no dimension", "flags", "big endian", "halves", "no columns"],
)  # fmt: skip
def test_arrays_of_every_form_arrive(array: np.ndarray) -> None:
    found = sent(array)
    assert found.dtype == array.dtype and found.shape == array.shape and found.tobytes() == array.tobytes()


def test_a_row_that_nobody_has_compared_with_a_schema_arrives_as_its_batch() -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1]})
    row = LooseRow({"id": DataType.INT64}, {"id": 1}, 8, lambda: batch)
    assert sent(row).equals(batch)


def test_queries_of_every_kind_arrive() -> None:
    lists = VectorLists(np.array([0, 2, 3]), np.arange(12, dtype=np.float32).reshape(3, 4))
    assert same(sent(lists), lists)
    rows = SparseRows.from_arrow(SparseRows(np.array([0, 1, 3]), np.array([5, 1, 9], np.uint32),
                                            np.array([1, 2, 3], np.float32)).to_arrow())  # fmt: skip
    some = sent(rows[1:2])
    assert some.tobytes() == rows[1:2].tobytes() and some.starts[0] == 0
    binary = np.packbits(np.eye(8, dtype=np.uint8), axis=1)
    assert same(sent(binary), binary)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2], None, []]), pa.array(["a", "b", "a"]).dictionary_encode(), pa.array([{"a": 1}, None]),
        pa.array([b"x", None]), pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), pa.array([1, None, 3]).slice(1),
        pa.array(["abc", "def"]).slice(1), pa.array([], pa.string()), pa.nulls(3), pa.array([True, None]).slice(1),
    ],
    ids=lambda column: f"{column.type}-{len(column)}",
)  # fmt: skip
def test_columns_of_every_type_arrive(column: pa.Array) -> None:
    assert sent(column).equals(column)
    batch = pa.record_batch([column], ["c"])
    assert sent(batch).equals(batch)


def test_rows_without_columns_keep_their_number() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.StructArray.from_buffers(pa.struct([]), 7, [None]))
    assert sent(batch).num_rows == 7


def test_metadata_of_fields_arrives() -> None:
    batch = pa.record_batch([pa.array([1])], pa.schema([pa.field("a", pa.int64(), metadata={"kind": "x"})]))
    assert sent(batch).schema.field("a").metadata == {b"kind": b"x"}


def test_buffers_are_not_copied_when_they_arrive() -> None:
    frame = Codec().encode((np.arange(100_000), memoryview(b"y" * 1000)))
    array, buffer = Codec().decode(frame)
    address = np.frombuffer(frame, np.uint8).ctypes.data
    assert address <= array.ctypes.data < address + len(frame)
    assert not array.flags.writeable
    assert bytes(buffer) == b"y" * 1000


# -- errors -------------------------------------------------------------------------------------
def every_error() -> list[type[MilvusException]]:
    found, waiting = [], [MilvusException]
    while waiting:
        cls = waiting.pop()
        waiting += [sub for sub in cls.__subclasses__() if sub.__module__.startswith("redkite.")]
        found.append(cls)
    return sorted(set(found), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_every_error_arrives_with_its_class_code_and_message(cls: type[MilvusException]) -> None:
    error = errors.rebuilt(cls, "it did not work", 4711)
    found = sent(error)
    assert type(found) is cls
    assert (found.code, found.message, str(found)) == (4711, "it did not work", str(error))


def test_what_an_error_tells_beside_its_message_arrives() -> None:
    found = sent(errors.PartlyWritten("a disk failed", 1008, (1, 2), (3,)))
    assert (found.written, found.failed) == ((1, 2), (3,))


def test_errors_of_the_network_are_unavailable() -> None:
    for cls in (NotReached, Unanswered):
        assert isinstance(sent(cls("gone")), errors.Unavailable)


# -- what cannot be sent ------------------------------------------------------------------------
class Odd(Message, frozen=True):
    value: Any


class Local(NamedTuple):
    a: Any
    b: int = 3


def test_mappings_of_other_kinds_arrive_as_dictionaries() -> None:
    assert sent([defaultdict(list, {"a": [1]}), types.MappingProxyType({(1, 2): "x"})]) == [{"a": [1]}, {(1, 2): "x"}]


def test_named_tuples_zones_classes_and_enumerations_arrive() -> None:
    for value in (Local({1, 2}), DataType.JSON, UTC, ZoneInfo("Asia/Tokyo"), timezone(timedelta(hours=2)), Odd):
        assert sent(Odd(value=value)).value == value


@pytest.mark.parametrize("value", [object(), lambda: 0, np.array([object()]), pa.table({"a": [1]})])
def test_what_has_no_bytes_is_refused_where_it_is_sent(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be sent from node to node"):
        Codec().encode(Odd(value=value))


@pytest.mark.parametrize("value", [1 << 70, "\ud800"])
def test_numbers_and_texts_that_cannot_be_encoded_are_a_clear_error(value: Any) -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        Codec().encode(Odd(value=value))


# -- hostile bytes ------------------------------------------------------------------------------
GOOD = Codec().encode((plan_of(), np.arange(5), pa.record_batch({"a": ["x", "y"]}), errors.NotFound("x"), Odd(value=1)))


def decoded_or_refused(data: bytes) -> None:
    try:
        Codec().decode(data)
    except (WireError, WrongPeer) as error:
        assert len(error.message) < 500
    except MilvusException as error:  # a filter or value that was changed into one that is refused
        assert error.is_input_error


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_one_clear_error(data: bytes) -> None:
    with pytest.raises(WireError):
        Codec().decode(data)
    decoded_or_refused(join_frame(data, []))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_refused_or_mean_something_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, byte in changes:
        data[at] = byte
    decoded_or_refused(bytes(data))


@pytest.mark.parametrize("length", [*range(40), len(GOOD) // 2, len(GOOD) - 1])
def test_a_message_that_was_cut_short_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        Codec().decode(GOOD[:length])


def test_a_message_with_something_behind_it_is_refused() -> None:
    with pytest.raises(WireError, match="too many"):
        Codec().decode(GOOD + b"x")


def test_what_is_kept_takes_so_many_bytes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters that name many keys come each once, and are long."""
    monkeypatch.setattr(codec, "KEPT_BYTES", 50_000)
    one, other = Codec(), Codec()
    for at in range(40):
        found = compile_filter(f"title in {[f'{at}-{n}' for n in range(300)]}", SCHEMA)
        other.decode(one.encode(found))
        assert sum(len(frame) for _, frame in one._sent.values()) <= 50_000
        assert sum(map(len, other._received)) <= 50_000


def test_another_version_of_the_protocol_says_so() -> None:
    with pytest.raises(WrongPeer, match="version 200 of the protocol between nodes, this one 5"):
        Codec().decode(GOOD[:3] + bytes([200]) + GOOD[4:])


@pytest.mark.parametrize(
    "name",
    [
        b"os:system",
        b"redkite.__main__:main",
        b"redkite.nowhere:X",
        b"redkite.errors:NotFound",
        b"redkite.cluster.codec:msgspec.Struct",
        b"redkite.cluster.codec:SearchPlan",
    ],
)
def test_only_what_is_sent_is_made(name: bytes) -> None:
    ext = msgspec.msgpack.Ext(1, bytes([len(name)]) + name + b"\x90")
    with pytest.raises(WireError):
        Codec().decode(join_frame(msgspec.msgpack.encode(ext), []))


def test_deep_values_are_refused_and_not_a_crash() -> None:
    with pytest.raises(WireError):
        Codec().decode(join_frame(b"\x91" * 100_000 + b"\x01", []))


def test_frames_are_taken_apart_as_they_were_joined() -> None:
    body, buffers = split_frame(join_frame(b"body", [b"", b"one", memoryview(b"x" * 100)]))
    assert bytes(body) == b"body"
    assert [bytes(b) for b in buffers] == [b"", b"one", b"x" * 100]


# -- what msgpack is trusted with ---------------------------------------------------------------
def test_no_struct_that_goes_as_it_is_stands_for_others() -> None:
    """A field whose type is a struct comes back as that very struct: one with subclasses would lose them."""

    def structs_in(hint: Any, seen: set[type]) -> None:
        for arg in get_args(hint):
            structs_in(arg, seen)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint not in seen:
            seen.add(hint)
            for field in msgspec.structs.fields(hint):
                structs_in(field.type, seen)

    native: set[type] = set()
    for cls in (*KINDS, SearchPlan, QueryPlan, SearchPartial, QueryPartial, TextCounts):
        shape = shape_of(cls)
        for field, boxed in zip(msgspec.structs.fields(cls), shape.boxed, strict=True):
            if not boxed:
                structs_in(field.type, native)
    assert [cls.__name__ for cls in native if cls.__subclasses__()] == []


# -- hits ---------------------------------------------------------------------------------------------
def _hits(keys: Keys, counts: list[int], rows: pa.RecordBatch | None = None) -> SearchPartial:
    scores = np.linspace(0, 1, len(keys), dtype=np.float32)
    return SearchPartial(np.array(counts, np.int64), keys, scores, rows_only(len(keys)) if rows is None else rows)


@pytest.mark.parametrize(
    "hits",
    [
        _hits(pa.array([5, 3, -1]), [2, 1]),
        _hits(pa.array(range(10)).slice(4, 3), [3]),
        _hits(pa.array([], pa.int64()), [0, 0]),
        _hits(pa.array(range(3000)), [3000]),
        _hits(pa.array(["a", "b"]), [2]),
        _hits(pa.array([1, 2]), [2], pa.record_batch({"x": ["a", None]})),
        _hits(np.array([5, 3, -1]), [2, 1]),
        _hits(np.arange(3000), [3000]),
        _hits(np.array([1, 2]), [2], pa.record_batch({"x": ["a", None]})),
    ],
    ids=[
        "plain",
        "a part of an array",
        "none",
        "many",
        "texts",
        "with fields",
        "bare numbers",
        "many bare numbers",
        "bare numbers with fields",
    ],
)
def test_hits_come_as_they_were_sent(hits: SearchPartial) -> None:
    found = Codec().decode(Codec().encode(hits))
    assert (found.topks.tolist(), found.ids, found.rows) == (hits.topks.tolist(), hits.ids, hits.rows)
    assert found.scores.dtype == np.float32 and found.scores.tolist() == hits.scores.tolist()
    assert found.groups is None and found.reports == ()
    found.ids.validate(full=True)
    assert found.topks.flags.aligned and found.scores.flags.aligned


def test_hits_that_were_cut_short_are_no_hits() -> None:
    data = Codec().encode(_hits(pa.array([5, 3]), [2]))
    whole = bytes(split_frame(data)[0])
    at = whole.index((1).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    for wrong in (b"\x09\0\0\0\x02\0\0\0", b"\xff" * 8, b"\x01\0\0\0\x01\0\0\0"):
        with pytest.raises(WireError):
            Codec().decode(join_frame(whole[:at] + wrong + whole[at + 8 :], []))
    for few in (b"", b"\x01\0\0"):
        with pytest.raises(WireError):
            Codec().decode(join_frame(msgspec.msgpack.encode(msgspec.msgpack.Ext(_HITS, few)), []))
