"""Who is measured? Everything that has a `MilvusClient`, by the same code; and the bare index as the ceiling."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from measure import Server, disk_bytes, free_port
from workloads import FILTERS, Filter, Workload

M, EF_CONSTRUCTION = 16, 200
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
MAIN = "bench"
LOADED = 3
Found = list[list[int]]


class MilvusTarget:
    """A `MilvusClient` of pymilvus or of Redkite, on a server or on a path."""

    def __init__(self, label: str, module: str, uri: str, server: Server | None = None) -> None:
        self.label, self.module, self.uri, self.server = label, import_module(module), uri, server
        self.own_sdk = module == "redkite"
        self.client: Any = None
        self.workload: Workload

    # -- life ---------------------------------------------------------------------------------
    @property
    def remote(self) -> bool:
        return "://" in self.uri

    def open(self, timeout: float = 60) -> None:
        """Connect; a server that listens and is not ready yet is asked again."""
        end = time.perf_counter() + timeout
        while self.client is None:
            try:
                self.client = self.module.MilvusClient(self.uri)
                self.client.list_collections()
            except self.module.MilvusException:
                self.client = None
                if time.perf_counter() > end:
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    def disk(self) -> int:
        return disk_bytes(self.uri if not self.remote else self.server.data if self.server else None)

    # -- collections --------------------------------------------------------------------------
    def create(self, name: str = MAIN, *, indexed: bool = False, consistency: str = "Bounded") -> None:
        """A fresh collection; `indexed` also gives it its index and loads it."""
        kind, spec = self.module.DataType, self.workload.spec
        if self.client.has_collection(name):
            self.client.drop_collection(name)
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", kind.INT64, is_primary=True)
        schema.add_field("vector", kind.FLOAT_VECTOR, dim=spec.dim)
        for column, data_type in (("category", kind.INT64), ("zone", kind.INT64), ("price", kind.FLOAT)):
            schema.add_field(column, data_type)
        schema.add_field("color", kind.VARCHAR, max_length=32)
        more = {"index_params": self._index_params()} if indexed else {}
        self.client.create_collection(name, schema=schema, consistency_level=consistency, **more)

    def _index_params(self) -> Any:
        params = self.client.prepare_index_params()
        params.add_index(
            "vector", index_type="HNSW", metric_type=self.workload.spec.metric,
            params={"M": M, "efConstruction": EF_CONSTRUCTION},
        )  # fmt: skip
        return params

    def flush(self, name: str = MAIN) -> None:
        self.client.flush(name)

    def build_index(self, name: str = MAIN) -> None:
        self.client.create_index(name, self._index_params())
        self.wait_for_index(name)

    def wait_for_index(self, name: str = MAIN, timeout: float = 600) -> None:
        end = time.perf_counter() + timeout
        while time.perf_counter() < end:
            state = self.client.describe_index(name, self.client.list_indexes(name)[0])
            if str(state.get("state", "Finished")) in ("Finished", "3") and not int(state.get("pending_index_rows", 0)):
                return
            time.sleep(0.02)
        raise TimeoutError("the index is not finished")

    def load(self, name: str = MAIN, timeout: float = 600) -> None:
        self.client.load_collection(name)
        end = time.perf_counter() + timeout
        while int(self.client.get_load_state(name)["state"]) != LOADED:
            if time.perf_counter() > end:
                raise TimeoutError("the collection is not loaded")
            time.sleep(0.02)

    # -- data ---------------------------------------------------------------------------------
    def insert(self, rows: Any, name: str = MAIN) -> None:
        self.client.insert(name, rows)

    def pack(self, form: str, start: int, stop: int) -> Any:
        """Rows as `dicts`, as columns of `numpy` arrays in schema order, or as an `arrow` table."""
        if form == "dicts":
            return self.workload.dicts(start, stop)
        columns = [np.arange(start, stop), self.workload.vectors[start:stop]]
        columns += [column[start:stop] for column in self.workload.columns.values()]
        if form == "numpy":
            return [*columns[:-1], columns[-1].tolist()]
        return arrow_batch(self.workload, columns)

    def search(self, queries: Any, ef: int, chosen: Filter | None = None, name: str = MAIN, **more: Any) -> Found:
        answer = self.client.search(
            name, data=queries, limit=10, filter=chosen.text if chosen else "",
            search_params={"metric_type": self.workload.spec.metric, "params": {"ef": ef}}, **more,
        )  # fmt: skip
        return [list(hits.ids) for hits in answer]

    def query(self, condition: str, limit: int) -> int:
        return len(self.client.query(MAIN, filter=condition, limit=limit, output_fields=["id", "category", "color"]))

    # -- many at once -------------------------------------------------------------------------
    def gather(self, call: Callable[[Any, int], Awaitable[object]], count: int) -> float:
        """Seconds for `count` calls of an AsyncMilvusClient, all begun at once."""

        async def main() -> float:
            client = self.module.AsyncMilvusClient(self.uri)
            await call(client, 0)  # connecting is not what is measured
            started = time.perf_counter()
            await asyncio.gather(*(call(client, number + 1) for number in range(count)))
            seconds = time.perf_counter() - started
            await client.close()
            return seconds

        return asyncio.run(main())


def arrow_batch(workload: Workload, columns: list[npt.NDArray[Any]]) -> Any:
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(columns[1].reshape(-1)), workload.spec.dim)
    names = ["id", "vector", *workload.columns]
    return pa.table([pa.array(columns[0]), vectors, *(pa.array(column) for column in columns[2:])], names)


class FaissTarget:
    """The library below, called directly: what no database on top of it can beat."""

    remote, own_sdk, server = False, False, None

    def __init__(self, label: str) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads steal the cores they wait for
        self.label = label
        self.workload: Workload

    def open(self) -> None:
        self.faiss = import_module("faiss")

    def close(self) -> None:
        pass

    def disk(self) -> int:
        return 0

    def create(self) -> None:
        metric = self.faiss.METRIC_L2 if self.workload.spec.metric == "L2" else self.faiss.METRIC_INNER_PRODUCT
        self.index = self.faiss.IndexHNSWFlat(self.workload.spec.dim, M, metric)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION

    def flush(self) -> None:
        pass

    def load(self) -> None:
        self.bits = {
            chosen.label: np.packbits(chosen.mask(self.workload.columns), bitorder="little") for chosen in FILTERS
        }

    def build_index(self) -> None:
        self.faiss.omp_set_num_threads(os.cpu_count() or 1)
        self.index.add(self.workload.vectors)

    def search(self, queries: Any, ef: int, chosen: Filter | None = None) -> Found:
        batch = np.asarray(queries, dtype=np.float32)
        self.faiss.omp_set_num_threads(1 if len(batch) == 1 else os.cpu_count())  # counts for this thread alone
        more = {"sel": self.faiss.IDSelectorBitmap(self.bits[chosen.label])} if chosen else {}
        parameters = self.faiss.SearchParametersHNSW(efSearch=ef, **more)
        found: Found = self.index.search(batch, 10, params=parameters)[1].tolist()
        return found


Target = MilvusTarget | FaissTarget


# -- making them --------------------------------------------------------------------------------
def redkite_server(folder: Path) -> Server:
    """`redkite serve` of this interpreter, on free ports, over a fresh folder."""
    port, metrics, data = free_port(), free_port(), folder / "redkite-server"
    shutil.rmtree(data, ignore_errors=True)
    command = f"{sys.executable} -m redkite serve --data {data} --port {port} --metrics-port {metrics}"
    return Server(command, f"http://127.0.0.1:{port}", str(data), f"127.0.0.1:{metrics}/healthz")


def milvus_server(environment: str, folder: Path) -> Server:
    """Milvus of the package `milvus`, installed in a virtual environment. Its etcd needs ports 2379 and 2380."""
    port, home = free_port(), folder / "milvus"
    shutil.rmtree(home, ignore_errors=True)
    launcher = Path(__file__).with_name("milvus_launcher.py")
    command = f"{environment}/bin/python {launcher} {home} {port}"
    subprocess.run([*command.split(), "prepare"], check=True)  # unpacking is no part of a start
    return Server(command, f"http://127.0.0.1:{port}", str(home / "data"))


def milvus_lite_server(environment: str, folder: Path) -> Server:
    """Milvus Lite 3 of the package `milvus-lite`, installed in a virtual environment."""
    port, data = free_port(), folder / "milvus-lite"
    shutil.rmtree(data, ignore_errors=True)
    command = f"{environment}/bin/milvus-lite server --data-dir {data} --port {port}"
    return Server(command, f"http://127.0.0.1:{port}", str(data))


def prepared_server(uri: str) -> Server:
    """What answers as the server at `uri` did the first time, at once."""
    port, script = free_port(), Path(__file__).with_name("prepared.py")
    server = Server(f"{sys.executable} {script} {port} {uri}", f"http://127.0.0.1:{port}", None)
    server.log = Path(os.devnull)
    return server


PEERS = {"milvus": milvus_server, "milvus-lite": milvus_lite_server}


def make(name: str, folder: Path) -> Target:
    """One of ours by name (`server`, `sdk`, `embedded`, `faiss`), or a peer as `milvus=ENV` or `label=URI`."""
    kind, _, place = name.partition("=")
    if kind == "faiss":
        return FaissTarget("bare faiss")
    if kind == "embedded":
        path = folder / "redkite-embedded.db"
        shutil.rmtree(path, ignore_errors=True)
        return MilvusTarget("Redkite embedded", "redkite", str(path))
    if kind in ("server", "sdk"):
        server = redkite_server(folder)
        module = "pymilvus" if kind == "server" else "redkite"
        return MilvusTarget(f"Redkite, {module}", module, server.uri, server)
    if not place:
        raise SystemExit(f"{name}: a target is server, sdk, embedded, faiss, milvus=ENV, milvus-lite=ENV or LABEL=URI")
    if "://" in place:
        return MilvusTarget(kind, "pymilvus", place)
    if kind not in PEERS:
        raise SystemExit(f"{name}: only milvus=ENV and milvus-lite=ENV can be started; give LABEL=URI of a running one")
    server = PEERS[kind](place, folder)
    return MilvusTarget(kind, "pymilvus", server.uri, server)
