"""Schemas as users build them: mutable, checked early, turned into `redkite.model.schema` when they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redkite.client.texts import text
from redkite.errors import ParamError
from redkite.model import schema as model
from redkite.model.types import DataType, FunctionType

TYPE_PARAMS = (
    "dim", "max_length", "max_capacity", "enable_match", "enable_analyzer", "analyzer_params", "multi_analyzer_params",
    "mmap_enabled", "warmup",
)  # fmt: skip
_WIRE_NAMES = {"mmap_enabled": "mmap.enabled"}
_FIELD_ARGUMENTS = frozenset({
    "is_primary", "auto_id", "is_partition_key", "is_clustering_key", "is_dynamic", "nullable", "default_value",
    "element_type", *TYPE_PARAMS,
})  # fmt: skip
_KEY_TYPES = (DataType.INT64, DataType.VARCHAR)
_CLUSTERING_TYPES = (
    DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.FLOAT, DataType.DOUBLE, DataType.VARCHAR,
    DataType.FLOAT_VECTOR,
)  # fmt: skip


def _wire_params(params: dict[str, Any]) -> dict[str, str]:
    return {_WIRE_NAMES.get(key, key): text(value) for key, value in params.items()}


def _data_type(value: object) -> DataType:
    try:
        kind = DataType(value)  # type: ignore[arg-type]  # anything may come from a user; what is no type raises
    except ValueError as error:
        raise ParamError("Field dtype must be of DataType") from error
    if kind in (DataType.UNKNOWN, DataType.NONE):
        raise ParamError("Field dtype must be of DataType")
    return kind


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ParamError(f"Param {name} must be bool type.")
    return value


class FieldSchema:
    """One field. Type parameters (`dim`, `max_length`, `max_capacity` …) are keyword arguments, then attributes."""

    def __init__(self, name: str, dtype: DataType, description: str = "", **settings: Any) -> None:
        """
        Args:
            name: The field's name.
            dtype: Its type.
            description: Free text.
            **settings: `is_primary`, `auto_id`, `nullable`, `default_value`, `is_partition_key`, `is_clustering_key`,
                `element_type` (of an ARRAY), and the type parameters `dim`, `max_length`, `max_capacity`,
                `mmap_enabled`, `enable_analyzer`, `enable_match`, `analyzer_params`, `multi_analyzer_params`.

        Raises:
            ParamError: A setting is unknown or of the wrong type.
        """
        unknown = set(settings) - _FIELD_ARGUMENTS
        if unknown:
            raise ParamError(f"field `{name}` got an unexpected argument `{min(unknown)}`")
        self.name = name
        self.dtype = _data_type(dtype)
        self.description = description
        self.is_primary = _boolean("is_primary", settings.get("is_primary", False))
        self.auto_id = _boolean("auto_id", settings.get("auto_id", False))
        self.is_partition_key = _boolean("is_partition_key", settings.get("is_partition_key", False))
        self.is_clustering_key = _boolean("is_clustering_key", settings.get("is_clustering_key", False))
        self.is_dynamic = _boolean("is_dynamic", settings.get("is_dynamic", False))
        self.nullable = _boolean("nullable", settings.get("nullable", False))
        self.is_function_output = False
        self.default_value = settings.get("default_value")
        element = settings.get("element_type")
        self.element_type = None if element is None else _data_type(element)
        self.params: dict[str, Any] = {k: settings[k] for k in TYPE_PARAMS if settings.get(k) is not None}
        if self.auto_id and not self.is_primary:
            raise ParamError("The auto_id can only be specified on the primary key field")
        if "default_value" in settings and self.default_value is None and not self.nullable:
            raise ParamError("Default value cannot be None for a field that is defined as nullable == false.")

    def __getattr__(self, name: str) -> Any:
        if name in TYPE_PARAMS:
            return self.__dict__.get("params", {}).get(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, FieldSchema) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable and equal by value: not hashable

    def __repr__(self) -> str:
        return str(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The field as Milvus's SDK shows it: only what is set."""
        shown: dict[str, Any] = {"name": self.name, "description": self.description, "type": self.dtype}
        if self.params:
            shown["params"] = dict(self.params)
        if self.is_primary:
            shown |= {"is_primary": True, "auto_id": self.auto_id}
        for flag in ("is_partition_key", "is_dynamic", "nullable", "is_clustering_key", "is_function_output"):
            if getattr(self, flag):
                shown[flag] = True
        if self.default_value is not None:
            shown["default_value"] = self.default_value
        if self.element_type is not None:
            shown["element_type"] = self.element_type
        return shown

    @classmethod
    def construct_from_dict(cls, raw: dict[str, Any]) -> FieldSchema:
        """The inverse of `to_dict`; also takes a field of `describe_collection`."""
        settings = {k: v for k, v in raw.items() if k in _FIELD_ARGUMENTS and v is not None}
        field = cls(raw["name"], raw["type"], raw.get("description", ""), **{**raw.get("params", {}), **settings})
        field.is_function_output = raw.get("is_function_output", False)
        return field

    def to_model(self, prefix: str = "") -> model.FieldSchema:
        return model.FieldSchema(
            name=f"{prefix}[{self.name}]" if prefix else self.name,
            data_type=self.dtype,
            description=self.description,
            is_primary=self.is_primary,
            auto_id=self.auto_id,
            is_partition_key=self.is_partition_key,
            is_clustering_key=self.is_clustering_key,
            is_dynamic=self.is_dynamic,
            is_function_output=self.is_function_output,
            nullable=self.nullable,
            default_value=self.default_value,
            element_type=self.element_type or DataType.NONE,
            params=_wire_params(self.params),
        )


