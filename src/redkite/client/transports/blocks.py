"""What a call says in HTTP/2 headers, and what its answer means."""

from __future__ import annotations

from redkite.client.transports.headers import literal
from redkite.client.transports.speech import Speech
from redkite.errors import WireError
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.wire import decode_reply
from redkite.wire.methods import PATHS


class Blocks:
    """Header blocks for the calls to one server; what every call of a method says is made once."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._fixed: dict[str, bytes] = {}

    def block(self, method: str, request: Request, seconds: float | None) -> bytes:
        """The headers of one call, which the server may give up after so many seconds."""
        block = self._fixed.get(method) or self._of(method)
        block += b"".join(literal(*pair) for pair in self._speech.metadata(request))
        if seconds is not None:
            block += literal("grpc-timeout", _within(seconds))
        return block

    def _of(self, method: str) -> bytes:
        address = self._speech.endpoint.address
        headers = (
            (":method", "POST"), (":scheme", "http"), (":path", PATHS[method]),
            (":authority", "localhost" if address.startswith("unix:") else address),
            ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "grpc-redkite"),
        )  # fmt: skip
        block = self._fixed[method] = b"".join(literal(*header) for header in headers)
        return block


def _within(seconds: float) -> str:
    """Eight digits at most are allowed."""
    milliseconds = max(1, int(seconds * 1000))
    return f"{milliseconds}m" if milliseconds < 10**8 else f"{int(seconds)}S"


def result(speech: Speech, request: Request, status: tuple[int, str], reply: bytes | None) -> Result:
    """The result a finished call carries; raises the error that it carries instead."""
    code, details = status
    if code:
        raise speech.failure(code, details)
    if reply is None:
        raise WireError(f"the reply to {type(request).__name__} is empty")
    return decode_reply(request, reply)
