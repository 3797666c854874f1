"""Enumerations of the protocol. Numbers are Milvus's wire numbers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class DataType(IntEnum):
    NONE = 0
    BOOL = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT = 10
    DOUBLE = 11
    STRING = 20
    VARCHAR = 21
    ARRAY = 22
    JSON = 23
    GEOMETRY = 24
    TEXT = 25
    TIMESTAMPTZ = 26
    BINARY_VECTOR = 100
    FLOAT_VECTOR = 101
    FLOAT16_VECTOR = 102
    BFLOAT16_VECTOR = 103
    SPARSE_FLOAT_VECTOR = 104
    INT8_VECTOR = 105
    _ARRAY_OF_VECTOR = 106
    _ARRAY_OF_STRUCT = 200
    STRUCT = 201
    UNKNOWN = 999

    @property
    def wire_name(self) -> str:
        """The name in Milvus's protocol and REST (`VarChar`, `FloatVector`)."""
        return _WIRE_NAMES[self]

    @property
    def is_vector(self) -> bool:
        return 100 <= self <= 106

    @property
    def is_integer(self) -> bool:
        return DataType.INT8 <= self <= DataType.INT64

    @property
    def is_float(self) -> bool:
        return self in (DataType.FLOAT, DataType.DOUBLE)

    @property
    def is_number(self) -> bool:
        return self.is_integer or self.is_float

    @property
    def is_string(self) -> bool:
        return self in (DataType.VARCHAR, DataType.TEXT)


_WIRE_NAMES: dict[DataType, str] = {
    DataType.NONE: "None", DataType.BOOL: "Bool", DataType.INT8: "Int8", DataType.INT16: "Int16",
    DataType.INT32: "Int32", DataType.INT64: "Int64", DataType.FLOAT: "Float", DataType.DOUBLE: "Double",
    DataType.STRING: "String", DataType.VARCHAR: "VarChar", DataType.ARRAY: "Array", DataType.JSON: "JSON",
    DataType.GEOMETRY: "Geometry", DataType.TEXT: "Text", DataType.TIMESTAMPTZ: "Timestamptz",
    DataType.BINARY_VECTOR: "BinaryVector", DataType.FLOAT_VECTOR: "FloatVector",
    DataType.FLOAT16_VECTOR: "Float16Vector", DataType.BFLOAT16_VECTOR: "BFloat16Vector",
    DataType.SPARSE_FLOAT_VECTOR: "SparseFloatVector", DataType.INT8_VECTOR: "Int8Vector",
    DataType._ARRAY_OF_VECTOR: "ArrayOfVector", DataType._ARRAY_OF_STRUCT: "ArrayOfStruct",
    DataType.STRUCT: "Struct", DataType.UNKNOWN: "Unknown",
}  # fmt: skip
BY_WIRE_NAME: dict[str, DataType] = {name: t for t, name in _WIRE_NAMES.items()}


class ConsistencyLevel(IntEnum):
    Strong = 0
    Session = 1
    Bounded = 2
    Eventually = 3
    Customized = 4


class FunctionType(IntEnum):
    UNKNOWN = 0
    BM25 = 1
    TEXTEMBEDDING = 2
    RERANK = 3
    MINHASH = 4


class FieldOp(IntEnum):
    """How one field of a partial upsert combines with what is stored."""

    REPLACE = 0
    ARRAY_APPEND = 1
    ARRAY_REMOVE = 2
    """Every element that equals one of the given."""

    @classmethod
    def replace(cls) -> FieldOp:
        return cls.REPLACE

    @classmethod
    def array_append(cls) -> FieldOp:
        return cls.ARRAY_APPEND

    @classmethod
    def array_remove(cls) -> FieldOp:
        return cls.ARRAY_REMOVE


def changes_partly(ops: Iterable[FieldOp]) -> bool:
    """Whether an upsert with these is a partial one, whatever else it says."""
    return any(op is not FieldOp.REPLACE for op in ops)


class IndexState(IntEnum):
    NONE = 0
    UNISSUED = 1
    IN_PROGRESS = 2
    FINISHED = 3
    FAILED = 4
    RETRY = 5


class LoadState(IntEnum):
    NotExist = 0
    NotLoad = 1
    Loading = 2
    Loaded = 3

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<LoadState: {self.name}>"


class LoadPriority(IntEnum):
    """Of a load. HIGH and LOW are numbers of the wire."""

    HIGH = 0
    LOW = 1
    """It waits for all others."""
    DUE = 2
    """A low one whose turn has come: nobody asks for that."""


class JobState(IntEnum):
    """Of work in the background. Numbers of the wire."""

    NONE = 0
    PENDING = 1
    EXECUTING = 2
    COMPLETED = 3
    FAILED = 4


class Metric(StrEnum):
    L2 = "L2"
    IP = "IP"
    COSINE = "COSINE"
    HAMMING = "HAMMING"
    JACCARD = "JACCARD"
    SUBSTRUCTURE = "SUBSTRUCTURE"
    SUPERSTRUCTURE = "SUPERSTRUCTURE"
    BM25 = "BM25"
    MHJACCARD = "MHJACCARD"
    MAX_SIM = "MAX_SIM"
    MAX_SIM_COSINE = "MAX_SIM_COSINE"
    MAX_SIM_IP = "MAX_SIM_IP"
    MAX_SIM_L2 = "MAX_SIM_L2"
    MAX_SIM_HAMMING = "MAX_SIM_HAMMING"
    MAX_SIM_JACCARD = "MAX_SIM_JACCARD"

    @property
    def larger_is_closer(self) -> bool:
        """True for similarities (sorted descending), False for distances (sorted ascending)."""
        return self not in _DISTANCES

    @property
    def is_of_lists(self) -> bool:
        """Whether it compares lists of vectors."""
        return self in _OF_ELEMENTS

    @property
    def of_elements(self) -> Metric:
        """What compares one vector with one: of a metric of lists the one that it sums up, else the metric itself."""
        return _OF_ELEMENTS.get(self, self)


_OF_ELEMENTS = {
    Metric.MAX_SIM: Metric.COSINE, Metric.MAX_SIM_COSINE: Metric.COSINE, Metric.MAX_SIM_IP: Metric.IP,
    Metric.MAX_SIM_L2: Metric.L2, Metric.MAX_SIM_HAMMING: Metric.HAMMING, Metric.MAX_SIM_JACCARD: Metric.JACCARD,
}  # fmt: skip
_DISTANCES = frozenset({
    Metric.L2, Metric.HAMMING, Metric.JACCARD, Metric.SUBSTRUCTURE, Metric.SUPERSTRUCTURE,
    Metric.MAX_SIM_L2, Metric.MAX_SIM_HAMMING, Metric.MAX_SIM_JACCARD,
})  # fmt: skip
