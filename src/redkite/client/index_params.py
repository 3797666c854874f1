"""Indexes to be created, as users list them."""

from __future__ import annotations

from typing import Any

from redkite.client.enumerations import IndexType
from redkite.errors import ParamError


class IndexParam:
    """One index: the field, its type, its name and its settings (`metric_type`, `M` …).

    Settings may be given flat, in `params={...}`, or both; they end up side by side.
    """

    def __init__(
        self, field_name: str, index_type: str | IndexType = "", index_name: str = "", **settings: Any
    ) -> None:
        if isinstance(index_type, IndexType):
            index_type = index_type.type_name
        nested = settings.pop("params", None)
        if nested is not None and not isinstance(nested, dict):
            raise ParamError(f"params must be a dict or None, got {type(nested).__name__}: {nested!r}")
        for argument, value in (("field_name", field_name), ("index_type", index_type), ("index_name", index_name)):
            if not isinstance(value, str):
                raise ParamError(
                    f"wrong type of argument [{argument}], expected type: [str], got type: [{type(value).__name__}]"
                )
        self._field_name = field_name
        self._index_type = index_type
        self._index_name = index_name
        self._settings = {**(nested or {}), **settings}

    @property
    def field_name(self) -> str:
        return self._field_name

    @property
    def index_type(self) -> str:
        return self._index_type

    @property
    def index_name(self) -> str:
        return self._index_name

    def get_index_configs(self) -> dict[str, Any]:
        """The settings with the index type among them, as the server is told."""
        return {**self._settings, "index_type": self._index_type} if self._index_type else dict(self._settings)

    def to_dict(self) -> dict[str, Any]:
        names = {"field_name": self._field_name, "index_type": self._index_type, "index_name": self._index_name}
        return {**names, **self._settings}

    def __repr__(self) -> str:
        return str(self.to_dict())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, IndexParam):
            return self.to_dict() == other.to_dict()
        if isinstance(other, dict):
            return self.to_dict() == other
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by value and holding a dict: not hashable


class IndexParams(list[IndexParam]):
    """The indexes of a collection, in the order they are to be created."""

    def add_index(
        self, field_name: str, index_type: str | IndexType = "", index_name: str = "", **settings: Any
    ) -> None:
        """Add one. With an empty `index_type` the server chooses; an empty `index_name` becomes the field's name."""
        self.append(IndexParam(field_name, index_type, index_name, **settings))
