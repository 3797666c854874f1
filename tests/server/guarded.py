"""A server that asks who calls, and what tests ask of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.servers import ALONE, ProcessServer, wire_server

from redkite.errors import NotPermitted
from redkite.model import requests as rq

ROOT = "root:Milvus"


def serve(folder: Path, *settings: str, workers: int = 1) -> ProcessServer:
    if workers > 1 and "CLUSTER" in os.environ:
        pytest.skip(ALONE)
    config = folder / "redkite.toml"
    config.write_text("\n".join(settings) + "\n")
    if workers > 1:
        return ProcessServer(folder / "data", "--config", str(config), "--workers", str(workers))
    return wire_server(folder / "data", "--config", str(config))


def denied(call: Callable[[], Any]) -> str:
    """What a call was refused with, by pymilvus or by our client."""
    with pytest.raises((grpc.RpcError, NotPermitted)) as caught:
        call()
    error = caught.value
    if isinstance(error, NotPermitted):
        assert error.code == 1401
        return error.message
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    return str(error.details())


def asked(request: rq.Request) -> Generator[rq.Request, Any, Any]:
    """One request, as an operation of our client."""
    answer = yield request
    return answer
