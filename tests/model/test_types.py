"""Enumerations print as Milvus's SDK prints them."""

from __future__ import annotations

from redkite.model.types import LoadState


def test_a_load_state_prints_its_name() -> None:
    assert str(LoadState.Loaded) == f"{LoadState.Loaded}" == "Loaded"
    assert str({"state": LoadState.NotLoad}) == "{'state': <LoadState: NotLoad>}"
