"""Milvus's SDKs of other languages on a Redkite server, as it is, and with users and TLS.

Each has a small project beside this file, with the versions of everything it needs. What a machine needs for one is the
language's own tools and, once, its registry: `make clients` fetches, then runs these tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers import ProcessServer

HERE = Path(__file__).parent
SECONDS = 400


@dataclass(frozen=True)
class Sdk:
    """One project: its folder, the tool it needs, how it is made ready and how it is run (the address comes behind)."""

    folder: str
    tool: str
    prepare: tuple[str, ...]
    run: tuple[str, ...]


@dataclass(frozen=True)
class Guarded:
    """A server, and the user, password and certificate that clients need, if any."""

    process: ProcessServer
    credentials: list[str]


SDKS = {
    "node": Sdk("node", "npm", ("npm", "ci", "--ignore-scripts"), ("node", "main.js")),
    "go": Sdk("go", "go", ("go", "build", "-o", os.devnull, "./v2"), ("go", "run", "./v2")),
    "go-legacy": Sdk("go-legacy", "go", ("go", "build", "-o", os.devnull, "."), ("go", "run", ".")),
    "java": Sdk("java", "mvn", ("mvn", "-q", "-B", "compile"), ("mvn", "-q", "-B", "compile", "exec:java")),
}


@pytest.fixture(scope="module", params=["open", "guarded"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server; the guarded one wants to know who calls, and encrypts."""
    folder = tmp_path_factory.mktemp("clients")
    options, credentials = [], []
    if request.param == "guarded":
        key, pem = certificate(folder)
        (folder / "guarded.toml").write_text(f'authorization = "on"\ntls_cert = "{pem}"\ntls_key = "{key}"\n')
        options, credentials = ["--config", str(folder / "guarded.toml")], ["root", "Milvus", str(pem)]
    with ProcessServer(folder / "data", *options) as process:
        yield Guarded(process, credentials)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate for `localhost` that it signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, pem = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(pem)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return key, pem


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.skipif("CLIENTS" not in os.environ, reason="fetches from other languages' registries: make clients")
@pytest.mark.parametrize("name", SDKS)
def test_an_sdk_of_another_language_does_its_whole_round(name: str, server: Guarded) -> None:
    sdk = SDKS[name]
    if shutil.which(sdk.tool) is None:
        pytest.skip(f"{sdk.tool} is not installed")
    folder = HERE / sdk.folder
    subprocess.run(sdk.prepare, cwd=folder, capture_output=True, timeout=SECONDS, check=True)
    arguments = [f"localhost:{server.process.port}", *server.credentials]
    command = [*sdk.run, f"-Dexec.args={' '.join(arguments)}"] if name == "java" else [*sdk.run, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip("\x1b[0m\n") == "ok"
