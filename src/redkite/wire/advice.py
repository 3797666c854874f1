"""Measurements of searches: Redkite's own service."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from redkite.errors import WireError
from redkite.model.advice import AdviseIndex, IndexAdvices, MeasureRecall, RecallReport
from redkite.model.decoding import from_json
from redkite.model.results import Result
from redkite.wire.codec import Codec, codec
from redkite.wire.params import read_object

R = TypeVar("R", bound=Result)


def _decode_measure(message: Any, database: str) -> MeasureRecall:
    return MeasureRecall(
        database=database,
        collection=message.collection_name,
        anns_field=message.anns_field,
        limit=message.limit,
        queries=message.queries,
        params=read_object(message.params),
    )


def _pack_measure(message: Any, request: MeasureRecall) -> None:
    message.collection_name = request.collection
    message.anns_field = request.anns_field
    message.limit = request.limit
    message.queries = request.queries
    message.params = msgspec.json.encode(request.params).decode()


def _decode_advise(message: Any, database: str) -> AdviseIndex:
    return AdviseIndex(
        database=database,
        collection=message.collection_name,
        anns_field=message.anns_field,
        limit=message.limit,
        recall=message.recall,
        sample=message.sample,
    )


def _pack_advise(message: Any, request: AdviseIndex) -> None:
    message.collection_name = request.collection
    message.anns_field = request.anns_field
    message.limit = request.limit
    message.recall = request.recall
    message.sample = request.sample


def _encode(message: Any, result: Result) -> None:
    message.report = msgspec.json.encode(result).decode()


def _read(message: Any, kind: type[R]) -> R:
    try:
        return from_json(message.report, kind)
    except msgspec.DecodeError as error:
        raise WireError(f"the report in a reply cannot be read: {error}") from None


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "MeasureRecall", MeasureRecall, RecallReport, decode=_decode_measure, pack=_pack_measure,
        encode=_encode, unpack=lambda message: _read(message, RecallReport),
    ),
    codec(
        "AdviseIndex", AdviseIndex, IndexAdvices, decode=_decode_advise, pack=_pack_advise,
        encode=_encode, unpack=lambda message: _read(message, IndexAdvices),
    ),
)  # fmt: skip
