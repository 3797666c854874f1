"""REST: what is limited."""

from __future__ import annotations

from redkite.model.inspection import QUOTA_QUESTION, GetMetrics, SystemMetrics
from redkite.server.rest.bodies import EmptyReq
from redkite.server.rest.exchange import Endpoint, Exchange, answer


async def _describe(exchange: Exchange, _body: EmptyReq) -> bytes:
    request = GetMetrics(database=exchange.database, question=QUOTA_QUESTION)
    return answer((await exchange.ask(request, SystemMetrics)).answer)


ENDPOINTS = {"quotacenter/describe": Endpoint(EmptyReq, _describe)}
