"""Change feeds through both of Redkite's shells: what is written is told, once, in order, and from any position."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.servers import wire_server

from redkite import DataType, MilvusClient, errors

pytestmark = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")
DIM = 4
State = dict[Any, dict[str, Any]]


def make(client: Any, name: str, shards: int = 2) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("word", DataType.VARCHAR, max_length=16, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index, num_shards=shards, consistency_level="Strong")


def row(key: int, word: str | None = "w", **more: Any) -> dict[str, Any]:
    return {"id": key, "vector": [float(key)] * DIM, "word": word} | more


def replay(state: State, changes: Iterable[Any]) -> list[str]:
    """Apply changes to a copy, as any program would; the kinds that came."""
    kinds = []
    for change in changes:
        kinds.append(change.kind)
        if change.kind == "truncated":
            state.clear()
        elif change.kind == "delete":
            for key in change.keys:
                state.pop(key, None)
        else:
            for one in change.rows:
                state[one["id"]] = one
    return kinds


def there(client: Any, name: str) -> State:
    return {r["id"]: dict(r) for r in client.query(name, filter="id >= 0", output_fields=["*"])}


def test_a_copy_made_from_a_feed_is_what_the_collection_is(client: Any, name: str) -> None:
    make(client, name)
    client.insert(name, [row(i) for i in range(50)])
    client.flush(name)
    client.insert(name, [row(i, "grown", more={"a": [i]}) for i in range(40, 60)])
    copy: State = {}
    with client.changes(name, initial="snapshot", wait=0, batch_rows=7) as stream:
        kinds = replay(copy, stream)
    assert set(kinds) == {"snapshot"} and copy == there(client, name)
    client.upsert(name, [row(3, "again"), row(100)])
    client.delete(name, filter="id in [5, 6, 41]")
    client.flush(name)
    client.delete(name, ids=[100])
    client.insert(name, [row(5, None)])
    with client.changes(name, position=stream.position, wait=0) as later:
        kinds = replay(copy, later)
    assert set(kinds) == {"upsert", "delete"} and copy == there(client, name)


def test_a_feed_can_be_taken_up_behind_any_change(client: Any, name: str) -> None:
    make(client, name)
    client.insert(name, [row(i) for i in range(30)])
    start = client.changes(name, initial="snapshot", batch_rows=8)
    beginning = start.begin()
    client.insert(name, [row(i) for i in range(100, 110)])
    client.delete(name, ids=[1, 2, 100])
    client.upsert(name, [row(4, "new")])
    client.insert(name, [row(7), row(8)])
    client.flush(name)
    client.delete(name, ids=[8])
    whole = list(client.changes(name, position=beginning, wait=0, batch_rows=8))
    told = [(c.kind, c.timestamp, c.keys) for c in whole]
    assert len(told) > 8
    for at, change in enumerate(whole):
        rest = client.changes(name, position=change.position, wait=0, batch_rows=3)
        assert [(c.kind, c.timestamp, c.keys) for c in rest if c.kind != "snapshot"] == [
            one for one in told[at + 1 :] if one[0] != "snapshot"
        ]
    keys = [key for c in whole if c.kind == "snapshot" for key in c.keys]
    assert sorted(keys) == list(range(30)), "each row of a snapshot comes once"


def test_a_truncation_is_told_in_its_place(client: Any, name: str) -> None:
    make(client, name, shards=1)
    stream = client.changes(name, wait=0)
    stream.begin()
    client.insert(name, [row(1)])
    client.truncate_collection(name)
    client.insert(name, [row(2)])
    copy: State = {}
    assert replay(copy, stream) == ["upsert", "truncated", "upsert"] and copy.keys() == {2}


def test_a_change_says_when_it_was_and_where_the_rows_went(client: Any, name: str) -> None:
    make(client, name, shards=1)
    client.create_partition(name, "other")
    stream = client.changes(name, wait=0)
    stream.begin()
    client.insert(name, [row(1)], partition_name="other")
    (change,) = stream
    assert (change.kind, change.collection, change.keys, change.partitions) == ("upsert", name, [1], [("other", 1)])
    assert change.timestamp == client.last_write_timestamp(name) and change.batch.num_rows == 1
    assert change.rows == [row(1)] and "upsert of 1 rows" in repr(change)


def test_imported_rows_come_in_the_feed_though_no_log_has_them(
    request: pytest.FixtureRequest, sdk: Sdk, client: Any, name: str, tmp_path: Path
) -> None:
    make(client, name)
    client.insert(name, [row(1, "old"), row(2)])
    stream = client.changes(name, initial="snapshot", wait=0)
    copy: State = {}
    replay(copy, stream)
    folder = tmp_path if sdk.embedded else Path(f"{request.getfixturevalue('server').data}-imports") / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "rows.json"
    file.write_text(json.dumps([row(i, "imported") for i in range(1, 40)]))
    client.import_files(name, [[str(file)]])
    client.delete(name, ids=[39])
    client.flush(name)
    kinds = replay(copy, client.changes(name, position=stream.position, wait=0, batch_rows=10))
    assert "import" in kinds and copy == there(client, name) and copy[1]["word"] == "imported"


def test_what_a_collection_becomes_is_told_before_the_rows_that_know_of_it(client: Any, name: str) -> None:
    make(client, name, shards=1)
    stream = client.changes(name, wait=0)
    stream.begin()
    client.insert(name, [row(1)])
    client.add_collection_field(name, "price", DataType.INT64, nullable=True)
    client.insert(name, [row(2, price=5)])
    client.release_collection(name)
    client.create_partition(name, "p")
    client.drop_partition(name, "p")
    told = list(stream)
    assert [c.kind for c in told] == ["upsert", "schema_changed", "upsert", "partition_created", "partition_dropped"]
    assert told[1].detail == {"added": "price"} and "price" not in told[0].rows[0] and told[2].rows[0]["price"] == 5
    assert told[0].schema_version < told[2].schema_version
    client.drop_collection(name)
    assert [c.kind for c in client.changes(database="default", position=None, wait=0)] == []


def test_a_feed_of_a_database_follows_collections_that_come_and_go(sdk: Sdk, name: str) -> None:
    client = sdk.connect()
    client.create_database(name)
    try:
        client.use_database(name)
        stream = client.changes(wait=0)
        stream.begin()
        make(client, "first")
        client.insert("first", [row(1)])
        client.flush("first")
        client.create_alias("first", "alias")
        client.drop_alias("alias")
        client.rename_collection("first", "second")
        client.insert("second", [row(2)])
        told = [(c.kind, c.collection) for c in stream]
        assert told == [
            ("collection_created", "first"), ("upsert", "first"), ("aliases_changed", "first"),
            ("aliases_changed", "first"), ("collection_renamed", "second"), ("upsert", "second"),
        ]  # fmt: skip
        client.drop_collection("second")
        assert [c.kind for c in client.changes(position=stream.position, wait=0)] == ["collection_dropped"]
    finally:
        for left in client.list_collections():
            client.drop_collection(left)
        client.use_database("default")
        client.drop_database(name)
        client.close()


def test_who_waits_at_the_end_hears_of_the_next_write(client: Any, name: str) -> None:
    make(client, name)
    stream = client.changes(name, wait=20)
    stream.begin()
    threading.Timer(0.2, client.insert, (name, [row(1)])).start()
    assert next(stream).keys == [1]


def test_a_stream_is_awaited_as_well(sdk: Sdk, client: Any, name: str) -> None:
    make(client, name)

    async def listen() -> list[Any]:
        async with sdk.connect_async() as other:
            stream = other.changes(name, wait=20)
            await stream.begin()
            client.insert(name, [row(1), row(2)])
            found: list[Any] = []
            async for change in stream:
                found += change.keys
                if len(found) == 2:
                    return found
            return found

    assert sorted(asyncio.run(listen())) == [1, 2]


def test_a_feed_with_a_name_goes_on_where_it_was_acknowledged(client: Any, name: str) -> None:
    make(client, name)
    first = client.changes(name, name="sink", initial="now", wait=0)
    assert list(first) == []
    client.insert(name, [row(1)])
    client.flush(name)
    client.insert(name, [row(2)])
    client.flush(name)
    again = client.changes(name, name="sink", wait=0)
    assert next(again).keys == [1]
    again.acknowledge()
    again.close()
    assert [c.keys for c in client.changes(name, name="sink", wait=0)] == [[2]]
    (feed,) = client.list_change_feeds(name)
    assert (feed.name, feed.collection, feed.lost) == ("sink", name, "")
    client.drop_change_feed("sink", name)
    client.drop_change_feed("sink", name)
    assert client.list_change_feeds(name) == []


def test_a_position_that_is_kept_no_longer_is_an_error_and_no_gap(sdk: Sdk, tmp_path: Path) -> None:
    if not sdk.embedded:
        pytest.skip("it looks into the engine")
    path = str(tmp_path / "one.db")
    client = MilvusClient(path)
    make(client, "c", shards=1)
    stream = client.changes("c", wait=0)
    position = stream.begin()
    client.insert("c", [row(1)])
    client.close()
    client = MilvusClient(path)
    # Whoever read before is given a while to come back; here it has passed.
    client._transport._engine.service._feeds.keeping._live_until = 0.0
    client._transport._engine.service._feeds.keeping.check()
    client.flush("c")
    with pytest.raises(errors.ChangesGone, match="no longer kept"):
        list(client.changes("c", position=position, wait=0))
    with pytest.raises(errors.ChangesGone, match="no longer kept"):
        list(client.changes("c", initial=1 << 40, wait=0))
    client.close()


def test_a_feed_begins_behind_a_time(client: Any, name: str) -> None:
    make(client, name, shards=1)
    client.insert(name, [row(1)])
    moment = client.last_write_timestamp(name)
    client.insert(name, [row(2)])
    assert [c.keys for c in client.changes(name, initial=moment, wait=0)] == [[2]]


def test_what_is_no_position_is_refused(sdk: Sdk, client: Any, name: str) -> None:
    make(client, name)
    other = client.changes(wait=0)
    other.begin()
    for wrong, why in ((other.position, "of something else"), ("bm9uc2Vuc2U", "not the position"), ("ü", "not the")):
        with pytest.raises(errors.InvalidParameter, match=why):
            list(client.changes(name, position=wrong, wait=0))
    with pytest.raises(errors.ParamError):
        client.changes(name, initial="yesterday")
    with pytest.raises(errors.ParamError):
        client.changes(name, batch_rows=0)
    with pytest.raises(errors.InvalidParameter, match="name of a change feed"):
        list(client.changes(name, name="a/b", wait=0))
    with pytest.raises(errors.CollectionNotFound):
        list(client.changes("nowhere", wait=0))


def test_a_feed_is_for_those_who_may_query_and_whom_no_policy_binds(sdk: Sdk, tmp_path: Path) -> None:
    if sdk.embedded:
        pytest.skip("whoever opens a file may do everything")
    config = tmp_path / "redkite.toml"
    config.write_text('authorization = "on"\n')
    with wire_server(tmp_path / "data", "--config", str(config)) as server:
        root = MilvusClient(server.uri, token="root:Milvus")
        make(root, "c")
        root.create_user("ann", "secret-1")
        root.create_role("reader")
        root.grant_role("ann", "reader")
        ann = MilvusClient(server.uri, token="ann:secret-1")
        with pytest.raises(errors.NotPermitted, match="PrivilegeQuery"):
            list(ann.changes("c", wait=0))
        root.grant_privilege_v2("reader", "Query", "c", "default")
        assert list(ann.changes("c", wait=0)) == []
        with pytest.raises(errors.NotPermitted, match="PrivilegeQuery"):
            list(ann.changes(wait=0))
        root.grant_privilege_v2("reader", "Query", "*", "default")
        assert list(ann.changes(wait=0)) == []
        root.create_row_policy("c", "own", actions=["Query"], roles=["reader"], using_expr="id > 5")
        for stream in (ann.changes("c", wait=0), ann.changes(wait=0)):
            with pytest.raises(errors.NotPermitted, match="row policies"):
                list(stream)
        assert list(root.changes(wait=0)) == []
