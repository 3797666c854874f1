"""The options of one tokenizer or filter, as they were written in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redkite.errors import InvalidParameter
from redkite.text.resources import Resources, lines_of_file


class Options:
    """Options are taken one by one; what is left at the end is unknown. `name` is whose they are, for messages."""

    def __init__(self, name: str, given: Mapping[str, Any], resources: Resources) -> None:
        self.name = name
        self._left = {key: value for key, value in given.items() if key != "type"}
        self._resources = resources

    def has(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str) -> Any:
        """An option as it was written; None when it was not."""
        return self._left.pop(key, None)

    def flag(self, key: str, otherwise: bool) -> bool:
        value = self._left.pop(key, otherwise)
        if not isinstance(value, bool):
            raise InvalidParameter(f"{self.name} {key} must be a boolean value")
        return value

    def text(self, key: str) -> str | None:
        value = self._left.pop(key, None)
        if value is not None and not isinstance(value, str):
            raise InvalidParameter(f"{self.name} {key} must be string")
        return value

    def strings(self, key: str, label: str) -> list[str]:
        """A list of texts, empty when it was not written. `label` is how messages call it."""
        value = self._left.pop(key, None)
        if value is None:
            return []
        if not isinstance(value, list):
            raise InvalidParameter(f"{label} should be array")
        if not all(isinstance(item, str) for item in value):
            raise InvalidParameter(f"{label} item should be string")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """A JSON object, empty when it was not written."""
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            raise InvalidParameter(f"{key} must be dict")
        return value

    def lines(self, key: str, label: str) -> list[str]:
        """The lines of a file that the option names, none when it was not written."""
        value = self._left.pop(key, None)
        return [] if value is None else lines_of_file(value, label, self._resources)

    def finish(self) -> None:
        """Raise if there is an option that nobody took."""
        for key in self._left:
            raise InvalidParameter(f"unknown option {key} of {self.name}")
