"""What names mean while a filter is bound: the schema, the parameters, and the text to point into."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any, TypeAlias

import msgspec

from redkite.errors import InvalidParameter
from redkite.filter import bound
from redkite.filter.bound import JsonValue, Span
from redkite.filter.constants import ConstantError, Moment, Value, check_text, from_parameter, out_of_range
from redkite.filter.diagnostics import Source, nearest
from redkite.filter.syntax import Name, Node, Path, StructPath, Template
from redkite.model.moments import BadMoment, parse_moment
from redkite.model.schema import META_FIELD, CollectionSchema, FieldSchema
from redkite.model.types import DataType

_COLUMN_TYPES = frozenset({DataType.BOOL, DataType.VARCHAR, DataType.TIMESTAMPTZ})


class Opaque(msgspec.Struct, frozen=True):
    """A field that is no operand: it can be tested for null, and a GEOMETRY be given to functions over shapes."""

    field: str
    data_type: DataType


Term: TypeAlias = Value | Moment | Span | Opaque | bound.Operand | bound.Predicate


def counted(fields: tuple[FieldSchema, ...]) -> FieldSchema:
    """The sub-field that is looked at for how many elements there are, and for nulls: one without vectors, if any."""
    return next((field for field in fields if field.data_type is DataType.ARRAY), fields[0])


class Scope:
    """Resolves names and templates, and words the errors. One per compilation."""

    __slots__ = ("_fields", "_given", "blobs", "inside", "schema", "source", "used", "uses_zone", "zone")

    def __init__(self, schema: CollectionSchema, source: Source, params: Mapping[str, Any], zone: tzinfo = UTC) -> None:
        self.schema = schema
        self.source = source
        self.zone = zone
        """The time zone of times without an offset."""
        self.uses_zone = False
        """Whether the text holds times, which may mean something else in another zone."""
        self.used: dict[str, JsonValue] = {}
        """The parameters the text names, as plain values."""
        self.blobs: dict[str, bytes] = {}
        """The parameters the text names that are bytes."""
        self._given = params
        self.inside: tuple[FieldSchema, ...] | None = None
        """While a predicate of single elements is bound: the arrays these are of."""
        self._fields = {field.name: field for field in schema.fields}

    def error(self, detail: str, node: Node, hint: str = "") -> InvalidParameter:
        return self.source.error(detail, node.start, hint)

    def check_range(self, value: JsonValue, data_type: DataType, node: Node) -> None:
        """Refuse an integer beyond int64 for anything but JSON."""
        wrong = out_of_range(value, data_type)
        if wrong:
            raise self.error(wrong, node)

    def text(self, node: Node) -> str:
        return self.source.excerpt(node.start, node.end)

    def check_text(self) -> None:
        """Refuse a text that is not Unicode."""
        if not self.source.text.isascii():
            try:
                check_text(self.source.text)
            except ConstantError as error:
                raise Source("", self.source.purpose).error(str(error)) from None

    # -- templates ------------------------------------------------------------------------------
    def blob(self, node: Template) -> bytes | None:
        """A parameter that is bytes; None when it is anything else."""
        given = self._parameter(node)
        if not isinstance(given, bytes | bytearray | memoryview):
            return None
        return self.blobs.setdefault(node.name, bytes(given))

    def _parameter(self, node: Template) -> object:
        if node.name not in self._given:
            raise self.error(
                f"the value of expression template variable name {{{node.name}}} is not found", node,
                self._suggestion(node.name, self._given),
            )  # fmt: skip
        return self._given[node.name]

    def parameter(self, node: Template) -> Value:
        given = self._parameter(node)
        if node.name not in self.used:
            try:
                self.used[node.name] = from_parameter(node.name, given)
            except ConstantError as error:
                raise self.error(str(error), node) from None
        return Value(self.used[node.name], node.name)

    def moment(self, text: str, node: Node) -> Moment:
        """A time of the filter, or of one of its parameters."""
        self.uses_zone = True
        try:
            return Moment(parse_moment(text, self.zone))
        except BadMoment as error:
            raise self.error(str(error), node) from None

    # -- names ----------------------------------------------------------------------------------
    def field(self, name: str) -> FieldSchema | None:
        return self._fields.get(name)

    @property
    def meta(self) -> str | None:
        """The name of the dynamic field, None without one."""
        field = self.schema.dynamic_field
        if field is not None:
            return field.name
        return META_FIELD if self.schema.enable_dynamic_field else None

    def resolve(self, node: Name) -> bound.Operand | Opaque:
        """The operand a bare word means; an unknown one is a dynamic key where there is a dynamic field."""
        self._refuse_inside(node)
        struct = self.schema.struct(node.name)
        if struct is not None:
            return Opaque(counted(struct.fields).name, DataType._ARRAY_OF_STRUCT)
        field = self.field(node.name)
        if field is None:
            return bound.Path(*self._dynamic(node, ()))
        data_type = field.data_type
        if data_type is DataType.JSON:
            return bound.Path(field.name, ())
        if data_type is DataType.ARRAY:
            return bound.List(field.name, field.element_type)
        if data_type is DataType.TEXT:
            raise self.error(f"filter on text field ({field.name}) is not supported yet", node)
        if data_type in _COLUMN_TYPES or data_type.is_number:
            return bound.Column(field.name, data_type)
        if data_type.is_vector:
            raise self.error(f"filter on vector field ({field.name}) is not supported", node)
        return Opaque(field.name, data_type)

    def resolve_path(self, node: Path) -> bound.Operand:
        """The operand that `name["k"][0]` means."""
        self._refuse_inside(node)
        field = self.field(node.name)
        if field is None:
            return bound.Path(*self._dynamic(node, node.keys))
        if field.data_type is DataType.JSON:
            return bound.Path(field.name, node.keys)
        if field.data_type is not DataType.ARRAY:
            raise self.error(f"{field.data_type.wire_name} data type not supported accessed with []", node)
        index = node.keys[0]
        if len(node.keys) != 1 or not isinstance(index, int):
            raise self.error("can only access array field with integer index", node)
        return bound.Element(field.name, index, field.element_type)

    def _refuse_inside(self, node: Name | Path) -> None:
        if self.inside is not None:
            raise self.error(f"a predicate of elements cannot use {self.text(node)}, only its elements: $[sub]", node)

    def resolve_struct(self, node: StructPath) -> bound.Operand:
        """The operand that `$[sub]`, `struct[sub]` or `struct[0][sub]` means, or the error for what only looks so."""
        if node.name == "$":
            return self._element(node)
        struct = self.schema.struct(node.name)
        if struct is None:
            raise self._struct_path(node)
        if self.inside is not None:
            raise self.error(f"a predicate of elements cannot use {self.text(node)}, only its elements: $[sub]", node)
        field = next((part for part in struct.fields if part.sub_name == node.sub), None)
        if field is None:
            names = {part.sub_name: part for part in struct.fields}
            raise self.error(f"field {node.name}[{node.sub}] not exist", node, self._suggestion(node.sub, names))
        if field.data_type is not DataType.ARRAY:
            raise self.error(f"filter on vector field ({field.name}) is not supported", node)
        if node.index is not None:
            return bound.Element(field.name, node.index, field.element_type)
        return bound.List(field.name, field.element_type)

    def _element(self, node: StructPath) -> bound.Operand:
        """A part of the element at hand; with no name that element itself."""
        fields = self.inside
        if fields is None or node.index is not None:
            raise self.error("$[x] syntax can only be used inside ElementFilter or MATCH_*", node)
        own = [field for field in fields if field.sub_name == node.sub]
        if not own:
            names = {field.sub_name: field for field in fields if field.sub_name}
            raise self.error(f"field {self.text(node)} not exist", node, self._suggestion(node.sub, names))
        if own[0].data_type is not DataType.ARRAY:
            raise self.error(f"filter on vector field ({own[0].name}) is not supported", node)
        return bound.Column(own[0].name, own[0].element_type)

    def _struct_path(self, node: StructPath) -> Exception:
        """The error for `name[sub]` where the name is no array of structs: a key without quotes."""
        field = self.field(node.name)
        if field is None and self.meta is None:
            return self._unknown(node, node.name)
        if field is not None and field.data_type is DataType.ARRAY:
            return self.error("can only access array field with integer index", node)
        if field is not None and field.data_type is not DataType.JSON:
            return self.error(f"{field.data_type.wire_name} data type not supported accessed with []", node)
        return self.error(f'json key must be enclosed in double quotes or single quotes: "{node.sub}"', node)

    def _dynamic(self, node: Name | Path, keys: tuple[str | int, ...]) -> tuple[str, tuple[str | int, ...]]:
        meta = self.meta
        if self.schema.struct(node.name) is not None:
            raise self.error(f"struct array field {node.name} is accessed as {node.name}[sub]", node)
        if meta is None or (node.name.startswith("$") and node.name != meta):
            raise self._unknown(node, node.name)
        return (meta, keys) if node.name == meta else (meta, (node.name, *keys))

    def _unknown(self, node: Node, name: str) -> InvalidParameter:
        return self.error(f"field {name} not exist", node, self._suggestion(name, self._fields))

    @staticmethod
    def _suggestion(name: str, known: Mapping[str, object]) -> str:
        close = nearest(name, known)
        return f"did you mean '{close}'?" if close else ""
