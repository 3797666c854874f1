"""`python -m redkite_dropin`: who opens local `.db` files here?"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def main() -> int:
    """Print it; the result is the exit status: 0 when it is Redkite."""
    from milvus_lite import server_manager

    lite = _version("milvus-lite")
    if "redkite_dropin" in str(server_manager.__file__):
        print(f"pymilvus {_version('pymilvus')} opens .db files with Redkite {_version('redkite')}")
        if lite:
            print(f"Milvus Lite {lite} is installed too, and is not asked; files that it wrote stay its own")
        return 0
    print(f"Milvus Lite {lite} opens .db files: the .pth file of redkite-lite-dropin was not read", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
