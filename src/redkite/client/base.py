"""What the blocking and the asynchronous client share: how they are made, and the builders of schemas and indexes."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Iterable, Mapping
from types import GeneratorType
from typing import Any

from redkite.client.arguments import name, refuse_unknown
from redkite.client.endpoint import ConnectionOptions, Endpoint, endpoint
from redkite.client.index_params import IndexParams
from redkite.client.schema import CollectionSchema, FieldSchema, Function, StructFieldSchema
from redkite.client.session import MAX_REQUEST_BYTES, Operation, Session
from redkite.errors import MilvusException, ParamError
from redkite.model.types import DataType


class ClientBase(ABC):
    """The parts of a client that do no I/O."""

    _endpoint: Endpoint
    _session: Session
    _timeout: float | None

    def _set_up(
        self, uri: str, user: str, password: str, db_name: str, token: str, timeout: float | None,
        options: ConnectionOptions,
    ) -> None:  # fmt: skip
        self._endpoint = endpoint(uri, user, password, token, db_name, options)
        self._timeout = _seconds(timeout)
        self._session = Session(
            endpoint=self._endpoint.address,
            database=self._endpoint.database,
            server_type=self._endpoint.server_type,
            max_request_bytes=None if self._endpoint.embedded else MAX_REQUEST_BYTES,
        )

    def _limit(self, timeout: float | None) -> float | None:
        """The seconds one call may take: its own, else the client's."""
        return self._timeout if timeout is None else _seconds(timeout)

    def _refuse(self, operation: Operation[Any], unknown: Mapping[str, object]) -> None:
        assert isinstance(operation, GeneratorType)
        method = operation.__name__
        operation.close()
        from redkite.client.operations.kinds import OPTIONS

        known = [*inspect.signature(getattr(type(self), method)).parameters, *OPTIONS.get(method, ())]
        refuse_unknown(method, unknown, known)

    def get_server_type(self) -> str:
        """`"milvus"`, or `"zilliz"` for an address at Zilliz Cloud."""
        return self._session.server_type

    @property
    def db_name(self) -> str:
        """The database that names are looked up in; empty means the default one."""
        return self._session.database

    def last_write_timestamp(self, collection_name: str) -> int:
        """Hybrid timestamp of this client's last write to a collection; 0 when it has written nothing there."""
        return self._session.last_writes.get((self._session.database, collection_name), 0)

    # -- builders -----------------------------------------------------------------------------
    @classmethod
    def create_schema(
        cls,
        *,
        auto_id: bool = False,
        enable_dynamic_field: bool = False,
        description: str = "",
        primary_field: str | None = None,
        partition_key_field: str | None = None,
        clustering_key_field: str | None = None,
        fields: Iterable[FieldSchema] = (),
        struct_fields: Iterable[StructFieldSchema] | None = None,
        functions: Iterable[Function] | None = None,
        properties: dict[str, Any] | None = None,
    ) -> CollectionSchema:
        """An empty schema, to be filled with `add_field`.

        Args:
            auto_id: The server makes primary keys.
            enable_dynamic_field: Rows may have keys beyond the fields.
            description: Free text.
            primary_field: Name of the primary key, instead of `is_primary` on the field.
            partition_key_field: Name of the partition key, instead of `is_partition_key` on the field.
            clustering_key_field: Name of the clustering key, instead of `is_clustering_key` on the field.
            fields: Fields to begin with.
            struct_fields: Arrays of structs to begin with.
            functions: Functions to begin with.
            properties: Properties of the collection.
        """
        return CollectionSchema(
            fields,
            description,
            struct_fields,
            functions,
            auto_id=auto_id,
            enable_dynamic_field=enable_dynamic_field,
            primary_field=primary_field,
            partition_key_field=partition_key_field,
            clustering_key_field=clustering_key_field,
            properties=properties,
        )

    @classmethod
    def create_struct_field_schema(cls, nullable: bool = False, description: str = "") -> StructFieldSchema:
        """An empty shape of structs, for an ARRAY field with `element_type=DataType.STRUCT`."""
        return StructFieldSchema(nullable, description)

    @classmethod
    def create_field_schema(cls, name: str, data_type: DataType, desc: str = "", **settings: Any) -> FieldSchema:
        """One field; see `FieldSchema` for the settings."""
        return FieldSchema(name, data_type, desc, **settings)

    @classmethod
    def prepare_index_params(cls, field_name: str = "", **settings: Any) -> IndexParams:
        """A list of indexes, to be filled with `add_index`; with a field name it begins with that field's index."""
        params = IndexParams()
        if field_name:
            params.add_index(name("field_name", field_name), **settings)
        elif settings:
            raise ParamError(f"prepare_index_params() got `{min(settings)}` but no field_name")
        return params


_FOR_EVER = 99_999_999.0
"""Three years: the most that a call can tell a server."""


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    given: Any = timeout
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise ParamError(f"`timeout` value {timeout} is illegal")
    return None if timeout >= _FOR_EVER else timeout


def closed() -> MilvusException:
    """What a closed client answers."""
    return MilvusException("should create connection first", 1)
