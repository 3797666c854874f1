"""How results look in a notebook: small tables of HTML. Every text is escaped, vectors are cut, long lists end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

SHOWN: Final = 10
"""Rows and queries that are shown."""
LONGEST: Final = 120
"""Characters of a text that are shown."""
_FIRST: Final = 3
"""Numbers of a vector that are shown."""
_LEFT: Final = ' style="text-align: left"'


class CollectionDescription(dict[str, Any]):
    """What `describe_collection` answers: a dict, which a notebook shows as a table of the fields."""

    def _repr_html_(self) -> str:
        return description_html(self)


def cell_text(value: object) -> str:
    """A value on one line, not escaped."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return f"{value[:8].hex(' ')}{' …' if len(value) > 8 else ''} ({len(value)} bytes)"
    if isinstance(value, list | tuple) and len(value) > _FIRST and all(isinstance(v, int | float) for v in value):
        return f"[{', '.join(f'{v:.4g}' for v in value[:_FIRST])}, … {len(value)}]"
    if isinstance(value, dict) and len(value) > _FIRST and all(isinstance(key, int) for key in value):
        first = ", ".join(f"{key}: {value[key]:.4g}" for key in list(value)[:_FIRST])
        return f"{{{first}, … {len(value)}}}"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def rows_html(rows: Sequence[Mapping[str, Any]], total: int, what: str) -> str:
    """A table of some rows, a column for each key that one of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return table_html(names, ([row.get(name) for name in names] for row in rows)) + _more(total - len(rows), what)


def table_html(names: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th{_LEFT}>{escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td{_LEFT}>{escape(cell_text(value))}</td>' for value in line)}</tr>" for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def hits_rows(hits: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Hits as flat rows: what is beside the fields first."""
    return [{**{k: v for k, v in dict(hit).items() if k != "entity"}, **dict(hit)["entity"]} for hit in hits]


def description_html(found: Mapping[str, Any]) -> str:
    """A collection: its name, its fields, and what else is set."""
    fields = [
        (
            field.get("name", ""),
            getattr(field.get("type"), "name", field.get("type")),
            ", ".join(_marks(field)),
            ", ".join(f"{key}={value}" for key, value in (field.get("params") or {}).items()),
            field.get("description", ""),
        )
        for field in found.get("fields", ())
    ]
    told = [
        f"<b>{escape(str(found.get('collection_name', '')))}</b>",
        *(escape(f"{key.replace('_', ' ')}: {cell_text(found[key])}") for key in _TOLD if found.get(key)),
    ]
    described = f"<p>{escape(str(found['description']))}</p>" if found.get("description") else ""
    return f"<p>{' · '.join(told)}</p>{described}" + table_html(("field", "type", "", "params", "description"), fields)


_TOLD: Final = (
    "aliases",
    "num_shards",
    "num_partitions",
    "consistency_level_name",
    "enable_dynamic_field",
    "properties",
)


def _marks(field: Mapping[str, Any]) -> list[str]:
    named = {
        "is_primary": "primary key", "auto_id": "auto id", "is_partition_key": "partition key",
        "is_clustering_key": "clustering key", "nullable": "nullable", "is_function_output": "made by a function",
    }  # fmt: skip
    return [text for key, text in named.items() if field.get(key)]


def _more(count: int, what: str) -> str:
    return f"<p>and {count:,} more {what}</p>" if count > 0 else ""
