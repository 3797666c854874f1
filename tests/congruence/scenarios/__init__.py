"""All scenarios by name. A scenario takes a session and makes calls; it does not look at who carries them out."""

import importlib
import pkgutil

from scenarios.registry import SCENARIOS

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module("scenarios." + _module.name)

__all__ = ["SCENARIOS"]
