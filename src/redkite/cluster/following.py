"""The coordinators as every node of a cluster has them: over the followed catalog, kept new by what changes in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from redkite.config import Settings, analyzer_folder
from redkite.coordinator.access import AccessCoordinator, AccessRules
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.file_resources import FileResourceCoordinator
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.meta import DatabaseMeta
from redkite.coordinator.node_oracle import NodeOracle
from redkite.coordinator.root import RootCoordinator
from redkite.env import Env
from redkite.errors import Conflict
from redkite.model.schema import DEFAULT_DATABASE
from redkite.storage.change_notes import ALL, CHANNEL, ChangeNotes
from redkite.storage.followed import FollowedCatalog

_DEFAULT_KEY: Final = "root/database/1"
"""Of the default database: whoever comes first makes it, and nobody makes it twice."""
_DATABASES: Final = "root/database/"
_DEFAULT_PASSWORD: Final = AccessRules().root_password


class Metadata:
    """What a node knows of databases, collections, segments, loads, users and files. Safe from any thread."""

    def __init__(self, catalog: FollowedCatalog, env: Env, settings: Settings, oracle: NodeOracle) -> None:
        """Changes that are made through these coordinators are committed by `catalog`."""
        make_default_database(catalog, oracle)
        self.catalog = catalog
        self.oracle = oracle
        notes = self._notes = ChangeNotes(catalog)
        notes.stamp_with(oracle.allocate)
        limits = settings.limits
        self.root = RootCoordinator(notes, env, limits, oracle)
        self.data = DataCoordinator(notes, lambda: oracle.allocate_ids(1), limits, catalog)
        self.loads = QueryCoordinator(notes, (), lambda: oracle.allocate_ids(1))
        self.access = AccessCoordinator(notes, env, limits, access_rules(settings))
        folder = analyzer_folder(settings)
        self.files = FileResourceCoordinator(notes, env.files, folder, folder, lambda: oracle.allocate_ids(1))
        self._parts: tuple[tuple[tuple[str, ...], Callable[[Iterable[str]], None]], ...] = (
            (("root/database/", "root/collection/"), self.root.absorb),
            (("segment/", "index/", "channel/"), self.data.absorb),
            (("load/", "resource-group/"), self.loads.absorb),
            (("access/",), self.access.absorb),
            (("files/",), self.files.absorb),
            ((ALL, CHANNEL), notes.changed),
        )
        catalog.when_changed(self._changed)
        # Whatever came between the first reading and the listening: every part re-reads what it is told of.
        self._changed(dict.fromkeys((key for key, _ in catalog.scan()), b""))

    def _changed(self, changes: Mapping[str, bytes | None]) -> None:
        for prefixes, absorb in self._parts:
            concerned = [key for key in changes if key.startswith(prefixes)]
            if concerned:
                absorb(concerned)

    def close(self) -> None:
        self.catalog.forget_listener(self._changed)


def make_default_database(catalog: FollowedCatalog, oracle: NodeOracle) -> None:
    """The database that is always there, if it is not."""
    if catalog.scan(_DATABASES):
        return
    made = DatabaseMeta(name=DEFAULT_DATABASE, database_id=1, created_timestamp=oracle.allocate())
    plain = catalog.fenced(None)
    try:
        plain.commit({_DEFAULT_KEY: made.to_bytes()}, expect={_DEFAULT_KEY: None})
    except Conflict:
        plain.refresh()


def access_rules(settings: Settings) -> AccessRules:
    """How users are told, and what they may, by the settings."""
    names = (name.strip() for name in settings.super_users.split(","))
    return AccessRules(
        root_password=settings.root_password or _DEFAULT_PASSWORD,
        super_users=frozenset(name for name in names if name),
        public=settings.public_privileges,
        root_is_bound=settings.root_needs_roles,
    )
