"""The store of objects as one node reads it: through a cache on its disk, where the store is far."""

from __future__ import annotations

from redkite.cluster.config import ClusterConfig
from redkite.cluster.places import is_folder
from redkite.env import Env
from redkite.storage.cached_objects import CachedObjects, open_cache
from redkite.storage.objects import ObjectStore


def node_store(config: ClusterConfig, env: Env, far: ObjectStore) -> tuple[ObjectStore, CachedObjects | None]:
    """What a node reads and writes objects through, and the cache in it, which is to be closed after use. A folder is
    read where it is. Raises StorageError for a cache that cannot be."""
    if is_folder(config.objects):
        return far, None
    cache = open_cache(far, env, config.cache_path or f"{config.state}/cache", config.cache_bytes)
    return cache, cache
