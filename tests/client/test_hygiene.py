"""Clients leave nothing behind: no warning at the end of a program, no hang after a fork, no surprise after a close.

Each program runs in a process of its own, with every warning an error and Python's own checks on.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.client.conftest import WireServer
from tests.client.test_grpc import certificate, secure
from tests.servers import ProcessServer

import redkite
from redkite.errors import MilvusException

PLACES = ("file", "server")
CLOSED = "should create connection first"
__all__ = ["certificate", "secure"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with ProcessServer(tmp_path_factory.mktemp("hygiene") / "data") as process:
        yield process


@pytest.fixture(params=PLACES)
def uri(request: pytest.FixtureRequest, server: ProcessServer, tmp_path: Path) -> str:
    return server.uri if request.param == "server" else str(tmp_path / "clean.db")


def run(program: str, uri: str, *, seconds: float = 60.0) -> str:
    """What a program prints, that must end by itself, well, and without a word on its error output."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(program), uri],
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


SYNC = """
    import sys, redkite
    {made}
    if "c" not in client.list_collections():
        client.create_collection("c", dimension=4)
    client.upsert("c", [{{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}}])
    assert len(client.search("c", [[1.0, 2.0, 3.0, 4.0]])[0]) == 1
    {ended}
"""
ASYNC = """
    import asyncio, sys, redkite

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 600.0  # a busy machine is no matter here
        {made}
        if "c" not in await client.list_collections():
            await client.create_collection("c", dimension=4)
        await client.upsert("c", [{{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}}])
        found, _ = await asyncio.gather(client.search("c", [[1.0, 2.0, 3.0, 4.0]]), client.list_collections())
        assert len(found[0]) == 1
        {ended}

    asyncio.run(main())
"""
MADE = "client = redkite.{kind}(sys.argv[1])"


@pytest.mark.parametrize("ended", ["client.close(); client.close()", "client = [client, client]"])
def test_a_program_ends_without_a_warning(uri: str, ended: str) -> None:
    run(SYNC.format(made=MADE.format(kind="MilvusClient"), ended=ended), uri)


@pytest.mark.parametrize("ended", ["await client.close(); await client.close()", ""])
def test_a_program_that_awaits_ends_without_a_warning(uri: str, ended: str) -> None:
    run(ASYNC.format(made=MADE.format(kind="AsyncMilvusClient"), ended=ended), uri)


def test_a_program_of_the_older_classes_ends_without_a_warning(server: ProcessServer) -> None:
    program = """
        import sys
        from redkite import Collection, MilvusException, connections, utility
        connections.connect(uri=sys.argv[1])
        try:
            Collection("nobody")
        except MilvusException as error:
            print(len(utility.list_collections()) >= 0)
    """
    assert run(program, server.uri) == "True\n"


FORKED = """
    import os, sys, redkite
    client = redkite.MilvusClient(sys.argv[1])
    before = client.list_databases()
    child = os.fork()
    if child == 0:
        try:
            found = client.list_databases()
            with redkite.MilvusClient(sys.argv[1]) as own:
                os._exit(0 if own.list_databases() == found == before else 3)
        except redkite.MilvusException as error:
            sys.stdout.write(error.message)
            sys.stdout.flush()
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert client.list_databases() == before
    client.close()
    print(os.waitstatus_to_exitcode(status))
"""


HELD = """
    import os, signal, sys
    from redkite.client.schema_cache import SHARED
    with SHARED._lock:  # another thread is just writing to it
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for ever ends, too
            SHARED.put(("endpoint", "database", "collection"), None)
            os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_does_not_inherit_what_another_thread_holds() -> None:
    assert run(HELD, "") == "0\n"


def test_a_client_of_a_server_works_on_both_sides_of_a_fork(server: ProcessServer) -> None:
    assert run(FORKED, server.uri) == "0\n"


def test_a_client_of_a_file_says_after_a_fork_that_it_is_not_of_this_process(tmp_path: Path) -> None:
    printed = run(FORKED, str(tmp_path / "forked.db"))
    assert "fork" in printed
    assert printed.endswith("7\n")


def test_workers_of_a_pool_may_use_a_client_that_was_there_before_them(server: ProcessServer) -> None:
    program = """
        import multiprocessing, sys, redkite
        client = redkite.MilvusClient(sys.argv[1])
        client.list_databases()

        def ask(_):
            return client.list_databases()

        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(ask, range(8))
        assert all(names == client.list_databases() for names in found)
    """
    run(program, server.uri)


def test_many_threads_share_one_client(uri: str) -> None:
    with redkite.MilvusClient(uri) as client:
        if client.has_collection("shared"):
            client.drop_collection("shared")
        client.create_collection("shared", dimension=4)

        def work(at: int) -> int:
            row = {"id": at, "vector": [float(at), 1.0, 0.0, 0.0]}
            client.insert("shared", [row])
            (found,) = client.get("shared", [at])
            return int(found["id"])

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(64))) == list(range(64))
        client.drop_collection("shared")


def test_a_closed_client_says_that_it_is_closed(uri: str) -> None:
    with redkite.MilvusClient(uri) as client:
        client.list_collections()
    client.close()
    for call in (
        client.list_collections,
        lambda: client.insert("c", [{"id": 1}]),
        lambda: client.search("c", [[1.0]]),
        client.list_resource_groups,
        lambda: client.use_database("default"),
    ):
        with pytest.raises(MilvusException, match=CLOSED):
            call()


async def test_a_closed_client_that_was_awaited_says_so_too(uri: str) -> None:
    async with redkite.AsyncMilvusClient(uri) as client:
        await client.list_collections()
    await client.close()
    for call in (client.list_collections, lambda: client.search("c", [[1.0]]), client.list_resource_groups):
        with pytest.raises(MilvusException, match=CLOSED):
            await call()


def test_a_client_of_another_event_loop_works_or_says_why_not(uri: str) -> None:
    async def first() -> redkite.AsyncMilvusClient:
        client = redkite.AsyncMilvusClient(uri)
        await client.list_databases()
        return client

    client = asyncio.run(first())

    async def second() -> list[str]:
        try:
            return await asyncio.wait_for(client.list_databases(), 20)
        finally:
            await client.close()

    try:
        assert "default" in asyncio.run(second())
    except MilvusException as error:
        assert "event loop" in error.message or "loop" in error.message


@pytest.mark.parametrize("kind", ["MilvusClient", "AsyncMilvusClient"])
def test_a_client_over_tls_ends_without_a_warning(
    kind: str, secure: WireServer, certificate: tuple[Path, Path]
) -> None:
    made = f"redkite.{kind}(sys.argv[1], server_pem_path={str(certificate[1])!r})"
    if kind == "MilvusClient":
        run(f"import sys, redkite\nclient = {made}\nclient.list_collections()", f"https://localhost:{secure.port}")
        return
    program = f"""
        import asyncio, sys, redkite

        async def main():
            asyncio.get_running_loop().slow_callback_duration = 600.0
            await {made}.list_collections()

        asyncio.run(main())
    """
    run(program, f"https://localhost:{secure.port}")