class Function:
    """A function of the schema: it fills its output fields from its input fields when rows are written."""

    def __init__(
        self,
        name: str,
        function_type: FunctionType,
        input_field_names: str | list[str],
        output_field_names: str | list[str] | None = None,
        description: str = "",
        params: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(name, str):
            raise ParamError(f"The name of the function should be a string, but got {type(name)}")
        if params is not None and not isinstance(params, dict):
            raise ParamError("The parameters of the function should be a dictionary.")
        try:
            self.type = FunctionType(function_type)
        except ValueError as error:
            raise ParamError("Unknown function type.") from error
        self.name = name
        self.description = description
        self.input_field_names = self._names(input_field_names, "input")
        self.output_field_names = self._names(output_field_names or [], "output")
        self.params: dict[str, Any] = params or {}
        if set(self.input_field_names) & set(self.output_field_names):
            raise ParamError("Input and output field names must be different.")

    @staticmethod
    def _names(given: str | list[str], side: str) -> list[str]:
        names = [given] if isinstance(given, str) else list(given)
        if not all(isinstance(item, str) for item in names):
            raise ParamError("The type of function input and output must be str.")
        if len(set(names)) != len(names):
            raise ParamError(f"Duplicate {side} field names are not allowed in function.")
        return names

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Function) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable and equal by value: not hashable

    def __repr__(self) -> str:
        return str(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "description": self.description,
            "type": self.type,
            "input_field_names": self.input_field_names,
            "output_field_names": self.output_field_names,
            "params": self.params,
        }

    @classmethod
    def construct_from_dict(cls, raw: dict[str, Any]) -> Function:
        """The inverse of `to_dict`; also takes a function of `describe_collection`."""
        return cls(
            raw["name"],
            raw["type"],
            list(raw["input_field_names"]),
            list(raw["output_field_names"]),
            raw.get("description", ""),
            dict(raw.get("params") or {}),
        )

    def verify(self, schema: CollectionSchema) -> None:
        """Check the function against the fields it names."""
        fields = {field.name: field for field in schema.fields}
        for side, names in (("input", self.input_field_names), ("output", self.output_field_names)):
            for name in names:
                if name not in fields:
                    raise ParamError(f"Function {side} field not found in collection schema.: {name}")
        outputs = [fields[name] for name in self.output_field_names]
        if any(f.is_primary or f.is_partition_key or f.is_clustering_key for f in outputs):
            raise ParamError("The output field must not be primary key, partition key, clustering key.")
        if self.type is FunctionType.BM25:
            self._verify_bm25([fields[name] for name in self.input_field_names], outputs)

    @staticmethod
    def _verify_bm25(inputs: Sequence[FieldSchema], outputs: Sequence[FieldSchema]) -> None:
        if len(inputs) != 1 or len(outputs) != 1:
            raise ParamError("BM25 function must have exact 1 input and 1 output field.")
        if not inputs[0].dtype.is_string:
            raise ParamError("BM25 function input field must be VARCHAR.")
        if outputs[0].dtype is not DataType.SPARSE_FLOAT_VECTOR:
            raise ParamError("BM25 function output field must be SPARSE_FLOAT_VECTOR.")

    def to_model(self) -> model.FunctionSchema:
        return model.FunctionSchema(
            name=self.name,
            type=self.type,
            description=self.description,
            input_field_names=tuple(self.input_field_names),
            output_field_names=tuple(self.output_field_names),
            params={key: text(value) for key, value in self.params.items()},
        )


