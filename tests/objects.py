"""A store that speaks S3, played in a thread of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class PlayedStore:
    """Where it is. Nothing checks who asks: any key does."""

    host: str
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def bucket_of(self, test: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        """A new bucket for one test, which finds in its environment what it needs to come in."""
        import boto3

        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        name = f"bucket{abs(hash(test.node.name)) % 10**9}"
        boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1").create_bucket(Bucket=name)
        return name


@contextmanager
def played_store() -> Iterator[PlayedStore]:
    from moto.server import ThreadedMotoServer  # takes half a second, which every process would pay that collects tests

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield PlayedStore(*server.get_host_and_port())
    finally:
        server.stop()
