"""`/log/level`, `/management/…` and `/debug/pprof/…` of the metrics port: what an operator may do to a running server.

Only an administrator may, where callers have to say who they are; elsewhere whoever reaches the port, but no page that
a browser shows. Milvus takes GET for all of it, and so does this. What moves data from node to node is no matter of one
server, and is refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import orjson

from redkite.config import Settings, items
from redkite.coordinator.access import AccessCoordinator
from redkite.errors import (
    InvalidInput,
    InvalidParameter,
    MilvusException,
    NotFound,
    NotPermitted,
    NotReady,
    PermissionDenied,
    Unimplemented,
)
from redkite.logs import ROOT, get_logger
from redkite.model.rules.numbers import whole_number
from redkite.node.topology import Topology
from redkite.server.calls import Calls
from redkite.server.guard import AUTHORIZATION, Guard
from redkite.server.observation import Observation
from redkite.server.rest.origins import ORIGIN, Origins

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Query = dict[str, str]

LEVEL_PATH: Final = "/log/level"
MANAGEMENT_PATH: Final = "/management/"
PROFILE_PATH: Final = "/debug/pprof/"
_METHODS: Final = frozenset({"GET", "POST", "PUT"})
_LEVELS: Final = {"debug": "DEBUG", "info": "INFO", "warn": "WARNING", "warning": "WARNING", "error": "ERROR"}
_MOST_BODY: Final = 4_096
_BODY_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 60
_LONGEST_PAUSE: Final = 86_400
STATUS: Final = {
    InvalidInput: 400, NotFound: 404, PermissionDenied: 403, NotPermitted: 403, Unimplemented: 501, NotReady: 503,
}  # fmt: skip
"""What HTTP says of an error; of any other, 500."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admins:
    """Who may do everything, where callers say who they are."""

    guard: Guard
    calls: Calls
    access: AccessCoordinator

    async def check(self, headers: dict[bytes, bytes]) -> str:
        """The name of the administrator who asks. Raises Unauthenticated, or PermissionDenied."""
        user = await self.guard.rest_caller(self.calls, headers)
        if not self.access.permissions(user).everything:
            key = self.guard.key_of(headers.get(AUTHORIZATION))
            shown = f"apikey {key}" if key else user
            raise PermissionDenied(f"permission deny to {shown}: it takes the role admin")
        return user


class _Level(msgspec.Struct):
    level: str


