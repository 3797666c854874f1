"""What a note of the catalog means to who reads a change feed: collections that came, changed and went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from redkite.coordinator.meta import CollectionMeta, DatabaseMeta
from redkite.model import changes as ch
from redkite.storage.change_notes import KeyChange, Note

COLLECTIONS: Final = "root/collection/"
DATABASES: Final = "root/database/"


class Met(NamedTuple):
    """A collection before and after a note; None: it was, or is, not there."""

    before: CollectionMeta | None
    after: CollectionMeta | None

    @property
    def collection_id(self) -> int:
        found = self.after or self.before
        assert found is not None, "a key was changed that was not there and is not"
        return found.collection_id


class Scope(msgspec.Struct, frozen=True):
    """What a feed is about: a collection, all of one database, or everything there is."""

    database: str
    collection_id: int

    def has(self, meta: CollectionMeta | None) -> bool:
        if meta is None:
            return False
        if self.collection_id:
            return meta.collection_id == self.collection_id
        return self.database in ("", meta.database)

    def has_database(self, name: str) -> bool:
        return not self.collection_id and self.database in ("", name)


def met(note: Note) -> Iterator[Met]:
    """The collections that a note is about."""
    for change in note.changes:
        if change.key.startswith(COLLECTIONS) and not change.is_large:
            before = None if change.before is None else CollectionMeta.from_bytes(change.before)
            after = None if change.after is None else CollectionMeta.from_bytes(change.after)
            if before is not None or after is not None:
                yield Met(before, after)


def as_of(present: Iterable[CollectionMeta], later: Iterable[Note]) -> dict[int, CollectionMeta]:
    """Collections by id as they were before the notes in `later`, which are in order, from how they are now."""
    found = {meta.collection_id: meta for meta in present}
    first: dict[int, CollectionMeta | None] = {}
    for note in later:
        for one in met(note):
            first.setdefault(one.collection_id, one.before)
    for collection_id, before in first.items():
        if before is None:
            found.pop(collection_id, None)
        else:
            found[collection_id] = before
    return found


def events(note: Note, scope: Scope) -> list[ch.Change]:
    """What of a note concerns a feed, without the steps."""
    found: list[ch.Change] = []
    for change in note.changes:
        if change.key.startswith(DATABASES) and not change.is_large:
            found += _database(note, change, scope)
    for one in met(note):
        if scope.has(one.before) or scope.has(one.after):
            found += _collection(note, one)
    return found


def _database(note: Note, change: KeyChange, scope: Scope) -> list[ch.Change]:
    before = None if change.before is None else DatabaseMeta.from_bytes(change.before)
    after = None if change.after is None else DatabaseMeta.from_bytes(change.after)
    meta = after or before
    if meta is None or not scope.has_database(meta.name):
        return []
    kind = ch.DATABASE_CREATED if before is None else ch.DATABASE_DROPPED if after is None else ch.DATABASE_CHANGED
    return [ch.Change(kind=kind, timestamp=note.timestamp, database=meta.name, detail=dict(meta.properties))]


def _collection(note: Note, one: Met) -> list[ch.Change]:
    before, after = one.before, one.after
    if before is None:
        assert after is not None
        return [_event(ch.COLLECTION_CREATED, note, after, {})]
    if after is None:
        return [_event(ch.COLLECTION_DROPPED, note, before, {})]
    found = []
    if (before.name, before.database) != (after.name, after.database):
        detail = {"before": f"{before.database}.{before.name}", "after": f"{after.database}.{after.name}"}
        found.append(_event(ch.COLLECTION_RENAMED, note, after, detail))
    old = {p.partition_id: p.name for p in before.partitions}
    new = {p.partition_id: p.name for p in after.partitions}
    found += [_event(ch.PARTITION_CREATED, note, after, {"partition": new[i]}) for i in sorted(new.keys() - old.keys())]
    found += [_event(ch.PARTITION_DROPPED, note, after, {"partition": old[i]}) for i in sorted(old.keys() - new.keys())]
    if before.aliases != after.aliases:
        found.append(_event(ch.ALIASES_CHANGED, note, after, {"aliases": ",".join(after.aliases)}))
    if before.schema.fields != after.schema.fields or before.schema.functions != after.schema.functions:
        found.append(_event(ch.SCHEMA_CHANGED, note, after, _fields(before, after)))
    elif before.properties != after.properties:
        found.append(_event(ch.PROPERTIES_CHANGED, note, after, dict(after.properties)))
    return found


def _fields(before: CollectionMeta, after: CollectionMeta) -> dict[str, str]:
    old, new = {f.name: f for f in before.schema.fields}, {f.name: f for f in after.schema.fields}
    detail = {
        "added": ",".join(name for name in new if name not in old or new[name].field_id != old[name].field_id),
        "dropped": ",".join(name for name in old if name not in new or new[name].field_id != old[name].field_id),
        "changed": ",".join(
            name for name in new
            if name in old and new[name] != old[name] and new[name].field_id == old[name].field_id
        ),
    }  # fmt: skip
    return {what: names for what, names in detail.items() if names}


def _event(kind: str, note: Note, meta: CollectionMeta, detail: dict[str, str]) -> ch.Change:
    return ch.Change(
        kind=kind, timestamp=note.timestamp, database=meta.database, collection=meta.name,
        collection_id=meta.collection_id, schema_version=meta.update_timestamp, detail=detail,
    )  # fmt: skip
