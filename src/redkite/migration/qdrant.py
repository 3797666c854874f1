"""Qdrant, on a server or in a local folder, by its own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redkite.client.index_params import IndexParams
from redkite.client.schema import CollectionSchema
from redkite.errors import CollectionNotFound, ParamError
from redkite.migration.loose import FIRST_ROWS, Loose, loose
from redkite.migration.plan import Found, Place, Portion, Wishes, field_name, renamed, valid_name
from redkite.model.types import DataType

KEY = "id"
ONLY_VECTOR = "vector"
_KEY_LENGTH = 36
_METRICS = {"Cosine": "COSINE", "Euclid": "L2", "Dot": "IP", "Manhattan": "L2"}
_KINDS = {"float16": DataType.FLOAT16_VECTOR}


class QdrantSource:
    """The collections of one Qdrant."""

    kind = "qdrant"
    notes: tuple[str, ...] = ("quantization, sharding and access keys stay behind",)

    def __init__(self, client: Any) -> None:
        self._client = client

    def found(self, wishes: Wishes) -> list[Found]:
        names = sorted(each.name for each in self._client.get_collections().collections)
        for name in wishes.collections:
            if name not in names:
                raise CollectionNotFound(f"Qdrant has no collection {name}; it has {', '.join(names) or 'none'}")
        return [self._one(name, wishes) for name in wishes.collections or names]

    def _one(self, name: str, wishes: Wishes) -> Found:
        about = self._client.get_collection(name)
        target, notes = renamed(name, wishes)
        made = _Vectors(about.config)
        aliases = [valid_name(each.alias_name) for each in self._client.get_collection_aliases(name).aliases]
        first = [point.payload for point in self._client.scroll(name, limit=FIRST_ROWS)[0]] if wishes.typed else []
        rest = loose({KEY, *made.fields}, first, typed=wishes.typed)
        schema = CollectionSchema(enable_dynamic_field=True)
        key = self._key_type(name)
        length: dict[str, Any] = {"max_length": _KEY_LENGTH} if key is DataType.VARCHAR else {}
        schema.add_field(KEY, key, is_primary=True, **length)
        for field, (kind, dim) in made.fields.items():
            size: dict[str, Any] = {"dim": dim} if dim else {}
            schema.add_field(field, kind, nullable=True, **size)
        rest.add_to(schema)
        if not made.fields:
            raise ParamError(f"collection {name} of Qdrant has no vectors that can be carried")
        for field, kind in (about.payload_schema or {}).items():
            if field in rest.columns:
                made.indexes.add_index(field, "INVERTED")
            else:
                made.notes.append(f"the index over payload key {field} ({kind.data_type.value}) stays behind")
        return Found(
            source=name, name=target, schema=schema, indexes=made.indexes, rows=about.points_count or 0, key=KEY,
            aliases=tuple(aliases), notes=(*notes, *made.notes), own=(made, rest, key),
        )  # fmt: skip

    def _key_type(self, name: str) -> DataType:
        """Integers only if no point has a UUID."""
        offset = None
        while True:
            points, offset = self._client.scroll(
                name, limit=10_000, offset=offset, with_payload=False, with_vectors=False
            )
            if any(isinstance(point.id, str) or point.id >= 2**63 for point in points):
                return DataType.VARCHAR
            if offset is None:
                return DataType.INT64

    def portions(self, found: Found, place: Place, size: int) -> Iterator[Portion]:
        made, rest, key = found.own
        offset = place.get("next")
        if place and offset is None:
            return
        while True:
            points, offset = self._client.scroll(
                found.source, limit=size, offset=offset, with_payload=True, with_vectors=True
            )
            if points:
                rows = [_row(point, made, rest, key) for point in points]
                yield Portion(rows, len(rows), {"next": offset})
            if offset is None:
                return

    def count(self, found: Found) -> int:
        return int(self._client.count(found.source, exact=True).count)

    def close(self) -> None:
        self._client.close()


class _Vectors:
    """The vectors of a collection as fields, with their indexes."""

    def __init__(self, config: Any) -> None:
        self.fields: dict[str, tuple[DataType, int]] = {}
        self.names: dict[str, str] = {}
        """Qdrant's name -> the field's; a vector without a name is called `vector`."""
        self.indexes = IndexParams()
        self.notes: list[str] = []
        given = config.params.vectors
        named = given if isinstance(given, dict) else {"": given} if given is not None else {}
        for name, params in named.items():
            self._add_dense(name, params, config.hnsw_config)
        for name in config.params.sparse_vectors or {}:
            field = field_name(name, (KEY, *self.fields))
            self.names[name] = field
            self.fields[field] = (DataType.SPARSE_FLOAT_VECTOR, 0)
            self.indexes.add_index(field, "SPARSE_INVERTED_INDEX", metric_type="IP")

    def _add_dense(self, name: str, params: Any, graph: Any) -> None:
        if params.multivector_config is not None:
            self.notes.append(f"vectors {name or ONLY_VECTOR} stay behind: each point has several of them")
            return
        field = field_name(name, (KEY, *self.fields)) if name else ONLY_VECTOR
        distance = params.distance.value
        datatype = "" if params.datatype is None else params.datatype.value
        if distance == "Manhattan":
            self.notes.append(f"vectors {field} are compared by L2: there is no Manhattan distance")
        if datatype not in ("", "float32", *_KINDS):
            self.notes.append(f"vectors {field} of {datatype} become float32")
        self.names[name] = field
        self.fields[field] = (_KINDS.get(datatype, DataType.FLOAT_VECTOR), params.size)
        own = params.hnsw_config or graph
        settings = {"M": own.m or graph.m, "efConstruction": own.ef_construct or graph.ef_construct}
        self.indexes.add_index(field, "HNSW", metric_type=_METRICS[distance], params=settings)


def _row(point: Any, made: _Vectors, rest: Loose, key: DataType) -> dict[str, Any]:
    """One point as a row: a vector that it has not is None."""
    row: dict[str, Any] = {KEY: str(point.id) if key is DataType.VARCHAR else point.id}
    vectors = point.vector if isinstance(point.vector, dict) else {"": point.vector}
    for name, field in made.names.items():
        value = vectors.get(name)
        row[field] = _sparse(value) if hasattr(value, "indices") else value
    return row | rest.of(point.payload, point.id)


def _sparse(value: Any) -> dict[int, float]:
    return dict(zip(value.indices, value.values, strict=True))
