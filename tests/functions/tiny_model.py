"""A sentence encoder of a few hundred bytes: the state of a token is its row of a table. Written as ONNX says, by
hand, and a tokenizer of whole words beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

WORDS = ["[PAD]", "[UNK]", "red", "kite", "black", "swan", "grey", "heron", "over", "the", "hills"]
DIM = 4
TABLE: npt.NDArray[np.float32] = np.sin(np.arange(len(WORDS) * DIM, dtype=np.float32)).reshape(-1, DIM)
_FLOAT, _INT64 = 1, 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _value(name: str, kind: int, *dims: str | int) -> bytes:
    shape = b"".join(_field(1, _field(1, dim) if isinstance(dim, int) else _field(2, dim)) for dim in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def _node(kind: str, inputs: list[str], output: str) -> bytes:
    return b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(4, kind)


def onnx(table: npt.NDArray[np.float32] = TABLE) -> bytes:
    """`input_ids`, `attention_mask` -> `last_hidden_state` (texts, tokens, DIM)."""
    rows, dim = table.shape
    weights = _field(1, rows) + _field(1, dim) + _field(2, _FLOAT) + _field(8, "table") + _field(9, table.tobytes())
    graph = b"".join([
        _field(1, _node("Gather", ["table", "input_ids"], "last_hidden_state")),
        _field(1, _node("Identity", ["attention_mask"], "mask")),
        _field(2, "encoder"),
        _field(5, weights),
        _field(11, _value("input_ids", _INT64, "texts", "tokens")),
        _field(11, _value("attention_mask", _INT64, "texts", "tokens")),
        _field(12, _value("last_hidden_state", _FLOAT, "texts", "tokens", dim)),
        _field(12, _value("mask", _INT64, "texts", "tokens")),
    ])  # fmt: skip
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


def tokenizer() -> str:
    return json.dumps({
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: at for at, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    })  # fmt: skip


def write(folder: Path, *, pooling: str = "mean", normalize: bool = False, nested: bool = False) -> Path:
    """The model's folder, as such models are published."""
    folder.mkdir(parents=True, exist_ok=True)
    where = folder / "onnx" if nested else folder
    where.mkdir(exist_ok=True)
    (where / "model.onnx").write_bytes(onnx())
    (folder / "tokenizer.json").write_text(tokenizer())
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_lasttoken": pooling == "last"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    steps = ["models.Transformer", "models.Pooling", *(["models.Normalize"] if normalize else [])]
    (folder / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.{step}"} for step in steps]))
    return folder


def states(text: str) -> npt.NDArray[np.float32]:
    """(tokens, DIM) of a text."""
    words = text.lower().split()
    return TABLE[[WORDS.index(word) if word in WORDS else 1 for word in words]]


def mean(text: str) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = states(text).mean(axis=0)
    return found
