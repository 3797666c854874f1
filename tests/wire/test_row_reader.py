"""A single row is read as the column of one row that it is, or is left to those who read columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.test_one_row import ENGINES, FIELDS, GOOD, META, rows

from redkite.client.rows import RowPlan
from redkite.errors import InvalidParameter, MilvusException
from redkite.model import requests
from redkite.model.one_row import LooseRow
from redkite.model.results import CollectionInfo
from redkite.model.schema import META_FIELD, CollectionSchema
from redkite.model.types import FieldOp
from redkite.proxy.rules.row_rules import RowRules
from redkite.wire import blocks
from redkite.wire.messages import message_class, service
from redkite.wire.methods import decode_request, encode_request

INSERT = message_class(service.methods_by_name["Insert"].input_type)
UPSERT = message_class(service.methods_by_name["Upsert"].input_type)
ENGINE = ENGINES["dynamic"]
USERS = CollectionSchema(name="c", fields=FIELDS, enable_dynamic_field=True, version=3)
PLAN = RowPlan.of(
    CollectionInfo(
        schema=USERS, collection_id=7, database="default", shards=1, partitions=1, aliases=(), consistency_level=0,
        created_timestamp=1, update_timestamp=1, properties={}, virtual_channels=(), physical_channels=(),
    )
)  # fmt: skip
RULES = RowRules(ENGINE)
extras = st.dictionaries(
    st.text("xyzß", min_size=1, max_size=3), st.integers(0, 9) | st.text("aß", max_size=2), max_size=2
)


def sent(data: list[dict[str, Any]], change: Callable[[Any], None] | None = None) -> Any:
    """The rows of a request as they arrive."""
    _, raw = encode_request(requests.Insert(database="d", collection="c", rows=PLAN.batch(data)))
    message = INSERT.FromString(raw)
    if change is not None:
        change({field.field_name: field for field in message.fields_data} | {"": message})
    request: Any = decode_request("Insert", message.SerializeToString(), {})
    return request.rows


@pytest.mark.parametrize("least", [1, 1 << 14], ids=["vectors cut out", "vectors parsed"])
@settings(max_examples=40)
@given(data=rows, more=extras)
def test_a_row_on_its_own_is_what_the_rules_make_of_its_columns(
    least: int, data: dict[str, Any], more: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "LEAST_BYTES", least)
        found = sent([{**data, **more}], lambda fields: fields["text"].ClearField("valid_data"))
    assert isinstance(found, LooseRow)
    layout = RULES.layout(7)
    assert layout is not None
    assert layout.fits(ENGINE, 7)
    one = layout.loose(found)
    assert one is not None
    assert one.key == data["id"]
    expected = RULES.check(found.batch(), upsert=False)
    assert one.batch().equals(expected)
    assert orjson.loads(expected.column(META_FIELD)[0].as_py()) == more


@settings(max_examples=30)
@given(data=rows, more=extras)
def test_a_client_in_this_process_makes_the_same_row(data: dict[str, Any], more: dict[str, Any]) -> None:
    assert PLAN.layout is not None
    one = PLAN.layout.row({**data, **more})
    assert one is not None
    assert RULES.check(one.batch(), upsert=False).equals(RULES.check(PLAN.batch({**data, **more}), upsert=False))


def test_what_a_client_in_this_process_cannot_say_of_a_row_is_left_to_batches() -> None:
    assert PLAN.layout is not None
    for more in ({"other": {1, 2}}, {META_FIELD: {"x": 1}}, {"other": "x" * 65_536}, {5: 1}):
        assert PLAN.layout.row({**GOOD, **more}) is None


@pytest.mark.parametrize(
    ("more", "alone"),
    [
        ({}, True), ({"partial": True}, False), ({"condition": requests.Condition(where="tiny > 0")}, False),
        ({"field_ops": {"tags": FieldOp.ARRAY_APPEND}}, False),
    ],
)  # fmt: skip
def test_an_upsert_that_depends_on_what_is_there_has_columns(more: dict[str, Any], alone: bool) -> None:
    batch = PLAN.batch([{key: value for key, value in GOOD.items() if key != "text"} | {"text": "x"}], upsert=True)
    _, raw = encode_request(requests.Upsert(database="d", collection="c", rows=batch, **more))
    message = UPSERT.FromString(raw)
    for field in message.fields_data:
        field.ClearField("valid_data")
    request: Any = decode_request("Upsert", message.SerializeToString(), {})
    assert isinstance(request.rows, LooseRow) is alone


def test_several_rows_are_columns() -> None:
    assert not isinstance(sent([GOOD, {**GOOD, "id": 6}]), LooseRow)


def emptied(fields: dict[str, Any]) -> None:
    fields["near"].scalars.float_data.ClearField("data")


def doubled(fields: dict[str, Any]) -> None:
    fields[""].fields_data.append(fields["tiny"])


def elsewhere(fields: dict[str, Any]) -> None:
    fields["tiny"].scalars.long_data.data.append(1)


def of_another_dim(fields: dict[str, Any]) -> None:
    fields["vector"].vectors.dim = 1


def unknown(fields: dict[str, Any]) -> None:
    fields["tiny"].type = 77


@pytest.mark.parametrize("change", [emptied, doubled, elsewhere, of_another_dim, unknown])
def test_what_contradicts_itself_is_refused_as_columns_are(change: Callable[[Any], None]) -> None:
    with pytest.raises(MilvusException):
        sent([GOOD], lambda fields: (fields["text"].ClearField("valid_data"), change(fields)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("out of range", lambda fields: fields["tiny"].scalars.int_data.data.__setitem__(0, 999)),
        ("not a number", lambda fields: fields["near"].scalars.float_data.data.__setitem__(0, np.nan)),
        ("exceeds max length", lambda fields: fields["text"].scalars.string_data.data.__setitem__(0, "x" * 13)),
        ("only json map", lambda fields: fields[META_FIELD].scalars.json_data.data.__setitem__(0, b"[1]")),
        ("not valid JSON", lambda fields: fields[META_FIELD].scalars.json_data.data.__setitem__(0, b"{")),
        ("static field", lambda fields: fields[META_FIELD].scalars.json_data.data.__setitem__(0, b'{"far": 1}')),
        ("not exist", lambda fields: setattr(fields["far"], "field_name", "farther")),
    ],
)
def test_a_value_that_may_not_be_kept_is_told_as_in_a_batch(name: str, change: Callable[[Any], None]) -> None:
    found = sent([{**GOOD, "other": 1}], lambda fields: (fields["text"].ClearField("valid_data"), change(fields)))
    layout = RULES.layout(7)
    assert isinstance(found, LooseRow)
    assert layout is not None
    assert layout.loose(found) is None
    with pytest.raises(InvalidParameter, match=name):
        RULES.check(found.batch(), upsert=False)


def test_a_column_of_another_type_is_made_to_fit_by_the_rules() -> None:
    def as_int64(fields: dict[str, Any]) -> None:
        fields["text"].ClearField("valid_data")
        fields["tiny"].type = 4

    found = sent([GOOD], as_int64)
    assert isinstance(found, LooseRow)
    layout = RULES.layout(7)
    assert layout is not None
    assert layout.loose(found) is None


def test_the_meta_field_is_the_last_of_the_engine() -> None:
    assert ENGINE.fields[-1] is META
