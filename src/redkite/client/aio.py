"""The client for asyncio: the same methods, each awaiting its operation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar, Unpack

import msgspec

from redkite.client.aio_admin import AsyncAdmin
from redkite.client.aio_reads import AsyncReads
from redkite.client.base import closed
from redkite.client.endpoint import DEFAULT_URI, ConnectionOptions, Endpoint
from redkite.client.operations import collections
from redkite.client.operations import data as writes
from redkite.client.session import Operation, Wait
from redkite.client.sync import MilvusClient
from redkite.client.tracing import call_span
from redkite.client.transports.base import AsyncTransport, bounded
from redkite.errors import MilvusException
from redkite.model.types import FieldOp

if TYPE_CHECKING:
    from redkite.client.index_params import IndexParams
    from redkite.client.operations.data import Ids
    from redkite.client.schema import CollectionSchema
    from redkite.client.typed.aio import AsyncTypedCollection
    from redkite.model.types import DataType

M = TypeVar("M")
T = TypeVar("T")


def server_transport(endpoint: Endpoint) -> AsyncTransport:
    """Plain connections are served directly; TLS and channel arguments are gRPC's own library's."""
    from redkite.client.transports.speech import Speech

    if endpoint.secure or endpoint.grpc_options:
        from redkite.client.transports.grpc import AsyncGrpcTransport

        return AsyncGrpcTransport(Speech(endpoint))
    from redkite.client.transports.direct_aio import AsyncDirectTransport

    return AsyncDirectTransport(Speech(endpoint))


class AsyncMilvusClient(AsyncReads, AsyncAdmin):
    """The client for asyncio: the methods of `MilvusClient`, awaited.

    May be made outside a loop; it connects when it is first awaited, and again when it is used in another loop.
    `asyncio.gather` over a thousand inserts or searches is fine: writes are made durable together. Also an
    asynchronous context manager that closes it.
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
        """Remember where to connect; see `MilvusClient` for the arguments.

        Raises:
            ConnectionConfigException: The URI cannot be used. ConnectError and PathLocked come with the first call.
        """
        self._transport: AsyncTransport | None = None
        self._set_up(uri, user, password, db_name, token, timeout, options)
        if self._endpoint.embedded:
            from redkite.client.transports.embedded import AsyncEmbeddedTransport

            here = self._endpoint
            self._transport = AsyncEmbeddedTransport(here.address, here.read_only, here.memory_limit, here.verify)
        else:
            self._transport = server_transport(self._endpoint)

    async def _connect_as(self, token: str) -> None:
        """Go on as somebody else. In process nobody is asked who they are, and nothing changes."""
        old = self._transport
        if self._endpoint.embedded or old is None:
            return
        self._endpoint = msgspec.structs.replace(self._endpoint, token=token)
        self._transport = server_transport(self._endpoint)
        await old.close()

    def _deadline(self, timeout: float | None) -> float | None:
        seconds = self._limit(timeout)
        return None if seconds is None else time.monotonic() + seconds

    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""
        if unknown:
            self._refuse(operation, unknown)
        transport = self._transport
        if transport is None:
            raise closed()
        deadline = self._deadline(timeout)
        with call_span(operation) as span:
            try:
                effect = operation.send(None)
                while True:
                    if isinstance(effect, Wait):
                        await asyncio.sleep(bounded(effect, deadline))
                        effect = operation.send(None)
                        continue
                    span.asks(effect)
                    try:
                        answer = await transport.call(effect, deadline)
                    except MilvusException as error:
                        effect = operation.throw(error)
                    else:
                        effect = operation.send(answer)
            except StopIteration as finished:
                value: T = finished.value
                return value

    async def close(self) -> None:
        """Close the client. Closing it again does nothing."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self.close()

    # -- collections -------------------------------------------------------------------------
    async def collection(
        self, model: type[M], name: str = "", *, create: bool = True, timeout: float | None = None, **unknown: Never
    ) -> AsyncTypedCollection[M]:
        from redkite.client.typed import operations
        from redkite.client.typed.aio import AsyncTypedCollection
        from redkite.client.typed.shape import shape_of

        shape = shape_of(model)
        chosen = operations.collection_name(shape, name)
        await self._run(operations.open_collection(self._session, shape, chosen, create), timeout, unknown)
        return AsyncTypedCollection(self, shape, chosen)

    async def create_collection(
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
        return await self._run(
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

    async def drop_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(collections.drop_collection(self._session, collection_name), timeout, unknown)

    async def truncate_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(collections.truncate_collection(self._session, collection_name), timeout, unknown)

    async def rename_collection(
        self,
        old_name: str,
        new_name: str,
        target_db: str | None = "",
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            collections.rename_collection(self._session, old_name, new_name, target_db), timeout, unknown
        )

    async def has_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> bool:
        return await self._run(collections.has_collection(self._session, collection_name), timeout, unknown)

    async def list_collections(
        self,
        timeout: float | None = None,
        **unknown: Never,
    ) -> list[str]:
        return await self._run(collections.list_collections(self._session), timeout, unknown)

    async def describe_collection(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, Any]:
        return await self._run(collections.describe_collection(self._session, collection_name), timeout, unknown)

    async def get_collection_stats(
        self,
        collection_name: str,
        timeout: float | None = None,
        **unknown: Never,
    ) -> dict[str, int]:
        return await self._run(collections.get_collection_stats(self._session, collection_name), timeout, unknown)

    # -- rows --------------------------------------------------------------------------------
    async def insert(
        self,
        collection_name: str,
        data: Any,
        timeout: float | None = None,
        partition_name: str | None = "",
        **unknown: Never,
    ) -> dict[str, Any]:
        return await self._run(writes.insert(self._session, collection_name, data, partition_name), timeout, unknown)

    async def upsert(
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
        return await self._run(
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

    async def delete(
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
        return await self._run(
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


def _share_documentation() -> None:
    """Every method is documented once, where it blocks."""
    for owner in AsyncMilvusClient.__mro__:
        for name, method in vars(owner).items():
            if callable(method) and not name.startswith("_") and method.__doc__ is None:
                method.__doc__ = getattr(MilvusClient, name).__doc__


_share_documentation()
