"""A server that is killed while it imports: afterwards all rows are there, or none, and the job says which."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.servers import ProcessServer, alone

from redkite import DataType, MilvusClient

ROWS = 40_000
DIM = 16


def write(folder: Path) -> str:
    folder.mkdir()
    vectors = np.random.default_rng(1).random(ROWS * DIM, np.float32)
    table = {"id": np.arange(ROWS), "v": pa.FixedSizeListArray.from_arrays(pa.array(vectors), DIM)}
    pq.write_table(pa.table(table), folder / "rows.parquet", row_group_size=5_000)
    return "rows.parquet"


@alone
@pytest.mark.timeout(180)
def test_a_killed_server_has_all_rows_of_an_import_or_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    file = write(tmp_path / "data-imports")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for attempt in range(2):
        with ProcessServer(data) as server:
            client = MilvusClient(server.uri)
            if not attempt:
                schema = client.create_schema()
                schema.add_field("id", DataType.INT64, is_primary=True, auto_id=False)
                schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
                index = client.prepare_index_params("v", index_type="FLAT", metric_type="L2")
                client.create_collection("c", schema=schema, index_params=index, num_shards=2)
            job = client.start_import("c", file)
            time.sleep(chance.uniform(0.0, 0.6))
            client.close()
            server.stop(signal.SIGKILL)
        with ProcessServer(data) as server, MilvusClient(server.uri) as client:
            info = client.describe_import(job)
            count = client.query("c", "", output_fields=["count(*)"])[0]["count(*)"]
            if info.state == "Completed":
                assert count == ROWS
                client.delete("c", filter=f"id < {ROWS}")
            else:
                assert info.state == "Failed"
                assert "nothing of it was stored" in info.reason
                assert count == 0
    with ProcessServer(data) as server, MilvusClient(server.uri) as client:
        assert client.import_files("c", file).imported_rows == ROWS
        assert client.query("c", "", output_fields=["count(*)"])[0]["count(*)"] == ROWS
