"""Compiles the protocol text in `proto/` into the descriptor set that ships with the package.

Run it after changing a `.proto` file: `python -m redkite.wire.compile`. It needs `grpcio-tools`; nothing else does.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent
DESCRIPTORS = _FOLDER / "milvus.pb"


def descriptor_set(target: Path) -> None:
    """Compile every `.proto` file into one descriptor set at `target`."""
    sources = sorted(source.name for source in (_FOLDER / "proto").glob("*.proto"))
    options = [f"--proto_path={_FOLDER / 'proto'}", f"--descriptor_set_out={target}"]
    protoc = importlib.import_module("grpc_tools.protoc")
    status = protoc.main(["protoc", *options, *sources])
    if status:
        raise SystemExit(f"protoc ended with status {status}")


def main() -> None:
    descriptor_set(DESCRIPTORS)
    sys.stdout.write(f"{DESCRIPTORS.name}: {DESCRIPTORS.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
