"""Ways to make vectors of texts: a provider over HTTP, a model of this machine, a callable of this program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.errors import FunctionFailed, InvalidParameter, MilvusException
from redkite.functions.models import Models
from redkite.functions.providers.base import Asked, EmbeddingApi, Purpose, Vectors
from redkite.functions.quoting import quoted
from redkite.functions.wanted import Wanted
from redkite.model.embeddings import RegisterEmbedding
from redkite.model.types import DataType

SMALLEST, LARGEST = -128, 127
TOGETHER = 256
"""Texts that a model of this machine takes at a time; in between others have their turn."""


class Embedder(Protocol):
    """Any thread."""

    def check(self) -> None:
        """Raise InvalidParameter when what is to be asked may not be asked here."""
        ...

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """(texts, dim) vectors of the field's kind of number. Raises FunctionFailed when there are none, or others."""
        ...


class Shape(msgspec.Struct, frozen=True):
    """What the field that is filled can hold."""

    kind: DataType
    dim: int
    """0: any."""

    def matrix(self, who: str, rows: Any, count: int) -> Vectors:
        """Numbers as a matrix of this shape. Raises FunctionFailed for what is none."""
        try:
            found: npt.NDArray[Any] = np.asarray(rows)
        except ValueError:  # rows of several lengths
            raise FunctionFailed(f"{who} answered vectors of different lengths") from None
        if found.dtype == np.object_ or found.ndim != 2 or found.dtype.kind not in "fiu":
            raise FunctionFailed(f"{who} answered what are not {count} vectors of numbers")
        if len(found) != count:
            raise FunctionFailed(f"{who} answered {len(found)} vectors for {count} texts")
        if self.dim and found.shape[1] != self.dim:
            raise FunctionFailed(
                f"{who}: The required embedding dim is [{self.dim}], "
                f"but the embedding obtained from the model is [{found.shape[1]}]"
            )
        return self._bytes(who, found) if self.kind is DataType.INT8_VECTOR else _floats(who, found)

    @staticmethod
    def _bytes(who: str, found: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
        if found.dtype == np.int8:
            return found
        if (found < SMALLEST).any() or (found > LARGEST).any() or (found != np.round(found)).any():
            raise FunctionFailed(f"{who} answered vectors that are not of int8")
        return found.astype(np.int8)


def _floats(who: str, found: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(vectors).all():
        raise FunctionFailed(f"{who} answered vectors with numbers that are not finite")
    return vectors


class RemoteEmbedder:
    """A provider over HTTP."""

    def __init__(
        self, models: Models, api: EmbeddingApi, wanted: Wanted, template: Asked, batch: int, shape: Shape
    ) -> None:
        """`template` is what each request says, but for its texts."""
        self._models = models
        self._api = api
        self._wanted = wanted
        self._template = template
        self._batch = batch
        self._shape = shape

    def check(self) -> None:
        self._models.targets.check(self._wanted)

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        target = self._models.targets.of(self._wanted)
        asked = [
            msgspec.structs.replace(self._template, texts=texts[start:end], purpose=purpose)
            for start, end in batches(texts, self._batch, self._api.characters)
        ]
        bodies = [msgspec.json.encode(self._api.body(one)) for one in asked]
        requests = [self._models.targets.request(target, body) for body in bodies]
        replies = self._models.http.post_all(requests)
        parts = []
        for request, one, reply in zip(requests, asked, replies, strict=True):
            who = f"{request.who} at {request.place}"
            try:
                rows = self._api.vectors(reply, one)
            except (msgspec.DecodeError, RecursionError, ValueError) as error:
                shown = quoted(reply, request.hidden)
                raise FunctionFailed(f"{who} answered what are not vectors ({error!s:.120}): {shown}") from None
            parts.append(self._shape.matrix(who, rows, len(one.texts)))
        return _together(parts)


def batches(texts: Sequence[str], most: int, characters: int) -> Iterator[tuple[int, int]]:
    """(start, end) of runs of texts: no more than `most`, and no more characters unless one text alone has them."""
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
    start, before = 0, 0
    while start < len(texts):
        fitting = int(np.searchsorted(ends, before + characters, "right"))
        end = min(start + most, max(fitting, start + 1))
        yield start, end
        start, before = end, int(ends[end - 1])


class CallableEmbedder:
    """Functions of Python, which the program that opened this database has registered."""

    def __init__(self, models: Models, name: str, shape: Shape) -> None:
        self._models = models
        self._name = name
        self._shape = shape

    def check(self) -> None:
        """It may be registered later, in every process that opens the database."""

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        found = self._registered()
        call = found.documents if purpose is Purpose.DOCUMENT else found.queries
        who = f"embedding {self._name}"
        step = found.batch or len(texts)
        parts = []
        for at in range(0, len(texts), step):
            some = list(texts[at : at + step])
            try:
                rows = self._models.computed(who, partial(_called, call, some))
            except MilvusException:
                raise
            except Exception as error:
                raise FunctionFailed(f"{who} raised {type(error).__name__}: {error!s:.200}") from error
            parts.append(self._shape.matrix(who, rows, len(some)))
        return _together(parts)

    def _registered(self) -> RegisterEmbedding:
        found = self._models.registered(self._name)
        if found is None and not self._models.settings.any_folder:
            raise InvalidParameter(f"embedding {self._name}: a server runs no Python code of its clients")
        if found is None:
            raise InvalidParameter(
                f"embedding {self._name} is not registered in this process: call client.register_embedding first"
            )
        return found


class LocalEmbedder:
    """A model in a folder of this machine."""

    def __init__(self, models: Models, place: Any, prompts: Mapping[Purpose, str], shape: Shape) -> None:
        self._models = models
        self._place = place
        self._prompts = prompts
        self._shape = shape

    def check(self) -> None:
        """Its place was looked at when it was named."""

    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        prompt = self._prompts.get(purpose, "")
        prompted = [prompt + text for text in texts] if prompt else texts
        who = f"model {self._place.name}"
        parts = [
            self._models.computed(who, partial(self._batch, prompted[at : at + TOGETHER]))
            for at in range(0, len(prompted), TOGETHER)
        ]
        return self._shape.matrix(who, _together(parts), len(texts))

    def _batch(self, texts: Sequence[str]) -> Vectors:
        vectors: Vectors = self._models.local(self._place).embed(texts)
        return vectors


def _together(parts: Sequence[Vectors]) -> Vectors:
    if len(parts) == 1:
        return parts[0]
    matrix: Any = np.concatenate(parts)
    vectors: Vectors = matrix
    return vectors


def _called(call: Callable[[list[str]], Any], texts: list[str]) -> Any:
    return stacked(call(texts))


def stacked(rows: Any) -> Any:
    """What a callable gave, as something numpy reads at once: tensors and generators as well as lists of arrays."""
    if isinstance(rows, np.ndarray):
        return rows
    if hasattr(rows, "detach"):  # a tensor that remembers how it was computed
        rows = rows.detach().cpu().numpy()
    if not hasattr(rows, "__len__"):
        rows = list(rows)
    return rows
