"""Functions of type MINHASH: a text field fills a binary vector field with MinHash signatures.

The share of equal elements of two signatures estimates the Jaccard similarity of the two texts' shingles: their runs
of `shingle_size` words or characters. An element is 32 bits, little endian, so that a field of `num_hashes` elements
has 32 times as many dimensions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from hashlib import sha1

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.functions.base import Local
from redkite.model.reading import Queries
from redkite.model.rules.numbers import whole_number
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType

ELEMENT_BITS = 32
DEFAULT_SHINGLE, DEFAULT_SEED = 3, 1234
MAX_SHINGLE = 1024
WORD, CHARACTER = "word", "char"
_LEVELS = {"word": WORD, "char": CHARACTER, "character": CHARACTER}
XXHASH, SHA1 = "xxhash", "sha1"
_KNOWN = ("num_hashes", "shingle_size", "hash_function", "token_level", "seed")
_TEXT_TYPES = (DataType.VARCHAR, DataType.TEXT)
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
Hashes = npt.NDArray[np.uint64]
Signatures = npt.NDArray[np.uint32]


class MinHashFunction:
    """Any thread."""

    def __init__(self, schema: CollectionSchema, function: FunctionSchema, services: Local) -> None:
        source, target = _fields(schema, function)
        params = {key.lower(): value for key, value in function.params.items()}
        for key in params:
            if key not in _KNOWN:
                raise InvalidParameter(
                    f"MinHash function: unknown parameter {key[:100]}, known are {', '.join(_KNOWN)}"
                )
        self._name = source.name
        self._bits = target.dim
        self._size = _number(params, "shingle_size", DEFAULT_SHINGLE, 1, MAX_SHINGLE)
        self._level = _choice(params, "token_level", _LEVELS, WORD)
        self._hash = _choice(params, "hash_function", {XXHASH: XXHASH, SHA1: SHA1}, XXHASH)
        self._seed = _number(params, "seed", DEFAULT_SEED, 0, _MASK)
        hashes = _count(params, target)
        self._factors = drawn(self._seed, hashes) | np.uint64(1)
        self._terms = drawn(self._seed ^ _GOLDEN, hashes)
        self._analyzer = None
        if self._level == WORD:
            from redkite.text.specs import NONE, field_analyzer

            self._analyzer = field_analyzer(source, services.resources or NONE)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self._name,)

    def fill(self, inputs: Sequence[pa.Array]) -> pa.Array:
        """A null is a text without words."""
        (column,) = inputs
        width = self._bits // 8
        if not len(column):
            return pa.array([], pa.binary(width))
        data = pa.py_buffer(np.ascontiguousarray(self.signatures(column), "<u4"))
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(column), [None, data])

    def queries(self, texts: Sequence[str], analyzer_name: str = "") -> Queries:
        if analyzer_name:
            raise InvalidParameter(f"analyzer_name [{analyzer_name[:100]}] goes with the search of a BM25 field")
        found = np.ascontiguousarray(self.signatures(pa.array(texts, pa.string())), "<u4")
        return Queries(data_type=DataType.BINARY_VECTOR, raw=tuple(row.tobytes() for row in found))

    def signatures(self, texts: pa.Array) -> Signatures:
        """(texts, hashes) of a column of texts; an empty text has the largest number everywhere."""
        from redkite.functions.shingle_kernels import least_hashes

        units, starts = self._words(texts) if self._analyzer is not None else self._characters(texts)
        out = np.empty((len(texts), len(self._factors)), np.uint32)
        least_hashes(units, starts, self._size, self._factors, self._terms, out)
        return out

    # -- what shingles are made of --------------------------------------------------------------
    def _words(self, texts: pa.Array) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """The hash of each word of the texts, each distinct one hashed once, and where each text's begin."""
        assert self._analyzer is not None
        tokens = self._analyzer.analyze(texts)
        hashes = self._hashed(tokens.vocabulary)
        return hashes[tokens.codes], np.ascontiguousarray(tokens.starts, np.int64)

    def _characters(self, texts: pa.Array) -> tuple[Hashes, npt.NDArray[np.int64]]:
        """A hash of each character of the texts."""
        import pyarrow.compute as pc

        filled = texts.fill_null("") if texts.null_count else texts
        starts = np.zeros(len(filled) + 1, np.int64)
        np.cumsum(pc.utf8_length(filled).to_numpy(zero_copy_only=False), out=starts[1:])
        points = np.frombuffer("".join(filled.to_pylist()).encode("utf-32-le"), np.uint32)
        present = np.zeros(sys.maxunicode + 1, np.bool_)
        present[points] = True
        distinct = np.flatnonzero(present)
        hashes = np.empty(len(present), np.uint64)
        hashes[distinct] = self._hashed([chr(point) for point in distinct.tolist()])
        return hashes[points], starts

    def _hashed(self, words: Sequence[str]) -> Hashes:
        if self._hash == SHA1:
            salt = self._seed.to_bytes(8, "little")
            digests = b"".join(sha1(salt + word.encode(), usedforsecurity=False).digest()[:8] for word in words)
            return np.frombuffer(digests, "<u8").astype(np.uint64)
        from redkite.functions.shingle_kernels import hash_texts

        column = pa.array(words, pa.large_string())
        starts = np.frombuffer(column.buffers()[1], np.int64, len(words) + 1)
        data = np.frombuffer(column.buffers()[2] or b"", np.uint8)
        out = np.empty(len(words), np.uint64)
        hash_texts(data, starts, np.uint64(self._seed), out)
        return out


