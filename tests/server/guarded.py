"""A server that asks who calls, and what tests ask of one."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.servers import ProcessServer

from redkite.errors import NotPermitted
from redkite.model import requests as rq

ROOT = "root:Milvus"


def serve(folder: Path, *settings: str, workers: int = 1) -> ProcessServer:
    config = folder / "redkite.toml"
    config.write_text("\n".join(settings) + "\n")
    return ProcessServer(folder / "data", "--config", str(config), "--workers", str(workers))


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
