"""A model as a collection: its schema, its indexes, and columns from objects and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import attrgetter
from typing import Annotated, Any, get_args, get_origin

import pyarrow as pa

from redkite.client.index_params import IndexParams
from redkite.client.schema import CollectionSchema, Function, StructFieldSchema
from redkite.client.typed import marks
from redkite.client.typed.kinds import Kind, kind_of, mark_of, without_none
from redkite.client.typed.models import Model, ModelField, collection_name, model_of
from redkite.client.typed.structs import structs_in, structs_out
from redkite.client.values import loads, python_values
from redkite.errors import DataNotMatchException, ParamError
from redkite.model.schema import META_FIELD
from redkite.model.types import DataType, FunctionType

_STANDARD = {"type": "standard"}
_ALSO_READ = frozenset({(DataType.DOUBLE, DataType.INT64), (DataType.VARCHAR, DataType.TIMESTAMPTZ)})
"""(what a class wants, what is stored), beside those that are the same."""


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field of a model."""

    attribute: str
    argument: str
    name: str
    """In the collection."""
    kind: Kind
    nullable: bool
    marks: tuple[object, ...]
    written: bool
    """The program gives its values, not the server."""
    read: bool
    """It is part of what reads return unless they say otherwise."""
    parts: tuple[FieldShape, ...] = ()
    """Of an array of structs: the fields of each."""

    @property
    def is_key(self) -> bool:
        return mark_of(self.marks, marks.Key) is not None

    @property
    def is_dynamic(self) -> bool:
        return self.name == META_FIELD

    def values(self, column: pa.Array) -> list[Any]:
        """A stored column as values of the model's field."""
        if self.is_dynamic:
            return [loads(text) if text else {} for text in column.to_pylist()]
        if self.kind.decode is not None:
            return self.kind.decode(column)
        return python_values(column, self.kind.data_type)


@dataclass(frozen=True, slots=True)
class Shape:
    """A model, read once."""

    cls: type
    name: str
    options: marks.Options
    model: Model
    fields: tuple[FieldShape, ...]

    @property
    def output_fields(self) -> list[str]:
        return [field.name for field in self.fields if field.read]

    @property
    def key(self) -> FieldShape | None:
        return next((field for field in self.fields if field.is_key), None)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.cls,)

    # -- objects to columns and back --------------------------------------------------------------
    def columns(self, objects: Sequence[Any], *, with_key: bool) -> dict[str, Any]:
        """Objects by column: one C loop for each field. `with_key`: also keys that the server would make."""
        for found in set(map(type, objects)):
            if not issubclass(found, self.cls):
                raise DataNotMatchException(f"a collection of {self.cls.__name__} takes no {found.__name__}")
        columns: dict[str, Any] = {}
        for field in self.fields:
            if field.written or (with_key and field.is_key):
                values = list(map(attrgetter(field.attribute), objects))
                columns[field.name] = values if field.kind.encode is None else field.kind.encode(values)
        return columns

    def objects(self, columns: Mapping[str, pa.Array], rows: int) -> list[Any]:
        """Stored columns as objects of the model; what was not read has the model's default."""
        present = [field for field in self.fields if field.name in columns]
        names = [field.argument for field in present]
        return self.model.make(names, [field.values(columns[field.name]) for field in present], rows)

    # -- the collection ---------------------------------------------------------------------------
    def schema(self) -> CollectionSchema:
        """The schema of a collection of this model."""
        dynamic = any(field.is_dynamic for field in self.fields)
        schema = CollectionSchema(
            description=self.options.description,
            enable_dynamic_field=dynamic,
            properties=dict(self.options.properties),
        )
        for field in self.fields:
            if not field.is_dynamic:
                schema.add_field(field.name, field.kind.data_type, struct_schema=_struct_of(field), **_settings(field))
        for field in self.fields:
            _add_functions(schema, field)
        for function in self.options.functions:
            schema.add_function(function)
        schema.verify()
        return schema

    def index_params(self) -> IndexParams:
        """The indexes that the model asks for: each vector has one."""
        params = IndexParams()
        for field in self.fields:
            _add_indexes(params, field)
        return params

    def target(self, query: Any) -> str:
        """The vector field that a query is for, when it does not say: texts go to the words."""
        texts = isinstance(query, str) or (isinstance(query, list) and bool(query) and isinstance(query[0], str))
        words = [words_of(field) for field in self.fields if mark_of(field.marks, marks.BM25)]
        vectors = [field for field in self.fields if field.kind.data_type.is_vector]
        made = [field.name for field in vectors if mark_of(field.marks, marks.Embedded)]
        fits = (words or made) if texts else [field.name for field in vectors]
        if len(fits) == 1:
            return fits[0]
        what = "texts" if texts else "vectors"
        named = f"one of {', '.join(fits)}" if fits else "a field, but the model has none that takes them"
        raise ParamError(f"a search of {self.name} by {what} wants `using`: {named}")


