"""How do bytes look on the wire? Milvus's gRPC messages to and from the waist; no transport in here.

Server side: `decode_request` and `encode_reply` / `encode_error`, or a whole `Handler` around a service.
Client side: `encode_request` and `decode_reply`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redkite.wire.handle import Handler
    from redkite.wire.methods import (
        METHODS,
        MethodUnimplemented,
        decode_reply,
        decode_request,
        encode_error,
        encode_pieces,
        encode_reply,
        encode_request,
    )

__all__ = [
    "METHODS", "Handler", "MethodUnimplemented", "decode_reply", "decode_request", "encode_error", "encode_pieces",
    "encode_reply", "encode_request",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # protobuf and the descriptor set are loaded by whoever speaks the protocol, not by whoever imports the package.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from redkite.wire import handle, methods

    return getattr(handle if name == "Handler" else methods, name)
