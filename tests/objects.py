"""A store that speaks S3, played in a thread of this process."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass(frozen=True)
class PlayedStore:
    """Where it is. Nothing checks who asks: any key does."""

    host: str
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def bucket_of(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """A new bucket for one test, which finds in its environment what it needs to come in."""
        import boto3

        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        name = f"bucket-{uuid.uuid4()}"
        boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1").create_bucket(Bucket=name)
        return name


def decided_one_by_one(application: Application) -> Application:
    """Two who put on a condition are not both told that it holds, as the store by itself may: it looks, then puts."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in environ and "HTTP_IF_MATCH" not in environ:
            return application(environ, start)
        if size := environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(size)))  # nobody is waited for inside
        with lock:
            return application(environ, start)

    return answer


@contextmanager
def played_store() -> Iterator[PlayedStore]:
    from moto.server import ThreadedMotoServer  # takes half a second, which every process would pay that collects tests

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    inner = server._server
    assert inner is not None
    inner.app = decided_one_by_one(inner.app)
    try:
        yield PlayedStore(*server.get_host_and_port())
    finally:
        server.stop()
        inner.server_close()
