"""Times and expiry, the same through every SDK."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.acceptance.test_collections import flat_index
from tests.patience import until

WRITTEN = ["2025-01-01T00:00:00Z", "2025-01-01 00:00:00", "2025-07-01 12:30:15.25+02:00", None]
IN_SHANGHAI = ["2025-01-01T08:00:00+08:00", "2025-01-01T00:00:00+08:00", "2025-07-01T18:30:15.25+08:00", None]
IN_UTC = ["2025-01-01T00:00:00Z", "2024-12-31T16:00:00Z", "2025-07-01T10:30:15.25Z", None]
IN_NEW_YORK = ["2024-12-31T19:00:00-05:00", "2024-12-31T11:00:00-05:00", "2025-07-01T06:30:15.25-04:00", None]


def make(sdk: Sdk, client: Any, name: str, properties: dict[str, Any], **settings: Any) -> None:
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema()
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("at", types.TIMESTAMPTZ, **settings)
    client.create_collection(name, schema=schema, index_params=flat_index(client), properties=properties)


def write(client: Any, name: str, times: list[Any], first: int = 0) -> None:
    client.insert(name, [{"id": first + i, "vector": [0.0, float(i)], "at": t} for i, t in enumerate(times)])


@pytest.fixture(scope="module")
def kept(sdk: Sdk, client: Any) -> Iterator[str]:
    """A collection at home in Shanghai, with the times of WRITTEN."""
    name = f"c_{uuid.uuid4().hex}"
    make(sdk, client, name, {"timezone": "Asia/Shanghai"}, nullable=True)
    write(client, name, WRITTEN)
    yield name
    client.drop_collection(name)


def shown(client: Any, name: str, **how: Any) -> list[Any]:
    """What a query shows; a search and a get must show the same."""
    found = [row["at"] for row in client.query(name, "id >= 0", output_fields=["at"], **how)]
    (hits,) = client.search(name, [[0.0, 0.0]], limit=10, output_fields=["at"], **how)
    assert [hit["entity"]["at"] for hit in hits] == found
    assert [row["at"] for row in client.get(name, list(range(len(found))), output_fields=["at"], **how)] == found
    return found


def test_times_are_shown_in_the_time_zone_of_the_collection_or_the_request(client: Any, kept: str) -> None:
    for flushed in (False, True):
        if flushed:
            client.flush(kept)
        assert shown(client, kept) == IN_SHANGHAI
        assert shown(client, kept, timezone="UTC") == IN_UTC
        assert shown(client, kept, timezone="America/New_York") == IN_NEW_YORK


def test_times_are_shown_as_parts_when_asked(client: Any, kept: str) -> None:
    rows = client.query(kept, "id >= 0", output_fields=["at"], time_fields="year, month day, hour")
    assert [row["at"] for row in rows] == [[2025, 1, 1, 8], [2025, 1, 1, 0], [2025, 7, 1, 18], None]
    rows = client.query(kept, "id == 2", output_fields=["at"], time_fields="minute second microsecond", timezone="UTC")
    assert rows[0]["at"] == [30, 15, 250_000]


def test_a_query_of_everything_and_an_upsert_work_as_with_any_field(client: Any, kept: str) -> None:
    client.upsert(kept, [{"id": 0, "vector": [0.0, 0.0], "at": "2025-01-01T01:00:00+01:00"}])
    rows = client.query(kept, "id == 0")
    assert {key: rows[0][key] for key in ("id", "at")} == {"id": 0, "at": IN_SHANGHAI[0]}


def test_filters_compare_times(client: Any, kept: str) -> None:
    for text, ids in {
        'at > ISO "2025-01-01T00:00:00Z"': [2],
        'at >= ISO "2025-01-01 08:00:00"': [0, 2],
        'at + INTERVAL "P1D" == ISO "2025-01-02T00:00:00Z"': [0],
        'ISO "2025-01-01T00:00:00Z" <= at and at < ISO "2026-01-01T00:00:00Z"': [0, 2],
        "at is null": [3],
    }.items():
        assert [row["id"] for row in client.query(kept, text, output_fields=["id"])] == ids, text
        (hits,) = client.search(kept, [[0.0, 0.0]], filter=text, limit=10)
        assert sorted(hit["id"] for hit in hits) == ids, text
    assert client.query(kept, "at == {t}", filter_params={"t": WRITTEN[0]}, output_fields=["id"])[0]["id"] == 0


def test_a_default_time_fills_in(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, {"timezone": "Asia/Shanghai"}, default_value="2025-01-01 00:00:00")
    client.insert(name, [{"id": 0, "vector": [0.0, 0.0]}])
    assert client.query(name, "id == 0", output_fields=["at"])[0]["at"] == "2025-01-01T00:00:00+08:00"
    field = client.describe_collection(name)["fields"][-1]
    assert field["type"] == sdk.module.DataType.TIMESTAMPTZ


def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(Exception) as caught:
        call()
    error: Any = caught.value
    return error.code, error.message


def test_what_is_no_time_is_refused(client: Any, kept: str) -> None:
    code, text = refused(lambda: write(client, kept, ["noon"]))
    assert (code, text.startswith("got invalid timestamptz string 'noon': ")) == (1100, True)
    code, text = refused(lambda: client.query(kept, 'id > ISO "2025-01-01T00:00:00Z"'))
    assert (code, "field 'id' is not a timestamptz datatype" in text) == (1100, True)
    code, text = refused(lambda: client.query(kept, "id >= 0", timezone="Mars/Base"))
    assert (code, "unknown or invalid IANA Time Zone ID: Mars/Base" in text) == (1100, True)


def test_the_time_zone_of_the_database_counts_where_the_collection_has_none(sdk: Sdk, client: Any) -> None:
    database = f"d_{uuid.uuid4().hex[:20]}"
    client.create_database(database, properties={"timezone": "America/New_York"})
    inside = sdk.connect(db_name=database)
    try:
        make(sdk, inside, "c", {})
        write(inside, "c", ["2025-01-01 00:00:00"])
        assert inside.query("c", "id == 0", output_fields=["at"])[0]["at"] == "2025-01-01T00:00:00-05:00"
        inside.drop_collection("c")
    finally:
        inside.close()
        client.drop_database(database)


@pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
def test_datetimes_are_times(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, {"timezone": "Asia/Shanghai"})
    write(client, name, [datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1)])
    assert shown(client, name, timezone="UTC") == ["2025-01-01T00:00:00Z", "2024-12-31T16:00:00Z"]


# -- expiry -------------------------------------------------------------------------------------
def counted(client: Any, name: str) -> int:
    return int(client.query(name, output_fields=["count(*)"])[0]["count(*)"])


def check(client: Any, name: str, rows: int, before: float = math.inf) -> None:
    """So many rows are there, by every way to look. What took until `before`, when some of them may expire, is left."""
    found = (
        counted(client, name),
        len(client.search(name, [[0.0, 0.0]], limit=10)[0]),
        len(client.get(name, list(range(10)), output_fields=["id"])),
    )
    assert time.monotonic() >= before or found == (rows, rows, rows)


def test_rows_expire_so_long_after_they_were_written(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, {"collection.ttl.seconds": 2}, nullable=True)
    first = time.monotonic()
    write(client, name, [None, None])
    client.flush(name)
    check(client, name, 2, before=first + 2)
    time.sleep(1)
    second = time.monotonic()
    write(client, name, [None], first=5)
    until(lambda: counted(client, name) <= 1)
    check(client, name, 1, before=second + 2)
    until(lambda: counted(client, name) == 0)
    check(client, name, 0)
    client.alter_collection_properties(name, {"collection.ttl.seconds": -1})
    write(client, name, [None], first=6)
    assert counted(client, name) >= 1


def test_rows_expire_when_their_field_says(sdk: Sdk, client: Any, name: str) -> None:
    make(sdk, client, name, {"ttl_field": "at"}, nullable=True)
    begun = time.monotonic()
    soon = datetime.fromtimestamp(time.time() + 1, UTC).isoformat()
    write(client, name, ["2020-01-01T00:00:00Z", soon, "2100-01-01T00:00:00Z", None])
    check(client, name, 3, before=begun + 1)
    until(lambda: counted(client, name) == 2)
    check(client, name, 2)
    assert client.delete(name, filter="id >= 0")["delete_count"] == 2
    check(client, name, 0)


def test_a_time_to_live_out_of_range_is_refused(sdk: Sdk, client: Any, name: str) -> None:
    for value, text in {
        "soon": "collection TTL is not a valid positive integer",
        -2: "collection TTL is out of range, expect [-1, 3155760000], got -2",
    }.items():
        code, found = refused(lambda value=value: make(sdk, client, name, {"collection.ttl.seconds": value}))
        assert (code, text in found) == (1100, True)
    code, found = refused(lambda: make(sdk, client, name, {"ttl_field": "at", "collection.ttl.seconds": 5}))
    assert (code, "exclude each other" in found) == (1100, True)
