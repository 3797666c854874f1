"""An index of a collection, as an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redkite.client.index_params import IndexParams

if TYPE_CHECKING:
    from redkite.orm.collection import Collection

_OWN = ("index_type", "metric_type")
_STATE = frozenset(
    {"field_name", "index_name", "total_rows", "indexed_rows", "pending_index_rows", "state", "index_state_fail_reason",
     "min_index_version", "max_index_version"}
)  # fmt: skip


class Index:
    """Made with the object, unless it is there already."""

    def __init__(self, collection: Collection, field_name: str, index_params: dict[str, Any], **options: Any) -> None:
        self._collection = collection
        self._field_name = field_name
        self._name: str = options.pop("index_name", "") or field_name
        self._params = dict(index_params)
        if options.pop("construct_only", False):
            return
        wanted = IndexParams()
        wanted.add_index(field_name, index_name=options.pop("name", self._name), **flat(index_params))
        collection.client.create_index(collection.name, wanted, **options)

    @classmethod
    def of(cls, collection: Collection, described: dict[str, Any]) -> Index:
        """What `describe_index` tells of an index that exists."""
        settings = {key: value for key, value in described.items() if key not in _STATE}
        params: dict[str, Any] = {key: settings.pop(key) for key in _OWN if key in settings}
        settings = {**settings.pop("params", {}), **settings}  # as one object, or each by itself
        if settings:
            params["params"] = settings
        name = described["index_name"]
        return cls(collection, described["field_name"], params, index_name=name, construct_only=True)

    @property
    def params(self) -> dict[str, Any]:
        """`{"index_type", "metric_type", "params"}`."""
        return dict(self._params)

    @property
    def collection_name(self) -> str:
        return self._collection.name

    @property
    def field_name(self) -> str:
        return self._field_name

    @property
    def index_name(self) -> str:
        return self._name

    def drop(self, timeout: float | None = None) -> None:
        self._collection.client.drop_index(self.collection_name, self._name, timeout=timeout)

    def to_dict(self) -> dict[str, Any]:
        return {"collection": self.collection_name, "field": self._field_name, "index_param": self.params}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Index) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.collection_name, self._field_name, self._name))

    def __repr__(self) -> str:
        return f"<Index {self._name} of {self.collection_name}.{self._field_name}: {self._params}>"


def flat(params: dict[str, Any]) -> dict[str, Any]:
    """`{"index_type": …, "params": {"M": 16}}` with everything on one level."""
    return {**params.get("params", {}), **{key: value for key, value in params.items() if key != "params"}}