class Management:
    """The operations of one server, as an ASGI application."""

    def __init__(
        self,
        settings: Settings,
        observation: Observation,
        topology: Topology | None,
        admins: Admins | None,
        command: int | None = None,
    ) -> None:
        """`topology` is None for a database that is elsewhere; without `admins` nobody is asked who they are. `command`
        is the process that ends the server when it is told to; this one, unless another started it."""
        self._settings = settings
        self._observation = observation
        self._topology = topology
        self._admins = admins
        self._command = command or os.getpid()
        self._origins = Origins("none")
        self._operations: dict[str, Callable[[Query], dict[str, Any]]] = {
            "stop": self._stop,
            "check/ready": self._ready,
            "datacoord/garbage_collection/pause": self._pause,
            "datacoord/garbage_collection/resume": self._resume,
            "querycoord/node/list": self._nodes,
            "querycoord/distribution/get": self._distribution,
            "querycoord/balance/status": lambda _: {"msg": "OK", "status": "suspended"},
            "config/get": self._get,
            "config/alter": self._alter,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        path, method = scope["path"], scope["method"]
        try:
            if method not in _METHODS:
                await answer(send, 405, b'{"msg":"method not allowed"}')
                return
            check_page(headers, self._origins)
            user = "" if self._admins is None else await self._admins.check(headers)
            if path == LEVEL_PATH:
                told = await self._level(method, receive)
            elif path.startswith(PROFILE_PATH):
                await answer(send, 200, profile(path.removeprefix(PROFILE_PATH)).encode(), b"text/plain; charset=utf-8")
                return
            else:
                name = path.removeprefix(MANAGEMENT_PATH)
                operation = self._operations.get(name)
                if operation is None:
                    raise Unimplemented(f"{name}: nothing of the kind is done by a server")
                told = await asyncio.to_thread(operation, asked(scope))  # of a cluster other nodes are asked
                _log.info("%s was asked for%s", name, f" by {user}" if user else "")
            await answer(send, 200, orjson.dumps(told))
        except MilvusException as error:
            status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
            await answer(send, status, orjson.dumps({"msg": error.message}))

    # -- the log --------------------------------------------------------------------------------
    async def _level(self, method: str, receive: Receive) -> dict[str, Any]:
        if method != "GET":
            data = await body_of(receive)
            try:
                wanted = msgspec.json.decode(data, type=_Level).level
            except msgspec.DecodeError as error:
                raise InvalidParameter(f"expected an object such as {{'level': 'info'}}: {error}") from None
            self._set_level(wanted)
        return {"level": logging.getLevelName(logging.getLogger(ROOT).getEffectiveLevel()).lower()}

    def _set_level(self, wanted: str) -> None:
        level = _LEVELS.get(wanted.lower())
        if level is None:
            raise InvalidParameter(f"level {wanted:.40} is none of {', '.join(_LEVELS)}")
        logging.getLogger(ROOT).setLevel(level)
        _log.info("the level of the log is %s", wanted.lower())

    # -- the process ----------------------------------------------------------------------------
    def _stop(self, _query: Query) -> dict[str, Any]:
        """End in good order, as by SIGTERM."""
        os.kill(self._command, signal.SIGTERM)
        return {"msg": "OK"}

    def _ready(self, _query: Query) -> dict[str, Any]:
        return {"msg": "OK"}  # it answers: the database is open

    # -- data -----------------------------------------------------------------------------------
    def _pause(self, query: Query) -> dict[str, Any]:
        """Delete no files for a while: a tool copies them."""
        seconds = whole_number(query.get("pause_seconds", str(_PAUSE_SECONDS)))
        if seconds is None or not 0 < seconds <= _LONGEST_PAUSE:
            raise InvalidParameter(f"pause_seconds must be 1 to {_LONGEST_PAUSE}, got {query['pause_seconds']:.40}")
        if "collection_id" in query:
            raise Unimplemented("collection_id: files are kept of all collections, or of none")
        self._nearby.garbage.pause(seconds)
        return {"msg": "OK"}

    def _resume(self, _query: Query) -> dict[str, Any]:
        self._nearby.garbage.resume()
        return {"msg": "OK"}

    def _nodes(self, _query: Query) -> dict[str, Any]:
        found = self._nearby.querying
        return {"nodeInfos": [{"ID": n.node_id, "address": n.address, "state": "Healthy"} for n in found]}

    def _distribution(self, query: Query) -> dict[str, Any]:
        """The sealed segments that a query node serves, and the channels of their collections."""
        topology, wanted = self._nearby, whole_number(query.get("node_id", ""))
        if all(node.node_id != wanted for node in topology.querying):
            raise InvalidParameter(f"node_id {query.get('node_id', '')!r:.40} is no query node")
        channels: list[str] = []
        segments: list[int] = []
        for meta in topology.root.all_collections():
            if wanted in topology.loads.nodes_for(meta.collection_id):
                channels += meta.channels
                placed = [served for shard in topology.shards(meta) for served in shard.served()]
                segments += [i for served in placed if served.node_id == wanted for i in served.segment_ids]
        return {"channel_names": sorted(channels), "sealed_segmentIDs": sorted(segments)}

    @property
    def _nearby(self) -> Topology:
        if self._topology is None:
            raise Unimplemented("the database is in another process")
        return self._topology

    # -- settings -------------------------------------------------------------------------------
    def _get(self, query: Query) -> dict[str, Any]:
        wanted = query.get("key", "")
        found = dict(items(self._settings))
        if wanted not in found:
            raise InvalidParameter(f"key {wanted!r:.80} is no setting")
        return {"msg": "OK", "key": wanted, "value": str(found[wanted])}

    def _alter(self, query: Query) -> dict[str, Any]:
        """The few settings that a running server takes over."""
        key, value = query.get("key", ""), query.get("value", "")
        if key == "log_level":
            self._set_level(value)
        elif key == "slow_query_seconds" and self._observation.observer.slow is not None:
            try:
                seconds = msgspec.convert(value, float, strict=False)
            except msgspec.ValidationError:
                raise InvalidParameter(f"value {value!r:.40} is no number of seconds") from None
            if not 0 < seconds < float("inf"):
                raise InvalidParameter(f"value {value!r:.40} must be more than 0")
            self._observation.observer.slow.seconds = seconds
        else:
            raise InvalidParameter(f"{key!r:.80} cannot be altered while the server runs")
        return {"msg": "OK"}


def check_page(headers: dict[bytes, bytes], origins: Origins) -> None:
    """Raises PermissionDenied for a page that a browser shows on this machine. One that seems to be ours is none: ours
    asks for nothing here, and others get this address by a name that they have pointed to it."""
    is_page = headers.get(b"sec-fetch-site", b"none") != b"none"
    if is_page or origins.headers(headers.get(ORIGIN)) is None:
        raise PermissionDenied("pages may not manage a server")


def profile(name: str) -> str:
    """What every thread is at; Go's other profiles are of things that Python lacks. Raises Unimplemented for them."""
    if name == "cmdline":
        return "\0".join(sys.argv)
    if name not in ("", "goroutine", "threads"):
        raise Unimplemented(f"{name}: a profile of Go's; py-spy looks into a running server")
    frames = sys._current_frames()
    parts = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            parts.append(f"{thread.name}:\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts)


def asked(scope: Scope) -> Query:
    """The parameters behind a path."""
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


async def body_of(receive: Receive) -> bytes:
    """A small body. Raises InvalidParameter for a larger one, and for one that does not come."""
    data: bytes = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                data += message.get("body", b"")
                if len(data) > _MOST_BODY:
                    raise InvalidParameter(f"the body is larger than {_MOST_BODY} bytes")
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return data
    except TimeoutError:
        raise InvalidParameter(f"the body did not come within {_BODY_SECONDS:g} seconds") from None


async def answer(send: Send, status: int, content: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