class StructFieldSchema:
    """The shape of the structs in an ARRAY of STRUCT. Name and capacity are set when it is added to a schema."""

    def __init__(self, nullable: bool = False, description: str = "") -> None:
        self.name = ""
        self.nullable = _boolean("nullable", nullable)
        self.description = description
        self.max_capacity: int | None = None
        self.params: dict[str, Any] = {}
        self.fields: list[FieldSchema] = []

    @property
    def dtype(self) -> DataType:
        return DataType.STRUCT

    def add_field(self, field_name: str, datatype: DataType, **settings: Any) -> StructFieldSchema:
        """Add a sub-field: a plain value or a vector. Returns the schema, so that calls chain."""
        if datatype in (DataType.ARRAY, DataType._ARRAY_OF_VECTOR, DataType.STRUCT):
            raise ParamError("Struct field schema does not support Array, ArrayOfVector or Struct")
        self.fields.append(FieldSchema(field_name, datatype, **settings))
        return self

    def to_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "fields": [field.to_dict() for field in self.fields],
        }
        if self.nullable:
            shown["nullable"] = True
        if self.max_capacity is not None:
            shown["max_capacity"] = self.max_capacity
        if self.params:
            shown["params"] = dict(self.params)
        return shown

    @classmethod
    def construct_from_dict(cls, raw: dict[str, Any]) -> StructFieldSchema:
        """The inverse of `to_dict`; also takes a field of structs of `describe_collection`."""
        struct = cls(raw.get("nullable", False), raw.get("description", ""))
        struct.name = raw["name"]
        struct.params = dict(raw.get("params") or {})
        capacity = struct.params.pop("max_capacity", None)
        struct.max_capacity = raw.get("max_capacity", capacity)
        for field in raw.get("struct_fields") or raw.get("fields") or ():
            plain = FieldSchema.construct_from_dict(field)
            struct.add_field(plain.name, plain.dtype, description=plain.description, **plain.params)
        return struct

    def copy(self) -> StructFieldSchema:
        twin = StructFieldSchema(self.nullable, self.description)
        twin.name, twin.max_capacity, twin.params = self.name, self.max_capacity, dict(self.params)
        twin.fields = list(self.fields)
        return twin

    def verify(self) -> None:
        """Check the restrictions on sub-fields."""
        if not self.fields:
            raise ParamError("Struct field must have at least one field")
        for field in self.fields:
            for flag, role in (
                ("is_primary", "be primary key"), ("is_partition_key", "be partition key"),
                ("is_clustering_key", "be clustering key"), ("auto_id", "have auto_id"),
                ("nullable", "be nullable individually, set nullable on the struct instead"),
            ):  # fmt: skip
                if getattr(field, flag):
                    raise ParamError(f"Field '{field.name}' in struct '{self.name}' cannot {role}")
            if field.default_value is not None:
                raise ParamError(f"Field '{field.name}' in struct '{self.name}' cannot have default value")
        names = [field.name for field in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ParamError(f"Duplicate field names in struct '{self.name}': {twice}")

    def to_model(self) -> model.StructFieldSchema:
        params = _wire_params(self.params)
        return model.StructFieldSchema(
            name=self.name,
            fields=tuple(self._sub_field(field) for field in self.fields),
            description=self.description,
            nullable=self.nullable,
            params=params,
        )

    def _sub_field(self, field: FieldSchema) -> model.FieldSchema:
        plain = field.to_model(prefix=self.name)
        params = {**plain.params, "max_capacity": str(self.max_capacity)}
        kind = DataType._ARRAY_OF_VECTOR if plain.data_type.is_vector else DataType.ARRAY
        return model.FieldSchema(
            name=plain.name, data_type=kind, element_type=plain.data_type, description=plain.description, params=params
        )


class CollectionSchema:
    """The fields of a collection to be created.

    schema = MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True).add_field("vector", DataType.FLOAT_VECTOR, dim=128)
    """

    def __init__(
        self,
        fields: Iterable[FieldSchema] = (),
        description: str = "",
        struct_fields: Iterable[StructFieldSchema] | None = None,
        functions: Iterable[Function] | None = None,
        *,
        auto_id: bool = False,
        enable_dynamic_field: bool = False,
        primary_field: str | None = None,
        partition_key_field: str | None = None,
        clustering_key_field: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """
        Args:
            fields: The fields, in order; more by `add_field`.
            description: Free text.
            struct_fields: Arrays of structs.
            functions: Functions that fill fields.
            auto_id: The server makes primary keys.
            enable_dynamic_field: Rows may have keys beyond the fields.
            primary_field: Name of the primary key, instead of `is_primary` on the field.
            partition_key_field: Name of the partition key, instead of `is_partition_key` on the field.
            clustering_key_field: Name of the clustering key, instead of `is_clustering_key` on the field.
            properties: Properties of the collection.
        """
        for argument, name in (("primary_field", primary_field), ("partition_key_field", partition_key_field),
                               ("clustering_key_field", clustering_key_field)):  # fmt: skip
            if name is not None and not isinstance(name, str):
                raise ParamError(f"Param {argument} must be str type.")
        self.description = description
        self.enable_dynamic_field = _boolean("enable_dynamic_field", enable_dynamic_field)
        self.fields: list[FieldSchema] = []
        self.struct_fields: list[StructFieldSchema] = [item.copy() for item in struct_fields or ()]
        self.functions: list[Function] = []
        self.properties: dict[str, Any] = dict(properties or {})
        self._auto_id = _boolean("auto_id", auto_id)
        self._roles = {
            "is_primary": primary_field,
            "is_partition_key": partition_key_field,
            "is_clustering_key": clustering_key_field,
        }
        for field in fields:
            if not isinstance(field, FieldSchema):
                raise ParamError("The field of schema type must be FieldSchema.")
            self._append(FieldSchema.construct_from_dict(field.to_dict()))
        for function in functions or ():
            self.add_function(function)

    # -- building -----------------------------------------------------------------------------
    def add_field(
        self,
        field_name: str,
        datatype: DataType,
        description: str = "",
        *,
        struct_schema: StructFieldSchema | None = None,
        **settings: Any,
    ) -> CollectionSchema:
        """Add a field; see `FieldSchema` for the settings. Returns the schema, so that calls chain."""
        if datatype == DataType.ARRAY and settings.get("element_type") == DataType.STRUCT:
            return self._add_struct(field_name, description, struct_schema, settings)
        if struct_schema is not None:
            raise ParamError("struct_schema is only for an ARRAY field with element_type STRUCT")
        self._append(FieldSchema(field_name, datatype, description, **settings))
        return self

    def add_struct_field(self, struct_field_schema: StructFieldSchema) -> CollectionSchema:
        """Add an array of structs. Returns the schema, so that calls chain."""
        self.struct_fields.append(struct_field_schema)
        return self

    def add_function(self, function: Function) -> CollectionSchema:
        """Add a function. Returns the schema, so that calls chain."""
        if not isinstance(function, Function):
            raise ParamError("The function of schema type must be Function.")
        self.functions.append(function)
        self._mark_outputs()
        return self

    def _add_struct(
        self, name: str, description: str, struct_schema: StructFieldSchema | None, settings: dict[str, Any]
    ) -> CollectionSchema:
        if struct_schema is None:
            raise ParamError("Param struct_schema is required when datatype is STRUCT")
        if "max_capacity" not in settings:
            raise ParamError("Param max_capacity is required when datatype is STRUCT")
        struct = struct_schema.copy()
        struct.name = name
        struct.max_capacity = settings["max_capacity"]
        struct.nullable = settings.get("nullable", struct.nullable)
        struct.description = description or struct.description
        struct.params |= {k: settings[k] for k in ("mmap_enabled", "warmup") if k in settings}
        self.struct_fields.append(struct)
        return self

    def _append(self, field: FieldSchema) -> None:
        for role, name in self._roles.items():
            if name == field.name:
                setattr(field, role, True)
        others = {role: self._holder(role) for role in self._roles}
        for role, title in _ROLE_TITLES.items():
            other = others[role]
            if getattr(field, role) and other is not None:
                raise ParamError(f"Expected only one {title} field, got [{other.name}, {field.name}, ...].")
        if field.is_primary and self._auto_id:
            field.auto_id = True
        self.fields.append(field)
        self._mark_outputs()

    def _holder(self, role: str) -> FieldSchema | None:
        return next((field for field in self.fields if getattr(field, role)), None)

    def _mark_outputs(self) -> None:
        outputs = {name for function in self.functions for name in function.output_field_names}
        for field in self.fields:
            field.is_function_output = field.name in outputs

    # -- looking ------------------------------------------------------------------------------
    @property
    def primary_field(self) -> FieldSchema | None:
        return self._holder("is_primary")

    @property
    def partition_key_field(self) -> FieldSchema | None:
        return self._holder("is_partition_key")

    @property
    def auto_id(self) -> bool:
        """Whether the server makes primary keys."""
        primary = self.primary_field
        return self._auto_id if primary is None else primary.auto_id

    @auto_id.setter
    def auto_id(self, value: bool) -> None:
        self._auto_id = _boolean("auto_id", value)
        if self.primary_field is not None:
            self.primary_field.auto_id = value

    def __len__(self) -> int:
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, CollectionSchema) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # mutable and equal by value: not hashable

    def __repr__(self) -> str:
        return str(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The schema as Milvus's SDK shows it."""
        shown: dict[str, Any] = {
            "auto_id": self.auto_id,
            "description": self.description,
            "fields": [field.to_dict() for field in self.fields],
            "enable_dynamic_field": self.enable_dynamic_field,
            "enable_namespace": False,
        }
        if self.functions:
            shown["functions"] = [function.to_dict() for function in self.functions]
        if self.struct_fields:
            shown["struct_fields"] = [struct.to_dict() for struct in self.struct_fields]
        return shown

    @classmethod
    def construct_from_dict(cls, raw: dict[str, Any]) -> CollectionSchema:
        """The inverse of `to_dict`; also takes what `describe_collection` tells."""
        structs = [field for field in raw["fields"] if "struct_fields" in field]
        return cls(
            [FieldSchema.construct_from_dict(field) for field in raw["fields"] if field not in structs],
            raw.get("description", ""),
            [StructFieldSchema.construct_from_dict(struct) for struct in (*structs, *raw.get("struct_fields", ()))],
            [Function.construct_from_dict(function) for function in raw.get("functions", ())],
            enable_dynamic_field=raw.get("enable_dynamic_field", False),
        )

    # -- sending ------------------------------------------------------------------------------
    def verify(self) -> None:
        """Check what can be checked without a server.

        Raises:
            ParamError: No primary key, a key of the wrong type, a key named that is no field, a function that does
                not fit.
        """
        names = {field.name for field in self.fields}
        for role, title in _ROLE_TITLES.items():
            named = self._roles[role]
            if named is not None and named not in names:
                raise ParamError(f"the specified {title} field {{{named}}} not exist")
        primary = self.primary_field
        if primary is None:
            raise ParamError("Schema must have a primary key field.")
        if primary.dtype not in _KEY_TYPES:
            raise ParamError("Primary key type must be DataType.INT64 or DataType.VARCHAR.")
        partition = self.partition_key_field
        if partition is not None:
            if partition is primary:
                raise ParamError("Partition key field should not be primary field")
            if partition.dtype not in _KEY_TYPES:
                raise ParamError("Partition key field type must be DataType.INT64 or DataType.VARCHAR.")
        clustering = self._holder("is_clustering_key")
        if clustering is not None and clustering.dtype not in _CLUSTERING_TYPES:
            kinds = ", ".join(f"DataType.{kind.name}" for kind in _CLUSTERING_TYPES)
            raise ParamError(f"Clustering key field type must be {kinds}.")
        for struct in self.struct_fields:
            struct.verify()
        for function in self.functions:
            function.verify(self)

    def to_model(self, collection_name: str, dynamic: bool = False) -> model.CollectionSchema:
        """The immutable schema that travels; `dynamic` turns the dynamic field on where the schema does not."""
        return model.CollectionSchema(
            name=collection_name,
            fields=tuple(field.to_model() for field in self.fields),
            description=self.description,
            auto_id=self.auto_id,
            enable_dynamic_field=self.enable_dynamic_field or dynamic,
            struct_fields=tuple(struct.to_model() for struct in self.struct_fields),
            functions=tuple(function.to_model() for function in self.functions),
            properties={key: text(value) for key, value in self.properties.items()},
        )


_ROLE_TITLES = {"is_primary": "primary key", "is_partition_key": "partition key", "is_clustering_key": "clustering key"}
