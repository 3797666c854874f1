"""Models in a folder of this machine, run by ONNX Runtime or by sentence-transformers, whichever is installed.

A folder is what such models are published as: `tokenizer.json` beside `model.onnx` (or `onnx/model.onnx`), or what
sentence-transformers reads. Nothing is ever downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.errors import InvalidParameter
from redkite.model.calling import ModelSettings

RUNTIMES = ("onnx", "sentence-transformers")
POOLINGS = ("mean", "cls", "last")
ONNX_FILES = ("model.onnx", "onnx/model.onnx", "onnx/model_optimized.onnx", "onnx/model_quantized.onnx")
BATCH = 32
"""Texts that go through a model at once."""
DEFAULT_TOKENS = 512
EXTRA = "pip install 'redkite[models]'"
Floats = npt.NDArray[np.float32]


class LocalModel(Protocol):
    """Any thread."""

    @property
    def dim(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Floats:
        """(texts, dim) vectors."""
        ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A model and how it is to be run. What is None is as the model's own files say."""

    who: str
    name: str
    """A folder, or the name of one: `all-MiniLM-L6-v2`, `sentence-transformers/all-MiniLM-L6-v2`."""
    folder: str = ""
    """The folder that named models are in."""
    any_folder: bool = True
    runtime: str = ""
    pooling: str = ""
    normalize: bool | None = None
    max_length: int = 0
    """Tokens of a text that are read; 0: as many as the model takes."""


def place_of(who: str, name: str, settings: ModelSettings, **given: Any) -> Place:
    """Raises InvalidParameter for a name that may not be used here."""
    if not settings.any_folder:
        if not settings.folder:
            raise InvalidParameter(f"{who}: this server has no folder of models, its setting `models` names one")
        steps = PurePosixPath(name)
        if steps.is_absolute() or ".." in steps.parts or not steps.parts or "\0" in name:
            raise InvalidParameter(f"{who}: model_name [{name[:100]}] must be a folder below the server's models")
    return Place(who=who, name=name, folder=settings.folder, any_folder=settings.any_folder, **given)


def load(place: Place) -> LocalModel:
    """The model, read into memory. Raises InvalidParameter when it is not there, or nothing here can run it."""
    folder = find(place)
    onnx = next((folder / name for name in ONNX_FILES if (folder / name).is_file()), None)
    runnable = {
        "onnx": onnx is not None and (folder / "tokenizer.json").is_file() and _installed("onnxruntime", "tokenizers"),
        "sentence-transformers": _installed("sentence_transformers"),
    }
    chosen = place.runtime or next((name for name, can in runnable.items() if can), "")
    if not chosen or not runnable[chosen]:
        raise InvalidParameter(f"{place.who}: {_why_not(folder, onnx, chosen)}")
    if chosen == "onnx":
        assert onnx is not None
        return OnnxModel(place, folder, onnx)
    return SentenceTransformersModel(place, folder)


def find(place: Place) -> Path:
    """The folder of a model. Raises InvalidParameter that says where it was looked for."""
    looked = []
    for folder in _candidates(place):
        if folder.is_dir():
            return folder
        looked.append(str(folder))
    raise InvalidParameter(
        f"{place.who}: there is no model {place.name[:200]}. Nothing is downloaded; looked for the folders "
        f"{', '.join(looked)}"
    )


def _candidates(place: Place) -> list[Path]:
    found = [Path(place.folder) / place.name] if place.folder else []
    if place.any_folder:
        found = [Path(place.name).expanduser(), *found, *_in_hub_cache(place.name)]
    return found


