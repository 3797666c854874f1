"""Inserts several times the memory limit into a database while the process may not have more than that."""

from __future__ import annotations

import json
import resource
import sys

import numpy as np

from redkite import MilvusClient
from redkite.errors import MilvusException

LIMIT = 96 << 20
MARGIN = 128 << 20
DIM = 128
BATCH = 2_000


def private_bytes() -> int:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmData"))
    return int(line.split()[1]) * 1024


def batch(first: int) -> list[dict[str, object]]:
    vectors = np.random.default_rng(first).random((BATCH, DIM), np.float32)
    return [{"id": first + at, "vector": vector} for at, vector in enumerate(vectors)]


def main(path: str) -> None:
    client = MilvusClient(path, memory_limit=LIMIT)
    client.create_collection("c", DIM)
    client.insert("c", batch(0))
    client.flush("c")
    client.search("c", [[0.5] * DIM], limit=3)
    client.insert("c", batch(0))
    most = private_bytes() + LIMIT + MARGIN
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    batches = 3 * LIMIT // (BATCH * DIM * 4)
    inserted = refused = 0
    errors: list[str] = []
    for number in range(1, batches + 1):
        try:
            client.insert("c", batch(number * BATCH))
        except MilvusException as error:
            refused += 1
            errors.append(type(error).__name__)
        else:
            inserted += 1
        if number % 20 == 0:
            client.search("c", [[0.5] * DIM], limit=3)
    count = client.query("c", "id >= 0", output_fields=["count(*)"])[0]["count(*)"]
    told = {"batches": batches, "inserted": inserted, "refused": refused, "errors": errors, "count": count}
    print(
        json.dumps(told | {"rows": (inserted + 1) * BATCH, "private_mb": private_bytes() >> 20, "most_mb": most >> 20})
    )
    client.close()


if __name__ == "__main__":
    main(sys.argv[1])
