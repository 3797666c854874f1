"""Milvus's SDKs for Node and Go on a Redkite server.

They come from registries of other languages, so they are run by whoever has installed them:

    mkdir clients && cd clients
    npm install @zilliz/milvus2-sdk-node
    go mod init clients && go get github.com/milvus-io/milvus/client/v2@latest
    cp …/tests/acceptance/other_clients/go_client.go . && go mod tidy
    OTHER_CLIENTS=$PWD pytest tests/acceptance/test_other_clients.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.servers import ProcessServer

SCRIPTS = Path(__file__).parent / "other_clients"
COMMANDS = {"node_client.js": ["node"], "go_client.go": ["go", "run"]}
FOLDER = os.environ.get("OTHER_CLIENTS", "")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(not FOLDER, reason="OTHER_CLIENTS names no folder with the SDKs")
@pytest.mark.parametrize("script", COMMANDS)
def test_an_sdk_of_another_language_does_its_whole_round(script: str, server: ProcessServer) -> None:
    copy = Path(shutil.copy(SCRIPTS / script, FOLDER))
    command = [*COMMANDS[script], copy.name, f"127.0.0.1:{server.port}"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=380, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr
