"""The awaited methods that change what a collection is. Documented at their blocking twins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Never, TypeVar

from redkite.client.base import ClientBase
from redkite.client.index_params import IndexParams
from redkite.client.operations import evolution
from redkite.client.schema import FieldSchema, Function, StructFieldSchema
from redkite.client.session import Operation
from redkite.errors import ParamError
from redkite.model.types import DataType

T = TypeVar("T")


class AsyncEvolution(ClientBase):
    """Fields and properties, awaited."""

    @abstractmethod
    async def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    async def add_collection_field(
        self,
        collection_name: str,
        field_name: str,
        data_type: DataType,
        desc: str = "",
        timeout: float | None = None,
        nullable: bool = True,
        **settings: Any,
    ) -> None:
        return await self._run(
            evolution.add_collection_field(
                self._session, collection_name, field_name, data_type, desc, {"nullable": nullable, **settings}
            ),
            timeout,
            {},
        )

    async def add_collection_struct_field(
        self,
        collection_name: str,
        field_name: str,
        struct_schema: StructFieldSchema,
        max_capacity: int,
        desc: str | None = None,
        timeout: float | None = None,
        nullable: bool = True,
        **unknown: Never,
    ) -> None:
        if not nullable:
            raise ParamError("Adding struct field to existing collection requires nullable=True")
        return await self._run(
            evolution.add_collection_struct_field(
                self._session, collection_name, field_name, struct_schema, max_capacity, desc
            ),
            timeout,
            unknown,
        )

    async def add_function_field(
        self,
        collection_name: str,
        field_schema: FieldSchema,
        func: Function,
        index_params: IndexParams | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.add_function_field(self._session, collection_name, field_schema, func, index_params),
            timeout,
            unknown,
        )

    async def alter_collection_function(
        self,
        collection_name: str,
        function_name: str,
        function: Function,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.alter_collection_function(self._session, collection_name, function_name, function),
            timeout,
            unknown,
        )

    async def drop_function_field(
        self, collection_name: str, function_name: str, timeout: float | None = None, **unknown: Never
    ) -> None:
        return await self._run(
            evolution.drop_function_field(self._session, collection_name, function_name), timeout, unknown
        )

    async def drop_collection_field(
        self,
        collection_name: str,
        field_name: str = "",
        field_id: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.drop_collection_field(self._session, collection_name, field_name, field_id), timeout, unknown
        )

    async def alter_collection_field(
        self,
        collection_name: str,
        field_name: str,
        field_params: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.alter_collection_field(self._session, collection_name, field_name, field_params),
            timeout,
            unknown,
        )

    async def alter_collection_properties(
        self,
        collection_name: str,
        properties: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.alter_collection_properties(self._session, collection_name, properties), timeout, unknown
        )

    async def drop_collection_properties(
        self,
        collection_name: str,
        property_keys: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.drop_collection_properties(self._session, collection_name, property_keys), timeout, unknown
        )

    async def alter_database_properties(
        self,
        db_name: str,
        properties: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.alter_database_properties(self._session, db_name, properties), timeout, unknown
        )

    async def drop_database_properties(
        self,
        db_name: str,
        property_keys: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        return await self._run(
            evolution.drop_database_properties(self._session, db_name, property_keys), timeout, unknown
        )
