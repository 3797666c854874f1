"""A schema with a field of every type, and random rows of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from redkite import CollectionSchema, DataType, MilvusClient

DIM = 8
SCALARS = ("BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE")
_TEXTS = (
    "",
    "plain",
    "ünïcödé 漢字",
    'quo"te',
    "com,ma",
    "li\nne\r\n",
    "back\\slash",
    "null",
    "a\tb",
    "x" * 40,
    " pad ",
)


def all_types(
    *, dynamic: bool = True, nullable: bool = True, flat: bool = False, key: DataType = DataType.INT64
) -> CollectionSchema:
    """`flat`: only what NumPy files hold."""
    schema = MilvusClient.create_schema(enable_dynamic_field=dynamic)
    more = {"max_length": 64} if key is DataType.VARCHAR else {}
    schema.add_field("id", key, is_primary=True, **more)
    for name in SCALARS:
        schema.add_field(f"f_{name.lower()}", DataType[name], nullable=nullable)
    schema.add_field("f_text", DataType.VARCHAR, max_length=300, nullable=nullable)
    schema.add_field("f_long", DataType.TEXT, nullable=nullable)
    schema.add_field("f_json", DataType.JSON, nullable=nullable)
    schema.add_field("f_time", DataType.TIMESTAMPTZ, nullable=nullable)
    schema.add_field("f_shape", DataType.GEOMETRY, nullable=nullable)
    schema.add_field("v_float", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("v_half", DataType.FLOAT16_VECTOR, dim=DIM, nullable=nullable)
    schema.add_field("v_brain", DataType.BFLOAT16_VECTOR, dim=DIM, nullable=nullable)
    schema.add_field("v_int8", DataType.INT8_VECTOR, dim=DIM, nullable=nullable)
    schema.add_field("v_bits", DataType.BINARY_VECTOR, dim=DIM * 2, nullable=nullable)
    if flat:
        return schema
    schema.add_field("v_sparse", DataType.SPARSE_FLOAT_VECTOR, nullable=nullable)
    for name in (*SCALARS, "VARCHAR"):
        more = {"max_length": 64} if name == "VARCHAR" else {}
        schema.add_field(
            f"a_{name.lower()}", DataType.ARRAY, element_type=DataType[name], max_capacity=8, nullable=nullable, **more
        )
    shape = MilvusClient.create_struct_field_schema()
    shape.add_field("word", DataType.VARCHAR, max_length=64)
    shape.add_field("weight", DataType.FLOAT)
    shape.add_field("count", DataType.INT64)
    shape.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
    shape.add_field("half", DataType.FLOAT16_VECTOR, dim=4)
    shape.add_field("bits", DataType.BINARY_VECTOR, dim=16)
    schema.add_field(
        "parts", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=shape, max_capacity=8, nullable=nullable
    )
    return schema


def random_rows(schema: CollectionSchema, count: int, seed: int, nulls: float = 0.2) -> list[dict[str, Any]]:
    """Rows as users hold them, some of their nullable fields null."""
    chance = np.random.default_rng(seed)
    fields = {field.name: field for field in schema.to_model("rows").fields}
    rows = []
    for at in range(count):
        row: dict[str, Any] = {}
        for name, field in fields.items():
            if name == "id":
                row[name] = f"key {at}" if field.data_type is DataType.VARCHAR else at - count // 2
            elif name.startswith("parts"):
                continue
            elif field.nullable and chance.random() < nulls:
                row[name] = None
            else:
                row[name] = _value(chance, field.data_type, field.element_type)
        if any(field.name == "parts" for field in schema.to_model("rows").struct_fields):
            row["parts"] = [_part(chance) for _ in range(int(chance.integers(0, 4)))]
            if schema_is_nullable(schema) and chance.random() < nulls:
                row["parts"] = None
        if schema.enable_dynamic_field and chance.random() < 0.7:
            row["extra"] = _document(chance)
            row[f"key {at % 3}"] = int(chance.integers(0, 100))
        rows.append(row)
    return rows


def schema_is_nullable(schema: CollectionSchema) -> bool:
    return any(struct.nullable for struct in schema.to_model("rows").struct_fields)


def _part(chance: np.random.Generator) -> dict[str, Any]:
    return {
        "word": _text(chance),
        "weight": _number(chance, DataType.FLOAT),
        "count": int(chance.integers(-(2**63), 2**63 - 1, dtype=np.int64)),
        "vector": chance.standard_normal(4).astype(np.float32).tolist(),
        "half": chance.standard_normal(4).astype(np.float16).tobytes(),
        "bits": chance.integers(0, 255, 2, endpoint=True).astype(np.uint8).tobytes(),
    }


def _text(chance: np.random.Generator) -> str:
    return str(chance.choice(_TEXTS))


def _number(chance: np.random.Generator, kind: DataType) -> Any:
    if kind is DataType.BOOL:
        return bool(chance.integers(0, 2))
    if kind is DataType.FLOAT:
        return float(np.float32(chance.standard_normal() * 10.0 ** chance.integers(-30, 30)))
    if kind is DataType.DOUBLE:
        return float(chance.standard_normal() * 10.0 ** chance.integers(-300, 300))
    bits = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32}.get(kind, 64)
    return int(chance.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, endpoint=True, dtype=np.int64))


def _document(chance: np.random.Generator) -> Any:
    kinds: list[Any] = [{}, [], {"a": {"b": [1, 2.5, None, True, "ü"]}}, 5, -0.25, True, {"big": 2**53 + 1, "t": 'q"'}]
    return kinds[int(chance.integers(0, len(kinds)))]


def _value(chance: np.random.Generator, kind: DataType, element: DataType) -> Any:
    if kind.is_string:
        return _text(chance)
    if kind is DataType.JSON:
        return json.dumps(_document(chance))
    if kind is DataType.TIMESTAMPTZ:
        day, micros = int(chance.integers(1, 29)), int(chance.integers(0, 1_000_000))
        return f"2025-02-{day:02}T10:20:30.{micros:06}+02:00"
    if kind is DataType.GEOMETRY:
        x, y = chance.random(2).tolist()
        return str(chance.choice([f"POINT ({x} {y})", "POLYGON ((0 0, 1 0, 1 1, 0 0))", "LINESTRING (0 0, 2 3)"]))
    if kind is DataType.ARRAY:
        each = (lambda: _text(chance)) if element is DataType.VARCHAR else (lambda: _number(chance, element))
        return [each() for _ in range(int(chance.integers(0, 5)))]
    if kind is DataType.FLOAT_VECTOR:
        return chance.standard_normal(DIM).astype(np.float32).tolist()
    if kind is DataType.FLOAT16_VECTOR:
        return chance.standard_normal(DIM).astype(np.float16).tobytes()
    if kind is DataType.BFLOAT16_VECTOR:
        floats = chance.standard_normal(DIM).astype(np.float32)
        return (floats.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    if kind is DataType.INT8_VECTOR:
        return chance.integers(-128, 127, DIM, endpoint=True).astype(np.int8)
    if kind is DataType.BINARY_VECTOR:
        return chance.integers(0, 255, DIM * 2 // 8, endpoint=True).astype(np.uint8).tobytes()
    if kind is DataType.SPARSE_FLOAT_VECTOR:
        index = chance.choice(2**32 - 2, int(chance.integers(0, 5)), replace=False)
        return {int(i): float(np.float32(chance.random())) for i in index}
    return _number(chance, kind)
