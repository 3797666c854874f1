"""The keys of providers: from a credential that a function names, from the provider's settings, or from the
environment. None of them is part of a function's parameters, so no description of a collection holds one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.calling import CREDENTIAL_VARIABLE, Credential, ModelSettings

_PREFIXES = ("MILVUS_", "MILVUSAI_")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Keys:
    """Finds credentials. `variables` is the environment."""

    def __init__(self, settings: ModelSettings, variables: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._variables = os.environ if variables is None else variables

    def credential(self, who: str, name: str) -> Credential:
        """One by its name, from the settings or the environment. Raises InvalidParameter when there is none."""
        if name in self._settings.credentials:
            return self._settings.credentials[name]
        variable = CREDENTIAL_VARIABLE + name.upper().replace("-", "_")
        value = self._variables.get(variable, "") if _NAME.fullmatch(name) else ""
        if not value:
            raise InvalidParameter(
                f"{who}: credential {name[:64]} is not set, the engine looks for [credential.{name[:64]}] in its "
                f"configuration and for {variable[:90]} in its environment"
            )
        return _read(value)

    def variable(self, names: Sequence[str]) -> str:
        """The first of some variables that is set, each as Milvus calls it first; else empty."""
        for name in names:
            for prefix in (*_PREFIXES, ""):
                if value := self._variables.get(prefix + name, "").strip():
                    return value
        return ""


def missing(who: str, name: str) -> InvalidParameter:
    """What a function is told that finds no key."""
    return InvalidParameter(
        f"{who} needs a key: name a credential, or set {_PREFIXES[0]}{name} in the environment of the engine"
    )


def _read(value: str) -> Credential:
    """A variable's value: a key, or the JSON text of a credential with several parts."""
    if value.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(value.encode(), type=Credential)
        except msgspec.DecodeError:
            return Credential(credential_json=value)
    return Credential(apikey=value.strip(), credential_json=value)
