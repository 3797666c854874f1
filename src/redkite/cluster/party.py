"""One node in conversation: what goes around a message and a reply, whichever network carries them.

Of a message: the cluster, who asks, the newest timestamp it knows, how long it waits, the span that asks. Of a reply:
the newest timestamp there, and the answer or the error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import msgspec

from redkite import spans
from redkite.cluster.codec import Codec
from redkite.cluster.network import CALLER, Caller, Handler, HybridClock, WrongPeer
from redkite.cluster.traffic import Traffic
from redkite.env import Buffer, Env
from redkite.errors import MilvusException, Unexpected, WireError
from redkite.logs import CURRENT, get_logger
from redkite.model.timestamps import physical_ms

log = get_logger(__name__)
MOST_AHEAD_MS = 3_600_000
"""A timestamp that lies further ahead of this node's clock is an accident, and is not taken over."""
Deliver = Callable[[bytes], None]
"""Takes the frame of a reply, once, in any thread."""


class Party:
    """What a node says and understands. Safe from any thread."""

    def __init__(self, env: Env, cluster: str, node_id: int) -> None:
        self.env = env
        self.cluster = cluster
        self.node_id = node_id
        self.codec = Codec()
        self.traffic = Traffic()
        self._oracle: HybridClock | None = None

    def keep_time(self, oracle: HybridClock) -> None:
        """Timestamps go along from now on."""
        self._oracle = oracle

    # -- asking ---------------------------------------------------------------------------------
    def asking(self, message: msgspec.Struct, seconds: float) -> bytes:
        """The frame of a message whose answer is waited for so long."""
        newest = 0 if self._oracle is None else self._oracle.last
        return self.codec.encode([self.cluster, self.node_id, newest, seconds, spans.headers(), message])

    def told(self, frame: Buffer) -> Any:
        """The reply in a frame. Raises the error that it holds."""
        found = self.codec.decode(frame)
        if type(found) is not list or len(found) != 3 or type(found[0]) is not int:
            raise WireError("a reply between nodes is not as it should be")
        newest, error, reply = found
        self._observe(newest)
        if isinstance(error, MilvusException):
            raise error
        return reply

    # -- answering ------------------------------------------------------------------------------
    def answer(self, frame: Buffer, handlers: Mapping[type, Handler], address: str, deliver: Deliver) -> None:
        """Answer the message in a frame that came from an address. Never raises."""
        begun = self.env.clock.monotonic()
        name = "?"
        try:
            node_id, seconds, trace, message = self._heard(frame)
            name = type(message).__name__
            handler = handlers.get(type(message))
            if handler is None:
                raise WrongPeer(f"node {self.node_id} does not answer {name}: it has another role, or another version")
        except MilvusException as error:
            self.traffic.answered(name, 0.0, error)
            deliver(self._failure(error))
            return
        call = _Call(name, node_id, trace)
        done = _Answer(self, call, begun, deliver)
        caller = CALLER.set(Caller(node_id, address, begun + seconds))
        current = CURRENT.set(call)
        try:
            reply = handler(message)
        except Exception as error:  # noqa: BLE001  whatever it is goes to whoever asked
            done.failed(error)
        else:
            if isinstance(reply, Future):
                reply.add_done_callback(done.ended)
            else:
                done.answered(reply)
        finally:
            CURRENT.reset(current)
            CALLER.reset(caller)

    def _heard(self, frame: Buffer) -> tuple[int, float, dict[str, str], msgspec.Struct]:
        found = self.codec.decode(frame)
        if type(found) is not list or len(found) != 6:
            raise WireError("a message between nodes is not as it should be")
        cluster, node_id, newest, seconds, trace, message = found
        if cluster != self.cluster:
            raise WrongPeer(f"node {self.node_id} is of cluster '{self.cluster}', not of '{str(cluster)[:100]}'")
        if not isinstance(newest, int) or not isinstance(seconds, int | float) or not isinstance(node_id, int):
            raise WireError("a message between nodes is not as it should be")
        if not isinstance(message, msgspec.Struct) or not isinstance(trace, dict):
            raise WireError("a message between nodes is not as it should be")
        self._observe(newest)
        return node_id, float(seconds), trace, message

    def _observe(self, newest: int) -> None:
        """Raises WrongPeer for a time so far off that all nodes would have to live in the future from now on."""
        if not newest or self._oracle is None:
            return
        ahead = physical_ms(newest) - self.env.clock.now_ms()
        if ahead > MOST_AHEAD_MS:
            raise WrongPeer(
                f"a node's clock is {ahead / 1000:.0f} s ahead of that of node {self.node_id}: set it right"
            )
        self._oracle.observe(newest)

    def reply(self, value: Any) -> bytes:
        """The frame of an answer."""
        newest = 0 if self._oracle is None else self._oracle.last
        return self.codec.encode([newest, None, value])

    def _failure(self, error: MilvusException) -> bytes:
        newest = 0 if self._oracle is None else self._oracle.last
        return self.codec.encode([newest, error, None])


class _Call:
    """What is answered here, as log lines and spans know it."""

    __slots__ = ("node_id", "span", "what")

    def __init__(self, what: str, node_id: int, trace: Mapping[str, str]) -> None:
        self.what = what
        self.node_id = node_id
        # What no span asks, as nodes do all day, begins no trace.
        self.span = spans.begin_call(what, trace, {"redkite.caller": node_id}) if trace and spans.is_on() else None

    def log_fields(self) -> Mapping[str, object]:
        fields: dict[str, object] = {"message_type": self.what, "caller": self.node_id}
        if self.span is not None:
            fields |= {"trace_id": self.span.trace_id, "span_id": self.span.span_id}
        return fields


class _Answer:
    """The end of one call, told once."""

    __slots__ = ("_begun", "_call", "_deliver", "_party")

    def __init__(self, party: Party, call: _Call, begun: float, deliver: Deliver) -> None:
        self._party = party
        self._call = call
        self._begun = begun
        self._deliver = deliver

    def ended(self, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self.answered(future.result())
        else:
            self.failed(error)

    def answered(self, value: Any) -> None:
        try:
            frame = self._party.reply(value)
        except Exception as error:  # noqa: BLE001  an answer that cannot be sent is an error of this side
            self.failed(error)
            return
        self._tell(frame, None)

    def failed(self, error: BaseException) -> None:
        if not isinstance(error, MilvusException):
            log.error("%s of node %d failed", self._call.what, self._call.node_id, exc_info=error)
            error = Unexpected(f"{type(error).__name__}: {error}")
        self._tell(self._party._failure(error), error)

    def _tell(self, frame: bytes, error: MilvusException | None) -> None:
        party, call = self._party, self._call
        party.traffic.answered(call.what, party.env.clock.monotonic() - self._begun, error)
        if call.span is not None:
            call.span.end(error, {})
        self._deliver(frame)
