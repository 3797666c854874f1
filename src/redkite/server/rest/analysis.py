"""REST: the words of texts."""

from __future__ import annotations

from typing import Any

from redkite.model import analysis as an
from redkite.server.rest.bodies import Body
from redkite.server.rest.exchange import Endpoint, Exchange, answer


class RunAnalyzerReq(Body, frozen=True):
    required = ("text",)
    text: tuple[str, ...] = ()
    analyzer_params: str = ""
    """JSON."""
    with_detail: bool = False
    with_hash: bool = False
    collection_name: str = ""
    field_name: str = ""
    analyzer_names: tuple[str, ...] = ()


async def _run(exchange: Exchange, body: RunAnalyzerReq) -> bytes:
    request = an.RunAnalyzer(
        database=exchange.database,
        texts=body.text,
        params=body.analyzer_params,
        collection=body.collection_name,
        field=body.field_name,
        analyzer_names=body.analyzer_names,
        with_detail=body.with_detail,
        with_hash=body.with_hash,
    )
    found = await exchange.ask(request, an.AnalyzedTexts)
    return answer({"results": [{"tokens": _tokens(text)} for text in found.texts]})


def _tokens(text: an.AnalyzedText) -> list[dict[str, Any]]:
    columns: dict[str, tuple[Any, ...]] = {"token": text.tokens}
    if text.begins:
        columns |= {
            "startOffset": text.begins, "endOffset": text.ends, "position": text.positions,
            "positionLength": text.lengths,
        }  # fmt: skip
    if text.hashes:
        columns["hash"] = text.hashes
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


ENDPOINTS = {"common/run_analyzer": Endpoint(RunAnalyzerReq, _run)}
