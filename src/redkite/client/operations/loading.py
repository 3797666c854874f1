"""What is in memory to be searched: load, release, progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redkite.client import arguments
from redkite.client.session import Operation, Session, Wait, ask, backoff
from redkite.errors import ParamError
from redkite.model import requests, results
from redkite.model.types import LoadPriority, LoadState


def load_collection(
    session: Session,
    collection_name: str,
    replica_number: int | None = None,
    resource_groups: Sequence[str] | None = None,
    load_fields: Sequence[str] | None = None,
    skip_load_dynamic_field: bool = False,
    priority: str | None = None,
    refresh: bool = False,
) -> Operation[None]:
    """Load, and come back when everything is loaded."""
    urgency = _priority(priority)
    name = arguments.name("collection_name", collection_name)
    request = requests.LoadCollection(
        database=session.database,
        collection=name,
        replicas=0 if replica_number is None else arguments.integer("replica_number", replica_number),
        refresh=refresh,
        load_fields=arguments.names("load_fields", load_fields),
        skip_dynamic_field=arguments.flag("skip_load_dynamic_field", skip_load_dynamic_field),
        resource_groups=arguments.names("resource_groups", resource_groups),
        priority=urgency,
    )
    yield from ask(request, results.Done)
    yield from _wait_loaded(session, name, (), refresh or urgency is LoadPriority.LOW)


def _priority(priority: str | None) -> LoadPriority:
    found = {"HIGH": LoadPriority.HIGH, "LOW": LoadPriority.LOW}.get(str(priority or "HIGH").upper())
    if found is not None:
        return found
    raise ParamError(f"priority must be 'HIGH' or 'LOW', but got {priority!r}")


def refresh_load(
    session: Session, collection_name: str, partition_names: str | Sequence[str] | None = None
) -> Operation[None]:
    """Load what has come since to a collection, or to some of its partitions."""
    if partition_names:
        yield from load_partitions(session, collection_name, partition_names)
    else:
        yield from load_collection(session, collection_name, refresh=True)


def load_partitions(
    session: Session,
    collection_name: str,
    partition_names: str | Sequence[str],
    replica_number: int | None = None,
    resource_groups: Sequence[str] | None = None,
    load_fields: Sequence[str] | None = None,
    skip_load_dynamic_field: bool = False,
    priority: str | None = None,
) -> Operation[None]:
    """Load some partitions, and come back when they are loaded."""
    urgency = _priority(priority)
    name = arguments.name("collection_name", collection_name)
    partitions = _some_partitions(partition_names)
    request = requests.LoadPartitions(
        database=session.database,
        collection=name,
        partitions=partitions,
        replicas=0 if replica_number is None else arguments.integer("replica_number", replica_number),
        load_fields=arguments.names("load_fields", load_fields),
        skip_dynamic_field=arguments.flag("skip_load_dynamic_field", skip_load_dynamic_field),
        resource_groups=arguments.names("resource_groups", resource_groups),
        priority=urgency,
    )
    yield from ask(request, results.Done)
    yield from _wait_loaded(session, name, partitions, urgency is LoadPriority.LOW)


def _some_partitions(partition_names: str | Sequence[str]) -> tuple[str, ...]:
    partitions = arguments.names("partition_names", partition_names)
    if not partitions:
        raise arguments.illegal("partition_names", partition_names)
    return partitions


def _wait_loaded(session: Session, name: str, partitions: tuple[str, ...], later: bool) -> Operation[None]:
    """`later`: some of it is loaded, perhaps, and what was asked for comes behind that."""
    request = requests.GetLoadingProgress(database=session.database, collection=name, partitions=partitions)
    for delay in backoff():
        progress = yield from ask(request, results.LoadProgress)
        if min(progress.percent, progress.refresh_percent if later else 100) >= 100:
            return
        yield Wait(delay)


def release_collection(session: Session, collection_name: str) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    yield from ask(requests.ReleaseCollection(database=session.database, collection=name), results.Done)


def release_partitions(session: Session, collection_name: str, partition_names: str | Sequence[str]) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    request = requests.ReleasePartitions(
        database=session.database, collection=name, partitions=_some_partitions(partition_names)
    )
    yield from ask(request, results.Done)


def get_load_state(
    session: Session, collection_name: str, partition_names: str | Sequence[str] | None
) -> Operation[dict[str, Any]]:
    """`{"state": LoadState}`, with `"progress"` in percent while it is loading."""
    name = arguments.name("collection_name", collection_name)
    partitions = arguments.names("partition_name", partition_names or ())
    request = requests.GetLoadState(database=session.database, collection=name, partitions=partitions)
    info = yield from ask(request, results.LoadStateInfo)
    if info.state is not LoadState.Loading:
        return {"state": info.state}
    progress = yield from ask(
        requests.GetLoadingProgress(database=session.database, collection=name, partitions=partitions),
        results.LoadProgress,
    )
    return {"state": info.state, "progress": progress.percent}
