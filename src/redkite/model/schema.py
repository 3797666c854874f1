"""Schemas as the engine holds them: immutable, with field ids. Builders for users live in `client`."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.model.types import DataType, FunctionType

FIRST_FIELD_ID = 100
META_FIELD = "$meta"
VERSION_FIELD = "$version"
"""An output field that every row has: the timestamp it was written at."""
PARTITION_FIELD = "$partition"
"""Likewise: the id of the partition a row is in. Only the engine asks for it."""
OFFSET_FIELD = "$offset"
"""Of the hits of a search among elements: where in its row each one stands. Only the engine asks for it."""
DEFAULT_PARTITION = "_default"
DEFAULT_RESOURCE_GROUP = "__default_resource_group"
"""It is always there, and nodes that no other group wants are in it."""
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

    @property
    def struct_name(self) -> str:
        """The array of structs that this is a sub-field of; empty for a field by itself."""
        return self.name.partition("[")[0] if self.name.endswith("]") else ""

    @property
    def sub_name(self) -> str:
        """What a sub-field is called within its struct."""
        return self.name.partition("[")[2].removesuffix("]")

    @property
    def element(self) -> FieldSchema:
        """One element of an array, as a field."""
        params = {key: value for key, value in self.params.items() if key != "max_capacity"}
        return FieldSchema(name=self.name, data_type=self.element_type, field_id=self.field_id, params=params)


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
    """The fields as users declared them, in order. The engine's schema goes on with the sub-fields of `struct_fields`,
    named `struct[sub]`, each a column of its own, and with `enable_dynamic_field` ends in a JSON field `$meta`
    (is_dynamic); `user_fields` hides both."""

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
        return tuple(f for f in self.fields if not f.is_dynamic and not f.struct_name)

    @property
    def with_parts(self) -> CollectionSchema:
        """The same with the sub-fields of structs among the fields, as the engine has them."""
        if not self.struct_fields or any(f.struct_name for f in self.fields):
            return self
        parts = [part for struct in self.struct_fields for part in struct.fields]
        fields = tuple(sorted((*self.fields, *parts), key=lambda f: f.is_dynamic))
        return msgspec.structs.replace(self, fields=fields)

    @property
    def vector_fields(self) -> tuple[FieldSchema, ...]:
        return tuple(f for f in self.fields if f.data_type.is_vector)

    def field(self, name: str) -> FieldSchema | None:
        return next((f for f in self.fields if f.name == name), None)

    def struct(self, name: str) -> StructFieldSchema | None:
        return next((s for s in self.struct_fields if s.name == name), None)

    def field_by_id(self, field_id: int) -> FieldSchema | None:
        return next((f for f in self.fields if f.field_id == field_id), None)

    def to_builtins(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result
