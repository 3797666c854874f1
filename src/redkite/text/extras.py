"""Libraries that not every installation has."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from redkite.errors import Unimplemented

_PACKAGES = {"icu4py.breakers": "icu4py", "lindera": "lindera-python-cjk", "whatlang": "whatlang-pyo3"}
_APART = {"lingua": "lingua-language-detector"}


def library(module: str, user: str) -> ModuleType:
    """A module of the extra `text`; raises Unimplemented saying what to install for `user` when it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        if module in _APART:
            what = f"pip install {_APART[module]}"
        else:
            what = f"pip install 'redkite[text]' (or {_PACKAGES.get(module, module)})"
        raise Unimplemented(f"{user} needs a library that is not installed: {what}") from error
