"""Several collections described at once."""

from __future__ import annotations

from redkite.errors import MilvusException
from redkite.model.request import Request
from redkite.model.results import CollectionInfo, Result


class BatchDescribeCollection(Request, frozen=True):
    """-> CollectionInfos. By names, or by ids."""

    collections: tuple[str, ...] = ()
    collection_ids: tuple[int, ...] = ()


class CollectionInfos(Result, frozen=True):
    """In the order they were asked for; an error in place of one that cannot be described."""

    found: tuple[CollectionInfo | MilvusException, ...]
