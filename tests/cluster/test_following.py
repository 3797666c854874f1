"""The metadata of every node, kept new by the keys that change: always what reading everything would give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.cluster.backends import MemoryWorld
from redkite.cluster.following import Metadata, access_rules
from redkite.config import Settings
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.node_oracle import NodeOracle
from redkite.errors import Conflict, MilvusException
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.segments import ChannelState, DeletesFile, IndexFile, IndexSpec, SegmentMeta
from redkite.model.types import DataType, Metric
from redkite.simulated import simulated_env
from redkite.storage.followed import FollowedCatalog

SEGMENT = SegmentMeta(
    segment_id=0, collection_id=7, partition_id=1, channel="c0", rows=2000, size=1, rows_object="o", rows_crc=0
)
VECTOR = FieldSchema(name="v", field_id=101, data_type=DataType.FLOAT_VECTOR, params={"dim": "4"})
FLAT = IndexSpec(index_type="HNSW", metric=Metric.L2, build={}, kind="")


def segment(number: int, channel: str = "c0") -> SegmentMeta:
    return msgspec.structs.replace(SEGMENT, segment_id=number, channel=channel, rows_object=f"s/{number}")


class Nodes:
    """Nodes of one simulated world, each with its own metadata."""

    def __init__(self, count: int = 3, seed: int = 1) -> None:
        self.env = simulated_env(seed)
        self.world = MemoryWorld(self.env)
        self.backends = [self.world.backends(self.env, str(n)) for n in range(count)]
        self.catalogs = [b.catalog() for b in self.backends]
        self.metas = [self.metadata(c) for c in self.catalogs]

    def metadata(self, catalog: FollowedCatalog) -> Metadata:
        return Metadata(catalog, self.env, Settings(), NodeOracle(catalog, self.env.clock, self.env.tasks))

    def settle(self) -> None:
        for catalog in self.catalogs:
            catalog.refresh()
        self.env.run_until_idle()


def picture(meta: Metadata) -> dict[str, Any]:
    """All that a node knows, comparable; segments have no order that matters."""
    root, data, loads = meta.root, meta.data, meta.loads
    ids = [7, *(c.collection_id for c in root.all_collections())]
    return {
        "databases": root.list_databases(),
        "collections": root.all_collections(),
        "names": sorted(root.space.names),
        "segments": {i: sorted(data.segments(i), key=lambda s: s.segment_id) for i in ids},
        "of channels": {c: sorted(s.segment_id for s in data.segments_of(7, c)) for c in ("c0", "c1")},
        "indexes": {i: sorted(data.indexes(i), key=lambda x: x.index_id) for i in ids},
        "states": [data.channel_state(c) for c in ("c0", "c1")],
        "objects": data.object_names(),
        "loads": sorted(loads.entries(), key=lambda e: e.collection_id),
        "users": meta.access.picture.users,
        "files": meta.files.all(),
    }


def schema(name: str) -> CollectionSchema:
    return CollectionSchema(
        name=name,
        fields=(FieldSchema(name="id", field_id=100, data_type=DataType.INT64, is_primary=True), VECTOR),
    )


def deletes(name: str) -> DeletesFile:
    return DeletesFile(object=name, size=1, crc=1, rows=1)


def built(index_id: int, name: str) -> IndexFile:
    return IndexFile(index_id=index_id, object=name, size=1, crc=1, rows=2000)


def flush(meta: Metadata, number: int) -> None:
    channel = f"c{number % 2}"
    files = {s.segment_id: deletes(f"d/{number}") for s in meta.data.segments_of(7, channel)[:2]}
    made = segment(meta.data.allocate_id(), channel)
    meta.data.commit_flush(7, channel, ChannelState(checkpoint=number), [made], files)


def compact(meta: Metadata, number: int) -> None:
    channel = f"c{number % 2}"
    gone = [s.segment_id for s in meta.data.segments_of(7, channel)[:2]]
    made = segment(meta.data.allocate_id(), channel)
    meta.data.commit_replace(7, channel, ChannelState(checkpoint=number), gone, [made])


def build(meta: Metadata, number: int) -> None:
    for index in meta.data.indexes(7):
        for one in meta.data.segments(7)[:2]:
            meta.data.add_index_file(7, one.segment_id, built(index.index_id, f"i/{number}"))


OWNER = {"flush": flush, "compact": compact, "build": build}
LEADER: dict[str, Callable[[Metadata, int], object]] = {
    "create": lambda m, n: m.root.create_collection("", schema(f"n{n}")),
    "drop": lambda m, n: m.root.drop_collection("", f"n{n}"),
    "rename": lambda m, n: m.root.rename_collection("", f"n{n}", f"n{(n + 1) % 3}"),
    "alias": lambda m, n: m.root.create_alias("", f"n{n}", f"a{n % 2}"),
    "drop alias": lambda m, n: m.root.drop_alias("", f"a{n % 2}"),
    "database": lambda m, n: m.root.create_database(f"d{n}"),
    "drop database": lambda m, n: m.root.drop_database(f"d{n}"),
    "index": lambda m, _: m.data.create_index(7, VECTOR, "", {}, FLAT, 1),
    "drop index": lambda m, _: [m.data.drop_index(index) for index in m.data.indexes(7)],
    "remove": lambda m, n: m.data.remove_segments(7, lambda s: s.segment_id % 2 == n % 2),
    "forget": lambda m, _: m.data.drop_collection(7, ["c0", "c1"]),
    "load": lambda m, n: m.loads.load(7 + n % 2, None),
    "release": lambda m, n: m.loads.release(7 + n % 2, None, ()),
    "user": lambda m, n: m.access.create_role(f"role{n}"),
    "drop user": lambda m, n: m.access.drop_role(f"role{n}"),
}
BEFALLS = ("hold", "let_go", "cut", "mend", "lose_replies", "run", "run")


def do(nodes: Nodes, what: str, at: int, number: int) -> None:
    """One coordinator leads, and one node owns the channels; connections are everybody's."""
    if what in OWNER:
        OWNER[what](nodes.metas[0], number)
    elif what in LEADER:
        LEADER[what](nodes.metas[1], number)
    elif what == "run":
        for _ in range(number + 1):
            nodes.env.scheduler.step()
    else:
        getattr(nodes.backends[at].connection, what)()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 100),
    st.lists(
        st.tuples(st.sampled_from((*OWNER, *OWNER, *LEADER, *BEFALLS)), st.integers(0, 2), st.integers(0, 2)),
        max_size=30,
    ),
)
def test_every_node_knows_what_reading_everything_would_tell_it(seed, steps):
    nodes = Nodes(seed=seed)
    for what, at, number in steps:
        try:
            do(nodes, what, at, number)
        except MilvusException:
            continue
    for backends in nodes.backends:
        backends.connection.lose_replies(0)
        backends.mend()
        backends.connection.let_go()
    nodes.env.advance(2)
    nodes.settle()
    fresh = picture(nodes.metadata(nodes.world.backends(nodes.env, "fresh").catalog()))
    for meta in nodes.metas:
        assert picture(meta) == fresh


