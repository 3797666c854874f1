"""The same names, parameters, defaults and kinds as in Milvus's SDK, and the same in every client of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pymilvus
import pytest
from pymilvus.orm import db as their_db
from pymilvus.orm import utility as their_utility

import redkite
import redkite.orm
from redkite.client.base import ClientBase
from redkite.client.operations.kinds import OPTIONS

CLIENTS = (("MilvusClient", redkite.MilvusClient), ("AsyncMilvusClient", redkite.AsyncMilvusClient))
CLASSES = (
    "Collection", "Partition", "Index", "Role", "FieldSchema", "CollectionSchema", "StructFieldSchema", "Function",
    "FunctionScore", "AnnSearchRequest", "RRFRanker", "WeightedRanker", "LexicalHighlighter", "SearchAggregation",
    "TopHits", "FunctionChain", "connections",
)  # fmt: skip

DIFFERENT: dict[str, str] = {
    "MilvusClient.search": "what follows anns_field is taken by name only",
    "AsyncMilvusClient.search": "what follows anns_field is taken by name only",
    "MilvusClient.add_function_field": "index_params may be left out",
    "AsyncMilvusClient.add_function_field": "index_params may be left out",
    "MilvusClient.hybrid_search": "the ranker may be left out where a function_score is given",
    "AsyncMilvusClient.hybrid_search": "the ranker may be left out where a function_score is given",
    "MilvusClient.search_iterator": "no filter is the empty text as well as None; external_filter_func has a place too",
    "CollectionSchema.__init__": "a schema may be made without fields and filled",
    "connections.connect": "_async and _unbind_with_db are not for programs",
}
"""Calls that differ, and why a program does not notice. Each must really differ."""

NOT_HERE: dict[str, str] = {
    **dict.fromkeys(
        ("FunctionChain.to_proto", "SearchAggregation.to_proto", "TopHits.to_proto"),
        "messages are made where a request is sent",
    ),
}
"""Names of Milvus's SDK that are not in ours."""

OF_BOTH_KINDS: dict[str, str] = {
    "get_load_state": "Milvus's SDK says partition_name in the one client, and partition_names in the other",
    "refresh_load": "Milvus's SDK has partition_names in the awaited client only",
    "transfer_replica": "Milvus's SDK names all four parameters differently",
    "update_password": "Milvus's SDK has reset_connection in the blocking client only",
    "update_replicate_configuration": "Milvus's SDK lets the awaited client leave the clusters out",
}
"""Methods whose parameters differ between our blocking and our awaited client, because they do in Milvus's."""


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def by_place(found: dict[str, inspect.Parameter]) -> list[str]:
    return [name for name, p in found.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name != "self"]


def differences(theirs: Callable[..., Any], ours: Callable[..., Any], options: tuple[str, ...] = ()) -> list[str]:
    """What a call that Milvus's SDK takes could meet in ours."""
    want, have = parameters(theirs), parameters(ours)
    found = []
    if by_place(have)[: len(by_place(want))] != by_place(want):
        found.append(f"places: {by_place(want)} there, {by_place(have)} here")
    for name, parameter in want.items():
        if parameter.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL) or name == "self":
            continue
        if name not in have:
            if name not in options:
                found.append(f"{name} is missing")
        elif have[name].default != parameter.default:
            found.append(f"{name} is {parameter.default!r} there and {have[name].default!r} here")
        elif have[name].kind is not parameter.kind:
            found.append(f"{name} is {parameter.kind} there and {have[name].kind} here")
    return found


def public(owner: Any) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_") and callable(getattr(owner, name))}


def pairs() -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any] | None, tuple[str, ...]]]:
    """(name, theirs, ours, options that ours takes by name) of everything that can be called."""
    for name, ours in CLIENTS:
        theirs = getattr(pymilvus, name)
        for method in sorted(public(theirs)):
            yield f"{name}.{method}", getattr(theirs, method), getattr(ours, method, None), OPTIONS.get(method, ())
        yield f"{name}.__init__", theirs.__init__, ours.__init__, ()
    for name in CLASSES:
        theirs, here = getattr(pymilvus, name), getattr(redkite, name)
        for method in sorted(public(theirs)):
            yield f"{name}.{method}", getattr(theirs, method), getattr(here, method, None), ()
        if isinstance(here, type):
            yield f"{name}.__init__", theirs.__init__, here.__init__, ()
    for module, here in ((their_utility, redkite.orm.utility), (their_db, redkite.orm.db)):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield f"{module.__name__.rpartition('.')[2]}.{name}", function, getattr(here, name, None), ()


ALL = {name: (theirs, ours, options) for name, theirs, ours, options in pairs()}


def signed(function: Any) -> bool:
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return False
    return True


def test_every_call_of_milvus_sdk_is_here() -> None:
    missing = {name for name, (_, ours, _) in ALL.items() if ours is None}
    assert missing == set(NOT_HERE)


@pytest.mark.parametrize("name", sorted(name for name in ALL if name not in NOT_HERE))
def test_a_call_is_made_as_with_milvus_sdk(name: str) -> None:
    theirs, ours, options = ALL[name]
    assert ours is not None
    if not (signed(theirs) and signed(ours)):
        return
    found = differences(theirs, ours, options)
    if name in DIFFERENT:
        assert found, f"{name} does not differ any more: take it out of the table"
    else:
        assert not found


def test_the_exceptions_are_of_calls_that_there_are() -> None:
    assert set(DIFFERENT) <= set(ALL)
    assert all(reason for reason in (*DIFFERENT.values(), *NOT_HERE.values(), *OF_BOTH_KINDS.values()))


def test_both_clients_have_the_same_methods() -> None:
    assert public(redkite.MilvusClient) == public(redkite.AsyncMilvusClient)


@pytest.mark.parametrize("name", sorted(public(redkite.MilvusClient)))
def test_both_clients_take_the_same_parameters(name: str) -> None:
    plain, awaited = (parameters(getattr(kind, name)) for _, kind in CLIENTS)
    same = [(n, p.kind, p.default) for n, p in plain.items()] == [(n, p.kind, p.default) for n, p in awaited.items()]
    assert same == (name not in OF_BOTH_KINDS)


def test_what_is_waited_for_in_one_client_is_awaited_in_the_other() -> None:
    plain = public(ClientBase) | {
        "session",
        "search_iterator",
        "query_iterator",
        "register_embedding",
        "collection",
        "changes",
        "dump_messages",
    }
    for name in public(redkite.MilvusClient) - plain:
        assert not inspect.iscoroutinefunction(getattr(redkite.MilvusClient, name)), name
        assert inspect.iscoroutinefunction(getattr(redkite.AsyncMilvusClient, name)), name


def test_a_file_and_a_server_have_one_class_of_client() -> None:
    """Parity between a database file and a server is one of kind: there is one class, and it differs by transport."""
    for _, kind in CLIENTS:
        subclasses = [other for other in kind.__subclasses__() if other.__module__.startswith("redkite.")]
        assert subclasses == []
