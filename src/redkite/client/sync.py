"""The blocking client: every method drives its operation to the end in the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar, Unpack

from msgspec import structs

from redkite.client.base import closed
from redkite.client.endpoint import DEFAULT_URI, ConnectionOptions, Endpoint
from redkite.client.operations import collections, databases, reads
from redkite.client.operations import data as writes
from redkite.client.results import SearchResult
from redkite.client.session import Operation, Wait
from redkite.client.sync_admin import SyncAdmin
from redkite.client.sync_reads import SyncReads
from redkite.client.tracing import UNTRACED, Untraced, call_span, is_off
from redkite.client.transports.base import GreetingTransport, Transport, bounded
from redkite.client.vectors import queries
from redkite.errors import MilvusException
from redkite.model.types import FieldOp

if TYPE_CHECKING:
    from redkite.client.index_params import IndexParams
    from redkite.client.operations.data import Ids
    from redkite.client.schema import CollectionSchema
    from redkite.client.typed.sync import TypedCollection
    from redkite.model.types import DataType

M = TypeVar("M")
T = TypeVar("T")


def server_transport(endpoint: Endpoint) -> GreetingTransport:
    """Plain connections are served directly; TLS and channel arguments are gRPC's own library's."""
    from redkite.client.transports.speech import Speech

    if endpoint.secure or endpoint.grpc_options:
        from redkite.client.transports.grpc import GrpcTransport

        return GrpcTransport(Speech(endpoint))
    from redkite.client.transports.direct import DirectTransport

    return DirectTransport(Speech(endpoint))


def _driven(operation: Operation[T], transport: Transport, deadline: float | None, span: Untraced) -> T:
    """The value of an operation whose requests go over a transport."""
    traced = span is not UNTRACED
    try:
        effect = operation.send(None)
        while True:
            if type(effect) is Wait:
                time.sleep(bounded(effect, deadline))
                effect = operation.send(None)
                continue
            if traced:
                span.asks(effect)
            try:
                answer = transport.call(effect, deadline)
            except MilvusException as error:
                effect = operation.throw(error)
            else:
                effect = operation.send(answer)
    except StopIteration as finished:
        value: T = finished.value
        return value


class MilvusClient(SyncReads, SyncAdmin):
    """A blocking client of a Redkite or Milvus server, or of a database file in this process.

        client = MilvusClient("./demo.db")
        client = MilvusClient("http://localhost:19530", token="root:Milvus")

    Safe to use from many threads. A client of a server may be used after a fork; one of a file may not. Also a context
    manager that closes it. Every method takes `timeout` in seconds, by default the client's; when it is over, Timeout
    is raised. A read of a database file runs in the caller's thread and is not cut short.
    """

    def __init__(
        self,
        uri: str = DEFAULT_URI,
        user: str = "",
        password: str = "",
        db_name: str = "",
        token: str = "",
        timeout: float | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        """Connect, within ten seconds.

        Args:
            uri: `http://host:port`, `https://host:port`, `tcp://`, `unix:/path`, or a path that ends in `.db`.
            user: With `password`, who to authenticate as.
            password: Of the user.
            db_name: The database to use; also `http://host:port/name`.
            token: `user:password` or an API key, instead of user and password.
            timeout: Seconds any call may take that does not say otherwise, connecting included.
            **options: See `ConnectionOptions`.

        Raises:
            ConnectionConfigException: The URI cannot be used.
            ConnectError: No server answers there.
            PathLocked: Another process has the file open.
        """
        self._transport: Transport | None = None
        self._set_up(uri, user, password, db_name, token, timeout, options)
        if self._endpoint.embedded:
            from redkite.client.transports.embedded import EmbeddedTransport

            here = self._endpoint
            self._transport = EmbeddedTransport(here.address, here.read_only, here.memory_limit, here.verify)
            if db_name:
                self._run(databases.use_database(self._session, db_name), timeout, {})
        else:
            transport = server_transport(self._endpoint)
            transport.connect(self._deadline(timeout))
            self._transport = transport

    def _connect_as(self, token: str, timeout: float | None) -> None:
        """Go on as somebody else. In process nobody is asked who they are, and nothing changes."""
        old = self._transport
        if self._endpoint.embedded or old is None:
            return
        self._endpoint = structs.replace(self._endpoint, token=token)
        transport = server_transport(self._endpoint)
        transport.connect(self._deadline(timeout))
        self._transport = transport
        old.close()

    def _deadline(self, timeout: float | None) -> float | None:
        seconds = self._timeout if timeout is None else self._limit(timeout)
        return None if seconds is None else time.monotonic() + seconds

    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""
        if unknown:
            self._refuse(operation, unknown)
        transport = self._transport
        if transport is None:
            raise closed()
        deadline = self._deadline(timeout)
        span = call_span(operation)
        if span is UNTRACED:
            return _driven(operation, transport, deadline, span)
        with span:
            return _driven(operation, transport, deadline, span)

    def _searched_again(self, name: str, data: Any, *asked: Any) -> SearchResult | None:
        transport = self._transport
        if transport is None or not is_off():
            return None
        _, known = reads.asked_before(self._session, name, *asked)
        if known is None:
            return None
        found = transport.again(known, queries(data, known.anns_field), self._deadline(None))
        return SearchResult(found, known.round_decimal)

    def close(self) -> None:
        """Close the client. Closing it again does nothing."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close()

    # -- collections -------------------------------------------------------------------------
    def collection(
        self, model: type[M], name: str = "", *, create: bool = True, timeout: float | None = None, **unknown: Never
    ) -> TypedCollection[M]:
        """A collection whose rows are objects of a dataclass or a pydantic model; made when it is not there.

        Args:
            model: The class; `redkite.typed` has what its annotations may say.
            name: Of the collection, instead of the model's own.
            create: Make it when there is none, with its indexes, and load it. Else CollectionNotFound is raised.
            timeout: Seconds for all of it.

        Raises:
            ModelMismatch: The stored collection is another; the message has a line for each difference.
            ParamError: The class is no model, or has a field that cannot be stored.
        """
        from redkite.client.typed import operations
        from redkite.client.typed.shape import shape_of
        from redkite.client.typed.sync import TypedCollection

        shape = shape_of(model)
        chosen = operations.collection_name(shape, name)
        self._run(operations.open_collection(self._session, shape, chosen, create), timeout, unknown)
        return TypedCollection(self, shape, chosen)

    def create_collection(
        self,
        collection_name: str,
        dimension: int | None = None,
        primary_field_name: str = "id",
        id_type: str | DataType = "int",
        vector_field_name: str = "vector",
        metric_type: str = "COSINE",
        auto_id: bool = False,
        timeout: float | None = None,
        schema: CollectionSchema | None = None,
        index_params: IndexParams | None = None,
        *,
        enable_dynamic_field: bool | None = None,
        max_length: int | None = None,
        description: str | None = None,
        num_shards: int | None = None,
        num_partitions: int | None = None,
        consistency_level: str | int | None = None,
        properties: dict[str, Any] | None = None,
        **unknown: Never,
    ) -> None:
        """Create a collection: from a dimension alone, or from a schema.

        With `dimension`, the collection has a primary key, one float vector and dynamic keys, and is indexed and
        loaded. With `schema`, it is indexed and loaded when `index_params` are given. Creating it again just as it is
        does nothing.

        Args:
            collection_name: Letters, digits and underscores, up to 255 bytes.
            dimension: Of the float vector.
            primary_field_name: Name of the key.
            id_type: `"int"` or `"string"`.
            vector_field_name: Name of the vector.
            metric_type: `"COSINE"`, `"L2"` or `"IP"`.
            auto_id: The server makes the keys.
            timeout: Seconds for all of it.
            schema: From `create_schema`; the arguments above then belong in it.
            index_params: From `prepare_index_params`.
            enable_dynamic_field: Rows may have keys beyond the fields. Without a schema this is so by default.
            max_length: Bytes a string key may have.
            description: Free text.
            num_shards: Write channels; 1 by default.
            num_partitions: Partitions behind a partition key.
            consistency_level: Of reads that do not say: `"Strong"`, `"Session"`, `"Bounded"` or `"Eventually"`.
            properties: Such as `{"collection.ttl.seconds": 3600}`.

        Raises:
            InvalidParameter: The server refuses a name, a dimension or a setting.
            ParamError: An argument is of the wrong type, or the schema has no key.
        """
        return self._run(
            collections.create_collection(
                self._session,
                collection_name,
                dimension,
                primary_field_name,
                id_type,
                vector_field_name,
                metric_type,
                auto_id,
                schema,
                index_params,
                enable_dynamic_field,
                max_length,
                description,
                num_shards,
                num_partitions,
                consistency_level,
                properties,
            ),
            timeout,
            unknown,
        )

    def drop_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a collection and its rows. One that does not exist is no error."""
        return self._run(collections.drop_collection(self._session, collection_name), timeout, unknown)

    def truncate_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Delete all rows; schema and indexes stay."""
        return self._run(collections.truncate_collection(self._session, collection_name), timeout, unknown)

    def rename_collection(
        self,
        old_name: str,
        new_name: str,
        target_db: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Rename a collection, and with `target_db` move it to another database."""
        return self._run(collections.rename_collection(self._session, old_name, new_name, target_db), timeout, unknown)

    def has_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> bool:
        """Whether a collection, or an alias of one, exists."""
        return self._run(collections.has_collection(self._session, collection_name), timeout, unknown)

    def list_collections(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        """The names of the database's collections."""
        return self._run(collections.list_collections(self._session), timeout, unknown)

    def describe_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """Schema, properties, aliases and ids of a collection.

        Raises:
            DescribeCollectionException: There is none of that name (also caught as `CollectionNotFound`).
        """
        return self._run(collections.describe_collection(self._session, collection_name), timeout, unknown)

    def get_collection_stats(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, int]:
        """`{"row_count": n}`, cheap and approximate: `query(output_fields=["count(*)"])` is exact."""
        return self._run(collections.get_collection_stats(self._session, collection_name), timeout, unknown)

    # -- rows --------------------------------------------------------------------------------
    def insert(
        self,
        collection_name: str,
        data: Any,
        timeout: float | None = None,
        partition_name: str | None = "",
        **unknown: Never,
    ) -> dict[str, Any]:
        """Write rows. They are durable, and every later read sees them, when this returns.

        Args:
            collection_name: Name or alias.
            data: A dict or a list of dicts; a list of columns in schema order; a dict of columns; an Arrow
                `RecordBatch` or `Table`; a pandas `DataFrame`. Numpy and Arrow are the fast ways.
            timeout: Seconds.
            partition_name: The default partition if empty.

        Returns:
            `{"insert_count": n, "ids": [...]}`

        Raises:
            DataNotMatchException: A row misses a field, has one too many, or a value of the wrong type.
            InvalidParameter: A vector of the wrong dimension, a text too long, a number out of range.
        """
        return self._run(writes.insert(self._session, collection_name, data, partition_name), timeout, unknown)

    def upsert(
        self,
        collection_name: str,
        data: Any,
        timeout: float | None = None,
        partition_name: str | None = "",
        *,
        partial_update: bool = False,
        field_ops: Mapping[str, FieldOp | str] | None = None,
        if_version: writes.Versions | None = None,
        where: str | None = None,
        where_params: dict[str, Any] | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        """Write rows in place of those that have the same primary key.

        Args:
            collection_name: Name or alias.
            data: As for `insert`; the primary key is needed also where it is automatic.
            timeout: Seconds.
            partition_name: The default partition if empty.
            partial_update: Only the given fields change; rows that are not there are inserted.
            field_ops: How given array fields change: `"replace"`, `"array_append"` or `"array_remove"`.
            if_version: Only if the row of each key has this version (the output field `$version`): one number for
                all or one for each row; 0 means that there is no such row. Else Conflict, and nothing is written.
            where: Only if the row of each key is there and passes this filter; else Conflict.
            where_params: Values of `{placeholders}` in `where`.

        Returns:
            `{"upsert_count": n, "ids": [...]}`
        """
        return self._run(
            writes.upsert(
                self._session,
                collection_name,
                data,
                partition_name,
                partial_update,
                field_ops,
                if_version,
                where,
                where_params,
            ),
            timeout,
            unknown,
        )

    def delete(
        self,
        collection_name: str,
        ids: Ids | None = None,
        timeout: float | None = None,
        filter: str | None = None,
        partition_name: str | None = None,
        *,
        filter_params: dict[str, Any] | None = None,
        if_version: writes.Versions | None = None,
        where: str | None = None,
        where_params: dict[str, Any] | None = None,
        **unknown: Never,
    ) -> dict[str, int]:
        """Delete rows by primary key or by filter, not both.

        Args:
            collection_name: Name or alias.
            ids: One key or several; keys that do not exist are no error.
            timeout: Seconds.
            filter: An expression such as `"age > 30 and city in ['Rome']"`.
            partition_name: Look only there.
            filter_params: Values of `{placeholders}` in the filter.
            if_version: Only if each row of `ids` has this version; else Conflict, and nothing is deleted.
            where: Only if each row of `ids` passes this filter, as for `upsert`.
            where_params: Values of `{placeholders}` in `where`.

        Returns:
            `{"delete_count": n}`
        """
        return self._run(
            writes.delete(
                self._session,
                collection_name,
                ids,
                filter,
                partition_name,
                filter_params,
                if_version,
                where,
                where_params,
            ),
            timeout,
            unknown,
        )
