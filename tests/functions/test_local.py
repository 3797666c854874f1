"""Models in a folder of this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.functions import tiny_model
from tests.functions.test_providers import embedding, filled

from redkite.errors import InvalidParameter
from redkite.functions.local import Place, find, load, pooled, unit
from redkite.model.calling import ModelSettings

TEXTS = ["red kite", "the red kite over the hills", "swan", "grey heron over hills", "albatross"]


def place(model: Path, **given: Any) -> Place:
    return Place(who="embedding provider local", name=str(model), **given)


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_of_onnx_embeds_texts_of_any_length_in_their_order(nested: bool, tmp_path: Path) -> None:
    model = load(place(tiny_model.write(tmp_path / "m", nested=nested)))
    texts = [TEXTS[number % 5] for number in range(77)]
    assert model.dim == tiny_model.DIM
    np.testing.assert_allclose(model.embed(texts), [tiny_model.mean(text) for text in texts], rtol=1e-5)


def test_states_are_pooled_as_the_models_files_say(tmp_path: Path) -> None:
    first = load(place(tiny_model.write(tmp_path / "cls", pooling="cls", normalize=True)))
    wanted = [tiny_model.states(text)[0] for text in TEXTS]
    np.testing.assert_allclose(first.embed(TEXTS), [one / np.linalg.norm(one) for one in wanted], rtol=1e-5)
    last = load(place(tiny_model.write(tmp_path / "last", pooling="last")))
    np.testing.assert_allclose(last.embed(TEXTS), [tiny_model.states(text)[-1] for text in TEXTS], rtol=1e-5)


def test_a_function_may_say_otherwise(tmp_path: Path) -> None:
    folder = tiny_model.write(tmp_path / "m", pooling="cls", normalize=True)
    model = load(place(folder, pooling="mean", normalize=False, max_length=2))
    short = [" ".join(text.split()[:2]) for text in TEXTS]
    np.testing.assert_allclose(model.embed(TEXTS), [tiny_model.mean(text) for text in short], rtol=1e-5)


def test_a_function_embeds_documents_and_queries_with_its_prompts(tmp_path: Path) -> None:
    folder = tiny_model.write(tmp_path / "m")
    params = {"provider": "local", "model_name": str(folder), "search_prompt": "the "}
    function = embedding(params, settings=ModelSettings())
    np.testing.assert_allclose(filled(function, ["red kite"]), [tiny_model.mean("red kite")], rtol=1e-5)
    found = function.queries(["red kite"]).vectors
    assert found is not None
    np.testing.assert_allclose(found, [tiny_model.mean("the red kite")], rtol=1e-5)


def test_a_model_of_another_dimension_is_found_out(tmp_path: Path) -> None:
    params = {"provider": "local", "model_name": str(tiny_model.write(tmp_path / "m"))}
    function = embedding(params, dim=8)
    with pytest.raises(Exception, match=r"required embedding dim is \[8\], but .* model is \[4\]"):
        function.probe(ask=True)


def test_what_is_not_there_is_told_with_the_places_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with pytest.raises(InvalidParameter, match="Nothing is downloaded; looked for the folders") as caught:
        find(place(Path("all-MiniLM-L6-v2"), folder="/models"))
    for looked in ("/models/all-MiniLM-L6-v2", f"{tmp_path}/hf/hub/models--sentence-transformers--all-MiniLM-L6-v2"):
        assert looked in caught.value.message


def test_what_other_tools_have_downloaded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshots = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots"
    folder = tiny_model.write(snapshots / "abc")
    assert find(place(Path("all-MiniLM-L6-v2"))) == folder
    assert find(place(Path("sentence-transformers/all-MiniLM-L6-v2"))) == folder


@pytest.mark.parametrize("name", ["/etc", "../other", "a/../../b", "", ".."])
def test_clients_of_a_server_name_models_in_its_folder_only(name: str, tmp_path: Path) -> None:
    settings = ModelSettings(folder=str(tmp_path), any_folder=False)
    with pytest.raises(InvalidParameter, match="model_name"):
        embedding({"provider": "local", "model_name": name}, settings=settings)


def test_a_server_without_a_folder_of_models_has_none() -> None:
    with pytest.raises(InvalidParameter, match="this server has no folder of models"):
        embedding({"provider": "local", "model_name": "m"}, settings=ModelSettings(any_folder=False))


def test_a_folder_that_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match=r"has no tokenizer.json beside one of model.onnx"):
        load(place(tmp_path))
    tiny_model.write(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(InvalidParameter, match="cannot be read"):
        load(place(tmp_path))


def test_without_the_libraries_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.functions.local.find_spec", lambda name: None)
    with pytest.raises(InvalidParameter, match=r"ONNX Runtime and tokenizers are needed .*redkite\[models\]"):
        load(place(tiny_model.write(tmp_path)))


class _SentenceTransformer:
    """Stands in for the library, which is large: what is called of it, and what it gives."""

    max_seq_length = 0

    def __init__(self, path: str, *, local_files_only: bool) -> None:
        assert local_files_only
        self.path = path

    def get_sentence_embedding_dimension(self) -> int:
        return tiny_model.DIM

    def encode(self, texts: list[str], *, batch_size: int, normalize_embeddings: bool, show_progress_bar: bool) -> Any:
        found = np.array([tiny_model.mean(text) for text in texts])
        return unit(found) if normalize_embeddings else found


def test_sentence_transformers_runs_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = _SentenceTransformer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    monkeypatch.setattr("redkite.functions.local._installed", lambda *names: "sentence_transformers" in names)
    model = load(place(tmp_path, normalize=True))
    np.testing.assert_allclose(model.embed(TEXTS), unit(np.array([tiny_model.mean(t) for t in TEXTS])), rtol=1e-5)


def _pooled(rows: Sequence[Sequence[int]], pooling: str) -> list[list[float]]:
    states = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found: list[list[float]] = pooled(states, np.array(rows, np.int64), pooling).tolist()
    return found


def test_padding_on_either_side_counts_for_nothing() -> None:
    assert _pooled([[1, 1, 0], [0, 1, 1]], "mean") == [[2, 3, 4, 5], [18, 19, 20, 21]]
    assert _pooled([[1, 1, 0], [0, 1, 1]], "last") == [[4, 5, 6, 7], [20, 21, 22, 23]]
    assert _pooled([[0, 0, 0], [1, 1, 1]], "mean")[0] == [0, 0, 0, 0]
