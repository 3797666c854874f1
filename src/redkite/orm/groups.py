"""Users, roles and grants as the older interface shows them: `.groups` of a list, whose items have attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_OLDER_NAMES = {"username": "user_name", "role_name": "role", "object": "object_type"}


class Item(dict[str, Any]):
    """What `MilvusClient` shows as a dict; each key is an attribute, also by the name that pymilvus has for it."""

    def __getattr__(self, name: str) -> Any:
        key = name if name in self else _OLDER_NAMES.get(name, name)
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"there is no {name}") from None


class Items(list[Item]):
    """A list of them."""

    def __init__(self, found: Iterable[Mapping[str, Any]]) -> None:
        super().__init__(Item(one) for one in found)

    @property
    def groups(self) -> Items:
        return self