def drawn(seed: int, count: int) -> Hashes:
    """Numbers that a seed stands for, the same on every machine (SplitMix64)."""
    value = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)) + np.uint64(seed)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = value ^ (value >> np.uint64(31))
    return mixed


# -- what the schema says -----------------------------------------------------------------------
def _fields(schema: CollectionSchema, function: FunctionSchema) -> tuple[FieldSchema, FieldSchema]:
    if len(function.input_field_names) != 1 or len(function.output_field_names) != 1:
        raise InvalidParameter(
            f"MinHash function should have exactly one input field and exactly one output field: {function.name}"
        )
    names = (function.input_field_names[0], function.output_field_names[0])
    found = [next((field for field in schema.fields if field.name == name), None) for name in names]
    for name, field in zip(names, found, strict=True):
        if field is None:
            raise InvalidParameter(f"function {function.name}: field {name} not found in the schema")
    source, target = (field for field in found if field is not None)
    if source.data_type not in _TEXT_TYPES:
        raise InvalidParameter("MinHash function input field must be a VARCHAR/TEXT field")
    if target.data_type is not DataType.BINARY_VECTOR:
        raise InvalidParameter("MinHash function output field must be a BinaryVector field")
    return source, target


def _count(params: Mapping[str, str], target: FieldSchema) -> int:
    """How many hashes; as many as the field has room for unless the parameters say."""
    if target.dim % ELEMENT_BITS:
        raise InvalidParameter(
            f"MinHash function output field {target.name} must have a dimension that is a multiple of {ELEMENT_BITS}, "
            f"but got {target.dim}"
        )
    hashes = _number(params, "num_hashes", target.dim // ELEMENT_BITS, 1, 1 << 20)
    if hashes * ELEMENT_BITS != target.dim:
        raise InvalidParameter(
            f"MinHash function output field {target.name} must have dimension {ELEMENT_BITS} * num_hashes = "
            f"{ELEMENT_BITS * hashes}, but got {target.dim}"
        )
    return hashes


def _number(params: Mapping[str, str], key: str, default: int, least: int, most: int) -> int:
    text = params.get(key)
    number = default if text is None else whole_number(text)
    if number is None or not least <= number <= most:
        raise InvalidParameter(f"MinHash function: {key} [{text!s:.40}] should be a number from {least} to {most}")
    return number


def _choice(params: Mapping[str, str], key: str, choices: Mapping[str, str], default: str) -> str:
    text = params.get(key, default)
    chosen = choices.get(text.strip().lower())
    if chosen is None:
        raise InvalidParameter(f"MinHash function: {key} [{text[:40]}] should be one of {', '.join(choices)}")
    return chosen
