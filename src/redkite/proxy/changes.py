"""Writes that depend on what is there: partial upserts, conditional writes, deletes by filter.

The rows are read and written in one turn of their shards, so that no other write comes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import Conflict, InvalidParameter, PermissionDenied
from redkite.filter import Filter, compile_filter
from redkite.model import requests as rq
from redkite.model.schema import PARTITION_FIELD, VERSION_FIELD
from redkite.node.memory import DELETED_BYTES
from redkite.node.shard import Shard
from redkite.node.together import Logged, keys_piece, log_together, rows_piece
from redkite.node.topology import Topology
from redkite.node.turns import turns
from redkite.proxy.merging import check_field_ops, merged, partitions_of, places_of
from redkite.proxy.reads import Reads
from redkite.proxy.routing import Partition, pieces, shard_keys, shards_of
from redkite.proxy.rules.row_rules import RowRules
from redkite.segment.evolution import SchemaMoved

_KEYS = "redkite_keys"


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """Values that a function made of rows which were there."""

    field: str
    rows: pa.RecordBatch
    """Their primary keys, and what the function read, …"""
    inputs: tuple[str, ...]
    """… which is in these columns."""
    values: pa.Array


class Changes:
    """Each method waits for the writes before it, then logs and returns."""

    def __init__(self, topology: Topology, reads: Reads, allocate: Callable[[], int]) -> None:
        self._topology = topology
        self._reads = reads
        self._allocate = allocate

    # -- upserts --------------------------------------------------------------------------------
    def upsert(
        self,
        meta: CollectionMeta,
        shards: Mapping[int, Shard],
        request: rq.Upsert,
        rows: pa.RecordBatch,
        partition: Partition,
        rules: RowRules,
    ) -> Logged:
        """`shards`: by number, at least those of the keys. `rows`: checked by `rules`, whole ones or, for a partial
        upsert, the given columns. `partition`: the one named, None by partition key or, for a partial upsert, wherever
        the rows are."""
        check_field_ops(meta.schema, request.field_ops, partial=request.partial)
        keys = rows.column(meta.schema.primary.name)
        touched = [shards[number] for number in shards_of(meta, keys)]
        with turns(touched, settled=True):
            if any(shard.collection.schema.version != meta.schema.version for shard in touched):
                raise SchemaMoved.named(meta.name)  # planned again, like a read
            fields = tuple(f.name for f in meta.schema.fields) if request.partial else (meta.schema.primary.name,)
            there = self._rows_of(meta, touched, keys, (*fields, VERSION_FIELD, PARTITION_FIELD))
            places = places_of(keys, there.column(meta.schema.primary.name))
            if request.condition is not None:
                self._check(meta, touched, request.condition, keys, places, there.column(VERSION_FIELD))
            if request.partial:
                given = frozenset(rows.schema.names)
                rows = rules.check_merged(merged(rows, there, places, rules, request.field_ops), given)
                if partition is None and not meta.has_partition_key:
                    default = meta.partitions[0].partition_id
                    partition = partitions_of(places, there.column(PARTITION_FIELD), default)
            encoded = [
                rows_piece(shards[number], parts, piece, meta.schema)
                for number, parts, piece in pieces(meta, rows, partition)
            ]
            return log_together(self._topology, encoded, self._allocate)

    # -- values of a function -------------------------------------------------------------------
    def fill(
        self,
        meta: CollectionMeta,
        shards: Mapping[int, Shard],
        fill: Fill,
        rules: RowRules,
    ) -> Logged:
        """Write rows of these shards with the values of a function, but for those that have changed since they were
        read, and none when the fields of the collection have."""
        primary = meta.schema.primary.name
        keys = fill.rows.column(primary)
        touched = [shards[number] for number in shards_of(meta, keys)]
        with turns(touched, settled=True):
            if any(shard.collection.schema.version != meta.schema.version for shard in touched):
                return 0, []  # the next pass finds them
            there = self._rows_of(meta, touched, keys, (*(f.name for f in meta.schema.fields), PARTITION_FIELD))
            places = places_of(keys, there.column(primary))
            same = places.is_valid()
            for name in fill.inputs:
                equal = pc.equal(there.column(name).take(places), fill.rows.column(name))
                same = pc.and_(same, pc.fill_null(equal, False))
            given = pa.RecordBatch.from_arrays([keys, fill.values], [primary, fill.field]).filter(same)
            if not given.num_rows:
                return 0, []
            places = places.filter(same)
            whole = rules.check_merged(merged(given, there, places, rules, {}), frozenset([primary, fill.field]))
            owners = partitions_of(places, there.column(PARTITION_FIELD), meta.partitions[0].partition_id)
            encoded = [
                rows_piece(shards[number], parts, piece, meta.schema)
                for number, parts, piece in pieces(meta, whole, owners)
            ]
            return log_together(self._topology, encoded, self._allocate)

    # -- deletes --------------------------------------------------------------------------------
    def delete(
        self, meta: CollectionMeta, shards: Mapping[int, Shard], request: rq.Delete, condition: Filter
    ) -> tuple[pa.Array, Logged]:
        """Delete what passes the filter now in these shards, by number; also gives the keys of those rows."""
        primary, those = meta.schema.primary.name, list(shards.values())
        within = frozenset([meta.need_partition(request.partition).partition_id]) if request.partition else None
        with turns(those, settled=True):
            found = self._reads.rows_now(meta, those, condition, (primary, VERSION_FIELD), within)
            keys = found.column(primary)
            if request.condition is not None:
                if condition.primary_keys is None:
                    raise InvalidParameter("if_version and where are for deletes by ids: a filter is a condition")
                keys = pa.array(condition.primary_keys, keys.type)
                places = places_of(keys, found.column(primary))
                self._check(meta, those, request.condition, keys, places, found.column(VERSION_FIELD))
            give_back = self._topology.memory.admit(DELETED_BYTES * len(keys))
            try:
                encoded = [keys_piece(shards[number], some) for number, some in shard_keys(meta, keys) if len(some)]
                logged = log_together(self._topology, encoded, self._allocate)
            finally:
                give_back()
            return keys, logged

    # -- what is there --------------------------------------------------------------------------
    def _rows_of(
        self, meta: CollectionMeta, shards: Sequence[Shard], keys: pa.Array, columns: tuple[str, ...], where: str = "",
        params: dict[str, Any] | None = None,
    ) -> pa.RecordBatch:  # fmt: skip
        """The rows of some keys, that pass `where`."""
        text = f"{meta.schema.primary.name} in {{{_KEYS}}}" + (f" and ({where})" if where else "")
        given = {**(params or {}), _KEYS: keys.to_pylist()}
        condition = compile_filter(text, meta.schema, given, zone=self._topology.root.zone_of(meta))
        return self._reads.rows_now(meta, shards, condition, columns)

    def _check(
        self,
        meta: CollectionMeta,
        shards: Sequence[Shard],
        condition: rq.Condition,
        keys: pa.Array,
        places: pa.Array,
        versions: pa.Array,
    ) -> None:
        """Raise Conflict unless every row named by `keys` is as the condition says."""
        if condition.versions:
            wanted = condition.versions if len(condition.versions) > 1 else condition.versions * len(keys)
            if len(wanted) != len(keys):
                raise InvalidParameter(f"if_version has {len(wanted)} numbers for {len(keys)} rows")
            found = pc.fill_null(versions.take(places), 0)
            self._refuse(meta, keys, pc.not_equal(found, pa.array(wanted, pa.int64())), found, wanted)
        if condition.where:
            # By itself first, so that an error in it is shown at its own place.
            compile_filter(condition.where, meta.schema, condition.where_params, zone=self._topology.root.zone_of(meta))
            primary = meta.schema.primary.name
            passing = self._rows_of(meta, shards, keys, (primary,), condition.where, condition.where_params)
            failing = pc.invert(pc.is_in(keys, passing.column(primary)))
            if condition.or_absent:
                if pc.any(pc.and_(failing, places.is_valid())).as_py():
                    raise PermissionDenied("permission deny: a row that would be replaced is under a policy")
                return
            first = pc.index(failing, True).as_py()
            if first >= 0:
                is_there = places[first].is_valid
                why = f"does not pass `{condition.where}`" if is_there else "is not there"
                row = f"row {primary}={keys[first].as_py()!r} of collection {meta.name}"
                raise Conflict(f"{row} {why}: nothing is written")

    @staticmethod
    def _refuse(meta: CollectionMeta, keys: pa.Array, wrong: pa.Array, found: pa.Array, wanted: Sequence[int]) -> None:
        first = pc.index(wrong, True).as_py()
        if first < 0:
            return
        version = found[first].as_py()
        what = f"has version {version}" if version else "is not there"
        raise Conflict(
            f"row {meta.schema.primary.name}={keys[first].as_py()!r} of collection {meta.name} {what}, "
            f"if_version={wanted[first]} was asked: nothing is written"
        )
