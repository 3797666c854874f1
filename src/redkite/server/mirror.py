"""`/api/v1/…` of the metrics port: what Milvus's page and tools read there, answered by the same calls as gRPC.

Nothing is written and no row is read here; those who may not know something are not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import orjson

from redkite.config import items
from redkite.errors import InvalidParameter, MilvusException, PermissionDenied, Unimplemented
from redkite.logs import CURRENT
from redkite.model.inspection import GetMetrics, SystemMetrics
from redkite.model.schema import DEFAULT_DATABASE
from redkite.server.calls import Calls, as_milvus
from redkite.server.guard import Guard
from redkite.server.management import STATUS, Receive, Scope, Send, answer, asked, body_of, check_page
from redkite.server.observer import Call, Observer, shown_address
from redkite.server.rest.exchange import Exchange
from redkite.server.rest.origins import Origins
from redkite.server.webui.views import Views
from redkite.wire import mirror
from redkite.wire.methods import decode_request, encode_reply

PATH: Final = "/api/v1/"
READS: Final = {
    "collections": "ShowCollections", "collection": "DescribeCollection", "collection/existence": "HasCollection",
    "collection/statistics": "GetCollectionStatistics", "partitions": "ShowPartitions",
    "partition/existence": "HasPartition", "partition/statistics": "GetPartitionStatistics", "index": "DescribeIndex",
    "index/state": "GetIndexState", "index/progress": "GetIndexBuildProgress", "persist/state": "GetFlushState",
    "persist/segment-info": "GetPersistentSegmentInfo", "query-segment-info": "GetQuerySegmentInfo",
    "replicas": "GetReplicas", "metrics": "GetMetrics", "compaction/state": "GetCompactionState",
    "compaction/plans": "GetCompactionStateWithPlans", "import/state": "GetImportState",
    "import/tasks": "ListImportTasks", "credential/users": "ListCredUsers", "version": "GetVersion",
    "_db/list": "ListDatabases", "_db/desc": "DescribeDatabase", "_collection/list": "ShowCollections",
    "_collection/desc": "DescribeCollection", "_index/list": "DescribeIndex", "_qc/replica": "GetReplicas",
    "_qc/resource_group": "ListResourceGroups", "_qn/segments": "GetQuerySegmentInfo",
    "_dc/segments": "GetPersistentSegmentInfo", "_dc/tasks/import": "ListImportTasks",
    "_dc/tasks/compaction": "GetCompactionStateWithPlans",
}  # fmt: skip
"""The RPC that answers a path."""
_WRITES: Final = frozenset({
    "collection", "collection/load", "partition", "partitions/load", "alias", "index", "entities", "search", "query",
    "persist", "load-balance", "compaction", "import", "credential",
})  # fmt: skip
_ABSENT: Final = {
    "_cluster/clients": "no list is kept of who is connected",
    "_cluster/dependencies": "the log and the catalog are parts of Redkite; /healthz says how they are",
    "_hook/configs": "there are no hooks",
    "_qc/dist": "/management/querycoord/distribution/get tells it of one node",
    "_qc/target": "what is loaded is what is served: /api/v1/_qn/segments",
    "_qc/tasks": "loads are shown by their progress, GetLoadingProgress",
    "_qc/segments": "/api/v1/_qn/segments has them",
    "_qn/channels": "/management/querycoord/distribution/get tells them",
    "_dc/dist": "/api/v1/_dc/segments has the segments",
    "_dc/tasks/build_index": "/api/v1/index/progress tells how far each index is",
    "_dn/tasks/sync": "segments are written by the node that holds them; /metrics counts it",
    "_dn/segments": "/api/v1/_dc/segments has them",
    "_dn/channels": "/management/querycoord/distribution/get tells them",
    "distance": "Milvus has no such call any more",
}  # fmt: skip
"""Why a path of Milvus is not there."""
_SYSTEM: Final = '{"metric_type": "system_info"}'


class Mirror:
    """Of one server, as an ASGI application. Belongs to the event loop's thread."""

    def __init__(self, calls: Calls, observer: Observer, views: Views, guard: Guard | None) -> None:
        self._calls = calls
        self._observer = observer
        self._views = views
        self._guard = guard
        self._origins = Origins("none")
        self._own: dict[str, Callable[[Exchange], Awaitable[Any]]] = {
            "_cluster/info": self._info,
            "_cluster/configs": self._configs,
            "_cluster/slow_query": self._slow,
            "health": self._health,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call("rest", scope["path"], 0, shown_address(scope.get("client")))
        CURRENT.set(call)  # in the context of this request's task
        failed: MilvusException | None = None
        told: Any = None
        try:
            told = await self._told(call, scope, receive)
        except Exception as error:  # noqa: BLE001  whatever went wrong is this request's answer
            failed = as_milvus(error)
        if failed is None:
            status, content = 200, orjson.dumps(told)
        else:
            status = next((status for kind, status in STATUS.items() if isinstance(failed, kind)), 500)
            content = orjson.dumps({"code": failed.code, "msg": failed.message})
        self._observer.finished(call, failed, len(content))
        await answer(send, status, content)

    async def _told(self, call: Call, scope: Scope, receive: Receive) -> Any:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        check_page(headers, self._origins)
        name = scope["path"].removeprefix(PATH)
        if scope["method"] != "GET":
            if name in _WRITES:
                raise Unimplemented(f"{name}: writes and reads of rows go to the main port, by gRPC or REST")
            raise Unimplemented(f"{scope['method']} {name}: this port answers GET")
        user = "" if self._guard is None else await self._guard.rest_caller(self._calls, headers)
        call.user = user
        exchange = Exchange(self._calls, call, DEFAULT_DATABASE, True, user)
        own = self._own.get(name)
        if own is not None:
            return await own(exchange)
        method = READS.get(name)
        if method is None:
            raise Unimplemented(f"{name}: {_ABSENT.get(name, 'there is no such path')}")
        data = await body_of(receive)
        request = decode_request(method, mirror.message_of(method, asked(scope), _object(data)), {})
        reply = await exchange.finished(request, lambda result: encode_reply(method, result))
        return mirror.shown(method, reply)

    # -- what no single call answers ------------------------------------------------------------
    async def _health(self, _exchange: Exchange) -> Any:
        await asyncio.sleep(0)
        return {"status": "ok"}

    async def _info(self, exchange: Exchange) -> Any:
        """The nodes, the machine and the limits, as `GetMetrics` tells them."""
        found = await exchange.ask(GetMetrics(question=_SYSTEM), SystemMetrics)
        return orjson.loads(found.answer)

    async def _configs(self, exchange: Exchange) -> Any:
        """The settings, for administrators. Passwords and keys are never among them."""
        if not self._views.is_admin(exchange.user):
            raise PermissionDenied(f"permission deny to {exchange.user}: it takes the role admin")
        return {key: str(value) for key, value in items(self._views.settings)}

    async def _slow(self, exchange: Exchange) -> Any:
        """The last slow reads, the newest first: an administrator sees all, others their own."""
        found = await self._views.observation.slow_queries()
        everything = self._views.is_admin(exchange.user)
        return [
            {
                "time": one.time, "trace_id": one.request_id, "type": one.kind, "user": one.user,
                "database": one.database, "collection": one.collection, "nq": one.nq, "duration": one.seconds,
                "query_params": {"expr": one.filter, "limit": one.limit}, "plan": one.plan,
            }
            for one in found
            if everything or one.user == exchange.user
        ]  # fmt: skip


def _object(data: bytes) -> Any:
    if not data:
        return None
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidParameter(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidParameter("the body should be a JSON object")
    return found
