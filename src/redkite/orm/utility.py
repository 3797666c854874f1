"""Functions over a connection, and hybrid timestamps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from redkite.errors import Timeout
from redkite.model.timestamps import compose, logical, physical_ms
from redkite.model.types import LoadState
from redkite.orm.bulk import BulkInsertState as BulkInsertState
from redkite.orm.bulk import do_bulk_insert as do_bulk_insert
from redkite.orm.bulk import get_bulk_insert_state as get_bulk_insert_state
from redkite.orm.bulk import list_bulk_insert_tasks as list_bulk_insert_tasks
from redkite.orm.connections import connections
from redkite.orm.groups import Items

if TYPE_CHECKING:
    from redkite.client.placement import ResourceGroupInfo

_POLL_SECONDS = 0.05
_FINISHED = frozenset({"Finished", "Failed"})


# -- collections --------------------------------------------------------------------------------
def has_collection(collection_name: str, using: str = "default", timeout: float | None = None) -> bool:
    return connections.client(using).has_collection(collection_name, timeout=timeout)


def list_collections(timeout: float | None = None, using: str = "default") -> list[str]:
    return connections.client(using).list_collections(timeout=timeout)


def drop_collection(collection_name: str, timeout: float | None = None, using: str = "default") -> None:
    connections.client(using).drop_collection(collection_name, timeout=timeout)


def truncate_collection(collection_name: str, timeout: float | None = None, using: str = "default") -> None:
    connections.client(using).truncate_collection(collection_name, timeout=timeout)


def rename_collection(
    old_collection_name: str,
    new_collection_name: str,
    new_db_name: str = "",
    timeout: float | None = None,
    using: str = "default",
) -> None:
    connections.client(using).rename_collection(old_collection_name, new_collection_name, new_db_name, timeout=timeout)


def has_partition(
    collection_name: str, partition_name: str, using: str = "default", timeout: float | None = None
) -> bool:
    return connections.client(using).has_partition(collection_name, partition_name, timeout=timeout)


def flush_all(using: str = "default", timeout: float | None = None) -> None:
    connections.client(using).flush_all(timeout=timeout)


def get_query_segment_info(collection_name: str, timeout: float | None = None, using: str = "default") -> list[Any]:
    """The segments that are loaded."""
    return list(connections.client(using).list_loaded_segments(collection_name, timeout=timeout))


# -- loading ------------------------------------------------------------------------------------
def load_state(
    collection_name: str,
    partition_names: Sequence[str] | None = None,
    using: str = "default",
    timeout: float | None = None,
) -> LoadState:
    """The least advanced of those asked for."""
    states: list[LoadState] = [
        found["state"] for found in _load_states(collection_name, partition_names, using, timeout)
    ]
    return min(states, key=int)


def loading_progress(
    collection_name: str,
    partition_names: Sequence[str] | None = None,
    using: str = "default",
    timeout: float | None = None,
) -> dict[str, str]:
    """`{"loading_progress": "100%"}`."""
    found = _load_states(collection_name, partition_names, using, timeout)
    done = [100 if state["state"] == LoadState.Loaded else int(state.get("progress", 0)) for state in found]
    return {"loading_progress": f"{min(done):.0f}%"}


def wait_for_loading_complete(
    collection_name: str,
    partition_names: Sequence[str] | None = None,
    timeout: float | None = None,
    using: str = "default",
) -> None:
    """Raises Timeout after so many seconds."""
    limit = None if timeout is None else time.monotonic() + timeout
    while load_state(collection_name, partition_names, using) != LoadState.Loaded:
        _pause(limit, f"{collection_name} was not loaded within {timeout} s")


def _load_states(
    collection_name: str, partition_names: Sequence[str] | None, using: str, timeout: float | None
) -> list[dict[str, Any]]:
    client = connections.client(using)
    names = partition_names or [""]
    return [client.get_load_state(collection_name, name, timeout=timeout) for name in names]


def _pause(limit: float | None, text: str) -> None:
    if limit is not None and time.monotonic() > limit:
        raise Timeout(text)
    time.sleep(_POLL_SECONDS)


# -- indexes ------------------------------------------------------------------------------------
def list_indexes(
    collection_name: str, using: str = "default", timeout: float | None = None, field_name: str = ""
) -> list[str]:
    return connections.client(using).list_indexes(collection_name, field_name, timeout=timeout)


def index_building_progress(
    collection_name: str, index_name: str = "", using: str = "default", timeout: float | None = None
) -> dict[str, Any]:
    """`{"total_rows", "indexed_rows", "pending_index_rows", "state"}` of an index, or of the first."""
    client = connections.client(using)
    name = index_name or client.list_indexes(collection_name, timeout=timeout)[0]
    found = client.describe_index(collection_name, name, timeout=timeout) or {}
    return {key: found[key] for key in ("total_rows", "indexed_rows", "pending_index_rows", "state") if key in found}


def wait_for_index_building_complete(
    collection_name: str, index_name: str = "", timeout: float | None = None, using: str = "default"
) -> bool:
    """Raises Timeout after so many seconds."""
    limit = None if timeout is None else time.monotonic() + timeout
    while str(index_building_progress(collection_name, index_name, using)["state"]) not in _FINISHED:
        _pause(limit, f"the index of {collection_name} was not built within {timeout} s")
    return True


# -- aliases ------------------------------------------------------------------------------------
def create_alias(collection_name: str, alias: str, timeout: float | None = None, using: str = "default") -> None:
    connections.client(using).create_alias(collection_name, alias, timeout=timeout)


def alter_alias(collection_name: str, alias: str, timeout: float | None = None, using: str = "default") -> None:
    connections.client(using).alter_alias(collection_name, alias, timeout=timeout)


def drop_alias(alias: str, timeout: float | None = None, using: str = "default") -> None:
    connections.client(using).drop_alias(alias, timeout=timeout)


def list_aliases(collection_name: str, timeout: float | None = None, using: str = "default") -> list[str]:
    return list(connections.client(using).list_aliases(collection_name, timeout=timeout)["aliases"])


# -- users --------------------------------------------------------------------------------------
def create_user(user: str, password: str, using: str = "default", timeout: float | None = None) -> None:
    connections.client(using).create_user(user, password, timeout=timeout)


def delete_user(user: str, using: str = "default", timeout: float | None = None) -> None:
    connections.client(using).drop_user(user, timeout=timeout)


def update_password(
    user: str, old_password: str, new_password: str, using: str = "default", timeout: float | None = None
) -> None:
    connections.client(using).update_password(user, old_password, new_password, timeout=timeout)


def reset_password(
    user: str, old_password: str, new_password: str, using: str = "default", timeout: float | None = None
) -> None:
    """Change a password, and go on with the new one."""
    connections.client(using).update_password(user, old_password, new_password, True, timeout)


def list_usernames(using: str = "default", timeout: float | None = None) -> list[str]:
    return connections.client(using).list_users(timeout=timeout)


def list_users(include_role_info: bool, using: str = "default", timeout: float | None = None) -> Items:
    """`describe_user` of each; without roles unless asked for."""
    names = list_usernames(using, timeout)
    return Items(found for name in names for found in list_user(name, include_role_info, using, timeout))


def list_user(username: str, include_role_info: bool, using: str = "default", timeout: float | None = None) -> Items:
    """`describe_user` of one, in a list; an empty list when there is no such user."""
    found = connections.client(using).describe_user(username, timeout=timeout)
    if not include_role_info:
        found.pop("roles", None)
    return Items([found] if found else [])


def list_roles(include_user_info: bool, using: str = "default", timeout: float | None = None) -> Items:
    """`{"role", "users"}` of each; without users unless asked for."""
    client = connections.client(using)
    names = client.list_roles(timeout=timeout)
    if not include_user_info:
        return Items({"role": name} for name in names)
    users = list_users(True, using, timeout)
    return Items({"role": name, "users": tuple(u["user_name"] for u in users if name in u["roles"])} for name in names)


# -- the server ---------------------------------------------------------------------------------
def get_server_version(using: str = "default", timeout: float | None = None) -> str:
    return str(connections.client(using).get_server_version(timeout=timeout))


def get_server_type(using: str = "default") -> str:
    return connections.client(using).get_server_type()


# -- nodes --------------------------------------------------------------------------------------
def create_resource_group(
    name: str, using: str = "default", timeout: float | None = None, *, config: object = None
) -> None:
    connections.client(using).create_resource_group(name, timeout, config=config)


def update_resource_groups(configs: Mapping[str, object], using: str = "default", timeout: float | None = None) -> None:
    connections.client(using).update_resource_groups(configs, timeout)


def drop_resource_group(name: str, using: str = "default", timeout: float | None = None) -> None:
    connections.client(using).drop_resource_group(name, timeout)


def describe_resource_group(name: str, using: str = "default", timeout: float | None = None) -> ResourceGroupInfo:
    return connections.client(using).describe_resource_group(name, timeout)


def list_resource_groups(using: str = "default", timeout: float | None = None) -> list[str]:
    return connections.client(using).list_resource_groups(timeout)


def transfer_node(
    source_group: str, target_group: str, num_nodes: int, using: str = "default", timeout: float | None = None
) -> None:
    connections.client(using).transfer_node(source_group, target_group, num_nodes, timeout)


def transfer_replica(
    source_group: str,
    target_group: str,
    collection_name: str,
    num_replicas: int,
    using: str = "default",
    timeout: float | None = None,
) -> None:
    client = connections.client(using)
    client.transfer_replica(source_group, target_group, collection_name, num_replicas, timeout)


def load_balance(
    collection_name: str,
    src_node_id: int,
    dst_node_ids: list[int] | None = None,
    sealed_segment_ids: list[int] | None = None,
    timeout: float | None = None,
    using: str = "default",
) -> None:
    """Move segments from one node to others. With one node there is nothing to move."""
    client = connections.client(using)
    client.load_balance(collection_name, src_node_id, dst_node_ids, sealed_segment_ids, timeout)


# -- hybrid timestamps --------------------------------------------------------------------------
def mkts_from_hybridts(hybridts: int, milliseconds: float = 0.0, delta: timedelta | None = None) -> int:
    """A hybrid timestamp so much later; its counter stays."""
    later = milliseconds + (delta.total_seconds() * 1000 if delta is not None else 0.0)
    return compose(int(physical_ms(hybridts) + later), logical(hybridts))


def mkts_from_unixtime(epoch: float, milliseconds: float = 0.0, delta: timedelta | None = None) -> int:
    """The hybrid timestamp of so many seconds since 1970."""
    later = milliseconds + (delta.total_seconds() * 1000 if delta is not None else 0.0)
    return compose(int(epoch * 1000 + later), 0)


def mkts_from_datetime(d_time: datetime, milliseconds: float = 0.0, delta: timedelta | None = None) -> int:
    return mkts_from_unixtime(d_time.timestamp(), milliseconds, delta)


def hybridts_to_unixtime(hybridts: int) -> float:
    """Seconds since 1970."""
    return physical_ms(hybridts) / 1000


def hybridts_to_datetime(hybridts: int, tz: timezone | None = None) -> datetime:
    """In the given zone; without one, local time that does not say its zone, as Milvus's SDK has it."""
    return datetime.fromtimestamp(hybridts_to_unixtime(hybridts), tz)
