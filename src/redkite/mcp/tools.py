"""The tools that an agent is offered. Names and parameters are those of mcp-server-milvus; answers are plain text.

The text of each tool is what a language model reads before it decides to use it.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson

from redkite.client import AnnSearchRequest, AsyncMilvusClient, RRFRanker
from redkite.client.results import Hit
from redkite.errors import MilvusException, ParamError
from redkite.model.schema import DEFAULT_DATABASE
from redkite.model.types import DataType

MAX_ROWS = 1_000
"""Rows in one answer: an agent reads them all."""
_SHOWN_NUMBERS = 8
"""Numbers of a vector that are shown."""
Tool = Callable[..., Awaitable[str]]


class Tools:
    """Over one client, whose database `milvus_use_database` changes."""

    def __init__(self, client: AsyncMilvusClient) -> None:
        self._client = client

    def offered(self, *, read_only: bool) -> list[Tool]:
        """Those that only read; and those that change something, unless they are not wanted."""
        reads: list[Tool] = [
            self.milvus_list_collections, self.milvus_get_collection_info, self.milvus_query, self.milvus_text_search,
            self.milvus_vector_search, self.milvus_hybrid_search, self.milvus_text_similarity_search,
            self.milvus_explain, self.milvus_list_databases, self.milvus_use_database,
        ]  # fmt: skip
        writes: list[Tool] = [
            self.milvus_create_collection, self.milvus_insert_data, self.milvus_delete_entities,
            self.milvus_load_collection, self.milvus_release_collection,
        ]  # fmt: skip
        return [_told(tool) for tool in (reads if read_only else [*reads, *writes])]

    # -- looking ---------------------------------------------------------------------------------
    async def milvus_list_collections(self) -> str:
        """List the collections of the current database."""
        names = await self._client.list_collections()
        return (
            "Collections in database:\n" + "\n".join(names) if names else "There are no collections in this database."
        )

    async def milvus_get_collection_info(self, collection_name: str) -> str:
        """Describe a collection: its fields with their types, its indexes, its number of rows.

        Args:
            collection_name: Name of the collection.
        """
        described = await self._client.describe_collection(collection_name)
        stats = await self._client.get_collection_stats(collection_name)
        names = await self._client.list_indexes(collection_name)
        indexes = [await self._client.describe_index(collection_name, name) for name in names]
        return f"Collection information:\n{_json({**described, **stats, 'indexes': indexes})}"

    async def milvus_query(
        self, collection_name: str, filter_expr: str, output_fields: list[str] | None = None, limit: int = 10
    ) -> str:
        """Find rows by a filter expression, such as `price < 10 and name like "kite%"`.

        Args:
            collection_name: Name of the collection.
            filter_expr: The filter.
            output_fields: Fields to show; all by default. ["count(*)"] counts the rows.
            limit: Rows at most.
        """
        most = _count(limit)
        rows = await self._client.query(
            collection_name, filter=filter_expr, output_fields=output_fields or ["*"],
            limit=None if output_fields == ["count(*)"] else most,
        )  # fmt: skip
        return _rows(f"Query results for '{filter_expr}' in collection '{collection_name}'", rows)

    async def milvus_text_search(
        self,
        collection_name: str,
        query_text: str,
        limit: int = 5,
        output_fields: list[str] | None = None,
        drop_ratio: float = 0.2,
    ) -> str:
        """Search by words (BM25) in a collection that has a full-text field.

        Args:
            collection_name: Name of the collection.
            query_text: Words to look for.
            limit: Hits at most.
            output_fields: Fields to show; all by default.
            drop_ratio: Part of the least telling words of the query to leave out, 0 to 1.
        """
        field = await self._field_of(collection_name, text=True)
        hits = await self._client.search(
            collection_name, data=[query_text], anns_field=field, limit=_count(limit),
            output_fields=output_fields or ["*"], search_params={"params": {"drop_ratio_search": drop_ratio}},
        )  # fmt: skip
        return _hits(f"Search results for '{query_text}' in collection '{collection_name}'", hits[0])

    async def milvus_vector_search(
        self,
        collection_name: str,
        vector: list[float],
        vector_field: str = "vector",
        limit: int = 5,
        output_fields: list[str] | None = None,
        metric_type: str = "COSINE",
        filter_expr: str | None = None,
        radius: float | None = None,
        range_filter: float | None = None,
    ) -> str:
        """Find the rows whose vectors are nearest to one.

        Args:
            collection_name: Name of the collection.
            vector: The query vector.
            vector_field: Field of the vectors.
            limit: Hits at most.
            output_fields: Fields to show; all by default.
            metric_type: COSINE, IP or L2; it has to be the index's.
            filter_expr: Only rows that pass this filter.
            radius: Only hits on this side of a score: at least as similar, or at most as far.
            range_filter: Together with radius: not more similar, or not nearer, than this.
        """
        params = {"metric_type": metric_type, "params": _range(radius, range_filter)}
        hits = await self._client.search(
            collection_name, data=[vector], anns_field=vector_field, limit=_count(limit), filter=filter_expr or "",
            output_fields=output_fields or ["*"], search_params=params,
        )  # fmt: skip
        return _hits(f"Vector search results for '{collection_name}'", hits[0])

    async def milvus_hybrid_search(
        self,
        collection_name: str,
        query_text: str,
        text_field: str,
        vector: list[float],
        vector_field: str,
        limit: int = 5,
        output_fields: list[str] | None = None,
        filter_expr: str | None = None,
        sparse_radius: float | None = None,
        sparse_range_filter: float | None = None,
        dense_radius: float | None = None,
        dense_range_filter: float | None = None,
    ) -> str:
        """Search by words and by a vector at once; the two lists of hits are made one by their ranks.

        Args:
            collection_name: Name of the collection.
            query_text: Words to look for.
            text_field: The full-text (sparse) field that the words are looked for in.
            vector: The query vector.
            vector_field: Field of the vectors.
            limit: Hits at most.
            output_fields: Fields to show; all by default.
            filter_expr: Only rows that pass this filter.
            sparse_radius: Only hits by words of at least this score.
            sparse_range_filter: Together with sparse_radius: of at most this score.
            dense_radius: As sparse_radius, for hits by the vector.
            dense_range_filter: As sparse_range_filter, for hits by the vector.
        """
        sparse, dense = _range(sparse_radius, sparse_range_filter), _range(dense_radius, dense_range_filter)
        count = _count(limit)
        words = AnnSearchRequest([query_text], text_field, {"params": sparse}, limit=count, expr=filter_expr)
        near = AnnSearchRequest([vector], vector_field, {"params": dense}, limit=count, expr=filter_expr)
        hits = await self._client.hybrid_search(
            collection_name, [words, near], RRFRanker(), limit=count, output_fields=output_fields or ["*"]
        )
        return _hits(f"Hybrid search results for '{collection_name}'", hits[0])

    async def milvus_text_similarity_search(
        self,
        collection_name: str,
        query_text: str,
        anns_field: str,
        limit: int = 5,
        output_fields: list[str] | None = None,
        metric_type: str = "COSINE",
        filter_expr: str | None = None,
        radius: float | None = None,
        range_filter: float | None = None,
    ) -> str:
        """Search by the meaning of a text, in a field whose vectors the database makes itself from texts.

        Args:
            collection_name: Name of the collection.
            query_text: What to look for.
            anns_field: The vector field, filled by an embedding function.
            limit: Hits at most.
            output_fields: Fields to show; all by default.
            metric_type: COSINE, IP or L2; it has to be the index's.
            filter_expr: Only rows that pass this filter.
            radius: Only hits on this side of a score.
            range_filter: Together with radius: the other side.
        """
        params = {"metric_type": metric_type, "params": _range(radius, range_filter)}
        hits = await self._client.search(
            collection_name, data=[query_text], anns_field=anns_field, limit=_count(limit), filter=filter_expr or "",
            output_fields=output_fields or ["*"], search_params=params,
        )  # fmt: skip
        return _hits(f"Search results for '{query_text}' in collection '{collection_name}'", hits[0])

    async def milvus_explain(self, collection_name: str, filter_expr: str) -> str:
        """Tell how a query with this filter would be answered, and which part of the rows passes; nothing is read.

        Args:
            collection_name: Name of the collection.
            filter_expr: The filter.
        """
        found = await self._client.query(collection_name, filter=filter_expr, limit=1, explain=True)
        return str(found.explanation)

    # -- databases -------------------------------------------------------------------------------
    async def milvus_list_databases(self) -> str:
        """List the databases."""
        return "Databases:\n" + "\n".join(await self._client.list_databases())

    async def milvus_use_database(self, db_name: str) -> str:
        """Look at another database from now on.

        Args:
            db_name: Name of the database.
        """
        await self._client.use_database(db_name or DEFAULT_DATABASE)
        return f"Switched to database '{db_name}'."

    # -- changing --------------------------------------------------------------------------------
    async def milvus_create_collection(
        self,
        collection_name: str,
        auto_id: bool = True,
        dimension: int = 768,
        primary_field_name: str = "id",
        vector_field_name: str = "vector",
        metric_type: str = "COSINE",
        field_schema: list[dict[str, Any]] | None = None,
        index_params: list[dict[str, Any]] | None = None,
        other_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """Create a collection: from a dimension alone, or field by field.

        Args:
            collection_name: Name of the new collection.
            auto_id: The database makes the keys.
            dimension: Numbers in a vector, without field_schema.
            primary_field_name: Name of the key, without field_schema.
            vector_field_name: Name of the vector, without field_schema.
            metric_type: COSINE, IP or L2, without index_params.
            field_schema: Fields as {"name", "type", ...}: {"name": "title", "type": "VARCHAR", "max_length": 200}.
            index_params: Indexes as {"field_name", "index_type", "metric_type", "params"}.
            other_kwargs: Further arguments of create_collection, such as {"consistency_level": "Strong"}.
        """
        options: dict[str, Any] = dict(other_kwargs or {})
        if index_params and not field_schema:
            raise ParamError("index_params go with field_schema; without it, metric_type says how to compare")
        if not field_schema:
            await self._client.create_collection(
                collection_name, dimension=dimension, primary_field_name=primary_field_name,
                vector_field_name=vector_field_name, metric_type=metric_type, auto_id=auto_id, **options,
            )  # fmt: skip
            return f"Collection '{collection_name}' was created."
        schema = self._client.create_schema(auto_id=auto_id)
        for given in field_schema:
            settings = dict(given)
            schema.add_field(settings.pop("name"), _data_type(settings.pop("type")), **settings)
        wanted = self._client.prepare_index_params()
        for given in index_params or ():
            wanted.add_index(**given)
        await self._client.create_collection(
            collection_name, schema=schema, index_params=wanted if index_params else None, **options
        )
        return f"Collection '{collection_name}' was created."

    async def milvus_insert_data(self, collection_name: str, data: list[dict[str, Any]]) -> str:
        """Insert rows.

        Args:
            collection_name: Name of the collection.
            data: The rows, each an object with a value for every field.
        """
        told = await self._client.insert(collection_name, data)
        return f"Data inserted successfully: {_json({'insert_count': told['insert_count'], 'ids': list(told['ids'])})}"

    async def milvus_delete_entities(self, collection_name: str, filter_expr: str) -> str:
        """Delete the rows that pass a filter. They are gone for good.

        Args:
            collection_name: Name of the collection.
            filter_expr: The filter.
        """
        told = await self._client.delete(collection_name, filter=filter_expr)
        return f"Entities deleted successfully: {told['delete_count']}"

    async def milvus_load_collection(self, collection_name: str, replica_number: int = 1) -> str:
        """Make a collection ready to be searched.

        Args:
            collection_name: Name of the collection.
            replica_number: Copies to hold.
        """
        await self._client.load_collection(collection_name, replica_number=replica_number)
        return f"Collection '{collection_name}' is loaded with {replica_number} replica(s)."

    async def milvus_release_collection(self, collection_name: str) -> str:
        """Give back the memory that a loaded collection takes; it cannot be searched until it is loaded again.

        Args:
            collection_name: Name of the collection.
        """
        await self._client.release_collection(collection_name)
        return f"Collection '{collection_name}' is released."

    async def _field_of(self, collection: str, *, text: bool) -> str:
        """The field that texts are searched in: the output of the collection's BM25 function."""
        described = await self._client.describe_collection(collection)
        found = [f for f in described["functions"] if text and f["type"].name == "BM25"]
        if not found:
            raise ParamError(f"collection {collection} has no full-text field: none of its functions is BM25")
        name: str = found[0]["output_field_names"][0]
        return name


