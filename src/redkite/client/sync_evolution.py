"""The blocking methods that change what a collection is."""

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


class SyncEvolution(ClientBase):
    """Fields and properties, blocking."""

    @abstractmethod
    def _run(self, operation: Operation[T], timeout: float | None, unknown: Mapping[str, object]) -> T:
        """Drive an operation to its value."""

    def add_collection_field(
        self,
        collection_name: str,
        field_name: str,
        data_type: DataType,
        desc: str = "",
        timeout: float | None = None,
        nullable: bool = True,
        **settings: Any,
    ) -> None:
        """Add a scalar field to a collection that may have rows: they have its default, else null.

        Args:
            collection_name: The collection.
            field_name: The new field.
            data_type: Its type.
            desc: Free text.
            nullable: Whether it may be null; it must be, or have a `default_value`.
            timeout: Seconds.
            **settings: As of `create_schema().add_field`: `default_value`, `max_length`, `element_type` …

        Raises:
            InvalidParameter: The server refuses the name, the type or the default.
            ParamError: A setting is unknown or of the wrong type.
        """
        return self._run(
            evolution.add_collection_field(
                self._session, collection_name, field_name, data_type, desc, {"nullable": nullable, **settings}
            ),
            timeout,
            {},
        )

    def add_collection_struct_field(
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
        """Add an array of structs to a collection that may have rows: it is null in them.

        Args:
            collection_name: The collection.
            field_name: The new field.
            struct_schema: Its sub-fields, as of `create_struct_field_schema()`.
            max_capacity: Structs of a row at most.
            desc: Free text.
            nullable: Only True is possible.
            timeout: Seconds.
        """
        if not nullable:
            raise ParamError("Adding struct field to existing collection requires nullable=True")
        return self._run(
            evolution.add_collection_struct_field(
                self._session, collection_name, field_name, struct_schema, max_capacity, desc
            ),
            timeout,
            unknown,
        )

    def add_function_field(
        self,
        collection_name: str,
        field_schema: FieldSchema,
        func: Function,
        index_params: IndexParams | None = None,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Add a BM25 or MinHash function to a collection that may have rows, with the field it fills: the rows that are
        there have its values, too.

        Args:
            collection_name: The collection.
            field_schema: The new field.
            func: The function, whose output is that field.
            index_params: An index over the field; without one, create it before the field is searched.
            timeout: Seconds.
        """
        return self._run(
            evolution.add_function_field(self._session, collection_name, field_schema, func, index_params),
            timeout,
            unknown,
        )

    def alter_collection_function(
        self,
        collection_name: str,
        function_name: str,
        function: Function,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Give a function that embeds by a model other parameters: another endpoint, credential, batch. It keeps its
        name and fields; the model is asked once before. Vectors that are there stay as they are."""
        return self._run(
            evolution.alter_collection_function(self._session, collection_name, function_name, function),
            timeout,
            unknown,
        )

    def drop_function_field(
        self, collection_name: str, function_name: str, timeout: float | None = None, **unknown: Never
    ) -> None:
        """Drop a function with the field it fills and the field's index."""
        return self._run(evolution.drop_function_field(self._session, collection_name, function_name), timeout, unknown)

    def drop_collection_field(
        self,
        collection_name: str,
        field_name: str = "",
        field_id: int = 0,
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Drop a field, by name or by id. Its values can no longer be read, nor by a field that is added later under
        its name. Keys, the last vector field and fields with an index stay."""
        return self._run(
            evolution.drop_collection_field(self._session, collection_name, field_name, field_id), timeout, unknown
        )

    def alter_collection_field(
        self,
        collection_name: str,
        field_name: str,
        field_params: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Change `max_length`, `max_capacity`, `mmap.enabled` or `field.description` of a field. What is stored stays
        as it is, also beyond a smaller limit."""
        return self._run(
            evolution.alter_collection_field(self._session, collection_name, field_name, field_params),
            timeout,
            unknown,
        )

    def alter_collection_properties(
        self,
        collection_name: str,
        properties: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Set properties, such as `collection.ttl.seconds`. `dynamicfield.enabled` turns the dynamic field on."""
        return self._run(
            evolution.alter_collection_properties(self._session, collection_name, properties), timeout, unknown
        )

    def drop_collection_properties(
        self,
        collection_name: str,
        property_keys: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take properties of a collection away."""
        return self._run(
            evolution.drop_collection_properties(self._session, collection_name, property_keys), timeout, unknown
        )

    def alter_database_properties(
        self,
        db_name: str,
        properties: dict[str, Any],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Set properties of a database."""
        return self._run(evolution.alter_database_properties(self._session, db_name, properties), timeout, unknown)

    def drop_database_properties(
        self,
        db_name: str,
        property_keys: Sequence[str],
        timeout: float | None = None,
        **unknown: Never,
    ) -> None:
        """Take properties of a database away."""
        return self._run(evolution.drop_database_properties(self._session, db_name, property_keys), timeout, unknown)
