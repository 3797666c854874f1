"""A part of a catalog as a catalog of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redkite.storage.catalog import Catalog


class PrefixedCatalog:
    """A `Catalog` of the keys that begin with a prefix, without it."""

    def __init__(self, whole: Catalog, prefix: str) -> None:
        self._whole, self._prefix = whole, prefix

    def get(self, key: str) -> bytes | None:
        return self._whole.get(self._prefix + key)

    def scan(self, prefix: str = "") -> list[tuple[str, bytes]]:
        cut = len(self._prefix)
        return [(key[cut:], value) for key, value in self._whole.scan(self._prefix + prefix)]

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        self._whole.commit(
            {self._prefix + key: value for key, value in puts.items()},
            [self._prefix + key for key in deletes],
            {self._prefix + key: value for key, value in (expect or {}).items()},
        )

    def close(self) -> None:
        """The whole is its owner's."""
