"""What a server tells of itself to tools."""

from __future__ import annotations

from typing import Any

from redkite.model.inspection import GetMetrics, SystemMetrics
from redkite.wire.codec import Codec, question


def _encode_metrics(message: Any, result: SystemMetrics) -> None:
    message.response = result.answer
    message.component_name = result.component


def _unpack_metrics(message: Any) -> SystemMetrics:
    return SystemMetrics(answer=message.response, component=message.component_name)


CODECS: tuple[Codec[Any, Any], ...] = (
    question(
        "GetMetrics", GetMetrics, SystemMetrics, {"question": "request"},
        encode=_encode_metrics, unpack=_unpack_metrics,
    ),
)  # fmt: skip
