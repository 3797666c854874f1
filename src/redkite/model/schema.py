"""Schemas as the engine holds them: immutable, with field ids. Builders for users live in `client`."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.model.types import DataType, FunctionType

ROW_ID_FIELD = 0
TIMESTAMP_FIELD = 1
FIRST_FIELD_ID = 100
META_FIELD = "$meta"
VERSION_FIELD = "$version"
"""An output field that every row has: the timestamp it was written at."""
PARTITION_FIELD = "$partition"
"""Likewise: the id of the partition a row is in. Only the engine asks for it."""
DEFAULT_PARTITION = "_default"
DEFAULT_DATABASE = "default"

DefaultValue = bool | int | float | str | None


class FieldSchema(msgspec.Struct, frozen=True, kw_only=True):
    """One field. `params` holds type params as given (`dim`, `max_length`, `max_capacity`, `mmap.enabled` …), values as
    text, as they travel."""

    name: str
    data_type: DataType
    field_id: int = 0
    description: str = ""
    is_primary: bool = False
    auto_id: bool = False
    is_partition_key: bool = False
    is_clustering_key: bool = False
    is_dynamic: bool = False
    is_function_output: bool = False
    nullable: bool = False
    default_value: DefaultValue = None
    element_type: DataType = DataType.NONE
    params: dict[str, str] = {}

    @property
    def dim(self) -> int:
        """Dimension of a dense vector field; 0 when it has none."""
        return int(self.params.get("dim", 0))

    @property
    def max_length(self) -> int:
        return int(self.params.get("max_length", 0))

    @property
    def max_capacity(self) -> int:
        return int(self.params.get("max_capacity", 0))


class StructFieldSchema(msgspec.Struct, frozen=True, kw_only=True):
    """An array of structs: its sub-fields are ARRAY or array-of-vector fields named `struct[sub]`."""

    name: str
    fields: tuple[FieldSchema, ...]
    field_id: int = 0
    description: str = ""
    nullable: bool = False
    params: dict[str, str] = {}


class FunctionSchema(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: FunctionType
    input_field_names: tuple[str, ...]
    output_field_names: tuple[str, ...]
    function_id: int = 0
    description: str = ""
    params: dict[str, str] = {}


class CollectionSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The fields as users declared them, in order. With `enable_dynamic_field` the engine's schema also ends in a JSON
    field `$meta` (is_dynamic); `user_fields` hides it."""

    name: str
    fields: tuple[FieldSchema, ...]
    description: str = ""
    auto_id: bool = False
    enable_dynamic_field: bool = False
    struct_fields: tuple[StructFieldSchema, ...] = ()
    functions: tuple[FunctionSchema, ...] = ()
    properties: dict[str, str] = {}
    version: int = 0
    """Of the fields: higher with each change of them. Equal versions of one collection have equal fields."""

    @property
    def primary(self) -> FieldSchema:
        return next(f for f in self.fields if f.is_primary)

    @property
    def partition_key(self) -> FieldSchema | None:
        return next((f for f in self.fields if f.is_partition_key), None)

    @property
    def dynamic_field(self) -> FieldSchema | None:
        return next((f for f in self.fields if f.is_dynamic), None)

    @property
    def user_fields(self) -> tuple[FieldSchema, ...]:
        return tuple(f for f in self.fields if not f.is_dynamic)

    @property
    def vector_fields(self) -> tuple[FieldSchema, ...]:
        return tuple(f for f in self.fields if f.data_type.is_vector)

    def field(self, name: str) -> FieldSchema | None:
        return next((f for f in self.fields if f.name == name), None)

    def field_by_id(self, field_id: int) -> FieldSchema | None:
        return next((f for f in self.fields if f.field_id == field_id), None)

    def to_builtins(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result
