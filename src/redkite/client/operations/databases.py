"""Databases, flushing, and the server itself."""

from __future__ import annotations

from typing import Any

from redkite.client import arguments
from redkite.client.session import Operation, Session, Wait, ask, backoff
from redkite.model import requests, results


def create_database(session: Session, db_name: str, properties: dict[str, Any] | None) -> Operation[None]:  # noqa: ARG001  every operation takes the session
    name = arguments.name("db_name", db_name)
    request = requests.CreateDatabase(database=name, properties=arguments.texts("properties", properties))
    yield from ask(request, results.Done)


def drop_database(session: Session, db_name: str) -> Operation[None]:  # noqa: ARG001  every operation takes the session
    yield from ask(requests.DropDatabase(database=arguments.name("db_name", db_name)), results.Done)


def list_databases(session: Session) -> Operation[list[str]]:
    found = yield from ask(requests.ListDatabases(database=session.database), results.Databases)
    return list(found.names)


def describe_database(session: Session, db_name: str) -> Operation[dict[str, str]]:  # noqa: ARG001  every operation takes the session
    info = yield from ask(requests.DescribeDatabase(database=arguments.name("db_name", db_name)), results.DatabaseInfo)
    return {"name": info.name, **info.properties}


def use_database(session: Session, db_name: str) -> Operation[None]:
    """Look up names in another database from now on, if it exists."""
    name = arguments.name("db_name", db_name)
    yield from ask(requests.DescribeDatabase(database=name), results.DatabaseInfo)
    session.database = name


# -- making writes permanent in their final form --------------------------------------------------
def flush(session: Session, collection_name: str) -> Operation[None]:
    """Seal what is growing, and come back when it is stored as segments. Writes are durable without it."""
    name = arguments.name("collection_name", collection_name)
    flushed = yield from ask(requests.Flush(database=session.database, collections=(name,)), results.Flushed)
    for sealed in flushed.collections:
        state = requests.GetFlushState(
            database=session.database,
            collection=name,
            segment_ids=sealed.segment_ids,
            flush_timestamp=sealed.flush_timestamp,
        )
        yield from _until(state)


def flush_all(session: Session) -> Operation[None]:
    """Flush every collection of the database."""
    stamp = yield from ask(requests.FlushAll(database=session.database), results.Timestamp)
    yield from _until(requests.GetFlushAllState(database=session.database, timestamp=stamp.timestamp))


def get_flush_all_state(session: Session) -> Operation[bool]:
    """Whether everything written until now is stored as segments."""
    stamp = yield from ask(requests.AllocTimestamp(database=session.database), results.Timestamp)
    request = requests.GetFlushAllState(database=session.database, timestamp=stamp.timestamp)
    flag = yield from ask(request, results.Flag)
    return flag.value


def _until(question: requests.Request) -> Operation[None]:
    for delay in backoff():
        flag = yield from ask(question, results.Flag)
        if flag.value:
            return
        yield Wait(delay)


# -- the server ---------------------------------------------------------------------------------
def get_server_version(session: Session, detail: bool) -> Operation[Any]:
    """The version, or with `detail` a dict of the version and how the server was built and runs."""
    if not arguments.flag("detail", detail):
        version = yield from ask(requests.GetVersion(), results.Version)
        return version.version
    info = yield from ask(requests.Connect(database=session.database), results.ServerInfo)
    return {
        "version": info.version,
        "build_time": info.build_time,
        "git_commit": info.git_commit,
        "go_version": "",
        "deploy_mode": info.deploy_mode,
    }
