"""Messages that travel compressed, honest ones and bombs."""

from __future__ import annotations

import gzip
import resource
import struct
import zlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tests.server.fakes import FakeService
from tests.servers import ThreadServer

from redkite.model.limits import Limits
from redkite.model.requests import HasCollection, ShowCollections
from redkite.model.results import CollectionBrief, Collections, Flag
from redkite.server.compression import NotCompressed, TooLarge, deflated, inflated
from redkite.wire.methods import METHODS, PATHS

GZIP, DEFLATE = grpc.Compression.Gzip, grpc.Compression.Deflate
MEBIBYTE = 1 << 20


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_what_is_compressed_inflates_to_itself(encoding: bytes) -> None:
    for message in (b"", b"a", bytes(100_000), b"some words " * 5_000):
        assert inflated(deflated(message, encoding), encoding, len(message)) == message
        with pytest.raises(TooLarge):
            inflated(deflated(message + b"x", encoding), encoding, len(message))


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"x" + b, lambda _: b"", lambda _: b"plain", lambda b: b + b],
)
def test_what_is_not_one_whole_stream_is_refused(damage: Callable[[bytes], bytes]) -> None:
    whole = gzip.compress(b"some words" * 100)
    with pytest.raises(NotCompressed):
        inflated(damage(whole), b"gzip", MEBIBYTE)


def test_a_bomb_costs_no_more_memory_than_the_limit() -> None:
    bomb = zlib.compress(bytes(100 * MEBIBYTE), 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooLarge):
        inflated(bomb, b"deflate", MEBIBYTE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # kilobytes


def ask(server: ThreadServer, method: str, message: bytes, compression: Any) -> bytes:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", compression=compression) as channel:
        reply: bytes = channel.unary_unary(PATHS[method])(message)
        return reply


@pytest.mark.parametrize("compression", [GZIP, DEFLATE])
def test_a_client_that_compresses_is_understood_and_answered_in_kind(
    service: FakeService, fake_server: ThreadServer, compression: Any
) -> None:
    brief = CollectionBrief(name="n" * 200, collection_id=1, created_timestamp=1, shards=1, loaded_percent=0)
    service.answers[ShowCollections] = lambda _: Collections(collections=(brief,) * 500)
    plain = ask(fake_server, "ShowCollections", b"", grpc.Compression.NoCompression)
    assert ask(fake_server, "ShowCollections", b"", compression) == plain
    service.answers[HasCollection] = lambda request: Flag(value=len(request.collection) == 200_000)
    message = METHODS["HasCollection"][0](collection_name="c" * 200_000).SerializeToString()
    assert ask(fake_server, "HasCollection", message, compression) == ask(
        fake_server, "HasCollection", message, grpc.Compression.NoCompression
    )


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def test_a_bomb_over_the_wire_is_refused_and_the_server_goes_on(service: FakeService) -> None:
    service.answers[HasCollection] = lambda _: Flag(value=True)
    with ThreadServer(service, limits=Limits(max_receive_bytes=MEBIBYTE)) as server:
        message = METHODS["HasCollection"][0](collection_name="c" * (64 * MEBIBYTE)).SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            ask(server, "HasCollection", message, GZIP)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "received message larger than max" in caught.value.details()
        ask(server, "HasCollection", b"", GZIP)
