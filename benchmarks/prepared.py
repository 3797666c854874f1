"""A gRPC server that does nothing: prepared.py PORT URI.

Each method is asked once of the server at URI, whose answer is everybody's from then on. So what a call takes here is
what its client takes, with the system between two processes: no server can answer that client sooner.
"""

from __future__ import annotations

import asyncio
import struct
import sys

import grpc

from redkite.server.grpc import HEAD
from redkite.server.http2 import Http2Connection
from redkite.server.streams import Stream
from redkite.wire.headers import literal

PREFIX = struct.Struct(">BI")
TRAILERS = literal(b"grpc-status", b"0")


class Prepared(Http2Connection):
    """One client. What was answered is shared by all of them."""

    def __init__(self, server: grpc.Channel, answers: dict[bytes, bytes]) -> None:
        super().__init__()
        self._server, self._answers = server, answers

    def request_complete(self, stream: Stream) -> None:
        method = dict(stream.headers)[b":path"]
        answer = self._answers.get(method)
        if answer is None:
            message = b"".join(stream.body)[PREFIX.size :]
            answer = self._answers[method] = self._server.unary_unary(method.decode())(message)
        self.respond(stream, HEAD, (PREFIX.pack(0, len(answer)), answer), TRAILERS)


async def serve(port: int, uri: str) -> None:
    answers: dict[bytes, bytes] = {}
    with grpc.insecure_channel(uri.partition("://")[2]) as server:
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Prepared(server, answers), "127.0.0.1", port)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
