"""LanceDB, in its folder, by its own library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redkite.client.index_params import IndexParams
from redkite.errors import CollectionNotFound
from redkite.migration.arrow_rows import mapped
from redkite.migration.plan import Found, Place, Portion, Wishes, renamed

_FIRST = 1000
_METRICS = {"l2": "L2", "cosine": "COSINE", "dot": "IP"}
_MANY = 2**31 - 1


class LanceSource:
    """The tables of one LanceDB."""

    kind = "lancedb"
    notes: tuple[str, ...] = ("older versions of tables, and tags, stay behind",)

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def _names(self) -> list[str]:
        names: list[str] = []
        token = None
        while True:
            page = self._connection.list_tables(page_token=token)
            names += page.tables
            token = page.page_token
            if not token:
                return sorted(names)

    def found(self, wishes: Wishes) -> list[Found]:
        names = self._names()
        for name in wishes.collections:
            if name not in names:
                raise CollectionNotFound(f"LanceDB has no table {name}; it has {', '.join(names) or 'none'}")
        return [self._one(name, wishes) for name in wishes.collections or names]

    def _one(self, name: str, wishes: Wishes) -> Found:
        table = self._connection.open_table(name)
        first = table.search().limit(_FIRST).to_arrow()
        made = mapped(table.schema, first, wishes, f"table {name}")
        metrics = self._metrics(table)
        indexes = IndexParams()
        for column in made.columns:
            if column.kind.is_vector:
                metric = wishes.metric or metrics.get(column.source, "L2")
                indexes.add_index(column.name, "AUTOINDEX", metric_type=metric)
        target, notes = renamed(name, wishes)
        return Found(
            source=name, name=target, schema=made.schema, indexes=indexes, rows=table.count_rows(), key=made.key,
            notes=(*notes, *made.notes), own=(table, made),
        )  # fmt: skip

    def _metrics(self, table: Any) -> dict[str, str]:
        """What the vectors with an index are compared by; without one, LanceDB compares by L2."""
        found: dict[str, str] = {}
        for index in table.list_indices():
            distance = getattr(table.index_stats(index.name), "distance_type", None)
            if distance in _METRICS:
                found[index.columns[0]] = _METRICS[distance]
        return found

    def portions(self, found: Found, place: Place, size: int) -> Iterator[Portion]:
        table, made = found.own
        offset = int(place.get("offset", 0))
        for batch in table.search().limit(_MANY).offset(offset).to_batches(size):
            for start in range(0, batch.num_rows, size):
                part = batch.slice(start, size)
                offset += part.num_rows
                yield Portion(made.rows(part), part.num_rows, {"offset": offset})

    def count(self, found: Found) -> int:
        return int(found.own[0].count_rows())

    def close(self) -> None:
        """Nothing is held."""
