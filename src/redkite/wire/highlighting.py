"""Marked words in texts, to and from their messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from redkite.errors import WireError
from redkite.model.highlighting import Highlighted, Highlighter, read_highlighter, write_highlighter
from redkite.wire.schemas import read_pairs, write_pairs


def decode_highlighter(message: Any) -> Highlighter | None:
    """The `highlighter` of a request; None when it has none."""
    if not message.HasField("highlighter"):
        return None
    return read_highlighter(message.highlighter.type, read_pairs(message.highlighter.params))


def pack_highlighter(message: Any, highlighter: Highlighter | None) -> None:
    """Fill the `highlighter` of a request."""
    if highlighter is not None:
        message.highlighter.type = highlighter.kind
        message.highlighter.SetInParent()
        write_pairs(message.highlighter.params, write_highlighter(highlighter))


def encode_highlights(out: Any, highlights: tuple[Highlighted, ...]) -> None:
    """Fill the `highlight_results` of search results."""
    for found in highlights:
        message = out.highlight_results.add()
        message.field_name = found.field
        for shown in found.shown():
            message.datas.add(fragments=shown["fragments"], scores=shown["scores"])


def read_highlights(found: Any, hits: int) -> tuple[Highlighted, ...]:
    """What `encode_highlights` wrote. Raises WireError unless there is one list for each hit."""
    return tuple(_read_field(message, hits) for message in found.highlight_results)


def _read_field(message: Any, hits: int) -> Highlighted:
    lists = [list(data.fragments) for data in message.datas]
    if len(lists) != hits:
        raise WireError(f"a search reply marks field {message.field_name} of {len(lists)} hits, and has {hits}")
    ends = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    texts = pa.array([text for some in lists for text in some], pa.string())
    fragments = pa.ListArray.from_arrays(pa.array(ends), texts)
    scores = [list(data.scores) for data in message.datas]
    if not any(scores):
        return Highlighted(message.field_name, fragments)
    if list(map(len, scores)) != list(map(len, lists)):
        raise WireError(f"a search reply scores other fragments of field {message.field_name} than it has")
    return Highlighted(message.field_name, fragments, pa.array(scores, pa.list_(pa.float32())))