def _told(tool: Tool) -> Tool:
    """A tool that tells what went wrong in its answer, where the model reads it."""

    @functools.wraps(tool)
    async def told(*arguments: Any, **named: Any) -> str:
        try:
            return await tool(*arguments, **named)
        except MilvusException as error:
            return f"Error: {error.message} (code {error.code})"
        except (TypeError, ValueError, KeyError) as error:
            return f"Error: {type(error).__name__}: {error}"

    return told


def _count(limit: int) -> int:
    if not 1 <= limit <= MAX_ROWS:
        raise ParamError(f"limit {limit} must be between 1 and {MAX_ROWS}")
    return limit


def _range(radius: float | None, range_filter: float | None) -> dict[str, float]:
    given = {"radius": radius, "range_filter": range_filter}
    return {key: value for key, value in given.items() if value is not None}


def _data_type(name: object) -> DataType:
    try:
        return DataType[str(name).upper()]
    except KeyError:
        known = ", ".join(kind.name for kind in DataType if not kind.name.startswith("_"))
        raise ParamError(f"there is no field type {name}; known are {known}") from None


# -- how answers look ----------------------------------------------------------------------------
def _json(value: Any) -> str:
    return orjson.dumps(_shown(value), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _shown(value: Any) -> Any:
    """The value with long vectors cut short: a model has no use for the other numbers."""
    if isinstance(value, Mapping):
        return {key: _shown(inner) for key, inner in value.items()}
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list | tuple):
        if len(value) > _SHOWN_NUMBERS and all(isinstance(number, int | float) for number in value):
            return [*value[:_SHOWN_NUMBERS], f"… {len(value)} numbers"]
        return [_shown(inner) for inner in value]
    return value


def _rows(title: str, rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [_json(row) for row in rows]
    return f"{title}:\n\n" + "\n\n".join(lines) if lines else f"{title}: none."


def _hits(title: str, hits: Iterable[Hit]) -> str:
    return _rows(title, map(_shown_hit, hits))


def _shown_hit(hit: Hit) -> dict[str, Any]:
    """Key and score, and the fields beside them; below them, where fields of other values are called so."""
    own: dict[str, Any] = {"id": hit.id, "distance": hit.distance}
    if all(hit.fields.get(name, value) == value for name, value in own.items()):
        return {**own, **hit.fields}
    return {**own, "entity": hit.fields}
