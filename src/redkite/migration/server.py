"""Milvus and what speaks like it, Redkite among them: read over the wire, or from a database file in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from redkite.client.index_params import IndexParams
from redkite.client.results import QueryResult
from redkite.client.rows import quoted
from redkite.client.schema import TYPE_PARAMS, CollectionSchema, FieldSchema, Function, StructFieldSchema
from redkite.client.sync import MilvusClient
from redkite.errors import CollectionNotFound, MilvusException, ParamError
from redkite.migration.plan import Found, Place, Portion, Wishes, renamed
from redkite.model.limits import LIMITS
from redkite.model.rules.property_rules import TTL_SECONDS, check_properties
from redkite.model.schema import DEFAULT_PARTITION, META_FIELD
from redkite.model.structs import joined, runs
from redkite.model.types import DataType, FunctionType, LoadState

_SHOWN = frozenset(
    {"field_name", "index_name", "total_rows", "indexed_rows", "pending_index_rows", "state", "index_type", "params"}
)
"""Of a described index: what is no setting of it."""
_READ_BACK = frozenset({FunctionType.TEXTEMBEDDING})


class ServerSource:
    """The collections of one database, by a client of it."""

    def __init__(self, client: MilvusClient, kind: str, *, may_load: bool = True) -> None:
        self.kind = kind
        self._client = client
        self._may_load = may_load
        self._loaded: list[str] = []
        others = sorted(set(self._databases()) - {client.db_name or "default"})
        self.notes = (
            "users, roles, keys, policies, snapshots and the history of rows stay behind",
            *((f"other databases stay behind: {', '.join(others)} (name one with --database)",) if others else ()),
        )

    def _databases(self) -> list[str]:
        try:
            return self._client.list_databases()
        except MilvusException:
            return []  # servers before Milvus 2.2.9, and milvus-lite, have none

    # -- what is there ----------------------------------------------------------------------------
    def found(self, wishes: Wishes) -> list[Found]:
        names = sorted(self._client.list_collections())
        for name in wishes.collections:
            if name not in names:
                raise CollectionNotFound(f"the source has no collection {name}; it has {', '.join(names) or 'none'}")
        return [self._one(name, wishes) for name in wishes.collections or names]

    def _one(self, name: str, wishes: Wishes) -> Found:
        client = self._client
        described = client.describe_collection(name)
        schema = schema_of(described)
        key = schema.primary_field
        if key is None:
            raise ParamError(f"collection {name} of the source has no primary key")
        target, notes = renamed(name, wishes)
        has_key = any(field.is_partition_key for field in schema.fields)
        partitions = () if has_key else tuple(client.list_partitions(name))
        properties, unknown = _properties(described.get("properties", {}), schema)
        made = [
            f"vectors of {', '.join(function.output_field_names)} are made again, by {function.name}"
            for function in schema.functions
            if function.type in _READ_BACK
        ]
        return Found(
            source=name,
            name=target,
            schema=schema,
            indexes=self._indexes(name),
            rows=self._rows(name),
            key=key.name,
            partitions=partitions if set(partitions) - {DEFAULT_PARTITION} else (),
            aliases=self._aliases(name, described),
            shards=described.get("num_shards") or None,
            key_partitions=described.get("num_partitions") if has_key else None,
            consistency=described.get("consistency_level_name"),
            properties=properties,
            notes=(*notes, *unknown, *_lost_params(described), *made),
        )

    def _rows(self, name: str) -> int:
        """Exactly, where it can be asked without loading; else what the statistics say, which may lag behind."""
        if self._client.get_load_state(name)["state"] == LoadState.Loaded:
            return counted(self._client, name)
        return int(self._client.get_collection_stats(name).get("row_count", -1))

    def _aliases(self, name: str, described: Mapping[str, Any]) -> tuple[str, ...]:
        """Not every server tells them with the collection, and not every one that does not has a list of them."""
        if described.get("aliases"):
            return tuple(described["aliases"])
        try:
            return tuple(self._client.list_aliases(name)["aliases"])
        except MilvusException:
            return ()

    def _indexes(self, name: str) -> IndexParams:
        params = IndexParams()
        for index in self._client.list_indexes(name):
            shown = self._client.describe_index(name, index) or {}
            settings = {key: value for key, value in shown.items() if key not in _SHOWN}
            own_name = "" if index == shown["field_name"] else index
            params.add_index(
                shown["field_name"], str(shown.get("index_type", "")), own_name, **settings,
                params=_parsed(shown.get("params")),
            )  # fmt: skip
        return params

    # -- its rows ---------------------------------------------------------------------------------
    def portions(self, found: Found, place: Place, size: int) -> Iterator[Portion]:
        self._load(found.source)
        partitions = found.partitions or ("",)
        first = place.get("partition", partitions[0])
        if first not in partitions:
            raise ParamError(f"partition {first} of {found.source} is gone, in the middle of this migration")
        for partition in partitions[partitions.index(first) :]:
            after = place.get("after") if partition == first else None
            yield from self._of_partition(found, partition, after, size)

    def _of_partition(self, found: Found, partition: str, after: Any, size: int) -> Iterator[Portion]:
        behind = "" if after is None else f"{found.key} > {quoted(after) if isinstance(after, str) else after}"
        pages = self._client.query_iterator(
            found.source, size, filter=behind, output_fields=output_fields(found.schema),
            partition_names=[partition] if partition else None, consistency_level="Strong",
        )  # fmt: skip
        for page in pages:
            assert isinstance(page, QueryResult)
            rows = portable(page)
            last = rows.column(found.key)[-1].as_py()
            yield Portion(rows, rows.num_rows, {"partition": partition, "after": last}, partition)
        pages.close()

    def _load(self, name: str) -> None:
        """Rows are read of loaded collections alone. One that is loaded for this is released at the end."""
        if self._client.get_load_state(name)["state"] == LoadState.Loaded:
            return
        if not self._may_load:
            raise ParamError(f"collection {name} is not loaded, and a file that is only read cannot load it: load it")
        self._client.load_collection(name)
        self._loaded.append(name)

    def count(self, found: Found) -> int:
        return counted(self._client, found.source)

    def close(self) -> None:
        for name in self._loaded:
            self._client.release_collection(name)
        self._client.close()


def counted(client: MilvusClient, name: str) -> int:
    """Rows of a loaded collection."""
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def output_fields(schema: CollectionSchema) -> list[str]:
    """What is read of each row: all but what functions make again."""
    names = [field.name for field in schema.fields if not field.is_function_output]
    names += [struct.name for struct in schema.struct_fields]
    return [*names, META_FIELD] if schema.enable_dynamic_field else names


def portable(page: QueryResult) -> pa.Table:
    """The columns of a page as an insert takes them: structs as one column, dynamic keys as `$meta`."""
    rows = page._rows.rows
    columns: dict[str, Any] = {}
    for name, places in runs(rows.schema.names):
        columns[name] = rows.column(places[0]) if rows.schema.names[places[0]] == name else joined(rows, places)
    return pa.table(columns)


def _parsed(params: Any) -> dict[str, Any]:
    """Settings of an index, which older servers tell as a text of JSON."""
    if isinstance(params, str):
        parsed = json.loads(params)
        return parsed if isinstance(parsed, dict) else {}
    return dict(params) if isinstance(params, Mapping) else {}


def _properties(given: Mapping[str, Any], schema: CollectionSchema) -> tuple[dict[str, str], list[str]]:
    """(those that have an effect here, a note for each of the others)"""
    kept: dict[str, str] = {}
    notes: list[str] = []
    fields = schema.to_model("any").fields
    if int(given.get(TTL_SECONDS, 0)) > 0:
        notes.append(f"rows are new at the target, and live {given[TTL_SECONDS]} s from then on")
    for key, value in given.items():
        try:
            check_properties({key: str(value)}, LIMITS, fields)
        except MilvusException:
            notes.append(f"the property {key}={value} stays behind: it has no effect here")
        else:
            kept[key] = str(value)
    return kept, notes


def _known(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A described field without type parameters that we do not have."""
    return {**raw, "params": {key: value for key, value in raw.get("params", {}).items() if key in TYPE_PARAMS}}


