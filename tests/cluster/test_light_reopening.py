"""Opening a database and searching it does not pay for libraries that it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from redkite import MilvusClient

SEARCH = """
import sys
from redkite import MilvusClient
client = MilvusClient(sys.argv[1])
assert client.query("c", output_fields=["count(*)"])[0]["count(*)"] == 300
assert client.search("c", [[7.0] * 4], limit=1)[0].ids == [7]
print("pandas" in sys.modules)
client.close()
"""


def test_pandas_is_not_imported_by_the_first_search(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    client = MilvusClient(path)
    client.create_collection("c", 4, metric_type="L2")
    client.insert("c", [{"id": n, "vector": [float(n)] * 4} for n in range(300)])
    client.flush("c")
    client.close()
    done = subprocess.run([sys.executable, "-c", SEARCH, path], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "False\n", done.stdout + done.stderr
