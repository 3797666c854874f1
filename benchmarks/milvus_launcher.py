"""Run the Milvus of the PyPI package `milvus` in the foreground: milvus_launcher.py HOME PORT [prepare].

The package's own launcher moves to another port when the wanted one was in use a moment ago, and kills the server one
second after asking it to stop, so neither a restart nor a clean stop can be measured with it. Run this with the
interpreter of the environment that has `milvus`.
"""

import os
import sys
from pathlib import Path

import milvus


def prepare(home: Path, port: int) -> None:
    """Unpack the binary and write its configuration, once."""
    if (home / "configs" / "milvus.yaml").exists():
        return
    config = milvus.MilvusServerConfig()
    config.update(data_dir=str(home))
    ports = sorted(key for key in config.configurable_items if key.endswith("_port"))
    for number, key in enumerate(ports):
        config.configurable_items[key][1] = port + 1 + 2 * number  # etcd also takes the port after its own
    config.configurable_items["proxy_port"][1] = port
    config.resolve()
    milvus._initialize_data_files(str(home))


def run(home: Path, port: int) -> None:
    libraries = os.pathsep.join(filter(None, [str(home / "bin"), os.environ.get("LD_LIBRARY_PATH")]))
    environment = {
        **os.environ,
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(port + 100),
        "MILVUS_RUN_DIR": str(home / "run"),
        "LD_LIBRARY_PATH": libraries,
    }
    os.chdir(home)
    binary = str(home / "bin" / "milvus")
    os.execve(binary, [binary, "run", "standalone"], environment)


if __name__ == "__main__":
    place, number = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    prepare(place, number)
    if "prepare" not in sys.argv[3:]:
        run(place, number)