def words_of(field: FieldShape) -> str:
    """What the sparse vector of a text's words is called."""
    mark = mark_of(field.marks, marks.BM25)
    return (mark.field if mark else "") or f"{field.name}_words"


def shape_of(cls: type, *, whole: bool = True) -> Shape:
    """Read a model, once. `whole`: it describes a collection, rather than some of its fields.

    Raises ParamError for a class that is no model, a type that cannot be stored, marks that do not go together.
    """
    return _shape_of(cls, whole)


def _again(cls: type) -> Shape:
    """The shape of a class whose shape was pickled."""
    return _shape_of(cls, False)


def part_of(cls: type, stored: Shape) -> Shape:
    """A class that has some of the fields of a model's collection. Raises ParamError as `shape_of` does, and where its
    values would be of another type than the model's."""
    shape = shape_of(cls, whole=False)
    theirs = {field.name: field for field in stored.fields}
    for field in shape.fields:
        have = theirs.get(field.name)
        if have is not None and not _reads(_family(field.kind), _family(have.kind)):
            raise ParamError(
                f"{cls.__name__}.{field.attribute} wants {field.kind.data_type.name}, and `{field.name}` of "
                f"{stored.cls.__name__} is {have.kind.data_type.name}"
            )
    return shape


def _reads(wanted: DataType, stored: DataType) -> bool:
    """Whether values of one family are good as those of another: a vector is a list too."""
    if wanted is stored or (wanted, stored) in _ALSO_READ:
        return True
    return all(kind is DataType.ARRAY or kind.is_vector for kind in (wanted, stored))


def _family(kind: Kind) -> DataType:
    """Types whose values are the same in Python."""
    if kind.data_type in (DataType.INT8, DataType.INT16, DataType.INT32):
        return DataType.INT64
    if kind.data_type is DataType.FLOAT:
        return DataType.DOUBLE
    return DataType.VARCHAR if kind.data_type.is_string else kind.data_type


@lru_cache(maxsize=512)
def _shape_of(cls: type, whole: bool) -> Shape:
    model = model_of(cls)
    options = getattr(cls, "__collection__", marks.Options())
    if not isinstance(options, marks.Options):
        raise ParamError(f"{cls.__name__}.__collection__ must be Options(…)")
    outputs = {name for function in options.functions for name in function.output_field_names}
    fields = tuple(_field(model, field, outputs) for field in model.fields)
    for name, count in Counter(field.name for field in fields).items():
        if count > 1:
            what = "several dicts of dynamic keys" if name == META_FIELD else f"several fields called {name}"
            raise ParamError(f"{cls.__name__} has {what}")
    shape = Shape(cls, options.name or collection_name(cls), options, model, fields)
    if whole:
        if shape.key is None:
            raise ParamError(f"{cls.__name__} has no primary key: mark a field with Annotated[int, Key()]")
        shape.schema()
    return shape


def _field(model: Model, declared: ModelField, outputs: set[str]) -> FieldShape:
    annotation, found = declared.annotation, ()
    nullable = False
    while True:  # Annotated[int | None, …] and Annotated[int, …] | None are both written
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            found = (*found, *more)
            continue
        annotation, optional = without_none(annotation)
        nullable = nullable or optional
        if get_origin(annotation) is not Annotated:
            break
    known = _known(found)
    named = mark_of(known, marks.Named)
    name = named.name if named else declared.name
    if name == META_FIELD:
        raise ParamError(f"field `{declared.name}`: {META_FIELD} holds the dynamic keys: mark a dict with Dynamic()")
    key = mark_of(known, marks.Key)
    filled = bool(mark_of(known, marks.Embedded)) or name in outputs
    if mark_of(known, marks.Dynamic):
        if (get_origin(annotation) or annotation) is not dict:
            raise ParamError(f"field `{name}`: dynamic keys are in a dict, not in a {annotation}")
        kind = Kind(DataType.JSON, encode=lambda values: [{} if value is None else value for value in values])
        return FieldShape(declared.name, declared.argument, META_FIELD, kind, False, known, written=True, read=True)
    if mark_of(known, marks.Structs):
        return _structs(declared, name, annotation, nullable, known)
    nullable = nullable or annotation is Any
    kind = kind_of(annotation, known, name, validated=model.validates)
    unread = mark_of(known, marks.Unread) is not None
    by_server = filled or (key is not None and key.auto)
    if (unread or by_server) and not declared.has_default:
        why = "is not read back" if unread else "is made by the server"
        raise ParamError(f"field `{name}` {why}, so it wants a default in the model, such as None")
    return FieldShape(
        declared.name, declared.argument, name, kind, nullable and key is None and not filled, known,
        written=not by_server, read=not unread,
    )  # fmt: skip


