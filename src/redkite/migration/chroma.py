"""Chroma, in its folder or on a server, by its own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redkite.client.index_params import IndexParams
from redkite.client.schema import CollectionSchema
from redkite.errors import CollectionNotFound, ParamError
from redkite.migration.loose import FIRST_ROWS, loose
from redkite.migration.plan import Found, Place, Portion, Wishes, renamed
from redkite.model.limits import LIMITS
from redkite.model.types import DataType

KEY, DOCUMENT, VECTOR, ADDRESS = "id", "document", "embedding", "uri"
_FIELDS = (KEY, DOCUMENT, VECTOR, ADDRESS)
_KEY_LENGTH = 4096
_METRICS = {"l2": "L2", "cosine": "COSINE", "ip": "IP"}


class ChromaSource:
    """The collections of one database of Chroma."""

    kind = "chroma"
    notes: tuple[str, ...] = (
        "other tenants and databases stay behind, and so do embedding functions: give vectors, or functions",
    )

    def __init__(self, client: Any) -> None:
        self._client = client

    def found(self, wishes: Wishes) -> list[Found]:
        names = sorted(each if isinstance(each, str) else each.name for each in self._client.list_collections())
        for name in wishes.collections:
            if name not in names:
                raise CollectionNotFound(f"Chroma has no collection {name}; it has {', '.join(names) or 'none'}")
        return [self._one(name, wishes) for name in wishes.collections or names]

    def _one(self, name: str, wishes: Wishes) -> Found:
        # No embedding function is wanted to read, and the default one would look for a model.
        collection = self._client.get_collection(name, embedding_function=None)
        head = collection.get(limit=FIRST_ROWS if wishes.typed else 1, include=["embeddings", "metadatas"])
        if not len(head["ids"]):
            raise ParamError(f"collection {name} of Chroma is empty, and an empty one has no dimension: leave it out")
        target, notes = renamed(name, wishes)
        rest = loose(_FIELDS, head["metadatas"] or (), typed=wishes.typed)
        schema = CollectionSchema(enable_dynamic_field=True, description=_description(collection.metadata))
        schema.add_field(KEY, DataType.VARCHAR, is_primary=True, max_length=_KEY_LENGTH)
        schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=len(head["embeddings"][0]))
        schema.add_field(DOCUMENT, DataType.VARCHAR, max_length=LIMITS.max_varchar_length, nullable=True)
        schema.add_field(ADDRESS, DataType.VARCHAR, max_length=LIMITS.max_varchar_length, nullable=True)
        rest.add_to(schema)
        graph = _graph(collection)
        indexes = IndexParams()
        indexes.add_index(
            VECTOR, "HNSW", metric_type=_METRICS[graph["space"]],
            params={"M": graph["max_neighbors"], "efConstruction": graph["ef_construction"]},
        )  # fmt: skip
        return Found(
            source=name, name=target, schema=schema, indexes=indexes, rows=collection.count(), key=KEY,
            notes=(*notes, *_metadata_notes(collection.metadata)), own=(collection, rest),
        )  # fmt: skip

    def portions(self, found: Found, place: Place, size: int) -> Iterator[Portion]:
        collection, rest = found.own
        offset = int(place.get("offset", 0))
        while True:
            page = collection.get(limit=size, offset=offset, include=["embeddings", "documents", "metadatas", "uris"])
            count = len(page["ids"])
            if not count:
                return
            nothing = [None] * count
            rows = [
                {KEY: key, VECTOR: vector, DOCUMENT: document, ADDRESS: address, **rest.of(metadata, key)}
                for key, vector, document, address, metadata in zip(
                    page["ids"], page["embeddings"], page["documents"] or nothing, page["uris"] or nothing,
                    page["metadatas"] or nothing, strict=True,
                )
            ]  # fmt: skip
            offset += count
            yield Portion(rows, count, {"offset": offset})

    def count(self, found: Found) -> int:
        return int(found.own[0].count())

    def close(self) -> None:
        """The client keeps its folder open as long as the process runs; it offers no more than that."""


def _graph(collection: Any) -> dict[str, Any]:
    """Settings of the index: where collections keep them now, or in their metadata, as they did before."""
    graph = {"space": "l2", "max_neighbors": 16, "ef_construction": 100}
    said = (getattr(collection, "configuration_json", None) or {}).get("hnsw") or {}
    graph |= {key: value for key, value in said.items() if key in graph and value is not None}
    old = {"hnsw:space": "space", "hnsw:M": "max_neighbors", "hnsw:construction_ef": "ef_construction"}
    return graph | {old[key]: value for key, value in (collection.metadata or {}).items() if key in old}


def _description(metadata: dict[str, Any] | None) -> str:
    return str((metadata or {}).get("description", ""))


def _metadata_notes(metadata: dict[str, Any] | None) -> tuple[str, ...]:
    rest = sorted(key for key in metadata or {} if key != "description" and not key.startswith("hnsw:"))
    return (f"metadata of the collection itself stays behind: {', '.join(rest)}",) if rest else ()