@pytest.mark.parametrize("what", ["load", "user"])
def test_who_commits_while_replies_are_lost_may_be_told_of_changes_meanwhile(what):
    """All is done by one thread here: where it waits for the catalog, it may run whatever tells its own coordinator."""
    for seed in range(12):
        nodes = Nodes(count=2, seed=seed)
        for number in range(3):
            try:
                do(nodes, what, 1, number)
            except MilvusException:
                nodes.backends[1].connection.lose_replies(0)
            nodes.backends[1].connection.lose_replies()
        nodes.backends[1].connection.lose_replies(0)
        nodes.settle()
        assert picture(nodes.metas[0]) == picture(nodes.metas[1])


def test_the_default_database_is_made_once_whoever_comes_first():
    nodes = Nodes()
    (database,) = nodes.metas[0].root.list_databases()
    assert database.name == "default"
    assert all(meta.root.list_databases() == (database,) for meta in nodes.metas)


def test_what_one_node_builds_is_not_undone_by_another_that_has_not_heard_of_it():
    nodes = Nodes()
    owner, leader = nodes.metas[0].data, nodes.metas[1].data
    index = leader.create_index(7, VECTOR, "", {}, FLAT, 1)
    nodes.settle()
    owner.commit_flush(7, "c0", ChannelState(), [segment(n) for n in range(200)], {})
    nodes.settle()
    for number in range(200):
        owner.add_index_file(7, number, built(index.index_id, f"i/{number}"))
    nodes.settle()
    nodes.backends[1].connection.hold()
    owner.commit_flush(7, "c0", ChannelState(checkpoint=5), [], {150: deletes("d/150")})
    files = leader.drop_index(index)
    nodes.backends[1].connection.let_go()
    nodes.settle()
    assert sorted(f.object for f in files) == sorted(f"i/{n}" for n in range(200))
    for meta in nodes.metas:
        found = {s.segment_id: s for s in meta.data.segments(7)}
        assert len(found) == 200
        assert found[150].deletes_object == "d/150", "the leader has overwritten what the owner wrote"
        assert not any(s.indexes for s in found.values())


def test_segments_that_another_removed_do_not_come_back():
    nodes = Nodes()
    owner, leader = nodes.metas[0].data, nodes.metas[1].data
    owner.commit_flush(7, "c0", ChannelState(), [segment(n) for n in range(10)], {})
    nodes.settle()
    nodes.backends[0].connection.hold()
    assert len(leader.remove_segments(7, lambda s: s.segment_id < 5)) == 5
    owner.commit_flush(7, "c0", ChannelState(checkpoint=1), [], {2: deletes("d"), 7: deletes("e")})
    nodes.backends[0].connection.let_go()
    nodes.settle()
    for meta in nodes.metas:
        assert sorted(s.segment_id for s in meta.data.segments(7)) == [5, 6, 7, 8, 9]


def test_where_nobody_else_commits_a_conflict_is_told():
    env = simulated_env(1)
    catalog = MemoryWorld(env).backends(env, "a").catalog()
    data = DataCoordinator(catalog, lambda: 1, Settings().limits)
    with pytest.raises(Conflict):
        data.commit_admission(7, [segment(1)], {}, {}, {"ticket": b"1"})
    assert data.segments(7) == ()


def test_one_flush_among_ten_thousand_segments_touches_nothing_else(monkeypatch):
    nodes = Nodes(count=2)
    nodes.metas[0].data.commit_flush(7, "c0", ChannelState(), [segment(n) for n in range(10_000)], {})
    nodes.settle()
    before = nodes.metas[1].data.segments(7)
    decoded = []
    decode = msgspec.json.decode
    monkeypatch.setattr(msgspec.json, "decode", lambda data, **more: (decoded.append(1), decode(data, **more))[1])
    nodes.metas[0].data.commit_flush(7, "c0", ChannelState(checkpoint=2), [segment(10_000)], {})
    nodes.settle()
    after = nodes.metas[1].data.segments(7)
    assert len(after) == 10_001
    assert all(a is b for a, b in zip(before, after, strict=False))
    assert len(decoded) <= 6


def test_users_are_told_by_the_settings():
    rules = access_rules(Settings(root_password="Secret1", super_users="a, b", public_privileges=False))
    assert (rules.root_password, rules.super_users, rules.public) == ("Secret1", frozenset({"a", "b"}), False)
    assert access_rules(Settings()).root_password == "Milvus"
