"""Answers imports of `milvus_lite.server_manager`, and of `milvus_lite` where Milvus Lite is not installed.

This runs with every start of the interpreter, so it imports nothing that is not there already.
"""

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

PACKAGE = "milvus_lite"
MODULE = f"{PACKAGE}.server_manager"


class Finder:
    """Stands in front of the finders of `sys.meta_path`."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # noqa: ARG004  as importlib calls it
        """Where a module is; None for every module that is none of ours."""
        if name == MODULE:
            from importlib.util import spec_from_file_location

            return spec_from_file_location(name, f"{_FOLDER}/server_manager.py")
        if name == PACKAGE:
            # Milvus Lite brings faiss in before Redkite does, whose threads would spin between calls ever after.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if name == PACKAGE and PathFinder.find_spec(PACKAGE) is None:
            package = ModuleSpec(PACKAGE, None, is_package=True)
            package.submodule_search_locations = []
            return package
        return None


_FOLDER = __file__.rpartition("/")[0]


def install() -> None:
    """Be asked first, once."""
    if Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