def _in_hub_cache(name: str) -> list[Path]:
    """Where Hugging Face's tools keep a model that they downloaded, the newest first."""
    variables = os.environ
    home = variables.get("HF_HOME") or f"{variables.get('XDG_CACHE_HOME', '~/.cache')}/huggingface"
    hub = Path(variables.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    owners = [name] if "/" in name else [f"sentence-transformers/{name}", name]
    folders = []
    for owned in owners:
        snapshots = hub / f"models--{owned.replace('/', '--')}" / "snapshots"
        try:
            versions = sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        except OSError:
            versions = []
        folders += versions or [snapshots]
    return folders


def _installed(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)


def _why_not(folder: Path, onnx: Path | None, chosen: str) -> str:
    if chosen == "sentence-transformers":
        return "sentence-transformers is not installed"
    if onnx is None or not (folder / "tokenizer.json").is_file():
        text = f"{folder} has no tokenizer.json beside one of {', '.join(ONNX_FILES)}"
        return text if chosen else f"{text}, and sentence-transformers is not installed"
    return f"ONNX Runtime and tokenizers are needed to run {folder}: {EXTRA}"


class OnnxModel:
    """A sentence encoder in ONNX."""

    def __init__(self, place: Place, folder: Path, onnx: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        pooling, normalize = _habits(folder)
        self._pooling = place.pooling or pooling
        self._normalize = normalize if place.normalize is None else place.normalize
        try:
            self._session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise InvalidParameter(f"{place.who}: {folder} cannot be read: {error!s:.200}") from error
        self._tokenizer.enable_truncation(max_length=place.max_length or _most_tokens(folder))
        self._tokenizer.enable_padding()
        self._inputs = {node.name for node in self._session.get_inputs()}
        self._output = _output_of([node.name for node in self._session.get_outputs()])
        self.dim = len(self.embed(["dimension"])[0])

    def embed(self, texts: Sequence[str]) -> Floats:
        """Texts of like length go together, so that little is padded."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        chunks = (order[at : at + BATCH].tolist() for at in range(0, len(texts), BATCH))
        vectors = np.concatenate([self._batch([texts[place] for place in chunk]) for chunk in chunks])
        sorted_back = np.empty_like(vectors)
        sorted_back[order] = vectors
        return sorted_back

    def _batch(self, texts: Sequence[str]) -> Floats:
        encoded = self._tokenizer.encode_batch(texts)
        mask = np.array([text.attention_mask for text in encoded], np.int64)
        columns = {
            "input_ids": np.array([text.ids for text in encoded], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([text.type_ids for text in encoded], np.int64),
        }
        feed = {name: column for name, column in columns.items() if name in self._inputs}
        (found,) = self._session.run([self._output], feed)
        vectors: Floats = np.asarray(found, np.float32)
        if vectors.ndim == 3:
            vectors = pooled(vectors, mask, self._pooling)
        return unit(vectors) if self._normalize else vectors


class SentenceTransformersModel:
    """A model that sentence-transformers runs."""

    def __init__(self, place: Place, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._normalize = bool(place.normalize)
        try:
            self._model = SentenceTransformer(str(folder), local_files_only=True)
        except Exception as error:
            raise InvalidParameter(f"{place.who}: {folder} cannot be read: {error!s:.200}") from error
        if place.max_length:
            self._model.max_seq_length = place.max_length
        if place.pooling:
            raise InvalidParameter(f"{place.who}: pooling is part of a sentence-transformers model")
        self.dim = int(self._model.get_sentence_embedding_dimension())

    def embed(self, texts: Sequence[str]) -> Floats:
        found = self._model.encode(
            list(texts), batch_size=BATCH, normalize_embeddings=self._normalize, show_progress_bar=False
        )
        return np.asarray(found, np.float32)


# -- numbers ------------------------------------------------------------------------------------
def pooled(states: Floats, mask: npt.NDArray[np.int64], pooling: str) -> Floats:
    """(texts, tokens, dim) states of tokens -> (texts, dim); what the mask (texts, tokens) leaves out is padding."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
        chosen: Floats = states[np.arange(len(states)), last]
        return chosen
    weights = mask.astype(np.float32)
    counts: Floats = np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1))
    sums: npt.NDArray[Any] = np.einsum("ntd,nt->nd", states, weights)
    means: Floats = (sums / counts).astype(np.float32, copy=False)
    return means


def unit(vectors: Floats) -> Floats:
    """The vectors at length 1; those of length 0 as they are."""
    lengths: npt.NDArray[Any] = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
    return scaled


# -- what a model's files say -------------------------------------------------------------------
def _habits(folder: Path) -> tuple[str, bool]:
    """How its states are pooled and whether its vectors have length 1."""
    pooling = _json(folder / "1_Pooling" / "config.json")
    modules = _json(folder / "modules.json")
    named = {"pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
    chosen = next((way for key, way in named.items() if pooling.get(key) is True), "mean")
    listed: Any = modules.get("", [])
    return chosen, any(str(module.get("type", "")).endswith(".Normalize") for module in listed)


def _most_tokens(folder: Path) -> int:
    said = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    said = said or _json(folder / "tokenizer_config.json").get("model_max_length")
    return said if isinstance(said, int) and 0 < said <= 1 << 20 else DEFAULT_TOKENS


def _json(path: Path) -> Mapping[str, Any]:
    """An object in a file; a list stands under the empty key. What is not there, or is no JSON, says nothing."""
    try:
        value = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    if isinstance(value, list):
        return {"": [item for item in value if isinstance(item, dict)]}
    return value if isinstance(value, dict) else {}


def _output_of(names: Sequence[str]) -> str:
    return next((name for name in ("sentence_embedding", "last_hidden_state") if name in names), names[0])
