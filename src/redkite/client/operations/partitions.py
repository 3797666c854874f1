"""Partitions and aliases."""

from __future__ import annotations

from typing import Any

from redkite.client import arguments
from redkite.client.session import Operation, Session, ask
from redkite.model import requests, results


def create_partition(session: Session, collection_name: str, partition_name: str) -> Operation[None]:
    collection = arguments.name("collection_name", collection_name)
    partition = arguments.name("partition_name", partition_name)
    request = requests.CreatePartition(database=session.database, collection=collection, partition=partition)
    yield from ask(request, results.Done)


def drop_partition(session: Session, collection_name: str, partition_name: str) -> Operation[None]:
    collection = arguments.name("collection_name", collection_name)
    partition = arguments.name("partition_name", partition_name)
    request = requests.DropPartition(database=session.database, collection=collection, partition=partition)
    yield from ask(request, results.Done)


def has_partition(session: Session, collection_name: str, partition_name: str) -> Operation[bool]:
    collection = arguments.name("collection_name", collection_name)
    partition = arguments.name("partition_name", partition_name)
    request = requests.HasPartition(database=session.database, collection=collection, partition=partition)
    flag = yield from ask(request, results.Flag)
    return flag.value


def list_partitions(session: Session, collection_name: str) -> Operation[list[str]]:
    collection = arguments.name("collection_name", collection_name)
    request = requests.ShowPartitions(database=session.database, collection=collection)
    shown = yield from ask(request, results.Partitions)
    return [brief.name for brief in shown.partitions]


def get_partition_stats(session: Session, collection_name: str, partition_name: str) -> Operation[dict[str, int]]:
    collection = arguments.name("collection_name", collection_name)
    partition = arguments.name("partition_name", partition_name)
    request = requests.GetPartitionStatistics(database=session.database, collection=collection, partition=partition)
    count = yield from ask(request, results.RowCount)
    return {"row_count": count.rows}


# -- aliases ------------------------------------------------------------------------------------
def create_alias(session: Session, collection_name: str, alias: str) -> Operation[None]:
    collection = arguments.name("collection_name", collection_name)
    other = arguments.name("alias", alias)
    session.forget(other)
    request = requests.CreateAlias(database=session.database, collection=collection, alias=other)
    yield from ask(request, results.Done)


def drop_alias(session: Session, alias: str) -> Operation[None]:
    other = arguments.name("alias", alias)
    session.forget(other)
    yield from ask(requests.DropAlias(database=session.database, alias=other), results.Done)


def alter_alias(session: Session, collection_name: str, alias: str) -> Operation[None]:
    collection = arguments.name("collection_name", collection_name)
    other = arguments.name("alias", alias)
    session.forget(other)
    request = requests.AlterAlias(database=session.database, collection=collection, alias=other)
    yield from ask(request, results.Done)


def describe_alias(session: Session, alias: str) -> Operation[dict[str, str]]:
    other = arguments.name("alias", alias)
    info = yield from ask(requests.DescribeAlias(database=session.database, alias=other), results.AliasInfo)
    return {"alias": info.alias, "collection_name": info.collection, "db_name": info.database}


def list_aliases(session: Session, collection_name: str | None) -> Operation[dict[str, Any]]:
    collection = arguments.optional_name("collection_name", collection_name)
    found = yield from ask(requests.ListAliases(database=session.database, collection=collection), results.Aliases)
    shown = {"aliases": list(found.aliases), "collection_name": found.collection, "db_name": found.database}
    return {key: value for key, value in shown.items() if value or key == "aliases"}