def _structs(declared: ModelField, name: str, annotation: Any, nullable: bool, known: tuple[object, ...]) -> FieldShape:
    """A list of objects as an array of structs."""
    mark = mark_of(known, marks.Structs)
    assert mark is not None
    for other in known:
        if not isinstance(other, marks.Structs | marks.Named | marks.Described | marks.Unread):
            raise ParamError(f"field `{name}`: {type(other).__name__} says nothing about an array of structs")
    if get_origin(annotation) is not list or not all(isinstance(one, type) for one in get_args(annotation) or (0,)):
        raise ParamError(f"field `{name}`: an array of structs is a list of objects of a class")
    model = model_of(get_args(annotation)[0])
    parts = tuple(_field(model, part, set()) for part in model.fields)
    for part in parts:
        if part.nullable or part.is_key or part.is_dynamic or part.kind.encode is not None or part.kind.element:
            raise ParamError(
                f"field `{name}`: `{part.name}` is no part of a struct: numbers, flags, texts, vectors are"
            )
    kind = Kind(
        DataType.ARRAY, DataType.STRUCT, {"max_capacity": mark.capacity}, partial(structs_in, parts),
        partial(structs_out, parts, model),
    )  # fmt: skip
    read = mark_of(known, marks.Unread) is None
    if not read and not declared.has_default:
        raise ParamError(f"field `{name}` is not read back, so it wants a default in the model, such as None")
    return FieldShape(
        declared.name, declared.argument, name, kind, nullable, known, written=True, read=read, parts=parts
    )


def _struct_of(field: FieldShape) -> StructFieldSchema | None:
    if not field.parts:
        return None
    struct = StructFieldSchema()
    for part in field.parts:
        struct.add_field(part.name, part.kind.data_type, **_settings(part))
    return struct


def _known(found: Sequence[object]) -> tuple[object, ...]:
    """Those of the annotations that are marks; `Key` is as good as `Key()`."""
    bare = (marks.Key, marks.PartitionKey, marks.ClusteringKey, marks.Dynamic, marks.Unread, marks.BM25, marks.Sparse)
    made: list[object] = [one() if isinstance(one, type) and issubclass(one, bare) else one for one in found]
    return tuple(one for one in made if isinstance(one, (*marks.MARKS, DataType)))


def _settings(field: FieldShape) -> dict[str, Any]:
    """What `add_field` is told about a field."""
    settings: dict[str, Any] = dict(field.kind.params)
    if field.kind.element is not None:
        settings["element_type"] = field.kind.element
    if field.nullable:
        settings["nullable"] = True
    for mark in field.marks:
        match mark:
            case marks.Key(auto):
                settings |= {"is_primary": True, "auto_id": auto}
            case marks.PartitionKey():
                settings["is_partition_key"] = True
            case marks.ClusteringKey():
                settings["is_clustering_key"] = True
            case marks.Default(value):
                settings["default_value"] = value
            case marks.Described(text):
                settings["description"] = text
            case marks.BM25():
                settings.setdefault("analyzer_params", dict(_STANDARD))
                settings["enable_analyzer"] = True
            case marks.Varchar(analyzer=analyzer, match=match):
                if analyzer is not None or match:
                    settings |= {"enable_analyzer": True, "analyzer_params": dict(analyzer or _STANDARD)}
                if match:
                    settings["enable_match"] = True
            case _:
                continue
    return settings


def _add_functions(schema: CollectionSchema, field: FieldShape) -> None:
    if mark_of(field.marks, marks.BM25):
        output = words_of(field)
        schema.add_field(output, DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(Function(f"{output}_bm25", FunctionType.BM25, [field.name], [output]))
    embedded = mark_of(field.marks, marks.Embedded)
    if embedded:
        params = {"provider": embedded.provider, **embedded.params}
        function = Function(f"{field.name}_embedding", FunctionType.TEXTEMBEDDING, [embedded.of], [field.name])
        function.params = params
        schema.add_function(function)


def _add_indexes(params: IndexParams, field: FieldShape) -> None:
    for part in field.parts:
        vector = mark_of(part.marks, marks.Vector)
        if vector is not None:
            metric = vector.metric if vector.metric.startswith("MAX_SIM") else f"MAX_SIM_{vector.metric}"
            name = f"{field.name}[{part.name}]"
            params.add_index(name, vector.index, metric_type=metric, params=dict(vector.params))
    for mark in field.marks:
        match mark:
            case marks.Vector() | marks.Sparse():
                params.add_index(
                    field.name, mark.index, metric_type=_metric(field.kind, mark), params=dict(mark.params)
                )
            case marks.BM25():
                params.add_index(words_of(field), mark.index, metric_type="BM25", params=dict(mark.params))
            case marks.Index():
                params.add_index(field.name, mark.type, params=dict(mark.params))
            case _:
                continue


def _metric(kind: Kind, mark: marks.Vector | marks.Sparse) -> str:
    """Binary vectors have metrics of their own."""
    if kind.data_type is DataType.BINARY_VECTOR and mark.metric == marks.Vector(dim=8).metric:
        return "HAMMING"
    return mark.metric
