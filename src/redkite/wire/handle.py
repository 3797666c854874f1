"""One transport-free door: request bytes in, reply bytes out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future

from redkite.errors import MilvusException, Unexpected
from redkite.model.requests import Request
from redkite.model.results import Result
from redkite.model.service import Service
from redkite.wire.methods import MethodUnimplemented, decode_request, encode_error, encode_reply

_LOG = logging.getLogger("redkite.wire")
_CANCELED = 10_000


class Handler:
    """Serves RPCs of a service to any transport; safe to call from any thread.

    `handle` is the whole way. A transport that chooses between its event loop and a thread takes the two steps itself:
    `decode`, then `reply`, with `is_quick` between them. Nothing raises but MethodUnimplemented, for which the
    transport answers gRPC UNIMPLEMENTED; `decode` raises any MilvusException, for `error` to encode.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    def handle(self, method: str, data: bytes, metadata: Mapping[str, str]) -> bytes | Future[bytes]:
        """Answer one call."""
        try:
            request = self.decode(method, data, metadata)
        except MethodUnimplemented:
            raise
        except MilvusException as error:
            return self.error(method, error)
        return self.reply(method, request)

    def decode(self, method: str, data: bytes, metadata: Mapping[str, str]) -> Request:
        """Request bytes -> request; metadata keys are lower case."""
        try:
            return decode_request(method, data, metadata)
        except MilvusException:
            raise
        except Exception as error:  # hostile bytes must not take the server down, whatever they trigger
            raise _unexpected(method, error) from error

    def is_quick(self, request: Request) -> bool:
        """True when `reply` may run inline in an event loop."""
        return self.service.is_quick(request)

    def reply(self, method: str, request: Request) -> bytes | Future[bytes]:
        """Answer a decoded request; a future when the service answers one."""
        try:
            result = self.service.call(request)
            if not isinstance(result, Future):
                return encode_reply(method, result)
        except MilvusException as error:
            return self.error(method, error)
        except Exception as error:  # noqa: BLE001  a caller always gets an answer
            return self.error(method, _unexpected(method, error))
        return self._chain(method, result)

    def error(self, method: str, error: MilvusException) -> bytes:
        """The reply bytes of a failed call."""
        return encode_error(method, error)

    def _chain(self, method: str, pending: Future[Result]) -> Future[bytes]:
        """A future of the encoded reply; cancelling it does not cancel the work."""
        answer: Future[bytes] = Future()
        answer.set_running_or_notify_cancel()

        def finish(finished: Future[Result]) -> None:
            try:
                answer.set_result(encode_reply(method, finished.result()))
            except MilvusException as error:
                answer.set_result(self.error(method, error))
            except CancelledError:
                answer.set_result(self.error(method, MilvusException("canceled", _CANCELED)))
            except Exception as error:  # noqa: BLE001  a caller always gets an answer
                answer.set_result(self.error(method, _unexpected(method, error)))

        pending.add_done_callback(finish)
        return answer


def _unexpected(method: str, error: Exception) -> Unexpected:
    _LOG.error("%s failed: %s", method, error, exc_info=error)
    return Unexpected(f"unexpected error: {type(error).__name__}")