def _lost_params(described: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}={value} of field {raw['name']} stays behind: it has no effect here"
        for raw in described["fields"]
        if "struct_fields" not in raw
        for key, value in raw.get("params", {}).items()
        if key not in TYPE_PARAMS
    ]


def schema_of(described: Mapping[str, Any]) -> CollectionSchema:
    """The schema that a described collection was made of."""
    plain = [raw for raw in described["fields"] if "struct_fields" not in raw and not raw.get("is_dynamic")]
    schema = CollectionSchema(
        fields=[FieldSchema.construct_from_dict(_known(raw)) for raw in plain],
        description=described.get("description", ""),
        enable_dynamic_field=bool(described.get("enable_dynamic_field")),
        functions=[
            Function(
                raw["name"], FunctionType(raw["type"]), list(raw["input_field_names"]),
                list(raw["output_field_names"]), raw.get("description", ""), dict(raw.get("params") or {}),
            )
            for raw in described.get("functions") or ()
        ],
    )  # fmt: skip
    for raw in described["fields"]:
        if "struct_fields" in raw:
            schema.add_field(
                raw["name"], DataType.ARRAY, raw.get("description", ""), element_type=DataType.STRUCT,
                struct_schema=_struct(raw), max_capacity=raw["params"]["max_capacity"],
                nullable=bool(raw.get("nullable")),
            )  # fmt: skip
    return schema


def _struct(raw: Mapping[str, Any]) -> StructFieldSchema:
    struct = StructFieldSchema()
    for part in raw["struct_fields"]:
        struct.add_field(part["name"], DataType(part["type"]), **part.get("params", {}))
    return struct
