"""What codes are made and read by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.index.vectors import clustered

from redkite.index.codes import in_line
from redkite.index.threads import faiss

_faiss: Any = faiss
DIM = 32


def trained(index: Any, data: np.ndarray) -> Any:
    index.train(data)
    index.add(data)
    return index


def quantizers(data: np.ndarray) -> dict[str, tuple[Any, Any]]:
    """An index of each kind, and what its scalar quantiser has learnt."""
    kind = faiss.ScalarQuantizer.QT_8bit
    flat = trained(_faiss.IndexScalarQuantizer(DIM, kind), data)
    coarse = _faiss.IndexFlatL2(DIM)
    lists = trained(_faiss.IndexIVFScalarQuantizer(coarse, DIM, 4, kind), data)
    lists.referenced_objects = [coarse]
    graph = trained(_faiss.IndexHNSWSQ(DIM, kind, 8), data)
    refined = _faiss.IndexRefine(lists, flat)
    turn = _faiss.RandomRotationMatrix(DIM, DIM)
    turn.train(data)
    inner = trained(_faiss.IndexScalarQuantizer(DIM, kind), turn.apply(data))
    return {
        "flat": (flat, flat.sq), "lists": (lists, lists.sq), "refined": (refined, flat.sq),
        "graph": (graph, _faiss.downcast_index(graph.storage).sq),
        "turned": (_faiss.IndexPreTransform(turn, inner), inner.sq),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["flat", "lists", "refined", "graph", "turned"])
def test_what_a_quantiser_has_learnt_is_moved_and_stays_what_it_is(kind: str) -> None:
    data = clustered(500, DIM)
    held = []
    for _ in range(6):  # at several places
        index, quantizer = quantizers(data)[kind]
        before, expected = _faiss.vector_to_array(quantizer.trained), index.search(data[:20], 5)
        in_line(index)
        np.testing.assert_array_equal(_faiss.vector_to_array(quantizer.trained), before)
        assert _faiss.rev_swig_ptr(quantizer.trained.data(), 1).ctypes.data % 32 == 0
        for mine, theirs in zip(index.search(data[:20], 5), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        held.append(index)


def test_an_index_without_numbers_that_were_learnt_stays_as_it_is() -> None:
    data = clustered(500, DIM)
    for index in (
        trained(_faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16), data),
        _faiss.IndexFlatL2(DIM),
    ):
        in_line(index)
        assert index.search(data[:3], 1)[1].shape == (3, 1)
