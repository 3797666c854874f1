"""A process that serves a whole cluster of threads on one port: `python -m tests.cluster.serve FOLDER query=3`.

It reads the settings of `--config FILE` as `redkite serve` does, prints the line that that prints, and ends in good
order on SIGTERM. On SIGUSR1 it writes to standard error where each of its threads is.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import signal

import msgspec

from redkite.cluster.in_process import SMALL, InProcessCluster, MemoryNodes
from redkite.cluster.roles.proxy import ProxyRole
from redkite.config import Settings, load
from redkite.logs import configure
from redkite.server.main import Server


async def serve(folder: str, wanted: list[str], file: str | None) -> None:
    here = {"port": "0", "metrics_port": "0", "data": folder, "backups": f"{folder}-backups"}
    settings = load(file=file, environment={}, arguments=here).settings
    configure(settings.log_level, as_json=settings.log_format == "json")
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    counts = {key: int(value) for key, _, value in (argument.partition("=") for argument in wanted)}
    config = msgspec.structs.replace(SMALL, settings=settings, proxies=1, streaming=2, query=2)
    cluster = InProcessCluster(MemoryNodes(f"{folder}/objects"), config, **counts)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def started(_: Settings) -> ProxyRole:
        cluster.start()
        return cluster.proxy()

    server = Server(settings, started)
    try:
        await server.start()
        print(server.greeting(0.0), flush=True)
        await stop.wait()
    finally:
        await server.stop()
        cluster.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("counts", nargs="*")
    parser.add_argument("--config")
    given = parser.parse_args()
    asyncio.run(serve(given.folder, given.counts, given.config))
