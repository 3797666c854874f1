"""Real servers that a cluster stands on, started for a test and stopped behind it; missing ones skip the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redkite.launch.brokers import JavaPart, Kafka, Pulsar
from redkite.launch.parts import Etcd, Part, S3Gateway
from redkite.launch.parts import free_ports as free_ports

EtcdServer = Etcd
JavaServer = JavaPart


def needs(part: Part) -> None:
    """Skip the test where a part cannot be run."""
    if isinstance(part, JavaPart) and "REDKITE_BROKERS" not in os.environ:
        pytest.skip(f"{part.name} is run by `make brokers`")
    missing = part.missing()
    if missing:
        pytest.skip("; ".join(missing))


class KafkaServer(Kafka):
    """Skips the test where it cannot be had."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        needs(self)


class PulsarServer(Pulsar):
    """Skips the test where it cannot be had."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        needs(self)


@contextmanager
def etcd_server(folder: Path) -> Iterator[EtcdServer]:
    pytest.importorskip("aetcd")
    server = EtcdServer(folder)
    needs(server)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Gateway]:
    """A real one that honours conditional puts."""
    pytest.importorskip("obstore")
    server = S3Gateway(folder)
    needs(server)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def running(kind: type[JavaPart], client: str, folder: Path) -> Iterator[JavaPart]:
    pytest.importorskip(client)
    server = kind(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
