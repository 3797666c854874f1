"""Several vectors that are one query of an array of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.errors import ParamError
from redkite.model.types import DataType

_NUMBERS: dict[DataType, str] = {
    DataType.FLOAT_VECTOR: "float32", DataType.FLOAT16_VECTOR: "float16", DataType.BFLOAT16_VECTOR: "bfloat16",
    DataType.INT8_VECTOR: "int8", DataType.BINARY_VECTOR: "uint8",
}  # fmt: skip
Vector = Sequence[float] | npt.NDArray[Any] | bytes


class EmbeddingList:
    """A query made of several vectors, for the vector sub-field of an array of structs.

    query = EmbeddingList().add(first).add(second)
    client.search("talks", data=[query], anns_field="clips[embedding]", limit=10)
    """

    def __init__(
        self,
        embeddings: Sequence[Vector] | npt.NDArray[Any] | None = None,
        dim: int | None = None,
        dtype: npt.DTypeLike | DataType | None = None,
    ) -> None:
        """
        Args:
            embeddings: The vectors to begin with: a list of them, a matrix, or one as a 1D array.
            dim: Numbers of each vector, to be checked; for binary vectors bytes. By default those of the first.
            dtype: A numpy type or a vector DataType that all become. By default that of the first; float64 becomes
                float32.
        """
        self._embeddings: list[npt.NDArray[Any]] = []
        self._dim = dim
        self._dtype = None if dtype is None else _numpy_type(dtype)
        if embeddings is None:
            return
        if isinstance(embeddings, np.ndarray) and embeddings.ndim == 1:
            self.add(embeddings)
        elif isinstance(embeddings, np.ndarray | list | tuple):
            self.add_batch(embeddings)
        else:
            raise TypeError("Embeddings must be numpy array or list")

    def add(self, embedding: Vector) -> EmbeddingList:
        """Add one vector: a list of numbers, a 1D array, or bytes. Returns the list, so that calls chain."""
        if isinstance(embedding, bytes):
            vector: npt.NDArray[Any] = np.frombuffer(embedding, self._dtype or np.uint8)
        else:
            vector = np.asarray(embedding)
        if vector.ndim != 1:
            raise ValueError(f"Embedding must be 1D, got shape {vector.shape}")
        wanted = len(self._embeddings[0]) if self._embeddings else self._dim
        if wanted is not None and len(vector) != wanted:
            origin = "existing" if self._embeddings else "expected"
            raise ValueError(f"Embedding dimension {len(vector)} doesn't match {origin} {wanted}")
        if self._dtype is None:
            self._dtype = np.dtype(np.float32) if vector.dtype.kind in "iuf" and vector.itemsize == 8 else vector.dtype
        self._embeddings.append(vector.astype(self._dtype, copy=False))
        return self

    def add_batch(self, embeddings: Sequence[Vector] | npt.NDArray[Any]) -> EmbeddingList:
        """Add several vectors: a list of them, or a matrix."""
        if isinstance(embeddings, np.ndarray) and embeddings.ndim != 2:
            raise ValueError(f"Batch embeddings must be 2D, got {embeddings.ndim}D")
        for embedding in embeddings:
            self.add(embedding)
        return self

    def clear(self) -> EmbeddingList:
        """Take all vectors out."""
        self._embeddings.clear()
        return self

    def to_flat_array(self) -> npt.NDArray[Any]:
        """All numbers, one vector behind another. Raises ValueError without a vector."""
        if not self._embeddings:
            raise ValueError("EmbeddingList is empty")
        return np.concatenate(self._embeddings)

    def to_numpy(self) -> npt.NDArray[Any]:
        """(vectors, dim) matrix. Raises ValueError without a vector."""
        if not self._embeddings:
            raise ValueError("EmbeddingList is empty")
        return np.stack(self._embeddings)

    def __len__(self) -> int:
        return len(self._embeddings)

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        return self._embeddings[index]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return iter(self._embeddings)

    @property
    def dim(self) -> int:
        """Numbers of each vector."""
        return len(self._embeddings[0]) if self._embeddings else self._dim or 0

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """What the numbers are; None as long as nothing tells."""
        return self._dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(vectors, dim)."""
        return len(self), self.dim

    @property
    def total_dim(self) -> int:
        """Numbers of all vectors."""
        return len(self) * self.dim

    @property
    def is_empty(self) -> bool:
        return not self._embeddings

    @property
    def nbytes(self) -> int:
        """Bytes of all vectors."""
        return sum(vector.nbytes for vector in self._embeddings)

    def __repr__(self) -> str:
        kind = f", dtype={self.dtype}" if self.dtype else ""
        return f"EmbeddingList(count={len(self)}, dim={self.dim}{kind})"


def _numpy_type(given: npt.DTypeLike | DataType) -> np.dtype[Any]:
    if not isinstance(given, DataType):
        return np.dtype(given)
    name = _NUMBERS.get(given)
    if name is None:
        raise ParamError(f"Unsupported DataType: {given}")
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    kind: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return kind
