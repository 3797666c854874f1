"""Databases of a connection."""

from __future__ import annotations

from typing import Any

from redkite.orm.connections import connections


def create_database(db_name: str, using: str = "default", timeout: float | None = None, **options: Any) -> None:
    """`properties=` may be given."""
    connections.client(using).create_database(db_name, timeout=timeout, **options)


def drop_database(db_name: str, using: str = "default", timeout: float | None = None) -> None:
    connections.client(using).drop_database(db_name, timeout=timeout)


def list_database(using: str = "default", timeout: float | None = None) -> list[str]:
    return connections.client(using).list_databases(timeout=timeout)


def describe_database(db_name: str, using: str = "default", timeout: float | None = None) -> dict[str, str]:
    return connections.client(using).describe_database(db_name, timeout=timeout)


def using_database(db_name: str, using: str = "default") -> None:
    """Look up names in another database from now on."""
    connections.client(using).use_database(db_name)


def set_properties(
    db_name: str, properties: dict[str, Any], using: str = "default", timeout: float | None = None
) -> None:
    connections.client(using).alter_database_properties(db_name, properties, timeout=timeout)
