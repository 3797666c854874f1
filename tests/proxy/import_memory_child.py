"""Imports several times the memory limit while the process may not have more than that."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.node.memory_child import private_bytes

from redkite import MilvusClient

LIMIT = 32 << 20
MARGIN = 96 << 20
DIM = 128
GROUP = 50_000
"""Rows of one row group: more than fits the limit beside everything else."""
GROUPS = 4


def write(path: Path) -> None:
    schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema) as writer:
        for number in range(GROUPS):
            vectors = np.random.default_rng(number).random(GROUP * DIM, np.float32)
            starts = pa.array(np.arange(GROUP + 1, dtype=np.int32) * DIM)
            ids = pa.array(np.arange(number * GROUP, (number + 1) * GROUP))
            lists = pa.ListArray.from_arrays(starts, pa.array(vectors))
            writer.write_table(pa.table([ids, lists], schema), row_group_size=GROUP)


def main(folder: Path) -> None:
    client = MilvusClient(str(folder / "memory.db"), memory_limit=LIMIT)
    index = client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    client.create_collection("c", DIM, index_params=index)
    client.insert("c", [{"id": -1, "vector": [0.0] * DIM}])
    client.flush("c")
    few = folder / "few.jsonl"
    few.write_text(json.dumps({"id": -1, "vector": [0.5] * DIM}))
    client.import_files("c", few)  # so that every library is there
    pq.ParquetFile(folder / "rows.parquet", buffer_size=1 << 20, pre_buffer=False).close()
    client.search("c", [[0.5] * DIM], limit=3)
    most = private_bytes() + LIMIT + MARGIN
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    job = client.import_files("c", folder / "rows.parquet")
    count = client.query("c", "id >= 0", output_fields=["count(*)"])[0]["count(*)"]
    print(json.dumps({"state": job.state, "rows": job.imported_rows, "count": count}))
    client.close()


if __name__ == "__main__":
    if sys.argv[2:] == ["write"]:
        write(Path(sys.argv[1]) / "rows.parquet")
    else:
        main(Path(sys.argv[1]))
